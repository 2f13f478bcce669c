"""Where the sections and the constants of an ELF file lie, as linkers note it.

The dynamic loader needs none of this (`elf.py` reads what it does), but GPU code is found by the
name of its section. Also of a file that can only be read from front to back. Only files of 64
bits and little-endian, the others hold no GPU code.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

CUT_OFF = "the file is cut off"
NO_SEGMENTS = "it has no segments"
NO_ELF = "invalid ELF header"

_MAX_NAMES_BYTES = 1024**2
_LONGEST_NAME = 64
_READ_BYTES = 1024**2

# https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html
_HEADER = struct.Struct("<32xQQ6xHHHHH")  # where, size and number of segments and of sections
_SEGMENT = struct.Struct("<IIQ16xQ16x")  # kind, flags, offset, bytes in the file
_SECTION = struct.Struct("<II16xQQ24x")  # name, kind, offset, bytes
_PT_LOAD, _PF_W, _SHT_NOBITS = 1, 2, 8


class GiveUpError(Exception):
    """The file cannot be understood, or not within our limits; the text says why."""


class RandomAccess:
    """The bytes of a file in which seeking is cheap, by their place."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)

    def read(self, offset: int, count: int) -> bytes:
        """These bytes, fewer at the end of the file. Raises OSError."""
        if offset >= self._size:
            return b""
        self._file.seek(offset)
        return self._file.read(count)


class FrontToBack:
    """The bytes of a stream by their place, which may not fall back behind what was read."""

    def __init__(self, file: BinaryIO, limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self._start = 0
        self._held = b""

    def read(self, offset: int, count: int) -> bytes:
        """These bytes, fewer at the end of the stream. Raises what the stream raises."""
        if offset < self._start:
            raise GiveUpError("its parts are not in their usual order")
        while (end := self._start + len(self._held)) < offset + count:
            if end >= self._limit_bytes:
                raise GiveUpError(f"nothing was found in {self._limit_bytes >> 20} MiB of it")
            more = self._file.read(_READ_BYTES)
            if not more:
                break
            gone = min(offset - self._start, len(self._held))
            self._start, self._held = self._start + gone, self._held[gone:] + more
        at = offset - self._start
        return self._held[at : at + count]


Source = RandomAccess | FrontToBack


def chunk(source: Source, at: int, count: int) -> bytes:
    """All of these bytes. Raises GiveUpError where the file ends before."""
    data = source.read(at, count)
    if len(data) < count:
        raise GiveUpError(CUT_OFF)
    return data


class ElfHeader(NamedTuple):
    """Where an ELF file has its tables of segments and sections, and how long they are."""

    segments_at: int
    sections_at: int
    segment_bytes: int
    segments: int
    section_bytes: int
    sections: int
    names_section: int


def elf_header(source: Source) -> ElfHeader | None:
    """None for an ELF file of 32 bits or of the other byte order. Raises GiveUpError."""
    data = source.read(0, _HEADER.size)
    if data[:4] != b"\x7fELF":
        raise GiveUpError(NO_ELF)
    if data[4:6] != b"\x02\x01":
        return None
    if len(data) < _HEADER.size:
        raise GiveUpError(CUT_OFF)
    return ElfHeader(*_HEADER.unpack(data))


def sections(source: Source, header: ElfHeader) -> dict[bytes, list[tuple[int, int]]]:
    """Start and end of each section in the file, by name; none where they are not told.

    Raises GiveUpError.
    """
    if header.section_bytes != _SECTION.size or header.names_section >= header.sections:
        return {}
    data = chunk(source, header.sections_at, header.sections * _SECTION.size)
    rows = list(_SECTION.iter_unpack(data))
    _, _, names_at, names_bytes = rows[header.names_section]
    names = source.read(names_at, min(names_bytes, _MAX_NAMES_BYTES))
    found: dict[bytes, list[tuple[int, int]]] = {}
    for name_at, kind, offset, size in rows:
        name = names[name_at : name_at + _LONGEST_NAME].partition(b"\0")[0]
        if name and kind != _SHT_NOBITS:
            found.setdefault(name, []).append((offset, offset + size))
    return found


def constants(source: Source, header: ElfHeader) -> list[tuple[int, int]]:
    """Start and end of each part that is loaded and cannot be written to, in their order.

    Constants are among them, together with the code in files of older linkers. Raises GiveUpError.
    """
    if header.segment_bytes != _SEGMENT.size:
        raise GiveUpError(NO_SEGMENTS)
    data = chunk(source, header.segments_at, header.segments * _SEGMENT.size)
    return sorted(
        (offset, offset + size)
        for kind, flags, offset, size in _SEGMENT.iter_unpack(data)
        if kind == _PT_LOAD and not flags & _PF_W
    )
