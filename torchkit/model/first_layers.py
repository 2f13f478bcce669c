"""What the first layers of a model take: shapes, the likeliest first, and how each was come to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from torchkit.model.sizes import sizes_for

LENGTH = 16
"""Of a sequence, where nothing says it."""


class Shape(NamedTuple):
    """One input: its shape without the batch, or with it where None is; `is_list` for a list of them."""

    sizes: tuple[int | None, ...]
    is_integer: bool = False
    is_bool: bool = False
    is_list: bool = False


def first_shapes(model: nn.Module) -> Iterator[tuple[Shape, str]]:
    """Of the first few layers that say what they take; of each all its likely sizes, in turn.

    The first layer's first size, the second's first size, …: a head registered before its
    backbone is not asked sixteen times in vain.
    """
    rows = [_of_layer(model, path, layer) for path, layer in _layers(model)]
    for position in range(max(map(len, rows), default=0)):
        for row in rows[:1] if position else rows[:4]:
            if position < len(row):
                yield row[position]
    for row in rows[1:4]:
        yield from row[1:3]


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers that say what they take, in order of registration; one of each kind and width.

    Behind a convolution only convolutions count: a Linear there takes what they leave, and its
    width in a picture's shape could run by accident.
    """
    seen = set()
    inside: tuple[str, ...] = ()
    is_picture = False
    for path, layer in model.named_modules():
        key = _key(layer)
        if key is None or (inside and path.startswith(inside)):
            continue
        inside = (*inside, f"{path}." if path else "")  # an attention's own projections
        if key in seen or (is_picture and not key[0].startswith("conv")):
            continue
        is_picture = is_picture or key[0].startswith("conv")
        seen.add(key)
        yield path, layer


def channels_of(model: nn.Module) -> int | None:
    """The channels of a picture that the first 2-d convolution takes; None where there is none."""
    for _, layer in _layers(model):
        kind, width = _key(layer) or ("", 0)
        if kind == "conv2":
            return width
    return None


_WIDTHS = (
    ("in2_features", "bilinear", "in1_features"),
    ("out_features", "linear", "in_features"),
    ("embedding_dim", "ids", "num_embeddings"),
    ("hidden_size", "sequence", "input_size"),
    ("num_heads", "attention", "embed_dim"),
)
"""By which attribute a layer is known, what kind it is, and which attribute says how wide."""

LAZY_CHANNELS = 3
"""A lazy convolution takes any; a picture has three."""


def _key(layer: nn.Module) -> tuple[str, int] | None:
    """The kind of input a layer takes, and how wide; by attributes, as quantised ones have them."""
    if isinstance(layer, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return "attention", int(layer.self_attn.embed_dim)
    if _holds_layers(layer) and not isinstance(layer, nn.MultiheadAttention):
        return None
    kernel = getattr(layer, "kernel_size", None)
    if isinstance(kernel, tuple) and isinstance(getattr(layer, "in_channels", None), int):
        return f"conv{len(kernel)}", int(getattr(layer, "in_channels", 0)) or LAZY_CHANNELS
    if isinstance(layer, nn.RNNCellBase):
        return "cell", int(layer.input_size)
    if isinstance(layer, nn.LayerNorm):
        return "layernorm", int(layer.normalized_shape[-1])
    if _dimensions(layer) and getattr(layer, "num_features", 0):
        return f"norm{_dimensions(layer)}", int(getattr(layer, "num_features", 0))
    for sign, kind, attribute in _WIDTHS:
        width = getattr(layer, attribute, None)
        if hasattr(layer, sign) and isinstance(width, int) and width:
            return kind, width
    return None


def _holds_layers(layer: nn.Module) -> bool:
    """A user's own module may have such attributes, too; the layers inside it tell more."""
    return any(True for _ in layer.children())


def _dimensions(layer: nn.Module) -> int:
    name = str(getattr(layer, "original_name", None) or type(layer).__name__)
    found = re.fullmatch(r"(?:Sync)?(?:Batch|Instance)Norm([123])d", name)
    return int(found[1]) if found else 0


def _of_layer(model: nn.Module, path: str, layer: nn.Module) -> list[tuple[Shape, str]]:
    """The likely shapes of what a layer takes, the likeliest first, and how they were come to."""
    kind, width = _key(layer) or ("", 0)
    name = str(getattr(layer, "original_name", None) or type(layer).__name__)
    place = f"{path} ({name})" if path else f"the {name}"
    if kind.startswith(("conv", "norm")):
        dimensions = int(kind[-1])
        how = f"{place} takes {width} channel{'s' if width > 1 else ''}"
        return [
            (Shape((width, *sizes)), f"{how}; {why}")
            for sizes, why in sizes_for(model, layer, dimensions)
        ]
    if kind == "ids":
        how = f"{place} takes ids below {width}"
        return [(Shape((LENGTH,), is_integer=True), how), (Shape((), is_integer=True), how)]
    how = f"{place} takes {width} features"
    sequence = f"{how}; the length {LENGTH} is a guess"
    flat, long = Shape((width,)), Shape((LENGTH, width))
    if kind in ("sequence", "attention"):
        order = (None, LENGTH, width) if _is_batch_first(layer) else (LENGTH, None, width)
        return [(Shape(order), sequence)]
    if kind == "layernorm":
        shape = tuple(int(it) for it in layer.normalized_shape)  # type: ignore[union-attr]
        return [(Shape((LENGTH, *shape)), sequence), (Shape(shape), how)]
    if kind == "cell":
        return [(flat, how)]
    return [(flat, how), (long, sequence), *_squares(width, place)]


def _is_batch_first(layer: nn.Module) -> bool:
    inner = getattr(layer, "self_attn", layer)
    return bool(getattr(inner, "batch_first", False))


def _squares(width: int, place: str) -> Iterator[tuple[Shape, str]]:
    """A picture that is flattened first: 784 features may be 28x28, 3072 be 3x32x32."""
    for channels in (1, 3):
        side = math.isqrt(width // channels)
        if side > 1 and channels * side * side == width:
            yield (
                Shape((channels, side, side)),
                f"{place} takes {width} features: {channels}x{side}x{side}",
            )
