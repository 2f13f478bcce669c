"""The child of shm-check: runs the user's dataset, and tells its parent what happens, line by line.

Started by `guard.py` with an ORDER in JSON: `target`, `wish`, `do` ("sizes" or "run"), `answers` (an
open file descriptor), `limit_s`, a sharing `strategy` if another than torch's, and what the two need. Each answer is a line of JSON
with a `stage`. What the user's code prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import sys
import time
import traceback
import warnings
from typing import Any

from torchkit.dataset.family import go_with_parent
from torchkit.dataset.predict import DEFAULT_PREFETCH

MOST_BATCHES = 8
"""So many batches are looked at, where they come fast."""

FEWEST_BATCHES = 2
"""So many are looked at, however slowly they come, where the time limit allows it."""

SIZES_S = 8.0
"""No further batch is begun after this."""

LEVEL_S = 0.08
"""Shared memory is level when its use has not changed for so long, or for the time of some batches."""

MOST_LEVEL_S = 60.0
"""Longer than this it is never waited for."""

MOST_START_S = 20.0
"""The first batch of a run may have waited for much else; longer than this it is not believed."""

POLL_S = 0.002


class Answers:
    """The way to the parent."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.file = os.fdopen(descriptor, "w", encoding="utf-8")

    def say(self, stage: str, **values: Any) -> None:
        self.file.write(json.dumps({"stage": stage, **values}) + "\n")
        self.file.flush()


def main() -> None:
    """Do what the parent orders."""
    order = json.loads(sys.argv[1])
    answers = Answers(int(order["answers"]))
    sys.argv = [order["target"]]
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    if order.get("private_bytes"):
        from torchkit.dataset.private_shm import enter

        try:
            enter(order["private_bytes"])
        except OSError as error:
            answers.say("no-private", reason=str(error))
            return
    go_with_parent()  # after `enter`, which would undo it
    _tell_where(answers, float(order["limit_s"]))
    from torchkit.errors import TorchkitError

    try:
        _work(order, answers)
    except TorchkitError as error:
        answers.say("unable", message=error.message, hint=error.hint)
    answers.say("done")


def _tell_where(answers: Answers, limit_s: float) -> None:
    """Should it crash, or hang until it is ended: the lines of code that it was in."""
    faulthandler.enable(file=answers.file)
    faulthandler.dump_traceback_later(max(limit_s * 0.9, limit_s - 1), file=answers.file)


def _work(order: dict[str, Any], answers: Answers) -> None:
    answers.say("import")
    from torchkit.model.presence import need_torch

    need_torch()
    warnings.filterwarnings("ignore", "This DataLoader will create")  # of many workers: not asked
    from torchkit.dataset.loading import Wish, loader_of, settings_of

    loader, of_several = loader_of(order["target"], Wish(**order["wish"]))
    if order.get("strategy"):
        import torch

        torch.multiprocessing.set_sharing_strategy(order["strategy"])  # type: ignore[no-untyped-call]
    answers.say("settings", **settings_of(loader), of_several=of_several)
    if order["do"] == "sizes":
        tell_sizes(loader, answers)
    else:
        _run(
            loader,
            answers,
            kept=order["kept"],
            batch_s=order["batch_s"],
            is_whole=order.get("is_whole", False),
        )


# --- batches, made without workers


def tell_sizes(loader: Any, answers: Answers, *, as_worker: bool = True) -> None:
    """The storages of some batches, made in this process: as a worker would, or as a live loader's."""
    import torch

    from torchkit.dataset.loading import changed

    if as_worker:
        torch.set_num_threads(1)
    if not _tell_once(loader, answers):
        return
    begun = time.monotonic()
    seen: list[Any] = []
    init = loader.worker_init_fn if loader.num_workers and as_worker else None
    batches: Any = None
    for number in range(MOST_BATCHES):
        start = time.monotonic()
        if number >= FEWEST_BATCHES and start - begun > SIZES_S:
            break
        answers.say("batch-begun", number=number)
        try:
            if batches is None:
                if init is not None:
                    _as_worker(loader, init)
                batches = iter(changed(loader, workers=0))
            batch = next(batches)
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            if isinstance(error, StopIteration) and not _is_of_a_sample(error, loader):
                break
            answers.say("raised", number=number, **_described(error))
            return
        if not _tell_batch(batch, answers, number, time.monotonic() - start, seen):
            return
        del batch
    # a dataset may have the sample at hand that it gave last: of the last batch nothing is told
    answers.say("alive", addresses=[sorted(it.alive()) for it in seen[:-1]])


def _tell_batch(batch: Any, answers: Answers, number: int, seconds: float, seen: list[Any]) -> bool:
    """What it is made of; False when it cannot be sent."""
    from torchkit.dataset.sizes import Seen, is_pinned_whole

    try:
        seen.append(Seen(batch))
        is_pinned = is_pinned_whole(batch)
    except Exception as error:  # noqa: BLE001 - what cannot be pickled cannot be sent
        answers.say("raised", number=number, sending=True, **_described(error))
        return False
    answers.say(
        "batch",
        number=number,
        seconds=seconds,
        is_pinned_whole=is_pinned,
        kind=type(batch).__name__,
        parts=[list(part) for part in seen[-1].parts],
    )
    return True


def _tell_once(loader: Any, answers: Answers) -> bool:
    """What starting workers sends them, where they are not forked; False when it cannot be sent."""
    from torchkit.dataset.loading import start_method
    from torchkit.dataset.sizes import parts_of

    if not loader.num_workers or start_method(loader) == "fork":
        return True
    try:
        parts = parts_of((loader.dataset, loader.collate_fn, loader.worker_init_fn))
    except Exception as error:  # noqa: BLE001 - what cannot be pickled cannot be sent
        method = start_method(loader)
        answers.say("raised", number=0, starting=method, **_described(error))
        return False
    answers.say("once", parts=[list(part) for part in parts])
    return True


