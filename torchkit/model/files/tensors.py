"""Which tensor a described call of torch or numpy would give: shape, dtype, and where its data is.

The calls are those of torch/_utils.py (2.0 to 2.13) and of numpy's `ndarray.__reduce__`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torchkit.model.files.described import UNKNOWN, Global, Long, Made, Persistent
from torchkit.model.files.dtypes import (
    bytes_of,
    dtype_of_global,
    dtype_of_storage,
    numpy_dtype,
)
from torchkit.model.files.source import DamagedError

MAX_DIMENSIONS = 64
MAX_ELEMENTS = 1 << 62
MAX_PARTS = 100


class Storage(NamedTuple):
    """Memory that tensors share: `key` is its name in the file, `view` where it begins in bytes."""

    key: str
    dtype: str
    bytes: int
    view: int = 0


class Tensor(NamedTuple):
    """A tensor that the file describes. `bytes` are those of its elements.

    `storages` are what holds its data; `reach` is the byte of the first storage that it ends at,
    `span` the bytes from its first element to its last: `bytes` where it has no gaps.
    `data` tells whether two tensors are the same data.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    storages: tuple[Storage, ...] = ()
    reach: int = 0
    data: Any = None
    span: int = 0


Storages = Mapping[str, Storage]
"""Storages by the text that a pickle refers to them with, where the file has a list of them."""


def as_storage(value: Any, named: Storages = {}) -> Storage | None:  # noqa: B006 - never changed
    """The storage that a persistent id stands for."""
    if isinstance(value, Made):
        return _packed_storage(value)
    if not isinstance(value, Persistent):
        return None
    if not isinstance(value.id, tuple):
        return named.get(str(value.id)) if isinstance(value.id, str | int) else None
    if len(value.id) < 5 or value.id[0] != "storage" or not isinstance(value.id[1], Global):
        return None
    dtype = dtype_of_storage(value.id[1].name)
    key, elements = value.id[2], value.id[4]
    if dtype is None or not _is_count(elements) or not isinstance(key, str | int):
        raise DamagedError("it describes a storage that cannot be")
    view = value.id[5] if len(value.id) > 5 else None
    offset = view[1] if isinstance(view, tuple) and len(view) == 3 and _is_count(view[1]) else 0
    return Storage(str(key), dtype, bytes_of(elements, dtype), bytes_of(offset, dtype))


def _packed_storage(made: Made) -> Storage | None:
    """The storage of `torch.storage._load_from_bytes(b"...")`, which a plain pickle has."""
    return made.state if isinstance(made.state, Storage) else None  # put there by `legacy.unpack`


def as_tensor(value: Any, named: Storages = {}) -> Tensor | None:  # noqa: B006 - never changed
    """The tensor that `value` would become; None where it is none.

    Raises DamagedError where it is a tensor that cannot be.
    """
    if not isinstance(value, Made):
        storage = as_storage(value, named)
        return None if storage is None else _of_storage(storage)
    if value.tensor is UNKNOWN:
        value.tensor = _IMPOSSIBLE  # also while it is looked at: one that is part of itself
        try:
            value.tensor = _made_tensor(value, named)
        except (IndexError, TypeError, ValueError, AttributeError, RecursionError, StopIteration):
            raise DamagedError("it describes a tensor that cannot be") from None
    if value.tensor is _IMPOSSIBLE:
        raise DamagedError("it describes a tensor that cannot be")
    found: Tensor | None = value.tensor
    return found


_IMPOSSIBLE = object()


def _made_tensor(made: Made, named: Storages) -> Tensor | None:
    maker = _MAKERS.get(made.name)
    if maker is not None:
        return maker(made, named)
    if _is_old_tensor(made):
        return _strided(made.state, named)
    storage = as_storage(made, named)
    return None if storage is None else _of_storage(storage)


def _is_old_tensor(made: Made) -> bool:
    """`torch.FloatTensor` with its state set, as torch before 0.4 wrote it."""
    return (
        made.name.startswith("torch.")
        and made.name.endswith("Tensor")
        and isinstance(made.state, tuple)
        and len(made.state) == 4
        and isinstance(made.state[0], Persistent)
    )


def _of_storage(storage: Storage) -> Tensor:
    elements = storage.bytes // max(bytes_of(1, storage.dtype), 1)
    return Tensor(
        (elements,), storage.dtype, storage.bytes, (storage,), storage.bytes, (storage.key,),
        storage.bytes,
    )  # fmt: skip


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_ELEMENTS


def _sizes(value: Any) -> tuple[int, ...]:
    """A shape or strides. Raises DamagedError for numbers that cannot be."""
    if not isinstance(value, list | tuple) or len(value) > MAX_DIMENSIONS:
        raise DamagedError("it describes a tensor whose shape cannot be")
    if not all(_is_count(size) for size in value) or math.prod(value) >= MAX_ELEMENTS:
        raise DamagedError("it describes a tensor whose shape cannot be")
    return tuple(value)


def _strided(args: Any, named: Storages, dtype: str = "") -> Tensor:
    """A tensor of (storage, offset, size, stride, ...), as most of the calls begin."""
    storage = as_storage(args[0], named)
    if storage is None:
        raise DamagedError("it describes a tensor without a storage")
    offset, shape = args[1], _sizes(args[2])
    strides = args[3]
    if not _is_count(offset) or len(strides) != len(shape):
        raise DamagedError("it describes a tensor that cannot be")
    dtype = dtype or storage.dtype
    elements, span = math.prod(shape), span_of(shape, strides)
    reach = storage.view + bytes_of(offset + span, dtype) if elements else 0
    data = (storage.key, storage.view, offset, shape, tuple(strides))
    return Tensor(
        shape, dtype, bytes_of(elements, dtype), (storage,), reach, data, bytes_of(span, dtype)
    )


