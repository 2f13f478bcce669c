"""Open files and inodes that DataLoaders really need, in a tmpfs with `nr_inodes` and under `ulimit -n`.

Truth: whether the training loop came to its end, /proc/PID/fd, and statvfs of another process.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from asking import PLENTY, Case, Truth, case_of, looking
from configurations import ALL

pytestmark = pytest.mark.torch

FILES = [name for name in ALL if name.startswith("50 tensors")]
INODES = [
    "two workers", "many tensors", "labels", "numbers", "to numpy", "own collate", "short epoch",
    "views of the dataset", "tensors that the dataset keeps", "one kept", "file_system, many",
]  # fmt: skip

FOR_THE_FOLDER = 1
"""/dev/shm itself is an inode of its tmpfs."""


@pytest.fixture(scope="module")
def cases(truth: Truth, request: pytest.FixtureRequest) -> dict[str, Case]:
    """All that this run of the tests asks for, side by side."""
    wanted = {
        item.callspec.params.get("name")
        for item in request.session.items
        if getattr(item, "module", None) is request.module and hasattr(item, "callspec")
    }
    names = [name for name in (*FILES, *INODES) if name in wanted]
    answers = truth.run([looking(name) for name in names])
    found = {name: case_of(answer, ALL[name]) for name, answer in zip(names, answers, strict=True)}
    jobs = [
        (name, what, {"do": "train", "name": name, "size": PLENTY, **limits})
        for name, case in found.items()
        for what, limits in limits_of(name, case).items()
    ]
    for (name, what, _), answer in zip(jobs, truth.run([job for *_, job in jobs]), strict=True):
        found[name].seen[what] = answer
    return found


def limits_of(name: str, case: Case) -> dict[str, dict[str, Any]]:
    """With what a configuration is run: enough of a limit, one less, and what is counted."""
    taken = case.predicted
    if name in FILES:
        return {
            "enough": {"files": taken.open_files},
            "counted": {"counts_files": True},
            "short": {"files": max(taken.worker_files, taken.main_files) - 1},
        }
    return {
        "enough": {"inodes": taken.inodes + FOR_THE_FOLDER},
        "short": {"inodes": taken.inodes + FOR_THE_FOLDER - 1},
    }


@pytest.mark.parametrize("name", FILES)
def test_so_many_open_files_are_enough_and_fewer_than_is_sure_are_not(
    name: str, cases: dict[str, Case]
) -> None:
    case, taken = cases[name], cases[name].predicted
    sure = max(taken.worker_files, taken.main_files)

    enough, counted, short = (case.seen[what] for what in ("enough", "counted", "short"))

    assert enough["outcome"] == "works", enough
    assert short["outcome"] in ("fails", "hangs"), short
    assert counted["main_files"] <= taken.main_files_bound
    assert counted["worker_files"] <= taken.worker_files_bound
    assert case.fits(PLENTY, open_files_limit=sure - 1) == "no"
    assert case.fits(PLENTY, open_files_limit=sure) == "tight"
    assert case.fits(PLENTY, open_files_limit=taken.open_files) == "yes"


@pytest.mark.parametrize("name", INODES)
def test_so_many_inodes_are_needed_and_not_one_less(name: str, cases: dict[str, Case]) -> None:
    case, taken = cases[name], cases[name].predicted
    may_need_more = taken.inodes_bound > taken.inodes

    enough, short = case.seen["enough"], case.seen["short"]

    assert enough["outcome"] == "works", enough
    assert short["outcome"] in ("fails", "hangs"), short
    assert case.fits(PLENTY, shm_inodes_free=taken.inodes - 1) == "no"
    assert case.fits(PLENTY, shm_inodes_free=taken.inodes) == ("tight" if may_need_more else "yes")
    assert case.fits(PLENTY, shm_inodes_free=taken.inodes_bound) == "yes"
