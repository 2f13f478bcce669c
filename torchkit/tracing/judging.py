"""What the judges of `reasons` share: a reason, and how operands are marked and layers named. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torchkit.advice.forward import explained
from torchkit.advice.forward.building import built_as
from torchkit.advice.forward.facts import Setting, Trouble
from torchkit.tracing.postmortem import Named, PostMortem


class Reason(NamedTuple):
    """What is said: the sentence and fixes that are better than the catalogue's; "" and () for none.

    `id` is the problem where the message could mean another one, or the catalogue does not know it.
    With `is_all` nothing of the catalogue's is to be pasted, also where there is no fix.
    """

    operands: tuple[Named, ...]
    cause: str = ""
    fix: tuple[str, ...] = ()
    id: str = ""
    is_all: bool = False


Judge = Callable[[PostMortem], "Reason | None"]


def of_layer(seen: PostMortem) -> Reason | None:
    """What the rules of a failing layer say that `summary` has as well."""
    if seen.layer is None or not seen.given:
        return None
    found = explained(
        Trouble(
            error=seen.error,
            message=seen.message,
            model="",
            layer=seen.layer,
            given=seen.given,
            code=seen.expression,
        )
    )
    if found is None:
        return None
    name = seen.module or seen.module_type
    fixes = tuple(in_place_of_self(seen, it) for it in found.fixes)
    cause = f"{name}: {found.brief}" + (f"; {found.cause}" if found.cause else "")
    return Reason(seen.operands, cause, fixes)


# --- what judges share


def said(seen: PostMortem, *patterns: str) -> re.Match[str] | None:
    """The first of these patterns that the message has, whatever the case."""
    for pattern in patterns:
        found = re.search(pattern, seen.message, re.IGNORECASE | re.DOTALL)
        if found is not None:
            return found
    return None


def noted(operands: tuple[Named, ...], notes: Mapping[int, str]) -> tuple[Named, ...]:
    """The operands with something said of those at these places."""
    return tuple(
        operand._replace(note=notes.get(number, operand.note))
        for number, operand in enumerate(operands)
    )


def is_own(seen: PostMortem, operand: Named) -> bool:
    """Whether it is a parameter or buffer of the failing layer itself."""
    return bool(seen.module_type) and any(
        operand.name == f"{owner}.{name}"
        for owner in (seen.module or seen.module_type,)
        for name in (operand.name.rpartition(".")[2],)
        if seen.layer is not None
    )


def inputs_of(seen: PostMortem) -> list[tuple[int, Named]]:
    """What the failing layer or operation was given, without a layer's own tensors."""
    return [(number, it) for number, it in enumerate(seen.operands) if not is_own(seen, it)]


def place_of(seen: PostMortem, name: str) -> int | None:
    """Where the layer's own tensor of this name is among the operands."""
    for number, it in enumerate(seen.operands):
        if is_own(seen, it) and it.name.rpartition(".")[2] == name:
            return number
    return None


def layer_name(seen: PostMortem) -> str:
    """The failing layer as the user names it."""
    return seen.module or seen.module_type


def rebuilt(seen: PostMortem, **changes: Setting) -> str:
    """The line that builds the failing layer with other settings: `self.fc = nn.Linear(1568, 10)`."""
    if seen.layer is None or not seen.module:
        return ""
    text = built_as(seen.layer, kind="", **changes)
    return in_place_of_self(seen, text) if " = " in text else ""


def in_place_of_self(seen: PostMortem, text: str) -> str:
    """A fix with the model called as the user calls it."""
    root = seen.module.partition(".")[0] or "self"
    return re.sub(r"^(self|model)(?=[.\[ ])", root, text)


def listed(sizes: tuple[int, ...]) -> str:
    """`7x7`, as people speak of a picture's size."""
    return "x".join(map(str, sizes))


def shape(operand: Named) -> str:
    """`[2, 3]`."""
    return str(list(operand.tensor.shape))


def between(low: float | int, high: float | int) -> str:
    """`goes from 1 to 10`, or `is 3`."""
    if low == high:
        return f"is {low:g}" if isinstance(low, float) else f"is {low}"
    if isinstance(low, int) and isinstance(high, int):
        return f"goes from {low} to {high}"
    return f"goes from {low:.4g} to {high:.4g}"
