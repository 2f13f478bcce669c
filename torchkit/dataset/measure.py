"""What a user's DataLoader really takes: run with its workers in a child, and watched from outside.

What comes back is plain data. Imports no torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torchkit.dataset.guard import Ended, run_child
from torchkit.dataset.look import Batch, Look, batch_of, death, last_words
from torchkit.dataset.predict import Workload, predict
from torchkit.errors import BadInput
from torchkit.machine.shm import SHM_FOLDER

RUN_LIMIT_S = 120.0
"""How long the DataLoader may run."""

SHARE = 0.5
"""Of what is free, a run takes no more than this."""

PRIVATE_BYTES = 1024**3
"""So large is a /dev/shm of the run's own, where memory allows it: later batches may be larger."""

PRIVATE_SPARE = 1.25
"""It is at least so many times what is predicted, so that a run that fills it has taken more."""

FULL = ("unable to allocate shared memory", "No space left on device")
"""What a run in a /dev/shm of its own says when that is full."""


class Measured(NamedTuple):
    """What a run showed. `peak_bytes` is None where it came to no end; `trouble` says why.

    `workers` are those it ran with: fewer than asked for where all of them would have been a danger.
    `more_than_bytes` is set where the run took all that it might: it would have taken more.
    `largest` is the largest batch that came.
    """

    workers: int
    prefetch: int
    peak_bytes: int | None = None
    is_private: bool = False
    seconds: float = 0.0
    trouble: str = ""
    hangs: bool = False
    more_than_bytes: int | None = None
    largest: Batch | None = None

    def is_of(self, load: Workload) -> bool:
        """Whether it ran with all that `load` has: one loader of one rank, all workers."""
        ran = (self.workers, self.prefetch, 1, 1)
        return ran == (load.workers, load.prefetch, load.loaders, load.ranks)

    def scaled_to(self, load: Workload, size_bytes: int | None) -> int | None:
        """What of a run was measured, for all loaders, ranks and workers of `load`, by the formula."""
        if size_bytes is None or self.is_of(load):
            return size_bytes
        single = load._replace(workers=self.workers, prefetch=self.prefetch, loaders=1, ranks=1)
        return round(size_bytes * predict(load).peak_bytes / predict(single).peak_bytes)


def run_loader(
    target: str,
    wish: Mapping[str, Any],
    load: Workload,
    look: Look,
    *,
    shm_usable_bytes: int,
    memory_usable_bytes: int | None,
    limit_s: float = RUN_LIMIT_S,
    progress: Callable[[str], None] | None = None,
) -> Measured:
    """Run the DataLoader in a child with a consumer that waits, and follow its shared memory.

    In a /dev/shm of its own, where we may mount one and the memory for it is there: nothing of the
    machine's is taken then. Else in the machine's, with as many workers as take half of what is
    free; what all would take follows by the formula, and a run that takes more than that half is
    ended. Raises BadInput where not even one may.
    """
    from_memory = None if memory_usable_bytes is None else int(memory_usable_bytes * SHARE)
    single = load._replace(loaders=1, ranks=1)
    run = _Run(target, wish, look, limit_s, progress)
    fitting = _fewer(single, from_memory, PRIVATE_SPARE)
    if fitting is not None:
        least = int(predict(fitting).later_bound_bytes * PRIVATE_SPARE)
        size = max(least, min(PRIVATE_BYTES, from_memory or PRIVATE_BYTES))
        private = run.in_private(fitting, size)
        if private is not None:
            return private
    most = min(int(shm_usable_bytes * SHARE), from_memory or 2**62)
    fitting = _fewer(single, most)
    if fitting is None:
        raise BadInput(
            "a run would take more than half of the shared memory that is free, with one worker too",
            hint="leave --measure out: the prediction is exact where batches are of one size",
        )
    return run.in_shared(fitting, most)


