"""Truth: the loader's words, which tests/machine/test_libtorch_files.py makes it say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.libtorch_glibc import judge
from torchkit.machine.facts import Libtorch, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

LIBTORCH = Libtorch(
    "/opt/libtorch",
    version="2.13.0+cpu",
    variant="cpu",
    glibc_needed="2.28",
    glibc_needed_by="libtorch_cpu.so",
    glibcxx_needed="3.4.22",
    glibcxx_needed_by="libc10.so",
    cxxabi_needed="1.3.11",
    cxxabi_needed_by="libtorch_cpu.so",
    cmake_prefix="/opt/libtorch",
    os_system="linux",
)


def judged(**changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "glibc_version": Version("2.36"),
        "libstdcxx_glibcxx": Version("3.4.30"),
        "libstdcxx_cxxabi": Version("1.3.13"),
        "libstdcxx_path": "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
        "os_system": "linux",
        "os_name": "Debian GNU/Linux 12 (bookworm)",
    }
    libtorch = changes.pop("libtorch", LIBTORCH)
    (verdict,) = judge((libtorch,), **(facts | changes))
    return verdict


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.OK),
        ({"glibc_version": Version("2.28")}, Status.OK),
        ({"glibc_version": Version("2.27")}, Status.FAIL),
        ({"libstdcxx_glibcxx": Version("3.4.22")}, Status.OK),
        ({"libstdcxx_glibcxx": Version("3.4.21")}, Status.FAIL),
        ({"libstdcxx_cxxabi": Version("1.3.10")}, Status.FAIL),
    ],
)
def test_the_edges(changes: dict[str, Any], status: Status) -> None:
    assert judged(**changes).status is status


def test_the_failure_quotes_the_loader() -> None:
    verdict = judged(glibc_version=Version("2.17"))

    assert verdict.evidence[0].value == (
        "version `GLIBC_2.28' not found (required by /opt/libtorch/lib/libtorch_cpu.so)"
    )
    assert "GLIBC_2.28" in verdict.message
    assert "GLIBC_2.17" in verdict.message


def test_an_environments_own_libstdcxx_is_not_what_programs_load() -> None:
    path = "/home/me/miniconda3/lib/libstdc++.so.6"

    assert judged(libstdcxx_glibcxx=Version("3.4.19"), libstdcxx_path=path).status is Status.OK


def test_musl_has_no_loader_for_it() -> None:
    verdict = judged(glibc_version=None, os_name="Alpine Linux v3.20")

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value.startswith("Error loading shared library ld-linux-x86-64.so.2")


def test_other_systems_have_other_libraries() -> None:
    assert not judged(os_system="windows", glibc_version=None).applies
    assert not judged(libtorch=LIBTORCH._replace(os_system="windows")).applies
    assert not judged(libtorch=LIBTORCH._replace(problem="it is no zip")).applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    assert judged(libtorch=LIBTORCH._replace(glibc_needed=None)).status is Status.SKIP
    assert judged(glibc_version=Unknown("nobody tells")).status is Status.SKIP
    assert not finding("libtorch-glibc", libtorchs=None).verdict.applies
