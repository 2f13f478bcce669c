"""A zip archive read in place: its members are files of a `System`, and nothing is unpacked.

By hand and not with zipfile, which reads a list of members of whatever size the file claims, and
goes back in a compressed member by inflating it from its start. Here a member is inflated once,
from front to back, and its state is kept at some places, so that what reads a library (program
headers at its start, names at its end) costs one pass and a few kilobytes. How much is inflated
is bounded: a zip may hold a thousand times its size.

The layout: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import bisect
import contextlib
import io
import os
import posixpath
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from torchkit.system import System, Unknown

INFLATED_LIMIT_BYTES = 4 * 1024**3
"""More is not inflated of one archive: two passes over the libraries of a CUDA build."""

DIRECTORY_LIMIT_BYTES = 8 * 1024**2
MAX_MEMBERS = 50_000
"""A torch wheel has 13,000 members, whose list takes 1.6 MB."""

MAX_LINKS = 8

_INPUT_BYTES = 64 * 1024
_BLOCK_BYTES = 256 * 1024
_KEPT_STATES = 128
"""How many times a member's state is kept, 40 KB each."""
_KEPT_EVERY_BYTES = 4 * 1024**2

_STORED, _DEFLATED = 0, 8
_MOST_TIMES = 1032
"""So many times its own size is the most that zlib makes of a compressed byte."""
_IS_ENCRYPTED = 1
_UNIX = 3
_LARGE = 0xFFFFFFFF

_END, _END_MAGIC = struct.Struct("<4s4H2LH"), b"PK\5\6"
_END_64, _END_64_MAGIC = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"
_LOCATOR_64, _LOCATOR_64_MAGIC = struct.Struct("<4sLQL"), b"PK\6\7"
_ENTRY, _ENTRY_MAGIC = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
_LOCAL, _LOCAL_MAGIC = struct.Struct("<4s5H3L2H"), b"PK\3\4"
_MAX_COMMENT_BYTES = 65535


class Member(NamedTuple):
    """One file of an archive, as the archive's list describes it; sizes and place in bytes."""

    method: int
    is_encrypted: bool
    is_link: bool
    compressed_bytes: int
    size: int
    place: int


class TooMuchError(OSError):
    """More would have to be inflated than is allowed."""


class _BadZipError(Exception):
    """The archive is broken; the text says how."""


class ArchiveSystem(System):
    """The files of a zip, under absolute paths: `/libtorch/lib/libc10.so`.

    Of members with the same name the last one counts, as where they are unpacked.
    """

    def __init__(
        self, file: BinaryIO, members: dict[str, Member], *, limit_bytes: int = INFLATED_LIMIT_BYTES
    ) -> None:
        super().__init__(environ={})
        self.members = members
        self._file = file
        self._budget = _Budget(limit_bytes)
        self._states: dict[int, list[_State]] = {}

    @contextlib.contextmanager
    def open(self, path: Path | str) -> Iterator[BinaryIO]:
        """A member as a file that can be read anywhere. Raises OSError."""
        member = self._member(path)
        if member is None:
            raise FileNotFoundError(2, "no such file in the archive", str(path))
        yield self._opened(member)

    def size(self, path: Path | str) -> int | None:
        member = self._member(path)
        return None if member is None else member.size

    def exists(self, path: Path | str) -> bool:
        return self._member(path) is not None or self.is_folder(path)

    def is_folder(self, path: Path | str) -> bool:
        prefix = self._prefix(path)
        return any(name.startswith(prefix) for name in self.members)

    def is_locked(self, path: Path | str) -> bool:  # noqa: ARG002 - a zip is read or it is not
        return False

    def names_in(self, folder: Path | str) -> tuple[str, ...]:
        prefix = self._prefix(folder)
        start = len(prefix)
        names = {name[start:].partition("/")[0] for name in self.members if name.startswith(prefix)}
        return tuple(sorted(names - {""}))

    def resolve(self, path: Path | str) -> Path:
        return Path(path)

    @staticmethod
    def _prefix(folder: Path | str) -> str:
        name = _name(folder)
        return f"{name}/" if name else ""

    def _member(self, path: Path | str) -> Member | None:
        """The member, or the one that it leads to."""
        name = _name(path)
        for _ in range(MAX_LINKS):
            member = self.members.get(name)
            if member is None or not member.is_link:
                return member
            target = self._opened(member).read(4096).decode("utf-8", "replace")
            name = _name(posixpath.join(posixpath.dirname(name), target))
        return None

    def _opened(self, member: Member) -> BinaryIO:
        if member.is_encrypted:
            raise OSError(None, "it is encrypted")
        start = self._data_place(member)
        if member.method == _STORED:
            raw: io.RawIOBase = _Stored(
                self._file, start, min(member.size, member.compressed_bytes)
            )
        elif member.method == _DEFLATED:
            kept = self._states.setdefault(start, [])  # a member that is opened again goes on
            raw = _Deflated(self._file, start, member, self._budget, kept)
        else:
            raise OSError(None, f"it is compressed by method {member.method}")
        return io.BufferedReader(raw, buffer_size=_INPUT_BYTES)

    def _data_place(self, member: Member) -> int:
        self._file.seek(member.place)
        data = self._file.read(_LOCAL.size)
        if len(data) < _LOCAL.size or data[:4] != _LOCAL_MAGIC:
            raise OSError(None, "the archive is damaged")
        *_, name_bytes, extra_bytes = _LOCAL.unpack(data)
        return member.place + _LOCAL.size + int(name_bytes) + int(extra_bytes)


