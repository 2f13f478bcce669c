"""DataLoaders of every kind, and training loops over them, for a process that imports torch.

A dataset here is slow or fast by order, not by the clock: with `PACE` in the environment, which
names a file, a slow one begins no batch before the loop has let go of what a slow one would have
seen it let go of. Without it each batch takes some milliseconds.
"""

from __future__ import annotations

import mmap
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    get_worker_info,
)

LEAST_S = 0.012
"""How long a batch takes without `PACE`."""

LEVEL_S = (0.1, 0.03)
"""How long /dev/shm must not change before the loop goes on, with the first batch and the others: the
last batch that was begun may still be collated or sent."""

LIMIT_S = 25.0

# --- pace


class Pace:
    """What the training loop has let go of, and which batches are made: a file that all share."""

    def __init__(self, path: str, number: int) -> None:
        size = 4096
        with Path(path).open("r+b") as file:
            whole = mmap.mmap(file.fileno(), 2 * size)
        self.map = memoryview(whole)[number * size : (number + 1) * size]

    def drop(self) -> None:
        self.map[0] += 1

    def begin(self, batch: int, ahead: int) -> None:
        """Wait until batch number `batch` may be made."""
        limit = time.monotonic() + LIMIT_S
        while self.map[0] - self.map[1] < batch - ahead:
            if time.monotonic() > limit:
                raise TimeoutError(f"batch {batch} waits for the loop")
            time.sleep(0.001)

    def made(self, batch: int) -> None:
        self.map[16 + batch] = 1

    def wait_for(self, batches: int) -> None:
        """Wait until so many batches are made, and sent."""
        limit = time.monotonic() + LIMIT_S
        while sum(self.map[16:]) < batches and time.monotonic() < limit:
            time.sleep(0.002)
        before, since = _used(), time.monotonic()
        while time.monotonic() - since < LEVEL_S[bool(self.map[2])]:
            time.sleep(0.003)
            used = _used()
            if used != before:
                before, since = used, time.monotonic()
        self.map[2] = 1

    def again(self, held: int) -> None:
        """For the next epoch, which begins with so many batches of the last one."""
        self.map[:] = bytes(len(self.map))
        self.map[1] = held


def _used() -> int:
    return os.statvfs("/dev/shm").f_bfree


_paces: dict[tuple[str, int], Pace] = {}


def pace(number: int) -> Pace | None:
    path = os.environ.get("PACE")
    if not path:
        return None
    if (path, number) not in _paces:
        _paces[path, number] = Pace(path, number)
    return _paces[path, number]


# --- samples


class Order(NamedTuple):
    """How the batches are asked for: what a dataset needs to know of its loader, for its pace."""

    batch: int
    ahead: int | None  # None is as fast as can be
    number: int = 0


class Samples(Dataset):
    """`make(i)` for each index."""

    def __init__(self, make: Callable[[int], Any], length: int, order: Order) -> None:
        self.make, self.length, self.order = make, length, order

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        at(index, self.length, self.order)
        return self.make(index)


