"""Symbols of compiled files, against nm and files built for the purpose."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.hash import ELFHashTable, GNUHashTable

from tests.installs import HAS_TORCH, TORCH
from torchkit.machine.symbols import (
    Exports,
    Symbol,
    defined_symbols,
    gnu_hash,
    imported_symbols,
    query,
    relocated_symbols,
    sysv_hash,
    undefined_symbols,
)
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or System().libc() is None or shutil.which("gcc") is None,
    reason="needs gcc and the loader of glibc",
)

COUNT = 200


def _build(path: Path, code: str, *options: str) -> Path:
    source = path.with_suffix(".c")
    source.write_text(code)
    command = ["gcc", "-shared", "-fPIC", "-nostdlib", "-o", str(path), str(source), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def _functions(count: int) -> str:
    return "".join(f"int function_{n}(void) {{ return {n}; }}\n" for n in range(count))


@pytest.fixture(scope="module", params=["gnu", "sysv", "both"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of many functions, and two that it takes from elsewhere."""
    folder = tmp_path_factory.mktemp("symbols")
    code = "int gone(void); extern int data; int use(void) { return gone() + data; }\n"
    return _build(folder / "many.so", code + _functions(COUNT), f"-Wl,--hash-style={request.param}")


def _by_nm(path: Path, which: str, kinds: str) -> set[tuple[str, str | None]]:
    """Name and version of the symbols of these kinds."""
    command = ["nm", "-D", which, "--with-symbol-versions", str(path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split()[-2:] for line in child.stdout.splitlines()]
    parts = [text.partition("@") for kind, text in rows if kind in kinds]
    return {(name, version.strip("@") or None) for name, _, version in parts}


def _libraries_of_the_machine() -> list[Path]:
    names = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1")
    folders = [
        f"{top}/{kind}-linux-gnu" for top in ("/lib", "/usr/lib") for kind in ("x86_64", "aarch64")
    ]
    folders += ["/lib64", "/usr/lib64"]
    found = [Path(folder) / name for name in names for folder in folders]
    return [path for path in {path.resolve() for path in found if path.exists()} if path.is_file()]


# --- what a file offers


def test_every_symbol_of_the_machine_s_own_libraries_is_found_under_its_version() -> None:
    found = 0
    for path in _libraries_of_the_machine():
        names = _by_nm(path, "--defined-only", "TWDBRVi")
        wanted = [query(Symbol(name, version, "x")) for name, version in names]

        offered = Exports(System(), path).among(wanted)

        assert not isinstance(offered, Unknown)
        assert {(symbol.name, symbol.version) for symbol in offered} == names, path
        found += len(names)
    assert found > 3000


def test_no_symbol_is_found_that_is_not_there(library: Path) -> None:
    names = [f"function_{n}" for n in range(COUNT, 20 * COUNT)] + [
        "gone",
        "data",
        "",
        "function_1 ",
    ]

    offered = Exports(System(), library).among(query(Symbol(name)) for name in names)

    assert offered == frozenset()


def test_each_symbol_of_a_hash_table_of_either_kind_is_found(library: Path) -> None:
    exports = Exports(System(), library)

    assert all(exports.defines(Symbol(f"function_{n}")) is True for n in range(COUNT))
    assert exports.defines(Symbol("use", "V_1", "many.so")) is True  # no versions satisfy all


def test_a_library_of_32_bits_is_read_too(tmp_path: Path) -> None:
    code = "int gone(void); int use(void) { return gone(); }\n" + _functions(40)
    try:
        path = _build(tmp_path / "small.so", code, "-m32")
    except subprocess.CalledProcessError:
        pytest.skip("this gcc makes no code for 32 bits")
    exports = Exports(System(), path)

    assert all(exports.defines(Symbol(f"function_{n}")) is True for n in range(40))
    assert exports.defines(Symbol("gone")) is False
    imports = imported_symbols(System(), path)
    assert not isinstance(imports, Unknown)
    place = {entry.symbol.name: entry.place for entry in imports}["gone"]
    assert relocated_symbols(System(), path, [place]) == (place,)


def test_the_hashes_are_those_of_pyelftools() -> None:
    for name in ("", "a", "printf", "_ZN3c106detail14torchCheckFailEPKcS2_jS2_", "ä" * 40):
        assert gnu_hash(name.encode()) == GNUHashTable.gnu_hash(name)
        assert sysv_hash(name.encode()) == ELFHashTable.elf_hash(name)


def test_a_file_without_symbols_offers_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.so"
    empty.write_bytes(b"")

    assert Exports(System(), empty).defines(Symbol("f")) == Unknown("file too short")
    absent = Exports(System(), tmp_path / "absent.so").defines(Symbol("f"))
    assert absent == Unknown("cannot open shared object file: No such file or directory")


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_file_stays_open(library: Path) -> None:
    before = _open_files()
    exports = [Exports(System(), library) for _ in range(20)]

    assert all(it.defines(Symbol("use")) is True for it in exports)

    assert _open_files() == before


@pytest.mark.torch
@pytest.mark.skipif(not HAS_TORCH, reason="needs torch")
def test_names_are_found_in_a_huge_library_without_reading_it() -> None:
    assert TORCH is not None
    path = TORCH / "lib/libtorch_cpu.so"
    names = [name for name, _ in _by_nm(path, "--defined-only", "T")]
    chosen = [query(Symbol(name)) for name in random.Random(1).sample(names, 300)]  # noqa: S311 - a fixed choice
    exports = Exports(System(), path)
    exports.defines(Symbol("main"))
    before = _bytes_read()

    found = exports.among(chosen)

    assert found == frozenset(entry.symbol for entry in chosen)
    assert _bytes_read() - before < 300 * 2000


def _bytes_read() -> int:
    """What this process has read from files, in bytes."""
    return int(Path("/proc/self/io").read_text().split()[1])


# --- what a file takes


def test_undefined_symbols_are_those_that_nm_lists(library: Path) -> None:
    found = undefined_symbols(System(), library)

    assert not isinstance(found, Unknown)
    names = {(symbol.name, symbol.version) for symbol in found}
    assert names == _by_nm(library, "--undefined-only", "Uwv") == {("gone", None), ("data", None)}


def test_undefined_symbols_have_their_version_and_library() -> None:
    for path in _libraries_of_the_machine():
        found = undefined_symbols(System(), path)

        assert not isinstance(found, Unknown)
        names = {(symbol.name, symbol.version) for symbol in found}
        assert names == _by_nm(path, "--undefined-only", "Uwv"), path
        assert all((symbol.version is None) == (symbol.library is None) for symbol in found)


def test_defined_symbols_are_those_that_nm_lists(library: Path) -> None:
    expected = {name for name, _ in _by_nm(library, "--defined-only", "TWD")}

    found = defined_symbols(System(), library)

    assert not isinstance(found, Unknown)
    assert found == expected
    assert len(found) == COUNT + 1


def test_symbols_come_in_the_order_of_their_relocations(tmp_path: Path) -> None:
    code = (
        "int c(void), a(void), b(void); int (*table[])(void) = {c, a, b, c};"
        "int d(void); int use(void) { return d(); }"
    )
    path = _build(tmp_path / "order.so", code)
    imports = imported_symbols(System(), path)
    assert not isinstance(imports, Unknown)
    names = {entry.place: entry.symbol.name for entry in imports}

    order = relocated_symbols(System(), path, list(names))

    with path.open("rb") as file:
        sections: Any = [ELFFile(file).get_section_by_name(it) for it in (".rela.dyn", ".rela.plt")]
        real = [names[it["r_info_sym"]] for part in sections for it in part.iter_relocations()]
    assert not isinstance(order, Unknown)
    assert [names[place] for place in order] == list(dict.fromkeys(real))
    assert {"a", "b", "c", "d"} == set(real)
    assert relocated_symbols(System(), path, list(names)[1:2]) == (list(names)[1],)


# --- damaged and hostile tables


def _table(path: Path, tag: str) -> int:
    """Where a table lies that the dynamic segment names."""
    with path.open("rb") as file:
        elf: Any = ELFFile(file)
        (dynamic,) = (part for part in elf.iter_segments() if isinstance(part, DynamicSegment))
        (entry,) = dynamic.iter_tags(tag)
        return int(next(elf.address_offsets(entry.entry.d_val)))


@pytest.mark.parametrize(
    ("style", "tag", "numbers"),
    [
        ("sysv", "DT_HASH", {0: 0}),  # no buckets
        ("sysv", "DT_HASH", {0: 0xFFFFFFFF, 1: 0xFFFFFFFF}),
        ("gnu", "DT_GNU_HASH", {0: 0}),
        ("gnu", "DT_GNU_HASH", {0: 0xFFFFFFFF}),
        ("gnu", "DT_GNU_HASH", {1: 0xFFFFFFFF}),
        ("gnu", "DT_GNU_HASH", {2: 0}),
        ("gnu", "DT_GNU_HASH", {2: 3}),
        ("gnu", "DT_GNU_HASH", {2: 0x80000000}),
        ("gnu", "DT_GNU_HASH", {3: 0xFFFFFFFF}),
    ],
)
def test_absurd_counts_in_a_hash_table_do_no_harm(
    tmp_path: Path, style: str, tag: str, numbers: dict[int, int]
) -> None:
    path = _build(tmp_path / "absurd.so", _functions(20), f"-Wl,--hash-style={style}")
    at = _table(path, tag)
    data = bytearray(path.read_bytes())
    for place, value in numbers.items():
        struct.pack_into("=I", data, at + 4 * place, value)
    path.write_bytes(data)
    started = time.process_time()

    found = Exports(System(), path).among(query(Symbol(f"function_{n}")) for n in range(100))

    assert isinstance(found, Unknown | frozenset)
    assert not isinstance(undefined_symbols(System(), path), frozenset)
    assert time.process_time() - started < 3


def test_a_chain_that_runs_in_circles_comes_to_an_end(tmp_path: Path) -> None:
    path = _build(tmp_path / "circle.so", _functions(20), "-Wl,--hash-style=sysv")
    at = _table(path, "DT_HASH")
    data = bytearray(path.read_bytes())
    buckets, chains = struct.unpack_from("=II", data, at)
    for place in range(buckets + chains):
        struct.pack_into("=I", data, at + 8 + 4 * place, 1 + place % (chains - 1))
    path.write_bytes(data)
    started = time.process_time()

    found = Exports(System(), path).among(query(Symbol(f"absent_{n}")) for n in range(1000))

    assert isinstance(found, Unknown)
    assert time.process_time() - started < 5


def test_a_chain_without_an_end_comes_to_one(tmp_path: Path) -> None:
    path = _build(tmp_path / "endless.so", _functions(20), "-Wl,--hash-style=gnu")
    at = _table(path, "DT_GNU_HASH")
    data = bytearray(path.read_bytes())
    buckets, _, words, _ = struct.unpack_from("=IIII", data, at)
    data[at + 16 : at + 16 + 8 * words] = b"\xff" * 8 * words  # a filter that lets all through
    chain = at + 16 + 8 * words + 4 * buckets
    data[chain:] = bytes(len(data) - chain)
    path.write_bytes(data + bytes(64 * 1024**2))
    started = time.process_time()

    found = Exports(System(), path).among(query(Symbol(f"absent_{n}")) for n in range(1000))

    assert isinstance(found, Unknown | frozenset)
    assert isinstance(defined_symbols(System(), path), Unknown | frozenset)
    assert time.process_time() - started < 5


def test_random_damage_never_raises_and_takes_no_time(library: Path, tmp_path: Path) -> None:
    data = library.read_bytes()
    dice = random.Random(11)  # noqa: S311 - the same damage every time, no secret
    path = tmp_path / "damaged.so"
    wanted = [query(Symbol(f"function_{n}", "V", "l")) for n in range(0, COUNT, 10)]
    started = time.process_time()
    kinds = {Unknown: 0, frozenset: 0}
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 4, 40))):
            damaged[dice.randrange(dice.choice((600, 2048, len(data))))] = dice.randrange(256)
        path.write_bytes(damaged[: dice.choice((len(data), dice.randrange(len(data))))])

        kinds[type(Exports(System(), path).among(wanted))] += 1
        imported_symbols(System(), path)
        relocated_symbols(System(), path, range(50))
        defined_symbols(System(), path)

    assert min(kinds.values()) > 5
    assert time.process_time() - started < 20
