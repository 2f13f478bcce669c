"""A linear layer is given another number of features than it was built for."""

from __future__ import annotations

from math import prod

from torchkit.advice.forward.arguments import changed, is_input, meets_input, rebuilt, some
from torchkit.advice.forward.building import built_as, counted, inserted, listed
from torchkit.advice.forward.code import meets_its_input, wrapped_around
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of
from torchkit.advice.forward.pictures import (
    feature_map,
    picture_option,
    seen_before,
    side_of,
    size_needed,
)


def explain(trouble: Trouble) -> Explanation | None:
    layer, given = trouble.layer, trouble.first
    needed = layer.number("in_features")
    if not layer.is_a("Linear") or given is None or not needed or not given.shape:
        return None
    if given.shape[-1] == needed:
        return None
    for rule in (_unflattened, _flattened_with_batch, _turned, _picture):
        found = rule(trouble, given, needed)
        if found is not None:
            return found
    return _width(trouble, given, needed)


def _unflattened(trouble: Trouble, given: Tensor, needed: int) -> Explanation | None:
    shape = given.shape
    if len(shape) < 3 or prod(shape[1:]) != needed:
        return None
    return Explanation(
        "flatten-missing",
        f"{list(shape)} was not flattened to {counted(needed, 'feature')}",
        f"{listed(shape[1:])} are the {counted(needed, 'feature')} it takes, in {len(shape) - 1} dimensions",
        some(*changed(trouble, ".flatten(1)"), *inserted(trouble.layer, "nn.Flatten()")),
    )


def _flattened_with_batch(trouble: Trouble, given: Tensor, needed: int) -> Explanation | None:
    if len(given.shape) != 1 or given.elements % needed:
        return None
    batch = given.elements // needed
    return Explanation(
        "batch-flattened",
        f"the batch was flattened too: {list(given.shape)} are {batch} times {counted(needed, 'feature')}",
        f"it takes {counted(needed, 'feature')} for each sample; flatten() and view(-1) leave no batch",
        changed(trouble, f".reshape(-1, {needed})"),
    )


def _turned(trouble: Trouble, given: Tensor, needed: int) -> Explanation | None:
    """The features are there, in another dimension than the last one."""
    shape, is_called_by_name = given.shape, trouble.layer.holder != "Sequential"
    if len(shape) == 3 and shape[1] == needed and meets_input(trouble):
        return _turned_there_and_back(trouble, given, needed)
    if shape[:-1].count(needed) != 1 or not (is_called_by_name or len(shape) == 4):
        return None
    if len(shape) == 3 and _has_features_last(trouble, given):
        return None
    at = shape.index(needed)
    own = next((it.tensor for it in trouble.inputs if it.tensor is not None), None)
    batch = own.shape[0] if own is not None and own.shape else 0
    if at == 0 and (len(shape) > 2 or is_input(trouble) or batch == needed):
        return None
    cause = f"its {counted(needed, 'feature')} are dimension {at} of {list(shape)}, and not the last one"
    if len(shape) == 4 and at == 1:
        return Explanation(
            "pooling-missing",
            f"{list(shape)} is a map of {counted(needed, 'channel')}, not {counted(needed, 'feature')}",
            f"{cause}: no pooling took the mean over {listed(shape[2:])}",
            some(
                *changed(trouble, ".mean((2, 3))"),
                *inserted(trouble.layer, "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())"),
                *changed(trouble, ".permute(0, 2, 3, 1)"),
            ),
        )
    last = len(shape) - 1
    return Explanation(
        "dimensions-swapped",
        f"dimensions are swapped: {counted(needed, 'feature')} are not last in {list(shape)}",
        cause,
        (
            *changed(trouble, f".transpose({at}, {last})"),
            *(() if _is_from_convolution(trouble, given) else _of_width(trouble, given)),
        ),
    )


def _turned_there_and_back(trouble: Trouble, given: Tensor, needed: int) -> Explanation | None:
    """A block over the second dimension whose output is added to its input, as mixers have it."""
    layer = trouble.layer
    path = layer.path
    if layer.holder == "Sequential":
        path, _, at = path.rpartition(".")
        if at != "0":
            return None
    line = None
    if not trouble.is_library:
        line = wrapped_around(trouble.code, path, ".transpose(1, 2)")
    return Explanation(
        "dimensions-swapped",
        f"dimensions are swapped: {counted(needed, 'feature')} are not last in {list(given.shape)}",
        f"its {counted(needed, 'feature')} are dimension 1 of {list(given.shape)}, and not the last one",
        some(line or ""),
    )


