"""What one forward may change in a model and around it, put back when it is done.

Tensors are copied at the moment something is about to be written into them, so a model that
writes nothing costs nothing. Nothing here runs a model.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


class Written:
    """Tensors that existed before the run, as they were before something was written into them.

    With `keeps_structure` set, attributes are not put back: a first forward has built layers.
    """

    def __init__(self) -> None:
        self.keeps_structure = False
        self._kept: dict[int, tuple[Any, Any]] = {}

    def about_to_change(self, tensor: torch.Tensor) -> None:
        """Copy the memory of a tensor, once; what has none to copy (fake, sparse) is left."""
        try:
            storage = tensor.untyped_storage()
            if storage.device.type != "meta" and storage._cdata not in self._kept:
                copy = storage.clone()  # type: ignore[no-untyped-call]
                self._kept[storage._cdata] = (storage, copy)
        except (RuntimeError, NotImplementedError, AttributeError, ValueError, TypeError):
            return

    def put_back(self) -> None:
        """Write the copies over what is there now."""
        for storage, copy in self._kept.values():
            if storage.nbytes() != copy.nbytes():
                storage.resize_(copy.nbytes())
            storage.copy_(copy)
        self._kept.clear()


@contextmanager
def as_before(model: nn.Module) -> Iterator[Written]:
    """Leave the model as it was: attributes, structure, gradients, tensors; random numbers too.

    Also after exceptions, Ctrl-C among them. Only lazy modules stay what they became.
    """
    written = Written()
    with ExitStack() as stack:
        stack.callback(written.put_back)
        for put_back in (*_random(), *_modules(model, written), *_gradients(model)):
            stack.callback(put_back)
        yield written


@contextmanager
def random_as_before() -> Iterator[None]:
    """Leave the random numbers of torch, Python and numpy where they were."""
    with ExitStack() as stack:
        for put_back in _random():
            stack.callback(put_back)
        yield


@contextmanager
def in_mode(model: nn.Module, *, train: bool) -> Iterator[None]:
    """Train or eval for a while, by the model's own `train`, then every flag as it was."""
    flags = [(module, module.training) for module in model.modules()]
    was_training = model.training
    try:
        if any(flag != train for _, flag in flags):
            model.train(train)
        yield
    finally:
        if was_training != train:
            model.train(was_training)  # a model's own may undo more than the flag, as LoRA's does
        for module, flag in flags:
            if module.training != flag:
                module.training = flag


def _random() -> Iterator[Callable[[], object]]:
    cpu = torch.get_rng_state()
    yield lambda: torch.set_rng_state(cpu)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        devices = torch.cuda.get_rng_state_all()
        yield lambda: torch.cuda.set_rng_state_all(devices)
    python = random.getstate()
    yield lambda: random.setstate(python)
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        state = numpy.random.get_state()
        yield lambda: numpy.random.set_state(state)


def _gradients(model: nn.Module) -> Iterator[Callable[[], object]]:
    before = [(it, it.grad) for it in model.parameters()]

    def put_back() -> None:
        for parameter, gradient in before:
            if parameter.grad is not gradient:
                parameter.grad = gradient

    yield put_back


def _modules(model: nn.Module, written: Written) -> Iterator[Callable[[], object]]:
    kept = [
        _Attributes(module)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]

    def put_back() -> None:
        for attributes in () if written.keeps_structure else kept:
            attributes.put_back()

    yield put_back


_PLAIN = (list, dict, set, OrderedDict, defaultdict)


class _Attributes:
    """The attributes of one module, and the contents of its plain lists, dicts and sets."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.type = type(module)
        self.attributes = dict(module.__dict__)
        held = [it for it in self.attributes.values() if type(it) in _PLAIN]
        self.empty = [it for it in held if not it]  # most are: no copy of each
        self.contents = [(it, it.copy()) for it in held if it]

    def put_back(self) -> None:
        if type(self.module) is not self.type:  # a lazy module became what it was meant to be
            return
        if not _same(self.module.__dict__, self.attributes):
            self.module.__dict__.clear()
            self.module.__dict__.update(self.attributes)
        for value in self.empty:
            value.clear()
        for value, copy in self.contents:
            _fill(value, copy)


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return len(now) == len(before) and all(
        key in now and now[key] is value for key, value in before.items()
    )


def _fill(value: Any, copy: Any) -> None:
    if isinstance(value, list):
        if len(value) != len(copy) or any(a is not b for a, b in zip(value, copy, strict=True)):
            value[:] = copy
    elif isinstance(value, dict):
        if not _same(value, copy):
            value.clear()
            value.update(copy)
    elif value != copy:
        value.clear()
        value.update(copy)


def grown(model: nn.Module, before: Iterable[nn.Module]) -> list[str]:
    """Paths of modules that the model has now and had not."""
    known = {id(module) for module in before}
    return [path for path, module in model.named_modules() if id(module) not in known]
