"""Truth: torch/all.h and cpp_extension.py of the wheels; gcc's status page on C++17 and C++20."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.host_compiler_too_old import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(gcc: str, torch: str | None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {"os_system": "linux", "os_name": "Debian GNU/Linux 12 (bookworm)"}
    version = Version(torch) if torch else None
    return judge(gcc_version=Version(gcc), torch_version=version, **(facts | changes))


@pytest.mark.parametrize(
    ("gcc", "torch", "status"),
    [
        ("9.1.0", "2.2.2", Status.OK),
        ("8.5.0", "2.2.2", Status.WARN),
        ("10.1.0", "2.14.0", Status.OK),
        ("9.4.0", "2.14.0", Status.WARN),
        ("7.5.0", "2.1.0", Status.OK),
        ("4.8.5", "1.13.1", Status.WARN),
        ("5.4.0", "1.13.1", Status.OK),
    ],
)
def test_the_exact_edges(gcc: str, torch: str, status: Status) -> None:
    assert judged(gcc, torch).status is status


def test_the_error_is_the_compilers_or_the_headers() -> None:
    no_option, refused = judged("4.8.5", "2.5.1"), judged("8.5.0", "2.5.1")

    assert no_option.evidence[0].value == "error: unrecognized command line option '-std=c++17'"
    assert "We need GCC 9 or later" in refused.evidence[0].value
    assert "We need GCC 9 or later" in judged("7.5.0", "2.5.1").evidence[0].value


def test_before_torch_is_installed_it_is_only_worth_saying() -> None:
    assert judged("8.5.0", None).status is Status.INFO


def test_the_fix_is_the_systems_own() -> None:
    assert judged("8.5.0", "2.5.1").fix[0].startswith("sudo apt install g++-11 && export CC=gcc-11")
    assert "gcc-toolset-11" in judged("8.5.0", "2.5.1", os_name="Rocky Linux 8.10").fix[0]


def test_on_windows_gcc_is_not_what_builds_extensions() -> None:
    assert not judged("4.8.5", "2.5.1", os_system="windows").applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    no_gcc = finding("host-compiler-too-old", gcc_version=None, torch_version=Version("2.5.1"))
    unknown = finding(
        "host-compiler-too-old", gcc_version=Unknown("it hung"), torch_version=Version("2.5.1")
    )
    nightly = finding(
        "host-compiler-too-old",
        gcc_version=Version("4.8.5"),
        torch_version=Version("2.16.0.dev20261120"),
    )

    assert (no_gcc.status, no_gcc.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert (nightly.status, nightly.verdict.applies) == (Status.SKIP, True)


def test_what_links_libtorch_may_still_not_build_extensions() -> None:
    verdict = judged("9.3.0", "2.13.0")  # headers in C++17, cpp_extension passes -std=c++20

    assert verdict.status is Status.WARN
    assert "to build extensions" in verdict.message
    assert "link libtorch" not in " ".join(it.value for it in verdict.evidence)
