"""Symbols of a compiled file: which it takes from others, and whether it has one that others take.

`Exports` answers as glibc's loader would (elf/dl-lookup.c, do_lookup_x and check_match), by the
hash table it uses: the filter is kept, of everything else a few bytes are read for each name, so
that a library of hundreds of megabytes costs microseconds a name. No file stays open, and none is
mapped: one that is cut off while we read it must not kill us. Which files are asked, and in what
order, is the subject of `binding.py`.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from torchkit.machine.elf import (
    DAMAGED,
    MAX_ENTRIES,
    MAX_TEXT_BYTES,
    BrokenError,
    Image,
    Pages,
    cannot_open,
)
from torchkit.system import System, Unknown

MAX_SYMBOLS = 2**20
MAX_RELOCATIONS = 2**22
MAX_CHAIN = 2**16
MAX_STEPS = 2**20
"""How far chains are followed for one name, and for all names that are asked for at once."""

KEPT_FILTER_BYTES = 2**20
"""A filter beyond this is read word by word, so that many libraries take little memory."""

# https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html
_DT_HASH, _DT_SYMTAB, _DT_GNU_HASH, _DT_VERSYM = 4, 6, 0x6FFFFEF5, 0x6FFFFFF0
_DT_RELA, _DT_RELASZ, _DT_REL, _DT_RELSZ = 7, 8, 17, 18
_DT_PLTRELSZ, _DT_PLTREL, _DT_JMPREL = 2, 20, 23
_DT_RELACOUNT, _DT_RELCOUNT = 0x6FFFFFF9, 0x6FFFFFFA

_STB_WEAK = 2
_BINDINGS = {1, _STB_WEAK, 10}
"""GLOBAL, WEAK and GNU_UNIQUE: what is bound across files."""

_STT_TLS = 6
_DEFINING_TYPES = {0, 1, 2, 5, 6, 10}
"""NOTYPE, OBJECT, FUNC, COMMON, TLS and GNU_IFUNC: what check_match takes for a definition."""

_BIND_HERE = {1, 2}
"""STV_INTERNAL and STV_HIDDEN: such a symbol is never looked for elsewhere, nor found there."""

_SHN_ABS = 0xFFF1
_HIDDEN_VERSION, _VERSION_NUMBER = 0x8000, 0x7FFF
_FIRST_OWN_VERSION = 3
"""A name without a version is given one of the version numbers below this at once."""

_CHAIN_BYTES = 64
_PART_ENTRIES = 2**14

_T = TypeVar("_T")


class Symbol(NamedTuple):
    """A name that a file takes from elsewhere; with versions, also from which library."""

    name: str
    version: str | None = None
    library: str | None = None
    is_weak: bool = False


class Import(NamedTuple):
    """A symbol that a file takes from elsewhere, and its place in the file's table."""

    place: int
    symbol: Symbol


class Query(NamedTuple):
    """A symbol made ready to be looked for in many files. `text` ends with a zero byte."""

    symbol: Symbol
    text: bytes
    hashed: int


def query(symbol: Symbol) -> Query:
    """The symbol with its hash, which is worth keeping: it costs 30 ns a letter."""
    text = os.fsencode(symbol.name)
    return Query(symbol, text + b"\0", gnu_hash(text))


def gnu_hash(name: bytes) -> int:
    """The hash of DT_GNU_HASH (glibc, sysdeps/generic/dl-new-hash.h)."""
    value = 5381
    for letter in name:
        value = (value * 33 + letter) & 0xFFFFFFFF
    return value


def sysv_hash(name: bytes) -> int:
    """The hash of DT_HASH (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html)."""
    value = 0
    for letter in name:
        value = (value << 4) + letter
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


# --- what a file takes


def undefined_symbols(system: System, path: Path | str) -> tuple[Symbol, ...] | Unknown:
    """What the file needs other libraries to define, in its own order."""
    imports = imported_symbols(system, path)
    return imports if isinstance(imports, Unknown) else tuple(entry.symbol for entry in imports)


def imported_symbols(system: System, path: Path | str) -> tuple[Import, ...] | Unknown:
    """The same, with the place of each in the file's table of symbols."""
    return _told(system, path, lambda file: tuple(_Table(file).undefined()))


