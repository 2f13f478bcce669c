"""Truth: CUDA's programming guide (binary and PTX compatibility) and the lists in the wheels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.gpu_unsupported import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(capability: str | None, archs: str, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "torch_version": Version("2.5.1+cu124"),
        "torch_cuda": Version("12.4"),
        "gpus": (Gpu("the GPU", capability),),
        "torch_archs": tuple(archs.split()),
        "torch_archs_source": "libtorch_python.so",
        "cpu_architecture": "x86_64",
        "driver_cuda": None,
    }
    return judge(**(facts | changes))


def test_blackwell_on_a_build_that_ends_at_sm_90_fails() -> None:
    verdict = judged("12.0", "sm_80 sm_86 sm_90")

    assert verdict.status is Status.FAIL
    assert "12.0" in verdict.message
    assert "no kernel image" in verdict.evidence[0].value


@pytest.mark.parametrize(
    ("archs", "capability", "runs"),
    [
        ("sm_86", "8.6", True),
        ("sm_86", "8.9", True),
        ("sm_80", "8.6", True),
        ("sm_86", "8.0", False),
        ("sm_80", "7.5", False),
        ("sm_70", "7.5", True),
        ("sm_60", "6.1", True),
        ("sm_61", "6.0", False),
        ("sm_90", "10.0", False),
        ("sm_100", "10.3", True),
        ("sm_100", "12.0", False),
        ("sm_120", "12.1", True),
        ("sm_90a", "9.0", True),
        ("sm_90a", "10.0", False),
        ("sm_100f", "10.3", True),
        ("sm_100f", "12.0", False),
        ("sm_103f", "10.0", False),
        ("compute_90", "12.0", True),
        ("compute_120", "12.0", True),
        ("compute_90", "8.9", False),
    ],
)
def test_compiled_code_runs_within_its_major_and_ptx_on_anything_newer(
    archs: str, capability: str, runs: bool
) -> None:
    assert (judged(capability, archs).status is not Status.FAIL) is runs


def test_ptx_alone_is_worth_a_note() -> None:
    verdict = judged("12.0", "sm_80 compute_90")

    assert verdict.status is Status.INFO
    assert "PTX" in verdict.message


def test_one_unserved_gpu_beside_one_that_runs_is_a_warning_and_is_named() -> None:
    gpus = (Gpu("NVIDIA A100", "8.0"), Gpu("Tesla P40", "6.1"))

    verdict = judged(None, "sm_70 sm_80", gpus=gpus)

    assert verdict.status is Status.WARN
    assert "no code for Tesla P40" in verdict.message
    assert verdict.fix == ("export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=0",)


def test_from_cuda_13_2_on_desktop_code_runs_on_a_jetson() -> None:
    assert judged("8.7", "sm_80 sm_86", torch_cuda=Version("13.2")).status is Status.OK


def test_desktop_code_on_a_jetson_is_doubtful_not_broken() -> None:
    assert judged("8.7", "sm_80 sm_86").status is Status.WARN
    assert judged("8.7", "sm_87").status is Status.OK


def test_without_the_binary_the_table_of_official_builds_is_asked() -> None:
    unread = {"torch_archs": Unknown("a build for Windows")}
    pascal = judged(
        "6.1", "", torch_version=Version("2.11.0+cu130"), torch_cuda=Version("13.0"), **unread
    )
    volta = judged(
        "7.0", "", torch_version=Version("2.8.0+cu128"), torch_cuda=Version("12.8"), **unread
    )

    assert pascal.status is Status.FAIL
    assert volta.status is Status.OK


def test_a_nightly_without_a_list_is_not_guessed_about() -> None:
    verdict = judged("12.0", "", torch_version=Version("2.16.0.dev20261120"), torch_archs=None)

    assert verdict.status is Status.SKIP
    assert verdict.applies


def test_a_gpu_that_tells_no_capability_is_not_guessed_about() -> None:
    verdict = judged(None, "sm_80")

    assert verdict.status is Status.SKIP
    assert verdict.applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    facts = {"torch_version": Version("2.5.1"), "torch_cuda": Version("12.4")}

    none = finding("gpu-unsupported", gpus=(), **facts)
    unknown = finding("gpu-unsupported", gpus=Unknown("NVML hung"), **facts)
    cpu_build = finding("gpu-unsupported", **(facts | {"torch_cuda": None, "gpus": ()}))

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert (cpu_build.status, cpu_build.verdict.applies) == (Status.SKIP, False)


def test_the_first_gpu_unserved_is_a_failure_since_cuda_0_is_taken_unasked() -> None:
    gpus = (Gpu("NVIDIA GeForce RTX 5090", "12.0"), Gpu("NVIDIA GeForce GTX 1080", "6.1"))

    verdict = judged(None, "sm_60 sm_70", gpus=gpus)

    assert verdict.status is Status.FAIL
    assert "CUDA_VISIBLE_DEVICES=1" in verdict.fix[1]


def test_ptx_newer_than_the_drivers_cuda_is_refused() -> None:
    newer = judged("9.0", "compute_80", torch_cuda=Version("12.6"), driver_cuda=Version("12.0"))
    as_new = judged("9.0", "compute_80", torch_cuda=Version("12.6"), driver_cuda=Version("12.6"))

    assert newer.status is Status.FAIL
    assert "unsupported toolchain" in newer.evidence[0].value
    assert as_new.status is Status.INFO


def test_a_gpu_known_by_name_alone_is_judged_by_its_name() -> None:
    gpus = (Gpu("NVIDIA GeForce RTX 5090"),)

    assert judged(None, "sm_80 sm_90", gpus=gpus).status is Status.FAIL
