"""A layer's argument changed on its way in, where the user's code has the call, or in words."""

from __future__ import annotations

from torchkit.advice.forward.building import place
from torchkit.advice.forward.code import meets_its_input, wrapped, wrapped_around
from torchkit.advice.forward.facts import Layer, Trouble


def changed(trouble: Trouble, suffix: str, position: int = 0) -> tuple[str, ...]:
    """The line of the user's code with the layer's argument followed by `suffix`.

    In words where the call is not on that line; none in the code of a package, and none for a
    layer of a Sequential, which nobody calls by name.
    """
    layer = trouble.layer
    if trouble.is_library or not layer.path:
        return ()
    line = wrapped(trouble.code, layer.path, suffix, position)
    if line is not None:
        return (line,)
    if layer.holder == "Sequential":
        return ()
    return (f"call {place(layer.path)} with x{suffix}, where x is its input",)


def around(trouble: Trouble, suffix: str) -> tuple[str, ...]:
    """The same with `suffix` behind the call as well: there and back again."""
    layer = trouble.layer
    if trouble.is_library or not layer.path:
        return ()
    line = wrapped_around(trouble.code, layer.path, suffix)
    return () if line is None else (line,)


def meets_input(trouble: Trouble) -> bool:
    """Whether the layer's output, or that of what it is in, is added to the input: a residual."""
    paths = (trouble.layer.path, *(path for path, _ in trouble.layer.holders))
    return any(meets_its_input(trouble.code, path) for path in paths if path)


def is_input(trouble: Trouble) -> bool:
    """Whether the layer was given the model's own input, unchanged."""
    first = trouble.first
    return first is not None and trouble.input_of(first) is not None


def rebuilt(layer: Layer, text: str) -> tuple[str, ...]:
    """The line that builds the layer anew.

    None where it is as it is for another call of it, or for another layer that has its weights.
    """
    return () if layer.has_worked or layer.is_tied or not text else (text,)


def some(*fixes: str) -> tuple[str, ...]:
    """Those that there are."""
    return tuple(dict.fromkeys(it for it in fixes if it))
