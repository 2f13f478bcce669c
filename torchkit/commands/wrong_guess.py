"""Whether a model fails on an input that was made up for it, and would on any other as well."""

from __future__ import annotations

from torchkit.advice.forward import explained
from torchkit.advice.forward.facts import Trouble
from torchkit.advice.forward.pictures import feature_map
from torchkit.commands.failed_forward import failed_forward
from torchkit.model.first_layers import LENGTH
from torchkit.model.record import Record, tensors_in

_OF_TYPES = (
    "no-cuda",
    "devices-differ",
    "dtypes-differ",
    "no-return",
    "several-given",
    "no-attribute",
)
"""Explanations that speak of no sizes."""

_OF_WIDTHS = ("linear-features", "recurrent-width", "norm-width", "channels", "view-size")
"""Explanations that speak of the last size, or the channels, of one tensor."""


def fails_all_the_same(record: Record) -> bool:
    """Of a record that failed: layers with weights took the input, and it is not to blame.

    Not of several inputs, which are guessed too freely, nor where nothing is known of the cause.
    """
    given = [*tensors_in(record.inputs), *tensors_in(record.keywords)]
    if len(given) != 1 or not _has_been_taken(record):
        return False
    trouble = failed_forward(record).trouble
    found = explained(trouble)
    first = trouble.first
    if found is None or (first is not None and trouble.input_of(first) and trouble.layer.path):
        return False
    return found.id in _OF_TYPES or (
        found.id in _OF_WIDTHS and not _is_of_made_up_size(trouble, found.id)
    )


def _has_been_taken(record: Record) -> bool:
    """Whether a layer that has weights has worked."""
    weights = {path for it in record.parameters if not it.is_buffer for path in it.paths}
    held = {it.path for it in record.modules if weights.intersection(it.own)}
    return any(
        it.path in held and it.outputs is not None and not it.has_failed for it in record.calls
    )


def _is_of_made_up_size(trouble: Trouble, what: str) -> bool:
    """Whether the size that does not fit may come of a length, or a picture, that was made up."""
    tensor = trouble.first if trouble.layer.kinds else next(iter(trouble.operands), None)
    own = next((it.tensor for it in trouble.inputs if it.tensor is not None), None)
    if tensor is None or own is None:
        return True
    if LENGTH in own.shape[1:-1] and (tensor.shape[-1:] == (LENGTH,) or what == "view-size"):
        return True
    features = feature_map(trouble, tensor)
    if features is not None:
        return any(size != 1 for size in features.shape[2:])
    if len(own.shape) < 4 or what == "channels":
        return False
    return len(tensor.shape) >= 3 or _is_flat(trouble, tensor.shape[-1])


def _is_flat(trouble: Trouble, size: int) -> bool:
    """Whether so many features are no number of channels that a feature map had."""
    return not any(
        len(out.shape) >= 4 and out.shape[1] == size for it in trouble.done for out in it.outputs
    )
