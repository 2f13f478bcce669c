"""Tensors of a run described as data: which is which, what memory they share, and how much lives.

Everything torch may refuse to say of a tensor (sparse, nested, packed, uninitialised ones) is
asked here, and answered with a plain value. No tensor is kept alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import torch

from torchkit.model.record import Nested, Other, TensorInfo, Value

LONGEST_TEXT = 60
"""Of a value that is no tensor, so many characters are kept."""

LONGEST_ITEMS = 1000
"""Of a container, so many parts are described."""

DEEPEST = 16
"""So deep are containers followed; one that holds itself ends there."""


class Tensors:
    """Numbers for tensors and storages, and how much memory activations take at a time."""

    def __init__(self) -> None:
        self.infos: dict[int, TensorInfo] = {}
        self._numbers: dict[int, tuple[Any, int]] = {}  # id -> a weak reference, the number
        self._storages: dict[int, int] = {}
        self._users: dict[int, int] = {}
        self._roles: dict[int, str] = {}  # storage -> role of the tensor that was seen first
        self._next_storage = 0
        self.live_bytes = 0
        self.peak_bytes = 0
        self.freed_bytes = 0
        self.now = 0  # operations that have run
        self.freed_at: dict[int, int] = {}  # storage -> operations that had run by then

    def role_of(self, tensor: torch.Tensor) -> str | None:
        """What its memory was when it was first seen; None before that."""
        key, _ = storage_of(tensor)
        number = None if key is None else self._storages.get(key)
        return None if number is None else self._roles.get(number)

    def has_seen(self, tensor: torch.Tensor) -> bool:
        """Whether it was described, as every tensor is that an operation was given."""
        known = self._numbers.get(id(tensor))
        return known is not None and known[0]() is tensor

    def of(self, tensor: torch.Tensor, role: str, name: str | None = None) -> TensorInfo:
        """Describe a tensor; `role` counts where neither it nor its memory was seen before.

        One whose shape or memory was changed in place (`transpose_`, `set_`) is another one.
        """
        known = self._numbers.get(id(tensor))
        before = None
        if known is not None and known[0]() is tensor:
            before = self.infos[known[1]]
            if (before.shape, before.stride) == (shape_of(tensor), stride_of(tensor)):
                return before
        number = len(self.infos)
        key, storage_bytes = storage_of(tensor)
        size = bytes_of(tensor)
        storage = self._storage(key)
        info = TensorInfo(
            number=number,
            storage=storage,
            shape=shape_of(tensor),
            dtype=str(tensor.dtype).removeprefix("torch."),
            device=str(tensor.device),
            bytes=size,
            storage_bytes=size if storage_bytes is None else storage_bytes,
            role=self._roles.setdefault(storage, role),
            name=before.name if before is not None and name is None else name,
            requires_grad=bool(tensor.requires_grad),
            stride=stride_of(tensor),
        )
        self.infos[number] = info
        self._watch(tensor, info, key)
        if before is not None:  # its weak reference has just given way to the new one
            self._becomes(before, info)
        return info

    def describe(self, value: Any, role: str = "constant", depth: int = 0) -> Value:
        """A value with every tensor in it described; nothing is rebuilt, nothing kept alive."""
        if isinstance(value, torch.Tensor):
            return self.of(value, role)
        parts = parts_of(value) if depth < DEEPEST else None
        if parts is None:
            text = repr(value) if isinstance(value, (bool, int, float, str, type(None))) else ""
            return Other(type(value).__name__, text[:LONGEST_TEXT])
        described = tuple(
            (key, self.describe(part, role, depth + 1)) for key, part in list(parts)[:LONGEST_ITEMS]
        )
        return Nested(type(value).__name__, described)

    def _storage(self, key: int | None) -> int:
        if key is None or key not in self._storages:
            self._next_storage += 1
            if key is not None:
                self._storages[key] = self._next_storage
            return self._next_storage
        return self._storages[key]

    def _watch(self, tensor: torch.Tensor, info: TensorInfo, key: int | None) -> None:
        """Count its memory as long as any tensor uses it, if it was made during the run."""
        counts = info.role == "activation"
        users = self._users.get(info.storage, 0)
        self._users[info.storage] = users + 1
        if counts and users == 0:
            self.live_bytes += info.storage_bytes
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        identity = id(tensor)

        def gone(_: Any) -> None:
            if self._numbers.get(identity, (None, -1))[1] == info.number:
                del self._numbers[identity]
            self._let_go(info, key)

        self._numbers[identity] = (weakref.ref(tensor, gone), info.number)

    def _becomes(self, before: TensorInfo, now: TensorInfo) -> None:
        """One tensor was changed in place: it uses its memory once, the memory it had no more."""
        if before.storage != now.storage:
            numbers = self._storages.items()
            self._let_go(before, next((it for it, one in numbers if one == before.storage), None))
            return
        self._users[now.storage] -= 1
        if now.role == "activation":  # `resize_` takes more
            self.live_bytes += now.storage_bytes - before.storage_bytes
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _let_go(self, info: TensorInfo, key: int | None) -> None:
        """One tensor fewer uses its memory, whose address is `key`."""
        self._users[info.storage] -= 1
        if self._users[info.storage] > 0:
            return
        if info.role == "activation":
            self.live_bytes -= info.storage_bytes
            self.freed_bytes += info.storage_bytes
            self.freed_at[info.storage] = self.now
        if key is not None and self._storages.get(key) == info.storage:
            del self._storages[key]  # the address may be another storage's from now on


# --- what torch says of a tensor, where it can


def storage_of(tensor: torch.Tensor) -> tuple[int | None, int | None]:
    """The address of its storage and its size in bytes; None for sparse, packed and nested ones."""
    try:
        storage = tensor.untyped_storage()
        return storage._cdata, int(storage.nbytes())
    except (RuntimeError, NotImplementedError, AttributeError, ValueError, TypeError):
        return None, None


def bytes_of(tensor: torch.Tensor) -> int:
    """Of its elements; of a sparse or nested one those of what it stores."""
    try:
        return sum(part.numel() * part.element_size() for part in stored_parts(tensor))
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return 0


def stored_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The dense tensors that a sparse or nested one is made of; a dense one itself."""
    layout = str(tensor.layout)
    if layout == "torch.sparse_coo":
        return tensor._indices(), tensor._values()
    if layout in ("torch.sparse_csr", "torch.sparse_bsr"):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if layout in ("torch.sparse_csc", "torch.sparse_bsc"):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    if getattr(tensor, "is_nested", False):
        return (tensor.values(),)
    return (tensor,)


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """In elements; -1 for a size that differs from row to row, () where there is none yet."""
    try:
        if getattr(tensor, "is_nested", False):
            return tuple(_size_or_ragged(tensor, dimension) for dimension in range(tensor.dim()))
        return tuple(int(size) for size in tensor.shape)
    except Exception:  # noqa: BLE001 - uninitialised tensors, symbolic sizes: each its own error
        return ()


