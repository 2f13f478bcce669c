"""A layer says itself which size of picture it was built for, and is given another one."""

from __future__ import annotations

from torchkit.advice.forward.arguments import is_input, some
from torchkit.advice.forward.building import listed
from torchkit.advice.forward.facts import Explanation, Trouble
from torchkit.advice.forward.inputs import input_of

_NAMES = ("img_size", "image_size")
"""As timm and transformers have them."""


def explain(trouble: Trouble) -> Explanation | None:
    layer, given = trouble.layer, trouble.first
    if layer.kinds or given is None or len(given.shape) != 4 or not is_input(trouble):
        return None
    size = next((it for it in map(layer.sizes, _NAMES) if it), ())
    wanted = size * 2 if len(size) == 1 else size
    if len(wanted) != 2 or given.shape[2:] == wanted:
        return None
    return Explanation(
        "picture-size",
        f"it was built for inputs of {listed(wanted)}, not {listed(given.shape[2:])}",
        f"{list(given.shape)} is {listed(given.shape[2:])}; img_size is {listed(wanted)}",
        some(input_of(trouble, given, (*given.shape[:2], *wanted))),
    )
