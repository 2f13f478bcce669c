"""Two tensors whose shapes do not go together in an operation of the user's own code."""

from __future__ import annotations

from math import log2

from torchkit.advice.forward.arguments import some
from torchkit.advice.forward.building import listed
from torchkit.advice.forward.code import operand_wrapped, side_wrapped
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of, only_input
from torchkit.advice.forward.kinds import told
from torchkit.advice.forward.pictures import side_of

_PRODUCTS = ("mm", "bmm", "matmul", "addmm", "baddbmm")
_BY_ELEMENT = (
    "add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_", "where", "masked_fill",
    "masked_fill_", "eq", "lt", "gt", "maximum", "minimum", "pow", "logical_and",
)  # fmt: skip


def explain(trouble: Trouble) -> Explanation | None:
    if trouble.operation in _PRODUCTS and len(trouble.operands) >= 2:
        return _product(trouble, *trouble.operands[-2:])
    if trouble.operation in ("cat", "stack") and len(trouble.operands) >= 2:
        return _joined(trouble)
    if trouble.operation in _BY_ELEMENT and len(trouble.operands) == 2:
        return _by_element(trouble, *trouble.operands)
    if trouble.operation == "expand" and trouble.operands:
        return _expanded(trouble, trouble.operands[0])
    return None


def _expanded(trouble: Trouble, held: Tensor) -> Explanation | None:
    """A buffer or parameter of one length is to be another one: that of a sequence too long."""
    wanted = next((it for it in trouble.numbers if isinstance(it, tuple)), ())
    own = trouble.inputs[0].tensor if trouble.inputs else None
    if held.role not in ("parameter", "buffer") or len(wanted) < len(held.shape) or own is None:
        return None
    pairs = [
        (a, b)
        for a, b in zip(reversed(held.shape), reversed(wanted), strict=False)
        if a not in (1, b) and b >= 0
    ]
    if len(pairs) != 1:
        return None
    built_for, length = pairs[0]
    fixes: tuple[str, ...] = ()
    if own.shape[1:].count(length) == 1 and len(own.shape) < 4 and len(trouble.inputs) == 1:
        at = own.shape.index(length, 1)
        fixes = some(input_of(trouble, own, (*own.shape[:at], built_for, *own.shape[at + 1 :])))
    return Explanation(
        "positions",
        f"{length} positions, it was built for {built_for}",
        f"a {held.role} of {list(held.shape)} is to be {list(wanted)}, which repeats sizes of 1 only",
        fixes,
    )


def _product(trouble: Trouble, one: Tensor, other: Tensor) -> Explanation | None:
    if len(one.shape) < 2 or len(other.shape) < 2 or one.shape[-1] == other.shape[-2]:
        return None
    a, b = one.shape[-2:], other.shape[-2:]
    brief = f"{listed(a)} cannot be multiplied by {listed(b)}"
    cause = f"{told(one)} ends in {a[1]}, {told(other)} has {b[0]} rows; these have to be equal"
    line = None
    if not trouble.is_library and a[1] == b[1]:
        cause += f"; transposed, the second one has {b[1]}"
        line = operand_wrapped(trouble.code, 1, ".transpose(-2, -1)")
    elif not trouble.is_library and a[0] == b[0]:
        cause += f"; transposed, the first one ends in {a[0]}"
        line = operand_wrapped(trouble.code, 0, ".transpose(-2, -1)")
    return Explanation("product-shapes", brief, cause, some(line or ""))


def _joined(trouble: Trouble) -> Explanation | None:
    first = trouble.operands[0]
    if trouble.operation == "stack":
        odd = next((it for it in trouble.operands if it.shape != first.shape), None)
        if odd is None:
            return None
        return Explanation(
            "joined-shapes",
            f"tensors of {list(first.shape)} and {list(odd.shape)} are stacked",
            f"{told(first)} and {told(odd)} have to be of one shape",
        )
    shown = [it for it in trouble.operands if it.shape != (0,)]
    dimensions = [len(it.shape) for it in shown]
    if len(set(dimensions)) > 1:
        one, other = shown[0], next(it for it in shown if len(it.shape) != dimensions[0])
        return Explanation(
            "joined-shapes",
            f"{len(one.shape)} and {len(other.shape)} dimensions are joined",
            f"{told(one)} and {told(other)} have to have as many dimensions",
        )
    numbers = [it for it in trouble.numbers if isinstance(it, int)]
    along = (numbers[0] if numbers else 0) % max(dimensions[0], 1)
    for other in shown[1:]:
        differing = [
            at
            for at, (a, b) in enumerate(zip(shown[0].shape, other.shape, strict=True))
            if a != b and at != along
        ]
        if differing:
            return _unequal(trouble, shown[0], other, along, differing)
    return None


