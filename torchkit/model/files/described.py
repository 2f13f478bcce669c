"""What a pickle describes, as plain values: nothing here is what it stands for."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple


class Global:
    """Something that unpickling would import."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


UNKNOWN = object()
"""Stands for what nobody has looked at."""


class Made:
    """What a call would give: `callee(*args)`, then `state` and items put into it."""

    __slots__ = ("args", "callee", "is_module", "items", "pairs", "state", "tensor")

    def __init__(self, callee: Any, args: tuple[Any, ...]) -> None:
        self.callee = callee
        self.args = args
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs: Pairs = Pairs()
        self.tensor: Any = UNKNOWN  # what `tensors.as_tensor` found, so that it looks once
        self.is_module: bool | None = None  # what `structure.is_module` found

    @property
    def name(self) -> str:
        """The name of what is called, "" where that comes from a call itself."""
        return self.callee.name if isinstance(self.callee, Global) else ""


class Pairs(list[Any]):
    """A dictionary: key, value, key, value. Keys are not hashed, so that none can do harm."""

    __slots__ = ()

    def pairs(self) -> zip[tuple[Any, Any]]:
        return zip(islice(self, 0, None, 2), islice(self, 1, None, 2), strict=False)


class Long(NamedTuple):
    """A text or bytes too long to keep: where they are in the source."""

    at: int
    size: int


class Persistent(NamedTuple):
    """What the pickle refers to by an id: a storage, in torch's files."""

    id: Any
