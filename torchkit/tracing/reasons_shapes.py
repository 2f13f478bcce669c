"""Tensors whose shapes do not go together in an operation, or not with what is made of them."""

from __future__ import annotations

import re
from collections import Counter
from math import prod

from torchkit.tracing.gradients import INVALID
from torchkit.tracing.judging import Judge, Reason, listed, noted, said, shape
from torchkit.tracing.postmortem import Named, PostMortem
from torchkit.tracing.rewriting import (
    called_otherwise,
    function_of,
    owner_of,
    rewritten,
    text_in,
    with_argument,
)

_Numbered = tuple[int, Named]


def product(seen: PostMortem) -> Reason | None:
    """A matrix product whose inner dimensions differ."""
    if not said(
        seen, r"cannot be multiplied", r"batch2 tensor to be", r"size mismatch, (?:m1|got|\[)", r"same reduction dim",
        r"inconsistent tensor size, expected tensor",
        r"mat1 dim 1 must match", r"expected size for first two", r"argument #2 'batch2'",
    ):  # fmt: skip
        return None
    is_weight = len(seen.operands) > 1 and seen.operands[1].name.endswith(".weight")
    if function_of(seen.expression) in ("linear", "bilinear") or is_weight:
        return _function_linear(seen)
    pairs = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.shape]
    if len(pairs) < 2:
        return None
    (a, left), (b, right) = pairs[-2:]
    columns = left.tensor.shape[-1]
    rows = right.tensor.shape[-2 if len(right.tensor.shape) > 1 else -1]
    if columns == rows:
        return _batches(seen, (a, left), (b, right))
    fix = ""
    if len(right.tensor.shape) > 1 and right.tensor.shape[-1] == columns:
        fix = rewritten(seen.expression, right.name, "{}.transpose(-2, -1)")
    elif len(left.tensor.shape) > 1 and left.tensor.shape[-2] == rows:
        fix = rewritten(seen.expression, left.name, "{}.transpose(-2, -1)")
    fix = fix or (
        f"make {left.name}.shape[-1] and {right.name}.shape[-2] equal where one of them is made"
        if left.name.isidentifier() and right.name.isidentifier()
        else f"make the {columns} and the {rows} equal where one of the two is made"
    )
    return Reason(
        noted(seen.operands, {a: f"has {columns} columns", b: f"has {rows} rows"}),
        f"{left.name} has {columns} columns, {right.name} has {rows} rows; they have to be equal",
        (fix,),
    )


def _batches(seen: PostMortem, left: _Numbered, right: _Numbered) -> Reason | None:
    one, other = left[1].tensor.shape, right[1].tensor.shape
    if one[:-2] == other[:-2]:
        return None
    return Reason(
        noted(
            seen.operands, {right[0]: f"a batch of {listed(other[:-2])}, not {listed(one[:-2])}"}
        ),
        f"{left[1].name} is a batch of {listed(one[:-2])} matrices, {right[1].name} of "
        f"{listed(other[:-2])}",
    )


def _function_linear(seen: PostMortem) -> Reason | None:
    if len(seen.operands) < 2 or len(seen.operands[1].tensor.shape) != 2:
        return None
    given, weight = seen.operands[0], seen.operands[1]
    takes, has = weight.tensor.shape[1], given.tensor.shape[-1] if given.tensor.shape else 0
    if takes == has:
        return None
    fix = ""
    if weight.tensor.shape[0] == has:
        fix = rewritten(seen.expression, weight.name, "{}.t()")
    return Reason(
        noted(seen.operands, {1: f"takes {takes} features, was given {has}"}),
        f"{weight.name} takes {takes} features; {given.name} has {has}",
        (fix,),
    )


def einsum(seen: PostMortem) -> Reason | None:
    """A letter of an equation that has two sizes."""
    match = said(
        seen,
        r"subscript (\w) has size (\d+) for operand (\d+) which does not broadcast .{0,30}size (\d+)",
    )
    if match is None:
        return None
    letter, size, number, before = match[1], int(match[2]), int(match[3]), int(match[4])
    terms = re.sub(r"->.*|\s", "", text_in(seen.expression)).split(",")
    if len(terms) != len(seen.operands) or number >= len(seen.operands):
        return None
    odd = seen.operands[number]
    other = next((seen.operands[n] for n, it in enumerate(terms[:number]) if letter in it), None)
    if other is None:
        return None
    return Reason(
        noted(seen.operands, {number: f"{letter} is {size}, and {before} in {other.name}"}),
        f"{letter} is {before} in {other.name} and {size} in {odd.name}",
    )