def _unequal(
    trouble: Trouble, one: Tensor, other: Tensor, along: int, differing: list[int]
) -> Explanation:
    sizes = [(one.shape[at], other.shape[at]) for at in differing]
    where = " and ".join(
        f"{a} and {b} in dimension {at}" for (a, b), at in zip(sizes, differing, strict=True)
    )
    cause = f"{told(one)} and {told(other)} are joined along dimension {along}, and have {where}"
    spatial = len(one.shape) >= 4 and min(differing) >= 2
    fixes: tuple[str, ...] = ()
    if spatial and all(0 < abs(a - b) <= 1 for a, b in sizes):
        cause += (
            "; a size that is not even loses the rest where it is halved, and does not get it back"
        )
        fixes = some(_even_input(trouble, one))
    return Explanation(
        "joined-shapes",
        f"{listed(one.shape[2:]) if spatial else list(one.shape)} "
        f"and {listed(other.shape[2:]) if spatial else list(other.shape)} do not join",
        cause,
        fixes,
    )


def _even_input(trouble: Trouble, one: Tensor) -> str:
    """The next smaller picture that can be halved as often as the smallest feature map was."""
    own = only_input(trouble)
    if own is None or len(own.shape) != len(one.shape):
        return ""
    maps = [
        it.shape[2:]
        for step in trouble.done
        for it in step.outputs
        if len(it.shape) == len(own.shape) and min(it.shape[2:]) > 1
    ]
    if not maps:
        return ""
    smallest = min(min(it) for it in maps)
    times = 2 ** round(log2(min(own.shape[2:]) / smallest))
    sizes = tuple(size // times * times for size in own.shape[2:])
    if min(sizes) < 1 or sizes == own.shape[2:]:
        return ""
    return input_of(trouble, own, (*own.shape[:2], *sizes))


# --- element by element


def _by_element(trouble: Trouble, one: Tensor, other: Tensor) -> Explanation | None:
    pairs = list(zip(reversed(one.shape), reversed(other.shape), strict=False))
    unequal = [-1 - at for at, (a, b) in enumerate(pairs) if a != b and 1 not in (a, b)]
    if not unequal:
        return None
    positions = _positions(trouble, one, other)
    if positions is not None:
        return positions
    at = unequal[0]
    brief = f"{list(one.shape)} and {list(other.shape)} do not go together"
    cause = (
        f"{told(one)} and {told(other)} have {one.shape[at]} and {other.shape[at]} in dimension "
        f"{at}; they have to be equal, or one of them 1"
    )
    line = None
    for side, (less, more) in enumerate(((one.shape, other.shape), (other.shape, one.shape))):
        missing = len(more) - len(less)
        if missing > 0 and less and more[: len(less)] == less and not trouble.is_library:
            cause += f"; {list(less)} lacks the last {missing} of {list(more)}"
            suffix = f"[..., {', '.join(['None'] * missing)}]"
            line = side_wrapped(trouble.code, side, suffix)
    return Explanation("shapes-differ", brief, cause, some(line or ""))


def _positions(trouble: Trouble, one: Tensor, other: Tensor) -> Explanation | None:
    """A parameter [1, length, width] for the patches of a picture of another size, or a sequence."""
    held, made = (one, other) if one.name else (other, one)
    own = only_input(trouble)
    if not held.name or made.name or own is None or len(made.shape) != 3:
        return None
    if len(held.shape) < 2 or held.shape[-1] != made.shape[-1]:
        return None
    built_for, length = held.shape[-2], made.shape[-2]
    cause = f"{told(held)} has {built_for} positions, {told(made)} has {length}"
    option = ""
    if len(own.shape) == 4:
        for extra in (0, 1, 2):
            wanted, has = side_of(built_for - extra), side_of(length - extra)
            if wanted > 0 and has > 0 and own.shape[2] % has == 0 and own.shape[2] == own.shape[3]:
                size = own.shape[2] // has * wanted
                option = input_of(trouble, own, (*own.shape[:2], size, size))
                cause += f"; it was built for inputs of {size}x{size}"
                break
    elif built_for > length:
        cause += "; it has more than are needed"
        if not trouble.is_library:
            at = 0 if held is one else 1
            option = side_wrapped(trouble.code, at, "[..., :OTHER.shape[-2], :]") or ""
    elif length in own.shape[1:]:
        at = own.shape.index(length, 1)
        option = input_of(trouble, own, (*own.shape[:at], built_for, *own.shape[at + 1 :]))
    return Explanation(
        "positions", f"{length} positions, {held.name} has {built_for}", cause, some(option)
    )
