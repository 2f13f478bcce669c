"""Builds a model without its large weights, so that neither its size nor its start values cost.

The first elements are made as always; large tensors that are made after that have a shape and no
memory (device `meta`). What must have memory later gets `blank` memory: zeros that no physical
page is spent on until something is written there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from torchkit.errors import TorchkitError
from torchkit.model.memory_pages import untouched

REAL_ELEMENTS = 1_000_000
"""So many elements are made with their own start values; 4 MB in float32."""

MOST_REAL_ELEMENTS = 300_000_000
"""A model of more is not built in memory unless that is asked for; 1.2 GB, some 3 s."""

SMALL_ELEMENTS = 65_536
"""A tensor of fewer elements is always made: biases, statistics of a norm, frequencies."""

_FACTORIES = ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "eye")
"""What makes a tensor from sizes; the rest works from values that are already there."""

_FILLS = frozenset(
    {"uniform_", "normal_", "zero_", "fill_", "random_", "bernoulli_", "exponential_", "clamp_",
     "erfinv_", "copy_", "trunc_normal_", "constant_", "ones_", "zeros_", "kaiming_uniform_",
     "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_", "sparse_", "eye_",
     "dirac_"}
)  # fmt: skip
"""Of a tensor without memory these change nothing, so they are not run."""


class Built:
    """A model, and whether some of its tensors have no memory."""

    def __init__(self, model: nn.Module, *, is_whole: bool) -> None:
        self.model = model
        self.is_whole = is_whole


def build(make: Callable[[], nn.Module], *, real_elements: int = REAL_ELEMENTS) -> Built:
    """Call `make` with at most `real_elements` in memory; for real where that cannot work.

    An exception of the user's constructor goes through, once it has been met in a real build too.
    """
    saving = _Saving(real_elements)
    states = torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(no-op|from a non-meta parameter).*")
            with saving:
                model = make()
    except Exception as error:
        if not saving.has_saved:
            raise
        if saving.elements > MOST_REAL_ELEMENTS:
            raise TorchkitError(
                f"the model has {saving.elements:,} elements or more, and it cannot be built without memory for them: {error}",
                hint="build a smaller one of the same kind, or give --run to build it in memory",
            ) from error
        torch.set_rng_state(states)
        return Built(make(), is_whole=True)
    return Built(model, is_whole=not saving.has_saved)


class _Saving(TorchFunctionMode):
    """Makes large tensors without memory once enough elements have been made."""

    def __init__(self, real_elements: int) -> None:
        super().__init__()
        self.left = real_elements
        self.has_saved = False
        self.elements = 0
        self.factories = {getattr(torch, name) for name in _FACTORIES}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.factories:
            return self._made(func, args, kwargs)
        if getattr(func, "__name__", "") == "clone" and self.left == 0:
            return self._copied(func, args, kwargs)
        if self.has_saved:
            first = args[0] if args else kwargs.get("tensor")
            if isinstance(first, torch.Tensor) and first.is_meta:
                name = getattr(func, "__name__", "")
                if name in _FILLS:
                    return first
                if name in ("to", "cpu"):
                    args, kwargs = _without_device(args, kwargs)
                    return (
                        first
                        if name == "cpu" or not (args[1:] or kwargs)
                        else func(*args, **kwargs)
                    )
        return func(*args, **kwargs)

    def _made(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        count = _count(func.__name__, args, kwargs)
        self.elements += count
        is_free = kwargs.get("device") is None and kwargs.get("out") is None
        if not is_free or count < SMALL_ELEMENTS:
            return func(*args, **kwargs)
        if count <= self.left:
            self.left -= count
            return func(*args, **kwargs)
        self.left = 0  # a smaller one that would still fit would leave a hole in the middle
        self.has_saved = True
        kwargs = {key: value for key, value in kwargs.items() if key != "generator"}
        return func(*args, **{**kwargs, "device": "meta"})

    def _copied(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A layer that is copied, as nn.TransformerEncoder does it, is made without memory too."""
        tensor = args[0]
        if tensor.device.type != "cpu" or tensor.numel() < SMALL_ELEMENTS or tensor.is_sparse:
            return func(*args, **kwargs)
        self.elements += tensor.numel()
        self.has_saved = True
        return torch.empty_like(tensor, device="meta")


