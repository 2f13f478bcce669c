"""How large the picture, or how long the signal, is that a convolutional model takes.

A `Linear` behind the convolutions fixes it: its `in_features` are channels times positions, and
the layers before it say how many positions an input leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

USUAL = {1: (128, 1024, 16000), 2: (224, 32, 28, 64, 256, 96, 128, 299, 8), 3: (32, 16, 64)}
"""Sizes by the number of dimensions, the likeliest first: ImageNet, CIFAR, MNIST, …"""

UPWARDS = (1, 4, 8, 16)
"""What a model takes that begins by making its input larger, as a generator does."""

SAID = ("image_size", "img_size", "input_size", "in_size")
"""Attributes by which models say what picture they take."""

SMALLEST_SAID, LARGEST_SAID = 8, 4096

LARGEST = {1: 20000, 2: 640, 3: 128}


class Asked(NamedTuple):
    """A size that a model says itself, and where."""

    sizes: tuple[int, ...]
    how: str


def sizes_for(
    model: nn.Module, first: nn.Module, dimensions: int
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Sizes, side by side, and how each was come to: what the layers ask for, what is said, guesses.

    Where the layers take many, what the model says comes first.
    """
    said = _said(model, getattr(first, "in_channels", 0)) if dimensions == 2 else None
    sides = list(_sides(model, first, dimensions))
    rows = [((size,) * dimensions, how) for size, how in sides]
    if said is None:
        yield from rows
        return
    asked = [it for it in rows if not it[1].endswith("is a guess")]
    takes_it = said.sizes in [it[0] for it in asked] or len(asked) != 1
    yield from ([said, *rows] if takes_it else [*asked, said, *rows[len(asked) :]])


def _said(model: nn.Module, channels: int) -> Asked | None:
    """An attribute that gives the size of a picture, of the first module that has one."""
    for path, module in model.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            continue  # an LSTM's input_size are features
        for name in SAID:
            sizes = _pair(vars(module).get(name), channels)
            if sizes is not None:
                owner = path or "the model"
                return Asked(sizes, f"{owner} has {name} {vars(module)[name]}")
    return None


def _pair(value: Any, channels: int) -> tuple[int, int] | None:
    """Height and width, of one number, of both, or of channels and both."""
    if type(value) is int:
        value = (value, value)
    if not isinstance(value, (tuple, list)) or not all(type(it) is int for it in value):
        return None
    if len(value) == 3 and value[0] == channels:
        value = value[1:]
    if len(value) != 2 or not all(SMALLEST_SAID <= it <= LARGEST_SAID for it in value):
        return None
    return value[0], value[1]


def _sides(model: nn.Module, first: nn.Module, dimensions: int) -> Iterator[tuple[int, str]]:
    if getattr(first, "transposed", False):
        yield from ((size, f"the size {size} is a guess") for size in UPWARDS)
        return
    usual = USUAL[dimensions]
    linear, asked = _asked_for(model, first, dimensions)
    several = sorted(
        asked, key=lambda size: (size not in usual, size not in (28, 32, 64, 224, 256), size)
    )
    yield from ((size, f"the size {size} by {linear}") for size in several[:3])
    left = (size for size in usual if size not in several[:3])
    yield from ((size, f"the size {size} is a guess") for size in left)


def _asked_for(model: nn.Module, first: nn.Module, dimensions: int) -> tuple[str, list[int]]:
    """The first Linear's path behind `first`, and the sizes that would leave what it takes.

    None where a pool that fits any size is before it, or after it, when it is in a branch.
    """
    chain: list[nn.Module] = []
    channels = 0
    has_begun = False
    if any(map(_fits_any_size, model.modules())):
        return "", []
    for path, layer in model.named_modules():
        has_begun = has_begun or layer is first
        if not has_begun or any(True for _ in layer.children()):
            continue
        if isinstance(layer, nn.Linear):
            positions, rest = divmod(layer.in_features, channels or layer.in_features)
            if channels == 0 or rest or positions <= 1:
                return path, []
            wanted = range(1, LARGEST[dimensions])
            return path, [it for it in wanted if _left(chain, it) ** dimensions == positions]
        if _moves(layer):
            chain.append(layer)
            channels = int(getattr(layer, "out_channels", channels))
    return "", []


def _moves(layer: nn.Module) -> bool:
    """A convolution or a pool: a layer that changes the number of positions."""
    return hasattr(layer, "kernel_size") or _fits_any_size(layer)


def _fits_any_size(layer: nn.Module) -> bool:
    """An adaptive pool."""
    return isinstance(
        layer,
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    )


def _left(chain: list[nn.Module], size: int) -> int:
    """How many positions of one side are left; 0 where the input is too small."""
    for layer in chain:
        adaptive = getattr(layer, "output_size", None)
        if adaptive is not None and not hasattr(layer, "kernel_size"):
            size = _one(adaptive) or size
            continue
        kernel, stride = _one(layer.kernel_size), _one(getattr(layer, "stride", 1))
        padding, dilation = getattr(layer, "padding", 0), _one(getattr(layer, "dilation", 1))
        if padding == "same":
            continue
        reach = dilation * (kernel - 1) + 1
        space = size + 2 * (0 if padding == "valid" else _one(padding)) - reach
        if space < 0:
            return 0
        rounded = (
            -(-space // (stride or kernel))
            if getattr(layer, "ceil_mode", False)
            else space // (stride or kernel)
        )
        size = rounded + 1
    return size


def _one(value: Any) -> int:
    """The first of a tuple, or the number itself; 0 for None."""
    if isinstance(value, (tuple, list)):
        value = value[0] if value else 0
    return int(value or 0)
