"""Layers that a model holds in a plain list or dict: they run, but torch does not know them.

They are in no `parameters()` and no `state_dict()`, so they are neither trained, saved nor moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import nn

MOST_ITEMS = 1000
"""Of a list, so many parts are looked at."""

DEEPEST = 3
"""Lists in lists are followed so deep."""


def unregistered(model: nn.Module, has_run: Callable[[torch.Tensor], bool]) -> list[str]:
    """A sentence for each plain list or dict whose layers ran; `has_run` tells it of a parameter."""
    registered = {id(module) for module in model.modules()}
    return [
        f"{_named(ran)} ran that {'is' if len(ran) == 1 else 'are'} not registered, so neither "
        f"counted, trained nor saved: self.{name}{f' in {path}' if path else ''} is a "
        f"{type(held).__name__}, nn.Module{'Dict' if isinstance(held, dict) else 'List'} is needed"
        for path, module in model.named_modules()
        for name, held in list(vars(module).items())
        if isinstance(held, (list, tuple, dict)) and not name.startswith("_")
        if (ran := [it for it in _modules(held) if id(it) not in registered and _ran(it, has_run)])
    ]


def _modules(value: Any, depth: int = 0) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, (list, tuple, dict)) and depth < DEEPEST:
        parts = value.values() if isinstance(value, dict) else value
        for part in list(islice(parts, MOST_ITEMS)):
            yield from _modules(part, depth + 1)


def _ran(module: nn.Module, has_run: Callable[[torch.Tensor], bool]) -> bool:
    return any(has_run(parameter) for parameter in module.parameters())


def _named(modules: list[nn.Module]) -> str:
    kinds = Counter(type(module).__name__ for module in modules)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
