"""Truth: libstdc++'s ABI manual: gcc 4.8.5 has GLIBCXX_3.4.19, gcc 6 has 3.4.22."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.libstdcxx_too_old import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(offered: str, needed: str | None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "torch_version": Version("2.7.0"),
        "torch_glibcxx_needed": Version(needed) if needed else None,
        "torch_cxxabi_needed": None,
        "libstdcxx_cxxabi": None,
        "libstdcxx_path": "/lib64/libstdc++.so.6",
        "torch_manager": "pip",
    }
    return judge(libstdcxx_glibcxx=Version(offered), **(facts | changes))


def test_an_older_copy_fails_in_the_loaders_words() -> None:
    verdict = judged("3.4.19", "3.4.22")

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == (
        "ImportError: /lib64/libstdc++.so.6: version `GLIBCXX_3.4.22' not found"
    )


@pytest.mark.parametrize(("offered", "status"), [("3.4.21", Status.FAIL), ("3.4.22", Status.OK)])
def test_the_exact_edge(offered: str, status: Status) -> None:
    assert judged(offered, "3.4.22").status is status


def test_3_4_9_is_older_than_3_4_22() -> None:
    assert judged("3.4.9", "3.4.22").status is Status.FAIL


def test_cxxabi_is_compared_too() -> None:
    needed = {"torch_cxxabi_needed": Version("1.3.11")}

    lacking = judged("3.4.22", "3.4.22", libstdcxx_cxxabi=Version("1.3.10"), **needed)
    enough = judged("3.4.22", "3.4.22", libstdcxx_cxxabi=Version("1.3.11"), **needed)

    assert lacking.status is Status.FAIL
    assert "CXXABI_1.3.11" in lacking.message
    assert enough.status is Status.OK


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        (
            "/opt/gcc-4.9/lib64/libstdc++.so.6",
            "let another libstdc++ come first: take /opt/gcc-4.9/lib64 out of LD_LIBRARY_PATH "
            "if it is there",
        ),
        (
            "/home/ana/miniconda3/lib/libstdc++.so.6",
            "conda install -c conda-forge 'libstdcxx-ng>=13'",
        ),
    ],
)
def test_the_fix_is_about_the_copy_that_wins(path: str, fix: str) -> None:
    assert judged("3.4.19", "3.4.22", libstdcxx_path=path).fix[0] == fix


def test_unread_libraries_are_judged_by_the_release() -> None:
    assert judged("3.4.19", None, torch_version=Version("2.6.0")).status is Status.OK
    assert judged("3.4.19", None, torch_version=Version("2.7.0")).status is Status.FAIL
    assert judged("3.4.19", None, torch_version=Version("2.99.0")).status is Status.SKIP


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    mac = finding("libstdcxx-too-old", libstdcxx_glibcxx=None, torch_version=Version("2.7.0"))
    unknown = finding(
        "libstdcxx-too-old", libstdcxx_glibcxx=Unknown("unreadable"), torch_version=Version("2.7.0")
    )

    assert (mac.status, mac.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)


def test_an_unknown_copy_is_cured_like_the_systems() -> None:
    verdict = judged("3.4.19", "3.4.22", libstdcxx_path=Unknown("not looked at"))

    assert not any("take  out" in line for line in verdict.fix)
    assert "container" in verdict.fix[-1]
