"""Truth: torch/all.h of the releases, gcc's status page, crt/host_config.h of the toolkits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.libtorch_compiler import judge
from torchkit.machine.facts import Libtorch, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(*, gcc: str | None = "12.2.0", **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "nvcc_gcc_max": None,
        "nvcc_version": None,
        "host_compiler": None,
        "os_system": "linux",
        "os_name": "Debian GNU/Linux 12 (bookworm)",
        "cpu_architecture": "x86_64",
    }
    of_machine = {name: changes.pop(name) for name in facts if name in changes}
    libtorch = Libtorch(
        "/opt/libtorch",
        version="2.5.1+cpu",
        variant="cpu",
        os_system="linux",
        architecture="x86_64",
    )._replace(**changes)
    facts["os_system"] = of_machine.pop("os_system", "linux")
    (verdict,) = judge((libtorch,), Version(gcc) if gcc else None, **(facts | of_machine))
    return verdict


@pytest.mark.parametrize(
    ("version", "gcc", "status"),
    [
        ("2.5.1+cpu", "9.1.0", Status.OK),
        ("2.5.1+cpu", "8.5.0", Status.FAIL),
        ("2.14.0+cpu", "10.1.0", Status.OK),
        ("2.14.0+cpu", "9.4.0", Status.FAIL),
        ("1.13.1+cpu", "5.4.0", Status.OK),
        ("1.13.1+cpu", "4.8.5", Status.FAIL),
    ],
)
def test_the_edges_of_the_headers(version: str, gcc: str, status: Status) -> None:
    assert judged(version=version, gcc=gcc).status is status


def test_an_old_compiler_is_told_what_to_install() -> None:
    verdict = judged(gcc="8.5.0")

    assert "We need GCC 9 or later" in verdict.evidence[0].value
    assert verdict.fix[0].startswith("sudo apt install g++-11")


@pytest.mark.parametrize(("gcc", "status"), [("13.2.0", Status.WARN), ("12.9.0", Status.OK)])
def test_nvcc_takes_no_newer_compiler_for_a_cuda_build(gcc: str, status: Status) -> None:
    cuda = {"version": "2.5.1+cu124", "cuda": "12.4", "nvcc_gcc_max": 12}

    verdict = judged(gcc=gcc, **cuda, nvcc_version=Version("12.1.105"))

    assert verdict.status is status
    assert verdict.part_of == ("host-compiler-too-new" if status is Status.WARN else "")
    assert judged(gcc=gcc, nvcc_gcc_max=12).status is Status.OK  # a CPU build needs no nvcc


def test_another_system_or_cpu_links_nowhere() -> None:
    windows = judged(os_system="windows")
    arm = judged(cpu_architecture="aarch64")

    assert windows.status is arm.status is Status.FAIL
    assert "is for Linux, this machine has Windows" in windows.message
    assert "is for x86_64, this machine is aarch64" in arm.message
    assert "file in wrong format" in arm.evidence[0].value


def test_windows_has_debug_and_release() -> None:
    here: dict[str, Any] = {"gcc": None}
    libtorch = Libtorch("C:/libtorch", version="2.5.1+cpu", os_system="windows")
    facts = dict.fromkeys(
        ("gcc_version", "nvcc_gcc_max", "nvcc_version", "host_compiler", "os_name")
    )

    statuses = [
        judge(
            (libtorch._replace(is_debug=debug),),
            **facts,
            os_system="windows",
            cpu_architecture="x86_64",
        )[0].status
        for debug in (True, False, None)
    ]

    assert statuses == [Status.INFO, Status.OK, Status.SKIP]
    assert not judged(**here).applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    assert judged(version=None).status is Status.SKIP
    assert judged(version="2.5.0a0+git").status is Status.SKIP
    assert not judged(problem="it is no zip").applies
    assert not finding("libtorch-compiler", libtorchs=None).verdict.applies
    one = (Libtorch("/a", version="2.5.1", os_system="linux"),)
    unknown = finding("libtorch-compiler", libtorchs=one, gcc_version=Unknown("gcc hung"))
    assert "gcc hung" in unknown.verdict.message
