"""States of optimizers in a checkpoint: where they are, and whose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torchkit.model.files.described import Made, Pairs
from torchkit.model.files.source import DamagedError
from torchkit.model.files.structure import Subscripts, first_pairs, pairs_of
from torchkit.model.files.tensors import as_tensor

MAX_LISTED = 20
"""So many of a list are looked at."""

MAX_KEYS = 100
"""So many keys of a dictionary are looked at."""

DEPTH = 3
"""The file itself, a key of it, and what is below that or in a list: `optimizer_states[0]`."""

_OF_OPTIMIZER = (
    ({"exp_avg", "exp_avg_sq"}, "Adam"),
    ({"square_avg"}, "RMSprop"),
    ({"momentum_buffer"}, "SGD"),
    ({"exp_avg"}, "Lion"),
    ({"sum"}, "Adagrad"),
)
"""Names in the state of torch.optim's classes; AdamW's are Adam's."""


def is_tensor(value: Any) -> bool:
    """Whether this would become a tensor, also where it is one that cannot be."""
    try:
        return as_tensor(value) is not None
    except DamagedError:
        return True


def listed(value: Any) -> Sequence[Any]:
    """A value, or the first of those in a list of some."""
    return value[:MAX_LISTED] if type(value) in (list, tuple) else (value,)


class Optimizers:
    """Of each value it is looked at once, however many places it is in."""

    def __init__(self) -> None:
        self._told: dict[int, str] = {}

    def words(self, value: Any) -> str:
        """`Adam state of 62 tensors`, or "" where this is no optimizer's state."""
        if not isinstance(value, Pairs | Made):
            return ""
        if id(value) not in self._told:
            self._told[id(value)] = _words(value)
        return self._told[id(value)]

    def places(self, root: Any) -> tuple[Subscripts, ...]:
        """What leads to each of them."""
        found: list[Subscripts] = []
        level: list[tuple[Subscripts, Any]] = [((), root)]
        for _ in range(DEPTH):
            below: list[tuple[Subscripts, Any]] = []
            for subscripts, value in level:
                if self.words(value):
                    found.append(subscripts)
                    continue
                parts: Iterable[tuple[Any, Any]] = first_pairs(value, MAX_KEYS)
                if type(value) in (list, tuple):
                    parts = enumerate(value[:MAX_LISTED])
                below += [
                    ((*subscripts, key), part)
                    for key, part in parts
                    if type(key) in (str, int) and isinstance(part, Pairs | Made | list | tuple)
                ]
            level = below[:MAX_KEYS]
        return tuple(found[:MAX_LISTED])


def _words(value: Any) -> str:
    parts = {key: part for key, part in first_pairs(value, MAX_KEYS) if isinstance(key, str)}
    if "state" not in parts or "param_groups" not in parts:
        return ""
    states = [
        pairs
        for _, state in pairs_of(parts["state"]) or ()
        if (pairs := first_pairs(state, MAX_KEYS))
    ]
    tensors = sum(is_tensor(item) for pairs in states for _, item in pairs)
    names = {key for pairs in states[:1] for key, _ in pairs if isinstance(key, str)}
    kind = next((name for keys, name in _OF_OPTIMIZER if keys <= names), "optimizer")
    return f"{kind} state of {tensors:,} tensors" if tensors else f"{kind} without a state"
