"""What forward asks for is not there: an attribute, or forward itself."""

from __future__ import annotations

import difflib

from torchkit.advice.forward.arguments import some
from torchkit.advice.forward.code import attribute_renamed, attributes
from torchkit.advice.forward.facts import Explanation, Trouble

_HOLDERS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")


def explain(trouble: Trouble) -> Explanation | None:
    layer = trouble.layer
    if trouble.error == "NotImplementedError" and not trouble.operation:
        if layer.is_a(*_HOLDERS):
            return Explanation(
                "no-forward",
                f"a {layer.type} holds layers and cannot be called",
                f"{layer.type} has no forward; nn.Sequential calls its layers one after the other",
                _sequential(trouble),
            )
        if not layer.has_forward:
            return Explanation(
                "no-forward",
                f"{layer.type} has no method forward",
                "a method of another name, or indented outside of the class, is no forward",
            )
        return None
    if trouble.error == "AttributeError":
        return _attribute(trouble)
    return None


def _sequential(trouble: Trouble) -> tuple[str, ...]:
    from torchkit.advice.forward.building import place

    layer = trouble.layer
    if not layer.is_a("ModuleList") or not layer.path:
        return ()
    where = place(layer.path)
    return (f"{where} = nn.Sequential(*{where})",)


def _attribute(trouble: Trouble) -> Explanation | None:
    """`self.fc3` where there is a `self.fc2`."""
    layer = trouble.layer
    asked = [it for it in attributes(trouble.code) if f"'{it}'" in trouble.message]
    if len(asked) != 1 or layer.type not in trouble.message or not layer.children:
        return None
    near = _nearest(asked[0], layer.children)
    there = ", ".join(layer.children[:8])
    line = None
    if near and not trouble.is_library:
        line = attribute_renamed(trouble.code, asked[0], near)
    return Explanation(
        "no-attribute",
        f"self.{asked[0]} is not there",
        f"{layer.type} has {there}, and no {asked[0]}",
        some(line or ""),
    )


_MARGIN = 0.1
"""So much nearer than the next one is a name that is certainly meant."""


def _nearest(name: str, names: tuple[str, ...]) -> str:
    """The one name that is meant; "" where none or several may be."""
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    ratios = [difflib.SequenceMatcher(None, it, name).ratio() for it in near]
    is_clear = len(near) == 1 or (len(near) == 2 and ratios[0] - ratios[1] > _MARGIN)
    return near[0] if is_clear else ""
