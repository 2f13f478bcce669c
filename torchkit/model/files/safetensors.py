"""`.safetensors`: the length of a header in 8 bytes, the header in JSON, then the tensors' bytes.

Held to what the format's own reader refuses: holes, overlaps, lengths that do not fit the shape,
bytes after the last tensor. The format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torchkit.model.files import Contents, Entry
from torchkit.model.files.dtypes import SAFETENSORS, bytes_of
from torchkit.model.files.json_texts import parsed
from torchkit.model.files.source import DamagedError, Source
from torchkit.model.files.tensors import MAX_DIMENSIONS, MAX_ELEMENTS

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

MAX_READ_BYTES = 24 * 1024**2
"""A longer header is not read: it would take more than a second. Those in use have 0.1 MB."""


class _Described(NamedTuple):
    entry: Entry
    begin: int
    end: int


def is_safetensors(head: bytes, file_bytes: int) -> bool:
    """Whether a file that begins so can be one: the length is one of a header."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 9 and head[8:9] == b"{" and 2 <= length <= max(file_bytes, 1 << 32)


def read(source: Source) -> Contents:
    """The contents. Raises DamagedError where the header cannot be read."""
    length = int.from_bytes(source.exactly(0, 8), "little")
    header = _header(source, length)
    described: list[_Described] = []
    impossible: list[str] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            described.append(_described(name, entry))
        except (KeyError, TypeError, ValueError):
            impossible.append(name)
    entries = tuple(it.entry for it in described)
    return Contents(
        "safetensors",
        entries,
        _metadata(header.get("__metadata__")),
        damage="; ".join(_damage(described, impossible, source.size - 8 - length)),
        total_bytes=sum(entry.bytes for entry in entries),
        parameters=sum(math.prod(entry.shape) for entry in entries),
    )


def _header(source: Source, length: int) -> dict[str, Any]:
    if length > MAX_HEADER_BYTES:
        raise DamagedError(
            f"its header claims {length:,} bytes, the format allows {MAX_HEADER_BYTES:,}"
        )
    if length > source.size - 8:
        raise DamagedError(
            f"cut off: its header has {length:,} bytes, {max(source.size - 8, 0):,} are there"
        )
    if length > MAX_READ_BYTES:
        raise DamagedError(f"its header of {length:,} bytes is longer than any of a real model")
    try:
        header = parsed(source.exactly(8, length))
    except ValueError as error:
        twice = "twice" in str(error)
        raise DamagedError(
            "its header has a name twice" if twice else "its header is no JSON"
        ) from None
    if not isinstance(header, dict):
        raise DamagedError("its header is no list of tensors")
    return header


def _described(name: str, entry: Any) -> _Described:
    """Raises KeyError, TypeError or ValueError for a tensor that cannot be."""
    dtype = SAFETENSORS[entry["dtype"]]
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)):
        raise ValueError
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError
    taken = bytes_of(math.prod(shape), dtype)
    if end - begin != taken:
        raise ValueError
    return _Described(Entry(name, shape, dtype, taken), begin, end)


def _metadata(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        return {}
    return {
        str(key)[:60]: " ".join(str(value).split())[:200] for key, value in list(given.items())[:50]
    }


def _damage(described: list[_Described], impossible: list[str], there: int) -> list[str]:
    count = len(described) + len(impossible)
    wrong = []
    if impossible:
        wrong.append(
            f"{len(impossible):,} of {count:,} tensors have a shape, dtype or length that cannot "
            f"be, such as {impossible[0][:100]}"
        )
    beyond = sum(it.end > there for it in described)
    if beyond:
        wrong.append(f"cut off: {beyond:,} of {count:,} tensors lie beyond the end of the file")
    at = overlaps = holes = 0
    for it in sorted(described, key=lambda it: (it.begin, it.end)):
        overlaps += it.begin < at
        holes += it.begin > at
        at = max(at, it.end)
    if overlaps:
        wrong.append(f"{overlaps:,} of {count:,} tensors overlap another")
    if holes and not impossible:
        wrong.append(f"{holes:,} holes between tensors, which the format does not allow")
    if not impossible and at < there:
        wrong.append(f"{there - at:,} bytes after the last tensor, which the format does not allow")
    return wrong