def _is_from_convolution(trouble: Trouble, given: Tensor) -> bool:
    """Then its channels are dimension 1 for certain, and no length that happens to fit."""
    maps = [it for it in trouble.done if "conv" in it.name and len(given.shape) == 3]
    return any(given.shape == out.shape for step in maps for out in step.outputs)


def _has_features_last(trouble: Trouble, given: Tensor) -> bool:
    """What a linear layer, an embedding or a norm gave; another size may fit by chance."""
    made_by = [it for it in trouble.done if any(out.number == given.number for out in it.outputs)]
    return bool(made_by) and made_by[-1].type in ("Linear", "Embedding", "LayerNorm")


def _of_width(trouble: Trouble, given: Tensor) -> tuple[str, ...]:
    layer, has = trouble.layer, given.shape[-1]
    if _keeps_width(trouble):
        return ()
    if meets_input(trouble) and not (layer.number("out_features") == has and _is_called(trouble)):
        return ()
    return rebuilt(layer, built_as(layer, in_features=has))


def _keeps_width(trouble: Trouble) -> bool:
    """Whether a Sequential that it begins was built to give as many features as it takes.

    Its output may be added to its input somewhere: then another input width is no cure.
    """
    holder, _, at = trouble.layer.path.rpartition(".")
    if trouble.layer.holder != "Sequential" or at != "0" or is_input(trouble):
        return False
    behind = [it for it in trouble.layer.later if it.path.startswith(f"{holder}.")]
    linear = [it.text for it in behind if it.type == "Linear"]
    return bool(linear) and f"out_features={trouble.layer.number('in_features')}," in linear[-1]


def _is_called(trouble: Trouble) -> bool:
    """Whether the user's line calls the layer itself, and not what it is in."""
    return meets_its_input(trouble.code, trouble.layer.path)


def _picture(trouble: Trouble, given: Tensor, needed: int) -> Explanation | None:
    """It fits a feature map of another size: the model was built for other pictures."""
    features = feature_map(trouble, given)
    seen = seen_before(trouble, given)
    if features is None or seen is None or len(features.shape) < 3:
        return None
    channels, sizes = features.shape[1], features.shape[2:]
    if features.shape[0] != given.shape[0] or needed % channels:
        return None
    wanted = other_sizes(needed // channels, sizes)
    picture = size_needed(seen, wanted) if wanted else None
    if wanted is None or picture is None:
        return None
    option = picture_option(trouble, seen, picture)
    return Explanation(
        "picture-size",
        f"it was built for inputs of {listed(picture)}, not {listed(seen.picture.shape[2:])}",
        f"it takes {counted(needed, 'feature')}, which are {counted(channels, 'channel')} of {listed(wanted)}; an input of "
        f"{listed(seen.picture.shape[2:])} gives {listed(sizes)}",
        some(option, *_of_width(trouble, given)),
    )


def other_sizes(area: int, sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes of this area that look like these: a square for a square."""
    if len(sizes) == 1:
        return (area,)
    if len(sizes) == 2 and sizes[0] == sizes[1]:
        side = side_of(area)
        return (side, side) if side else None
    if len(sizes) == 2:
        height = round((area * sizes[0] / sizes[1]) ** 0.5)
        return (height, area // height) if height and area % height == 0 else None
    side = round(area ** (1 / len(sizes)))
    return (side,) * len(sizes) if side ** len(sizes) == area else None


def _width(trouble: Trouble, given: Tensor, needed: int) -> Explanation:
    has = given.shape[-1]
    cause = f"the last dimension of {list(given.shape)} is {has}, it was built for {needed}"
    if has == 2 * needed and any("bidirectional=True" in it.text for it in trouble.done):
        cause += "; a bidirectional layer gives both directions, twice its hidden_size"
    fixes: tuple[str, ...] = ()
    if is_input(trouble):
        fixes = some(input_of(trouble, given, (*given.shape[:-1], needed)))
    if len(given.shape) < 4:
        fixes += _of_width(trouble, given)
    return Explanation(
        "linear-features",
        f"it takes {counted(needed, 'feature')}, and is given {has}",
        cause,
        fixes,
    )
