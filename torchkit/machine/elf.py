"""What a compiled file says of itself: its name, what it needs, which symbol versions.

Reads what the dynamic loader reads (program headers and the dynamic segment, never the section
headers, which a stripped file may lack), a page at a time. A file the loader would refuse gives
`Unknown` with the loader's own words. No file is searched for here; `loader.py` does that.

By hand and not with pyelftools, since this runs at every `torchkit env`: over the 17 files of
one `import torch`, pyelftools 0.33 takes 38 ms of CPU to be imported, 2 ms a file and 23 ms for
libtorch_cpu.so; these few structures take 0.15 ms a file. The tests hold names, versions, path
and stack against pyelftools. Single symbols are the subject of `symbols.py`.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from torchkit.system import System, Unknown

PAGE_BYTES = 4096
MANY_BYTES = 16 * PAGE_BYTES

MAX_SEGMENTS = 4096
MAX_ENTRIES = 65536
MAX_NEEDED = 1024
MAX_NAME_BYTES = 65536
MAX_TEXT_BYTES = 16 * 1024**2
"""No real file comes near these; a damaged one must not keep us busy."""

KEPT_PAGES = 4096
"""So many pages of a file are held at once, 16 MB; a damaged file may lead to any number."""

TOO_SHORT = "file too short"
NO_ELF = "invalid ELF header"
WRONG_CLASS = "wrong ELF class"
CANNOT_READ = "cannot read file data"
NO_SEGMENTS = "object file has no loadable segments"
NOT_ALIGNED = "ELF load command address/offset not page-aligned"
DAMAGED = "the dynamic segment is damaged"

# https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}

_STACK_IS_EXECUTABLE_BY_DEFAULT = {"i386", "x86_64", "arm", "ppc", "s390x", "mips"}
"""Where a file without PT_GNU_STACK asks for an executable stack (glibc's stackinfo.h)."""

_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_GNU_STACK = 1, 2, 3, 0x6474E551
_PF_X = 1
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 1, 5, 10, 14, 15, 29
_DT_VERDEF, _DT_VERNEED, _DT_FLAGS_1 = 0x6FFFFFFC, 0x6FFFFFFE, 0x6FFFFFFB
_DF_1_NODEFLIB, _DF_1_PIE = 0x800, 0x08000000
_VER_FLG_BASE, _VER_FLG_WEAK = 1, 2
_VERSION_NUMBER = 0x7FFF

_TORCH_NAME = re.compile(rb"\0_ZNK?(?:3c10|2at|5torch)")
_NEW_ABI = re.compile(rb"\0_ZNK?(?:3c10|2at|5torch)[^\0]*__cxx11")
_OLD_ABI = re.compile(rb"\0_ZNK?(?:3c10|2at|5torch)[^\0]*[EKRIPOSv_]Ss")
"""`Ss` is how std::string is written in a name of the old ABI, here at the start of a type.

From the zero byte before a name on: else the time would grow with the square of a long name.
"""

_CHUNK_BYTES = 1024**2
_OVERLAP_BYTES = 4096
_NAMES_LIMIT_BYTES = 256 * 1024**2
"""How much of a table of names is searched; that of a libtorch_cpu.so takes 5 MB."""


class NeededVersion(NamedTuple):
    """A symbol version that a file asks of a library; the loader does without a weak one."""

    name: str
    is_weak: bool = False


class Elf(NamedTuple):
    """What the loader reads of a file. `rpath` and `runpath` are as written, `$ORIGIN` and all.

    `needed_versions` maps a library's name to the versions asked of it. `defined_versions` is
    empty where the file has no versions, which satisfies every demand. `is_program` is true for
    an executable, position-independent or not: the loader refuses to `dlopen` one.
    """

    machine: str
    bits: int = 64
    is_little_endian: bool = True
    is_program: bool = False
    is_position_independent: bool = True
    has_dynamic: bool = True
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    needed_versions: Mapping[str, tuple[NeededVersion, ...]] = MappingProxyType({})
    defined_versions: tuple[str, ...] = ()
    executable_stack: bool = False
    interpreter: str | None = None
    ignores_default_folders: bool = False


def read_elf(system: System, path: Path | str) -> Elf | Unknown:
    """The file at `path`, or `Unknown` with the words the dynamic loader has for its fault."""
    try:
        with system.open(path) as file:
            return parse_elf(file)
    except OSError as error:
        if system.is_folder(path):
            return Unknown(f"{CANNOT_READ}: Is a directory")
        return Unknown(cannot_open(error.errno))
    except ValueError:  # a NUL in the path
        return Unknown(cannot_open(None))


def cannot_open(number: int | None) -> str:
    """The loader's words for a file that cannot be opened; `number` is the errno."""
    words = os.strerror(number) if number else "No such file or directory"
    return f"cannot open shared object file: {words}"


def parse_elf(file: BinaryIO, *, bits: int | None = None) -> Elf | Unknown:
    """The same of an open file, e.g. a member of a zip. Raises OSError where reading fails.

    With `bits`, a file of the other size is refused before anything else is looked at.
    """
    try:
        return Image(Pages(file), bits=bits).elf()
    except BrokenError as broken:
        return Unknown(str(broken))


def cxx11_abi(system: System, path: Path | str) -> bool | Unknown:
    """Whether torch's own names in this file have std::string of the C++11 ABI.

    Only names in torch's namespaces count: a file of the old ABI may hold `__cxx11` names of a
    libstdc++ that was linked into it. `Unknown` where no such name has a std::string in it.
    """
    try:
        with system.open(path) as file:
            return parse_cxx11_abi(file)
    except (OSError, ValueError) as error:
        return Unknown(cannot_open(getattr(error, "errno", None)))


def parse_cxx11_abi(file: BinaryIO) -> bool | Unknown:
    """The same of an open file. Raises OSError where reading fails."""
    try:
        image = Image(Pages(file))
        start, size = image.string_table()
    except BrokenError as broken:
        return Unknown(str(broken))
    has_torch_name = has_old = False
    for offset in range(0, min(size, _NAMES_LIMIT_BYTES), _CHUNK_BYTES):
        file.seek(start + offset)
        chunk = file.read(min(_CHUNK_BYTES + _OVERLAP_BYTES, size - offset))
        if _NEW_ABI.search(chunk):
            return True
        has_old = has_old or _OLD_ABI.search(chunk) is not None
        has_torch_name = has_torch_name or _TORCH_NAME.search(chunk) is not None
    if has_old:
        return False
    if has_torch_name:
        return Unknown("none of its torch names has a std::string in it")
    return Unknown("it has no names of torch")


def read_only_data(file: BinaryIO) -> tuple[tuple[int, int], ...] | Unknown:
    """Offset and size in bytes of each part of the file that is mapped neither writable nor
    executable: where a compiler puts string constants.
    """
    try:
        image = Image(Pages(file))
    except BrokenError as broken:
        return Unknown(str(broken))
    return tuple(
        (part.offset, part.file_bytes) for part in image.segments(_PT_LOAD) if not part.flags & 3
    )


def name_table(file: BinaryIO) -> tuple[int, int] | Unknown:
    """Offset and size in bytes of the part of the file that holds every name the loader may need:
    of libraries, of symbols that are taken and of those that are offered.
    """
    try:
        return Image(Pages(file)).string_table()
    except BrokenError as broken:
        return Unknown(str(broken))


class BrokenError(Exception):
    """The file is broken; the text is what the loader says of it."""


class Pages:
    """A file of which single pages are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pages: dict[int, bytes] = {}
        self._text_bytes = 0
        self.size = file.seek(0, os.SEEK_END)

    def read(self, offset: int, count: int, *, words: str = DAMAGED) -> bytes:
        """`count` bytes at `offset`; where they are not there, the file is broken."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise BrokenError(words)
        if count > MANY_BYTES:
            return self._part(offset, count, words)
        number, start = divmod(offset, PAGE_BYTES)
        data = self._page(number)
        while len(data) < start + count:
            number += 1
            more = self._page(number)
            if not more:  # the file shrank while we read it
                raise BrokenError(words)
            data += more
        return data[start : start + count]

    def text(self, offset: int, end: int) -> str:
        """The text that starts at `offset` and ends with a zero byte before `end`."""
        data = b""
        if self._text_bytes > MAX_TEXT_BYTES:
            raise BrokenError(DAMAGED)
        while offset < end and len(data) < MAX_NAME_BYTES:
            count = min(PAGE_BYTES - offset % PAGE_BYTES, end - offset)
            piece, zero, _ = self.read(offset, count).partition(b"\0")
            data += piece
            self._text_bytes += len(piece)
            if zero:
                return os.fsdecode(data)
            offset += count
        raise BrokenError(DAMAGED)

    def _part(self, offset: int, count: int, words: str) -> bytes:
        """A long piece, of which nothing is kept."""
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) < count:
            raise BrokenError(words)
        return data

    def _page(self, number: int) -> bytes:
        if number not in self._pages:
            if len(self._pages) >= KEPT_PAGES:
                self._pages.clear()
            self._file.seek(number * PAGE_BYTES)
            self._pages[number] = self._file.read(PAGE_BYTES)
        return self._pages[number]