# --- element by element


def broadcast(seen: PostMortem) -> Reason | None:
    """Two shapes that cannot be made one."""
    match = said(
        seen,
        r"must match the size of tensor b",
        r"expanded size of the tensor \((?P<wanted>-?\d+)\) must match the existing size \((?P<has>\d+)\) "
        r"at non-singleton dimension (?P<at>\d+)",
        r"shape mismatch: value tensor of shape",
        r"shape mismatch: (?:objects|indexing tensors)|not broadcastable|incompatible (?:tensor )?shapes?",
        r"output with shape .{0,60}doesn't match the broadcast shape",
    )
    if match is None:
        return None
    if function_of(seen.expression) == "scaled_dot_product_attention":
        found = _attention_mask(seen)
        if found is not None:
            return found
    pair = _unequal(seen)
    if pair is None:
        return _one_alone(seen, match)
    (a, one), (b, other), at = pair
    return _two(seen, (a, one), (b, other), at)


def _two(seen: PostMortem, left: _Numbered, right: _Numbered, at: int) -> Reason:
    (a, one), (b, other) = left, right
    first, second = one.tensor.shape, other.tensor.shape
    place = at + len(first) if len(first) == len(second) else at
    note = f"{second[at]} in dimension {place}, {one.name} has {first[at]}"
    cause = f"{one.name} and {other.name} differ in dimension {place}: {first[at]} and {second[at]}"
    fixes: list[str] = []
    for (small, less), (_, more) in (((b, other), (a, one)), ((a, one), (b, other))):
        missing = len(more.tensor.shape) - len(less.tensor.shape)
        if missing > 0 and less.tensor.shape == more.tensor.shape[: len(less.tensor.shape)]:
            dimensions = "dimension" if missing == 1 else f"{missing} dimensions"
            cause = f"{less.name} lacks the last {dimensions} of {more.name}"
            cause += f": {shape(less)} and {shape(more)}"
            suffix = f"{{}}[..., {', '.join(['None'] * missing)}]"
            fixes.append(rewritten(seen.expression, less.name, suffix))
            if small == a:
                note = f"{shape(less)} lacks the last {dimensions} of {more.name}"
                return Reason(noted(seen.operands, {small: note}), cause, tuple(fixes))
    if not fixes and first == second[::-1] and len(first) == 2:
        fixes.append(rewritten(seen.expression, other.name, "{}.t()"))
    return Reason(noted(seen.operands, {b: note}), cause, tuple(fixes))


def _unequal(seen: PostMortem) -> tuple[_Numbered, _Numbered, int] | None:
    """The first two operands that cannot be broadcast, and the dimension from the end."""
    given = list(enumerate(seen.operands))
    for n, (a, one) in enumerate(given):
        for b, other in given[n + 1 :]:
            if other.name in one.name and other.name != one.name and "[" in one.name:
                continue  # a slice and what it is a slice of
            pairs = zip(reversed(one.tensor.shape), reversed(other.tensor.shape), strict=False)
            for place, (left, right) in enumerate(pairs, 1):
                if left != right and 1 not in (left, right):
                    return (a, one), (b, other), -place
    return None


def _added_to(seen: PostMortem) -> Reason | None:
    """`out += self.short(x)`: what was worked out is no longer there, its size is in the message."""
    match = said(
        seen,
        r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at .{0,20}dimension (\d+)",
    )
    parts = re.fullmatch(r"(.+?) (?:[-+*/]|\*\*|//|%)= (.+)", seen.expression)
    if match is None or parts is None or len(seen.operands) != 1:
        return None
    one = seen.operands[0]
    has, other, at = map(int, match.groups())
    if one.name != parts[1] or at >= len(one.tensor.shape) or one.tensor.shape[at] != has:
        return None
    return Reason(
        noted(seen.operands, {0: f"{has} in dimension {at}, {parts[2]} has {other}"}),
        f"{one.name} and {parts[2]} differ in dimension {at}: {has} and {other}",
        is_all=True,
    )


