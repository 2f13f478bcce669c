"""Which GPU architectures a compiled file has code for, read from its fat binaries.

nvcc puts one fat binary for each source file into the section `.nv_fatbin`, and what is yet to be
linked (-rdc) into `__nv_relfatbin`. A fat binary is a header and entries, a cubin or PTX each;
every entry has a header of its own, plain also where its code is compressed. So a file of a
gigabyte is read by hopping from header to header, a page each: 475 fat binaries with 2975 entries
in libtorch_cuda.so of torch 2.14.

NVIDIA does not document the layout; the tests hold it against nvcc's options and cuobjdump. Which
GPU runs which code is not said here but in the knowledge. AMD's code is not read.
"""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from torchkit.machine.sections import (
    FrontToBack,
    GiveUpError,
    RandomAccess,
    Source,
    chunk,
    constants,
    elf_header,
    sections,
)
from torchkit.system import System, Unknown

MAX_HEADERS = 65536
"""More are not read, of fat binaries and entries together. Of 60 real files, of up to 1.3 GB, one
had 4683, the others fewer."""

SEARCH_LIMIT_BYTES = 256 * 1024**2
"""How much of a file is searched where no section header tells the place."""

STREAM_LIMIT_BYTES = 1024**3
"""How far into a file that cannot seek we read on."""

STREAM_PARTS = 32
"""How many fat binaries are read of a file that cannot seek: most are built for the same GPUs."""

DAMAGED = "its GPU code is damaged"

_LINKED, _TO_BE_LINKED, _OF_AMD = b".nv_fatbin", b"__nv_relfatbin", b".hip_fatbin"

_MAGIC = b"\x50\xed\x55\xba\x01\x00"  # with the version, 1 from CUDA 11.7 to 13.5
_FAT_HEADER = struct.Struct("<IHHQ")  # magic, version, bytes of this header, bytes after it
_ENTRY = struct.Struct("<HHIQ12xI8xQ16x")  # kind, version, bytes of header and of code, arch, flags
_MAX_HEADER_BYTES, _MAX_GAP_BYTES = 65536, 1024**2
_KINDS = {1: "compute", 2: "sm"}  # others, as 8 for link-time optimization, run nowhere as they are
_ONE_GPU, _ONE_FAMILY = 0x100000, 0x200000  # the suffixes "a" and "f"
_ARCHS = range(10, 1000)

_SMALL_BYTES, _CHUNK_BYTES = 4096, 1024**2


def gpu_archs(
    system: System, path: Path | str, *, in_most_parts: bool = False
) -> tuple[str, ...] | None | Unknown:
    """`("sm_80", "sm_90a", "compute_90")`: what this file has code for, PTX last.

    None for a file without GPU code. A library consists of parts, one for each source file, and
    some may have code for more GPUs than the others (in libtorch_cuda.so of torch 2.14 59 of 475
    have sm_100a too): with `in_most_parts` only that counts which at least half of them have.
    """
    try:
        with system.open(path) as file:
            _expect_single_pages(file)
            return parse_gpu_archs(getattr(file, "raw", file), in_most_parts=in_most_parts)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        words = getattr(error, "strerror", None) or "no such file or directory"
        return Unknown(f"cannot read it: {words.lower()}")


