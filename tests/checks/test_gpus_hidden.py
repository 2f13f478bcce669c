"""Truth: CUDA's programming guide on CUDA_VISIBLE_DEVICES: what follows an invalid entry is hidden."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkit.checks.gpus_hidden import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

TWO = (Gpu("NVIDIA A100"), Gpu("NVIDIA A100"))


def judged(value: str, system: str = "linux") -> Verdict:
    cuda = Version("12.4")
    return judge(cuda_visible_devices=value, gpus=TWO, torch_cuda=cuda, os_system=system)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("", Status.WARN),
        ("-1", Status.WARN),
        ("NoDevFiles", Status.WARN),
        ("all", Status.WARN),
        ("2", Status.WARN),
        ("2,0", Status.WARN),
        ("1", Status.OK),
        ("0,1", Status.OK),
        ("0,7", Status.OK),
        (" 1", Status.OK),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", Status.OK),
    ],
)
def test_the_first_entry_decides_whether_any_gpu_is_left(value: str, status: Status) -> None:
    assert judged(value).status is status


def test_what_torch_would_say_is_quoted() -> None:
    assert judged("-1").evidence[0].value == "RuntimeError: No CUDA GPUs are available"


def test_the_fix_is_the_shells_own() -> None:
    assert judged("").fix == ("unset CUDA_VISIBLE_DEVICES",)
    assert judged("", "windows").fix == ("set CUDA_VISIBLE_DEVICES=",)


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    unset = finding("gpus-hidden", cuda_visible_devices=None, gpus=TWO)
    no_gpu = finding("gpus-hidden", cuda_visible_devices="", gpus=())
    unknown = finding("gpus-hidden", cuda_visible_devices="", gpus=Unknown("NVML hung"))

    assert (unset.status, unset.verdict.applies) == (Status.SKIP, False)
    assert (no_gpu.status, no_gpu.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)


def test_a_torch_without_cuda_looks_for_no_gpu() -> None:
    verdict = judge(cuda_visible_devices="-1", gpus=TWO, torch_cuda=None, os_system="linux")

    assert verdict.status is Status.SKIP