def gather(seen: PostMortem) -> Reason | None:
    """`scores.gather(1, actions)` with one index a row, which has to be a column."""
    if not said(seen, r"index tensor must have the same number of dimensions as input tensor"):
        return None
    owner = owner_of(seen.expression)
    found = [(n, it) for n, it in enumerate(seen.operands) if it.name != owner]
    if function_of(seen.expression) != "gather" or len(found) != 1:
        return None
    number, odd = found[0]
    table = next((it for it in seen.operands if it.name == owner), None)
    is_flat = len(odd.tensor.shape) == 1 and "gather(1," in seen.expression
    if not is_flat or (table is not None and len(table.tensor.shape) != 2):
        return None
    return Reason(
        noted(seen.operands, {number: f"is {shape(odd)}, has to be a column"}),
        f"{odd.name} has 1 dimension, {owner} has more; gather takes as many of both",
        (rewritten(seen.expression, odd.name, "{}.unsqueeze(1)"),),
    )


def _one_alone(seen: PostMortem, match: re.Match[str]) -> Reason | None:
    found = _added_to(seen)
    if found is not None:
        return found
    values = match.groupdict()
    if "wanted" not in values or values["wanted"] is None or not seen.operands:
        return None
    wanted, has, at = values["wanted"], int(values["has"]), int(values["at"])
    for number, it in enumerate(seen.operands):
        if has in it.tensor.shape:
            sizes = it.tensor.shape
            target = re.search(r"Target sizes: (\[[^]]*\])", seen.message)
            into = f" expanded to {target[1]}" if target else ""
            return Reason(
                noted(seen.operands, {number: f"{has} in dimension {at}, {wanted} is asked for"}),
                f"{it.name} is {list(sizes)}, and cannot be{into}: only a size of 1 is repeated",
            )
    return None


def _attention_mask(seen: PostMortem) -> Reason | None:
    if len(seen.operands) < 4:
        return None
    query, key, mask = seen.operands[0], seen.operands[1], seen.operands[3]
    wanted = (*query.tensor.shape[:-1], key.tensor.shape[-2])
    has = mask.tensor.shape
    for place in range(1, min(len(has), len(wanted)) + 1):
        if has[-place] not in (1, wanted[-place]):
            at = len(has) - place
            return Reason(
                noted(
                    seen.operands, {3: f"{has[-place]} in dimension {at}, must be {wanted[-place]}"}
                ),
                f"{mask.name} is {list(has)}, and the scores are {list(wanted)}: batch, heads, "
                f"queries, keys",
            )
    return None


# --- joining


def cat(seen: PostMortem) -> Reason | None:
    """Tensors that are joined, and differ in another dimension."""
    match = said(seen, r"sizes of tensors must match except in dimension (\d+)")
    counts = said(seen, r"tensors must have (?:the )?same number of dimensions")
    if (match is None and counts is None) or len(seen.operands) < 2:
        return None
    first = seen.operands[0]
    along = int(match[1]) if match is not None else -1
    for number, it in enumerate(seen.operands[1:], 1):
        one, other = first.tensor.shape, it.tensor.shape
        if len(one) != len(other):
            note = f"has {len(other)} dimensions, {first.name} has {len(one)}"
            fix = ""
            if len(other) == len(one) - 1:
                at = along if along >= 0 else 0
                fix = rewritten(seen.expression, it.name, f"{{}}.unsqueeze({at})")
            return Reason(
                noted(seen.operands, {number: note}),
                f"{first.name} has {len(one)} dimensions, {it.name} has {len(other)}",
                (fix,),
            )
        places = [n for n in range(len(one)) if one[n] != other[n] and n != along]
        if places:
            return _joined(seen, number, places, along)
    return None


