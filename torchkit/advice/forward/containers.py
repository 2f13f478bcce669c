"""A layer is given what several tensors came in: a tuple of a recurrent layer, a dictionary."""

from __future__ import annotations

import re

from torchkit.advice.forward.arguments import changed
from torchkit.advice.forward.code import attribute_indexed, call_indexed
from torchkit.advice.forward.facts import Explanation, Given, Trouble

_PLAIN = ("Identity", "Sequential", "Module", "ModuleList", "ModuleDict")


def explain(trouble: Trouble) -> Explanation | None:
    layer = trouble.layer
    if trouble.error not in ("TypeError", "AttributeError"):
        return None
    first = trouble.given[0] if trouble.given else None
    takes_one = bool(layer.kinds) and layer.type == layer.kinds[0] and not layer.is_a(*_PLAIN)
    if first is not None and takes_one and first.tensor is None and first.parts:
        return _given(trouble, first)
    if first is not None and takes_one and first.type == "NoneType" and trouble.gave_none:
        return _none(trouble)
    if layer.kinds and layer.type == layer.kinds[0]:
        return None
    return _in_code(trouble)


def _given(trouble: Trouble, given: Given) -> Explanation:
    keys = [key for key, _ in given.parts]
    key = keys[0].split(".")[0]
    number = given.parts[0][1].number
    makers = [path for path, numbers in trouble.gave_several if number in numbers]
    made_by = min(makers, key=lambda path: path.count("."), default="")
    of = f" of {made_by}" if made_by else ""
    if given.type in ("tuple", "list") or key.isdigit():
        suffix = f"[{key}]"
    elif given.type in ("dict", "OrderedDict"):
        suffix = f"[{key!r}]"
    else:
        suffix = f".{key}"
    kind = f"{'an' if given.type[:1] in 'AEIOaeio' else 'a'} {given.type}{of}"
    hint = ""
    if trouble.layer.holder == "Sequential":
        hint = "; a Sequential hands on all of it, so that layer has to be called outside of one"
    return Explanation(
        "several-given",
        f"it takes a tensor, and is given {kind}",
        f"{kind} holds {_counted(len(given.parts))}, it takes one alone{hint}",
        changed(trouble, suffix),
    )


def _none(trouble: Trouble) -> Explanation | None:
    """A block whose forward has no `return`; only one may have given the None."""
    makers = dict(trouble.gave_none)
    outer = [it for it in makers if not any(it.startswith(f"{other}.") for other in makers)]
    if len(outer) != 1:
        return None
    made_by, kind = outer[0], makers[outer[0]]
    return Explanation(
        "no-return",
        f"it takes a tensor, and is given None, the output of {made_by}",
        f"{made_by} ({kind}) gave None: the forward of {kind} ended without a return",
    )


def _in_code(trouble: Trouble) -> Explanation | None:
    """A tuple used as a tensor in the user's own code: torch names Python's type."""
    inside = f"{trouble.layer.path}." if trouble.layer.path else ""
    makers = [
        path
        for path, _ in trouble.gave_several
        if path.startswith(inside) and "." not in path.removeprefix(inside)
    ]
    if not makers or not re.search(r"\btuple\b", trouble.message):
        return None
    made_by = makers[-1]
    line = None
    if not trouble.is_library:
        line = call_indexed(trouble.code, made_by)
        asked = re.search(r"'tuple' object has no attribute '(\w+)'", trouble.message)
        if line is None and asked:
            line = attribute_indexed(trouble.code, asked[1])
    return Explanation(
        "several-given",
        f"{made_by} gives a tuple, which is used as a tensor",
        f"the output of {made_by} is a tuple; its first part is the tensor",
        (line,) if line else (),
    )


def _counted(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"
