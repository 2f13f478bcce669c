"""Whether train mode makes a difference to what a forward keeps, read without running it."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout
)  # fmt: skip


def acts_otherwise(model: nn.Module) -> bool:
    """Whether a forward in train mode may run other operations, or keep other tensors, than in eval.

    Batch norms do not count: all that they keep more is a mean and a variance for each channel.
    """
    modules = list(model.modules())
    return any(_has_chance(it) for it in modules) or any(map(_asks_for_it, set(map(type, modules))))


def _has_chance(module: nn.Module) -> bool:
    if isinstance(module, _DROPOUTS):
        return module.p > 0
    if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)):
        return module.dropout > 0
    return isinstance(module, (nn.RReLU, torch.jit.ScriptModule))


def _asks_for_it(kind: type) -> bool:
    """A class that is not torch's own, and whose code reads `training` or changes `train`."""
    for one in kind.__mro__:
        if one.__module__.startswith("torch.nn."):
            return False
        if "train" in vars(one) or "eval" in vars(one):
            return True
        if any("training" in names for names in _names(vars(one).values())):
            return True
    return False


def _names(values: Any) -> Iterator[tuple[str, ...]]:
    """The names that the code of functions uses, of those inside them too."""
    for value in values:
        if isinstance(value, FunctionType):
            yield from _names([value.__code__])
        elif isinstance(value, CodeType):
            yield value.co_names
            yield from _names(value.co_consts)
