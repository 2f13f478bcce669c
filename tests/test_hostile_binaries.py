"""Damaged and hostile files: none ends in a traceback, takes long or takes much memory.

The first half changes small real files by a seeded random generator, in the tables that are read
of them, and asks everything that `torchkit env` asks of such a file. The second half names what is
no decent file at the command line, in a child with limits on time and memory.
"""

from __future__ import annotations

import io
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elftools.elf.elffile import ELFFile
from installs import HAS_TORCH, Environment, Outcome, assert_valid, make_environment, run

from torchkit.errors import BadInput
from torchkit.machine.binding import attempt
from torchkit.machine.distributions import Packages
from torchkit.machine.elf import Elf, cxx11_abi, read_elf
from torchkit.machine.extension_files import compiled_files, may_use_torch, uses_of_torch
from torchkit.machine.fatbin import gpu_archs, stream_gpu_archs
from torchkit.machine.interpreter import own_interpreter
from torchkit.machine.ldcache import read_cache
from torchkit.machine.libtorch_files import libtorch_file_facts
from torchkit.machine.libtorch_toolkit import cuda_major
from torchkit.machine.loader import Loader
from torchkit.machine.markers import holds, normal_requirement
from torchkit.machine.symbols import (
    Exports,
    Symbol,
    defined_symbols,
    imported_symbols,
    relocated_symbols,
)
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

FAT_BINARIES = Path(__file__).parent / "machine" / "fat_binaries"
SEED = 20240229
CALL_LIMIT_S = 2.0
"""CPU time of one question about one file of some kilobytes; the slowest takes a hundredth."""

GROWTH_LIMIT_BYTES = 100 * 1024**2

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here to build files")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: files are written there thousands of times."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


# --- damage

