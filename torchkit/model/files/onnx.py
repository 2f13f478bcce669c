"""`.onnx`: a protobuf message, of which the graph's constants, inputs and outputs are read.

Field numbers are those of onnx.proto (IR version 13, onnx 1.23). Tensors' bytes are stepped over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from torchkit.model.files import Contents, Entry
from torchkit.model.files.source import DamagedError, Source
from torchkit.model.files.tensors import MAX_DIMENSIONS, MAX_ELEMENTS

MAX_FIELDS = 1_000_000

DTYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16),
    11: ("float64", 64), 12: ("uint32", 32), 13: ("uint64", 64), 14: ("complex64", 64),
    15: ("complex128", 128), 16: ("bfloat16", 16), 17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8), 19: ("float8_e5m2", 8), 20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4), 22: ("int4", 4), 23: ("float4_e2m1", 4), 24: ("float8_e8m0fnu", 8),
    25: ("uint2", 2), 26: ("int2", 2), 27: ("float6_e2m3", 6), 28: ("float6_e3m2", 6),
}  # fmt: skip
"""TensorProto.DataType: torch's name, and the bits of an element in raw data."""

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message: a number, or the place of its bytes and how many they are."""

    number: int
    kind: int
    value: int
    at: int = 0


class _Wire:
    """The fields of messages, of which `left` more may be read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.left = MAX_FIELDS

    def fields(self, at: int, size: int, *, is_top: bool = False) -> Iterator[Field]:
        """Raises DamagedError; of the whole file, after a last field that is cut off."""
        end = at + size
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise DamagedError(f"it has more than {MAX_FIELDS:,} fields")
            data = self.source.read(at, 20)
            tag, used = _varint(data, 0)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise DamagedError("it is no ONNX, or damaged: a field has the number 0")
            at += used
            if kind == _VARINT:
                value, taken = _varint(data, used)
                at += taken
                yield Field(number, kind, value)
            elif kind == _BYTES:
                value, taken = _varint(data, used)
                at += taken
                if at + value > end and is_top:
                    yield Field(number, kind, end - at, at)
                    raise DamagedError(
                        f"cut off: {value:,} bytes are needed at its end, {end - at:,} are there"
                    )
                if at + value > end:
                    raise DamagedError("it is damaged: a field is longer than what it is in")
                yield Field(number, kind, value, at)
                at += value
            elif kind in (_FIXED_32, _FIXED_64):
                size_bytes = 4 if kind == _FIXED_32 else 8
                yield Field(number, kind, 0, at)
                at += size_bytes
            else:
                raise DamagedError(f"it is no ONNX, or damaged: a field is of the kind {kind}")

    def text(self, field: Field, limit: int = 1000) -> str:
        if field.kind != _BYTES:
            raise DamagedError("it is damaged: a number where a text belongs")
        return self.source.read(field.at, min(field.value, limit)).decode("utf-8", "replace")

    def numbers(self, field: Field) -> list[int]:
        """One number, or several packed into bytes."""
        if field.kind == _VARINT:
            return [field.value]
        if field.kind != _BYTES or field.value > 10 * MAX_DIMENSIONS:
            raise DamagedError("it is damaged: a shape of too many dimensions")
        data = self.source.read(field.at, field.value)
        found, at = [], 0
        while at < len(data):
            value, used = _varint(data, at)
            found.append(value)
            at += used
        return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and how many bytes it takes. Raises DamagedError."""
    value = 0
    for used, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * used
        if byte < 0x80:
            return value, used + 1
    raise DamagedError("cut off in the middle of a number")


class _Model:
    """What has been read so far."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.entries: list[Entry] = []
        self.external: dict[str, int] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.opsets: list[str] = []
        self.nodes = 0
        self.wrong: dict[str, int] = {}

    def count(self, clause: str) -> None:
        self.wrong[clause] = self.wrong.get(clause, 0) + 1


