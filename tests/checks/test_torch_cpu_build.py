"""Truth: torch's own words in torch.cuda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.torch_cpu_build import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

H100 = (Gpu("NVIDIA H100 80GB HBM3", "9.0"),)


def judged(version: str, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {"torch_cuda": None, "gpus": H100, "torch_build": "cpu"}
    return judge(torch_version=Version(version), **(facts | changes))


def test_a_cpu_build_beside_a_gpu_is_a_warning() -> None:
    verdict = judged("2.13.0+cpu")

    assert verdict.status is Status.WARN
    assert verdict.evidence[0].value == "AssertionError: Torch not compiled with CUDA enabled"


def test_a_cpu_build_without_a_gpu_is_right() -> None:
    assert judged("2.13.0+cpu", gpus=()).status is Status.OK


def test_a_cuda_build_beside_a_gpu_is_right() -> None:
    assert (
        judged("2.13.0+cu130", torch_cuda=Version("13.0"), torch_build="cuda").status is Status.OK
    )


@pytest.mark.parametrize(("capability", "status"), [("3.5", Status.OK), ("3.7", Status.WARN)])
def test_beside_a_gpu_that_no_build_serves_a_cpu_build_is_right(
    capability: str, status: Status
) -> None:
    assert judged("2.6.0+cpu", gpus=(Gpu("an old GPU", capability),)).status is status


@pytest.mark.parametrize("build", ["rocm", "xpu"])
def test_a_build_for_another_makers_gpu_is_not_judged(build: str) -> None:
    verdict = judged("2.13.0", torch_build=build)

    assert verdict.status is Status.SKIP
    assert not verdict.applies


def test_the_version_tells_of_rocm_where_the_build_is_unknown() -> None:
    assert judged("2.13.0+rocm7.1", torch_build=Unknown("not told")).status is Status.SKIP
    assert judged("2.13.0", torch_build=Unknown("not told")).status is Status.WARN


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    facts = {"torch_version": Version("2.13.0+cpu"), "torch_cuda": None}

    unknown = finding("torch-cpu-build", gpus=Unknown("NVML hung"), **facts)
    no_torch = finding("torch-cpu-build", **(facts | {"torch_version": None}))

    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert (no_torch.status, no_torch.verdict.applies) == (Status.SKIP, False)


def test_the_fix_names_the_variant_so_that_pip_does_not_keep_the_cpu_build(
    finding: Callable[..., Finding],
) -> None:
    found = finding(
        "torch-cpu-build",
        torch_version=Version("2.6.0+cpu"),
        torch_cuda=None,
        gpus=H100,
        driver_version=Version("550.54.15"),
        python_version=Version("3.10.12"),
    )

    assert found.verdict.fix == (
        "pip install torch==2.14.1+cu126 --index-url https://download.pytorch.org/whl/cu126",
    )


def test_on_a_jetson_the_fix_is_nvidias_own_wheel(finding: Callable[..., Finding]) -> None:
    found = finding(
        "torch-cpu-build",
        torch_version=Version("2.6.0+cpu"),
        torch_cuda=None,
        gpus=(Gpu("Orin (nvgpu)", "8.7"),),
        jetson_model="NVIDIA Jetson AGX Orin",
    )

    assert "docs.nvidia.com" in found.verdict.fix[0]
    assert "pip install" not in found.verdict.fix[0]
