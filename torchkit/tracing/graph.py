"""The line of the user's forward behind each node of autograd's graph.

torch numbers the nodes of a thread in the order of the forward. At every operation the nodes that
are new since the one before are told apart: those made before the operation's kernel ran are its
own, those made after the kernel of the one before (an in-place change of a view) belong to that.
Private names of torch are used here alone, each with what is done without it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from threading import get_ident as _ident
from types import FrameType
from typing import Any, NamedTuple

import torch

from torchkit.tracing.places import Spot, here, is_users_file, spot_of

MOST_NODES = 400_000
"""So many nodes of the graph are remembered; older ones are forgotten."""


class Where(NamedTuple):
    """Where Python is: the user's own innermost instruction, and whether it is in the backward, as a
    hook, a Function of the user's, or a forward that is computed again there.

    Under torch.func (`is_in_transform`) an operation does not show that it needs a gradient.
    """

    spot: Spot | None
    is_in_backward: bool
    is_in_function: bool
    is_in_transform: bool


class _Thread:
    """What is kept of one thread: nodes are numbered in each alone."""

    __slots__ = ("last", "previous", "spots")

    def __init__(self) -> None:
        self.last = sequence_number() - 1
        self.spots: dict[int, Spot | None] = {}
        self.previous: Spot | None = None


class Lines:
    """The lines of the nodes that were made since it was there."""

    def __init__(self) -> None:
        self.threads: dict[int, _Thread] = {}

    def note(self, name: str, args: Any, kwargs: Any) -> int:
        """An operation begins: note the line of its nodes. The number of the newest node, or -1."""
        if _sequence is None:
            return -1
        number: int = _sequence() - 1
        thread = self.threads.get(_ident())
        if thread is not None and thread.last == number:
            return number
        if number < 0:
            return -1
        if thread is None:
            thread = self.threads[_ident()] = _Thread()
            thread.last = min(thread.last, number - 1)
        self._add(thread, number, name, args, kwargs)
        return number

    def _add(self, thread: _Thread, number: int, name: str, args: Any, kwargs: Any) -> None:
        now = None
        node = current_node()
        if node is None:
            spot = here()
        else:
            now = where()
            spot = now.spot if now.is_in_backward else self.of_node(node)
        is_own = torch.is_grad_enabled() and any(map(_needs_grad, tensors_in((args, kwargs))))
        if not is_own or number - thread.last > 1:
            now = now or where()
            is_own = is_own or now.is_in_function or now.is_in_transform
            has_several = now.is_in_transform or name.startswith("aten::_foreach")
            between = spot if has_several else thread.previous
            for new in range(max(thread.last + 1, number - 64), number):
                thread.spots[new] = between
        thread.spots[number] = thread.previous = spot if is_own else thread.previous
        thread.last = number
        if len(thread.spots) > MOST_NODES:
            for old in list(thread.spots)[: MOST_NODES // 2]:
                del thread.spots[old]

    def of(self, number: int | None) -> Spot | None:
        """The line of the node with this number; None where it is not known, or of two threads."""
        if number is None:
            return None
        own = self.threads.get(_ident())
        found = {it.spots[number] for it in list(self.threads.values()) if number in it.spots}
        if len(found) == 1:
            return next(iter(found))
        if len(self.threads) == 1 and own is not None:
            return own.spots.get(number)
        return None

    def of_node(self, node: Any) -> Spot | None:
        """The line of a node."""
        return self.of(number_of(node))


def where() -> Where:
    """The innermost instruction of the user's own code, and what it is called from."""
    frame: FrameType | None = sys._getframe(1)
    spot = None
    in_function = in_transform = False
    looked = 0
    while frame is not None and looked < 400:
        file = frame.f_code.co_filename
        kind = is_users_file(file)
        if kind is True and spot is None:
            spot = spot_of(frame)
        elif kind is None:
            name = frame.f_code.co_name
            if name in _ENGINE:
                is_in_backward = spot is not None
                return Where(spot or _outer(frame), is_in_backward, in_function, in_transform)
            in_transform = in_transform or "_functorch" in file
            if name == "apply" and file.endswith("function.py"):
                in_function = spot is not None
        frame = frame.f_back
        looked += 1
    return Where(spot, False, in_function, in_transform)


_ENGINE = ("_engine_run_backward", "backward", "grad")
"""Functions in torch/autograd/ that run the backward."""


def _outer(frame: FrameType | None) -> Spot | None:
    while frame is not None:
        if is_users_file(frame.f_code.co_filename):
            return spot_of(frame)
        frame = frame.f_back
    return None


def _needs_grad(tensor: Any) -> bool:
    return bool(tensor.requires_grad)


def tensors_in(value: Any) -> Iterator[Any]:
    """The tensors an operation is given or gives."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)


# --- private names, seen in 2.1 to 2.15; in 2.0 there are none and lines of nodes are not known

_sequence: Any = getattr(torch.autograd, "_get_sequence_nr", None) or getattr(
    torch._C._autograd, "_get_sequence_nr", None
)
_current: Any = getattr(torch._C, "_current_autograd_node", None)


def sequence_number() -> int:
    """The number that this thread's next node gets; 0 where torch does not tell."""
    return int(_sequence()) if _sequence is not None else 0


def current_node() -> Any:
    """The node whose gradient is being computed; None in the forward."""
    return _current() if _current is not None else None


def number_of(node: Any) -> int | None:
    """The number of a node of the graph."""
    number = getattr(node, "_sequence_nr", None)
    return int(number()) if number is not None else None


def name_of(node: Any) -> str:
    """`SqrtBackward`."""
    name = getattr(node, "name", None)
    text = str(name()) if callable(name) else type(node).__name__
    return text.rpartition("::")[2].rstrip("0123456789")