def _as_worker(loader: Any, init: Any) -> None:
    """Call `worker_init_fn` as the first worker does."""
    from torch.utils.data._utils import worker

    info = getattr(worker, "WorkerInfo", None)  # private: seen in torch 2.0 to 2.13
    if info is not None:
        worker._worker_info = info(
            id=0, num_workers=loader.num_workers, seed=0, dataset=loader.dataset
        )
    try:
        init(0)
    finally:
        worker._worker_info = None


def _is_of_a_sample(error: StopIteration, loader: Any) -> bool:
    """Whether making a sample raised it, by its index: then it is not the end of the batches."""
    from torch.utils.data import IterableDataset

    names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    return "fetch" in names and not isinstance(loader.dataset, IterableDataset)


def _described(error: BaseException) -> dict[str, str]:
    """What it is, where in the user's own code it comes from, and a hint, if there is one."""
    from torchkit.model.user_code import bad_target, is_library, own_line

    if re.match(r"Caught \w+ in DataLoader worker process \d", str(error)):
        return _described_by_worker(str(error))
    text = " ".join(str(error).split()) or repr(error)
    line = own_line(error)
    is_missing = isinstance(error, ModuleNotFoundError)
    return {
        "error": type(error).__name__,
        "message": text[:2000],
        "place": str(line) if line is not None and not is_library(line.file) else "",
        "hint": bad_target(error, "making batches").hint
        if is_missing and isinstance(error, Exception)
        else "",
    }


def _described_by_worker(text: str) -> dict[str, str]:
    """What a worker raised, and where, out of the traceback that the DataLoader hands on."""
    from torchkit.model.user_code import is_library, shown

    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if re.match(r"[\w.]+(:|$)", line)]
    error, _, message = " ".join(lines[starts[-1] if starts else 0 :]).partition(": ")
    files = re.findall(r'(?m)^  File "(.+)", line (\d+), in', text)
    places = [f"{shown(file)}:{number}" for file, number in files if not is_library(file)]
    return {
        "error": error.rpartition(".")[2],
        "message": " ".join(message.split())[:2000],
        "place": places[-1] if places else "",
        "hint": "",
    }


# --- the DataLoader itself, with a consumer that waits


def _run(loader: Any, answers: Answers, *, kept: int, batch_s: float, is_whole: bool) -> None:
    """Iterate slowly, so that the workers fill all they may; a few batches are enough.

    Those that were made meanwhile are taken too: what went wrong with one is told only then. With
    `is_whole` go on to the end of the epoch: what is sent may add up.
    """
    from collections import deque

    slow = 4 + kept
    waiting = loader.num_workers * (loader.prefetch_factor or DEFAULT_PREFETCH)
    answers.say("run-begun", pid=os.getpid())
    held: deque[Any] = deque(maxlen=kept + 1)
    number, largest = 0, 0
    begun = time.monotonic()
    try:
        batch = None
        for number, batch in enumerate(loader, 1):
            first_s = _seconds_of_first(loader, time.monotonic() - begun) if number == 1 else 0.0
            held.append(batch)
            largest = _tell_arrival(batch, answers, number, largest)
            if number <= slow:
                seen_s = _wait_until_level(loader, max(batch_s, first_s))
                batch_s = max(batch_s, seen_s)
            elif not is_whole:
                held.clear()
            if number == slow + waiting and not is_whole:
                break
        answers.say("run-end", batches=number)
        del batch
    except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
        answers.say("raised", number=number, running=True, **_described(error))


def _seconds_of_first(loader: Any, seconds: float) -> float:
    """How long a worker may take for a batch, by the first: without the time to start it, if forked."""
    from torchkit.dataset.loading import start_method

    return min(seconds, MOST_START_S) / 1.5 if start_method(loader) == "fork" else 0.0


def _tell_arrival(batch: Any, answers: Answers, number: int, largest: int) -> int:
    """That it came, and what it is made of where no batch before was larger; the largest so far."""
    from torchkit.dataset.sizes import parts_of

    try:
        parts = parts_of(batch)
    except Exception:  # noqa: BLE001 - it may not be fit to be sent on
        parts = []
    size = sum(part.storage_bytes for part in parts)
    more = {"parts": [list(part) for part in parts]} if size > largest else {}
    answers.say("run-batch", number=number, **more)
    return max(size, largest)


def _wait_until_level(loader: Any, batch_s: float) -> float:
    """Until workers that take `batch_s` seconds for a batch have made all they may.

    The longest time in seconds between two changes of shared memory until then.
    """
    quiet_s = max(LEVEL_S, 2.5 * batch_s)
    prefetch = loader.prefetch_factor or DEFAULT_PREFETCH
    most_s = min(MOST_LEVEL_S, prefetch * batch_s * 3 + 5 * quiet_s)
    begun = since = time.monotonic()
    before, longest_s = _used(), 0.0
    while (now := time.monotonic()) - since < quiet_s and now - begun < most_s:
        time.sleep(POLL_S)
        used = _used()
        if used != before:
            longest_s = max(longest_s, time.monotonic() - since)
            before, since = used, time.monotonic()
    return longest_s


def _used() -> int:
    there = os.statvfs("/dev/shm")
    return there.f_blocks - there.f_bfree


if __name__ == "__main__":
    main()
