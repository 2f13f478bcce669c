"""What `ldconfig` has written down: names of libraries and where they lie.

Reads `/etc/ld.so.cache`, in glibc's new format, also where it follows the old one (glibc,
elf/cache.c and sysdeps/generic/dl-cache.h). A damaged cache is an empty one, as for the loader.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence

_OLD_MAGIC = b"ld.so-1.7.0"
_NEW_MAGIC = b"glibc-ld.so.cache1.1"
_OLD_HEADER_BYTES, _OLD_ENTRY_BYTES = 16, 12
_NEW_HEADER = struct.Struct("<20sIIB3xI12x")
_NEW_ENTRY = struct.Struct("<iIIIQ")
_EXTENSION_MAGIC = 0xEAA42174
_HWCAPS_TAG = 1
_NAMED_HWCAP = 1 << 30  # in the upper half of an entry's hwcap
_MAX_TEXT_BYTES = 4096
"""No path that Linux can open is longer; entries of a damaged cache may share a text of any size."""

# _DL_CACHE_DEFAULT_ID: the architecture's flag and that of a libc.so.6
_FLAGS = {"x86_64": 0x303, "s390x": 0x403, "ppc64": 0x503, "aarch64": 0xA03}
_PLAIN_FLAGS = (1, 3)


def read_cache(data: bytes, *, machine: str, levels: Sequence[str] = ()) -> Mapping[str, str]:
    """Path by name, for programs of this `machine`.

    `levels` are the folders below `glibc-hwcaps` that this CPU can use, best first.
    """
    try:
        return _read(data, machine, levels)
    except (struct.error, ValueError):
        return {}


def _read(data: bytes, machine: str, levels: Sequence[str]) -> Mapping[str, str]:
    start = 0
    if data.startswith(_OLD_MAGIC):
        (count,) = struct.unpack_from("<I", data, _OLD_HEADER_BYTES - 4)
        start = (_OLD_HEADER_BYTES + count * _OLD_ENTRY_BYTES + 7) // 8 * 8
    data = data[start:]
    magic, count, _, _, extension = _NEW_HEADER.unpack_from(data)
    if magic != _NEW_MAGIC:
        return {}
    end = _NEW_HEADER.size + count * _NEW_ENTRY.size
    if end > len(data):
        return {}
    allowed = (_FLAGS.get(machine, 3), *_PLAIN_FLAGS[: 1 if machine in _FLAGS else 2])
    ranks: list[int | None] | None = None
    paths: dict[str, str] = {}
    best: dict[str, int] = {}
    for flags, key, value, _, hwcap in _NEW_ENTRY.iter_unpack(data[_NEW_HEADER.size : end]):
        if flags not in allowed:
            continue
        rank: int | None = len(levels)
        if hwcap:
            if ranks is None:
                ranks = _ranks(data, extension, levels)
            rank = _rank(hwcap, ranks)
        name = _text(data, key)
        if rank is not None and rank < best.get(name, len(levels) + 1):
            paths[name], best[name] = _text(data, value), rank
    return paths


def _rank(hwcap: int, ranks: list[int | None]) -> int | None:
    """Which of the levels this entry is for; None where this CPU cannot use it."""
    index = hwcap & 0xFFFFFFFF
    if not (hwcap >> 32) & _NAMED_HWCAP or index >= len(ranks):
        return None  # a hwcap of the kind that glibc 2.37 no longer knows
    return ranks[index]


def _ranks(data: bytes, extension: int, levels: Sequence[str]) -> list[int | None]:
    magic, count = struct.unpack_from("<II", data, extension)
    if magic != _EXTENSION_MAGIC:
        return []
    for number in range(min(count, 16)):
        tag, _, offset, size = struct.unpack_from("<IIII", data, extension + 8 + 16 * number)
        if tag == _HWCAPS_TAG and offset + size <= len(data):
            names = [
                _text(data, at) for (at,) in struct.iter_unpack("<I", data[offset : offset + size])
            ]
            return [levels.index(name) if name in levels else None for name in names]
    return []


def _text(data: bytes, start: int) -> str:
    return os.fsdecode(data[start : data.index(b"\0", start, start + _MAX_TEXT_BYTES)])
