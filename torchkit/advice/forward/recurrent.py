"""A recurrent layer is given another width, or dimensions in another order."""

from __future__ import annotations

from torchkit.advice.forward.arguments import changed, is_input, rebuilt, some
from torchkit.advice.forward.building import built_as, counted
from torchkit.advice.forward.facts import Explanation, Trouble
from torchkit.advice.forward.inputs import input_of

_CELLS = ("LSTMCell", "GRUCell", "RNNCell")


def explain(trouble: Trouble) -> Explanation | None:
    layer, given = trouble.layer, trouble.first
    if not layer.is_a("LSTM", "GRU", "RNN", *_CELLS) or given is None or not given.shape:
        return None
    width, shape = layer.number("input_size"), given.shape
    most = 2 if layer.is_a(*_CELLS) else 3
    if len(shape) > most:
        return _too_many(trouble, shape, most, width)
    if shape[-1] == width:
        return _state(trouble)
    cause = f"the last dimension of {list(shape)} is {shape[-1]}, it was built for {width}"
    if len(shape) == 3 and shape[1] == width and not is_input(trouble):
        return Explanation(
            "dimensions-swapped",
            f"its {counted(width, 'feature')} are not last in {list(shape)}",
            cause,
            changed(trouble, ".transpose(1, 2)"),
        )
    fixes = rebuilt(layer, built_as(layer, input_size=shape[-1]))
    if is_input(trouble):
        fixes = some(input_of(trouble, given, (*shape[:-1], width)), *fixes)
    return Explanation(
        "recurrent-width",
        f"it takes {counted(width, 'feature')}, and is given {shape[-1]}",
        cause,
        fixes,
    )


def _too_many(trouble: Trouble, shape: tuple[int, ...], most: int, width: int) -> Explanation:
    cause = f"{list(shape)} has {len(shape)} dimensions, it takes {most} at most"
    fixes: tuple[str, ...] = ()
    given = trouble.first
    if most == 3 and len(shape) == 4 and shape[1] == 1 and shape[3] == width and given is not None:
        option = input_of(trouble, given, (shape[0], *shape[2:])) if is_input(trouble) else ""
        fixes = some(option, *changed(trouble, ".squeeze(1)"))
    elif most == 3 and len(shape) == 4 and shape[2] * shape[3] == width:
        fixes = changed(trouble, ".flatten(2)")
    elif most == 3 and len(shape) == 4 and shape[1] == width:
        cause += (
            f"; a map of {counted(width, 'channel')} becomes a sequence by flattening its sizes"
        )
        fixes = changed(trouble, ".flatten(2).transpose(1, 2)")
    return Explanation("dimensions", f"it takes {most} dimensions, not {len(shape)}", cause, fixes)


def _state(trouble: Trouble) -> Explanation | None:
    """The hidden state that came with the input is for another batch or another layer."""
    layer, tensors = trouble.layer, list(trouble.tensors())
    if len(tensors) < 2 or layer.is_a(*_CELLS) or len(tensors[0].shape) != 3:
        return None
    shape = tensors[0].shape
    batch = shape[0] if layer.settings.get("batch_first") else shape[1]
    directions = 2 if layer.settings.get("bidirectional") else 1
    size = layer.number("proj_size") or layer.number("hidden_size")
    wanted = (layer.number("num_layers") * directions, batch, size)
    found = tensors[1].shape
    if found == wanted:
        return None
    other = shape[1] if layer.settings.get("batch_first") else shape[0]
    fixes: tuple[str, ...] = ()
    if found == (wanted[0], other, size) and not layer.settings.get("batch_first"):
        fixes = rebuilt(layer, built_as(layer, batch_first=True))
    return Explanation(
        "recurrent-state",
        f"its state is {list(found)}, and has to be {list(wanted)}",
        "a state is [layers x directions, batch, hidden_size], also with batch_first",
        fixes,
    )
