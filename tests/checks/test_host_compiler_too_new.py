"""Truth: crt/host_config.h of the toolkits: 11.8 takes gcc 11, 12.3 takes 12, 13.0 takes 15."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.host_compiler_too_new import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(nvcc: str, gcc: str | None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "gcc_version": Version(gcc) if gcc else None,
        "nvcc_gcc_max": Unknown("no header"),
        "nvcc_clang_max": Unknown("no header"),
        "host_compiler": None,
        "os_system": "linux",
        "os_name": "Ubuntu 24.04.3 LTS",
    }
    return judge(nvcc_version=Version(nvcc), **(facts | changes))


@pytest.mark.parametrize(
    ("nvcc", "gcc", "status"),
    [
        ("11.8.89", "11.4.0", Status.OK),
        ("11.8.89", "12.1.0", Status.WARN),
        ("12.3.107", "12.3.0", Status.OK),
        ("12.3.107", "13.1.0", Status.WARN),
        ("12.8.61", "14.2.0", Status.OK),
        ("13.0.88", "15.2.0", Status.OK),
        ("13.0.88", "16.1.0", Status.WARN),
    ],
)
def test_the_major_version_is_compared_with_the_toolkits_bound(
    nvcc: str, gcc: str, status: Status
) -> None:
    assert judged(nvcc, gcc).status is status


def test_the_toolkits_own_header_beats_the_table() -> None:
    assert judged("11.8.89", "13.3.0", nvcc_gcc_max=13).status is Status.OK
    assert judged("13.0.88", "15.1.0", nvcc_gcc_max=14).status is Status.WARN


def test_the_error_is_that_of_the_header() -> None:
    gcc = judged("11.8.89", "13.3.0")
    clang = judged("12.4.99", "13.3.0", host_compiler="clang 18.1.3", nvcc_clang_max=17)

    assert gcc.evidence[0].value == (
        "#error -- unsupported GNU version! gcc versions later than 11 are not supported!"
    )
    assert clang.evidence[0].value == (
        "#error -- unsupported clang version! clang version must be less than 18"
    )


def test_the_compiler_that_nvcc_is_told_to_use_is_judged_instead() -> None:
    assert judged("11.8.89", "13.3.0", host_compiler="gcc 11.4.0").status is Status.OK
    assert judged("11.8.89", "11.4.0", host_compiler="gcc 13.3.0").status is Status.WARN


def test_a_named_compiler_that_is_not_there_is_not_replaced_by_another() -> None:
    verdict = judged("11.8.89", "13.3.0", host_compiler="g++-11 (not found)")

    assert verdict.status is Status.SKIP
    assert verdict.applies
    assert "g++-11 (not found)" in verdict.message


def test_the_fix_names_a_compiler_and_the_first_toolkit_that_takes_this_one() -> None:
    verdict = judged("11.8.89", "13.3.0")

    assert verdict.fix == (
        "sudo apt install g++-11 && export CC=gcc-11 CXX=g++-11 CUDAHOSTCXX=g++-11",
        "or install CUDA 12.4 or newer, whose nvcc takes gcc 13",
    )
    red_hat = judged("11.8.89", "13.3.0", os_name="Rocky Linux 9.4 (Blue Onyx)")
    assert red_hat.fix[0].startswith("sudo dnf install gcc-toolset-11 ")


def test_on_windows_gcc_is_not_what_nvcc_uses() -> None:
    verdict = judged("11.8.89", "13.3.0", os_system="windows")

    assert verdict.status is Status.SKIP
    assert not verdict.applies


def test_a_toolkit_that_nobody_knows_is_not_guessed_about() -> None:
    verdict = judged("14.7.1", "16.1.0")

    assert verdict.status is Status.SKIP
    assert verdict.applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    no_nvcc = finding("host-compiler-too-new", nvcc_version=None, gcc_version=Version("13.3"))
    no_gcc = finding("host-compiler-too-new", nvcc_version=Version("11.8"), gcc_version=None)
    unknown = finding(
        "host-compiler-too-new", nvcc_version=Version("11.8"), gcc_version=Unknown("it hung")
    )
    alone = finding(
        "host-compiler-too-new", nvcc_version=Version("11.8.89"), gcc_version=Version("13.3.0")
    )

    assert (no_nvcc.status, no_nvcc.verdict.applies) == (Status.SKIP, False)
    assert (no_gcc.status, no_gcc.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.WARN
