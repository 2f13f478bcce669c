"""Truth: what /proc/PID/fd showed of runs, and runs under `ulimit -n`: tests/dataset/test_limits.py."""

from __future__ import annotations

import pytest

from torchkit.checks.fd_limit import IN_MAIN, IN_WORKER, judge
from torchkit.dataset.predict import Need, Workload, predict
from torchkit.report import Status, Verdict

LOAD = Workload((28,) * 50, workers=2, keeps_last=False)
TAKEN = predict(LOAD)
SURE = max(TAKEN.worker_files, TAKEN.main_files)


def judged(limit: int | None, load: Workload = LOAD) -> Verdict:
    return judge(Need(load, predict(load), 2**40, 2**30, "", open_files_limit=limit))


@pytest.mark.parametrize(
    ("limit", "status"),
    [
        (64, Status.FAIL),
        (SURE - 1, Status.FAIL),
        (SURE, Status.WARN),
        (TAKEN.open_files - 1, Status.WARN),
        (TAKEN.open_files, Status.OK),
        (1_048_576, Status.OK),
    ],
)
def test_what_is_sure_and_what_is_never_passed_are_the_edges(limit: int, status: Status) -> None:
    assert judged(limit).status is status


def test_the_usual_limit_of_1024_holds_300_tensors_and_not_400() -> None:
    assert judged(1024, LOAD._replace(storages=(28,) * 400)).status is Status.FAIL
    assert judged(1024, LOAD._replace(storages=(28,) * 160)).status is Status.OK


def test_the_error_is_that_of_the_process_which_has_too_few() -> None:
    in_worker = judged(SURE - 1).evidence[0]
    kept = LOAD._replace(storages=(28,), kept=2000)
    in_main = judged(1024, kept).evidence[0]

    assert in_worker.value == IN_WORKER
    assert in_main.value == IN_MAIN


def test_the_advised_limit_is_enough() -> None:
    verdict = judged(100)

    limit = int(verdict.fix[0].split()[2])
    assert judged(limit).status is Status.OK


def test_file_system_sharing_and_no_workers_need_none() -> None:
    assert judged(100, LOAD._replace(strategy="file_system")).status is Status.OK
    assert judged(10, LOAD._replace(workers=0)).status is Status.OK
    assert judged(None).status is Status.SKIP
