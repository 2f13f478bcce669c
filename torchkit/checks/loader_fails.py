"""The DataLoader fails, or waits for ever, when it is run with its workers.

## What it looks at
A run of the DataLoader with its workers, where one was asked for, that came to no end, though its
batches could be made without workers.

## Why it matters
What fails only in a worker is hard to see: the loader tells of the worker that is gone, and not
always of what ended it. A program that waits for a batch that was lost tells nothing at all.

## What to do
Run the loader without workers, where the exception is raised in sight. Give the DataLoader a
timeout, which makes an error of a batch that never comes.

## References
- https://docs.pytorch.org/docs/stable/data.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail

AREA = "system"

KILLED = "is killed by signal: Killed"

OF_A_LIMIT = (
    ("file-size-limit", r"File too large"),
    ("fd-limit", r"Too many open files"),
    ("shm-insufficient", r"shared memory object|shared memory\(shm\)|No space left|Bus error"),
)
"""What torch and the system say of a limit that is passed, by the check that is about it."""


class FailedRun(NamedTuple):
    """How a run with `workers` ended: its last words; `hangs` where it had to be ended."""

    trouble: str
    workers: int
    hangs: bool = False

    @property
    def check_id(self) -> str:
        """The check that its words are about: `loader-fails` where they tell of no limit."""
        for check_id, words in OF_A_LIMIT:
            if re.search(words, self.trouble):
                return check_id
        return "loader-fails"


def judge(run: FailedRun) -> Verdict:
    how = "hung" if run.hangs else "failed"
    many = "1 worker" if run.workers == 1 else f"{run.workers} workers"
    fix = ["num_workers=0 in the DataLoader   (what fails in a worker is then raised in sight)"]
    if run.hangs:
        fix.append("timeout=60 in the DataLoader   (a batch that never comes is then an error)")
    if KILLED in run.trouble:
        fix.append("sudo dmesg | grep -i 'killed process'   (was it the memory limit?)")
    return fail(
        f"the DataLoader {how} when it was run with {many}",
        evidence=[Evidence(WOULD_FAIL_WITH, run.trouble)],
        fix=fix,
        brief=f"the DataLoader {how} when it was run with {many}",
    )
