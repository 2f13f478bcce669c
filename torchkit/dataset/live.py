"""A DataLoader that is there already: some batches made in this process, which stays as it was.

No worker is started and no child. What random numbers come next, and what the loader's next epoch
gives, is not changed by the look. Imports torch.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from torchkit.dataset.guard import Ended
from torchkit.dataset.loading import Wish, loader_from, picked, settings_of
from torchkit.dataset.look import Look, look_from
from torchkit.dataset.trial import Answers, tell_sizes
from torchkit.errors import BadInput


class _Kept(Answers):
    """Answers that stay here, in place of a way to a parent."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    def say(self, stage: str, **values: Any) -> None:
        self.answers.append({"stage": stage, **values})


def look(data: Any, wish: Wish) -> Look:
    """Some batches of a DataLoader, or of one made of a dataset. Raises BadInput for what is neither.

    Of several, a tuple of loaders, the first is looked at. A dataset that can be gone through only once, an iterator, loses what is looked at.
    """
    data, of_several = picked(data)
    is_dataset = isinstance(data, Dataset) or (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (str, bytes, dict, torch.Tensor, type))
    )
    if not isinstance(data, DataLoader) and not is_dataset:
        raise BadInput(
            f"a DataLoader or a Dataset is needed, and this is {_kind(data)}",
            hint="torchkit.shm_check(loader), or torchkit.shm_check(dataset, batch_size=64, workers=8)",
        )
    name = type(data).__name__
    kept = _Kept()
    with _unchanged(data):
        loader = loader_from(data, wish, name)
        kept.say("settings", **settings_of(loader), of_several=of_several)
        tell_sizes(loader, kept, as_worker=False)
        kept.say("done")
    return look_from(Ended(tuple(kept.answers), 0, ""), name)


def _kind(data: Any) -> str:
    return (
        f"the class {data.__name__}" if isinstance(data, type) else f"of type {type(data).__name__}"
    )


@contextlib.contextmanager
def _unchanged(data: Any) -> Iterator[None]:
    """Every random generator that the batches may draw from is put back."""
    numpy = sys.modules.get("numpy")
    generators = [it for it in _generators(data) if it is not torch.default_generator]
    states = [it.get_state() for it in generators]
    has_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if has_cuda else None
    cpu, python = torch.get_rng_state(), random.getstate()
    array = numpy.random.get_state() if numpy is not None else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        random.setstate(python)
        if numpy is not None and array is not None:
            numpy.random.set_state(array)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _generators(data: Any) -> Iterator[torch.Generator]:
    """Those of the loader, of its samplers, and of the dataset."""
    samplers = (getattr(data, "sampler", None), getattr(data, "batch_sampler", None))
    inner = getattr(samplers[1], "sampler", None)
    for holder in (data, *samplers, inner, getattr(data, "dataset", None)):
        found = getattr(holder, "generator", None)
        if isinstance(found, torch.Generator):
            yield found
