"""`.gguf` of llama.cpp, versions 2 and 3: metadata, then the list of tensors, then their bytes.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; types and their blocks as in
the package gguf 0.19 (GGML_QUANT_SIZES), the removed ones as in ggml.h.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

from torchkit.model.files import Contents, Entry
from torchkit.model.files.source import DamagedError, Source
from torchkit.model.files.tensors import MAX_ELEMENTS

DEFAULT_ALIGNMENT = 32
MAX_TEXT_BYTES = 1 << 20
MAX_TENSORS = 200_000
MAX_VALUES = 1_000_000
"""A model's vocabulary has some 250,000 entries, and three lists of that length."""


class Type(NamedTuple):
    """A type of ggml: so many elements take so many bytes."""

    name: str
    elements: int
    bytes: int


TYPES = {
    0: Type("float32", 1, 4), 1: Type("float16", 1, 2),
    2: Type("q4_0", 32, 18), 3: Type("q4_1", 32, 20),
    4: Type("q4_2", 16, 10), 5: Type("q4_3", 16, 12),
    6: Type("q5_0", 32, 22), 7: Type("q5_1", 32, 24),
    8: Type("q8_0", 32, 34), 9: Type("q8_1", 32, 40),
    10: Type("q2_k", 256, 84), 11: Type("q3_k", 256, 110), 12: Type("q4_k", 256, 144),
    13: Type("q5_k", 256, 176), 14: Type("q6_k", 256, 210), 15: Type("q8_k", 256, 292),
    16: Type("iq2_xxs", 256, 66), 17: Type("iq2_xs", 256, 74), 18: Type("iq3_xxs", 256, 98),
    19: Type("iq1_s", 256, 50), 20: Type("iq4_nl", 32, 18), 21: Type("iq3_s", 256, 110),
    22: Type("iq2_s", 256, 82), 23: Type("iq4_xs", 256, 136),
    24: Type("int8", 1, 1), 25: Type("int16", 1, 2), 26: Type("int32", 1, 4),
    27: Type("int64", 1, 8), 28: Type("float64", 1, 8), 29: Type("iq1_m", 256, 56),
    30: Type("bfloat16", 1, 2),
    31: Type("q4_0_4_4", 32, 18), 32: Type("q4_0_4_8", 32, 18), 33: Type("q4_0_8_8", 32, 18),
    34: Type("tq1_0", 256, 54), 35: Type("tq2_0", 256, 66),
    36: Type("iq4_nl_4_4", 32, 18), 37: Type("iq4_nl_4_8", 32, 18), 38: Type("iq4_nl_8_8", 32, 18),
    39: Type("mxfp4", 32, 17), 40: Type("nvfp4", 64, 36), 41: Type("q1_0", 128, 18),
}  # fmt: skip

