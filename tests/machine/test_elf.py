"""Compiled files, against pyelftools, gcc and the real loader."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from torchkit.machine.elf import (
    Elf,
    cxx11_abi,
    parse_cxx11_abi,
    parse_elf,
    read_elf,
)
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or System().libc() is None or shutil.which("gcc") is None,
    reason="needs gcc and the loader of glibc",
)

FOLDERS_WITH_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
HEADER_BYTES = 64


def _build(path: Path, code: str, *options: str, compiler: str = "gcc") -> Path:
    source = path.with_suffix(".cpp" if compiler == "g++" else ".c")
    source.write_text(code)
    command = [compiler, "-shared", "-fPIC", "-o", str(path), str(source), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small library with a soname, a needed library, versions and a RUNPATH."""
    folder = tmp_path_factory.mktemp("library")
    script = folder / "versions.map"
    script.write_text("UNIT_1 { global: unit; }; UNIT_2 { global: other; } UNIT_1;\n")
    code = (
        'int puts(const char *); int unit(void) { return puts(""); } int other(void) { return 2; }'
    )
    return _build(
        folder / "libunit.so.1",
        code,
        "-Wl,-soname,libunit.so.1,--enable-new-dtags,-rpath,$ORIGIN/sub",
        f"-Wl,--version-script={script}",
    )


def test_a_built_library_is_read_whole(library: Path) -> None:
    elf = read_elf(System(), library)

    assert isinstance(elf, Elf)
    assert (elf.soname, elf.rpath, elf.runpath) == ("libunit.so.1", None, "$ORIGIN/sub")
    assert elf.needed == ("libc.so.6",)
    assert elf.defined_versions == ("libunit.so.1", "UNIT_1", "UNIT_2")
    assert list(elf.needed_versions) == ["libc.so.6"]
    assert elf.bits == 64
    assert not elf.is_program
    assert not elf.executable_stack


def test_an_executable_stack_is_seen(tmp_path: Path) -> None:
    path = _build(tmp_path / "stack.so", "int f(void) { return 1; }", "-Wl,-z,execstack")

    elf = read_elf(System(), path)

    assert isinstance(elf, Elf)
    assert elf.executable_stack


