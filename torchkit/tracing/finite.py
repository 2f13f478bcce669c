"""Whether a tensor holds NaN or Inf: one sum, and a closer look only where that is not finite.

Read are values of floating, complex and float8 tensors, and those of sparse ones; not of meta or
fake tensors, of quantised or nested ones, nor after the device has failed.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from torchkit.tracing.tensors import Described, describe


class Odd(NamedTuple):
    """What is odd in a tensor."""

    nan: bool
    inf: bool


FINE = Odd(nan=False, inf=False)

_NARROW = (torch.float16, torch.bfloat16)
_TINY = tuple(getattr(torch, it) for it in dir(torch) if it.startswith("float8_"))
_SPARSE = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def floats(value: Any) -> Sequence[Any]:
    """Floating tensors whose values may be read, in what an operation is given or gives."""
    if isinstance(value, torch.Tensor):
        return (value,) if _may_read(value) else ()
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return ()
    found: list[Any] = []
    for item in value:
        if isinstance(item, torch.Tensor):
            if _may_read(item):
                found.append(item)
        elif isinstance(item, (list, tuple, Mapping)):
            found += floats(item)
    return found


def _may_read(tensor: Any) -> bool:
    dtype = tensor.dtype
    if not (dtype.is_floating_point or dtype.is_complex) or tensor.is_meta:
        return False
    kind = type(tensor)
    if kind is not torch.Tensor and kind is not torch.nn.Parameter and is_wrapper(kind):
        return False
    if tensor.is_nested:
        return False
    return tensor.layout is not torch.strided or tensor.numel() > 0


_wrappers: dict[type, bool] = {torch.Tensor: False, torch.nn.Parameter: False}


def is_wrapper(kind: type) -> bool:
    """Whether tensors of this class keep their values elsewhere, or compute in their own way."""
    known = _wrappers.get(kind)
    if known is None:
        own = getattr(kind, "__torch_dispatch__", None)
        is_plain = own in (_plain_dispatch, torch.Tensor.__torch_dispatch__)
        known = _wrappers[kind] = not is_plain or hasattr(kind, "__tensor_flatten__")
    return known


def has_wrapper(kinds: Sequence[type]) -> bool:
    """Whether one of these classes is such."""
    for it in kinds:  # noqa: SIM110 - at every operation, where a generator costs more
        if _wrappers.get(it) is not False and is_wrapper(it):
            return True
    return False


_plain_dispatch: Any = getattr(torch._C, "_disabled_torch_dispatch_impl", None)  # 1.12 to 2.15


def is_finite(tensor: Any) -> bool:
    """Whether no element is NaN or Inf; True also where it cannot be told."""
    try:
        dtype = tensor.dtype
        if dtype.is_complex:
            return cmath.isfinite(_plain(tensor).sum().item()) or look(tensor) == FINE
        if dtype in _NARROW:
            total = tensor.sum(dtype=torch.float32).item()
        elif dtype in _TINY or tensor.layout is not torch.strided:
            total = _plain(tensor).sum().item()
        else:
            total = tensor.sum().item()
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return True  # no sum of this kind of tensor
    return math.isfinite(total) or look(tensor) == FINE  # a sum may overflow


def look(tensor: Any) -> Odd:
    """What is odd in a tensor, exactly."""
    try:
        plain = _plain(tensor)
        return Odd(bool(torch.isnan(plain).any()), bool(torch.isinf(plain).any()))
    except (RuntimeError, NotImplementedError, TypeError):
        return FINE


def _plain(tensor: Any) -> Any:
    """Its values as a strided tensor that torch can compute with."""
    if tensor.layout is torch.sparse_coo:
        tensor = tensor._values()
    elif tensor.layout in _SPARSE:
        tensor = tensor.values()
    if tensor.dtype.is_complex:
        return tensor.resolve_conj()
    return tensor.to(torch.float32) if tensor.dtype in _TINY else tensor


def described(tensor: Any) -> Described:
    """A tensor with its least and greatest finite value."""
    seen = describe(tensor)
    try:
        plain = _plain(tensor)
        if plain.dtype.is_complex:
            return seen
        whole = plain.to(torch.float64)
        finite = whole[torch.isfinite(whole)]
        if finite.numel():
            return seen._replace(low=float(finite.min()), high=float(finite.max()))
    except (RuntimeError, NotImplementedError, TypeError):
        pass
    return seen


def first_odd(tensor: Any, *, nan: bool) -> tuple[int, ...] | None:
    """The index of the first NaN, or Inf; None where there is none."""
    try:
        plain = _plain(tensor)
        found = (torch.isnan(plain) if nan else torch.isinf(plain)).nonzero()
        return tuple(int(it) for it in found[0]) if len(found) else None
    except (RuntimeError, NotImplementedError, TypeError):
        return None


def value_at(tensor: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> float | None:
    """The element that stands at an index when the tensor is broadcast to a shape."""
    if tensor.layout is not torch.strided:
        return None
    try:
        plain = _plain(tensor)
        if plain.dtype.is_complex:
            return None
        return float(plain.expand(shape)[index])
    except (RuntimeError, NotImplementedError, TypeError, IndexError):
        return None


# --- numbers that were written down


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)


def has_odd_number(value: Any) -> bool:
    """Whether NaN or Inf is among the plain numbers an operation is given."""
    return any(not math.isfinite(number) for number in _numbers(value))


def has_nan_number(value: Any) -> bool:
    """Whether NaN is among them."""
    return any(math.isnan(number) for number in _numbers(value))
