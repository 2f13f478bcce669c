"""Truth: 2 workers at prefetch 2 have 5 batches alive, 6 at most, and 14 semaphores.

Runs in a tmpfs with so many inodes are in tests/dataset/test_limits.py.
"""

from __future__ import annotations

import pytest

from torchkit.checks.inode_limit import judge
from torchkit.dataset.predict import Need, Workload, predict
from torchkit.report import Status, Verdict

TENSORS = 20


def judged(inodes_free: int | None, workers: int = 2) -> Verdict:
    load = Workload((28,) * TENSORS, workers=workers, keeps_last=False)
    return judge(Need(load, predict(load), 2**40, 2**30, "", inodes_free=inodes_free))


@pytest.mark.parametrize(
    ("inodes_free", "status"),
    [
        (0, Status.FAIL),
        (5 * TENSORS + 14 - 1, Status.FAIL),
        (5 * TENSORS + 14, Status.WARN),
        (6 * TENSORS + 14 - 1, Status.WARN),
        (6 * TENSORS + 14, Status.OK),
    ],
)
def test_a_file_for_each_tensor_and_semaphore(inodes_free: int, status: Status) -> None:
    assert judged(inodes_free).status is status


def test_the_fix_allows_what_is_needed() -> None:
    verdict = judged(50)

    assert verdict.message == "these workers make 114 files, /dev/shm takes 50 more"
    assert "nr_inodes=1000 " in verdict.fix[0]
    assert any("No space left on device" in it.value for it in verdict.evidence)


def test_without_a_limit_or_without_workers_there_is_nothing_to_judge() -> None:
    assert judged(None).status is Status.SKIP
    assert not judged(None).applies
    assert judged(0, workers=0).status is Status.OK