def _joined(seen: PostMortem, number: int, places: list[int], along: int) -> Reason:
    one, other = seen.operands[0], seen.operands[number]
    left, right = (tuple(it.tensor.shape[n] for n in places) for it in (one, other))
    where = "dimension" if len(places) == 1 else "dimensions"
    note = f"{right[0]} in dimension {places[0]}, {one.name} has {left[0]}"
    fixes = []
    if len(places) == 1 and all(
        it.tensor.shape[: places[0]] + it.tensor.shape[places[0] + 1 :]
        == one.tensor.shape[: places[0]] + one.tensor.shape[places[0] + 1 :]
        for it in seen.operands
        if len(it.tensor.shape) == len(one.tensor.shape)
    ):
        is_asked = "dim" in seen.expression or along != 0
        fixes.append("" if is_asked else with_argument(seen.expression, f"dim={places[0]}"))
    if len(one.tensor.shape) == 4 and places == [2, 3]:
        fixes.append(
            rewritten(
                seen.expression, one.name, f"F.interpolate({{}}, size={other.name}.shape[2:])"
            )
        )
    return Reason(
        noted(seen.operands, {number: note}),
        f"{one.name} and {other.name} differ in {where} {' and '.join(map(str, places))}: "
        f"{listed(left)} and {listed(right)}; joined along {along}, all others have to be equal",
        tuple(fixes),
    )


def stack(seen: PostMortem) -> Reason | None:
    """Tensors that are stacked, and one of another shape among them."""
    if not said(
        seen,
        r"stack expects each tensor to be equal size",
        r"each element in list of batch",
        r"resize storage that is not resizable",  # a worker makes room in shared memory first
    ):
        return None
    counts = Counter(it.tensor.shape for it in seen.operands).most_common()
    if len(counts) < 2:
        return None
    usual = counts[0][0]
    odd = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.shape != usual]
    if counts[1][1] == counts[0][1]:
        usual = seen.operands[0].tensor.shape
        odd = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.shape != usual]
    _, one = odd[0]
    fixes = []
    if function_of(seen.expression) != "stack":
        fixes.append("resize or pad the samples in the dataset, or give DataLoader a collate_fn")
    sizes = one.tensor.shape
    if len(sizes) == len(usual) == 3 and sizes[0] == 1 and usual[0] == 3 and sizes[1:] == usual[1:]:
        fixes.append("image.convert('RGB') where the samples are made: one of them is grey")
    elif len(sizes) == len(usual) and sizes[1:] == usual[1:]:
        fixes.append("torch.nn.utils.rnn.pad_sequence(samples, batch_first=True) in a collate_fn")
    return Reason(
        noted(seen.operands, {n: f"is {shape(it)}, the others {list(usual)}" for n, it in odd[:2]}),
        f"{one.name} is {shape(one)}, the others are {list(usual)}; stacked, they have to be equal",
        tuple(fixes),
        id="stack-unequal-size",
    )


# --- another shape


def gradient(seen: PostMortem) -> Reason | None:
    """A `backward` of the user's own, whose gradient has not the shape of what forward was given."""
    match = said(seen, INVALID)
    if match is None:
        return None
    return Reason(
        seen.operands,
        f"{match['name']}.backward gives a gradient of {match['got']} for input {match['at']} of "
        f"its forward, which is {match['wanted']}",
        (f"a gradient has the shape of its input: return one of {match['wanted']}",),
    )


def reshape(seen: PostMortem) -> Reason | None:
    """Another number of elements."""
    match = said(seen, r"shape '\[([-\d, ]+)\]' is invalid for input of size (\d+)")
    if match is None:
        return None
    wanted = [int(it) for it in match[1].split(",")]
    count = int(match[2])
    odd = next(((n, it) for n, it in enumerate(seen.operands) if it.tensor.numel == count), None)
    if odd is None:
        return None
    number, one = odd
    known = prod(it for it in wanted if it != -1)
    fixes: list[str] = []
    if -1 in wanted:
        note = f"{count} elements, no multiple of {known}"
        cause = f"{one.name} has {count} elements, which is no multiple of {known}"
        cause += f" ({listed(tuple(it for it in wanted if it != -1))})" if len(wanted) > 2 else ""
    else:
        note = f"{count} elements, {listed(tuple(wanted))} are {known}"
        cause = f"{one.name} has {count} elements, {wanted} are {known}"
    sizes = one.tensor.shape
    if len(wanted) == 2 and len(sizes) > 2:
        per = prod(sizes[1:])
        cause += f"; each of its {sizes[0]} has {per} = {listed(sizes[1:])}"
        fixes.append(f"{_owner(seen, one)}.flatten(1)")
        if seen.expression.count(str(wanted[1])) == 1:
            fixes.append(seen.expression.replace(str(wanted[1]), str(per)))
    elif (parts := _patches(sizes, wanted)) is not None:
        size, part = parts
        note = f"{size} is not divisible by {part}"
        cause += f": {size} is not divisible by {part}"
    elif (
        -1 not in wanted
        and len(wanted) > 1
        and sizes
        and wanted[0] not in (-1, sizes[0])
        and count % max(1, prod(wanted[1:])) == 0
    ):
        fixes.append(f"{_owner(seen, one)}.reshape(-1, {', '.join(map(str, wanted[1:]))})")
    return Reason(noted(seen.operands, {number: note}), cause, tuple(fixes), is_all=True)


