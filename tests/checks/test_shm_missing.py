"""Truth: what a DataLoader raised in mount namespaces without /dev/shm, or with one to be read only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkit.checks.shm_missing import judge
from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Finding, Status


@pytest.mark.parametrize(
    ("state", "error", "fix"),
    [
        ("missing", "FileNotFoundError: [Errno 2]", "mkdir -p /dev/shm"),
        ("read-only", "OSError: [Errno 30] Read-only file system", "mount -o remount,rw /dev/shm"),
        ("not writable", "PermissionError: [Errno 13]", "chmod 1777 /dev/shm"),
    ],
)
def test_no_worker_starts_without_a_place_to_write(state: str, error: str, fix: str) -> None:
    verdict = judge(state)

    assert verdict.status is Status.FAIL
    quoted = next(it.value for it in verdict.evidence if it.name == WOULD_FAIL_WITH)
    assert quoted.startswith(error)
    assert fix in verdict.fix[0]
    assert any("num_workers=0" in it for it in verdict.fix)


def test_one_that_can_be_written_to_is_fine() -> None:
    assert judge("writable").status is Status.OK


def test_where_it_could_not_be_looked_at_nothing_is_said(finding: Callable[..., Finding]) -> None:
    assert finding("shm-missing", shm_state=Unknown("not permitted")).status is Status.SKIP
