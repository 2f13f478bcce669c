"""Weights that a quantised module keeps packed, where no parameter can be found.

`torch.ao.nn.quantized` keeps them in objects of its own; a module of it can unpack them.
Seen in torch 2.0 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

_HOMES = ("torch.ao.nn.", "torch.nn.quantized.", "torch.nn.intrinsic.quantized.")


def packed_weights(module: nn.Module) -> dict[str, tuple[torch.Tensor, int]]:
    """By name: a copy of the weight, and the number of elements it stands for."""
    if not type(module).__module__.startswith(_HOMES):
        return {}
    found = {}
    for name, tensor in _unpacked(module):
        if isinstance(tensor, torch.Tensor) and name not in (*module._parameters, *module._buffers):
            found[name] = (tensor, int(tensor.numel()))
    return found


def _unpacked(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for getter in ("get_weight", "get_bias"):  # recurrent ones
        named = _ask(getattr(module, getter, None))
        if isinstance(named, Mapping):
            yield from named.items()
    for name in ("weight", "bias"):
        yield name, _ask(getattr(module, name, None))


def _ask(method: Callable[[], Any] | Any) -> Any:
    if not callable(method) or isinstance(method, torch.Tensor):
        return None
    try:
        return method()
    except Exception:  # noqa: BLE001 - a module that has nothing packed yet refuses in its own way
        return None