class Stream(IterableDataset):
    """The same, one after the other; each worker has its share, or with `whole` all of them."""

    def batches(self, workers: int) -> int:
        each = self.length // self.order.batch
        return each * workers if self.whole else each // workers * workers

    def __init__(
        self, make: Callable[[int], Any], length: int, order: Order, *, whole: bool = False
    ) -> None:
        self.make, self.length, self.order, self.whole = make, length, order, whole

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        size = self.order.batch
        for mine in range(self.length // size // (1 if self.whole else workers)):
            for inner in range(size):
                at((mine * workers + first) * size + inner, 10**9, self.order)
                yield self.make(inner)


def at(index: int, length: int, order: Order) -> None:
    """Before a sample is made: wait for its turn, and note the last one of a batch."""
    batch, inner = divmod(index, order.batch)
    there = pace(order.number)
    if there is None:
        if inner == 0 and order.ahead is not None:
            time.sleep(LEAST_S)
        return
    if order.ahead is not None and inner == 0:
        there.begin(batch, order.ahead)
    if inner == order.batch - 1 or index == length - 1:
        there.made(batch)


def image(index: int, shape: tuple[int, ...] = (3, 64, 64), dtype: str = "float32") -> Any:
    return torch.zeros(shape, dtype=getattr(torch, dtype))


def labelled(index: int) -> Any:
    return image(index), index


def named(index: int) -> Any:
    return {"image": image(index), "mask": image(index, (64, 64), "uint8"), "name": f"{index}.png"}


def nested(index: int) -> Any:
    return [image(index, (100,)), (image(index, (1, 50, 50)), {"where": index, "how": 0.5})]


def many(index: int, number: int = 20) -> Any:
    return {f"tensor {one}": image(index, (7,)) for one in range(number)}


def array(index: int) -> Any:
    return numpy.zeros((3, 64, 64), numpy.float32)


def numbers(index: int) -> Any:
    return {"a": index, "b": float(index), "c": "text"}


def long(index: int) -> Any:
    return image(index, (1000 + 4000 * (index % 5),))


def pair_of_views(index: int) -> Any:
    both = image(index, (2, 3, 64, 64))
    return both[0], both[1]


class Point(NamedTuple):
    image: Any
    label: Any


def point(index: int) -> Point:
    return Point(image(index), index)


class Record:
    """A batch of a class of one's own."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def pin_memory(self) -> Record:
        return self


class InMemory:
    """A dataset that lies in memory as a whole, in bytes 400 000; gives views, copies or tensors."""

    def __init__(self, gives: str = "copies") -> None:
        self.all = torch.zeros(100_000)
        self.tensors = list(self.all.clone().view(20, 5000)) if gives == "tensors" else []
        self.tensors = [one.clone() for one in self.tensors]
        self.gives = gives
        if gives == "shared":
            self.all.share_memory_()

    def __call__(self, index: int) -> Any:
        if self.tensors:
            return self.tensors[index]
        view = self.all[index * 5000 :][:5000]
        return view.clone() if self.gives == "copies" else view


# --- collating

BIG = torch.zeros(200_000)
"""A dataset that lies in memory as a whole, in bytes 800 000."""


def views_of_one(samples: list[Any]) -> Any:
    return BIG[: 100 * len(samples)]


def stacked(samples: list[Any]) -> Any:
    return torch.stack(samples)


def own_default(samples: list[Any]) -> Any:
    return {name: torch.stack([one[name] for one in samples]) for name in samples[0]}


def in_record(samples: list[Any]) -> Any:
    return Record(torch.stack(samples))


def quarter(samples: list[Any]) -> Any:
    return torch.zeros(4, *samples[0].shape)[:1]


def padded(samples: list[Any]) -> Any:
    return torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)


def as_list(samples: list[Any]) -> Any:
    return samples


def as_arrays(samples: list[Any]) -> Any:
    return torch.stack(samples).numpy()


def same_twice(samples: list[Any]) -> Any:
    one = torch.stack(samples)
    return one, one.flatten(1), one[:1]


def sparse(samples: list[Any]) -> Any:
    return torch.ones(len(samples), 5000).to_sparse()


def expanded(samples: list[Any]) -> Any:
    return torch.zeros(1, 20_000).expand(8, 20_000)


def shared(samples: list[Any]) -> Any:
    return torch.stack(samples).share_memory_()


# --- training loops


def train(configuration: Configuration, say: Callable[..., None]) -> None:
    """Use each batch until all is made that may be made; hand on what the DataLoader raises."""
    loaders = configuration.loaders()
    held: deque[Any] = deque()
    for epoch in range(configuration.epochs):
        say(epoch=epoch)
        _epoch(loaders, configuration, held, say)


def _epoch(
    loaders: tuple[Any, ...],
    configuration: Configuration,
    held: deque[Any],
    say: Callable[..., None],
) -> None:
    loader, *others = loaders
    there = pace(loader.dataset.order.number)
    if there is not None:
        there.again(len(held))
    batches = iter(loader)
    for number in range(1, 10**9):
        try:
            held.append(next(batches))
        except StopIteration:
            return
        say(batch=number)
        if configuration.fetches_ahead:
            _use(there, loader, number)
        if len(held) > configuration.hold + 1:
            held.popleft()
            if there is not None:
                there.drop()
        if not configuration.fetches_ahead:
            _use(there, loader, number)
        if others and number == 2:
            _epoch(tuple(others), configuration, deque(), say)


def _use(there: Pace | None, loader: Any, number: int) -> None:
    if there is None:
        time.sleep(0.05)
        return
    there.wait_for(min(_length(loader), number + loader.num_workers * loader.prefetch_factor))


def _length(loader: Any) -> int:
    return (
        loader.dataset.batches(loader.num_workers)
        if isinstance(loader.dataset, Stream)
        else len(loader)
    )


# --- all of them


@dataclass(frozen=True)
class Configuration:
    """A DataLoader, or two, and a loop over them. `hangs` when a batch that cannot be sent is lost.

    `make` makes a sample, or is called without arguments for what does.
    """

    make: Callable[..., Any] = image
    workers: int = 2
    prefetch: int = 2
    batch: int = 4
    length: int = 36
    hold: int = 0
    epochs: int = 1
    number_of_loaders: int = 1
    is_slow: bool = True
    fetches_ahead: bool = False
    hangs: bool = False
    is_stream: bool = False
    is_whole_stream: bool = False
    strategy: str = "file_descriptor"
    is_exact: bool = True
    batch_alone: bool = False
    is_dear: bool = False
    settings: tuple[tuple[str, Any], ...] = ()

    def loaders(self) -> tuple[Any, ...]:
        torch.multiprocessing.set_sharing_strategy(self.strategy)
        return tuple(self._loader(number) for number in range(self.number_of_loaders))

    def _loader(self, number: int) -> Any:
        size = 1 if self.batch_alone else self.batch
        ahead = self.workers * self.prefetch + self.hold
        order = Order(size, ahead if self.is_slow else None, number)
        make = self.make
        if make is InMemory or getattr(make, "func", None) is InMemory:
            make = make()
        dataset: Any = (
            Stream(make, self.length, order, whole=self.is_whole_stream)
            if self.is_stream
            else Samples(make, self.length, order)
        )
        settings = dict(self.settings)
        if "batch_sampler" in settings:
            settings["batch_sampler"] = settings["batch_sampler"](dataset)
        else:
            settings["batch_size"] = None if self.batch_alone else self.batch
        return DataLoader(
            dataset, num_workers=self.workers, prefetch_factor=self.prefetch, **settings
        )


def _with(**settings: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(settings.items())


def _own(collate: Callable[..., Any]) -> tuple[tuple[str, Any], ...]:
    return _with(collate_fn=collate)


ALL = {
    "one worker": Configuration(workers=1, prefetch=1),
    "two workers": Configuration(),
    "three workers, prefetch 3": Configuration(workers=3, prefetch=3, length=60),
    "four workers, prefetch 1": Configuration(workers=4, prefetch=1),
    "one worker, prefetch 5": Configuration(workers=1, prefetch=5),
    "odd sizes": Configuration(partial(image, shape=(3, 61, 67)), batch=3, length=33),
    "less than a page": Configuration(partial(image, shape=(5,))),
    "uint8": Configuration(partial(image, dtype="uint8")),
    "float64": Configuration(partial(image, dtype="float64")),
    "bfloat16": Configuration(partial(image, dtype="bfloat16")),
    "bool": Configuration(partial(image, dtype="bool")),
    "complex64": Configuration(partial(image, dtype="complex64")),
    "labels": Configuration(labelled, hangs=True),
    "dict": Configuration(named),
    "nested": Configuration(nested, hangs=True),
    "namedtuple": Configuration(point, hangs=True),
    "many tensors": Configuration(many),
    "arrays": Configuration(array),
    "numbers": Configuration(numbers, hangs=True),
    "two views of one": Configuration(pair_of_views),
    "own collate": Configuration(settings=_own(stacked), hangs=True),
    "own class": Configuration(settings=_own(in_record), hangs=True),
    "a slice of more": Configuration(settings=_own(quarter), hangs=True),
    "one storage three times": Configuration(settings=_own(same_twice), hangs=True),
    "a list of samples": Configuration(settings=_own(as_list), hangs=True),
    "sparse": Configuration(settings=_own(sparse), hangs=True),
    "expanded": Configuration(settings=_own(expanded), hangs=True),
    "shared by the collate": Configuration(settings=_own(shared)),
    "to numpy": Configuration(settings=_own(as_arrays)),
    "views of the dataset": Configuration(settings=_own(views_of_one), hangs=True),
    "variable lengths": Configuration(
        long, settings=_own(padded), batch=3, length=45, hangs=True, is_exact=False
    ),
    "file_system": Configuration(strategy="file_system"),
    "file_system, many": Configuration(many, strategy="file_system"),
    "stream": Configuration(is_stream=True),
    "stream, all of it by each": Configuration(is_stream=True, is_whole_stream=True, length=12),
    "no batches": Configuration(batch_alone=True, length=12, hangs=True),
    "no batches of arrays": Configuration(array, batch_alone=True, length=12, hangs=True),
    "out of order": Configuration(settings=_with(in_order=False)),
    "batch sampler": Configuration(
        settings=_with(batch_sampler=lambda it: BatchSampler(SequentialSampler(it), 4, True))
    ),
    "short epoch": Configuration(workers=4, length=12),
    "short last batch": Configuration(workers=2, length=13),
    "last batch dropped": Configuration(length=15, settings=_with(drop_last=True)),
    "one batch": Configuration(length=3),
    "two epochs": Configuration(epochs=2),
    "two epochs, persistent": Configuration(epochs=2, settings=_with(persistent_workers=True)),
    "one kept": Configuration(hold=1),
    "three kept": Configuration(hold=3, length=48),
    "two kept, two epochs": Configuration(hold=2, epochs=2, length=48),
    "validation in between": Configuration(number_of_loaders=2),
    "views, none stacked": Configuration(
        partial(InMemory, "views"), length=20, settings=_own(as_list), hangs=True
    ),
    "views of what is shared": Configuration(
        partial(InMemory, "shared"), length=20, settings=_own(as_list)
    ),
    "tensors that the dataset keeps": Configuration(
        partial(InMemory, "tensors"), length=20, settings=_own(as_list), hangs=True
    ),
    "views, two epochs": Configuration(
        partial(InMemory, "views"), length=20, epochs=2, settings=_own(as_list), hangs=True
    ),
    "spawn, views": Configuration(
        partial(InMemory, "views"),
        workers=1,
        length=20,
        settings=_with(multiprocessing_context="spawn", collate_fn=as_list),
        is_dear=True,
    ),
    "spawn, a dataset of tensors": Configuration(
        InMemory,
        workers=1,
        length=20,
        settings=_with(multiprocessing_context="spawn"),
    ),
    "50 tensors": Configuration(partial(many, number=50)),
    "50 tensors, four workers": Configuration(partial(many, number=50), workers=4, length=60),
    "50 tensors, prefetch 4": Configuration(partial(many, number=50), prefetch=4, length=60),
    "50 tensors, own collate": Configuration(
        partial(many, number=50), settings=_own(own_default), hangs=True
    ),
    "50 tensors, two kept": Configuration(partial(many, number=50), hold=2, length=48),
    "50 tensors, two epochs": Configuration(partial(many, number=50), epochs=2),
    "50 tensors, fetched ahead": Configuration(
        partial(many, number=50), is_slow=False, fetches_ahead=True
    ),
    "fast": Configuration(is_slow=False),
    "fast, fetched ahead": Configuration(is_slow=False, fetches_ahead=True),
    "fast, eight workers": Configuration(is_slow=False, fetches_ahead=True, workers=8, length=96),
    "fast, own collate": Configuration(
        is_slow=False, fetches_ahead=True, settings=_own(stacked), hangs=True
    ),
    "fast, two epochs": Configuration(is_slow=False, fetches_ahead=True, epochs=2),
}


def __getattr__(name: str) -> Any:
    """`configurations.py:c7` is a function that makes the loader of the eighth."""
    if name[:1] == "c" and name[1:].isdigit():
        return ALL[list(ALL)[int(name[1:])]].loaders
    raise AttributeError(name)
