"""Finds the tensors in what a pickle describes, by path; and what else a checkpoint has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from torchkit.model.files.described import Global, Long, Made, Pairs, Persistent
from torchkit.model.files.source import DamagedError
from torchkit.model.files.tensors import Storages, Tensor, as_tensor

MAX_VISITS = 100_000
"""More containers are not looked into: one that contains itself twice has no end of paths."""

MAX_PARTS = 1_000_000
"""Nor are more parts of containers: a long list may be in a file once, and be meant in 1000 places."""

MAX_DEPTH = 100

_DICTIONARIES = (
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict",
)  # fmt: skip

_OF_MODULE = ("_parameters", "_buffers", "_modules")


_CONTAINERS = (Made, Pairs, list, tuple, Persistent)


Subscripts = tuple[str | int, ...]


class Located(NamedTuple):
    """A tensor and the path to it, of which the first `inside` lead to what it is in.

    `subscripts` are those that get that dictionary, list or object from the file's root.
    """

    path: tuple[str, ...]
    tensor: Tensor
    inside: int = 0
    subscripts: Subscripts = ()


class _Place(NamedTuple):
    """On the way to a tensor: the path so far, and of it what dictionaries and lists are held by."""

    path: tuple[str, ...] = ()
    inside: int = 0
    subscripts: Subscripts = ()
    is_open: bool = True
    before: int = 0

    def part(self, text: str, key: Any) -> _Place:
        """Below a key of a dictionary or list (a text or number), or a part of an object (None)."""
        path = (*self.path, text) if text else self.path
        if not self.is_open or type(key) not in (str, int):
            return _Place(path, self.inside, self.subscripts, is_open=False)
        return _Place(path, len(path), (*self.subscripts, key), before=len(self.path))


class Structure(NamedTuple):
    """What is in a checkpoint: `impossible` counts tensors whose description cannot be.

    `versions` are those of the `_metadata` of its state dicts, and `models` the pickled modules,
    both by their path.
    """

    tensors: list[Located]
    impossible: int
    is_whole: bool
    versions: Mapping[str, Mapping[str, int | None]]
    models: tuple[str, ...]


def structure_of(root: Any, named: Storages) -> Structure:
    """Every tensor under `root`, in the order in which torch would list them."""
    walk = _Walk(named)
    tensors = list(walk.tensors(root, _Place(), frozenset()))
    is_whole = walk.visits <= MAX_VISITS and walk.parts <= MAX_PARTS
    return Structure(tensors, walk.impossible, is_whole, walk.versions, tuple(walk.models))


def is_module(value: Any) -> bool:
    """Whether this is a pickled `nn.Module`."""
    if not isinstance(value, Made):
        return False
    if value.is_module is None:
        state = _state(value)
        value.is_module = state is not None and set(_OF_MODULE) <= set(_keys(state))
    return value.is_module


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


def first_pairs(value: Any, most: int) -> list[tuple[Any, Any]]:
    """As `pairs_of`, of a long dictionary the first ones; none of what is no dictionary."""
    if isinstance(value, Pairs):
        return list(islice(value.pairs(), most))
    if isinstance(value, Made) and not value.args and value.name in _DICTIONARIES:
        return list(islice(value.pairs.pairs(), most))
    return (pairs_of(value) or [])[:most]


def versions_of(value: Any) -> dict[str, int | None] | None:
    """Versions by module, from the `_metadata` of a state dict; None where it has none."""
    state = _state(value)
    for key, metadata in state.pairs() if state is not None else ():
        if key == "_metadata" and pairs_of(metadata) is not None:
            return {
                module: _version(about)
                for module, about in pairs_of(metadata) or ()
                if isinstance(module, str)
            }
    return None


def _version(about: Any) -> int | None:
    found = [it for key, it in pairs_of(about) or () if isinstance(key, str) and key == "version"]
    return found[-1] if found and type(found[-1]) is int else None


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
        self.parts = 0
        self.impossible = 0
        self.barren: set[int] = set()  # containers that hold plain values alone
        self.versions: dict[str, dict[str, int | None]] = {}
        self.models: list[str] = []
        self._versions: dict[int, dict[str, int | None] | None] = {}

    def tensors(self, value: Any, place: _Place, above: frozenset[int]) -> Iterator[Located]:
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
            is_direct = place.is_open and place.subscripts
            yield Located(
                place.path,
                tensor,
                place.before if is_direct else place.inside,
                place.subscripts[:-1] if is_direct else place.subscripts,
            )
            return
        if isinstance(value, Persistent) or id(value) in above or id(value) in self.barren:
            return
        above = above | {id(value)}
        if place.is_open and isinstance(value, Made):
            self._note(value, place.path)
        is_barren = True
        for text, key, part in self._parts(value):
            self.parts += 1
            if self.parts > MAX_PARTS:
                return
            if isinstance(part, _CONTAINERS):
                is_barren = False
                yield from self.tensors(part, place.part(text, key), above)
        if is_barren:
            self.barren.add(id(value))

    def _note(self, made: Made, path: tuple[str, ...]) -> None:
        """What state dicts and models say of themselves."""
        if is_module(made):
            self.models.append(".".join(path))
        elif made.name in _DICTIONARIES and made.state is not None:
            if id(made) not in self._versions:
                self._versions[id(made)] = versions_of(made)
            versions = self._versions[id(made)]
            if versions is not None:
                self.versions[".".join(path)] = versions

    def _parts(self, value: Any) -> Iterator[tuple[str, Any, Any]]:
        """What is inside: its place in the path, the key of a dictionary or list, and the part.

        A module's parameters, buffers and children have their own names.
        """
        pairs = pairs_of(value)
        if pairs is not None:
            yield from ((_text(key), key, part) for key, part in pairs)
        elif isinstance(value, list | tuple):
            for number, part in enumerate(value):
                yield str(number), number, part
        elif isinstance(value, Made):
            yield from ((text, None, part) for text, part in self._of_object(value))

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
    if isinstance(value, Pairs):
        return f"dict of {len(value) // 2}"
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
