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

import re
from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail

AREA = "machines"


class Missing(NamedTuple):
    """Ranks that did not answer, in words, and how rank 0 tried to reach them.

    `first` is the lowest of them; `has_agent`: torchrun hosts the store they would meet at.
    `stopped` says what ended the wait before its time; "" when the time was over. `error`: they
    did answer, and this is why they could not look. `lacks` is a variable that torch would miss;
    `trouble`: why rank 0 itself was not to be reached at MASTER_ADDR and MASTER_PORT.
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
    lacks: str = ""
    trouble: str = ""


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
    if missing.trouble:
        return fail(
            f"rank 0 cannot be reached: {missing.trouble}; "
            f"{answered} of {missing.world_size} ranks answered, {missing.ranks} did not",
            evidence=_evidence(missing, answered),
            fix=_fix(missing),
            brief=f"rank 0 cannot be reached: {missing.trouble}",
        )
    while_ = f"before {missing.stopped}" if missing.stopped else f"within {missing.waited_s:g} s"
    return fail(
        f"{missing.ranks} did not answer {while_}; {answered} of {missing.world_size} ranks did",
        evidence=_evidence(missing, answered),
        fix=_fix(missing),
        brief=f"{missing.ranks} did not answer",
    )


def _evidence(missing: Missing, answered: int) -> list[Evidence]:
    ways = [Evidence("asked through", way) for way in missing.ways]
    return [*ways, Evidence(WOULD_FAIL_WITH, _error(missing, answered))]


def _fix(missing: Missing) -> list[str]:
    if missing.stopped:
        return ["see in the launcher's own message which rank failed first, and what it printed"]
    folder = "or name a folder that every rank sees: export TORCHKIT_RANKS_DIR=FOLDER"
    if missing.trouble:
        return [_cure(missing.trouble), folder]
    if missing.lacks:
        return [f"set {missing.lacks} on every rank, as torchrun does", folder]
    see = "see whether these ranks run, and what they printed"
    if any(way.startswith("files in") for way in missing.ways):
        return [see]
    return [see, folder]


def _cure(trouble: str) -> str:
    """What to do about torch's words, or about the folder."""
    if "EADDRINUSE" in trouble or "address already in use" in trouble.lower():
        return (
            "end what uses that port, or choose a free one for all ranks: export MASTER_PORT=PORT"
        )
    if trouble.startswith("importing torch"):
        return "see what `python -c 'import torch'` says on rank 0"
    return (
        "set MASTER_ADDR to a name or address of rank 0's machine, and MASTER_PORT to a free port "
        "there, the same on all ranks"
    )


def _error(missing: Missing, answered: int) -> str:
    """What init_process_group of torch 2.13 and 2.14 says with its usual limit of 30 minutes."""
    if missing.lacks:
        return f"environment variable {missing.lacks} expected, but not set"
    if re.match(r"\w+Error: ", missing.trouble):  # torch's own words
        return missing.trouble
    if missing.has_agent:
        return f"wait timeout after 1800000ms, keys: /default_pg/0//cpu//0/{missing.first}"
    counted = f"{answered}/{missing.world_size} clients joined."
    return f"Timed out after 1801 seconds waiting for clients. {counted}"
