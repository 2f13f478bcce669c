"""How much shared memory, how many open files and inodes the workers of a DataLoader take.

The formula was held against 48 runs of torch 2.13 on private tmpfs mounts; its parts are torch's own:

- A worker writes each distinct storage of a batch into a file of its own in /dev/shm, which takes
  whole pages (torch/multiprocessing/reductions.py, aten/src/ATen/MapAllocator.cpp). Under the
  sharing strategy `file_system` the file has a header of 64 bytes.
- At most `workers * prefetch` batches are made or wait (torch/utils/data/dataloader.py); the
  training loop has another one in use, and one more may begin before the last is freed.
- With `pin_memory` a batch is copied to private memory before the loop has it.
- Each loader has `3 * workers + 8` semaphores of one page each (multiprocessing/queues.py and
  synchronize.py: three for each of `workers + 1` queues, five for an event).

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

FILE_SYSTEM_HEADER_BYTES = 64
"""What `file_system` puts before the data (libshm: MapAllocator's refcounted header)."""

STRATEGIES = ("file_descriptor", "file_system")

OWN_FILES_OF_A_WORKER = (8, 12)
"""Files that a worker has open whatever it does, at least and at most; 4 more for each worker of
its loader, from which it inherits the ends of their queues."""

OWN_FILES_OF_A_LOADER = (4, 10)
"""Files that the main process has open for a loader, at least and at most; 5 more for each worker."""


MOST_WORKERS = 1024
"""More workers than these are not asked about."""

DEFAULT_WORKERS = 2
"""Workers, where none are named: a loader without any needs no shared memory."""

DEFAULT_PREFETCH = 2
"""torch's own `prefetch_factor`."""


class Workload(NamedTuple):
    """What the workers are given to do, as `DataLoader` calls it.

    `storages` are the sizes in bytes of the distinct storages of one batch, `resident` those that
    every batch is a view of: each worker moves them into shared memory once. `once` are those that
    the loader itself moves there: a dataset's tensors, where workers are not forked. `last` is the
    last batch of an epoch, where it is a shorter one. `kept` is how many batches the training loop
    keeps beside the one in use. `batches` is the length of an epoch; None when it is not known.
    `pins` says that batches are really pinned: `pin_memory=True` and there is an accelerator.
    `keeps_last` says that workers of a later epoch are forked while the last batch of the epoch
    before is still held. `stays` says that the dataset keeps the tensors that it gives: in a worker
    they stay in shared memory, batch upon batch.
    """

    storages: tuple[int, ...]
    workers: int
    prefetch: int = 2
    loaders: int = 1
    ranks: int = 1
    kept: int = 0
    pins: bool = False
    strategy: str = "file_descriptor"
    batches: int | None = None
    keeps_last: bool = True
    page_bytes: int = 4096
    resident: tuple[int, ...] = ()
    once: tuple[int, ...] = ()
    last: tuple[int, ...] | None = None
    stays: bool = False


class Prediction(NamedTuple):
    """What they take, on the whole machine unless said otherwise. Sizes in bytes.

    `peak_bytes` and `inodes` are the usual peak, `bound_bytes` is never passed in the first epoch,
    `later_bound_bytes` and `inodes_bound` in no epoch. `later_peak_bytes` is the usual peak from the
    second epoch on. `worker_files` and `main_files` are open
    files of one process, which a loop that uses its batches slowly surely reaches; their bounds are
    never passed, as far as the process opens no other files.
    """

    batch_bytes: int
    semaphore_bytes: int
    peak_bytes: int
    bound_bytes: int
    later_peak_bytes: int
    later_bound_bytes: int
    inodes: int
    inodes_bound: int
    worker_files: int
    worker_files_bound: int
    main_files: int
    main_files_bound: int

    @property
    def open_files(self) -> int:
        """With so many open files allowed, every process has enough."""
        return max(self.worker_files_bound, self.main_files_bound)


NOTHING = Prediction(*[0] * 12)


class Need(NamedTuple):
    """What workers need beside what there is, for the checks to judge.

    Bytes of what is free are those of now. `memory_usable_bytes` is what cgroups and the machine
    leave, None where nothing is known to limit it; `memory_limited_by` says which of them.
    `used_bytes` is what others hold of /dev/shm. `uint8_bytes` is the usual peak with a quarter of
    the bytes of each float32 tensor; None where the largest is none, or where that does not fit
    either. `measured_bytes` is the peak of a real run; where that run took all that it was given,
    or was stopped, more than `more_than_bytes` are needed, and nobody knows how much. `hangs_by` says
    what makes the loader wait for ever where a batch cannot be sent; "" where it raises.
    """

    load: Workload
    prediction: Prediction
    shm_free_bytes: int
    recommended_bytes: int
    message: str
    memory_usable_bytes: int | None = None
    memory_limited_by: str = ""
    open_files_limit: int | None = None
    inodes_free: int | None = None
    file_size_limit_bytes: int | None = None
    batch_text: str = ""
    max_workers: int = 0
    max_workers_at_one: int = 0
    uint8_bytes: int | None = None
    hangs_by: str = ""
    used_bytes: int = 0
    measured_bytes: int | None = None
    measured_text: str = ""
    more_than_bytes: int | None = None
    runtime: str | None = None
    service: str | None = None
    is_container: bool | None = None

    @property
    def peak_bytes(self) -> int:
        """The usual peak, or what was measured where that is more."""
        return max(self.prediction.peak_bytes, self.measured_bytes or 0)

    @property
    def bound_bytes(self) -> int:
        """What is never passed; a measured peak is not doubted."""
        return max(self.prediction.bound_bytes, self.measured_bytes or 0)


def in_pages(size_bytes: int, page_bytes: int) -> int:
    """Bytes of the whole pages that a file of this size takes."""
    return -(-size_bytes // page_bytes) * page_bytes


def batch_bytes(storages: Iterable[int], *, strategy: str, page_bytes: int) -> int:
    """What one batch takes of /dev/shm, in bytes; an empty storage takes none."""
    header = FILE_SYSTEM_HEADER_BYTES if strategy == "file_system" else 0
    return sum(in_pages(size + header, page_bytes) for size in storages if size)


def predict(load: Workload) -> Prediction:
    """What this workload takes of the machine. Without workers it is nothing."""
    if load.workers == 0:
        return NOTHING
    usual, most, later = _alive(load)
    semaphores = 3 * load.workers + 8
    times = load.loaders * load.ranks
    files = sum(1 for size in load.storages if size)
    senders = load.workers if load.batches is None else min(load.workers, load.batches)
    resident = _bytes(load, load.resident)
    once = _bytes(load, load.once) + senders * resident
    own_files = senders * len(load.resident) + len(load.once) + semaphores
    of_later = later * _bytes(load, load.storages) + min(later, senders) * resident
    old_semaphores = semaphores if later else 0  # of the epoch before: its threads end when they do

    def total(batches: int) -> int:
        return times * (_window(load, batches) + once + semaphores * load.page_bytes)

    def inodes(batches: int) -> int:
        # one more while a semaphore is made: sem_open links its file to a second name
        return times * max(batches * files + own_files, semaphores + 1)

    return Prediction(
        batch_bytes=_bytes(load, load.storages),
        semaphore_bytes=times * semaphores * load.page_bytes,
        peak_bytes=total(usual),
        bound_bytes=total(most),
        later_peak_bytes=total(usual) + times * of_later,
        later_bound_bytes=total(most) + times * (of_later + old_semaphores * load.page_bytes),
        inodes=inodes(usual),
        inodes_bound=inodes(most) + times * (later * (files + len(load.resident)) + old_semaphores),
        **_open_files(load, files + len(load.resident), most, later),
    )


def _alive(load: Workload) -> tuple[int, int, int]:
    """How many batches are in shared memory at once: usually, at most, and more in later epochs.

    Workers that are forked while the loop holds batches keep these until they end.
    """
    held = 0 if load.pins else load.kept + 1
    waiting = load.workers * load.prefetch
    if load.stays and load.batches is not None:
        waiting = max(waiting, load.batches)
    later = load.kept + 1 if load.keeps_last and not load.pins else 0
    return (
        _at_most(waiting + held, load),
        _at_most(waiting + held + (0 if load.pins else 1), load),
        _at_most(later, load),
    )


def _at_most(batches: int, load: Workload) -> int:
    """An epoch has no more batches than it has, whatever could wait."""
    return batches if load.batches is None else min(batches, load.batches)


def _bytes(load: Workload, storages: tuple[int, ...]) -> int:
    return batch_bytes(storages, strategy=load.strategy, page_bytes=load.page_bytes)


def _window(load: Workload, batches: int) -> int:
    """Bytes of so many batches, the last of a short epoch among them."""
    one = _bytes(load, load.storages)
    if load.last is None or batches != load.batches:
        return batches * one
    return (batches - 1) * one + min(one, _bytes(load, load.last))


def _open_files(load: Workload, files: int, most: int, later: int) -> dict[str, int]:
    """Open files of one process. `files` are those of a batch: none under `file_system`.

    A worker has each tensor of the batch that it sends open twice, and each of those that wait
    once. Main has the batches in use open, the one that comes, and those that came too early.
    """
    if load.strategy != STRATEGIES[0]:
        files = 0
    waiting = _at_most(load.prefetch, load) + 1
    arriving = _at_most(load.kept + 2, load)
    least, own = (size + 4 * load.workers for size in OWN_FILES_OF_A_WORKER)
    least_main, own_main = (size + 5 * load.workers for size in OWN_FILES_OF_A_LOADER)
    others = (load.loaders - 1) * (own_main + (load.kept + 1) * files)  # a fork has them too
    return {
        "worker_files": least + waiting * files,
        "worker_files_bound": own + (waiting + later) * files + others,
        "main_files": load.loaders * least_main + arriving * files,
        "main_files_bound": load.loaders * (own_main + most * files),
    }


class Limits(NamedTuple):
    """What workers may take of shared memory, of its inodes, of open files, and of one file.

    Sizes in bytes; None where there is no limit.
    """

    usable_bytes: int
    inodes: int | None = None
    open_files: int | None = None
    file_size_bytes: int | None = None

    def hold(self, load: Workload) -> bool:
        """Whether what this workload never passes is within all of them."""
        taken = predict(load)
        largest = max((*load.storages, *load.resident), default=0)
        pairs = (
            (taken.bound_bytes, self.usable_bytes),
            (taken.inodes_bound, self.inodes),
            (taken.open_files, self.open_files),
            (largest, self.file_size_bytes),
        )
        return all(limit is None or need <= limit for need, limit in pairs)


def most_workers(load: Workload, limits: Limits, *, at_most: int = MOST_WORKERS) -> int:
    """The largest number of workers that the limits hold; 0 when they hold none."""
    fitting, failing = 0, at_most + 1
    while failing - fitting > 1:
        tried = (fitting + failing) // 2
        if limits.hold(load._replace(workers=tried)):
            fitting = tried
        else:
            failing = tried
    return fitting


def largest_batch(
    sample_bytes: int, usable_bytes: int, *, workers: int, prefetch: int, page_bytes: int
) -> int:
    """The most samples of one tensor each that a batch may have, so that the bound fits."""
    left = usable_bytes - (3 * workers + 8) * page_bytes
    for_one = left // (workers * prefetch + 2) // page_bytes * page_bytes
    return max(0, for_one // sample_bytes)