def _size_or_ragged(tensor: torch.Tensor, dimension: int) -> int:
    try:
        return int(tensor.size(dimension))
    except Exception:  # noqa: BLE001 - a ragged dimension: another error in every layout
        return -1


def stride_of(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """In elements; None for what has none."""
    try:
        return tuple(int(step) for step in tensor.stride())
    except Exception:  # noqa: BLE001 - sparse, nested and uninitialised tensors have none
        return None


def is_uninitialized(tensor: object) -> bool:
    """A lazy module's parameter before the first forward."""
    return type(tensor).__name__ in ("UninitializedParameter", "UninitializedBuffer")


def count_of(tensor: torch.Tensor) -> int:
    """Elements; of a packed weight (4 bits and the like) the elements it stands for."""
    packed = getattr(getattr(tensor, "quant_state", None), "shape", None)  # bitsandbytes
    if packed is not None:
        return prod(int(size) for size in packed)
    return prod(shape_of(tensor)) if not is_uninitialized(tensor) else 0


# --- what containers hold


def parts_of(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Keys and parts of a container; None for what holds no tensors."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=False))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(str(number), part) for number, part in enumerate(value)]
    if isinstance(value, type):
        return None
    if hasattr(value, "__dataclass_fields__"):
        return [(name, getattr(value, name, None)) for name in value.__dataclass_fields__]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        found = [
            (name, part) for name, part in attributes.items() if isinstance(part, torch.Tensor)
        ]
        return found or None
    return None


def tensors_of(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Every tensor among the arguments of an operation."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)) and depth < DEEPEST:
        for part in value:
            yield from tensors_of(part, depth + 1)
    elif isinstance(value, dict) and depth < DEEPEST:
        for part in value.values():
            yield from tensors_of(part, depth + 1)