def relocated_symbols(
    system: System, path: Path | str, among: Collection[int]
) -> tuple[int, ...] | Unknown:
    """Which of these symbols the loader looks for, in its order: that of the relocations.

    A symbol without a relocation is never looked for. `among` are places in the file's table.
    """
    return _told(system, path, lambda file: tuple(_Table(file).relocated(set(among))))


def defined_symbols(system: System, path: Path | str) -> frozenset[str] | Unknown:
    """Names of functions and variables that the file offers to others. Reads the whole table."""
    return _told(system, path, lambda file: frozenset(_Table(file).defined()))


def _told(system: System, path: Path | str, ask: Callable[[BinaryIO], _T]) -> _T | Unknown:
    try:
        with system.open(path) as file:
            return ask(file)
    except BrokenError as broken:
        return Unknown(str(broken))
    except (OSError, ValueError) as error:
        return Unknown(cannot_open(getattr(error, "errno", None)))


class _Entry(NamedTuple):
    """An entry of the table of symbols."""

    name: int
    info: int
    other: int
    section: int
    value: int


class _Table:
    """The table of symbols of an open file, read from its start.

    https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.symtab.html
    """

    def __init__(self, file: BinaryIO) -> None:
        self._image = Image(Pages(file))
        self._names_at, self._names_bytes = self._image.string_table()
        self._names = b""
        if self._names_bytes <= MAX_TEXT_BYTES // 4:
            self._names = self._image.pages.read(self._names_at, self._names_bytes)

    def undefined(self) -> Iterator[Import]:
        first, _ = self._counts()
        versions = version_names(self._image)
        numbers = self._version_numbers(first)
        budget, text_bytes = MAX_ENTRIES, MAX_TEXT_BYTES
        for index, entry in enumerate(self._entries(0, first)):
            if entry.section or not entry.name or entry.info >> 4 not in _BINDINGS:
                continue
            if entry.other & 3 in _BIND_HERE:
                continue
            name = self._name(entry.name)
            budget, text_bytes = budget - 1, text_bytes - len(name)
            if budget < 0 or text_bytes < 0:
                raise BrokenError(f"more than {MAX_ENTRIES} undefined symbols")
            version = library = None
            if numbers:
                version, library = versions.get(numbers[index] & _VERSION_NUMBER, (None, None))
            yield Import(index, Symbol(name, version, library, entry.info >> 4 == _STB_WEAK))

    def defined(self) -> Iterator[str]:
        first, count = self._counts()
        start = 0 if first == count else first  # a table with no GNU hash has them anywhere
        for entry in self._entries(start, count):
            if entry.section not in (0, _SHN_ABS) and entry.name and entry.info >> 4 in _BINDINGS:
                yield self._name(entry.name)

    def _name(self, start: int) -> str:
        if not self._names:
            return self._image.name(start)
        end = self._names.find(b"\0", start)
        if start >= len(self._names) or end < 0:
            raise BrokenError(DAMAGED)
        return os.fsdecode(self._names[start:end])

    def _entries(self, start: int, end: int) -> Iterator[_Entry]:
        """These entries of the table."""
        image = self._image
        address = image.last(_DT_SYMTAB)
        if address is None or end <= start:
            return
        if end - start > MAX_SYMBOLS:
            raise BrokenError(f"more than {MAX_SYMBOLS} symbols")
        layout = _entry_layout(image)
        data = image.pages.read(
            image.offset(address) + start * layout.size, (end - start) * layout.size
        )
        for row in layout.iter_unpack(data):
            yield _entry(row, image.bits)

    def _version_numbers(self, count: int) -> tuple[int, ...]:
        address = self._image.last(_DT_VERSYM)
        if address is None or not count:
            return ()
        if count > MAX_SYMBOLS:
            raise BrokenError(f"more than {MAX_SYMBOLS} symbols")
        return self._image.record(self._image.offset(address), f"{count}H")

    def _counts(self) -> tuple[int, int]:
        """How many come before the ones others may look up, and how many there are in all."""
        image = self._image
        table = image.last(_DT_GNU_HASH)
        if table is None:
            table = image.last(_DT_HASH)
            count = 0 if table is None else image.record(image.offset(table), "II")[1]
            return count, count
        at = image.offset(table)
        buckets, first, filter_words, _ = image.record(at, "IIII")
        at += 16 + filter_words * image.bits // 8
        if buckets > MAX_SYMBOLS:
            raise BrokenError(f"more than {MAX_SYMBOLS} symbols")
        last = max(image.record(at, f"{buckets}I"), default=0)
        if last < first:
            return first, first
        chain = at + 4 * buckets
        for _ in range(MAX_CHAIN):
            if image.record(chain + 4 * (last - first), "I")[0] & 1:
                return first, last + 1
            last += 1
        raise BrokenError(DAMAGED)

    # --- relocations: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.reloc.html

    def relocated(self, wanted: set[int]) -> Iterator[int]:
        """Those of `wanted` that relocations refer to, the first relocation first."""
        budget = MAX_RELOCATIONS
        for start, count, layout in self._relocation_parts():
            at, left = start, min(count, budget)
            budget -= left
            while left > 0 and wanted:
                entries = min(left, _PART_ENTRIES)
                data = self._image.pages.read(at, entries * layout.size)
                at, left = at + len(data), left - entries
                yield from self._first_uses(layout, data, wanted)
        if budget <= 0 and wanted:
            raise BrokenError(f"more than {MAX_RELOCATIONS} relocations")

    def _first_uses(self, layout: struct.Struct, data: bytes, wanted: set[int]) -> Iterator[int]:
        shift, kinds = (32, 0xFFFFFFFF) if self._image.bits == 64 else (8, 0xFF)
        for row in layout.iter_unpack(data):
            info = row[1]
            if info >> shift in wanted and info & kinds:
                wanted.remove(info >> shift)
                yield info >> shift

    def _relocation_parts(self) -> Iterator[tuple[int, int, struct.Struct]]:
        """Offset, number of entries and layout: DT_REL, DT_RELA, then those of calls.

        As elf/dynamic-link.h has it. Relative ones, which come first, have no symbol.
        """
        image = self._image
        word = "Q" if image.bits == 64 else "I"
        plain, with_addend = (struct.Struct(image.order + word * size) for size in (2, 3))
        for table, size, relative, layout in (
            (_DT_REL, _DT_RELSZ, _DT_RELCOUNT, plain),
            (_DT_RELA, _DT_RELASZ, _DT_RELACOUNT, with_addend),
        ):
            address = image.last(table)
            if address is not None:
                count = (image.last(size) or 0) // layout.size
                skipped = min(image.last(relative) or 0, count)
                if count > skipped:
                    yield image.offset(address) + skipped * layout.size, count - skipped, layout
        address = image.last(_DT_JMPREL)
        if address is not None:
            layout = plain if image.last(_DT_PLTREL) == _DT_REL else with_addend
            count = (image.last(_DT_PLTRELSZ) or 0) // layout.size
            if count:
                yield image.offset(address), count, layout