def test_a_program_is_told_from_a_library(tmp_path: Path) -> None:
    for option in ("-pie", "-no-pie"):
        source = tmp_path / "main.c"
        source.write_text("int main(void) { return 0; }")
        command = ["gcc", option, "-o", str(tmp_path / "main"), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

        elf = read_elf(System(), tmp_path / "main")

        assert isinstance(elf, Elf)
        assert elf.is_program
        assert elf.is_position_independent == (option == "-pie")
        assert elf.interpreter is not None
        assert Path(elf.interpreter).exists()


def test_a_library_without_sections_reads_the_same(library: Path, tmp_path: Path) -> None:
    data = bytearray(library.read_bytes())
    data[40:48] = bytes(8)  # e_shoff
    data[58:64] = bytes(6)  # e_shentsize, e_shnum, e_shstrndx
    bare = tmp_path / "bare.so"
    bare.write_bytes(data)

    assert read_elf(System(), bare) == read_elf(System(), library)


def test_a_member_of_a_zip_reads_the_same(library: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "libtorch.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(library, "lib/libunit.so.1")

    with (
        zipfile.ZipFile(tmp_path / "libtorch.zip") as archive,
        archive.open("lib/libunit.so.1") as member,
    ):
        elf = parse_elf(member)  # type: ignore[arg-type]  # a ZipExtFile reads and seeks as a file

    assert elf == read_elf(System(), library)


def _system_libraries() -> list[Path]:
    """Some dozens of the machine's own libraries, the same ones every time."""
    folders = [Path(folder) for folder in FOLDERS_WITH_LIBRARIES if Path(folder).is_dir()]
    found = [path for folder in folders for path in sorted(folder.glob("lib*.so*"))]
    real = [path for path in found if path.is_file() and not path.is_symlink()]
    return random.Random(7).sample(real, min(40, len(real)))  # noqa: S311 - a fixed choice, no secret


def _by_pyelftools(path: Path) -> dict[str, object] | None:
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":  # a linker script
            return None
        elf: Any = ELFFile(file)
        (dynamic,) = (part for part in elf.iter_segments() if isinstance(part, DynamicSegment))
        tags: list[Any] = list(dynamic.iter_tags())
        needs = elf.get_section_by_name(".gnu.version_r")
        offers = elf.get_section_by_name(".gnu.version_d")
        stack = [part for part in elf.iter_segments() if part.header.p_type == "PT_GNU_STACK"]
        return {
            "needed": tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
            "soname": next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), None),
            "runpath": next((tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"), None),
            "executable_stack": not stack or bool(stack[0].header.p_flags & 1),
            "needed_versions": {
                library.name: [
                    (version.name, bool(version.entry.vna_flags & 2)) for version in versions
                ]
                for library, versions in (needs.iter_versions() if needs is not None else ())
            },
            "defined_versions": tuple(
                next(iter(names)).name
                for _, names in (offers.iter_versions() if offers is not None else ())
            ),
        }


def test_the_machine_s_own_libraries_read_as_pyelftools_reads_them() -> None:
    compared = 0
    for path in _system_libraries():
        expected = _by_pyelftools(path)
        if expected is None:
            continue

        elf = read_elf(System(), path)

        assert isinstance(elf, Elf), path
        versions = {
            library: [(version.name, version.is_weak) for version in names]
            for library, names in elf.needed_versions.items()
        }
        assert versions == expected.pop("needed_versions"), path
        assert {name: getattr(elf, name) for name in expected} == expected, path
        compared += 1
    assert compared > 10


ASK_THE_LOADER = """
import ctypes, json, os, sys
# one child for each file: some of them kill it
for path in sys.argv[1:]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ctypes.CDLL(path)
            os.write(writer, b"loaded")
        except OSError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 65536).decode()
    os.waitpid(child, 0)
    os.close(reader)
    print(json.dumps(said))
"""


def _said_by_the_loader(paths: list[Path]) -> list[str]:
    """What the real loader says of each file; "loaded", or nothing where it dies."""
    command = [sys.executable, "-I", "-S", "-c", ASK_THE_LOADER, *map(str, paths)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in child.stdout.splitlines()]


def test_every_damaged_byte_of_the_header_is_told_in_the_loader_s_words(
    library: Path, tmp_path: Path
) -> None:
    paths = []
    for offset in range(HEADER_BYTES):
        for value in (0, 0xFF):
            data = bytearray(library.read_bytes())
            if data[offset] != value:
                data[offset] = value
                path = tmp_path / f"{offset}-{value}.so"
                path.write_bytes(data)
                paths.append(path)

    real = _said_by_the_loader(paths)

    told = 0
    for path, said in zip(paths, real, strict=True):
        elf = read_elf(System(), path)
        words = said.removeprefix(f"{path}: ")
        if words == "loaded":
            assert isinstance(elf, Elf), path.name
        elif words.startswith(("wrong ELF class", "cannot open shared object")):
            # the loader passes such a file over, whose bits or machine are not its own
            assert isinstance(elf, Unknown) or elf.machine != "x86_64", path.name
        elif words:
            assert elf == Unknown(words), path.name
            told += 1
    assert told > 20


def test_a_file_cut_off_anywhere_is_refused_where_the_loader_refuses_or_dies(
    library: Path, tmp_path: Path
) -> None:
    data = library.read_bytes()
    paths = []
    for size in (0, 1, 51, 52, 63, 64, 200, 600, 4096, 8192, 12000):
        path = tmp_path / f"{size}.so"
        path.write_bytes(data[:size])
        paths.append(path)

    real = _said_by_the_loader(paths)

    for path, said in zip(paths, real, strict=True):
        elf = read_elf(System(), path)
        assert isinstance(elf, Unknown), path.name
        if said:
            assert said == f"{path}: {elf.reason}"
        else:
            assert elf.reason.startswith("Bus error, since the file is cut off")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("text", lambda path: path.write_text("this is no library " * 20)),
        ("folder", lambda path: path.mkdir()),
        ("absent", lambda path: path.unlink(missing_ok=True)),
        ("loop", lambda path: path.symlink_to(path)),
    ],
)
def test_what_is_no_library_is_told_in_the_loader_s_words(
    tmp_path: Path, name: str, make: object
) -> None:
    path = tmp_path / f"{name}.so"
    make(path)  # type: ignore[operator]

    elf = read_elf(System(), path)

    assert isinstance(elf, Unknown)
    assert [f"{path}: {elf.reason}"] == _said_by_the_loader([path])


