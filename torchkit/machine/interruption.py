"""A SIGTERM that is noted instead of died of, so that rank 0 tells what it knows by then.

torchrun sends one to every rank when another rank has died, which may be before this one has
loaded its modules: `__main__` has it noted first thing, so nothing heavy is imported here.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

RANK_NAMES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables with a rank's number, as `launch_of` looks for them."""


class Interruption:
    """Whether a SIGTERM has come."""

    def __init__(self) -> None:
        self.came = False

    def note(self, _number: int = 0, _frame: object = None) -> None:
        """It has come."""
        self.came = True


def note_early(environ: Mapping[str, str] = os.environ) -> None:
    """From now on, for the rest of this process, if it is rank 0; others die of it as ever."""
    ranks = [environ[name] for name in RANK_NAMES if environ.get(name)]
    if ranks[:1] == ["0"]:
        signal.signal(signal.SIGTERM, Interruption().note)


@contextmanager
def noted() -> Iterator[Interruption]:
    """What `note_early` began, or from here on; not in another thread than the main one."""
    before = signal.getsignal(signal.SIGTERM)
    early = getattr(before, "__self__", None)
    if isinstance(early, Interruption):
        yield early
        return
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    signal.signal(signal.SIGTERM, interruption.note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, before)
