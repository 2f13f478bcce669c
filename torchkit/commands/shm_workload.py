"""From the options of shm-check, or from a dataset, to the need that is judged."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torchkit.advice.shared_memory import Place, recommended
from torchkit.dataset.predict import (
    DEFAULT_PREFETCH,
    DEFAULT_WORKERS,
    STRATEGIES,
    Limits,
    Need,
    Workload,
    most_workers,
    predict,
)
from torchkit.dataset.sample import EXAMPLE, Sample, parse_sample
from torchkit.errors import BadInput
from torchkit.knowledge.shared_memory import full_message
from torchkit.machine.facts import Facts
from torchkit.units import readable
from torchkit.versions import Version, as_version

if TYPE_CHECKING:
    from torchkit.dataset.look import Look
    from torchkit.dataset.measure import Measured

MOST = 1_000_000
"""A larger number of anything is a slip of the keyboard."""


class Question(NamedTuple):
    """What the command line asks of shm-check, option by option."""

    target: str | None = None
    samples: Sequence[str] = ()
    batch_size: int | None = None
    workers: int | None = None
    prefetch: int | None = None
    pin_memory: bool = False
    loaders: int = 1
    ranks: int = 1
    hold: int = 0
    strategy: str | None = None
    need: str | None = None
    measure: bool = False
    timeout_s: float | None = None

    @property
    def has_workload(self) -> bool:
        """Whether there are batches to judge."""
        return self.target is not None or bool(self.samples)


def check_options(question: Question) -> None:
    """Raises BadInput for options that do not go together, or numbers that are none."""
    loose = [
        name
        for name, value in (
            ("--batch-size", question.batch_size), ("--workers", question.workers),
            ("--prefetch", question.prefetch),
            ("--pin-memory", question.pin_memory or None), ("--strategy", question.strategy),
            ("--loaders", question.loaders if question.loaders != 1 else None),
            ("--ranks", question.ranks if question.ranks != 1 else None),
            ("--hold", question.hold or None),
        )
        if value is not None
    ]  # fmt: skip
    if question.need is not None and (question.has_workload or loose or question.measure):
        raise BadInput(
            "--need only asks whether so much can be had; a dataset or sample says itself how much",
            hint="leave --need out, or all else",
        )
    if question.target is not None and question.samples:
        raise BadInput("a dataset and --sample are both given", hint="leave one of them out")
    if question.measure and question.target is None:
        raise BadInput(
            "--measure runs a DataLoader, and none is named",
            hint="torchkit shm-check data.py:dataset --measure",
        )
    if loose and not question.has_workload:
        raise BadInput(f"{loose[0]} needs a dataset or --sample", hint=EXAMPLE)
    _check_neighbours(question)
    for name, value, least in (
        ("--batch-size", question.batch_size, 1), ("--workers", question.workers, 0),
        ("--prefetch", question.prefetch, 1), ("--loaders", question.loaders, 1),
        ("--ranks", question.ranks, 1), ("--hold", question.hold, 0),
    ):  # fmt: skip
        if value is not None and not least <= value <= MOST:
            raise BadInput(f"{name} {value} is not possible", hint=f"{least} or more")
    if question.strategy is not None and question.strategy not in STRATEGIES:
        raise BadInput(
            f"--strategy {question.strategy!r} is not known",
            hint=f"choose {' or '.join(STRATEGIES)}",
        )
    if question.timeout_s is not None and not 0 < question.timeout_s <= 86_400:
        raise BadInput(
            "--timeout is more than 0 seconds and at most a day", hint="e.g. --timeout 60"
        )


def _check_neighbours(question: Question) -> None:
    """Raises BadInput for an option that means nothing beside the others."""
    if question.timeout_s is not None and question.target is None:
        raise BadInput(
            "--timeout limits how long a dataset may run, and none is named",
            hint="torchkit shm-check data.py:dataset --timeout 60",
        )
    if question.workers == 0 and question.measure:
        raise BadInput(
            "--measure runs the workers of a DataLoader, and --workers 0 leaves none",
            hint="leave one of them out",
        )
    if question.workers == 0 and question.prefetch is not None:
        raise BadInput(
            "--prefetch is what a worker makes ahead, and --workers 0 leaves none",
            hint="leave one of them out",
        )


class Planned(NamedTuple):
    """A workload with what else was learned of it; `notes` are for the user.

    `are_float32` tells of each of its storages. `hangs_by` as in `Need`.
    """

    load: Workload
    sample_bytes: int
    batch_text: str
    are_float32: tuple[bool, ...] = ()
    hangs_by: str = ""
    torch_version: Version | None = None
    notes: tuple[str, ...] = ()


def from_samples(question: Question, *, has_accelerator: bool) -> Planned:
    """The workload that `--sample` describes. Raises BadInput."""
    samples = [parse_sample(text) for text in question.samples]
    size = question.batch_size or 1
    load = Workload(
        storages=tuple(size * it.bytes for it in samples),
        workers=DEFAULT_WORKERS if question.workers is None else question.workers,
        prefetch=question.prefetch or DEFAULT_PREFETCH,
        loaders=question.loaders,
        ranks=question.ranks,
        kept=question.hold,
        pins=question.pin_memory and has_accelerator,
        strategy=question.strategy or STRATEGIES[0],
        keeps_last=sys.version_info < (3, 14),  # from then on workers are not forked
        page_bytes=mmap.PAGESIZE,
    )
    return Planned(
        load,
        sum(it.bytes for it in samples),
        ", ".join(it.batched(size) for it in samples),
        are_float32=tuple(it.dtype == "float32" for it in samples),
        hangs_by=OF_NUMBERS if any(_is_number(it) for it in samples) else "",
        notes=_pin_note(question.pin_memory, has_accelerator=has_accelerator),
    )


OF_NUMBERS = "when it is the tensor of a number, as a label, for which there is no space"
OF_OWN_COLLATE = "the DataLoader has a collate_fn of its own"
"""torch's own collate writes tensors of tensors straight into shared memory, and raises; those of
numbers, and all of another collate_fn, are moved there by a thread whose errors nobody gets."""

_OF_PYTHON = ("int64", "float64")
"""What torch makes of Python's numbers."""