def _count(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    try:
        return prod(int(size) for size in _sizes(name, args, kwargs))
    except (TypeError, ValueError):
        return 0


def _sizes(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[int]:
    if name == "eye":
        return [args[0], args[1] if len(args) > 1 and isinstance(args[1], int) else args[0]]
    if name == "randint":
        found = kwargs.get("size", next((it for it in args if isinstance(it, (tuple, list))), ()))
        return list(found)
    given = kwargs.get("size", args)
    if len(given) and isinstance(given[0], (tuple, list)):
        given = given[0]
    return list(given)


def _without_device(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `Tensor.to` was asked beside moving; a tensor without memory cannot be moved."""
    kept = tuple(it for it in args[1:] if isinstance(it, torch.dtype))
    named = {key: value for key, value in kwargs.items() if key == "dtype" and value is not None}
    return (args[0], *kept), named


# --- memory for tensors that have none


def blank(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros of the same shape and type, in memory that takes nothing until it is written to."""
    if not tensor.numel():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    count = 1 + sum((int(size) - 1) * int(step) for size, step in steps)
    memory = untouched(count * tensor.element_size())
    flat = torch.frombuffer(memory, dtype=tensor.dtype, count=count)
    return (
        flat.view(tensor.shape)
        if tensor.is_contiguous()
        else flat.as_strided(tensor.shape, tensor.stride())
    )


def replaced(
    model: nn.Module, change: Callable[[torch.Tensor], torch.Tensor | None]
) -> Callable[[], None]:
    """Put another tensor in the place of every one that the model holds; gives what undoes it.

    Parameters, buffers and plain attributes (lists and dicts of tensors too); one that is held
    in several places has one replacement. `change` gives None for one that is to stay.
    """
    known: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
    undo: list[Callable[[], None]] = []

    def other(tensor: torch.Tensor) -> torch.Tensor | None:
        if id(tensor) not in known:
            new = change(tensor)
            if new is not None and isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
            elif new is not None and new.requires_grad != tensor.requires_grad:
                new.requires_grad_(tensor.requires_grad)
            if new is not None:
                new.__dict__.update(tensor.__dict__)
            known[id(tensor)] = (tensor, new)
        return known[id(tensor)][1]

    def put_back() -> None:
        while undo:
            undo.pop()()

    try:
        for module in model.modules():
            for holder in _holders(module):
                _replace_in(holder, other, undo)
    except BaseException:
        put_back()
        raise
    return put_back


def _holders(module: nn.Module) -> Iterator[Any]:
    """The dicts and lists of a module in which tensors may be; TorchScript's have none of ours."""
    if isinstance(module, torch.jit.ScriptModule):
        return
    yield module._parameters
    yield module._buffers
    yield module.__dict__
    for value in list(module.__dict__.values()):
        if type(value) in (list, dict) and value is not module._parameters:
            yield value


def _replace_in(
    holder: Any,
    other: Callable[[torch.Tensor], torch.Tensor | None],
    undo: list[Callable[[], None]],
) -> None:
    items = list(holder.items() if isinstance(holder, dict) else enumerate(holder))
    for key, value in items:
        if isinstance(value, torch.Tensor):
            new = other(value)
            if new is not None and new is not value:
                holder[key] = new
                undo.append(partial(holder.__setitem__, key, value))


def tensors_held(model: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers and tensors in plain attributes, each as often as it is held."""
    for module in model.modules():
        for holder in _holders(module):
            values = holder.values() if isinstance(holder, dict) else holder
            yield from (it for it in values if isinstance(it, torch.Tensor))
