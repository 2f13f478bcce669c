"""Truth: gcc's manual on the dual ABI; tests/machine/test_libtorch_files.py links for real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.libtorch_abi import judge
from torchkit.machine.facts import Libtorch, Unknown
from torchkit.report import WOULD_FAIL_WITH, Finding, Status, Verdict
from torchkit.versions import Version

SYMBOL = "c10::Error::Error(c10::SourceLocation, std::string)"


def judged(
    abi: bool | None, *, gcc: str | None = "12.2.0", glibc: str = "2.36", **changes: Any
) -> Verdict:
    libtorch = Libtorch(
        "/opt/libtorch",
        version="1.10.2+cu113",
        variant="cu113",
        cuda="11.3",
        cxx11_abi=abi,
        string_symbol=SYMBOL,
        os_system="linux",
        architecture="x86_64",
    )._replace(**changes)
    (verdict,) = judge((libtorch,), Version(gcc) if gcc else None, Version(glibc))
    return verdict


@pytest.mark.parametrize(
    ("abi", "gcc", "glibc", "status"),
    [
        (True, "12.2.0", "2.36", Status.OK),
        (False, "12.2.0", "2.36", Status.FAIL),
        (True, "4.9.4", "2.19", Status.FAIL),
        (True, "5.1.0", "2.23", Status.OK),
        (False, "4.8.5", "2.17", Status.OK),
        (True, "11.2.1", "2.17", Status.FAIL),  # a devtoolset of RHEL 7 builds the old one too
        (False, "11.2.1", "2.17", Status.OK),
        (True, None, "2.36", Status.OK),
    ],
)
def test_the_edges(abi: bool, gcc: str | None, glibc: str, status: Status) -> None:
    assert judged(abi, gcc=gcc, glibc=glibc).status is status


def test_the_failure_quotes_the_linker_and_names_the_other_download() -> None:
    verdict = judged(False)

    assert verdict.evidence[0].name == WOULD_FAIL_WITH
    assert verdict.evidence[0].value == f"undefined reference to `{SYMBOL}'"
    assert verdict.fix[0] == (
        "download instead: https://download.pytorch.org/libtorch/cu113/"
        "libtorch-cxx11-abi-shared-with-deps-1.10.2%2Bcu113.zip"
    )
    assert "-D_GLIBCXX_USE_CXX11_ABI=0" in verdict.fix[1]


def test_cmake_files_that_set_the_abi_make_it_a_warning() -> None:
    verdict = judged(False, cmake_cxx11_abi=False)

    assert verdict.status is Status.WARN
    assert "not for other C++ libraries" in verdict.message


def test_a_compiler_of_the_old_abi_gets_the_build_of_the_old_abi() -> None:
    old = judged(True, gcc="11.2.1", glibc="2.17")
    none = judged(True, gcc="11.2.1", glibc="2.17", version="2.8.0+cpu", variant="cpu")

    assert old.fix[0].endswith("/cu113/libtorch-shared-with-deps-1.10.2%2Bcu113.zip")
    assert none.fix == ("build on a newer distribution, whose g++ builds the new C++ ABI",)


@pytest.mark.parametrize("system", ["windows", "macos", None])
def test_off_linux_there_is_no_choice(system: str | None) -> None:
    assert not judged(None, os_system=system).applies


def test_what_could_not_be_read_is_not_judged() -> None:
    assert judged(None).status is Status.SKIP
    assert judged(None).applies
    assert not judged(None, problem="it is no zip").applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    one = (Libtorch("/a", cxx11_abi=True, os_system="linux"),)

    assert not finding("libtorch-abi", libtorchs=None).verdict.applies
    unknown = finding("libtorch-abi", libtorchs=one, gcc_version=Unknown("gcc hung"))
    assert unknown.status is Status.SKIP
    assert "gcc hung" in unknown.verdict.message
