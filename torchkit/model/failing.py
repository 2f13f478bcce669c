"""What can be read off a module and an operation that failed, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from torchkit.model.record import Plain
from torchkit.model.tensors import tensors_of

MOST_CAUSES = 5

MOST_LOOKED_AT = 1 << 26
"""Of so many elements the least and the greatest are found in a moment."""

LONGEST = 8
"""A tuple of so many sizes is a setting; longer ones are data."""


def message_of(error: BaseException) -> str:
    """Its text, "" where its own `__str__` raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's own exception may be broken as well
        return ""


def causes_of(error: BaseException) -> tuple[tuple[str, str], ...]:
    """The exceptions it was raised from, or while handling, the nearest first."""
    found: list[tuple[str, str]] = []
    seen = {id(error)}
    while len(found) < MOST_CAUSES:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None or id(before) in seen:
            break
        seen.add(id(before))
        found.append((type(before).__name__, message_of(before)))
        error = before
    return tuple(found)


def kinds_of(module: nn.Module) -> tuple[str, ...]:
    """The names of the classes of torch.nn that it is an instance of, the nearest first."""
    classes = type(module).__mro__
    return tuple(
        it.__name__
        for it in classes
        if it.__module__.startswith("torch.nn.") and it is not nn.Module
    )


def has_forward(module: nn.Module) -> bool:
    """Whether anybody has written a forward for it."""
    own = getattr(type(module), "forward", None)  # TorchScript's class raises
    return own is not nn.Module.forward or "forward" in module.__dict__


def settings_of(module: nn.Module) -> dict[str, Plain]:
    """Its attributes that are numbers, texts or sizes."""
    found: dict[str, Plain] = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        plain = _plain(value)
        if plain is not None or value is None:
            found[name] = plain
    return found


def plain_arguments(given: Any) -> tuple[Plain, ...]:
    """Arguments of an operation, by position and then by keyword, without its tensors."""
    if given is None:
        return ()
    args, kwargs = given
    values = [it for it in (*args, *kwargs.values()) if not isinstance(it, torch.Tensor)]
    return tuple(plain for it in values if (plain := _plain(it)) is not None)


def ranges_of(given: Any) -> Iterator[tuple[torch.Tensor, tuple[int, int]]]:
    """Integer tensors among them, with their least and greatest values, where these can be read."""
    for tensor in tensors_of(given) if given is not None else ():
        if tensor.dtype not in (torch.int64, torch.int32) or type(tensor) is not torch.Tensor:
            continue
        if tensor.device.type != "cpu" or not 0 < tensor.numel() <= MOST_LOOKED_AT:
            continue
        yield tensor, (int(tensor.min()), int(tensor.max()))


def _plain(value: Any) -> Plain:
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and len(value) <= LONGEST:
        sizes = [it for it in value if isinstance(it, int)]
        return tuple(int(it) for it in sizes) if len(sizes) == len(value) else None
    return None
