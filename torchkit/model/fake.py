"""Runs a model on shapes alone: its tensors are exchanged for fake ones, which compute nothing.

The first import of torch's fake tensors takes more than a second; nothing here is imported for a
model that runs for real.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from torchkit.model.build import replaced


class CannotFakeError(Exception):
    """The model holds tensors that have no fake kind: quantised, sparse, uninitialised ones."""


@contextmanager
def faked(model: nn.Module, device: str = "cpu") -> Iterator[Any]:
    """The model with fake parameters and buffers, inside the mode that runs them; yields the mode.

    Afterwards it has its own again. A model that was made of fake tensors keeps them.
    """
    # private in every version from 2.0 to 2.13, where it was seen
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    held = [*model.parameters(), *model.buffers()]
    mode = next((it.fake_mode for it in held if isinstance(it, FakeTensor)), None)
    mode = mode or FakeTensorMode(allow_non_fake_inputs=True)
    own = {id(it) for it in held}

    def fake(tensor: torch.Tensor) -> torch.Tensor | None:
        if isinstance(tensor, FakeTensor) or (id(tensor) not in own and not tensor.is_meta):
            return None
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
            raise CannotFakeError(f"a {tensor.layout} tensor has no fake kind")
        where = device if tensor.is_meta else tensor.device
        with mode:
            return torch.empty_strided(
                tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=where
            )

    put_back = replaced(model, fake)
    log = logging.getLogger("torch._subclasses.fake_tensor")
    was_disabled, log.disabled = log.disabled, True  # it prints what is raised, with its traceback
    try:
        with mode:
            yield mode
    finally:
        log.disabled = was_disabled
        put_back()


def fake_inputs(mode: Any, value: Any, device: str = "cpu") -> Any:
    """Tensors as fake ones in tuples, lists and dicts; in other containers they stay as they are.

    Those on meta are fake ones on `device`. The mode takes real ones too; only what shares memory
    with them is then not known.
    """
    if isinstance(value, torch.Tensor):
        return _fake(mode, value, device)
    if type(value) in (tuple, list):
        return type(value)(fake_inputs(mode, part, device) for part in value)
    if type(value) is dict:
        return {key: fake_inputs(mode, part, device) for key, part in value.items()}
    return value


def _fake(mode: Any, tensor: torch.Tensor, device: str) -> torch.Tensor:
    if tensor.is_meta:
        return torch.empty_strided(
            tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=device
        )
    try:
        fake: torch.Tensor = mode.from_tensor(tensor)
    except Exception:  # noqa: BLE001 - sparse, quantised, nested: each version refuses others
        return tensor
    return fake
