"""Finds the tensors in what a pickle describes, by path; and what else a checkpoint has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torchkit.model.files.described import Global, Long, Made, Pairs, Persistent
from torchkit.model.files.source import DamagedError
from torchkit.model.files.tensors import Storages, Tensor, as_tensor

MAX_VISITS = 100_000
"""More containers are not looked into: one that contains itself twice has no end of paths."""

MAX_DEPTH = 100

_DICTIONARIES = (
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict",
)  # fmt: skip

_OF_MODULE = ("_parameters", "_buffers", "_modules")


_CONTAINERS = (Made, Pairs, list, tuple, Persistent)


class Located(NamedTuple):
    """A tensor and the keys that lead to it."""

    path: tuple[str, ...]
    tensor: Tensor


class Structure(NamedTuple):
    """What is in a checkpoint: `impossible` counts tensors whose description cannot be."""

    tensors: list[Located]
    impossible: int
    is_whole: bool


def structure_of(root: Any, named: Storages) -> Structure:
    """Every tensor under `root`, in the order in which torch would list them."""
    walk = _Walk(named)
    tensors = list(walk.tensors(root, (), frozenset()))
    return Structure(tensors, walk.impossible, walk.visits <= MAX_VISITS)


def is_module(value: Any) -> bool:
    """Whether this is a pickled `nn.Module`."""
    state = _state(value)
    return state is not None and all(key in _keys(state) for key in _OF_MODULE)


def pairs_of(value: Any) -> list[tuple[Any, Any]] | None:
    """Keys and values of a dictionary of any kind; None for what is none."""
    if isinstance(value, Pairs):
        return list(value.pairs())
    if isinstance(value, Made) and value.name in _DICTIONARIES:
        given: list[tuple[Any, Any]] = []
        for arg in value.args:  # OrderedDict([[key, value], …]), Counter({…})
            if isinstance(arg, Pairs):
                given += arg.pairs()
            elif isinstance(arg, list):
                given += [tuple(it) for it in arg if isinstance(it, list | tuple) and len(it) == 2]
        return [*given, *value.pairs.pairs()]
    return None


def _state(value: Any) -> Pairs | None:
    """The attributes of an object."""
    if not isinstance(value, Made):
        return None
    state = value.state
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], Pairs):
        state = state[0]  # with slots: (attributes, slots)
    return state if isinstance(state, Pairs) else None


def _keys(pairs: Pairs) -> list[str]:
    return [key for key in pairs[::2] if isinstance(key, str)]


class _Walk:
    def __init__(self, named: Storages) -> None:
        self.named = named
        self.visits = 0
        self.impossible = 0

    def tensors(
        self, value: Any, path: tuple[str, ...], above: frozenset[int]
    ) -> Iterator[Located]:
        if not isinstance(value, _CONTAINERS):
            return
        self.visits += 1
        if self.visits > MAX_VISITS or len(above) > MAX_DEPTH:
            return
        try:
            tensor = as_tensor(value, self.named)
        except DamagedError:
            self.impossible += 1
            return
        if tensor is not None:
            yield Located(path, tensor)
            return
        if isinstance(value, Persistent) or id(value) in above:
            return
        above = above | {id(value)}
        for key, part in self._parts(value):
            yield from self.tensors(part, (*path, key) if key else path, above)

    def _parts(self, value: Any) -> Iterator[tuple[str, Any]]:
        """What is inside, by key; a module's parameters, buffers and children by their own names."""
        pairs = pairs_of(value)
        if pairs is not None:
            yield from ((_text(key), part) for key, part in pairs)
        elif isinstance(value, list | tuple):
            yield from ((str(number), part) for number, part in enumerate(value))
        elif isinstance(value, Made):
            yield from self._of_object(value)

    @staticmethod
    def _of_object(made: Made) -> Iterator[tuple[str, Any]]:
        state = _state(made)
        attributes = list(state.pairs()) if state is not None else []
        if is_module(made):
            inside = {key: part for key, part in attributes if key in _OF_MODULE}
            for key in _OF_MODULE:
                yield from ((_text(name), part) for name, part in pairs_of(inside[key]) or ())
            attributes = [it for it in attributes if it[0] not in _OF_MODULE]
        yield from ((_text(key), part) for key, part in attributes)
        if state is None and made.state is not None:
            yield "", made.state
        yield from (("", arg) for arg in made.args)
        yield from ((str(number), part) for number, part in enumerate(made.items))
        yield from ((_text(key), part) for key, part in made.pairs.pairs())


def _text(key: Any) -> str:
    """A key as a part of a path."""
    if isinstance(key, str):
        return key[:300]
    return str(key) if isinstance(key, int | float | bool) else f"<{kind_of(key)}>"


def kind_of(value: Any) -> str:
    """What a value is, in a word or two: `dict of 9`, `list of 3`, `argparse.Namespace`."""
    pairs = pairs_of(value)
    if pairs is not None:
        return f"dict of {len(pairs)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Made):
        return value.callee.name if isinstance(value.callee, Global) else "object"
    if isinstance(value, Global):
        return value.name
    if isinstance(value, Long):
        return f"{value.size:,} bytes"
    return type(value).__name__