def is_onnx(source: Source) -> bool:
    """Whether the file is a message with the fields of a model, up to the graph."""
    if source.read(0, 1) not in (b"\x08", b"\x12", b"\x3a", b"\x42"):
        return False
    try:
        for count, field in enumerate(_Wire(source).fields(0, source.size)):
            if field.number == 7 and field.kind == _BYTES and field.value:
                return True
            if count > 100 or field.number > 30:
                return False
    except DamagedError:
        return False
    return False


def read(path: Path, source: Source) -> Contents:
    """The contents, as far as the file goes."""
    wire, model = _Wire(source), _Model()
    damage: list[str] = []
    has_graph = False
    try:
        for field in wire.fields(0, source.size, is_top=True):
            if field.number == 7:
                has_graph = True
                _read_graph(wire, field, model, path)
            else:
                _read_top(wire, field, model)
        if not has_graph:
            damage.append("it has no graph")
    except DamagedError as error:
        damage.append(str(error))
    damage += [
        f"{count:,} of {len(model.entries):,} tensors {clause}"
        for clause, count in model.wrong.items()
    ]
    outside = sum(model.external.values())
    return Contents(
        "onnx",
        tuple(model.entries),
        _metadata(model),
        others=tuple(
            f"external data: {name}, {size:,} bytes" for name, size in model.external.items()
        ),
        damage="; ".join(damage),
        total_bytes=sum(entry.bytes for entry in model.entries),
        parameters=sum(math.prod(entry.shape) for entry in model.entries),
        file_bytes=source.size + outside,
    )


def _read_top(wire: _Wire, field: Field, model: _Model) -> None:
    names = {2: "producer", 3: "producer version", 4: "domain"}
    if field.number == 1 and field.kind == _VARINT:
        model.metadata["IR version"] = str(field.value)
    elif field.number in names and field.value:
        model.metadata[names[field.number]] = " ".join(wire.text(field, 200).split())
    elif field.number == 8 and field.kind == _BYTES:
        domain, version = "", 0
        for part in wire.fields(field.at, field.value):
            if part.number == 1:
                domain = wire.text(part, 100)
            elif part.number == 2:
                version = part.value
        model.opsets.append(f"{domain} {version}" if domain else str(version))
    elif field.number == 14 and field.kind == _BYTES:
        pair = {part.number: wire.text(part, 200) for part in wire.fields(field.at, field.value)}
        if len(model.metadata) < 50:
            model.metadata[pair.get(1, "")[:60]] = " ".join(pair.get(2, "").split())


def _read_graph(wire: _Wire, graph: Field, model: _Model, path: Path) -> None:
    for field in wire.fields(graph.at, graph.value):
        if field.kind != _BYTES:
            continue
        if field.number == 1:
            model.nodes += 1
        elif field.number == 2:
            model.metadata["graph"] = wire.text(field, 100)
        elif field.number == 5:
            model.entries.append(_tensor(wire, field, model, path))
        elif field.number == 15:
            model.entries.append(_sparse(wire, field, model, path))
        elif field.number == 11 and len(model.inputs) < 100:
            model.inputs.append(_value(wire, field))
        elif field.number == 12 and len(model.outputs) < 100:
            model.outputs.append(_value(wire, field))