def _is_number(sample: Sample) -> bool:
    return not sample.shape and sample.dtype in _OF_PYTHON


def _hangs_by(look: Look) -> str:
    if look.settings["own_collate"]:
        return OF_OWN_COLLATE
    size = look.settings["batch_size"]
    numbers = {f"{dtype} [{size}]" for dtype in _OF_PYTHON}
    return OF_NUMBERS if numbers & set(look.largest.texts) else ""


def _pin_note(pins: bool, *, has_accelerator: bool) -> tuple[str, ...]:
    if pins and not has_accelerator:
        return ("pin_memory does nothing here: there is no accelerator; reckoned without it",)
    return ()


def from_look(question: Question, look: Look) -> Planned:
    """The workload of a dataset whose batches were looked at."""
    settings, batch = look.settings, look.largest
    size = settings["batch_size"] or 1
    load = look.workload(
        loaders=question.loaders,
        ranks=question.ranks,
        kept=question.hold,
        strategy=question.strategy,
        page_bytes=mmap.PAGESIZE,
    )
    return Planned(
        load,
        batch.used_bytes // size,
        _listed(batch.texts),
        are_float32=batch.are_float32,
        hangs_by=_hangs_by(look),
        torch_version=as_version(str(settings["torch_version"])),
        notes=tuple(_notes(look)),
    )


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 3} more tensors" if len(texts) > 3 else ""
    return ", ".join(texts[:3]) + more


def _notes(look: Look) -> list[str]:
    settings, batch = look.settings, look.largest
    notes = list(
        _pin_note(bool(settings["pin_memory"]), has_accelerator=bool(settings["has_accelerator"]))
    )
    if look.not_pinned and settings["has_accelerator"]:
        notes.append(_not_pinned(look.not_pinned) + "; reckoned without it")
    elif look.not_pinned:
        notes.append(_not_pinned(look.not_pinned))
    if settings["of_several"]:
        notes.append(
            f"this is {settings['of_several']}; the others were left out: what all need is the sum,"
            " where they are alive at once"
        )
    looked = "1 batch was" if len(look.batches) == 1 else f"{len(look.batches)} batches were"
    if look.varies:
        sizes = [it.bytes for it in look.batches]
        more = "" if look.saw_all else ", and a larger one may come"
        notes.append(
            f"batches vary from {readable(min(sizes))} to {readable(max(sizes))}: {looked} looked at,"
            f" the largest counts{more}"
        )
    held = sum(batch.storages) + sum(batch.resident)
    if held > 1.5 * batch.used_bytes and held - batch.used_bytes > 1024**2:
        notes.append(
            f"a batch's tensors need {readable(batch.used_bytes)} and drag {readable(held)} along:"
            " they are slices of larger ones; .clone() what is sent"
        )
    if batch.resident:
        notes.append(
            f"batches are views of one tensor of {readable(sum(batch.resident))}, which every worker"
            " copies into shared memory once; .clone() the sample"
        )
    if look.once:
        notes.append(
            f"the dataset's own tensors go into shared memory once: {readable(sum(look.once))}"
        )
    if look.stays:
        notes.append(
            "the dataset keeps the tensors that it gives: what a worker has sent stays in shared"
            " memory, so that all batches add up; .clone() the sample"
        )
    if not batch.storages and not batch.resident and not look.once:
        notes.append("these batches hold no tensors: numpy arrays and numbers go through a pipe")
    if settings["workers"] == 0:
        notes.append("this DataLoader has no workers: --workers N says what N would need")
    notes.append(f"{looked} made, {look.batch_s * 1000:.3g} ms for each")
    return notes


