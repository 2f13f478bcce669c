"""What one batch takes of shared memory: the distinct storages a worker would send. Imports torch."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef


class Part(NamedTuple):
    """One storage of a batch. Sizes in bytes; `used` is what the batch's tensors need of it.

    `is_shared` says that it is in shared memory already.
    """

    address: int
    storage_bytes: int
    used_bytes: int
    text: str
    is_shared: bool = False


class Seen:
    """The storages of a batch, each once, and a way to tell later which of them still live."""

    def __init__(self, batch: Any) -> None:
        """Look at the batch. Raises what pickling it raises, as a worker would."""
        taker = _Taker()
        taker.dump(batch)
        taker.clear_memo()  # which keeps the batch, in a ring with its own dispatch table
        self.parts = list(taker.parts.values())
        self._living = taker.living

    def alive(self) -> set[int]:
        """Addresses of the storages that somebody still holds: the dataset, when the batch is gone."""
        if self._left():
            gc.collect()
        return self._left()

    def _left(self) -> set[int]:
        return {address for address, it in self._living.items() if not it.expired()}  # type: ignore[no-untyped-call]


def parts_of(batch: Any) -> list[Part]:
    """The storages that sending this batch would copy into shared memory, each once.

    Found as torch finds them, by its own way of pickling a batch, with storages taken out where
    torch would copy them. Raises what pickling the batch raises, as a worker would. Tensors of a
    GPU are not among them.
    """
    return Seen(batch).parts


def is_pinned_whole(batch: Any) -> bool:
    """Whether `pin_memory` reaches every tensor: it does not look into objects of other classes.

    As torch/utils/data/_utils/pin_memory.py goes through a batch.
    """
    reached = {part.address for it in _pinned(batch) for part in parts_of(it)}
    return all(part.address in reached for part in parts_of(batch))


def _pinned(value: Any) -> Iterable[Any]:
    if isinstance(value, torch.Tensor) or hasattr(value, "pin_memory"):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _pinned(inner)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for inner in value:
            yield from _pinned(inner)


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


class _Taker(ForkingPickler):
    """Pickles as a queue between processes does; of a storage it notes the size, and shares nothing."""

    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.parts: dict[int, Part] = {}
        self.living: dict[int, StorageWeakRef] = {}
        self._views: dict[int, tuple[int, str]] = {}
        self.dispatch_table = {**self.dispatch_table, torch.UntypedStorage: self._note}

    def persistent_id(self, value: Any) -> str | None:
        """Notes what a tensor needs of its storage; what is not in memory is not pickled at all."""
        if not isinstance(value, torch.Tensor):
            return None
        if value.device.type != "cpu":
            return "elsewhere"
        if value.layout is torch.strided and not value.is_nested:
            try:
                address = value.untyped_storage().data_ptr()
            except (RuntimeError, NotImplementedError):  # a subclass that has no memory of its own
                return None
            used, text = self._views.get(address, (0, ""))
            text = text or f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
            self._views[address] = (used + value.numel() * value.element_size(), text)
        return None

    def _note(self, storage: torch.UntypedStorage) -> tuple[Any, ...]:
        size, address = storage.nbytes(), storage.data_ptr()
        if storage.device.type == "cpu" and size:
            self.parts[address] = Part(address, size, size, "", storage.is_shared())
            self.living[address] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        return (str, ())

    def dump(self, obj: Any) -> None:
        """Notes all of it."""
        super().dump(obj)
        for address, part in self.parts.items():
            used, text = self._views.get(address, (part.storage_bytes, "storage"))
            self.parts[address] = part._replace(used_bytes=min(part.storage_bytes, used), text=text)
