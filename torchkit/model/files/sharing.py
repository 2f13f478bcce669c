"""Which tensors of a file have data in common, and how much of it, from where their data is."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

from torchkit.model.files.tensors import Tensor


class _Used(NamedTuple):
    """Of a storage: who was first in it, and its bytes that are taken, as gapless pieces in order."""

    first: str
    begins: list[int]
    ends: list[int]


class Sharing:
    """Tensors one after the other: what each has in common with those before."""

    def __init__(self) -> None:
        self._same: dict[Any, str] = {}
        self._used: dict[tuple[str, int], _Used] = {}
        self._left: dict[tuple[str, int], int] = {}

    def add(self, tensor: Tensor, name: str) -> tuple[str, int]:
        """The tensor whose data this one has, all or in part, and how many of its bytes; ("", 0).

        Exact for tensors without gaps. One with gaps (every other column) takes what is left of
        its storage, and one that is expanded no more than is stored.
        """
        if tensor.data is not None:
            same = self._same.setdefault(tensor.data, name)
            if same != name:
                return same, tensor.bytes
        if len(tensor.storages) != 1 or not tensor.bytes:
            return "", 0
        (storage,) = tensor.storages
        key = (storage.key, storage.view)
        used = self._used.setdefault(key, _Used(name, [], []))
        left = self._left.setdefault(key, storage.bytes)
        own = min(tensor.bytes, left)
        if tensor.span == tensor.bytes:
            end = tensor.reach - storage.view
            own = min(own, _take(used, end - tensor.span, end))
        self._left[key] = left - own
        shared = tensor.bytes - own
        return (used.first if shared and used.first != name else ""), shared


def _take(used: _Used, begin: int, end: int) -> int:
    """Mark a piece as taken; how much of it was free."""
    first = bisect_left(used.ends, begin)
    last = first
    taken, low, high = 0, begin, end
    while last < len(used.begins) and used.begins[last] <= end:
        taken += max(0, min(end, used.ends[last]) - max(begin, used.begins[last]))
        low, high = min(low, used.begins[last]), max(high, used.ends[last])
        last += 1
    used.begins[first:last], used.ends[first:last] = [low], [high]
    return end - begin - taken
