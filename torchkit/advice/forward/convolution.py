"""A convolution is given other channels, other dimensions, or less than its kernel covers."""

from __future__ import annotations

import re

from torchkit.advice.forward.arguments import changed, is_input, rebuilt, some
from torchkit.advice.forward.building import built_as, counted, inserted, listed
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of, only_input
from torchkit.advice.forward.pictures import picture_option, seen_before, side_of, size_needed
from torchkit.advice.forward.stack import least_for_all

_KIND = re.compile(r"^(?:Conv(?:Transpose)?|(?:Max|Avg|LP|FractionalMax)Pool)([123])d$")


def explain(trouble: Trouble) -> Explanation | None:
    found = [it for it in map(_KIND.match, trouble.layer.kinds) if it]
    given = trouble.first
    if not found:
        return _pooled_too_small(trouble)
    if given is None:
        return None
    directions = int(found[0][1])
    channels = trouble.layer.number("in_channels")
    if channels and len(given.shape) not in (directions + 1, directions + 2):
        return _dimensions(trouble, given, directions, channels)
    if channels and given.shape[-directions - 1] != channels:
        return _channels(trouble, given, directions, channels)
    return _too_small(trouble, given, directions)


# --- dimensions


def _dimensions(trouble: Trouble, given: Tensor, directions: int, channels: int) -> Explanation:
    shape, own = given.shape, only_input(trouble)
    kind = "batch, channels and " + ("length" if directions == 1 else f"{directions} sizes")
    cause = f"{list(shape)} has {len(shape)} dimensions, it takes {directions + 2}: {kind}"
    brief = f"it takes {directions + 2} dimensions, and is given {list(shape)}"
    fixes: tuple[str, ...] = ()
    if len(shape) == directions + 3:
        if own is not None and own is not given and shape == (1, *own.shape) and trouble.has_batch:
            if own.storage == given.storage and trouble.is_by_option:
                cause += "; the model adds the batch itself"
                fixes = ("--no-batch",)
        elif is_input(trouble) and shape[2] == channels:
            fixes = some(input_of(trouble, given, (shape[0], *shape[2:])))
            if trouble.has_batch and trouble.is_by_option:
                cause += "; the batch is added to what --input says"
        if not fixes and shape[2] == channels:
            fixes = changed(trouble, ".flatten(0, 1)")
    elif is_input(trouble):
        sizes = shape[-directions:] if len(shape) >= directions else shape[-1:] * directions
        fixes = some(input_of(trouble, given, (shape[0], channels, *sizes)))
        if len(shape) == 2 and trouble.has_batch and directions > 1:
            side = side_of(shape[1] // channels) if shape[1] % channels == 0 else 0
            sizes = (side,) * directions
            fixes = (
                some(
                    input_of(trouble, given, (shape[0], channels, *sizes)),
                    *changed(trouble, f".view(-1, {channels}, {side}, {side})"),
                )
                if side and directions == 2
                else ()
            )
    elif len(shape) == 2 and directions == 2 and shape[1] % channels == 0:
        side = side_of(shape[1] // channels)
        if side:
            cause += f"; {shape[1]} are {counted(channels, 'channel')} of {side}x{side}"
            fixes = some(
                *changed(trouble, f".view(-1, {channels}, {side}, {side})"),
                *inserted(trouble.layer, f"nn.Unflatten(1, ({channels}, {side}, {side}))"),
            )
    elif len(shape) == 2 and directions == 1 and channels == 1:
        fixes = some(
            *changed(trouble, ".unsqueeze(1)"),
            *inserted(trouble.layer, "nn.Unflatten(1, (1, -1))"),
        )
    return Explanation("dimensions", brief, cause, fixes)


# --- channels


def _channels(trouble: Trouble, given: Tensor, directions: int, channels: int) -> Explanation:
    shape = given.shape
    has = shape[-directions - 1]
    is_whole = len(shape) == directions + 2
    if is_whole and shape[-1] == channels and _may_be_last(trouble, given):
        return _channels_last(trouble, given, directions)
    cause = f"{list(shape)} has {counted(has, 'channel')}, it was built for {channels}"
    brief = f"it takes {counted(channels, 'channel')}, and is given {has}"
    if not is_whole and is_input(trouble) and trouble.has_batch:
        sizes = shape[-directions:]
        return Explanation(
            "dimensions",
            f"it takes {directions + 2} dimensions, and is given {list(shape)}",
            f"{list(shape)} has no channels, it takes {directions + 2} dimensions: "
            f"batch, {counted(channels, 'channel')} and {directions} more",
            some(input_of(trouble, given, (shape[0], channels, *sizes))),
        )
    if not is_whole and channels == 1:
        return Explanation(
            "dimensions",
            f"{list(shape)} has no dimension for its one channel",
            f"{list(shape)} has {len(shape)} dimensions, it takes {directions + 2}",
            changed(trouble, ".unsqueeze(1)"),
        )
    fixes: tuple[str, ...] = ()
    if is_input(trouble):
        at = len(shape) - directions - 1
        fixes = some(input_of(trouble, given, (*shape[:at], channels, *shape[at + 1 :])))
    if is_whole:
        fixes += _other_channels(trouble, has)
    return Explanation("channels", brief, cause, fixes)


def _other_channels(trouble: Trouble, has: int) -> tuple[str, ...]:
    """The layer for so many channels; with groups they have to go into them."""
    layer = trouble.layer
    groups, out = layer.number("groups") or 1, layer.number("out_channels")
    if groups == layer.number("in_channels") == out:
        text = built_as(layer, in_channels=has, out_channels=has, groups=has)
    elif groups == layer.number("in_channels") > 1 and out % has == 0:
        text = built_as(layer, in_channels=has, groups=has)
    elif has % groups:
        return ()
    else:
        text = built_as(layer, in_channels=has)
    return rebuilt(layer, text)


def _may_be_last(trouble: Trouble, given: Tensor) -> bool:
    """Not what a convolution or pooling gave, nor a square picture that happens to fit."""
    if len(given.shape) == 4 and given.shape[1] != given.shape[2] == given.shape[3]:
        return False
    made_by = next((it.name for it in trouble.done if given.number in _numbers(it.outputs)), "")
    return not any(word in made_by for word in ("conv", "pool", "batch_norm", "upsample"))


def _numbers(tensors: tuple[Tensor, ...]) -> set[int]:
    return {it.number for it in tensors}


def _channels_last(trouble: Trouble, given: Tensor, directions: int) -> Explanation:
    shape = given.shape
    order = (0, directions + 1, *range(1, directions + 1))
    suffix = ".transpose(1, 2)" if directions == 1 else f".permute({', '.join(map(str, order))})"
    option = (
        input_of(trouble, given, (shape[0], shape[-1], *shape[1:-1])) if is_input(trouble) else ""
    )
    return Explanation(
        "channels-last",
        f"{list(shape)} has its channels last, it takes them first",
        f"{list(shape)} has its {shape[-1]} channels last; torch takes batch, channels, sizes",
        some(option, *changed(trouble, suffix)),
    )


# --- sizes


def _pooled_too_small(trouble: Trouble) -> Explanation | None:
    """The same in a function of the user's own forward."""
    named = re.match(r"(?:max|avg)_pool([23])d", trouble.operation)
    sizes = [it for it in trouble.numbers if isinstance(it, tuple)]
    if named is None or not sizes or not trouble.operands:
        return None
    given, directions = trouble.operands[0], int(named[1])
    padding = sizes[2] if len(sizes) > 2 else ()
    least = [_one_of(sizes[0], at, 1) - 2 * _one_of(padding, at, 0) for at in range(directions)]
    return _smaller_than(trouble, given, least) if len(given.shape) == directions + 2 else None


def _too_small(trouble: Trouble, given: Tensor, directions: int) -> Explanation | None:
    layer = trouble.layer
    if layer.kinds[0].startswith("ConvTranspose") or len(given.shape) != directions + 2:
        return None
    least = []
    for at in range(directions):
        kernel, padding, dilation = (
            _one_of(layer.sizes(name), at, default)
            for name, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
        )
        least.append(dilation * (kernel - 1) + 1 - 2 * padding)
    return _smaller_than(trouble, given, least)


def _smaller_than(trouble: Trouble, given: Tensor, least: list[int]) -> Explanation | None:
    has = given.shape[2:]
    if all(size >= needed for size, needed in zip(has, least, strict=True)):
        return None
    wanted = tuple(max(size, needed) for size, needed in zip(has, least, strict=True))
    seen = seen_before(trouble, given)
    picture = size_needed(seen, wanted) if seen is not None else None
    fixes: tuple[str, ...] = ()
    for_all = least_for_all(trouble.layer, trouble.code, wanted)
    whole = size_needed(seen, for_all) if seen is not None and for_all is not None else None
    if seen is not None and whole is not None:
        fixes = some(picture_option(trouble, seen, whole))
    return Explanation(
        "picture-too-small",
        f"its kernel covers {listed(least)}, only {listed(has)} is left of the input",
        f"{list(given.shape)} is smaller than {listed(least)}, the least that it takes"
        + (f"; inputs of {listed(picture)} are the smallest that reach it" if picture else "")
        + (f", and of {listed(whole)} what is behind it" if whole and whole != picture else ""),
        fixes,
    )


def _one_of(sizes: tuple[int, ...], at: int, default: int) -> int:
    if not sizes:
        return default
    return sizes[at] if len(sizes) > at else sizes[0]
