"""What Python users hand over: a live model, and its inputs as tensors or as shapes.

Checked here, so that a slip is told in two lines instead of somewhere inside torch.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from torchkit.errors import BadInput
from torchkit.model.devices import device_of as known_device
from torchkit.model.inputs import MOST_ELEMENTS, Inputs, Spec

SHAPE = "give the shape of one input without its batch, (3, 224, 224), or tensors: args=(x,)"


class Given(NamedTuple):
    """Inputs as they are, or shapes to make them of; neither where nothing was given."""

    inputs: Inputs | None
    specs: tuple[Spec, ...] = ()


def need_model(model: Any) -> nn.Module:
    """The model itself. Raises BadInput for whatever is no instance of nn.Module."""
    if isinstance(model, nn.Module):
        if not hasattr(model, "_parameters"):
            raise BadInput(
                f"{type(model).__name__}.__init__ does not call super().__init__()",
                hint="make that its first line",
            )
        return model
    if isinstance(model, type):
        raise BadInput(
            f"{model.__name__} is a class, a model made of it is needed",
            hint=f"torchkit.summary({model.__name__}(…), …)",
        )
    if isinstance(model, str):
        raise BadInput(
            f"{_short(model)} is a text, a torch.nn.Module is needed",
            hint="on the command line a text names it: torchkit summary model.py:Net",
        )
    hint = "give the model itself"
    if isinstance(model, Mapping):
        hint = "load the weights into a model and give that; a file: torchkit summary weights.pt"
    elif hasattr(model, "module") and type(model).__name__ == "ExportedProgram":
        hint = "give program.module() instead of the exported program"
    elif callable(model):
        hint = "give the model that it returns"
    raise BadInput(f"a torch.nn.Module is needed, not {_kind(model)}", hint=hint)


def given(input_size: Any, args: Any, kwargs: Any) -> Given:
    """What the forward is to be given. Raises BadInput for what is no input."""
    if kwargs is not None and not (
        isinstance(kwargs, Mapping) and all(isinstance(name, str) for name in kwargs)
    ):
        raise BadInput(
            f"kwargs is {_kind(kwargs)}, a dictionary of inputs by name is needed",
            hint='kwargs={"ids": ids}',
        )
    if args is not None and (isinstance(args, (str, Mapping)) or not isinstance(args, Iterable)):
        raise BadInput(
            f"args is {_kind(args)}, a tuple of inputs in order is needed", hint="args=(x,)"
        )
    if _holds_tensors(input_size):
        if args is not None:
            raise BadInput("tensors are given twice, in front and in args", hint="leave one out")
        args, input_size = input_size, None
    if input_size is not None and (args is not None or kwargs is not None):
        raise BadInput(
            "both a shape and tensors are given",
            hint="leave the shape out: the tensors have theirs",
        )
    if args is None and kwargs is None:
        return Given(None, tuple(Spec(None, it, None, None) for it in _shapes(input_size)))
    positional = (args,) if isinstance(args, torch.Tensor) else tuple(args or ())
    return Given(Inputs(positional, dict(kwargs or {}), ()))


def device_of(model: nn.Module, asked: Any) -> str:
    """The one asked for, else where the first parameter lies; a meta model is run on the CPU.

    Raises BadInput for a device that there is not.
    """
    if asked is not None:
        return str(known_device(str(asked)))
    first = next(model.parameters(), None)
    device = "cpu" if first is None else str(first.device)
    return "cpu" if device == "meta" else device


def need_count(name: str, value: Any) -> int:
    """A whole number that was given as this argument. Raises BadInput."""
    number = _whole(value)
    if number is None:
        raise BadInput(f"{name} is {_kind(value)}, a whole number is needed", hint=f"{name}=1")
    return number


def names_of(value: Any) -> str:
    """Names in one text with commas, as the command line has them. Raises BadInput."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Iterable):
        raise BadInput(f"columns is {_kind(value)}, names are needed", hint='columns="type,FLOPs"')
    return ",".join(map(str, value))


# --- inputs


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(it, torch.Tensor) for it in value)
    return isinstance(value, torch.Tensor)


def _shapes(input_size: Any) -> list[tuple[int, ...]]:
    """`(1, 28, 28)` is one shape, `[(1, 28, 28), (10,)]` are two."""
    if input_size is None:
        return []
    whole = _whole(input_size)
    if whole is not None:  # Linear's 16 instead of (16,)
        return [_shape((whole,))]
    if isinstance(input_size, Mapping):
        raise BadInput("a dictionary is no shape", hint='inputs by name: kwargs={"ids": ids}')
    if hasattr(input_size, "__array__") and len(getattr(input_size, "shape", ())) > 1:
        raise BadInput(
            f"{_kind(input_size)} is no tensor", hint="torchkit.summary(model, torch.as_tensor(x))"
        )
    if isinstance(input_size, (str, bytes)) or not isinstance(input_size, Iterable):
        raise BadInput(f"{_kind(input_size)} is no shape", hint=SHAPE)
    parts = list(input_size)
    if all(_whole(it) is not None for it in parts):
        return [_shape(parts)]
    for it in parts:
        if isinstance(it, (str, bytes, Mapping)) or not isinstance(it, Iterable):
            raise BadInput(
                f"{_short(input_size)} is no shape: it has {_kind(it)} in it", hint=SHAPE
            )
    return [_shape(list(it)) for it in parts]


def _shape(sizes: Iterable[Any]) -> tuple[int, ...]:
    found, elements = [], 1
    for size in sizes:
        number = _whole(size)
        if number is None or number < 1:
            raise BadInput(
                f"{_short(tuple(sizes))} is no shape: sizes are whole numbers from 1", hint=SHAPE
            )
        found.append(number)
        elements *= number
    if elements > MOST_ELEMENTS:
        raise BadInput(f"{tuple(found)} has more elements than torch can count", hint=SHAPE)
    return tuple(found)


def _whole(value: Any) -> int | None:
    """An int of Python, numpy or the like; None for all else, True and a tensor among it."""
    if isinstance(value, (bool, torch.Tensor)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


# --- words


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    text = _short(value) if isinstance(value, (str, int, float)) else ""
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name}{f' ({text})' if text else ''}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
