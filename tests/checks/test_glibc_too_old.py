"""Truth: PEP 600 (manylinux_2_28 from torch 2.7 on) and the glibc of distributions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkit.checks.glibc_too_old import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(glibc: str, torch: str, needed: str | None) -> Verdict:
    return judge(
        glibc_version=Version(glibc),
        torch_version=Version(torch),
        torch_glibc_needed=Version(needed) if needed else None,
        os_name="CentOS Linux 7 (Core)",
        os_system="linux",
    )


def test_centos_7_under_torch_2_7_fails_with_both_versions() -> None:
    verdict = judged("2.17", "2.7.0", "2.28")

    assert verdict.status is Status.FAIL
    assert "2.17" in verdict.message
    assert "2.28" in verdict.message


@pytest.mark.parametrize(("glibc", "status"), [("2.27", Status.FAIL), ("2.28", Status.OK)])
def test_the_exact_edge(glibc: str, status: Status) -> None:
    assert judged(glibc, "2.7.0", "2.28").status is status


def test_minor_versions_are_numbers_not_text() -> None:
    assert judged("2.100", "2.7.0", "2.28").status is Status.OK
    assert judged("2.3", "2.7.0", "2.28").status is Status.FAIL


def test_unread_libraries_are_judged_by_the_release() -> None:
    assert judged("2.17", "2.6.0+cu124", None).status is Status.OK
    assert judged("2.17", "2.7.0+cu126", None).status is Status.FAIL


def test_an_unknown_release_with_unread_libraries_is_not_guessed_about() -> None:
    verdict = judged("2.17", "2.99.0", None)

    assert verdict.status is Status.SKIP
    assert verdict.applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    musl = finding("glibc-too-old", glibc_version=None, torch_version=Version("2.7.0"))
    no_torch = finding("glibc-too-old", glibc_version=Version("2.17"), torch_version=None)
    unknown = finding(
        "glibc-too-old", glibc_version=Unknown("not told"), torch_version=Version("2.7.0")
    )

    assert (musl.status, musl.verdict.applies) == (Status.SKIP, False)
    assert (no_torch.status, no_torch.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)


def test_the_fix_is_a_torch_that_this_glibc_runs(finding: Callable[..., Finding]) -> None:
    found = finding(
        "glibc-too-old",
        glibc_version=Version("2.17"),
        torch_version=Version("2.7.0"),
        python_version=Version("3.10.14"),
        gpus=(),
    )

    assert found.verdict.fix[0].startswith("pip install torch==2.6.0+cpu ")


def test_alpine_has_no_official_torch(finding: Callable[..., Finding]) -> None:
    alpine = {"glibc_version": None, "os_system": "linux", "os_name": "Alpine Linux v3.20"}

    found = finding("glibc-too-old", **alpine, torch_version=None)
    own_build = finding("glibc-too-old", **alpine, torch_version=Version("2.7.0"))
    mac = finding("glibc-too-old", **(alpine | {"os_system": "macos"}), torch_version=None)

    assert found.status is Status.FAIL
    assert "Alpine Linux v3.20" in found.verdict.message
    assert own_build.status is Status.SKIP
    assert mac.status is Status.SKIP