def _patches(sizes: tuple[int, ...], wanted: list[int]) -> tuple[int, int] | None:
    """A size that is taken apart into `size // part` times `part`, and leaves a rest; and the part."""
    at = 0
    for size in sizes:
        if at < len(wanted) and wanted[at] == size:
            at += 1
            continue
        pair = wanted[at : at + 2]
        if len(pair) != 2 or min(pair) < 1:
            return None
        for part, times in (pair[::-1], pair):
            if part > 1 and size // part == times and size % part:
                return size, part
        if prod(pair) != size:
            return None
        at += 2
    return None


def _owner(seen: PostMortem, one: Named) -> str:
    name = owner_of(seen.expression) or one.name
    return (
        name
        if name.replace(".", "").replace("_", "").isalnum() or name.endswith((")", "]"))
        else f"({name})"
    )


def view(seen: PostMortem) -> Reason | None:
    """A view of what does not lie in one piece."""
    if not said(seen, r"view size is not compatible with input tensor's size and stride"):
        return None
    owner = owner_of(seen.expression)
    found = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.stride is not None]
    found = [(n, it) for n, it in found if it.name == owner] or found
    if not found:
        return None
    number, one = found[0]
    return Reason(
        noted(seen.operands, {number: "not contiguous"}),
        f"{one.name} is not contiguous: {shape(one)} with strides {one.tensor.stride}, as after a "
        "transpose, permute, expand or a slice",
        (called_otherwise(seen.expression, "view", "reshape"),),
    )


def dimension(seen: PostMortem) -> Reason | None:
    """A dimension that a tensor does not have."""
    match = said(
        seen,
        r"dimension out of range \(expected to be in range of \[(-?\d+), (-?\d+)\], but got (-?\d+)\)",
    )
    other = said(
        seen,
        r"number of dimensions in the tensor input does not match the length of the desired ordering .{0,40}"
        r"input\.dim\(\) = (\d+) is not equal to len\(dims\) = (\d+)",
        r"too many indices for tensor of dimension (\d+)",
    )
    if match is not None:
        count = int(match[2]) + 1
        asked = f"dimension {match[3]} is asked for: it has {match[1]} to {match[2]}"
    elif other is not None:
        count = int(other[1])
        asked = f"{other[2]} are named" if other.re.groups > 1 else "more are indexed"
    else:
        return None
    odd = next(
        ((n, it) for n, it in enumerate(seen.operands) if len(it.tensor.shape) == count), None
    )
    if odd is None:
        return None
    number, one = odd
    word = "dimension" if count == 1 else "dimensions"
    return Reason(
        noted(seen.operands, {number: f"has {count} {word}"}),
        f"{one.name} has {count} {word}, {shape(one)}; {asked}",
    )


def conv_function(seen: PostMortem) -> Reason | None:
    """A convolution called by function, with another number of channels."""
    match = said(seen, r"to have (\d+) channels, but got (\d+) channels")
    if match is None or len(seen.operands) < 2:
        return None
    given, weight = seen.operands[0], seen.operands[1]
    takes, has = match[1], match[2]
    return Reason(
        noted(seen.operands, {1: f"takes {takes} channels, was given {has}"}),
        f"{weight.name} takes {takes} channels; {given.name} has {has}",
    )


JUDGES: tuple[Judge, ...] = (
    einsum, product, cat, stack, gradient, broadcast, gather, reshape, view, dimension, conv_function,
)  # fmt: skip