class Segment(NamedTuple):
    """A part of the file, and the address it is mapped to."""

    kind: int
    flags: int
    offset: int
    address: int
    file_bytes: int


class Image:
    """An ELF file taken apart as far as the loader does it."""

    def __init__(self, pages: Pages, *, bits: int | None = None) -> None:
        self.pages = pages
        self._read_header(bits)
        self._segments = self._read_segments()
        self._entries = self._read_entries()
        self._names: tuple[int, int] | None = None

    # --- the header, in the order of the loader's checks (glibc, elf/dl-load.c, open_verify)

    def _read_header(self, bits: int | None) -> None:
        head = self.pages.read(0, min(64, self.pages.size))
        if len(head) < 52:
            raise BrokenError(TOO_SHORT)
        if head[:4] != b"\x7fELF":
            raise BrokenError(TOO_SHORT if len(head) < 64 else NO_ELF)
        if head[4] not in (1, 2):
            raise BrokenError(f"{WRONG_CLASS}: ELFCLASSNONE")
        self.bits = 64 if head[4] == 2 else 32
        if bits is not None and bits != self.bits:
            raise BrokenError(f"{WRONG_CLASS}: ELFCLASS{self.bits}")
        if self.bits == 64 and len(head) < 64:
            raise BrokenError(TOO_SHORT)
        if head[5] not in (1, 2):
            raise BrokenError("ELF file data encoding not little-endian")
        self.order = "<" if head[5] == 1 else ">"
        self._check_identification(head)
        layout = "HHIQQQIHHH" if self.bits == 64 else "HHIIIIIHHH"
        (self.kind, number, version, _, self._table, _, _, _, entry_bytes, self._count) = (
            struct.unpack_from(self.order + layout, head, 16)
        )
        if version != 1:
            raise BrokenError("ELF file version does not match current one")
        self.machine = _MACHINES.get(number, f"machine {number}")
        if self.kind not in (_ET_EXEC, _ET_DYN):
            raise BrokenError("only ET_DYN and ET_EXEC can be loaded")
        if entry_bytes != (56 if self.bits == 64 else 32):
            raise BrokenError("ELF file's phentsize not the expected size")

    @staticmethod
    def _check_identification(head: bytes) -> None:
        if head[6] != 1:
            raise BrokenError("ELF file version ident does not match current one")
        if head[7] not in (0, 3):
            raise BrokenError("ELF file OS ABI invalid")
        if head[8] != 0 and not (head[7] == 3 and head[8] < 4):
            raise BrokenError("ELF file ABI version invalid")
        if any(head[9:16]):
            raise BrokenError("nonzero padding in e_ident")

    # --- the segments

    def _read_segments(self) -> tuple[Segment, ...]:
        if self._table >= 2**63:  # an offset below zero, for pread
            raise BrokenError(f"{CANNOT_READ}: {os.strerror(errno.EINVAL)}")
        if self._count > MAX_SEGMENTS:
            raise BrokenError(CANNOT_READ)
        entry = struct.Struct(self.order + ("IIQQQQQQ" if self.bits == 64 else "IIIIIIII"))
        data = self.pages.read(self._table, self._count * entry.size, words=CANNOT_READ)
        segments = []
        for row in entry.iter_unpack(data):
            if self.bits == 64:
                kind, flags, offset, address, _, file_bytes, _, _ = row
            else:
                kind, offset, address, _, file_bytes, _, flags, _ = row
            segments.append(Segment(kind, flags, offset, address, file_bytes))
        loads = [segment for segment in segments if segment.kind == _PT_LOAD]
        for segment in loads:
            if (segment.address - segment.offset) % PAGE_BYTES:
                raise BrokenError(NOT_ALIGNED)
        if not loads:
            raise BrokenError(NO_SEGMENTS)
        end = max(segment.offset + segment.file_bytes for segment in loads)
        if end > self.pages.size:
            raise BrokenError(
                f"Bus error, since the file is cut off: {self.pages.size} bytes of at least {end}"
            )
        return tuple(segments)

    def segments(self, kind: int) -> list[Segment]:
        """Those of one kind (PT_LOAD and so on), in their order."""
        return [segment for segment in self._segments if segment.kind == kind]

    def offset(self, address: int) -> int:
        """Where in the file the byte lies that is mapped to this address."""
        for segment in self._segments:
            if segment.kind == _PT_LOAD and 0 <= address - segment.address < segment.file_bytes:
                return segment.offset + address - segment.address
        raise BrokenError(DAMAGED)

    # --- the dynamic segment

    def _read_entries(self) -> dict[int, list[int]]:
        entries: dict[int, list[int]] = {}
        for segment in self.segments(_PT_DYNAMIC)[-1:]:
            entry = struct.Struct(self.order + ("QQ" if self.bits == 64 else "II"))
            size = min(segment.file_bytes, MAX_ENTRIES * entry.size)
            if size == 0:
                continue
            data = self.pages.read(self.offset(segment.address), size - size % entry.size)
            for tag, value in entry.iter_unpack(data):
                if tag == 0:
                    break
                entries.setdefault(tag, []).append(value)
        return entries

    def string_table(self) -> tuple[int, int]:
        """Offset and size in bytes of the names."""
        if self._names is not None:  # there may be thousands of segments to look through
            return self._names
        address, size = self.last(_DT_STRTAB), self.last(_DT_STRSZ)
        if address is None or size is None:
            raise BrokenError("object file has no dynamic section")
        start = self.offset(address)
        if start + size > self.pages.size:
            raise BrokenError(DAMAGED)
        self._names = start, size
        return self._names

    def last(self, tag: int) -> int | None:
        """The value of an entry of the dynamic segment; of several, the last counts."""
        return self._entries[tag][-1] if tag in self._entries else None

    def name(self, start: int) -> str:
        """The name at this place of the table of names."""
        table, size = self.string_table()
        if start >= size:
            raise BrokenError(DAMAGED)
        return self.pages.text(table + start, table + size)

    def _named(self, tag: int) -> str | None:
        start = self.last(tag)
        return None if start is None else self.name(start)

    # --- symbol versions: https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html

    def version_needs(self) -> Iterator[tuple[str, NeededVersion, int]]:
        """Library, version and the version's number in this file."""
        budget = MAX_ENTRIES
        address = self.last(_DT_VERNEED)
        at = None if address is None else self.offset(address)
        while at is not None and budget > 0:
            _, _, file, aux, following = self.record(at, "HHIII")
            library = self.name(file)
            at_version = at + aux
            while budget > 0:
                budget -= 1
                _, flags, number, name, step = self.record(at_version, "IHHII")
                version = NeededVersion(self.name(name), bool(flags & _VER_FLG_WEAK))
                yield library, version, number & _VERSION_NUMBER
                at_version += step
                if step == 0:
                    break
            at = at + following if following else None

    def _needed_versions(self) -> dict[str, tuple[NeededVersion, ...]]:
        needed: dict[str, list[NeededVersion]] = {}
        for library, version, _ in self.version_needs():
            needed.setdefault(library, []).append(version)
        return {library: tuple(versions) for library, versions in needed.items()}

    def version_definitions(self) -> Iterator[tuple[str, int, bool]]:
        """Version, its number in this file, and whether it is the base: the file's own name."""
        budget = MAX_ENTRIES
        address = self.last(_DT_VERDEF)
        at = None if address is None else self.offset(address)
        while at is not None and budget > 0:
            budget -= 1
            _, flags, number, _, _, aux, following = self.record(at, "HHHHIII")
            (name,) = self.record(at + aux, "I")
            yield self.name(name), number & _VERSION_NUMBER, bool(flags & _VER_FLG_BASE)
            at = at + following if following else None

    def record(self, offset: int, layout: str) -> tuple[int, ...]:
        """Numbers at this offset; `layout` as in `struct`, without the byte order."""
        layout = self.order + layout
        return struct.unpack(layout, self.pages.read(offset, struct.calcsize(layout)))

    # --- all of it

    def elf(self) -> Elf:
        flags = self.last(_DT_FLAGS_1) or 0
        needed = self._entries.get(_DT_NEEDED, ())
        if len(needed) > MAX_NEEDED:
            raise BrokenError(DAMAGED)
        return Elf(
            machine=self.machine,
            bits=self.bits,
            is_little_endian=self.order == "<",
            is_program=self.kind == _ET_EXEC or bool(flags & _DF_1_PIE),
            is_position_independent=self.kind == _ET_DYN,
            has_dynamic=bool(self._entries),
            soname=self._named(_DT_SONAME),
            needed=tuple(map(self.name, needed)),
            rpath=self._named(_DT_RPATH),
            runpath=self._named(_DT_RUNPATH),
            needed_versions=self._needed_versions(),
            defined_versions=tuple(name for name, _, _ in self.version_definitions()),
            executable_stack=self._executable_stack(),
            interpreter=self._interpreter(),
            ignores_default_folders=bool(flags & _DF_1_NODEFLIB),
        )

    def _executable_stack(self) -> bool:
        stacks = self.segments(_PT_GNU_STACK)
        if not stacks:
            return self.machine in _STACK_IS_EXECUTABLE_BY_DEFAULT
        return bool(stacks[-1].flags & _PF_X)

    def _interpreter(self) -> str | None:
        for segment in self.segments(_PT_INTERP):
            return self.pages.text(segment.offset, segment.offset + segment.file_bytes)
        return None