def _name(path: Path | str) -> str:
    text = Path(path).as_posix() if isinstance(path, Path) else path
    return posixpath.normpath(text).lstrip("/").removeprefix("./").removesuffix(".")


class _Budget:
    """How many bytes may still be inflated."""

    def __init__(self, left: int) -> None:
        self._limit = self._left = left

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise TooMuchError(
                None, f"more than {self._limit // 1024**2} MiB would have to be decompressed"
            )


class _Window(io.RawIOBase):
    """Bytes that can be read from any place, of a known size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bytes = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.bytes}[whence]
        if base + offset < 0:
            raise OSError(22, "invalid argument")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(self.bytes - self._at, 0))
        data = self._some(self._at, wanted) if wanted else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _some(self, at: int, count: int) -> bytes:
        """At least one and at most `count` bytes at this place; none where it ends early."""
        raise NotImplementedError


class _Stored(_Window):
    """A member that is not compressed."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__(size)
        self._file = file
        self._start = start

    def _some(self, at: int, count: int) -> bytes:
        self._file.seek(self._start + at)
        return self._file.read(count)


class _State(NamedTuple):
    """Where inflating can go on: bytes that came out and went in, and zlib's own state."""

    out: int
    taken: int
    inflater: Any

    def copy(self) -> _State:
        return self._replace(inflater=self.inflater.copy())