def test_random_damage_never_raises_and_takes_no_time(library: Path, tmp_path: Path) -> None:
    data = library.read_bytes()
    dice = random.Random(20261123)  # noqa: S311 - the same damage every time, no secret
    path = tmp_path / "damaged.so"
    started = time.process_time()
    outcomes = {Elf: 0, Unknown: 0}
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 1, 4, 40))):
            damaged[dice.randrange(dice.choice((64, 600, 2048, len(data))))] = dice.randrange(256)
        path.write_bytes(damaged[: dice.choice((len(data), len(data), dice.randrange(len(data))))])

        outcomes[type(read_elf(System(), path))] += 1
        cxx11_abi(System(), path)

    assert min(outcomes.values()) > 20
    assert time.process_time() - started < 10


def test_a_version_list_that_runs_in_circles_comes_to_an_end(library: Path, tmp_path: Path) -> None:
    data = bytearray(library.read_bytes())
    with library.open("rb") as file:
        elf: Any = ELFFile(file)
        section = elf.get_section_by_name(".gnu.version_d").header
    # vd_next of every record leads to itself or back, modulo 2**32
    for offset in range(section.sh_offset + 16, section.sh_offset + section.sh_size - 4, 4):
        data[offset : offset + 4] = (1).to_bytes(4, "little")
    path = tmp_path / "circle.so"
    path.write_bytes(data)
    started = time.process_time()

    read_elf(System(), path)

    assert time.process_time() - started < 5


# --- the C++ ABI

TORCH_CODE = """
#include <string>
namespace c10 { class Error { public: __attribute__((visibility("default"))) Error(std::string text, int); }; }
c10::Error::Error(std::string text, int n) { (void)text.size(); (void)n; }
namespace at { std::string show(const std::string &text) { return text + "!"; } }
"""
INLINED_CODE = "void _ZNSt7__cxx1112basic_stringIcE5dummyEv(void) {}\n"


@pytest.fixture(scope="module", params=[True, False], ids=["new", "old"])
def abi_library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, Path]:
    """A library of torch's namespaces; the old one also has a `__cxx11` name of libstdc++."""
    folder = tmp_path_factory.mktemp("abi")
    code = TORCH_CODE + f'extern "C" {{ {INLINED_CODE} }}\n'
    option = f"-D_GLIBCXX_USE_CXX11_ABI={int(request.param)}"
    return request.param, _build(folder / "libc10.so", code, option, compiler="g++")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_abi_is_that_of_torch_s_own_names(abi_library: tuple[bool, Path]) -> None:
    is_new, path = abi_library

    assert b"__cxx11" in path.read_bytes()
    assert cxx11_abi(System(), path) is is_new


def test_a_library_without_names_of_torch_tells_no_abi(library: Path) -> None:
    assert cxx11_abi(System(), library) == Unknown("it has no names of torch")


def test_names_of_torch_without_a_string_tell_no_abi(tmp_path: Path) -> None:
    path = _build(tmp_path / "few.so", "int _ZN2at3twoEv(void) { return 2; }")

    with path.open("rb") as file:
        assert parse_cxx11_abi(file) == Unknown("none of its torch names has a std::string in it")
