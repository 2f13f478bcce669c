"""A tensor is viewed in a shape that its elements do not fill, or that needs them moved."""

from __future__ import annotations

from math import prod

from torchkit.advice.forward.arguments import some
from torchkit.advice.forward.building import listed
from torchkit.advice.forward.code import method_arguments, method_renamed, method_replaced
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.kinds import told
from torchkit.advice.forward.linear import other_sizes
from torchkit.advice.forward.pictures import picture_option, seen_before, size_needed

_METHODS = ("view", "reshape")


def explain(trouble: Trouble) -> Explanation | None:
    if trouble.operation not in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
        return None
    wanted = next((it for it in trouble.numbers if isinstance(it, tuple)), None)
    if not trouble.operands or wanted is None:
        return None
    tensor = trouble.operands[0]
    known = prod(size for size in wanted if size >= 0)
    fits = known == tensor.elements if -1 not in wanted else known and not tensor.elements % known
    if fits:
        return _moved(trouble, tensor, wanted)
    return (
        _fixed_batch(trouble, tensor, wanted)
        or _picture(trouble, tensor, wanted)
        or Explanation(
            "view-size",
            f"{list(tensor.shape)} cannot be viewed as {list(wanted)}",
            f"{told(tensor)} has {tensor.elements} elements, which do not fill {list(wanted)}",
        )
    )


def _moved(trouble: Trouble, tensor: Tensor, wanted: tuple[int, ...]) -> Explanation:
    line = None if trouble.is_library else method_renamed(trouble.code, "view", "reshape")
    return Explanation(
        "view-stride",
        "view() of a tensor that was permuted or cut; reshape() copies it",
        f"{told(tensor)} does not lie in memory in the order that {list(wanted)} needs",
        some(line or ""),
    )


def _fixed_batch(trouble: Trouble, tensor: Tensor, wanted: tuple[int, ...]) -> Explanation | None:
    """The number of samples is written into the code."""
    batch = tensor.shape[0] if tensor.shape else 0
    first, rest = wanted[0], prod(size for size in wanted[1:] if size >= 0)
    if first in (-1, batch) or first < 1 or not batch or len(wanted) < 2:
        return None
    each = tensor.elements // batch
    if each % rest if -1 in wanted[1:] else each != rest:
        return None
    line = None
    written = method_arguments(trouble.code, _METHODS) or ()
    if len(written) == len(wanted) and not trouble.is_library:
        if -1 not in wanted[1:]:
            rest_written = ", ".join(["-1", *written[1:]])
            line = method_replaced(trouble.code, _METHODS, f".reshape({rest_written})")
        elif wanted[1:] == (-1,):
            line = method_replaced(trouble.code, _METHODS, ".flatten(1)")
    is_written = trouble.is_by_option and trouble.has_batch and written[:1] == (str(first),)
    option = f"--batch-size {first}" if is_written else ""
    return Explanation(
        "batch-fixed",
        f"its code is written for a batch of {first}, and is given {batch}",
        f"{told(tensor)} is viewed as {list(wanted)}: {first} is the number of samples",
        some(line or "", option),
    )


def _picture(trouble: Trouble, tensor: Tensor, wanted: tuple[int, ...]) -> Explanation | None:
    """The last size fits a feature map of another size: it was built for other pictures."""
    seen = seen_before(trouble, tensor)
    if seen is None or seen.features.number != tensor.number or len(tensor.shape) < 3:
        return None
    channels, sizes = tensor.shape[1], tensor.shape[2:]
    if len(wanted) != 2 or wanted[1] < 1 or wanted[1] % channels:
        return None
    needed = other_sizes(wanted[1] // channels, sizes)
    picture = size_needed(seen, needed) if needed else None
    if needed is None or picture is None:
        return None
    return Explanation(
        "picture-size",
        f"it was built for inputs of {listed(picture)}, not {listed(seen.picture.shape[2:])}",
        f"{wanted[1]} features are {channels} channels of {listed(needed)}; an input of "
        f"{listed(seen.picture.shape[2:])} gives {listed(sizes)}",
        some(picture_option(trouble, seen, picture)),
    )
