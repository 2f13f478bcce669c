"""An activation with a parameter for each channel is given others."""

from __future__ import annotations

from torchkit.advice.forward.arguments import rebuilt
from torchkit.advice.forward.building import built_as, counted
from torchkit.advice.forward.facts import Explanation, Trouble


def explain(trouble: Trouble) -> Explanation | None:
    layer, given = trouble.layer, trouble.first
    if not layer.is_a("PReLU") or given is None or len(given.shape) < 2:
        return None
    width = layer.number("num_parameters")
    if width in (1, given.shape[1]):
        return None
    return Explanation(
        "channels",
        f"it takes {counted(width, 'channel')}, and is given {given.shape[1]}",
        f"{list(given.shape)} has {counted(given.shape[1], 'channel')}, it was built for {width}",
        rebuilt(layer, built_as(layer, num_parameters=given.shape[1])),
    )
