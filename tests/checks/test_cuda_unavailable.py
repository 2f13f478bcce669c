"""Truth: the messages of torch/csrc/cuda and c10/cuda of torch 2.13."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.cuda_unavailable import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Finding, Status, Verdict

UNKNOWN = "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment"


def judged(error: str | None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "live_outcome": "works",
        "live_cuda_error": error,
        "live_torch": {"version": "2.13.0+cu130", "cuda": "13.0"},
        "gpus": (Gpu("NVIDIA A100", "8.0"),),
        "nvidia_devices_on_bus": 1,
        "cuda_visible_devices": None,
    }
    return judge(**(facts | changes))


def test_torchs_own_reason_is_the_message() -> None:
    verdict = judged(UNKNOWN)

    assert verdict.status is Status.FAIL
    assert (verdict.evidence[0].name, verdict.evidence[0].value) == (WOULD_FAIL_WITH, UNKNOWN)
    assert verdict.evidence[1].value == "NVIDIA A100"
    assert verdict.part_of == ""


def test_a_torch_that_uses_the_gpus_is_well() -> None:
    assert judged(None).status is Status.OK


@pytest.mark.parametrize(
    ("error", "check"),
    [
        ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "driver-too-old"),
        ("RuntimeError: Found no NVIDIA driver on your system.", "driver-missing"),
        ("RuntimeError: Error 803: system has unsupported display driver / cuda driver combination", "driver-mismatch"),
    ],
)  # fmt: skip
def test_a_reason_that_another_check_explains_is_left_to_it(error: str, check: str) -> None:
    assert judged(error).part_of == check


def test_hidden_gpus_are_a_warning_as_gpus_hidden_says() -> None:
    verdict = judged("RuntimeError: No CUDA GPUs are available", cuda_visible_devices="-1")

    assert (verdict.status, verdict.part_of) == (Status.WARN, "gpus-hidden")


@pytest.mark.parametrize("gpus", [(), None, Unknown("the driver hangs")])
def test_gpus_on_the_bus_count_where_the_driver_shows_none(gpus: Any) -> None:
    verdict = judged(UNKNOWN, gpus=gpus, nvidia_devices_on_bus=2)

    assert verdict.status is Status.FAIL
    assert "of 2" in verdict.message


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": (), "nvidia_devices_on_bus": 0},
        {"live_torch": {"version": "2.13.0+cpu"}},
        {"live_torch": {"version": "2.13.0+rocm6.4", "hip": "6.4"}},
        {"live_torch": {}, "live_outcome": "died"},
    ],
)
def test_where_no_gpu_could_be_used_nothing_is_wrong(changes: dict[str, Any]) -> None:
    verdict = judged(UNKNOWN, **changes)

    assert (verdict.status, verdict.applies) == (Status.SKIP, False)


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    not_asked = finding("cuda-unavailable", live_outcome=None)
    unknown = finding("cuda-unavailable", live_outcome=Unknown("no temporary folder"))

    assert (not_asked.status, not_asked.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