_NUMBERS = (0, 1, 2, 3, 7, 8, 0x7F, 0xFF, 0x1000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
_WIDE_NUMBERS = (*_NUMBERS, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 1)


class Victim(NamedTuple):
    """A good file, and the parts of it that are worth damaging: start and end in bytes."""

    data: bytes
    parts: tuple[tuple[int, int], ...]

    def damaged(self, number: int) -> bytes:
        """The file with one to four faults, always the same for the same number."""
        rng = random.Random(SEED * 1_000_003 + number)  # noqa: S311 - to be repeated
        data = bytearray(self.data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            start, end = rng.choice(self.parts) if rng.random() < 0.9 else (0, len(data))
            _damage(data, min(start, len(data)), min(end, len(data)), rng)
        if rng.random() < 0.08:
            start, end = rng.choice(self.parts)
            del data[
                max(0, rng.choice((start, end, rng.randrange(start, end))) - rng.randrange(3)) :
            ]
        return bytes(data)


def _damage(data: bytearray, start: int, end: int, rng: random.Random) -> None:
    if start >= end:
        return
    at = rng.randrange(start, end)
    kind = rng.random()
    if kind < 0.25:
        data[at] ^= 1 << rng.randrange(8)
    elif kind < 0.4:
        data[at] = rng.choice((0, 0x7F, 0xFF))
    elif kind < 0.95:
        layout = rng.choice("HIIQQ")
        size = struct.calcsize(layout)
        at -= (at - start) % size
        near = (len(data), len(data) - 1, start, end, at, at - start)
        number = rng.choice((*_WIDE_NUMBERS, *near)) & ((1 << 8 * size) - 1)
        if at + size <= len(data):
            struct.pack_into("<" + layout, data, at, number)
    else:
        count = min(rng.randrange(1, 64), end - at)
        data[at : at + count] = bytes([rng.choice((0, 0x7F, 0xFF))]) * count


class Worst:
    """The slowest question of a run, and whether any was too slow or the memory grew."""

    def __init__(self) -> None:
        self.seconds, self.number = 0.0, -1
        self._before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def ask(self, number: int, question: Callable[[], object]) -> None:
        begun = time.process_time()
        try:
            question()
        except BadInput:  # the user is told in two lines
            pass
        except Exception as error:
            raise AssertionError(f"damage {number} of seed {SEED}: {error!r}") from error
        seconds = time.process_time() - begun
        if seconds > self.seconds:
            self.seconds, self.number = seconds, number

    def assert_within_limits(self) -> None:
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._before) * 1024
        words = f"{self.seconds:.3f} s (damage {self.number}), grown by {grown >> 20} MiB"
        sys.stdout.write(f"slowest of seed {SEED}: {words}\n")
        assert self.seconds < CALL_LIMIT_S, words
        assert grown < GROWTH_LIMIT_BYTES, words


# --- ELF

CODE = """
#include <stdio.h>
#include <string.h>
int old_text(void *text) __asm__("_ZN3c105ErrorC2ENS_14SourceLocationESs");
int new_text(void *text) __asm__("_ZN3c104textENSt7__cxx1112basic_stringIcEE");
int versioned(int);
int plain(int);
__attribute__((weak)) int absent(int);
extern int variable;
int (*table[])(int) = {versioned, plain};
__thread int mine;
int own(int number) {
    char text[16] = {0};
    memcpy(text, &number, sizeof number);
    puts(text);
    return old_text(text) + new_text(text) + versioned(number) + variable + mine + !absent;
}
int another(void) { return own(table[0](1)); }
"""
DEPENDENCY = """
#include <stdio.h>
int old_text(void *text) __asm__("_ZN3c105ErrorC2ENS_14SourceLocationESs");
int new_text(void *text) __asm__("_ZN3c104textENSt7__cxx1112basic_stringIcEE");
int old_text(void *text) { return puts(text); }
int new_text(void *text) { return puts(text); }
int versioned_1(int number) { return number; }
int versioned_2(int number) { return number + 1; }
__asm__(".symver versioned_1,versioned@ONE_1");
__asm__(".symver versioned_2,versioned@@ONE_2");
int plain(int number) { return number; }
int variable = 1;
"""
SCRIPT = "ONE_1 { global: versioned; };\nONE_2 { global: *; } ONE_1;\n"


class Pair(NamedTuple):
    """An extension and the library that it needs, in one folder."""

    extension: Path
    dependency: Path


def build(path: Path, code: str, *options: str | Path) -> Path:
    source = path.with_suffix(".c")
    source.write_text(code)
    command: list[str | Path] = ["gcc", "-shared", "-fPIC", "-O1", "-s", "-Wl,--no-as-needed"]
    command += [f"-Wl,-soname,{path.name}", "-Wl,-z,noseparate-code", "-o", path, source, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    source.unlink()
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair").resolve()
    script = folder / "versions.map"
    script.write_text(SCRIPT)
    dependency = build(
        folder / "libtorch_small.so", DEPENDENCY,
        f"-Wl,--version-script={script}", "-Wl,--hash-style=both",
    )  # fmt: skip
    extension = build(folder / "extension.so", CODE, dependency, "-Wl,-rpath,$ORIGIN")
    return Pair(extension, dependency)


_TABLES = (
    ".dynamic", ".gnu.hash", ".hash", ".dynsym", ".dynstr", ".gnu.version", ".gnu.version_r",
    ".gnu.version_d", ".rela.dyn", ".rela.plt", ".nv_fatbin", "__nv_relfatbin",
)  # fmt: skip


def elf_victim(data: bytes) -> Victim:
    """Damaged in its headers and in what the loader reads; both headers count twice."""
    elf = ELFFile(io.BytesIO(data))
    header = (0, 64)
    segments = (elf["e_phoff"], elf["e_phoff"] + elf["e_phnum"] * elf["e_phentsize"])
    tables = [
        (section["sh_offset"], section["sh_offset"] + section["sh_size"])
        for section in elf.iter_sections()
        if section.name in _TABLES
    ]
    parts = [header, segments, segments, *tables, *tables]
    parts.append((elf["e_shoff"], elf["e_shoff"] + elf["e_shnum"] * elf["e_shentsize"]))
    return Victim(data, tuple((start, end) for start, end in parts if start < end))


ASKED = (
    Symbol("versioned", "ONE_1", "libtorch_small.so"),
    Symbol("versioned"),
    Symbol("plain", "ONE_2", "libtorch_small.so"),
    Symbol("variable"),
    Symbol("nowhere"),
)


def everything_of_an_elf(system: System, path: Path) -> None:
    read_elf(system, path)
    cxx11_abi(system, path)
    gpu_archs(system, path)
    may_use_torch(system, path)
    uses_of_torch(system, path)
    defined_symbols(system, path)
    imports = imported_symbols(system, path)
    places = range(64) if not isinstance(imports, tuple) else [entry.place for entry in imports]
    relocated_symbols(system, path, places)
    exports = Exports(system, path)
    for symbol in ASKED:
        exports.defines(symbol)


@needs_gcc
@pytest.mark.parametrize("which", ["extension", "dependency"])
def test_a_damaged_elf_file_gives_answers(pair: Pair, memory: Path, which: str) -> None:
    victim = elf_victim(getattr(pair, which).read_bytes())
    path = memory / "damaged.so"
    worst = Worst()

    for number in range(1500):
        path.write_bytes(victim.damaged(number))
        worst.ask(number, lambda: everything_of_an_elf(System(), path))

    worst.assert_within_limits()


@needs_gcc
@pytest.mark.parametrize("which", ["extension", "dependency"])
def test_a_damaged_elf_file_is_tried_as_the_loader_would(
    pair: Pair, memory: Path, which: str
) -> None:
    victim = elf_victim(getattr(pair, which).read_bytes())
    folder = memory.resolve()
    files = Pair(folder / pair.extension.name, folder / pair.dependency.name)
    for source, target in zip(pair, files, strict=True):
        shutil.copy(source, target)
    system = System(environ={})
    worst = Worst()

    for number in range(1000):
        getattr(files, which).write_bytes(victim.damaged(number))
        loader = Loader(system, executable=Path(sys.executable))
        worst.ask(number, lambda loader=loader: attempt(system, loader, files.extension))

    worst.assert_within_limits()


@needs_gcc
def test_what_the_loader_does_not_look_at_is_no_prediction(pair: Pair, tmp_path: Path) -> None:
    data = bytearray(pair.extension.read_bytes())
    dynamic = ELFFile(io.BytesIO(bytes(data))).get_section_by_name(".dynamic")
    at = next(
        dynamic["sh_offset"] + 16 * number
        for number, tag in enumerate(dynamic.iter_tags())
        if tag.entry.d_tag == "DT_SONAME"
    )
    struct.pack_into("<Q", data, at + 8, len(data) // 4)
    path = tmp_path.resolve() / pair.extension.name
    path.write_bytes(data)
    shutil.copy(pair.dependency, tmp_path)

    real = subprocess.run(
        [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", path], check=False
    )
    system = System(environ={})
    tried = attempt(system, Loader(system, executable=Path(sys.executable)), path)

    assert real.returncode == 0
    assert isinstance(tried, Unknown)


# --- GPU code, zips and lists


@pytest.mark.parametrize("name", ["parts.so", "linked_later.so", "ptx.so"])
def test_damaged_gpu_code_gives_answers(memory: Path, name: str) -> None:
    data = (FAT_BINARIES / name).read_bytes()
    victim = elf_victim(data)
    heads = [at for at in range(len(data)) if data.startswith(b"\x50\xed\x55\xba", at)]
    parts = [part for at in heads for part in ((at, at + 16), (at + 16, at + 80))]
    victim = victim._replace(parts=victim.parts + tuple(parts) * 4)
    path = memory / "damaged.so"
    worst = Worst()

    for number in range(800):
        damaged = victim.damaged(number)
        path.write_bytes(damaged)
        worst.ask(number, lambda: gpu_archs(System(), path))
        worst.ask(number, lambda damaged=damaged: stream_gpu_archs(io.BytesIO(damaged)))

    worst.assert_within_limits()


def small_libtorch(path: Path, library: bytes, *, method: int) -> Path:
    """A zip that is taken for a libtorch, whose libraries are all the same file."""
    texts = {"build-version": "2.5.1+cu124", "share/cmake/Torch/TorchConfig.cmake": "# "}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, text in texts.items():
            archive.writestr(f"libtorch/{name}", text)
        for name in ("libc10.so", "libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so"):
            archive.writestr(f"libtorch/lib/{name}", library)
        link = zipfile.ZipInfo("libtorch/lib/libc10_cuda.so")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "libc10.so")
    return path


def zip_victim(data: bytes) -> Victim:
    """Damaged in its list, in the headers of its members, and where compressed data begins."""
    end = data.rindex(b"PK\5\6")
    (start,) = struct.unpack_from("<I", data, end + 16)
    heads = [at for at in range(start) if data.startswith(b"PK\3\4", at)]
    entries = [at for at in range(start, end) if data.startswith(b"PK\1\2", at)]
    parts = [(end, len(data)), (end, len(data)), (start, end), (start, end)]
    parts += [part for at in heads for part in ((at, at + 30), (at + 30, at + 300))]
    parts += [(at + 8, at + 46) for at in entries]
    return Victim(data, tuple(parts))


def with_wide_sizes(data: bytes) -> bytes:
    """The same zip in the manner of large ones, whose numbers are of 64 bits."""
    end = data.rindex(b"PK\5\6")
    count, _, start = struct.unpack_from("<HII", data, end + 10)
    entries, at = b"", start
    while at < end:
        fields = list(struct.unpack_from("<4s6H3L5H2L", data, at))
        name_bytes, extra_bytes, _ = fields[10:13]
        name = data[at + 46 : at + 46 + name_bytes]
        at += 46 + name_bytes + extra_bytes + fields[12]
        wide = struct.pack("<2H3Q", 1, 24, fields[9], fields[8], fields[16])
        fields[8] = fields[9] = fields[16] = 0xFFFFFFFF
        fields[11], fields[12] = len(wide), 0
        entries += struct.pack("<4s6H3L5H2L", *fields) + name + wide
    end_64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(entries), start
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(entries), 1)
    end_32 = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:start] + entries + end_64 + locator + end_32


def wide_zip_victim(data: bytes) -> Victim:
    wide = with_wide_sizes(data)
    narrow = zip_victim(data)
    start = struct.unpack_from("<I", data, data.rindex(b"PK\5\6") + 16)[0]
    extras = [at for at in range(start, len(wide)) if wide.startswith(b"\1\0\x18\0", at)]
    parts = [(at, at + 28) for at in extras] * 3 + [(start, len(wide)), *narrow.parts]
    return Victim(wide, tuple((a, min(b, len(wide))) for a, b in parts if a < len(wide)))


@pytest.mark.parametrize("make_victim", [zip_victim, wide_zip_victim])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_gives_answers(
    memory: Path, method: int, make_victim: Callable[[bytes], Victim]
) -> None:
    library = (FAT_BINARIES / "parts.so").read_bytes()
    victim = make_victim(small_libtorch(memory / "good.zip", library, method=method).read_bytes())
    path = memory / "damaged.zip"
    path.write_bytes(victim.data)
    (good,) = libtorch_file_facts(System(), [str(path)])["libtorchs"]  # type: ignore[misc,union-attr]
    worst = Worst()

    for number in range(350):
        path.write_bytes(victim.damaged(number))
        worst.ask(number, lambda: libtorch_file_facts(System(), [str(path)]))

    assert good.version == "2.5.1+cu124"
    assert good.archs is not None
    worst.assert_within_limits()


def cache_of(names: Sequence[str]) -> bytes:
    """An ld.so.cache as ldconfig writes it, with one hwcap."""
    texts = b"x86-64-v3\0"
    texts_at = 48 + 24 * len(names)
    entries = b""
    for number, name in enumerate(names):
        key = texts_at + len(texts)
        texts += name.encode() + b"\0"
        value = texts_at + len(texts)
        texts += f"/usr/lib/{name}".encode() + b"\0"
        hwcap = (1 << 62) if number % 2 else 0
        entries += struct.pack("<iIIIQ", 0x303, key, value, 0, hwcap)
    extension = texts_at + len(texts)
    head = struct.pack(
        "<20sIIB3xI12x", b"glibc-ld.so.cache1.1", len(names), len(texts), 2, extension
    )
    table = struct.pack("<II", 0xEAA42174, 1) + struct.pack("<IIII", 1, 0, extension + 24, 4)
    return head + entries + texts + table + struct.pack("<I", texts_at)


def test_a_damaged_cache_of_the_loader_gives_answers() -> None:
    data = cache_of([f"lib{number}.so.1" for number in range(60)])
    victim = Victim(data, ((0, 48), (0, 48), (48, 48 + 24 * 60), (len(data) - 32, len(data))))
    worst = Worst()

    for number in range(1500):
        damaged = victim.damaged(number)
        worst.ask(
            number,
            lambda damaged=damaged: read_cache(damaged, machine="x86_64", levels=["x86-64-v3"]),
        )

    assert len(read_cache(data, machine="x86_64", levels=["x86-64-v3"])) == 60
    worst.assert_within_limits()


LISTS = {
    "RECORD": b'one/_C.so,sha256=x,12\n"one/a ""b"".so.1",,\none/_D.so,,\nx.pth,,\n../../c.so,,\n',
    "METADATA": b"Metadata-Version: 2.1\nName: one\nVersion: 1.0\nRequires-Dist: torch (==2.1)\n\nx\n",
    "top_level.txt": b"one\ntwo\n",
    "installed-files.txt": b"../one/_C.so\n../one/__init__.py\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_damaged_list_of_a_package_gives_answers(memory: Path, name: str) -> None:
    site = memory / "site"
    metadata = site / ("one-1.0.dist-info" if name != "installed-files.txt" else "one.egg-info")
    metadata.mkdir(parents=True)
    (site / "one").mkdir()
    (site / "one" / "_C.so").write_bytes(b"\x7fELF")
    (site / "x.pth").write_bytes(b"one\n/\n\0\n")
    (metadata / "METADATA").write_bytes(LISTS["METADATA"])
    victim = Victim(LISTS[name], ((0, len(LISTS[name])),))
    system = System(environ={})
    worst = Worst()

    def look() -> None:
        packages = Packages(system, (site,))
        for distribution in packages.installed():
            packages.requires(distribution)
        for file in compiled_files(system, packages, (site,), torch_folder=site / "torch"):
            may_use_torch(system, file.name)
            system.resolve(file.path)

    for number in range(200):
        (metadata / name).write_bytes(victim.damaged(number))
        worst.ask(number, look)

    worst.assert_within_limits()


# --- what is made to keep us busy


def forged_elf(
    needed: Sequence[str] = (),
    *,
    runpath: str | None = None,
    tags: Sequence[tuple[int, int]] = (),
    names: bytes = b"",
    empty_segments: int = 0,
    claimed_bytes: int = 0,
) -> bytes:
    """A library by hand. `claimed_bytes`: its names are said to reach so far into the file."""
    table = bytearray(b"\0" + names)
    entries = []
    for tag, name in [*((1, name) for name in needed), *([(29, runpath)] if runpath else [])]:
        entries.append((tag, len(table)))
        table += name.encode() + b"\0"
    count = empty_segments + 2
    dynamic_at = 64 + 56 * count
    dynamic_bytes = 16 * (len(entries) + len(tags) + 3)
    names_at = dynamic_at + dynamic_bytes
    total = claimed_bytes or names_at + len(table)
    entries += [*tags, (5, names_at), (10, total - names_at), (0, 0)]
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    segment = struct.Struct("<IIQQQQQQ")
    for number in range(empty_segments):
        header += segment.pack(1, 4, 0, (number + 1) << 32, 0, 0, 0, 4096)
    header += segment.pack(1, 4, 0, 0, 0, total, total, 4096)
    header += segment.pack(2, 6, dynamic_at, dynamic_at, 0, dynamic_bytes, dynamic_bytes, 8)
    return header + b"".join(struct.pack("<QQ", *entry) for entry in entries) + bytes(table)


LONG_NAMES = {
    "a name of torch without end": b"\0" + b"_ZN3c10" * 150_000,
    "names of torch": b"_ZN3c10E_\0" * 100_000,
}


@pytest.mark.parametrize("names", LONG_NAMES.values(), ids=list(LONG_NAMES))
def test_names_take_time_in_proportion_to_their_length(tmp_path: Path, names: bytes) -> None:
    path = tmp_path / "long.so"
    path.write_bytes(forged_elf(["x.so"], names=names, tags=[(1, 1)]))
    worst = Worst()

    worst.ask(0, lambda: everything_of_an_elf(System(environ={}), path))

    worst.assert_within_limits()


def test_the_name_of_a_library_takes_time_in_proportion_to_its_length() -> None:
    names = (f"libcudart.so.{'1' * 60_000}x", "libcudart.so.12")
    worst = Worst()

    worst.ask(0, lambda: cuda_major([Elf(machine="x86_64", needed=names)]))

    worst.assert_within_limits()


def test_thousands_of_segments_and_needs_take_no_time(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "many.so"
    folders = ":".join(f"{'/' * (n % 50 + 1)}usr{'/' * (n // 50 + 1)}lib" for n in range(1000))
    system = System(environ={})
    worst = Worst()

    for needs, segments, runpath in ((60_000, 4000, None), (1000, 0, None), (1000, 0, folders)):
        names = [f"lib{number}.so" for number in range(needs)]
        path.write_bytes(forged_elf(names, empty_segments=segments, runpath=runpath))
        worst.ask(needs, lambda: everything_of_an_elf(system, path))
        tried = attempt(system, Loader(system, executable=Path(sys.executable)), path)

    assert tried == Unknown("what it needs is searched for under more than 100000 paths")
    worst.assert_within_limits()


def test_entries_of_a_cache_that_share_one_long_text_take_no_time() -> None:
    count = 50_000
    head = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", count, 0, 2, 0)
    texts_at = 48 + 24 * count
    data = head + struct.pack("<iIIIQ", 0x303, texts_at, texts_at, 0, 0) * count
    worst = Worst()

    worst.ask(0, lambda: read_cache(data + b"x" * 2**21 + b"\0", machine="x86_64"))

    worst.assert_within_limits()


@pytest.mark.parametrize(
    "line",
    [b"__editable__" * 90_000, b'"' + b'""' * 500_000, b".so" * 300_000, b"x.so\n" * 300_000],
    ids=["finder", "quotes", "libraries in a name", "libraries"],
)
def test_a_list_of_any_form_is_read_at_once(tmp_path: Path, line: bytes) -> None:
    metadata = tmp_path / "one-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_bytes(b"Name: one\nRequires-Dist: torch; " + b"(" * 100_000)
    (metadata / "RECORD").write_bytes(line)
    (metadata / "top_level.txt").write_bytes(b"x\n" * 1_000_000)
    system = System(environ={})
    packages = Packages(system, (tmp_path,))
    worst = Worst()

    worst.ask(
        0, lambda: compiled_files(system, packages, (tmp_path,), torch_folder=tmp_path / "torch")
    )

    worst.assert_within_limits()


def test_a_marker_in_a_hundred_thousand_brackets_holds() -> None:
    marker = "(" * 100_000

    assert holds(marker, System(environ={}), own_interpreter())
    assert normal_requirement(f"torch; {marker}") == f"torch; {marker}"


# --- at the command line

LIMIT_S = 15.0
LIMIT_KIB = 1_500_000
"""Of address space, with the interpreter and its libraries."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A Python with torchkit and without torch."""
    return make_environment(tmp_path_factory.mktemp("hostile").resolve() / "env", torch=False)


def limited(environment: Environment, *arguments: str | Path, **changes: Any) -> Outcome:
    """`torchkit env` with little memory and time."""
    outcome = run(
        [
            "/bin/sh", "-c", f'ulimit -v {LIMIT_KIB}; exec "$@"', "sh",
            environment.python, "-m", "torchkit", "env", *arguments,
        ],
        **{"cwd": environment.work, "limit_s": LIMIT_S, **changes},
    )  # fmt: skip
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert "MemoryError" not in outcome.stderr, outcome.stderr
    return outcome


def assert_answered(outcome: Outcome) -> None:
    """A report, or two lines of what is wrong and what to do; nothing that moves a cursor."""
    if outcome.status == 2:
        lines = outcome.stderr.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"], outcome.stderr
    assert outcome.status in (0, 1, 2)
    assert "\x1b" not in outcome.stderr


def sparse(path: Path, head: bytes, *, tail: bytes = b"") -> Path:
    """A file of 10 GB that takes no place on the disk."""
    size = 10 * 1024**3
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(size - len(tail))
        file.write(tail)
    return path


def deflated_zeros(head: bytes, mebibytes: int) -> bytes:
    """A compressed member that begins with `head`, a thousandth of its size."""

    def flushed(data: bytes, how: int) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush(how)

    block = flushed(bytes(1024**2), zlib.Z_FULL_FLUSH)
    return flushed(head, zlib.Z_FULL_FLUSH) + block * mebibytes + flushed(b"", zlib.Z_FINISH)


def zip_of(member: bytes, size: int, names: Sequence[str], *, count: int | None = None) -> bytes:
    """A zip in which all names stand for the same deflated bytes."""
    head = (20, 0, 8, 0, 0, 0, len(member), size)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", *head, 1, 0) + b"x"
    entries = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *head, len(name), 0, 0, 0, 0, 0, 0)
        + name.encode()
        for name in names
    )
    told = min(len(names) if count is None else count, 0xFFFF)
    start = len(local) + len(member)
    if told < 0xFFFF:
        wide = b""
    else:
        number = len(names) if count is None else count
        at = start + len(entries)
        wide = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, len(entries), start
        )
        wide += struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, told, told, len(entries), start, 0)
    return local + member + entries + wide + end