FILE_TYPES = {
    0: "all F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4 (MoE)",
    39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
"""general.file_type, as llama.cpp's LlamaFileType."""

_TEXT, _LIST = 8, 9
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip


class _Reader:
    """Numbers and texts one after the other."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at = 4
        self.values = 0
        (version,) = struct.unpack("<I", source.exactly(4, 4))
        self.order = "<" if version & 0xFFFF else ">"
        self.layouts = {
            code: struct.Struct(self.order + letter) for code, letter in _SCALARS.items()
        }
        self.version = self.number(4)

    def number(self, code: int) -> int:
        value = self.scalar(code)
        return int(value)

    def scalar(self, code: int) -> Any:
        layout = self.layouts[code]
        (value,) = self.source.numbers(layout, self.at)
        self.at += layout.size
        return value

    def text(self) -> str:
        size = self.number(10)
        if size > MAX_TEXT_BYTES:
            self.skip(size)
            return ""
        data = self.source.exactly(self.at, size)
        self.at += size
        return data.decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        if count > self.source.size - self.at:
            raise DamagedError("cut off in its metadata")
        self.at += count

    def value(self, depth: int = 0) -> str:
        """A value in short words; of a list only how long it is."""
        code = self.number(4)
        if code == _TEXT:
            text = " ".join(self.text().split())
            return text if len(text) <= 100 else f"{text[:97]}..."
        if code == _LIST:
            return self.list_of(depth)
        if code not in self.layouts:
            raise DamagedError(f"its metadata has a value of the unknown type {code}")
        value = self.scalar(code)
        return f"{value:g}" if isinstance(value, float) else str(value)

    def list_of(self, depth: int) -> str:
        code, count = self.number(4), self.number(10)
        if code in self.layouts:
            self.skip(count * self.layouts[code].size)
            return f"{count:,} numbers"
        if code == _LIST and depth < 4:
            for _ in range(self._bounded(count)):
                self.list_of(depth + 1)
            return f"{count:,} lists"
        if code != _TEXT:
            raise DamagedError(f"its metadata has a list of the unknown type {code}")
        self._skip_texts(self._bounded(count))
        return f"{count:,} texts"

    def _skip_texts(self, count: int) -> None:
        """Past so many texts, a block of the file at a time."""
        layout = self.layouts[10]
        block, start = b"", self.at
        for _ in range(count):
            inside = self.at - start
            if inside + 8 > len(block):
                start, inside = self.at, 0
                block = self.source.read(start, 1 << 20)
                if len(block) < 8:
                    raise DamagedError("cut off in its metadata")
            self.at += 8 + layout.unpack_from(block, inside)[0]

    def _bounded(self, count: int) -> int:
        self.values += count
        if self.values > MAX_VALUES or count * 8 > self.source.size:
            raise DamagedError(f"its metadata claims to have {count:,} values in a list")
        return count


def read(source: Source) -> Contents:
    """The contents, as far as the file goes. Raises DamagedError."""
    reader = _Reader(source)
    if reader.version not in (2, 3):
        raise DamagedError(f"it is GGUF version {reader.version}; 2 and 3 can be read")
    tensor_count, value_count = reader.number(10), reader.number(10)
    if tensor_count > MAX_TENSORS or value_count * 12 > source.size:
        raise DamagedError(f"it claims to have {tensor_count:,} tensors and {value_count:,} values")
    values: dict[str, str] = {}
    entries: list[Entry] = []
    places: list[int] = []
    damage: list[str] = []
    try:
        for _ in range(value_count):
            name = reader.text()
            values[name[:100]] = reader.value()
        for _ in range(tensor_count):
            entry, place = _tensor(reader)
            entries.append(entry)
            places.append(place)
        damage += _damage(reader, values, entries, places)
    except DamagedError as error:
        damage.append(f"{error}; {len(entries):,} of {tensor_count:,} tensors could be read")
    return Contents(
        "gguf",
        tuple(entries),
        _metadata(reader, values),
        damage="; ".join(damage),
        total_bytes=sum(entry.bytes for entry in entries),
        parameters=sum(math.prod(entry.shape) for entry in entries),
    )


def _tensor(reader: _Reader) -> tuple[Entry, int]:
    """A tensor and where it begins. GGUF counts dimensions from the fastest; torch's order is told."""
    name = reader.text()
    dimensions = reader.number(4)
    if dimensions > 8:
        raise DamagedError(f"its tensor {name[:100]} claims to have {dimensions:,} dimensions")
    shape = tuple(reader.number(10) for _ in range(dimensions))[::-1]
    code, place = reader.number(4), reader.number(10)
    kind = TYPES.get(code, Type(f"ggml type {code}", 1, 0))
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        raise DamagedError(f"its tensor {name[:100]} has a shape that cannot be")
    return Entry(name[:300], shape, kind.name, elements // kind.elements * kind.bytes), place


def _damage(
    reader: _Reader, values: dict[str, str], entries: list[Entry], places: list[int]
) -> list[str]:
    text = values.get("general.alignment", str(DEFAULT_ALIGNMENT))
    alignment = int(text) if text.isdigit() else 0
    if not alignment or alignment & (alignment - 1):
        return [f"its alignment is {text}, a power of two is needed"]
    start = -(-reader.at // alignment) * alignment
    there = reader.source.size - start
    beyond = sum(place + entry.bytes > there for entry, place in zip(entries, places, strict=True))
    wrong = []
    if beyond:
        wrong.append(
            f"cut off: {beyond:,} of {len(entries):,} tensors lie beyond the end of the file"
        )
    crooked = sum(place % alignment != 0 for place in places)
    if crooked:
        wrong.append(
            f"{crooked:,} of {len(entries):,} tensors do not begin at a multiple of {text}"
        )
    at = overlaps = 0
    for place, size in sorted(
        (place, entry.bytes) for entry, place in zip(entries, places, strict=True)
    ):
        overlaps += place < at
        at = max(at, place + size)
    if overlaps:
        wrong.append(f"{overlaps:,} of {len(entries):,} tensors overlap another")
    twice = len(entries) - len({entry.name for entry in entries})
    if twice:
        wrong.append(f"{twice:,} of {len(entries):,} tensors have the name of another")
    return wrong


def _metadata(reader: _Reader, values: dict[str, str]) -> dict[str, str]:
    told = {"version": str(reader.version)}
    if reader.order == ">":
        told["byte order"] = "big"
    file_type = values.get("general.file_type", "")
    if file_type.isdigit():
        told["quantisation"] = FILE_TYPES.get(int(file_type), f"type {file_type}")
    return {
        **told,
        **{name: value for name, value in values.items() if name != "general.file_type"},
    }