def _entry_layout(image: Image) -> struct.Struct:
    return struct.Struct(image.order + ("IBBHQQ" if image.bits == 64 else "IIIBBH"))


def _entry(row: tuple[int, ...], bits: int) -> _Entry:
    if bits == 64:
        name, info, other, section, value, _ = row
    else:
        name, value, _, info, other, section = row
    return _Entry(name, info, other, section, value)


def version_names(image: Image) -> dict[int, tuple[str, str | None]]:
    """Version and, for one that is needed, its library, by the number that symbols have for it.

    The base version, which is the file's own name, cannot be asked for (glibc, dl-version.c).
    """
    names: dict[int, tuple[str, str | None]] = {}
    for library, version, number in image.version_needs():
        names[number] = (version.name, library)
    for name, number, is_base in image.version_definitions():
        if not is_base:
            names[number] = (name, None)
    return names


# --- what a file offers


class Exports:
    """What one file offers to others. Nothing is read before it is asked."""

    def __init__(self, system: System, path: Path | str) -> None:
        self._system = system
        self._path = path
        self._tables: _Tables | Unknown | None = None

    def defines(self, symbol: Symbol) -> bool | Unknown:
        """Whether the loader would take this symbol from here."""
        found = self.among((query(symbol),))
        return found if isinstance(found, Unknown) else bool(found)

    def among(self, queries: Iterable[Query]) -> frozenset[Symbol] | Unknown:
        """Those of the symbols that the loader would take from here."""
        tables = self._tables
        try:
            if isinstance(tables, Unknown):
                return tables
            if tables is None:
                with self._system.open(self._path) as file:
                    tables = self._tables = _Tables(file)
            likely = tables.likely(queries)
            if not likely:
                return frozenset()
            with self._system.open(self._path) as file:
                search = _Search(tables, file.fileno())
                return frozenset(entry.symbol for entry in likely if search.has(entry))
        except BrokenError as broken:
            self._tables = Unknown(str(broken))
        except (OSError, ValueError) as error:
            self._tables = Unknown(cannot_open(getattr(error, "errno", None)))
        return self._tables

    @property
    def has_versions(self) -> bool:
        """Whether its symbols have versions; a file where none has satisfies every demand."""
        return isinstance(self._tables, _Tables) and self._tables.numbers_at is not None


