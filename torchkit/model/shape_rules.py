"""Shapes of results, where torch's own rule for shapes refuses what its kernels take.

Seen in torch 2.8 to 2.13: the rule of `_grouped_mm`, which mixtures of experts are made of, takes
bfloat16 alone; the kernels take float32 and float16 too
(https://github.com/pytorch/pytorch/blob/main/torch/_meta_registrations.py
`_meta_grouped_mm_common`, aten/src/ATen/native/GroupedMMUtils.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_TAKEN = (torch.float32, torch.float16, torch.bfloat16)


def result_of(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """What an operation on fake tensors gives that torch has refused; None where it is right."""
    if name == "aten::_grouped_mm" and type(args[0]).__name__ == "FakeTensor":
        return _grouped(*args, **kwargs)
    return None


def _grouped(
    a: torch.Tensor,
    b: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor | None:
    """2-d is what is cut into groups: rows of `a`, columns of `b`, or both along what they share."""
    is_ragged = a.dim() == 2 or b.dim() == 2
    fits = (
        a.dtype == b.dtype
        and a.dtype in _TAKEN
        and {a.dim(), b.dim()} <= {2, 3}
        and a.shape[-1] == b.shape[-2]
        and (offs is not None) == is_ragged
        and bias is None
    )
    if not fits:
        return None
    rows, columns = a.shape[-2], b.shape[-1]
    shape: tuple[int, ...] = (rows, columns)
    if a.dim() == b.dim():
        groups = a.shape[0] if offs is None else offs.shape[0]
        shape = (groups, rows, columns)
    return a.new_empty(shape, dtype=out_dtype or a.dtype)
