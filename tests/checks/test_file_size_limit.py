"""Truth: torch 2.13 under `ulimit -f`, whose DataLoader says "File too large (27)"."""

from __future__ import annotations

import pytest

from torchkit.checks.file_size_limit import judge
from torchkit.dataset.predict import Need, Workload, predict
from torchkit.report import WOULD_FAIL_WITH, Status

SIZE = 6 * 1024**2


def need(limit: int | None, *, workers: int = 2) -> Need:
    load = Workload((SIZE, 8), workers)
    return Need(load, predict(load), 2**40, 2**30, "", file_size_limit_bytes=limit)


@pytest.mark.parametrize(
    ("limit", "status"),
    [(SIZE - 1, Status.FAIL), (SIZE, Status.OK), (None, Status.SKIP)],
)
def test_the_largest_tensor_has_to_fit_into_a_file(limit: int | None, status: Status) -> None:
    assert judge(need(limit)).status is status


def test_the_error_is_torch_s_and_the_fix_is_a_command() -> None:
    verdict = judge(need(4096))

    assert "File too large (27)" in next(
        it.value for it in verdict.evidence if it.name == WOULD_FAIL_WITH
    )
    assert verdict.fix[0].startswith("ulimit -f unlimited")


def test_without_workers_no_file_is_made() -> None:
    assert judge(need(4096, workers=0)).status is Status.OK
