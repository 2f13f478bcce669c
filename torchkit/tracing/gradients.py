"""The user's own `backward` that gave a gradient autograd could not take: no frame leads to it.

The nodes of the graph are walked for the class that the message names.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from torchkit.tracing.tensors import is_tensor

INVALID = (
    r"Function (?P<name>\w+)Backward returned an invalid gradient at index (?P<at>\d+) - "
    r"got (?P<got>\[[\d, ]*\]) but expected shape compatible with (?P<wanted>\[[\d, ]*\])"
)
"""Seen in torch 2.0 to 2.13; the functions of torch's own have a number at the end of their name."""

MOST_NODES = 10_000


class Returned(NamedTuple):
    """The line of a `backward` that gives its gradients; of its `def` where there are several."""

    code: CodeType
    function: str
    line: int
    expression: str


def returned_by(message: str, frames: Iterable[FrameType]) -> Returned | None:
    """Where the `backward` that the message names gives its gradients; None where it is not found.

    `frames` are those of the exception: in one of them is the tensor that backward began with.
    """
    match = re.search(INVALID, message)
    if match is None:
        return None
    own = _class_of(f"{match['name']}Backward", frames)
    code = getattr(getattr(own, "backward", None), "__code__", None)
    if not isinstance(code, CodeType):
        return None
    name = f"{own.__qualname__}.backward".replace("<locals>.", "")
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, ValueError):
        return Returned(code, name, code.co_firstlineno, "")
    returns = [it for it in ast.walk(tree) if isinstance(it, ast.Return) and it.value is not None]
    if len(returns) != 1 or returns[0].value is None:
        return Returned(code, name, code.co_firstlineno, "")
    return Returned(code, name, first + returns[0].lineno - 1, ast.unparse(returns[0].value))


def _class_of(name: str, frames: Iterable[FrameType]) -> Any:
    waiting = [
        value.grad_fn
        for frame in frames
        for value in list(frame.f_locals.values())
        if is_tensor(value) and value.grad_fn is not None
    ]
    seen: set[Any] = set()
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == name:
            return getattr(node, "_forward_cls", None)
        waiting += [it for it, _ in node.next_functions if it is not None]
    return None
