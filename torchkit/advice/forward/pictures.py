"""From the size that a layer was built for back to the size of the picture that gives it.

Convolutions and pooling make `floor((size + a) / stride) + b` of a size, whatever their kernel and
padding. So do several after each other, and a picture that is larger by the product of all strides
gives exactly one more at the end. That is all that is used here.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import isqrt
from typing import NamedTuple

from torchkit.advice.forward.facts import Done, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of

MOST_STEPS = 5000

_KEEPS_NO_SCALE = (
    "adaptive",
    "permute",
    "transpose",
    "grid_sampler",
    "index",
    "upsample",
    "unfold",
)


_TURNS = ("squeeze", "unsqueeze")
"""Pooling of sequences is that of pictures of one line: these turn one into the other and back."""


class Seen(NamedTuple):
    """What lies before a layer: the last feature map, the picture it comes from, and the strides."""

    features: Tensor
    picture: Tensor
    strides: tuple[Fraction, ...]


def seen_before(trouble: Trouble, tensor: Tensor) -> Seen | None:
    """The feature map that a tensor was made of, and the model's input that that was made of."""
    made_by = _made_by(trouble)
    features = tensor
    for _ in range(MOST_STEPS):
        if len(features.shape) >= 3:
            break
        step = made_by.get(features.number)
        larger = [] if step is None else [it for it in step.inputs if _is_as_large(it, features)]
        if not larger:
            return None
        features = larger[0]
    return _back_to_picture(trouble, features, made_by)


def _made_by(trouble: Trouble) -> dict[int, Done]:
    """What made each tensor; what changes one in place does not make it."""
    return {
        made.number: step
        for step in trouble.done
        for made in step.outputs
        if all(it.number != made.number for it in step.inputs)
    }


def feature_map(trouble: Trouble, tensor: Tensor) -> Tensor | None:
    """The last tensor with sizes of its own that a flat one was made of."""
    seen = seen_before(trouble, tensor)
    return seen.features if seen is not None and seen.features is not tensor else None


def _is_as_large(tensor: Tensor, other: Tensor) -> bool:
    return tensor.elements == other.elements and tensor.role in ("activation", "input")


def _back_to_picture(trouble: Trouble, features: Tensor, made_by: dict[int, Done]) -> Seen | None:
    dimensions = len(features.shape)
    directions = dimensions - 2
    strides = [Fraction(1)] * directions
    at = features
    for _ in range(MOST_STEPS):
        if trouble.input_of(at) is not None:
            return Seen(features, at, tuple(strides))
        step = made_by.get(at.number)
        if step is None:
            return None
        before = next(
            (
                it
                for it in step.inputs
                if it.role in ("activation", "input")
                and (len(it.shape) in (dimensions, len(at.shape)) or step.name in _TURNS)
            ),
            None,
        )
        if before is None:
            return None
        if before.shape[-directions:] != at.shape[-directions:]:
            factors = _strides(step, before, at, directions)
            if factors is None:
                return None
            strides = [a * b for a, b in zip(strides, factors, strict=True)]
        at = before
    return None


def _strides(
    step: Done, before: Tensor, after: Tensor, directions: int
) -> tuple[Fraction, ...] | None:
    """How far apart in the input two neighbours of the output are, in each direction."""
    if any(part in step.name for part in _KEEPS_NO_SCALE):
        return None
    if not any(part in step.name for part in ("conv", "pool")):
        return None
    written = re.search(r"\bstride=\(?([\d, ]+)", step.text)
    is_transposed = "Transpose" in step.type
    if written and step.type.startswith(("Conv", "MaxPool", "AvgPool", "LPPool")):
        numbers = [int(it) for it in re.findall(r"\d+", written[1])]
        numbers = numbers * directions if len(numbers) == 1 else numbers[:directions]
        return tuple(Fraction(1, it) if is_transposed else Fraction(it) for it in numbers)
    found = []
    for size, smaller in zip(before.shape[-directions:], after.shape[-directions:], strict=True):
        if smaller > size or "pool" not in step.name:
            return None
        found.append(Fraction(round(size / smaller)))
    return tuple(found)


def picture_option(trouble: Trouble, seen: Seen, size: tuple[int, ...]) -> str:
    """The fix that gives the model pictures of this size, all those that were of one size."""
    alike = [
        tensor
        for given in trouble.inputs
        for tensor in [given.tensor]
        if tensor is not None and tensor.shape[2:] == seen.picture.shape[2:]
    ]
    texts = [input_of(trouble, it, (*it.shape[:2], *size)) for it in alike]
    return (" " if trouble.is_by_option else "; ").join(texts)


def size_needed(seen: Seen, wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The picture's size at which the feature map has the wanted one; None where there is none."""
    sizes = []
    for has, needs, size, stride in zip(
        seen.features.shape[2:], wanted, seen.picture.shape[2:], seen.strides, strict=True
    ):
        other = size + (needs - has) * stride
        if other.denominator != 1 or other < 1:
            return None
        sizes.append(int(other))
    return tuple(sizes)


def side_of(area: int) -> int:
    """The side of a square of this area; 0 where it is none."""
    side = isqrt(area)
    return side if side * side == area else 0
