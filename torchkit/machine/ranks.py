"""The ranks of one job: how their answers come to rank 0.

Two ways lead there. On one host, or where TORCHKIT_RANKS_DIR names a folder that all see, ranks
leave files: rank 0 writes a call with a number of its own, and each rank answers to that number,
so what an earlier run left counts for nothing; rank 0 takes each file away once it has read it.
On several hosts a child of each rank hands its answer in through torch.distributed's store, which
torchrun hosts; a rank whose torch does not work makes a folder in the current one instead, and
all others look whether it is there. Nothing here judges, and no rank waits for ever.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torchkit.machine.interruption import Interruption
from torchkit.machine.launch import Launch
from torchkit.machine.rank_files import Meeting
from torchkit.machine.rank_store import StoreChild
from torchkit.system import System

PATIENCE_S = 3.0
"""How long files alone are waited for before torch is asked, too; importing it takes as long."""

NOTICE_AFTER_S = 3.0
"""When a user is told who is being waited for."""

PAUSE_S = 0.05
"""Between two looks at the folder."""


class Gathered(NamedTuple):
    """What came to rank 0: answers by rank, how they were asked for, and why it ended early.

    `trouble` is why rank 0 itself could not be reached through torch.distributed.
    """

    answers: Mapping[int, Mapping[str, Any]]
    ways: tuple[str, ...]
    waited_s: float
    stopped: str = ""
    trouble: str = ""


def gather(
    system: System,
    launch: Launch,
    answer: Mapping[str, Any],
    *,
    python: str,
    interruption: Interruption,
    tell: Callable[[set[int], float], None],
) -> Gathered:
    """Rank 0's part: every rank's answer, or what has come when the time is over.

    `python` is the interpreter whose torch is used; `tell` is called once with who is waited for.
    """
    started = time.monotonic()
    answers: dict[int, Mapping[str, Any]] = {0: answer}
    with Meeting(system, launch) as meeting, StoreChild(system, launch, answer, python) as child:
        has_told = False
        while True:
            answers |= meeting.collect() | child.collect()
            waited_s = time.monotonic() - started
            missing = set(range(launch.world_size)) - set(answers)
            if not missing or waited_s >= launch.limit_s or interruption.came:
                break
            child.start_if(meeting.is_of_no_use or waited_s > PATIENCE_S)
            if child.trouble:
                meeting.open()
            if waited_s > NOTICE_AFTER_S and not has_told:
                has_told = True
                tell(missing, launch.limit_s - waited_s)
            time.sleep(PAUSE_S)
        answers |= meeting.collect() | child.collect()
        stopped = "the launcher ended this run (SIGTERM)" if interruption.came else ""
        ways = (*meeting.ways, *child.ways)
        own = {**answer, "torch_problem": child.trouble} if child.trouble else answer
        trouble = child.failure if meeting.is_of_no_use and len(answers) == 1 else ""
    told = {rank: it for rank, it in answers.items() if rank < launch.world_size}
    limit_s = waited_s if stopped else launch.limit_s
    return Gathered({**told, 0: own}, ways, limit_s, stopped, trouble)


def hand_in(
    system: System, launch: Launch, answer: Mapping[str, Any], *, python: str
) -> tuple[str, ...] | None:
    """Another rank's part: give the answer to rank 0; None, or how it was tried in vain.

    Waits twice as long as rank 0 does, since that one may have more to look at first.
    """
    started = time.monotonic()
    with Meeting(system, launch) as meeting, StoreChild(system, launch, answer, python) as child:
        while time.monotonic() - started < 2 * launch.limit_s:
            told = {**answer, "torch_problem": child.trouble} if child.trouble else answer
            if meeting.answer(told) or child.is_done:
                return None
            is_late = time.monotonic() - started > PATIENCE_S
            child.start_if(meeting.is_of_no_use or is_late)
            if child.trouble:
                meeting.open()
            time.sleep(PAUSE_S)
        return (*meeting.ways, *child.ways)


def notice(text: str) -> None:
    """A line on stderr, of who is being waited for, say; a closed stream is no error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")