def _tensor(wire: _Wire, message: Field, model: _Model, path: Path) -> Entry:
    dims: list[int] = []
    kind, name, raw, is_external = 0, "", -1, False
    outside: dict[str, str] = {}
    for field in wire.fields(message.at, message.value):
        if field.number == 1:
            dims += wire.numbers(field)
        elif field.number == 2:
            kind = field.value
        elif field.number == 8:
            name = wire.text(field, 300)
        elif field.number == 9 and field.kind == _BYTES:
            raw = field.value
        elif field.number == 13 and field.kind == _BYTES:
            pair = {it.number: wire.text(it) for it in wire.fields(field.at, field.value)}
            outside[pair.get(1, "")] = pair.get(2, "")
        elif field.number == 14:
            is_external = field.value == 1
    dtype, bits = DTYPES.get(kind, (f"onnx type {kind}", 0))
    elements = math.prod(dims)
    if len(dims) > MAX_DIMENSIONS or elements > MAX_ELEMENTS:
        model.count("have a shape that cannot be")
        dims, elements = [], 0
    taken = (elements * bits + 7) // 8
    if is_external:
        clause = _look_outside(outside, taken, model, path)
        if clause:
            model.count(clause)
    elif raw >= 0 and bits and raw != taken:
        model.count("have data of another length than their shape")
    return Entry(name, tuple(dims), dtype, taken if bits else max(raw, 0))


def _look_outside(outside: dict[str, str], taken: int, model: _Model, path: Path) -> str:
    """Whether the file beside the model has the tensor's bytes; it is not opened."""
    location = outside.get("location", "")
    pure = PurePosixPath(location)
    if not location or pure.is_absolute() or ".." in pure.parts or "\\" in location:
        return "are in a file that is not beside the model"
    if location not in model.external:
        try:
            model.external[location] = (path.parent / location).stat().st_size
        except (OSError, ValueError):
            model.external[location] = 0
    there = model.external[location]
    numbers = [outside.get(key, "") for key in ("offset", "length")]
    offset, length = (int(it) if it.isdecimal() and len(it) < 20 else 0 for it in numbers)
    if not there:
        return f"are in {location[:100]}, which is missing"
    return f"lie beyond the end of {location[:100]}" if offset + (length or taken) > there else ""


def _sparse(wire: _Wire, message: Field, model: _Model, path: Path) -> Entry:
    dims: list[int] = []
    parts: list[Entry] = []
    for field in wire.fields(message.at, message.value):
        if field.number == 3:
            dims += wire.numbers(field)
        elif field.kind == _BYTES:
            parts.append(_tensor(wire, field, model, path))
    if len(dims) > MAX_DIMENSIONS or math.prod(dims) > MAX_ELEMENTS or not parts:
        raise DamagedError("it is damaged: a sparse tensor that cannot be")
    return Entry(parts[0].name, tuple(dims), parts[0].dtype, sum(it.bytes for it in parts))


def _value(wire: _Wire, message: Field) -> str:
    """`x [batch, 3, 224, 224] float32` of an input or output."""
    name, told = "", ""
    for field in wire.fields(message.at, message.value):
        if field.number == 1:
            name = wire.text(field, 100)
        elif field.number == 2 and field.kind == _BYTES:
            for part in wire.fields(field.at, field.value):
                if part.number == 1 and part.kind == _BYTES:
                    told = _tensor_type(wire, part)
    return f"{name} {told}".strip()


def _tensor_type(wire: _Wire, message: Field) -> str:
    dtype, sizes = "", None
    for field in wire.fields(message.at, message.value):
        if field.number == 1:
            dtype = DTYPES.get(field.value, ("", 0))[0]
        elif field.number == 2 and field.kind == _BYTES:
            sizes = []
            for dimension in wire.fields(field.at, field.value):
                size = "?"
                for part in wire.fields(dimension.at, dimension.value):
                    if part.number == 1:
                        size = str(part.value)
                    elif part.number == 2:
                        size = wire.text(part, 30)
                sizes.append(size)
    return f"[{', '.join(sizes)}] {dtype}" if sizes is not None else dtype


def _metadata(model: _Model) -> dict[str, str]:
    told = dict(model.metadata)
    if model.opsets:
        told["opset"] = ", ".join(model.opsets[:20])
    if model.inputs:
        told["inputs"] = ", ".join(model.inputs)
    if model.outputs:
        told["outputs"] = ", ".join(model.outputs)
    if model.nodes:
        told["operations"] = f"{model.nodes:,}"
    return told
