"""A look at what a user's dataset gives: its DataLoader's settings, and some batches without workers.

The batches are made in a child (`guard.py`, `trial.py`), or where a loader is there already, in this
process (`live.py`); what comes back is plain data. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torchkit.dataset.guard import Ended, run_child
from torchkit.dataset.predict import Workload
from torchkit.errors import BadInput, TorchkitError

SIZES_LIMIT_S = 60.0
"""How long importing torch, making the dataset and some batches may take."""

VARIES = 1.02
"""Batches whose sizes differ by more than this are of varying size."""


class Batch(NamedTuple):
    """One batch that was made: its distinct storages, what is used of them, how long it took.

    `texts` tell of all its tensors, `are_float32` of each of `storages`.
    """

    storages: tuple[int, ...]
    resident: tuple[int, ...]
    used_bytes: int
    seconds: float
    texts: tuple[str, ...]
    are_float32: tuple[bool, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the storages of its own."""
        return sum(self.storages)


class Look(NamedTuple):
    """A DataLoader as the child saw it: its settings, and some batches without workers.

    `once` are storages in bytes that the loader itself moves into shared memory. `stays` says that
    the dataset keeps the tensors that it gives: what a worker sent stays in shared memory.
    `not_pinned` is the class of batches that `pin_memory` does not look into, where it is asked for.
    """

    settings: Mapping[str, Any]
    batches: tuple[Batch, ...]
    once: tuple[int, ...] = ()
    stays: bool = False
    not_pinned: str = ""

    @property
    def largest(self) -> Batch:
        """The batch that takes most; what is planned for."""
        return max(self.batches, key=lambda it: it.bytes)

    @property
    def saw_all(self) -> bool:
        """Whether an epoch has no batches beside those that were looked at."""
        batches = self.settings["batches"]
        return batches is not None and len(self.batches) >= batches

    def with_larger(self, batch: Batch | None) -> Look:
        """With a batch that a run met, where it is larger than all that were looked at."""
        if batch is None or self.stays or self.once or any(it.resident for it in self.batches):
            return self
        if batch.bytes <= VARIES * self.largest.bytes:
            return self
        return self._replace(batches=(*self.batches, batch))

    @property
    def varies(self) -> bool:
        """Whether full batches differ in size: then the largest seen is a guess."""
        sizes = [it.bytes for it in self.batches]
        return len(sizes) > 1 and max(sizes) > VARIES * min(sizes)

    def workload(
        self, *, loaders: int, ranks: int, kept: int, strategy: str | None, page_bytes: int
    ) -> Workload:
        """What the DataLoader's workers are given to do; what is not said here is its own."""
        settings, batch = self.settings, self.largest
        return Workload(
            storages=batch.storages,
            resident=batch.resident,
            once=self.once,
            last=self._last(),
            workers=int(settings["workers"]),
            prefetch=int(settings["prefetch"]),
            loaders=loaders,
            ranks=ranks,
            kept=kept,
            pins=bool(settings["pin_memory"] and settings["has_accelerator"]),
            strategy=strategy or str(settings["strategy"]),
            batches=settings["batches"],
            keeps_last=settings["start_method"] == "fork" and not settings["persistent_workers"],
            page_bytes=page_bytes,
            stays=self.stays,
        )

    def _last(self) -> tuple[int, ...] | None:
        """The last batch, in proportion to its samples; None where it is like all others."""
        size, last = self.settings["batch_size"], self.settings["last_size"]
        if not size or not last or self.settings["batches"] == 1:
            return None
        return tuple(part * last // size for part in self.largest.storages)

    @property
    def batch_s(self) -> float:
        """Seconds that a batch takes to make; the first, which warms up, counts only alone."""
        times = [it.seconds for it in self.batches[1:]] or [self.batches[0].seconds]
        return sum(times) / len(times)


def look_at(
    target: str,
    wish: Mapping[str, Any],
    *,
    limit_s: float = SIZES_LIMIT_S,
    progress: Callable[[str], None] | None = None,
) -> Look:
    """Make some batches of the target in a child. Raises BadInput for what cannot be judged."""
    order = {"target": target, "wish": dict(wish), "do": "sizes"}
    return look_from(run_child(order, limit_s=limit_s, progress=progress), target, limit_s=limit_s)


def look_from(ended: Ended, target: str, *, limit_s: float = SIZES_LIMIT_S) -> Look:
    """What was seen of the target. Raises BadInput where that is no batch."""
    _refuse(ended, target, limit_s)
    settings = ended.one("settings")
    batches = ended.of("batch")
    if settings is None:
        raise BadInput(f"{target} could not be looked at: {last_words(ended)}", hint="")
    if not batches:
        raise BadInput(
            f"{target} gives no batch: the dataset is empty",
            hint="name a dataset that has samples",
        )
    return _look(settings, batches, ended)


def _look(settings: Mapping[str, Any], answers: list[Mapping[str, Any]], ended: Ended) -> Look:
    sent = [part for answer in ended.of("once") for part in answer["parts"]]
    once = {int(part[0]): int(part[1]) for part in sent}
    alive = [set(one) for answer in ended.of("alive") for one in answer["addresses"]]
    held = set[int]().union(*alive)
    times: dict[int, int] = {}
    for answer in answers:
        for address, *_ in answer["parts"]:
            times[address] = times.get(address, 0) + 1
    resident = {address for address in held if times.get(address, 0) > 1}
    for answer in answers:
        for address, size, _, _, is_shared in answer["parts"]:
            if address in resident and is_shared:
                once[address] = size
    unreached = [str(answer["kind"]) for answer in answers if not answer["is_pinned_whole"]]
    stays = bool(alive) and all(one - resident - set(once) for one in alive)
    return Look(
        {**settings, "pin_memory": settings["pin_memory"] and not unreached},
        tuple(batch_of(answer, resident, once) for answer in answers),
        tuple(once.values()),
        stays,
        unreached[0] if unreached and settings["pin_memory"] else "",
    )


def batch_of(answer: Mapping[str, Any], resident: set[int], once: Mapping[int, int]) -> Batch:
    """The batch that the child told of, by the addresses of what is not its own.

    A storage that two batches have is the dataset's own, which batches are views of."""
    parts = answer["parts"]
    own = [part for part in parts if part[0] not in resident and part[0] not in once]
    return Batch(
        storages=tuple(part[1] for part in own),
        resident=tuple(part[1] for part in parts if part[0] in resident and part[0] not in once),
        used_bytes=sum(part[2] for part in parts),
        seconds=float(answer.get("seconds", 0.0)),
        texts=tuple(part[3] for part in parts),
        are_float32=tuple(part[3].startswith("float32 ") for part in own),
    )


def _refuse(ended: Ended, target: str, limit_s: float) -> None:
    """Raises BadInput where the child came to no batches."""
    unable = ended.one("unable")
    if unable is not None:
        raise TorchkitError(str(unable["message"]), str(unable["hint"]))
    raised = ended.one("raised")
    if raised is not None:
        raise BadInput(_raised(raised, target), hint=_cure(raised))
    stage = str(ended.answers[-1].get("stage")) if ended.answers else "start"
    doing = {
        "start": "starting Python",
        "import": f"importing torch and {target}",
        "settings": "making the first batch",
        "batch-begun": f"making batch {ended.answers[-1].get('number', 0)}"
        if ended.answers
        else "",
    }.get(stage, stage)
    at = f", at {ended.place}" if ended.place else ""
    if ended.hangs and not ended.of("batch"):
        raise BadInput(
            f"{target} did not answer within {limit_s:g} s, while {doing}{at}",
            hint="raise --timeout, or name a smaller dataset",
        )
    if not ended.hangs and not ended.of("done"):
        raise BadInput(
            f"the Python that ran {target} {death(ended.status)} while {doing}{at}: {last_words(ended)}",
            hint="run the dataset alone: python -X faulthandler -c 'import …; next(iter(…))'",
        )


def _raised(raised: Mapping[str, Any], target: str) -> str:
    at = f" at {raised['place']}" if raised.get("place") else ""
    if raised.get("starting"):
        return f"{target} cannot be sent to workers that {raised['starting']} starts: {raised['error']}: {raised['message']}"
    what = "sending" if raised.get("sending") else "making"
    return f"{what} batch {raised['number']} of {target} raises {raised['error']}: {raised['message']}{at}"


def _cure(raised: Mapping[str, Any]) -> str:
    if raised.get("hint"):
        return str(raised["hint"])
    if "non-leaf tensor which requires_grad" in str(raised["message"]):
        return "return tensor.detach(), or make the batch under torch.no_grad()"
    if raised["error"] == "TypeError" and "has no len()" in str(raised["message"]):
        return "give the dataset a __len__, or make it an IterableDataset"
    if raised["error"] == "StopIteration":
        return "raise IndexError past the end: a StopIteration ends the epoch early without a word"
    if raised.get("starting"):
        return "the dataset, collate_fn and worker_init_fn must be picklable: no lambdas, open files or locks"
    if raised.get("sending"):
        return (
            "what a worker returns must be picklable: no open files, locks, lambdas or generators"
        )
    if "stack expects each tensor to be equal size" in str(raised["message"]):
        return "give the DataLoader with its collate_fn, as the training makes it: data.py:loader"
    if "default_collate" in str(raised["message"]):
        return (
            "give the DataLoader with its collate_fn, or return tensors, numbers, texts or arrays"
        )
    return "the dataset must give batches before their size can be told"


def death(status: int | None) -> str:
    """How a child ended: `died of SIGKILL`, `ended with status 1`."""
    import signal

    if status is not None and status < 0:
        try:
            return f"died of {signal.Signals(-status).name}"
        except ValueError:
            return f"died of signal {-status}"
    return f"ended with status {status or 0}"


def last_words(ended: Ended) -> str:
    """The last line that it wrote."""
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
