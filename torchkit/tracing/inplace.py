"""The two lines of an in-place error: which saved a tensor for backward, and which changed it.

autograd's error names neither. Of every node of the graph it is noted which memory its operation
read and made, by the names that the node saves them under; of every change in place which memory, and
which version it had before. The node that fails is the one whose saved tensor cannot be had with the
very words of the error. A line is told only where memory and version agree: silence is better than a
wrong line.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torchkit.tracing.finite import has_wrapper
from torchkit.tracing.graph import Lines, current_node, number_of, tensors_in, where
from torchkit.tracing.places import Spot

MOST_NOTED = 50_000
"""So many nodes, and so many changes, are remembered; older ones are forgotten."""

MESSAGE = "one of the variables needed for gradient computation has been modified by an inplace"


class Touch(NamedTuple):
    """An operation and the user's line that it was done in; None where the code is not the user's."""

    operation: str
    spot: Spot | None
    is_in_optimizer: bool = False


class Change(NamedTuple):
    """A change in place: when, to which memory, which version that had before, and its shape."""

    order: int
    storage: int
    version: int
    shape: tuple[int, ...]
    touch: Touch


class Saved(NamedTuple):
    """A node of the forward: when it was made, and the memory of its tensors by their names."""

    order: int
    touch: Touch
    named: Mapping[str, tuple[int, ...]]
    more: tuple[int, ...] = ()


class Both(NamedTuple):
    """What an in-place error is about: who saved, as which `what`, and who changed it, the first first."""

    saved: Touch
    what: str
    changed: tuple[Touch, ...]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Notes the memory of every node of the graph and every change in place."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.order = 0
        self.lines = Lines()
        self.saved: dict[tuple[int, int], Saved] = {}
        self.changes: deque[Change] = deque(maxlen=MOST_NOTED)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if has_wrapper(types):  # it does its work with plain tensors, which come here in their turn
            return NotImplemented
        self.order += 1
        number = self.lines.note(func._schema.name, args, kwargs)
        changes = list(self._changes(func, args, kwargs)) if func._schema.is_mutable else ()
        out = func(*args, **kwargs)
        self.changes.extend(changes)
        if number >= 0:
            self._note_saved(number, func, args, kwargs, out)
        return out

    def _note_saved(self, number: int, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        key = (threading.get_ident(), number)
        before = self.saved.get(key)
        if before is not None:
            if before.more == () and not torch.is_grad_enabled():  # in a Function of the user's
                found = _storages((args, kwargs, out))
                self.saved[key] = before._replace(more=found[:16])
            return
        if len(self.saved) > MOST_NOTED:
            for old in list(self.saved)[: MOST_NOTED // 2]:
                del self.saved[old]
        name = func._schema.name.removeprefix("aten::")
        self.saved[key] = Saved(
            self.order,
            Touch(name, self.lines.of(number)),
            _by_name(func, args, kwargs, out),
        )

    def _changes(self, func: Any, args: Any, kwargs: Any) -> Iterator[Change]:
        now = where()
        node = current_node()
        if node is not None and not now.is_in_backward:
            return
        touch = Touch(func._schema.name.removeprefix("aten::"), now.spot)
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            for tensor in tensors_in(value):
                yield Change(
                    self.order, _storage(tensor), _version(tensor), tuple(tensor.shape), touch
                )

    # --- of an error

    def both(self, message: str, frames: Sequence[FrameType]) -> Both | None:
        """The two lines of an error with this message; None where they cannot be told."""
        expected = _expected_version(message)
        if expected is None:
            return None
        for node, name in _broken(frames, message):
            saved = self._saved_of(node)
            if saved is None:
                continue
            changed = self._after(saved, name, expected, _shape_of(message))
            if changed:
                return Both(saved.touch, f"{node.name()} {name}".rstrip(), changed)
        return None

    def _saved_of(self, node: Any) -> Saved | None:
        number = number_of(node)
        found = [it for (_, key), it in self.saved.items() if key == number]
        return found[0] if len(found) == 1 else None

    def _after(
        self, saved: Saved, name: str, expected: int, shape: tuple[int, ...] | None
    ) -> tuple[Touch, ...]:
        exact = saved.named.get(name)
        storages = exact or {*saved.more, *(it for some in saved.named.values() for it in some)}
        later = [it for it in self.changes if it.order > saved.order and it.storage in storages]
        first = next(
            (
                number
                for number, it in enumerate(later)
                if it.version == expected and (exact or shape is None or it.shape == shape)
            ),
            None,
        )
        if first is None:
            return ()
        same = later[first].storage
        return tuple(it.touch for it in later[first:] if it.storage == same)


def _by_name(func: Any, args: Any, kwargs: Any, out: Any) -> dict[str, tuple[int, ...]]:
    """The memory of what an operation was given and gave, by the names of its schema."""
    named: dict[str, tuple[int, ...]] = {}
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        found = _storages(value)
        if found:
            named[argument.name] = found
    made = out if isinstance(out, (tuple, list)) else (out,)
    for number, value in enumerate(made):
        found = _storages(value)
        if found:
            named[f"result{number}" if len(made) > 1 else "result"] = found
    return named


def _storages(value: Any) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_storage(it) for it in tensors_in(value)))


def _storage(tensor: Any) -> int:
    """What identifies a tensor's memory, as long as somebody keeps it: a graph does."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError, AttributeError):
        return id(tensor)


def _version(tensor: Any) -> int:
    try:
        return int(tensor._version)
    except RuntimeError:  # inference tensors keep none
        return -1


def _shape_of(message: str) -> tuple[int, ...] | None:
    match = re.search(r"Tensor \[([\d, ]*)\]", message)
    if match is None:
        return None
    return tuple(int(part) for part in match[1].split(",") if part.strip())


def _expected_version(message: str) -> int | None:
    match = re.search(r"expected version (\d+)", message)
    return int(match[1]) if match is not None else None


def _broken(frames: Sequence[FrameType], message: str) -> list[tuple[Any, str]]:
    """Nodes of the graph whose saved tensor cannot be had with this message, and the tensor's name.

    autograd begins with the node that was made last.
    """
    said = message.partition(" Hint:")[0]
    found = [
        (node, name) for node, name, text in _failing(frames) if text.partition(" Hint:")[0] == said
    ]
    return sorted(found, key=lambda it: -(number_of(it[0]) or 0))


def _failing(frames: Sequence[FrameType]) -> Iterator[tuple[Any, str, str]]:
    seen: set[Any] = set()
    waiting = [
        tensor.grad_fn
        for frame in frames
        for value in list(frame.f_locals.values())
        for tensor in _few_tensors(value)
        if tensor.grad_fn is not None
    ]
    while waiting and len(seen) < MOST_NOTED:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        for name in _saved_names(node):
            try:
                getattr(node, name)
            except RuntimeError as error:
                if MESSAGE in str(error):
                    yield node, name.removeprefix("_saved_"), str(error)
            except Exception:  # noqa: BLE001, S112 - a node of the user's
                continue
        waiting += [following for following, _ in node.next_functions if following is not None]


def _few_tensors(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    if type(value) in (list, tuple) and len(value) < 100:
        return [it for it in value if isinstance(it, torch.Tensor)]
    return []


_names: dict[type, tuple[str, ...]] = {}


def _saved_names(node: Any) -> tuple[str, ...]:
    kind = type(node)
    if kind not in _names:
        _names[kind] = tuple(
            it for it in dir(node) if it.startswith("_saved_") or it == "saved_tensors"
        )
    return _names[kind]
