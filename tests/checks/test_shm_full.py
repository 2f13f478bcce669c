"""Truth: sizes and files as `df` and `ls -l /proc/PID/fd` show them; less than a tenth is nearly full."""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.checks.shm_full import judge
from torchkit.machine.facts import ShmHolder, Unknown
from torchkit.report import Status, Verdict

MIB = 1024**2

OPEN = ShmHolder("torch", 60 * MIB, 3, pid=71, process="python3", visible=False, stale=False)
STALE = ShmHolder("NCCL", 61 * MIB, 8, pid=None, process=None, visible=True, stale=True)
OTHER = ShmHolder("other", 62 * MIB, 1, pid=None, process=None, visible=True, stale=False)


def judged(free: int, *holders: ShmHolder, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "shm_total_bytes": 64 * MIB,
        "shm_free_bytes": free,
        "shm_inodes_free": 1000,
        "shm_holders": holders,
        "is_container": True,
        "shm_unseen_processes": 0,
    }
    return judge(**(facts | changes))


@pytest.mark.parametrize(
    ("free", "status"),
    [(0, Status.WARN), (int(6.4 * MIB) - 1, Status.WARN), (int(6.4 * MIB) + 1, Status.OK)],
)
def test_less_than_a_tenth_is_nearly_full(free: int, status: Status) -> None:
    assert judged(free).status is status


@pytest.mark.parametrize(("inodes", "status"), [(49, Status.WARN), (50, Status.OK)])
def test_few_files_more_are_nearly_full_too(inodes: int, status: Status) -> None:
    verdict = judged(60 * MIB, shm_inodes_free=inodes)

    assert verdict.status is status
    assert status is Status.OK or "49 more files free" in verdict.message


def test_the_process_that_holds_a_deleted_file_is_named() -> None:
    verdict = judged(MIB, OPEN)

    assert verdict.evidence[0].value == (
        "60 MiB in 3 files of torch, by python3 (pid 71), deleted but open"
    )
    assert verdict.fix == ("end python3 (pid 71), which holds 60 MiB",)


def test_what_a_killed_process_left_may_be_removed_with_a_warning_in_a_container() -> None:
    inside = judged(MIB, STALE).fix[0]
    outside = judged(MIB, STALE, is_container=False).fix[0]

    assert inside == (
        "rm /dev/shm/nccl-*   (nobody has them open, if nothing outside of what is seen here uses them)"
    )
    assert outside == "rm /dev/shm/nccl-*   (nobody has them open)"


def test_nothing_is_removed_by_a_pattern_that_would_take_what_is_in_use() -> None:
    in_use = ShmHolder("NCCL", MIB, 2, pid=9, process="python3", visible=True, stale=False)

    assert judged(MIB, STALE, in_use).fix == ("end python3 (pid 9), which holds 1 MiB",)


def test_a_file_of_nobody_we_know_is_not_advised_to_be_removed() -> None:
    assert judged(MIB, OTHER).fix == ()


def test_without_a_size_nothing_is_judged() -> None:
    assert judged(0, shm_total_bytes=Unknown("no limit")).status is Status.SKIP
