"""What a log misses is looked for in libraries, and only in those that are there to look at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from torchkit.commands.explain_confirm import CONFIRMED, NOT_CHECKED, REFUTED, Checked
from torchkit.commands.explain_symbols import settled, with_rows
from torchkit.logs.problems import Met, told
from torchkit.logs.reader import read_text
from torchkit.machine.facts import Facts
from torchkit.system import System

OLD_ABI = "ImportError: /opt/x/_ext.so: undefined symbol: _ZN3c105ErrorC1ENS_14SourceLocationERKSs"
LINK_ABI = "m.cpp: undefined reference to `c10::Device::Device(std::string const&)'\n"
LINK_LIBRARIES = (
    "m.cpp: undefined reference to `c10::operator<<(std::ostream&, c10::Device const&)'\n"
)


def met(text: str) -> tuple[Met, ...]:
    return told(read_text(text)).problems


def ids(problems: tuple[Met, ...]) -> list[str]:
    return [it.problem.id for it in problems]


@pytest.fixture(scope="module")
def libtorch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder lib/ with a libc10.so of a few real names."""
    if shutil.which("g++") is None or sys.platform != "linux":
        pytest.skip("there is no g++ for Linux")
    folder = tmp_path_factory.mktemp("torch")
    (folder / "lib").mkdir()
    (folder / "c10.cpp").write_text(
        "#include <string>\n"
        "namespace c10 {\n"
        "struct Device { Device(const std::string&); };\n"
        "Device::Device(const std::string&) {}\n"
        "std::string named(int) { return {}; }\n"
        "}\n"
    )
    subprocess.run(
        ["g++", "-shared", "-fPIC", "c10.cpp", "-o", "lib/libc10.so"], cwd=folder, check=True
    )
    return folder


def looked(text: str, libtorch: Path) -> tuple[list[str], list[Checked]]:
    facts = Facts({"torch_path": str(libtorch), "torch_version": None, "torch_build": "cpu"})
    problems, rows = settled(met(text), lambda _: facts, System())
    return ids(problems), rows.get(problems[0].problem.id, [])


@pytest.mark.parametrize(
    ("text", "problem", "words"),
    [
        (LINK_ABI, "link-cxx11-abi", "under the other C++ ABI only"),
        (
            LINK_ABI.replace("std::string", "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"),
            "link-cxx11-abi",
            "just as the linker wants it",
        ),
        (LINK_ABI.replace("Device(", "Gone("), "link-cxx11-abi", "in any form"),
        (LINK_LIBRARIES, "link-torch-libs-missing", "in any form"),
        (OLD_ABI, "undefined-symbol-abi", "does not define c10::Error::Error(…) under either"),
        (
            "ImportError: a.so: undefined symbol: _ZN3c106DeviceC1ERKSs",
            "undefined-symbol-abi",
            "under the other C++ ABI only",
        ),
        (
            "ImportError: a.so: undefined symbol: _ZN3c105namedEi",
            "undefined-symbol-abi",
            "under the other C++ ABI only",
        ),
    ],
)  # fmt: skip
def test_a_name_is_sought_in_both_forms(
    text: str, problem: str, words: str, libtorch: Path
) -> None:
    named, rows = looked(text, libtorch)

    assert named == [problem]
    assert any(it.state == CONFIRMED and words in it.by for it in rows)


def test_a_name_that_torch_has_refutes_what_the_log_says(libtorch: Path) -> None:
    text = "ImportError: a.so: undefined symbol: _ZN3c106DeviceC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"

    named, rows = looked(text, libtorch)

    assert named == ["undefined-symbol-abi"]
    assert [it.state for it in rows] == [REFUTED]


def test_a_name_that_is_cut_off_tells_nothing(libtorch: Path) -> None:
    named, rows = looked("undefined reference to `c10::Device::Device(std::string", libtorch)

    assert named == ["link-cxx11-abi"]
    assert rows == []


def test_the_libtorch_of_the_log_is_preferred_and_settles_what_it_is(
    libtorch: Path, tmp_path: Path
) -> None:
    new_abi = LINK_ABI.replace(
        "std::string",
        "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >",
    )
    text = f"{new_abi}g++ m.o {libtorch}/lib/libc10.so -o app: error"

    named, rows = looked(text, tmp_path)

    assert named == ["link-torch-libs-missing"]
    assert str(libtorch / "lib") in rows[0].by


def test_a_module_that_lies_here_settles_that_it_is_of_another_release(
    libtorch: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.so").write_bytes(b"")

    named, rows = looked(OLD_ABI.replace("/opt/x/_ext.so", f"{tmp_path}/m.so"), libtorch)

    assert named == ["undefined-symbol-version"]
    assert [it.state for it in rows] == [CONFIRMED]


def test_without_torch_it_is_not_checked(tmp_path: Path) -> None:
    named, rows = looked(OLD_ABI, tmp_path)

    assert named == ["undefined-symbol-abi"]
    assert [it.state for it in rows] == [NOT_CHECKED]


def test_names_without_a_string_settle_it_by_the_text_however_far_away() -> None:
    text = LINK_ABI + "an error line\n" * 2000 + LINK_LIBRARIES

    problems, rows = settled(met(text), lambda _: None, None)

    assert ids(problems) == ["link-torch-libs-missing"]
    assert rows == {}


def test_a_saved_machine_is_not_looked_into() -> None:
    facts = Facts({"torch_path": "/opt/torch"})

    problems, rows = settled(met(OLD_ABI), lambda _: facts, None)

    assert ids(problems) == ["undefined-symbol-abi"]
    assert rows == {}


def test_what_is_confirmed_in_the_libraries_is_not_refuted_by_a_check() -> None:
    found = Checked(CONFIRMED, "found")
    refuted, unknown = Checked(REFUTED, "all well"), Checked(NOT_CHECKED, "cannot look")

    merged = with_rows({"a": [refuted, unknown], "b": [refuted]}, {"a": [found]})

    assert merged == {"a": [found, unknown], "b": [refuted]}
