"""A rank of this job never answered.

## What it looks at
Which ranks handed in what they saw, when rank 0 asked all of them (`torchrun --nproc-per-node 8
-m torchkit env --all-ranks`), within TORCHKIT_RANKS_TIMEOUT_S seconds, 60 if that is not set. Also
a rank that answered that it could not look, and why.

## Why it matters
A job starts when all its ranks have met, so one that hangs, crashed or was never started leaves
the others waiting until their time-out, 30 minutes by default.

## What to do
See on that machine whether the process runs (`ps aux`), whether it reaches MASTER_ADDR at
MASTER_PORT, and what it printed. A rank whose torch does not work is reached through a folder
that all can see: the current one, or TORCHKIT_RANKS_DIR.

## References
- https://docs.pytorch.org/docs/stable/distributed.html#initialization
"""

from __future__ import annotations

from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail

AREA = "machines"


class Missing(NamedTuple):
    """Ranks that did not answer, in words, and how rank 0 tried to reach them.

    `first` is the lowest of them; `has_agent`: torchrun hosts the store they would meet at.
    `stopped` says what ended the wait before its time; "" when the time was over. `error`: they
    did answer, and this is why they could not look.
    """

    ranks: str
    first: int
    absent: int
    world_size: int
    waited_s: float
    ways: tuple[str, ...]
    stopped: str = ""
    has_agent: bool = False
    error: str = ""


def judge(missing: Missing) -> Verdict:
    """Ranks that are missing are a failure, whatever the reason."""
    if missing.error:
        return fail(
            f"{missing.ranks} could not look: {missing.error}",
            evidence=[Evidence(WOULD_FAIL_WITH, missing.error, "torchkit env")],
            fix=["run torchkit env on that machine alone, with the same options"],
            brief=f"{missing.ranks} could not look",
        )
    answered = missing.world_size - missing.absent
    while_ = f"before {missing.stopped}" if missing.stopped else f"within {missing.waited_s:g} s"
    return fail(
        f"{missing.ranks} did not answer {while_}; {answered} of {missing.world_size} ranks did",
        evidence=[
            *(Evidence("asked through", way) for way in missing.ways),
            Evidence(WOULD_FAIL_WITH, _error(missing, answered)),
        ],
        fix=_fix(missing),
        brief=f"{missing.ranks} did not answer",
    )


def _fix(missing: Missing) -> list[str]:
    if missing.stopped:
        return ["see in the launcher's own message which rank failed first, and what it printed"]
    see = "see whether these ranks run, and what they printed"
    if any(way.startswith("files in") for way in missing.ways):
        return [see]
    folder = "or name a folder that every rank sees: export TORCHKIT_RANKS_DIR=FOLDER"
    return [see, folder]


def _error(missing: Missing, answered: int) -> str:
    """What init_process_group of torch 2.13 and 2.14 says with its usual limit of 30 minutes."""
    if missing.has_agent:
        return f"wait timeout after 1800000ms, keys: /default_pg/0//cpu//0/{missing.first}"
    return f"Timed out after 1801 seconds waiting for clients. {answered}/{missing.world_size} clients joined."