def _expect_single_pages(file: BinaryIO) -> None:
    """Else Linux reads ahead of each header: 219 MB of a libtorch_cuda.so instead of 13."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)


def parse_gpu_archs(
    file: BinaryIO, *, in_most_parts: bool = False
) -> tuple[str, ...] | None | Unknown:
    """The same of an open file in which seeking is cheap. Raises OSError where reading fails."""
    try:
        return _archs(RandomAccess(file), in_most_parts=in_most_parts)
    except GiveUpError as reason:
        return Unknown(str(reason))


def stream_gpu_archs(
    file: BinaryIO, *, limit_bytes: int = STREAM_LIMIT_BYTES
) -> tuple[str, ...] | None | Unknown:
    """What most parts have, of a file that is read once from front to back: a member of a zip.

    The section headers lie behind everything, so constants are searched for the first fat binary;
    nothing is read after the first `STREAM_PARTS`, nor after `limit_bytes`. Raises what
    `file.read` raises.
    """
    stream = FrontToBack(file, limit_bytes)
    try:
        header = elf_header(stream)
        if header is None:
            return None
        places = constants(stream, header)
        parts = list(islice(_searched(stream, places, _Budget(limit_bytes)), STREAM_PARTS))
        return _named(_in_most(parts)) if parts else None
    except GiveUpError as reason:
        return Unknown(str(reason))


def _archs(source: Source, *, in_most_parts: bool) -> tuple[str, ...] | None | Unknown:
    count = _in_most if in_most_parts else _in_any
    budget = _Budget()
    header = elf_header(source)
    if header is None:
        return None
    places = sections(source, header)
    if not places:  # stripped of its section headers
        parts = list(_searched(source, constants(source, header), budget))
        return _named(count(parts)) if parts else None
    linked, unlinked = (
        [part for where in places.get(name, ()) for part in _parts(source, *where, budget)]
        for name in (_LINKED, _TO_BE_LINKED)
    )
    if linked or unlinked:
        # for a GPU without linked code the driver links anew, from all that is to be linked:
        # https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/ (JIT linking support)
        return _named(count(linked) | _in_most(unlinked))
    if _OF_AMD in places:
        return Unknown("its GPU code is for AMD's GPUs, which is not read")
    return None


class _DamagedError(GiveUpError):
    """What is no fat binary, or a broken one."""


class _Budget:
    """What may still be done for one file."""

    def __init__(self, search_bytes: int = SEARCH_LIMIT_BYTES) -> None:
        self._headers = MAX_HEADERS
        self._search_limit = self._search_bytes = search_bytes

    def take_header(self) -> None:
        self._headers -= 1
        if self._headers < 0:
            raise GiveUpError(f"its GPU code has more than {MAX_HEADERS} parts")

    def search(self, count: int) -> None:
        self._search_bytes -= count
        if self._search_bytes < 0:
            raise GiveUpError(f"no GPU code was found in {self._search_limit >> 20} MiB of it")


# --- fat binaries


def _parts(source: Source, at: int, end: int, budget: _Budget) -> Iterator[frozenset[str]]:
    """What each fat binary of a section has code for; empty ones are left out."""
    while (at := _past_zeros(source, at, end, budget)) < end:
        part, at = _part(source, at, end, budget)
        if part:
            yield part


def _past_zeros(source: Source, at: int, end: int, budget: _Budget) -> int:
    """Where the next fat binary starts: linkers fill up with zeros."""
    count, limit = _SMALL_BYTES, at + _MAX_GAP_BYTES
    while at < end:
        if at > limit:
            raise _DamagedError(DAMAGED)
        data = chunk(source, at, min(count, end - at))
        zeros = len(data) - len(data.lstrip(b"\0"))
        budget.search(zeros)
        at += zeros
        if zeros < len(data):
            return at
        count = min(2 * count, _CHUNK_BYTES)
    return end


def _searched(
    source: Source, places: Iterable[tuple[int, int]], budget: _Budget
) -> Iterator[frozenset[str]]:
    """The same where only the parts of the file are known that may hold fat binaries."""
    for start, end in places:
        at, count = start, _SMALL_BYTES
        while at < end:
            data = chunk(source, at, min(count, end - at))
            budget.search(len(data))
            count = min(2 * count, _CHUNK_BYTES)
            position = at
            while (found := data.find(_MAGIC, position - at)) >= 0:
                position = at + found
                try:
                    part, position = _part(source, position, end, budget)
                except _DamagedError:  # something else that looks like one
                    position += len(_MAGIC)
                else:
                    count = _SMALL_BYTES
                    if part:
                        yield part
            at += len(data)
            at = max(position, at if at == end else at - len(_MAGIC) + 1)


def _part(source: Source, at: int, end: int, budget: _Budget) -> tuple[frozenset[str], int]:
    """What the fat binary at this place has code for, and where it ends."""
    budget.take_header()
    head = source.read(at, _FAT_HEADER.size)
    if len(head) < _FAT_HEADER.size or not head.startswith(_MAGIC):
        raise _DamagedError(DAMAGED)
    _, _, header_bytes, size = _FAT_HEADER.unpack(head)
    stop = at + header_bytes + size
    if header_bytes < _FAT_HEADER.size or stop > end:
        raise _DamagedError(DAMAGED)
    archs = set()
    at += header_bytes
    while at < stop:
        budget.take_header()
        entry = source.read(at, _ENTRY.size)
        if len(entry) < _ENTRY.size:
            raise _DamagedError(DAMAGED)
        kind, _, header_bytes, size, number, flags = _ENTRY.unpack(entry)
        at += header_bytes + size
        if not _ENTRY.size <= header_bytes <= _MAX_HEADER_BYTES or at > stop:
            raise _DamagedError(DAMAGED)
        archs.add(_arch(kind, number, flags))
    return frozenset(archs), stop


def _arch(kind: int, number: int, flags: int) -> str:
    """`sm_90a`; `kind 8` for what is neither a cubin nor PTX."""
    if kind not in _KINDS:
        return f"kind {kind}"
    if number not in _ARCHS:
        raise _DamagedError(DAMAGED)
    suffix = "a" if flags & _ONE_GPU else "f" if flags & _ONE_FAMILY else ""
    return f"{_KINDS[kind]}_{number}{suffix}"


# --- what many fat binaries say together


def _in_any(parts: Iterable[frozenset[str]]) -> set[str]:
    return set().union(*parts)


def _in_most(parts: Sequence[frozenset[str]]) -> set[str]:
    counts = Counter(arch for part in parts for arch in part)
    return {arch for arch, count in counts.items() if 2 * count >= len(parts)}


def _named(archs: set[str]) -> tuple[str, ...] | Unknown:
    """Cubins before PTX, by their number."""
    found = [
        (match[1] != "sm", int(match[2]), arch)
        for arch in archs
        if (match := re.match(r"(sm|compute)_(\d+)", arch)) is not None
    ]
    if not found:
        return Unknown("its GPU code is of a kind that is not known")
    return tuple(arch for _, _, arch in sorted(found))