class _Tables:
    """Where in a file the tables lie that a look-up needs, and the filter of DT_GNU_HASH."""

    def __init__(self, file: BinaryIO) -> None:
        image = Image(Pages(file))
        self.bits = image.bits
        self.order = image.order
        self.entry_layout = _entry_layout(image)
        self.buckets = 0
        self.versions: dict[int, tuple[str, str | None]] = {}
        self.numbers_at: int | None = None
        self.filter: array[int] | None = None
        self.is_gnu = False
        gnu, sysv = image.last(_DT_GNU_HASH), image.last(_DT_HASH)
        if gnu is None and sysv is None:
            return
        self.symbols_at = self._place(image, _DT_SYMTAB)
        self.names_at, self.names_bytes = image.string_table()
        self.versions = version_names(image)
        versym = image.last(_DT_VERSYM)
        if versym is not None and (self.versions or any(image.version_definitions())):
            self.numbers_at = image.offset(versym)
        if gnu is not None:
            self._read_gnu(image, image.offset(gnu))
        elif sysv is not None:
            self.buckets_at = image.offset(sysv) + 8
            self.buckets, self.chain_count = image.record(self.buckets_at - 8, "II")
            self.chain_at = self.buckets_at + 4 * self.buckets

    @staticmethod
    def _place(image: Image, tag: int) -> int:
        address = image.last(tag)
        if address is None:
            raise BrokenError(DAMAGED)
        return image.offset(address)

    def _read_gnu(self, image: Image, at: int) -> None:
        self.is_gnu = True
        self.buckets, first, self.filter_words, self.shift = image.record(at, "IIII")
        words = self.filter_words
        if words == 0 or words & (words - 1):  # the loader ends the process for it
            raise BrokenError(DAMAGED)
        self.filter_at = at + 16
        size = words * self.bits // 8
        self.buckets_at = self.filter_at + size
        self.chain_at = self.buckets_at + 4 * self.buckets - 4 * first
        if size <= KEPT_FILTER_BYTES:
            self.filter = array("Q" if self.bits == 64 else "I")
            self.filter.frombytes(image.pages.read(self.filter_at, size))
            if (sys.byteorder == "little") != (self.order == "<"):
                self.filter.byteswap()

    def likely(self, queries: Iterable[Query]) -> list[Query]:
        """Those that the filter does not rule out."""
        if self.buckets == 0:
            return []
        if self.filter is None:
            return list(queries)
        words, mask, bits, shift = self.filter, len(self.filter) - 1, self.bits, self.shift
        likely = []
        for entry in queries:
            hashed = entry.hashed
            word = words[hashed // bits & mask]
            if word >> hashed % bits & word >> (hashed >> shift) % bits & 1:
                likely.append(entry)
        return likely


class _Search:
    """One round of look-ups in an open file."""

    def __init__(self, tables: _Tables, descriptor: int) -> None:
        self._tables = tables
        self._descriptor = descriptor
        self._steps = MAX_STEPS

    def has(self, wanted: Query) -> bool:
        found = None
        with_version = []
        for index in self._candidates(wanted):
            entry = self._entry(index)
            if not self._is_definition(entry, wanted):
                continue
            fits = self._version_fits(index, wanted.symbol.version)
            if fits:
                found = entry
                break
            if fits is None:
                with_version.append(entry)
        if found is None and len(with_version) == 1:
            found = with_version[0]  # no other could be meant
        return (
            found is not None and found.other & 3 not in _BIND_HERE and found.info >> 4 in _BINDINGS
        )

    def _candidates(self, wanted: Query) -> Iterator[int]:
        """Places of symbols that have the same hash."""
        tables = self._tables
        if not tables.is_gnu:
            yield from self._candidates_of_old(wanted)
            return
        if tables.filter is None and not self._passes_filter(wanted.hashed):
            return
        (index,) = self._numbers(tables.buckets_at + 4 * (wanted.hashed % tables.buckets), 1)
        at, end = tables.chain_at + 4 * index, tables.chain_at + 4 * (index + MAX_CHAIN)
        while index and at < end:
            for hashed in self._some_numbers(at):
                if (hashed ^ wanted.hashed) >> 1 == 0:
                    yield index
                if hashed & 1:
                    return
                index += 1
            at += _CHAIN_BYTES

    def _passes_filter(self, hashed: int) -> bool:
        tables = self._tables
        bits = tables.bits
        at = tables.filter_at + (hashed // bits & tables.filter_words - 1) * bits // 8
        (word,) = struct.unpack(tables.order + "IQ"[bits == 64], self._read(at, bits // 8))
        return bool(word >> hashed % bits & word >> (hashed >> tables.shift) % bits & 1)

    def _candidates_of_old(self, wanted: Query) -> Iterator[int]:
        """The same by DT_HASH, where a chain holds every symbol of the bucket."""
        tables = self._tables
        hashed = sysv_hash(wanted.text[:-1])
        (index,) = self._numbers(tables.buckets_at + 4 * (hashed % tables.buckets), 1)
        for _ in range(MAX_CHAIN):
            if index == 0:
                return
            yield index
            (index,) = self._numbers(tables.chain_at + 4 * index, 1)
        raise BrokenError(DAMAGED)

    def _is_definition(self, entry: _Entry, wanted: Query) -> bool:
        kind = entry.info & 15
        if entry.section == 0 or kind not in _DEFINING_TYPES:
            return False
        if entry.value == 0 and entry.section != _SHN_ABS and kind != _STT_TLS:
            return False
        tables = self._tables
        if entry.name + len(wanted.text) > tables.names_bytes:
            return False
        return self._read(tables.names_at + entry.name, len(wanted.text)) == wanted.text

    def _version_fits(self, index: int, version: str | None) -> bool | None:
        """None: a version was not asked for, and this has one, which will do if it is alone."""
        tables = self._tables
        if tables.numbers_at is None:
            return True
        data = self._read(tables.numbers_at + 2 * index, 2)
        (number,) = struct.unpack(tables.order + "H", data)
        is_hidden = bool(number & _HIDDEN_VERSION)
        number &= _VERSION_NUMBER
        if version is None:
            if number < _FIRST_OWN_VERSION:
                return True
            return False if is_hidden else None
        own, _ = tables.versions.get(number, (None, None))
        return own == version or (own is None and not is_hidden)

    # --- reading

    def _entry(self, index: int) -> _Entry:
        layout = self._tables.entry_layout
        data = self._read(self._tables.symbols_at + index * layout.size, layout.size)
        return _entry(layout.unpack(data), self._tables.bits)

    def _numbers(self, offset: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"{self._tables.order}{count}I", self._read(offset, 4 * count))

    def _some_numbers(self, offset: int) -> tuple[int, ...]:
        """As many as a part of a chain has, fewer at the end of the file."""
        self._count_step()
        data = os.pread(self._descriptor, _CHAIN_BYTES, offset) if offset >= 0 else b""
        if len(data) < 4:
            raise BrokenError(DAMAGED)
        count = len(data) // 4
        return struct.unpack_from(f"{self._tables.order}{count}I", data)

    def _read(self, offset: int, count: int) -> bytes:
        self._count_step()
        data = os.pread(self._descriptor, count, offset) if 0 <= offset < 2**63 - count else b""
        if len(data) < count:
            raise BrokenError(DAMAGED)
        return data

    def _count_step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise BrokenError("its hash table leads in circles")
