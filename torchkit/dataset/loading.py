"""From "data.py:dataset" to the DataLoader that is to be judged. For the child: it runs the user's code."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    default_collate,
)

from torchkit.dataset.predict import DEFAULT_PREFETCH, DEFAULT_WORKERS
from torchkit.errors import BadTarget
from torchkit.model.target import call, find


class Wish(NamedTuple):
    """What the command line says of the DataLoader; None leaves it as it is, or as torch has it."""

    batch_size: int | None = None
    workers: int | None = None
    prefetch: int | None = None
    pin_memory: bool = False


class Picked(NamedTuple):
    """What is looked at of what was named, and what was left out: `the first of 2 (…)`, or ""."""

    data: Any
    of_several: str = ""


_SUITED = "a Dataset or a DataLoader is needed, or something that returns one"


def loader_of(target: str, wish: Wish) -> tuple[DataLoader[Any], str]:
    """The DataLoader that the target names, or one made of its dataset; what `Picked` says of it.

    Raises BadTarget.
    """
    found = find(target)
    there = found.object
    if isinstance(there, torch.nn.Module):
        raise BadTarget(
            f"{found.where}:{found.name} is a {type(there).__name__}, a model; {_SUITED}",
            hint=f"write the target as {found.where}:NAME of one",
        )
    if isinstance(there, type) or not _is_data(there):
        there = call(found, wanted="Dataset or DataLoader")
    there, of_several = picked(there)
    if not _is_data(there):
        raise BadTarget(
            f"{found.where}:{found.name} gives {_kind(there)}; {_SUITED}",
            hint=f"write the target as {found.where}:NAME of one",
        )
    return loader_from(there, wish, f"{found.where}:{found.name}"), of_several


def loader_from(data: Any, wish: Wish, name: str) -> DataLoader[Any]:
    """This DataLoader as wished, or one made of this dataset. Raises BadTarget."""
    return _with_wish(data, wish) if isinstance(data, DataLoader) else _made_of(data, wish, name)


def _is_data(there: Any) -> bool:
    return isinstance(there, (DataLoader, Dataset)) or (
        not isinstance(there, (type, str, bytes))
        and (hasattr(there, "__getitem__") or hasattr(there, "__iter__"))
        and not callable(there)
    )


def picked(there: Any) -> Picked:
    """The first of several: `train, test = loaders()`. What holds none is handed back."""
    if not isinstance(there, (tuple, list, Mapping)):
        return Picked(there)
    named: Any = there.items() if isinstance(there, Mapping) else enumerate(there)
    suited = [(name, it) for name, it in named if isinstance(it, (DataLoader, Dataset))]
    if not suited:
        return Picked(there)
    name, first = suited[0]
    if len(suited) == 1:
        return Picked(first)
    which = f"{name!r}, the first" if isinstance(there, Mapping) else "the first"
    return Picked(first, f"{which} of {len(suited)}")


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _made_of(dataset: Any, wish: Wish, name: str) -> DataLoader[Any]:
    workers = DEFAULT_WORKERS if wish.workers is None else wish.workers
    try:
        loader = DataLoader(dataset, batch_size=wish.batch_size or 1)
    except Exception as error:  # a sampler asks the dataset for its length
        raise BadTarget(
            f"no DataLoader can be made of {name}: {type(error).__name__}: {error}",
            hint="name a function that returns the DataLoader as the training makes it",
        ) from error
    # torch warns of many workers where a loader is made with them; here none is started
    return changed(loader, workers=workers, prefetch=wish.prefetch, pin_memory=wish.pin_memory)


def _with_wish(loader: DataLoader[Any], wish: Wish) -> DataLoader[Any]:
    """The loader itself; where options say otherwise, a new one with all else the same."""
    if wish.batch_size is not None and wish.batch_size != loader.batch_size:
        loader = _with_batch_size(loader, wish.batch_size)
    pins = wish.pin_memory or loader.pin_memory
    return changed(loader, workers=wish.workers, prefetch=wish.prefetch, pin_memory=pins)


def changed(
    loader: DataLoader[Any],
    *,
    workers: int | None = None,
    prefetch: int | None = None,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """A copy, also of a class of the user's own, with other workers; None leaves them."""
    other = copy.copy(loader)
    workers = loader.num_workers if workers is None else workers
    settings: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": pin_memory,
        "prefetch_factor": (prefetch or loader.prefetch_factor or DEFAULT_PREFETCH)
        if workers
        else None,
        "timeout": loader.timeout if workers else 0,
        "persistent_workers": bool(workers) and loader.persistent_workers,
        "_iterator": None,
    }
    vars(other).update(settings)  # DataLoader refuses some of them once it is made
    return other


def _with_batch_size(loader: DataLoader[Any], size: int) -> DataLoader[Any]:
    if loader.batch_size is None and loader.batch_sampler is not None:
        raise BadTarget(
            "--batch-size cannot change a DataLoader that has its own batch_sampler",
            hint="leave --batch-size out",
        )
    alone = loader.batch_size is None
    settings: dict[str, Any] = {
        "batch_size": size,
        "drop_last": loader.drop_last,
        "collate_fn": default_collate if alone else loader.collate_fn,
        "num_workers": loader.num_workers,
        "prefetch_factor": loader.prefetch_factor,
        "persistent_workers": loader.persistent_workers,
        "pin_memory": loader.pin_memory,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "generator": loader.generator,
        "multiprocessing_context": loader.multiprocessing_context,
    }
    if not isinstance(loader.dataset, IterableDataset):
        settings["sampler"] = loader.sampler
    return DataLoader(loader.dataset, **settings)


def start_method(loader: DataLoader[Any]) -> str:
    """How its workers are started: `fork`, `spawn` or `forkserver`."""
    context = loader.multiprocessing_context
    method = context.get_start_method() if context is not None else None
    return str(method or multiprocessing.get_start_method())


def settings_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """What of a DataLoader bears on shared memory, as plain data."""
    try:
        batches: int | None = len(loader)
    except Exception:  # noqa: BLE001 - a user's own __len__, or none
        batches = None
    if batches is not None and isinstance(loader.dataset, IterableDataset):
        batches *= max(1, loader.num_workers)  # each worker may go through all of it
    strategy = torch.multiprocessing.get_sharing_strategy()  # type: ignore[no-untyped-call]
    return {
        "workers": loader.num_workers,
        "prefetch": loader.prefetch_factor or DEFAULT_PREFETCH,
        "batch_size": loader.batch_size or getattr(loader.batch_sampler, "batch_size", None),
        "batches": batches,
        "pin_memory": bool(loader.pin_memory),
        "has_accelerator": _has_accelerator(),
        "persistent_workers": bool(loader.persistent_workers),
        "start_method": start_method(loader),
        "strategy": strategy,
        "last_size": _last_size(loader),
        "own_collate": loader.collate_fn is not default_collate,
        "timeout_s": loader.timeout,
        "torch_version": torch.__version__,
        "dataset": type(loader.dataset).__name__,
    }


def _last_size(loader: DataLoader[Any]) -> int | None:
    """Samples in the last batch of an epoch, where it is shorter than the others."""
    sampler: Any = loader.batch_sampler
    if type(sampler) is not BatchSampler or sampler.drop_last:
        return None
    try:
        return len(sampler.sampler) % sampler.batch_size or None  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a user's own __len__, or none
        return None


def _has_accelerator() -> bool:
    """Whether torch would really pin: `torch.accelerator` is there since 2.6."""
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is not None:
        return bool(accelerator.is_available())
    return bool(torch.cuda.is_available())