def _not_pinned(kind: str) -> str:
    return (
        f"pin_memory does not look into a batch of the class {kind}: give it a method pin_memory(),"
        " or return a dict or a tuple"
    )


def place_of(facts: Facts) -> Place:
    """Where this runs, as far as the facts tell."""
    return Place(
        facts.known("container_runtime"), facts.known("job_service"), facts.known("is_container")
    )


def usable(facts: Facts) -> tuple[int | None, str]:
    """What cgroups and the machine's memory leave, in bytes, and which of them leaves least."""
    readings = [
        (facts.known("memory_headroom_bytes"), "the memory limit"),
        (facts.known("memory_available_bytes"), "the machine's memory"),
    ]
    known = [(size, name) for size, name in readings if size is not None]
    return min(known) if known else (None, "")


def free_of_shm(facts: Facts) -> int:
    """What is free of /dev/shm, in bytes: 0 where it cannot be used, memory where it has no limit."""
    if facts.known("shm_state") != "writable":
        return 0
    free = facts.known("shm_free_bytes")
    if isinstance(free, int):
        return free
    left, _ = usable(facts)
    return left if left is not None else 2**62


def need_of(planned: Planned, facts: Facts, measured: Measured | None = None) -> Need:
    """What the checks judge."""
    load, taken = planned.load, predict(planned.load)
    free, (left, by) = free_of_shm(facts), usable(facts)
    limits = Limits(
        free if left is None else min(free, left),
        facts.known("shm_inodes_free"),
        facts.known("open_files_limit"),
        facts.known("file_size_limit_bytes"),
    )
    used = used_of_shm(facts)
    measured_bytes, more_than = _measured(measured, load)
    workers = most_workers(load, limits)
    return Need(
        load=load,
        prediction=taken,
        shm_free_bytes=free,
        recommended_bytes=recommended(max(taken.later_bound_bytes, measured_bytes or 0), used),
        message=full_message(planned.torch_version or facts.known("torch_version")).text,
        memory_usable_bytes=left,
        memory_limited_by=by,
        open_files_limit=limits.open_files,
        inodes_free=limits.inodes,
        file_size_limit_bytes=limits.file_size_bytes,
        batch_text=planned.batch_text,
        max_workers=workers,
        max_workers_at_one=most_workers(load._replace(prefetch=1), limits),
        uint8_bytes=_as_uint8(planned, limits.usable_bytes, workers),
        hangs_by=planned.hangs_by,
        used_bytes=used,
        measured_bytes=measured_bytes,
        more_than_bytes=more_than,
        measured_text=_measured_text(measured, load),
        runtime=facts.known("container_runtime"),
        service=facts.known("job_service"),
        is_container=facts.known("is_container"),
    )


def used_of_shm(facts: Facts) -> int:
    """What of /dev/shm is taken, in bytes; 0 where its size is not known."""
    total, free = facts.known("shm_total_bytes"), facts.known("shm_free_bytes")
    return total - free if isinstance(total, int) and isinstance(free, int) else 0


def _measured(measured: Measured | None, load: Workload) -> tuple[int | None, int | None]:
    """The peak of the run, and what it would have passed, as of the whole workload."""
    if measured is None:
        return None, None
    return (
        measured.scaled_to(load, measured.peak_bytes),
        measured.scaled_to(load, measured.more_than_bytes),
    )


def _as_uint8(planned: Planned, most: int, workers: int) -> int | None:
    """The usual peak with float32 tensors as uint8, where that fits; at one worker where none does."""
    sizes, floats = planned.load.storages, planned.are_float32
    if not sizes or not floats[sizes.index(max(sizes))]:
        return None

    def smaller(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(it // 4 if one else it for it, one in zip(sizes, floats, strict=True))

    last = planned.load.last
    load = planned.load._replace(
        storages=smaller(sizes), last=None if last is None else smaller(last)
    )
    if not workers:
        load = load._replace(workers=1, prefetch=1)
    taken = predict(load)
    return taken.peak_bytes if taken.bound_bytes <= most else None


def _measured_text(measured: Measured | None, load: Workload) -> str:
    if measured is None or measured.peak_bytes is None:
        return ""
    where = "in a /dev/shm of its own" if measured.is_private else "in this /dev/shm"
    text = f"in {measured.seconds:.1f} s, {where}"
    if not measured.is_of(load):
        many = "1 worker" if measured.workers == 1 else f"{measured.workers} workers"
        text += f", from {readable(measured.peak_bytes)} with {many} of one loader"
    if measured.more_than_bytes is not None:
        text += ", which it filled" if measured.is_private else ", when it was stopped"
    return text
