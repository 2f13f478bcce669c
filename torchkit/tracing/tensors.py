"""One line about a tensor: dtype, shape, device, stride, gradient, and what of its values is odd.

Values are only read where that is safe: not of meta or fake tensors, not on a device that has failed,
and not of more elements than can be read in a moment.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any, NamedTuple

MOST_ELEMENTS = 50_000_000
"""Values of larger tensors are not read."""

_INTEGERS_FROM = ("int", "uint")


class Described(NamedTuple):
    """A tensor as plain data. `low` and `high` are the least and greatest value of integer tensors,
    and of others where they were asked for; `nans` and `infs` count them, None where not looked."""

    dtype: str
    shape: tuple[int, ...]
    device: str
    stride: tuple[int, ...] | None = None
    requires_grad: bool = False
    kind: str = ""
    nans: int | None = None
    infs: int | None = None
    low: float | int | None = None
    high: float | int | None = None
    numel: int = 0

    @property
    def text(self) -> str:
        """`float32 [20, 1568] cpu grad stride (1568, 1) nan=6 inf=0 of 30`."""
        parts = [f"{self.dtype} {list(self.shape)}", self.device]
        if self.kind:
            parts.insert(0, self.kind)
        if self.requires_grad:
            parts.append("grad")
        if self.stride is not None:
            parts.append(f"stride {self.stride}")
        if self.nans or self.infs:
            parts.append(f"nan={self.nans} inf={self.infs} of {self.numel}")
        if self.low is not None and self.high is not None:
            parts.append(_range(self.low, self.high))
        return " ".join(parts)


def _range(low: float, high: float) -> str:
    if isinstance(low, int) and isinstance(high, int):
        return f"all {low}" if low == high else f"{low} to {high}"
    return f"{low:.3g} to {high:.3g}"


def torch_module() -> Any:
    """torch, where the script has loaded all of it; else None."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "Tensor") else None


def is_tensor(value: object) -> bool:
    """Whether this is a tensor; never loads torch."""
    torch = torch_module()
    return torch is not None and issubclass(
        type(value), torch.Tensor
    )  # `__class__` may be a property


def describe(tensor: Any, *, values: bool = True, ranges: bool = False) -> Described:
    """A tensor as plain data. Reads values only where that is safe; raises nothing.

    `ranges` asks for the least and greatest value of floating tensors as well.
    """
    try:
        return _described(tensor, values=values, ranges=ranges)
    except Exception as error:  # noqa: BLE001 - a broken tensor subclass of the user's
        return Described("?", (), f"({type(error).__name__} when it was looked at)")


def _described(tensor: Any, *, values: bool, ranges: bool) -> Described:
    torch = torch_module()
    with aside(torch):
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = tuple(int(size) for size in tensor.shape)
        device = str(tensor.device)
        kind = _kind(tensor)
        is_strided = tensor.layout is torch.strided and not tensor.is_nested
        stride = None
        if is_strided and not tensor.is_contiguous():
            stride = tuple(int(step) for step in tensor.stride())
        plain = Described(
            dtype, shape, device, stride, bool(tensor.requires_grad), kind, numel=math.prod(shape)
        )
        if not values or not _may_read(torch, tensor, plain):
            return plain
        return plain._replace(**_values(torch, tensor.detach(), dtype, ranges=ranges))


class _Aside:
    """While we look at tensors, modes of the user's see nothing of it, and no gradient is kept."""

    def __init__(self, torch: Any) -> None:
        self.guards: list[Any] = []
        self.torch = torch

    def __enter__(self) -> None:
        torch = self.torch
        guards: list[Any] = []
        disable = getattr(torch._C, "DisableTorchFunction", None)  # seen in 1.7 to 2.15
        if disable is not None:
            guards.append(disable)
        try:
            from torch.utils._python_dispatch import _disable_current_modes

            guards.append(_disable_current_modes)  # seen in 2.0 to 2.15
        except ImportError:
            pass
        self.guards = []
        for make in (*guards, torch.no_grad):  # the first hides the making of the others
            guard = make()
            guard.__enter__()
            self.guards.append(guard)

    def __exit__(self, *_: object) -> None:
        for guard in reversed(self.guards):
            guard.__exit__(None, None, None)


def aside(torch: Any) -> _Aside:
    """What is done to tensors within it is seen by no mode, and keeps no gradient."""
    return _Aside(torch)


def _kind(tensor: Any) -> str:
    """What a tensor is that is no plain one: "Parameter", "sparse_coo", a subclass's name."""
    name = type(tensor).__name__
    if name in ("Tensor", "Parameter"):
        name = ""
    layout = str(tensor.layout).removeprefix("torch.")
    return layout if layout != "strided" and not name else name