LIBRARIES = [
    f"libtorch/lib/{name}.so" for name in ("libc10", "libtorch", "libtorch_cpu", "libtorch_cuda")
]


@pytest.fixture(scope="module")
def hostile_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Things that a path can lead to, by what they are."""
    folder = tmp_path_factory.mktemp("files")
    head = forged_elf(["libx.so"], claimed_bytes=10 * 1024**3)
    chain = forged_elf(tags=[(0x6FFFFFFC, 4096), (0x6FFFFFFE, 4096)], claimed_bytes=10 * 1024**3)
    step = struct.pack("<HHHHIII", 1, 0, 1, 1, 0, 20, 65536)
    empty = zip_of(b"\3\0", 0, ["a"])
    large = 300 * 1024**2
    member = deflated_zeros(forged_elf(["libx.so"], claimed_bytes=large), 300)
    inner = zip_of(member, large, LIBRARIES)
    files = {
        "sparse": sparse(folder / "sparse.so", b""),
        "sparse ELF": sparse(folder / "elf.so", head),
        "sparse versions": sparse(folder / "chain.so", chain),
        "sparse zip": sparse(folder / "sparse.zip", b"PK\3\4"),
        "sparse zip with a list": sparse(folder / "listed.zip", b"PK\3\4", tail=empty),
    }
    with files["sparse versions"].open("r+b") as file:
        for number in range(4000):
            file.seek(4096 + 65536 * number)
            file.write(step)
    texts = {
        "flat bomb.zip": inner,
        "nested bomb.zip": zip_of(zlib.compress(inner, 1)[2:-4], len(inner), ["libtorch.zip"]),
        "million.zip": zip_of(b"\3\0", 0, [f"{number:x}" for number in range(10**6)]),
        "claims.zip": zip_of(b"\3\0", 0, ["libtorch/lib/libc10.so"], count=2**32),
        "many libraries.zip": zip_of(
            member, large, [f"libtorch/lib/libtorch_{number}.so" for number in range(40_000)]
        ),
    }
    for name, data in texts.items():
        files[name] = folder / name
        files[name].write_bytes(data)
    for name in ("loop.so", "loop.zip"):
        files[name] = folder / name
        files[name].symlink_to(name)
    files["FIFO"] = folder / "fifo.so"
    os.mkfifo(files["FIFO"])
    files |= {name: Path(name) for name in ("/dev/zero", "/proc/self/mem", "/proc/kcore")}
    files["folder"] = folder
    files["long"] = folder / ("x" * 4096)
    for number, name in enumerate((b"a\nb\x1b[31m.so", b"b\xff\xfe\xc3.so", b"c\r\x07\x9b2J.zip")):
        files[f"name {number}"] = folder / os.fsdecode(name)
        files[f"name {number}"].write_bytes(forged_elf(["lib\x1b[2J.so"]))
    return files


@pytest.mark.parametrize("option", ["--extension", "--libtorch"])
def test_no_file_that_is_named_keeps_torchkit_busy(
    environment: Environment, hostile_files: Mapping[str, Path], option: str
) -> None:
    for path in hostile_files.values():
        outcome = limited(environment, option, path, "--json")

        assert_answered(outcome)
        assert_valid(outcome)


@pytest.mark.parametrize("option", ["--extension", "--libtorch"])
def test_text_has_no_control_characters_of_a_file(
    environment: Environment, tmp_path: Path, option: str
) -> None:
    path = tmp_path / os.fsdecode(b"a\nb\x1b[31m\xff.so")
    path.write_bytes(forged_elf(["lib\x1b[2J\xe9.so"]))

    outcome = limited(environment, option, path)

    assert_answered(outcome)
    assert "\x1b" not in outcome.stdout


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root")
@pytest.mark.parametrize("option", ["--extension", "--libtorch"])
def test_a_file_that_may_not_be_read_is_said_so(option: str, tmp_path: Path) -> None:
    path = tmp_path / "locked.zip"
    path.write_bytes(b"\x7fELF")
    path.chmod(0)
    tmp_path.chmod(0o755)
    script = (
        "import sys; from torchkit.machine.extension_files import named_file;"
        "from torchkit.machine.libtorch_files import libtorch_file_facts;"
        "from torchkit.errors import BadInput; from torchkit.system import System\n"
        "import os; os.setgid(65534); os.setuid(65534)\n"
        "try: {'--extension': named_file, '--libtorch': lambda system, path:"
        " libtorch_file_facts(system, [path])}[sys.argv[1]](System(), sys.argv[2])\n"
        "except BadInput as error: print(error)\n"
    )

    outcome = run([sys.executable, "-c", script, option, path])

    assert outcome.status == 0, outcome.stderr
    assert "permission denied" in outcome.stdout or "is not there" in outcome.stdout


@needs_gcc
def test_a_file_that_shrinks_and_grows_while_it_is_read_gives_answers(
    pair: Pair, tmp_path: Path
) -> None:
    good = pair.extension.read_bytes()
    path = tmp_path / "restless.so"
    stop = threading.Event()

    def write() -> None:
        rng = random.Random(SEED)  # noqa: S311 - to be repeated
        while not stop.is_set():
            with path.open("r+b") as file:
                file.truncate(rng.randrange(len(good)))
                file.seek(0)
                file.write(good)
                file.truncate(rng.choice((len(good), 10 * 1024**3)))

    path.write_bytes(good)
    writer = threading.Thread(target=write)
    writer.start()
    worst = Worst()
    try:
        for number in range(300):
            worst.ask(number, lambda: everything_of_an_elf(System(environ={}), path))
    finally:
        stop.set()
        writer.join()

    assert path.stat().st_size >= len(good)


def hostile_site(site: Path) -> None:
    """Distributions whose lists and files are nothing that an installer leaves."""

    def distribution(name: str, record: bytes) -> Path:
        metadata = site / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\nRequires-Dist: torch\n")
        (metadata / "RECORD").write_bytes(record)
        return metadata

    library = forged_elf(["libtorch.so", "libc10.so"])
    distribution("absolute", b"/etc/passwd.so,,\n/dev/zero,,\n/proc/self/mem.so,,\n/x\0y.so,,\n")
    distribution("upward", b"../../../../../../../../etc/shadow.so,,\n../" * 2000 + b"x.so,,\n")
    os.mkfifo(site / "fifo.so")
    (site / "loop.so").symlink_to("loop.so")
    (site / "zero.so").symlink_to("/dev/zero")
    distribution("special", b"fifo.so,,\nloop.so,,\nzero.so,,\n\xff\xfe.so,,\na\x1b[31m.so,,\n")
    for name in (b"\xff\xfe.so", b"a\x1b[31m.so"):
        (site / os.fsdecode(name)).write_bytes(library)
    (site / "a_file-1.0.dist-info").write_text("Name: a_file\n")
    distribution("long", b"package/module.py,sha256=0123456789,1234\n" * 1_300_000)
    for name, target in (("fifo", None), ("zero", "/dev/zero"), ("loop", "RECORD")):
        record = distribution(f"record_{name}", b"") / "RECORD"
        record.unlink()
        if target is None:
            os.mkfifo(record)
        else:
            record.symlink_to(target)
    (site / "circle").mkdir()
    for name in ("one", "two"):
        (site / "circle" / name).symlink_to("..")
    tops = distribution("circle", b"")
    (tops / "RECORD").unlink()
    (tops / "top_level.txt").write_text("circle\n..\n/\n" + "x\n" * 500_000)
    (site / "many").mkdir()
    names = [f"many/_{number}.so" for number in range(5000)]
    for number, name in enumerate(names):
        (site / name).write_bytes(library if number < 40 else forged_elf(["libc.so.6"]))
    distribution("many", "".join(f"{name},,\n" for name in names).encode())
    (site / "x.pth").write_text("circle\n" * 1000)


@pytest.mark.skipif(not HAS_TORCH, reason="needs an installed torch, beside which they lie")
def test_an_environment_of_hostile_packages_is_looked_at_in_seconds(tmp_path: Path) -> None:
    environment = make_environment(tmp_path.resolve() / "env")
    hostile_site(environment.site)
    named = environment.site / "many" / "_0.so"

    plain = limited(environment, "--json")
    asked = limited(environment, "--json", "--python", environment.python, "--extension", named)

    for outcome in (plain, asked):
        assert_answered(outcome)
        assert_valid(outcome)
        assert outcome.report["facts"]["extensions"]
