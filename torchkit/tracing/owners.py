"""Whose operation it is: the layer or optimizer it is done in, and the names of what it is given.

Only looked up for the one operation that is told. Nothing of the user's is run.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from types import FrameType
from typing import Any, NamedTuple

import torch

from torchkit.tracing.expressions import NOTHING, Names
from torchkit.tracing.layers import module_of, module_text, paths_of
from torchkit.tracing.places import Spot, is_users_file


class Inside(NamedTuple):
    """The layer of torch's own that an operation is done in, as the user's code names it (`net.2`,
    `Linear(4, 2)`), or the optimizer (`Adam`, and its eps)."""

    module: str = ""
    module_text: str = ""
    optimizer: str = ""
    eps: float | None = None


def inside(frame: FrameType | None) -> Inside:
    """What the operation of these frames is done in, below the user's own innermost line."""
    inner, users = _split(frame)
    try:
        for it in inner:
            owner = it.f_locals.get("self")
            if isinstance(owner, torch.optim.Optimizer):
                eps = owner.defaults.get("eps")
                return Inside(
                    optimizer=type(owner).__name__, eps=eps if isinstance(eps, float) else None
                )
        module = module_of(list(reversed(inner)))
        if module is None:
            return Inside()
        near, whole = paths_of(module, list(reversed(users)))
        return Inside(whole or near, module_text(module))
    except Exception:  # noqa: BLE001 - modules of the user's that cannot be looked at
        return Inside()


def _split(frame: FrameType | None) -> tuple[list[FrameType], list[FrameType]]:
    """The frames that are not the user's, the innermost first; then those that are."""
    inner: list[FrameType] = []
    users: list[FrameType] = []
    while frame is not None and len(inner) + len(users) < 200:
        if is_users_file(frame.f_code.co_filename):
            users.append(frame)
        elif not users:
            inner.append(frame)
        frame = frame.f_back
    return inner, users


def names_of(inputs: Sequence[Any], frame: FrameType | None, spot: Spot | None) -> tuple[str, ...]:
    """What the source calls each of the inputs of an operation; "" for those it does not name."""
    try:
        return _names_of(inputs, frame, spot)
    except Exception:  # noqa: BLE001 - names are a help, no more
        return ("",) * len(inputs)


def _names_of(inputs: Sequence[Any], frame: FrameType | None, spot: Spot | None) -> tuple[str, ...]:
    _, users = _split(frame)
    node = spot.node if spot is not None else None
    nothing = ("",) * len(inputs)
    if node is None or not users or spot is None or users[0].f_code is not spot.code:
        return nothing
    names = Names(users[0].f_locals, users[0].f_globals)
    parts = _parts(node)
    found = [""] * len(inputs)
    unknown = []
    for part in parts:
        value = names.look_up(part)
        if value is NOTHING:
            unknown.append(part)
            continue
        for number, it in enumerate(inputs):
            if not found[number] and isinstance(value, torch.Tensor) and _are_same(value, it):
                found[number] = ast.unparse(part)
    left = [number for number, name in enumerate(found) if not name]
    in_order = isinstance(node, ast.BinOp) and len(left) == len(unknown)
    if in_order or len(left) == len(unknown) == 1:
        for number, part in zip(left, unknown, strict=True):
            found[number] = ast.unparse(part)
    return tuple(found)


def _parts(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.AugAssign):
        return [node.target, node.value]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.Call):
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        given = [*owner, *node.args, *(it.value for it in node.keywords)]
        return [it for it in given if not isinstance(it, ast.Constant) and not _is_torch(it)]
    return []


def parts_of(node: ast.AST | None) -> list[str]:
    """The source of what an operation is given, in its order."""
    return [ast.unparse(part) for part in _parts(node)] if node is not None else []


def _is_torch(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return _is_torch(node.value)
    return isinstance(node, ast.Name) and node.id in ("torch", "F", "nn", "np")


def _are_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return bool(
            one.data_ptr() == other.data_ptr() != 0
            and one.numel() == other.numel()
            and one.dtype == other.dtype
        )
    except RuntimeError:
        return False