def span_of(shape: Sequence[int], strides: Sequence[int]) -> int:
    """From the first element of a tensor to its last, in elements."""
    if not math.prod(shape):
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _dtype(value: Any) -> str:
    name = dtype_of_global(value.name) if isinstance(value, Global) else None
    if name is None:
        raise DamagedError("it describes a tensor whose dtype is not known")
    return name


def _tensor(made: Made, named: Storages) -> Tensor:
    return _strided(made.args, named)


def _tensor_v3(made: Made, named: Storages) -> Tensor:
    return _strided(made.args, named, _dtype(made.args[6]))


def _first(made: Made, named: Storages) -> Tensor | None:
    """A parameter, or a tensor that was moved: the tensor is the first argument."""
    return as_tensor(made.args[0], named)


def _of_type(made: Made, named: Storages) -> Tensor | None:
    """`_rebuild_from_type_v2(function, type, args, state)`."""
    function, args = made.args[0], made.args[2]
    inner = Made(function, args if isinstance(args, tuple) else ())
    inner.state = made.args[3] if len(made.args) > 3 else None
    return as_tensor(inner, named)


def _sparse(made: Made, named: Storages) -> Tensor:
    """COO: indices, values, size. CSR and its like: two indices, values, size."""
    parts = made.args[1]
    found = [it for it in (as_tensor(part, named) for part in parts[:3]) if it is not None]
    if any(len(tensor.storages) > 1 for tensor in found):
        raise DamagedError("it describes a sparse tensor of tensors that are no plain ones")
    size = next(part for part in parts[2:] if not isinstance(part, Made | bool))
    storages = tuple(storage for tensor in found for storage in tensor.storages)
    taken = sum(tensor.bytes for tensor in found)
    data = ("sparse", *(tensor.data for tensor in found))
    return Tensor(_sizes(size), found[-1].dtype, taken, storages, 0, data)


def _meta(made: Made, _: Storages) -> Tensor:
    return Tensor(_sizes(made.args[1]), _dtype(made.args[0]), 0)


def _wrapper(made: Made, named: Storages) -> Tensor:
    """A subclass that wraps others (a DTensor, a quantised one): its parts are in its state."""
    parts = _inner(made.state, named)
    storages = tuple(storage for part in parts for storage in part.storages)
    if len(storages) > MAX_PARTS:
        raise DamagedError("it describes a tensor of too many parts")
    return Tensor(
        _sizes(made.args[2]), _dtype(made.args[1]), sum(part.bytes for part in parts), storages, 0,
        ("wrapper", storages) if storages else None,
    )  # fmt: skip


def _inner(state: Any, named: Storages) -> list[Tensor]:
    """The tensors directly in a state."""
    found: list[Tensor] = []
    waiting, looked = [state], 0
    while waiting and looked < 1000:
        looked += 1
        value = waiting.pop()
        tensor = as_tensor(value, named) if isinstance(value, Made) else None
        if tensor is not None:
            found.append(tensor)
        elif isinstance(value, Made):
            waiting += [value.state, *value.args]
        elif isinstance(value, list | tuple):
            waiting += value
    return found


def _nested(made: Made, named: Storages) -> Tensor | None:
    """A nested tensor has no shape of its own: that of its buffer is told."""
    return as_tensor(made.args[0], named)


def _from_numpy(made: Made, named: Storages) -> Tensor | None:
    tensor = as_tensor(made.args[0], named)
    return None if tensor is None else tensor._replace(dtype=_dtype(made.args[1]))


# --- numpy


def _numpy_dtype(value: Any) -> str:
    """`numpy.dtype("f4", False, True)`, or one with named fields, which is "void"."""
    code = value.args[0] if isinstance(value, Made) and value.args else value
    return numpy_dtype(code) if isinstance(code, str) else "void"


def _held(value: Any) -> int:
    if isinstance(value, Long):
        return value.size
    return len(value) if isinstance(value, bytes | str) else 0


def _array(made: Made, _: Storages) -> Tensor | None:
    """`_reconstruct(ndarray, (0,), b"b")` whose state is (version, shape, dtype, order, data)."""
    if not isinstance(made.state, tuple) or len(made.state) < 5:
        return None
    shape, dtype = _sizes(made.state[1]), _numpy_dtype(made.state[2])
    taken = bytes_of(math.prod(shape), dtype) or _held(made.state[4])
    return Tensor(shape, dtype, taken, (), 0, ("numpy", id(made)))


def _array_of_buffer(made: Made, _: Storages) -> Tensor:
    """`_frombuffer(buffer, dtype, shape, order)`, as pickle protocol 5 has it."""
    shape, dtype = _sizes(made.args[2]), _numpy_dtype(made.args[1])
    taken = bytes_of(math.prod(shape), dtype) or _held(made.args[0])
    return Tensor(shape, dtype, taken, (), 0, ("numpy", id(made)))


_MAKERS: dict[str, Callable[[Made, Storages], Tensor | None]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_numpy,
    "torch._utils._rebuild_xla_tensor": _from_numpy,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_wrapper_subclass": _wrapper,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._tensor._rebuild_from_type": _of_type,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.numeric._frombuffer": _array_of_buffer,
    "numpy._core.numeric._frombuffer": _array_of_buffer,
}
