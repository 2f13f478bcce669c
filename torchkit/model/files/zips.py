"""The list of a zip's members, and the small ones' content. Stored and deflated ones; zip64.

Own, because `zipfile` reads as large a list as the file claims to have, takes a second for 100,000
members and raises half a dozen kinds of exception. The format: PKWARE's APPNOTE.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from torchkit.model.files.source import DamagedError, Source

MAX_LIST_BYTES = 64 * 1024**2
MAX_MEMBERS = 200_000
"""An optimizer's checkpoint of a large model has some ten thousand."""

INFLATED_LIMIT_BYTES = 64 * 1024**2
"""So much of one member is decompressed."""

_END, _END_MAGIC = struct.Struct("<4s4H2LH"), b"PK\5\6"
_END_64, _END_64_MAGIC = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"
_LOCATOR_64, _LOCATOR_64_MAGIC = struct.Struct("<4sLQL"), b"PK\6\7"
_ENTRY, _ENTRY_MAGIC = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
LOCAL, LOCAL_MAGIC = struct.Struct("<4s5H3L2H"), b"PK\3\4"
_LARGE = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8
_IS_ENCRYPTED = 1


class NoListError(DamagedError):
    """The list of members at the end of a zip is not there."""


class Member(NamedTuple):
    """A file in a zip: sizes and the place of its local header in bytes, from the zip's list."""

    method: int
    is_encrypted: bool
    crc: int
    compressed_bytes: int
    size: int
    place: int


class Zip(NamedTuple):
    """A zip: its members by name, in their order."""

    source: Source
    members: dict[str, Member]

    def data_place(self, member: Member) -> int:
        """Where the member's bytes begin. Raises DamagedError where they are not in the file."""
        magic, *_, name_bytes, extra_bytes = self.source.numbers(LOCAL, member.place)
        if magic != LOCAL_MAGIC:
            raise DamagedError("the zip's list points at a place where no member is")
        start = int(member.place + LOCAL.size + name_bytes + extra_bytes)
        if start + member.compressed_bytes > self.source.size:
            raise DamagedError("a member lies beyond the end of the file")
        return start

    def opened(self, name: str) -> Source:
        """The content of a member. Raises DamagedError."""
        member = self.members.get(name)
        if member is None:
            raise DamagedError(f"{name} is missing in the zip")
        if member.is_encrypted:
            raise DamagedError(f"{name} is encrypted")
        start = self.data_place(member)
        if member.method == _STORED:
            return self.source.window(start, member.compressed_bytes)
        if member.method == _DEFLATED:
            import io

            return Source(io.BytesIO(self._inflated(name, member, start)))
        raise DamagedError(
            f"{name} is compressed by method {member.method}, which torch never uses"
        )

    def content(self, name: str, limit_bytes: int = INFLATED_LIMIT_BYTES) -> bytes:
        """A member's bytes. Raises DamagedError, also where there are more than the limit."""
        source = self.opened(name)
        if source.size > limit_bytes:
            raise DamagedError(f"{name} is larger than {limit_bytes // 1024**2} MiB")
        return source.read(0, source.size)

    def _inflated(self, name: str, member: Member, start: int) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        parts, total, taken = [], 0, 0
        while not inflater.eof and taken < member.compressed_bytes:
            data = self.source.exactly(start + taken, min(1 << 16, member.compressed_bytes - taken))
            taken += len(data)
            while data:
                try:
                    part = inflater.decompress(data, 1 << 20)
                except zlib.error:
                    raise DamagedError(f"the compressed data of {name} is damaged") from None
                data = inflater.unconsumed_tail
                parts.append(part)
                total += len(part)
                if total > INFLATED_LIMIT_BYTES:
                    raise DamagedError(
                        f"{name} would be decompressed to more than "
                        f"{INFLATED_LIMIT_BYTES // 1024**2} MiB"
                    )
        return b"".join(parts)


def read_zip(source: Source) -> Zip:
    """The zip's members, folders left out. Raises DamagedError."""
    start, count, list_bytes, before = _list_place(source)
    if list_bytes > MAX_LIST_BYTES or count > MAX_MEMBERS:
        raise DamagedError(f"the zip claims to have {count:,} members")
    data = source.read(start, list_bytes)
    members: dict[str, Member] = {}
    at = found = 0
    while at + _ENTRY.size <= len(data) and data[at : at + 4] == _ENTRY_MAGIC:
        fields = _ENTRY.unpack_from(data, at)
        flags, method, crc, packed, size, place = (
            fields[3], fields[4], fields[7], fields[8], fields[9], fields[16],
        )  # fmt: skip
        name_at = at + _ENTRY.size
        extra_at = name_at + fields[10]
        at = extra_at + fields[11] + fields[12]
        name = data[name_at:extra_at].decode("utf-8", "replace")
        found += 1
        if _LARGE in (packed, size, place):
            size, packed, place = _wide(data[extra_at : extra_at + fields[11]], size, packed, place)
        if not name.endswith("/"):
            members[name] = Member(
                method, bool(flags & _IS_ENCRYPTED), crc, packed, size, before + place
            )
    if found != count and found != count % 65536:
        raise DamagedError(f"the zip's list has {found:,} members, it claims {count:,}")
    return Zip(source, members)


def _list_place(source: Source) -> tuple[int, int, int, int]:
    """Place, number of members and bytes of the list; bytes that stand before the zip itself."""
    tail_at = max(0, source.size - 65535 - _END.size)
    tail = source.read(tail_at, 65535 + _END.size)
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise NoListError("cut off: the list at the end of the zip is missing")
    _, _, _, _, count, list_bytes, start, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    data = source.read(max(0, end - _LOCATOR_64.size), _LOCATOR_64.size)
    if len(data) == _LOCATOR_64.size and data[:4] == _LOCATOR_64_MAGIC:
        _, _, end, _ = _LOCATOR_64.unpack(data)
        magic, *_, count, list_bytes, start = source.numbers(_END_64, end)
        if magic != _END_64_MAGIC:
            raise DamagedError("the list of the zip is damaged")
    if list_bytes > end or start + list_bytes > end:
        raise DamagedError("the list of the zip is damaged")
    return end - list_bytes, count, list_bytes, end - list_bytes - start


def _wide(extra: bytes, *values: int) -> list[int]:
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
    return [wide.pop(0) if value == _LARGE and wide else value for value in values]
