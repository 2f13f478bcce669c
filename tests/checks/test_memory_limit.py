"""Truth: tmpfs is charged to the cgroup, https://docs.kernel.org/admin-guide/cgroup-v2.html."""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.checks.memory_limit import judge
from torchkit.dataset.predict import Need, Workload, predict
from torchkit.report import Status, Verdict

LOAD = Workload((1024**2,), workers=2)
PEAK, BOUND = predict(LOAD).peak_bytes, predict(LOAD).bound_bytes


def judged(left: int | None, load: Workload = LOAD, **more: Any) -> Verdict:
    more = {"memory_limited_by": "the memory limit", **more}
    return judge(Need(load, predict(load), 2**40, 2**30, "", memory_usable_bytes=left, **more))


@pytest.mark.parametrize(
    ("left", "status"),
    [
        (0, Status.FAIL),
        (PEAK - 1, Status.FAIL),
        (PEAK, Status.WARN),
        (BOUND - 1, Status.WARN),
        (BOUND, Status.OK),
    ],
)
def test_what_memory_leaves_is_judged_as_shared_memory_is(left: int, status: Status) -> None:
    assert judged(left).status is status


def test_past_the_limit_a_process_is_killed_and_no_error_raised() -> None:
    assert any("Killed" in it.value for it in judged(0).evidence)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"runtime": "kubernetes"}, "resources.limits.memory"),
        ({"runtime": "docker"}, "docker run --memory="),
        ({"runtime": "podman"}, "podman run --memory="),
        ({"service": "slurm"}, "--mem"),
        ({}, "raise the memory limit by 7 MiB"),
        ({"memory_limited_by": "the machine's memory"}, "free 7 MiB of the machine's memory"),
    ],
)
def test_the_limit_is_raised_where_it_is_set(more: dict[str, Any], words: str) -> None:
    assert words in judged(0, **more).fix[0]


def test_no_limit_and_no_workers() -> None:
    assert not judged(None).applies
    assert judged(0, LOAD._replace(workers=0)).status is Status.OK
