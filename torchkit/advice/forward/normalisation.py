"""A norm is given another width, other dimensions, or one sample in train mode."""

from __future__ import annotations

import re
from math import gcd

from torchkit.advice.forward.arguments import around, changed, is_input, rebuilt, some
from torchkit.advice.forward.building import built_as, counted, listed
from torchkit.advice.forward.code import method_arguments, method_replaced
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of
from torchkit.advice.forward.pictures import picture_option, seen_before, size_needed

_BY_CHANNEL = re.compile(r"^(BatchNorm|InstanceNorm|SyncBatchNorm)([123]?)d?$")

_DIMENSIONS = {"1": (2, 3), "2": (4,), "3": (5,)}

_KEEPING = ("Dropout", "ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "Identity")

_KIND_FOR = {2: "1", 3: "1", 4: "2", 5: "3"}


def explain(trouble: Trouble) -> Explanation | None:
    layer, given = trouble.layer, trouble.first
    if given is None:
        return None
    found = [it for it in map(_BY_CHANNEL.match, layer.kinds) if it]
    if found:
        return _by_channel(trouble, given, found[0][1], found[0][2])
    if layer.is_a("GroupNorm"):
        return _groups(trouble, given)
    if layer.is_a("LayerNorm", "RMSNorm"):
        return _trailing(trouble, given)
    return None


def _by_channel(trouble: Trouble, given: Tensor, name: str, kind: str) -> Explanation | None:
    layer, shape = trouble.layer, given.shape
    width = layer.number("num_features")
    if name == "BatchNorm" and kind and len(shape) not in _DIMENSIONS[kind]:
        return _other_dimensions(trouble, given, width)
    if len(shape) < 2:
        return None
    if shape[1] != width:
        if len(shape) == 3 and shape[2] == width:
            return _not_second(trouble, given, width, ".transpose(1, 2)")
        cause = f"{list(shape)} has {counted(shape[1], 'channel')}, it was built for {width}"
        fixes = rebuilt(layer, built_as(layer, num_features=shape[1]))
        if is_input(trouble):
            fixes = some(input_of(trouble, given, (shape[0], width, *shape[2:])), *fixes)
        return Explanation(
            "norm-width",
            f"it takes {counted(width, 'channel')}, and is given {shape[1]}",
            cause,
            fixes,
        )
    values = given.elements // shape[1] if shape[1] else 0
    if values == 1 and trouble.is_training:
        return _one_sample(trouble, given)
    return None


def _one_sample(trouble: Trouble, given: Tensor) -> Explanation:
    option = "--batch-size 2" if trouble.is_by_option and trouble.has_batch else ""
    return Explanation(
        "one-sample",
        f"one sample in train mode: {list(given.shape)} has one value per channel",
        "in train mode it takes the mean and variance of each channel, which need two values",
        some(option) or ("give it batches of 2 or more: DataLoader(…, drop_last=True)",),
    )


def _other_dimensions(trouble: Trouble, given: Tensor, width: int) -> Explanation:
    layer, shape = trouble.layer, given.shape
    fixes: tuple[str, ...] = ()
    cause = f"{list(shape)} has {len(shape)} dimensions, which {layer.type} does not take"
    if shape == (width,):
        squeezed = _squeezed(trouble, width)
        if squeezed is not None:
            cause += "; squeeze() takes away a batch of one as well"
            fixes = squeezed
    elif len(shape) in _KIND_FOR and shape[1] == width:
        kind = f"BatchNorm{_KIND_FOR[len(shape)]}d"
        fixes = rebuilt(layer, built_as(layer, kind=kind))
    elif len(shape) == 3 and trouble.is_by_option and not trouble.has_batch and shape[0] == width:
        cause += "; without a batch there is one dimension less"
        fixes = ("leave out --no-batch",)
    return Explanation(
        "norm-dimensions", f"{layer.type} does not take {len(shape)} dimensions", cause, fixes
    )


def _squeezed(trouble: Trouble, width: int) -> tuple[str, ...] | None:
    """The cures for a batch of one that squeeze() took away; None where none was taken away."""
    steps = [it for it in trouble.done if it.name == "squeeze" and it.inputs and it.outputs]
    lost = [it for it in steps if it.inputs[0].shape[:1] == (1,) and len(it.outputs[0].shape) == 1]
    if not lost:
        return None
    last, given = lost[-1], trouble.first
    line = None
    is_here = given is not None and last.outputs[0].number == given.number
    is_width = is_here and last.inputs[0].elements == width and not trouble.is_library
    if is_width and method_arguments(trouble.code, ("squeeze",)) == ():
        line = method_replaced(trouble.code, ("squeeze",), ".flatten(1)")
    option = "--batch-size 2" if trouble.is_by_option and trouble.has_batch else ""
    return some(line or "", option)


def _not_second(trouble: Trouble, given: Tensor, width: int, swap: str) -> Explanation:
    layer = trouble.layer
    norm = f"nn.LayerNorm({width})"
    line = built_as(layer, num_features=width).partition(" = ")[0] + f" = {norm}"
    fixes = some(*around(trouble, swap), *rebuilt(layer, line if layer.path else ""))
    behind = next((it for it in layer.later if not it.type.startswith(_KEEPING)), None)
    if behind is not None and behind.type == "Conv1d":
        fixes = changed(trouble, swap) if behind.text.startswith(f"{width},") else ()
    return Explanation(
        "dimensions-swapped",
        f"its {counted(width, 'channel')} are last in {list(given.shape)}, it takes them second",
        f"{list(given.shape)} is batch, length, channels; {layer.type} takes batch, channels, length",
        fixes,
    )


def _groups(trouble: Trouble, given: Tensor) -> Explanation | None:
    layer, shape = trouble.layer, given.shape
    width, groups = layer.number("num_channels"), layer.number("num_groups")
    if len(shape) < 2 or shape[1] == width:
        return None
    if not shape[1] % groups:
        text = built_as(layer, num_channels=shape[1])
    else:
        text = built_as(layer, num_groups=gcd(groups, shape[1]), num_channels=shape[1])
    return Explanation(
        "norm-width",
        f"it takes {counted(width, 'channel')}, and is given {shape[1]}",
        f"{list(shape)} has {counted(shape[1], 'channel')}, it was built for {width}",
        rebuilt(layer, text),
    )


def _trailing(trouble: Trouble, given: Tensor) -> Explanation | None:
    layer, shape = trouble.layer, given.shape
    wanted = layer.sizes("normalized_shape")
    count = len(wanted)
    has = shape[len(shape) - count :] if count <= len(shape) else shape
    if not wanted or has == wanted:
        return None
    cause = f"the last dimensions of {list(shape)} are {list(has)}, it was built for {list(wanted)}"
    brief = f"it takes {listed(wanted)} last, and is given {list(shape)}"
    if count == 1 and len(shape) >= 3 and shape[1] == wanted[0]:
        cause += f"; its {wanted[0]} channels are dimension 1"
        place = built_as(layer, normalized_shape=wanted).partition(" = ")[0]
        norm = f"{place} = nn.GroupNorm(1, {wanted[0]})" if layer.path else ""
        lines = around(trouble, ".transpose(1, 2)") if len(shape) == 3 else ()
        return Explanation("channels-first", brief, cause, some(*lines, *rebuilt(layer, norm)))
    seen = seen_before(trouble, given) if count > 1 and len(shape) == count + 1 else None
    if seen is not None and seen.features.number == given.number and has[0] == wanted[0]:
        picture = size_needed(seen, wanted[1:])
        if picture is not None:
            option = picture_option(trouble, seen, picture)
            return Explanation(
                "picture-size",
                f"it was built for inputs of {listed(picture)}, not {listed(seen.picture.shape[2:])}",
                cause,
                some(option, *rebuilt(layer, built_as(layer, normalized_shape=has))),
            )
    fixes = rebuilt(layer, built_as(layer, normalized_shape=has)) if count <= len(shape) else ()
    if is_input(trouble) and count <= len(shape):
        other = (*shape[: len(shape) - count], *wanted)
        fixes = some(input_of(trouble, given, other), *fixes)
    return Explanation("norm-width", brief, cause, fixes)