def _fewer(load: Workload, usable_bytes: int | None, spare: float = 1.0) -> Workload | None:
    """The workload with as many workers as may be run; None when not even one may."""
    for workers in range(load.workers, 0, -1):
        one = load._replace(workers=workers)
        if usable_bytes is None or predict(one).later_bound_bytes * spare <= usable_bytes:
            return one
    return None


class _Run(NamedTuple):
    target: str
    wish: Mapping[str, Any]
    look: Look
    limit_s: float
    progress: Callable[[str], None] | None

    def in_private(self, load: Workload, size_bytes: int) -> Measured | None:
        """In a /dev/shm of its own; None where there can be none, or the dataset lives in ours."""
        ended = self._child(load, size_bytes, None)
        if ended.one("no-private") or _misses_ours(ended):
            return None
        result = self._result(load, ended)._replace(is_private=True)
        is_full = ended.peak_bytes >= size_bytes or any(it in result.trouble for it in FULL)
        is_nearly = 2 * ended.peak_bytes >= size_bytes
        if not is_full and not (is_nearly and "Bus error" in result.trouble):
            return result
        return result._replace(
            trouble="", hangs=False, peak_bytes=ended.peak_bytes, more_than_bytes=size_bytes
        )

    def in_shared(self, load: Workload, most_bytes: int) -> Measured:
        """In the machine's, of which it takes no more than so much."""
        ended = self._child(load, 0, most_bytes)
        result = self._result(load, ended)
        if not ended.is_stopped:
            return result
        return result._replace(
            trouble="", hangs=False, peak_bytes=ended.peak_bytes, more_than_bytes=ended.peak_bytes
        )

    def _child(self, load: Workload, private_bytes: int, most_bytes: int | None) -> Ended:
        order = {
            "target": self.target,
            "wish": {**self.wish, "workers": load.workers, "prefetch": load.prefetch},
            "do": "run",
            "kept": load.kept,
            "batch_s": self.look.batch_s,
            "is_whole": self.look.stays,
            "strategy": load.strategy,
            "private_bytes": private_bytes,
        }
        return run_child(
            order, limit_s=self.limit_s, watch=True, most_bytes=most_bytes, progress=self.progress
        )

    def _result(self, load: Workload, ended: Ended) -> Measured:
        arrived = [answer for answer in ended.of("run-batch") if answer.get("parts")]
        result = Measured(
            load.workers,
            load.prefetch,
            seconds=ended.seconds,
            largest=batch_of(arrived[-1], set(), {}) if arrived else None,
        )
        raised, unable = ended.one("raised"), ended.one("unable")
        if ended.lost_batch:
            return result._replace(trouble=ended.lost_batch, hangs=True)
        if raised is not None:
            at = f" at {raised['place']}" if raised["place"] else ""
            return result._replace(trouble=f"{raised['error']}: {raised['message']}{at}")
        if unable is not None:
            return result._replace(trouble=str(unable["message"]))
        if ended.hangs and not ended.of("run-batch"):
            return result._replace(trouble=f"no batch came within {self.limit_s:g} s", hangs=True)
        if not ended.hangs and not ended.of("done"):
            return result._replace(trouble=f"the run {death(ended.status)}: {last_words(ended)}")
        return result._replace(peak_bytes=ended.peak_bytes)


def _misses_ours(ended: Ended) -> bool:
    """Whether it wanted a file that is in the machine's /dev/shm, and not in that of its own."""
    told = [it for it in (ended.one("raised"), ended.one("unable")) if it is not None]
    for path in re.findall(r"'(/[^']+)'", " ".join(str(it["message"]) for it in told)):
        name = path.removeprefix(f"{SHM_FOLDER}/").removeprefix("/")
        if (path.startswith(f"{SHM_FOLDER}/") or path.count("/") == 1) and os.path.lexists(
            os.path.join(SHM_FOLDER, name)  # noqa: PTH118 - as above
        ):
            return True
    return False