def _may_read(torch: Any, tensor: Any, plain: Described) -> bool:
    if plain.numel == 0 or plain.numel > MOST_ELEMENTS or plain.device.startswith("meta"):
        return False
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
        return False
    if type(tensor).__name__ in ("FakeTensor", "FunctionalTensor", "DTensor") or hasattr(
        tensor, "__tensor_flatten__"
    ):
        return False
    if not _has_memory(tensor):
        return False
    functorch = getattr(torch._C, "_functorch", None)  # seen in 2.0 to 2.15
    is_wrapped = getattr(functorch, "is_functorch_wrapped_tensor", None)
    return not (is_wrapped is not None and is_wrapped(tensor)) and not device_failed()


def _has_memory(tensor: Any) -> bool:
    """Whether its elements lie within its storage: FSDP gives storages back by `resize_(0)`."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((size - 1) * step for size, step in pairs)
    storage = tensor.untyped_storage()
    return bool(storage.data_ptr() != 0 and (last + 1) * tensor.element_size() <= storage.nbytes())


_failed = False


def note_device_failure(message: str) -> None:
    """After an error of a kernel nothing of that device can be read any more."""
    global _failed  # noqa: PLW0603 - what has happened to the process
    _failed = _failed or "device-side assert" in message or "illegal memory access" in message


def device_failed() -> bool:
    """Whether an error of a kernel was seen."""
    return _failed


def _values(torch: Any, tensor: Any, dtype: str, *, ranges: bool) -> dict[str, Any]:
    if dtype.startswith("complex"):
        tensor = torch.view_as_real(tensor.resolve_conj())
    elif dtype.startswith("float8"):
        tensor = tensor.to(torch.float32)
    if tensor.is_floating_point():
        nans = int(torch.isnan(tensor).sum())
        infs = int(torch.isinf(tensor).sum())
        found: dict[str, Any] = {"nans": nans, "infs": infs}
        if ranges and nans == 0 and not dtype.startswith("complex"):
            found |= {"low": float(tensor.min()), "high": float(tensor.max())}
        return found
    if dtype == "bool" or dtype.startswith(_INTEGERS_FROM):
        if dtype == "bool":
            return {}
        wide = tensor.to(torch.int64) if dtype in ("uint16", "uint32", "uint64") else tensor
        return {"low": int(wide.min()), "high": int(wide.max())}
    return {}


def tensors_within(value: object, *, most: int = 12) -> list[tuple[str, Any]]:
    """Tensors in a value with how they are reached: "", "[0]", "['ids']", ".hidden"; some levels deep.

    Looks at what is stored alone: no method and no property of the user's is called.
    """
    found: list[tuple[str, Any]] = []
    _gather(value, "", found, most, 0)
    return found


def _gather(value: Any, path: str, found: list[tuple[str, Any]], most: int, depth: int) -> None:
    if len(found) >= most or depth > 3:
        return
    kind = type(value)
    if is_tensor(value):
        found.append((path, value))
    elif issubclass(kind, dict):
        for key, item in list(itertools.islice(dict.items(value), LARGEST)):
            if type(key) in (str, int):
                _gather(item, f"{path}[{key!r}]", found, most, depth + 1)
    elif issubclass(kind, (list, tuple)):
        base = list if issubclass(kind, list) else tuple
        names = kind.__dict__.get("_fields") if base is tuple else None
        for number, item in enumerate(itertools.islice(base.__iter__(value), LARGEST)):
            step = f".{names[number]}" if names and number < len(names) else f"[{number}]"
            _gather(item, f"{path}{step}", found, most, depth + 1)
    elif depth < 2 and _is_record(kind):
        for name, item in list(itertools.islice(stored_in(value).items(), LARGEST)):
            if type(name) is str and not name.startswith("_"):
                _gather(item, f"{path}.{name}", found, most, depth + 2)


LARGEST = 200
"""So many items of a list, a dictionary or an object are looked through for tensors."""


def _is_record(kind: type) -> bool:
    """Whether it is of a plain class whose attributes may be tensors: a batch, a config, no module."""
    home = kind.__dict__.get("__module__", "")
    if type(home) is not str or home.partition(".")[0] in _NO_RECORDS:
        return False
    torch = torch_module()
    nn = getattr(torch, "nn", None)
    return nn is None or not issubclass(kind, (nn.Module, type))


_NO_RECORDS = ("builtins", "torch", "numpy", "types", "typing", "functools", "_io", "collections")


def stored_in(value: object) -> dict[Any, Any]:
    """The attributes that an object keeps itself, without asking it."""
    try:
        stored = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return stored if type(stored) is dict else {}