class _Deflated(_Window):
    """A compressed member, inflated as far as it is read; it goes back to the last kept state."""

    def __init__(
        self, file: BinaryIO, start: int, member: Member, budget: _Budget, kept: list[_State]
    ) -> None:
        super().__init__(member.size)
        self._file = file
        self._start = start
        self._compressed_bytes = member.compressed_bytes
        self._budget = budget
        self._kept = kept
        if not kept:
            kept.append(_State(0, 0, zlib.decompressobj(-zlib.MAX_WBITS)))
        self._state = kept[0].copy()
        self._every = max(_KEPT_EVERY_BYTES, member.size // _KEPT_STATES)
        self._block_at, self._block = 0, b""

    def _some(self, at: int, count: int) -> bytes:
        earlier = self._kept[bisect.bisect_right(self._kept, at, key=_out) - 1]
        if at < self._block_at or self._state.out < earlier.out:
            self._state = earlier.copy()
            self._block_at, self._block = earlier.out, b""
        while at >= self._block_at + len(self._block):
            if not self._inflate():
                return b""
        start = at - self._block_at
        return self._block[start : start + count]

    def _inflate(self) -> bool:
        """The next block; False at the end of the member."""
        out, taken, inflater = self._state
        block = b""
        while not block and not inflater.eof:
            self._file.seek(self._start + taken)
            data = self._file.read(min(_INPUT_BYTES, self._compressed_bytes - taken))
            try:
                block = inflater.decompress(data, _BLOCK_BYTES)
            except zlib.error:
                raise OSError(None, "its compressed data is damaged") from None
            taken += len(data) - len(inflater.unconsumed_tail)
            if not data and not block:
                raise OSError(None, "its compressed data is cut off")
        self._budget.spend(len(block))
        self._block_at, self._block = out, block
        self._state = _State(out + len(block), taken, inflater)
        if (
            self._state.out - self._kept[-1].out >= self._every
            and len(self._kept) < 2 * _KEPT_STATES
        ):
            self._kept.append(self._state.copy())
        return bool(block)


def _out(state: _State) -> int:
    return state.out


# --- the list of members


@contextlib.contextmanager
def opened_archive(system: System, path: Path | str) -> Iterator[ArchiveSystem | Unknown]:
    """The zip at `path`, or `Unknown` with what the file is instead. Raises OSError."""
    with system.open(path) as file:
        found: ArchiveSystem | Unknown
        try:
            found = ArchiveSystem(file, _members(file))
        except _BadZipError as bad:
            found = Unknown(str(bad))
        yield found


def _members(file: BinaryIO) -> dict[str, Member]:
    """The members by name, folders left out. Raises _BadZipError."""
    size = file.seek(0, os.SEEK_END)
    start, count, list_bytes, prefix = _directory(file, size)
    if list_bytes > DIRECTORY_LIMIT_BYTES or count > MAX_MEMBERS:
        raise _BadZipError(f"a zip that claims to have {count} files in it")
    file.seek(start)
    data = file.read(list_bytes)
    members: dict[str, Member] = {}
    at = 0
    while at + _ENTRY.size <= len(data) and data[at : at + 4] == _ENTRY_MAGIC:
        fields = _ENTRY.unpack_from(data, at)
        name_at = at + _ENTRY.size
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        name = data[name_at : name_at + name_bytes].decode("utf-8", "replace").replace("\\", "/")
        extra = data[name_at + name_bytes : name_at + name_bytes + extra_bytes]
        at = name_at + name_bytes + extra_bytes + comment_bytes
        if not name.endswith("/") and not name.startswith("/") and ".." not in name.split("/"):
            members[posixpath.normpath(name)] = _member(fields, extra, prefix, size)
    if not members:
        raise _BadZipError(
            "a zip with nothing in it" if count == 0 else "a zip whose list is damaged"
        )
    return members


def _member(fields: Sequence[Any], extra: bytes, prefix: int, file_bytes: int) -> Member:
    """What an entry says; no number is larger than a file of that size allows."""
    system, flags, method = fields[1] >> 8, fields[3], fields[4]
    compressed_bytes, size, place = fields[8], fields[9], fields[16]
    mode = fields[15] >> 16
    if _LARGE in (compressed_bytes, size, place):
        size, compressed_bytes, place = _large(extra, size, compressed_bytes, place)
    return Member(
        method,
        bool(flags & _IS_ENCRYPTED),
        system == _UNIX and stat.S_ISLNK(mode),
        min(compressed_bytes, file_bytes),
        min(size, _MOST_TIMES * file_bytes),
        min(prefix + place, file_bytes),
    )


def _large(extra: bytes, *values: int) -> Iterator[int]:
    """The values, those that do not fit into 32 bits by the extra field 1."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, count = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            body = extra[at + 4 : at + 4 + count]
            wide = [number for (number,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8])]
            break
        at += 4 + count
    for value in values:
        yield wide.pop(0) if value == _LARGE and wide else value


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int, int]:
    """Place, number of entries and size in bytes of the list of members.

    And how many bytes stand before the archive in the file, as in one that unpacks itself.
    """
    tail_at = max(0, size - _MAX_COMMENT_BYTES - _END.size)
    file.seek(tail_at)
    tail = file.read(_MAX_COMMENT_BYTES + _END.size)
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise _BadZipError(_what_it_is(file, size))
    _, _, _, _, count, list_bytes, start, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    file.seek(max(0, end - _LOCATOR_64.size))
    data = file.read(_LOCATOR_64.size)
    if len(data) == _LOCATOR_64.size and data[:4] == _LOCATOR_64_MAGIC:
        _, _, end, _ = _LOCATOR_64.unpack(data)
        if end > size - _END_64.size:
            raise _BadZipError("a zip whose list is damaged")
        file.seek(end)
        data = file.read(_END_64.size)
        if data[:4] != _END_64_MAGIC:
            raise _BadZipError("a zip whose list is damaged")
        *_, count, list_bytes, start = _END_64.unpack(data)
    if start + list_bytes > end:
        raise _BadZipError("a zip whose list is damaged")
    return end - list_bytes, count, list_bytes, end - list_bytes - start


_BEGINNINGS = {
    b"\x1f\x8b": "compressed by gzip, not a zip: unpack it and name the folder",
    b"BZh": "compressed by bzip2, not a zip: unpack it and name the folder",
    b"\xfd7zXZ": "compressed by xz, not a zip: unpack it and name the folder",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, not a zip: unpack it and name the folder",
    b"version https://git-lfs": "a pointer of Git LFS, not the file: run git lfs pull",
    b"\x7fELF": "a compiled file, not a zip: name the folder that has lib/ in it",
}


def _what_it_is(file: BinaryIO, size: int) -> str:
    """A file without a list of members, in words."""
    file.seek(0)
    head = file.read(1024)
    if not head:
        return "an empty file"
    if head[:4] == _LOCAL_MAGIC:
        return f"a zip that is cut off after {size} bytes: the list at its end is missing"
    for beginning, words in _BEGINNINGS.items():
        if head.startswith(beginning):
            return words
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not a zip: the server's answer was saved in its place"
    return "no zip"
