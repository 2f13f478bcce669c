"""A file, or a part of one, read piece by piece at given places; and the exception for damage."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO


class DamagedError(Exception):
    """The file cannot be read on from here; the text says why, as a clause without a subject."""


class Source:
    """Bytes from `start` on, `size` of them, of which only what is asked for is read."""

    def __init__(self, file: BinaryIO, start: int = 0, size: int | None = None) -> None:
        self._file = file
        self.start = start
        end = file.seek(0, os.SEEK_END)
        rest = max(end - start, 0)
        self.size = rest if size is None else min(size, rest)

    def read(self, at: int, count: int) -> bytes:
        """At most `count` bytes; fewer at the end. Raises OSError."""
        count = min(count, self.size - at)
        if at < 0 or count <= 0:
            return b""
        self._file.seek(self.start + at)
        return self._file.read(count)

    def exactly(self, at: int, count: int) -> bytes:
        """So many bytes. Raises DamagedError where there are fewer, before any memory is taken."""
        if at < 0 or count < 0 or at + count > self.size:
            raise DamagedError(f"cut off: byte {at + count:,} is needed, there are {self.size:,}")
        return self.read(at, count)

    def numbers(self, layout: struct.Struct, at: int) -> tuple[Any, ...]:
        """The fields at this place. Raises DamagedError."""
        return layout.unpack(self.exactly(at, layout.size))

    def window(self, at: int, size: int) -> Source:
        """A part of it."""
        return Source(self._file, self.start + at, max(0, min(size, self.size - at)))
