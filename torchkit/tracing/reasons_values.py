"""What is wrong by its values, by what autograd keeps of it, or as what it is to be turned into."""

from __future__ import annotations

import re
import shlex
import sys

from torchkit.tracing.judging import (
    Judge,
    Reason,
    between,
    inputs_of,
    layer_name,
    noted,
    said,
    shape,
)
from torchkit.tracing.postmortem import Named, PostMortem
from torchkit.tracing.rewriting import function_of, owner_of, rewritten

# --- places that are looked up


def embedding_function(seen: PostMortem) -> Reason | None:
    """`F.embedding`, whose message has no numbers."""
    if not said(seen, r"index out of range in self") or seen.module or len(seen.operands) < 2:
        return None
    ids, table = seen.operands[0], seen.operands[1]
    low, high = ids.tensor.low, ids.tensor.high
    if low is None or high is None or not table.tensor.shape:
        return None
    rows = table.tensor.shape[0]
    if low >= 0 and high < rows:
        return None
    note = f"{low} is below 0" if low < 0 else f"{high} is not below {rows}"
    return Reason(
        noted(seen.operands, {0: note}),
        f"{ids.name} {between(low, high)}, {table.name} has rows for 0 to {rows - 1}",
        ("check what makes the ids, or make the table larger",),
    )


def index(seen: PostMortem) -> Reason | None:
    """`x[i]`, gather, index_select, scatter: a place that a dimension does not have."""
    match = said(
        seen,
        r"index (?P<bad>-?\d+) is out of bounds for dimension (?P<at>\d+) with size (?P<size>\d+)",
        r"index out of range in self|index out of bounds",
    )
    if match is None or not seen.operands:
        return None
    values = match.groupdict()
    if values.get("bad") is None:
        return _no_numbers(seen)
    bad, at, size = int(values["bad"]), int(values["at"]), int(values["size"])
    owner = _owner(seen)
    whose = (
        f"dimension {at} of {owner} has {size}: 0 to {size - 1}" if owner else f"there are {size}"
    )
    note = f"{bad} is not below {size}" if bad >= 0 else f"{bad} is below {-size}"
    for number, it in enumerate(seen.operands):
        low, high = it.tensor.low, it.tensor.high
        if it.name == owner or low is None or high is None or not low <= bad <= high:
            continue
        cause = f"{it.name} {between(low, high)}, {whose}"
        return Reason(noted(seen.operands, {number: note}), cause, _counting(seen, it, size))
    plain = next((name for name, value in seen.plain if value == str(bad)), "")
    if plain:
        number = next((n for n, it in enumerate(seen.operands) if it.name == owner), 0)
        return Reason(noted(seen.operands, {number: note}), f"{plain} is {bad}, {whose}")
    for number, it in enumerate(seen.operands):
        if it.name != owner and it.tensor.dtype in ("int64", "int32") and it.tensor.low is None:
            cause = f"{it.name} has {bad} in it, {whose}"
            return Reason(noted(seen.operands, {number: note}), cause, _counting(seen, it, size))
    number = next((n for n, it in enumerate(seen.operands) if it.name == owner), 0)
    return Reason(noted(seen.operands, {number: note}), f"{bad} is asked for, {whose}")


def _owner(seen: PostMortem) -> str:
    """What is looked up in."""
    name = owner_of(seen.expression)
    names = [it.name for it in seen.operands]
    return name if name in names else names[0]


def _counting(seen: PostMortem, it: Named, size: int) -> tuple[str, ...]:
    """Numbers that count from 1."""
    if it.tensor.low == 1 and it.tensor.high == size:
        return (rewritten(seen.expression, it.name, "{} - 1"),)
    return ()


def mask(seen: PostMortem) -> Reason | None:
    """A mask of another shape than what it is laid on, or an index with too few dimensions."""
    laid = said(seen, r"shape of the mask (\[[\d, ]*\]) at index (\d+) does not match")
    fewer = said(seen, r"index tensor must have the same number of dimensions as (?:input|self)")
    owner = next((it for it in seen.operands if seen.operands and it.name == _owner(seen)), None)
    if (laid is None and fewer is None) or owner is None:
        return None
    for number, it in enumerate(seen.operands):
        if it.name == owner.name:
            continue
        if laid is not None and shape(it) == laid[1]:
            return Reason(
                noted(seen.operands, {number: f"is {shape(it)}, {owner.name} is {shape(owner)}"}),
                f"{it.name} is {shape(it)}, and is laid on {owner.name}, {shape(owner)}: the dimensions "
                "that it has need to be equal",
            )
        missing = len(owner.tensor.shape) - len(it.tensor.shape)
        if fewer is not None and missing:
            suffix = f"{{}}[..., {', '.join(['None'] * missing)}]" if missing > 0 else ""
            return Reason(
                noted(
                    seen.operands,
                    {number: f"{len(it.tensor.shape)} dimensions, not {len(owner.tensor.shape)}"},
                ),
                f"{it.name} is {shape(it)}, {owner.name} is {shape(owner)}: as many dimensions are needed",
                (rewritten(seen.expression, it.name, suffix) if suffix else "",),
            )
    return None


def _no_numbers(seen: PostMortem) -> Reason | None:
    owner = _owner(seen)
    table = next((it for it in seen.operands if it.name == owner), None)
    if table is None or not table.tensor.shape:
        return None
    for number, it in enumerate(seen.operands):
        low, high = it.tensor.low, it.tensor.high
        if it.name == owner or low is None or high is None:
            continue
        if high >= max(table.tensor.shape) or low < -max(table.tensor.shape):
            return Reason(
                noted(seen.operands, {number: f"{high} is not below {max(table.tensor.shape)}"}),
                f"{it.name} {between(low, high)}, {table.name} is {shape(table)}",
            )
    return None


# --- targets of losses


def target_range(seen: PostMortem) -> Reason | None:
    """A class that the scores have no place for."""
    if not said(
        seen,
        r"target -?\d+ is out of bounds",
        r"class values must be (?:smaller|non-negative)",
        r"assert.{0,40}cur_target",
    ):
        return None
    found = [(n, it) for n, it in inputs_of(seen) if it.tensor.high is not None]
    scores = [it for _, it in inputs_of(seen) if it.tensor.high is None and it.tensor.shape]
    if not found:
        return None
    number, target = found[0]
    low, high = int(target.tensor.low or 0), int(target.tensor.high or 0)
    if function_of(seen.expression) == "one_hot":
        return _one_hot(seen, number, target, low, high)
    if not scores:
        return None
    classes = scores[0].tensor.shape[1 if len(scores[0].tensor.shape) > 1 else 0]
    fixes = []
    if low == 1 and high == classes:
        fixes.append(rewritten(seen.expression, target.name, "{} - 1"))
    elif low == -1 and high < classes:
        fixes.append("ignore_index=-1 in the loss, where -1 stands for no label")
    elif low == 0 or high > classes:
        fixes.append(f"a last layer with {high + 1} outputs, or labels from 0 to {classes - 1}")
    if low == 0 and high == 255 > classes:
        fixes.insert(0, "ignore_index=255 in the loss, where 255 stands for no label")
    return Reason(
        noted(seen.operands, {number: f"must be 0 to {classes - 1}"}),
        f"{target.name} {between(low, high)}, and there are {classes} classes: 0 to {classes - 1}",
        tuple(fixes),
    )


def _one_hot(seen: PostMortem, number: int, target: Named, low: int, high: int) -> Reason:
    classes = next((int(value) for name, value in seen.plain if value.isdigit()), 0) or _literal(
        seen
    )
    until = f", and there are {classes} classes: 0 to {classes - 1}" if classes else ""
    return Reason(
        noted(
            seen.operands, {number: f"must be 0 to {classes - 1}" if classes else "out of range"}
        ),
        f"{target.name} {between(low, high)}{until}",
        (f"num_classes={high + 1}",) if low >= 0 else (),
    )


def _literal(seen: PostMortem) -> int:
    import re

    found = re.search(r"num_classes\s*=\s*(\d+)|,\s*(\d+)\s*\)$", seen.expression)
    return int(found[1] or found[2]) if found is not None else 0


def target_shape(seen: PostMortem) -> Reason | None:
    """A target that is no target for these scores."""
    match = said(
        seen,
        r"expected input batch_size \((\d+)\) to match target batch_size \((\d+)\)",
        r"multi-target not supported",
        r"expected target size",
        r"target size \(torch\.size\(.{1,60}?\)\).{0,30}different to the input size",
        r"target size \(torch\.size\(.{1,60}?\)\) must be the same as input size",
        r"only batches of spatial targets supported|size mismatch \(got input: ",
    )
    found = inputs_of(seen)
    if match is None or len(found) < 2:
        return None
    (first, scores), (number, target) = found[0], found[1]
    has, wanted = target.tensor.shape, scores.tensor.shape
    if "batch_size" in match[0]:
        return Reason(
            noted(
                seen.operands, {number: f"{match[2]} in its batch, {scores.name} has {match[1]}"}
            ),
            f"{scores.name} is a batch of {match[1]}, {target.name} of {match[2]}",
            (
                "compare what scores and labels are made of: a view or flatten that took in the batch",
            )
            if int(match[1]) % max(1, int(match[2])) == 0 or int(match[2]) % int(match[1]) == 0
            else (),
        )
    if len(wanted) == 3 and has == wanted[:2]:
        return Reason(
            noted(seen.operands, {first: f"its {wanted[2]} classes are last, must be dimension 1"}),
            f"{scores.name} is {shape(scores)} for a target of {shape(target)}: its classes have to be "
            "dimension 1",
            (rewritten(seen.expression, scores.name, "{}.transpose(1, 2)"),),
        )
    if "different" in match[0] or "same as" in match[0]:
        fix = ""
        if len(wanted) == len(has) + 1 and wanted[-1] == 1 and wanted[:-1] == has:
            fix = rewritten(seen.expression, scores.name, f"{{}}.squeeze({len(wanted) - 1})")
        elif len(has) == len(wanted) + 1 and has[-1] == 1 and has[:-1] == wanted:
            fix = rewritten(seen.expression, target.name, f"{{}}.squeeze({len(has) - 1})")
        return Reason(
            noted(seen.operands, {number: f"is {shape(target)}, {scores.name} is {shape(scores)}"}),
            f"{scores.name} is {shape(scores)}, {target.name} is {shape(target)}; they have to be equal",
            (fix,),
        )
    needed = [wanted[0], *wanted[2:]] if len(wanted) > 1 else []
    note = f"is {shape(target)}, must be {needed}"
    cause = (
        f"{target.name} is {shape(target)}, and has to be {needed} for scores of {shape(scores)}"
    )
    fix = ""
    if len(has) == 2 and has[1] == 1:
        fix = rewritten(seen.expression, target.name, "{}.squeeze(1)")
    elif has == wanted:
        fix = rewritten(seen.expression, target.name, "{}.argmax(1)")
        cause += "; it looks one-hot"
    elif len(has) == 4 and has[1] == 1:
        fix = rewritten(seen.expression, target.name, "{}.squeeze(1)")
    return Reason(noted(seen.operands, {number: note}), cause, (fix,))


def chances(seen: PostMortem) -> Reason | None:
    """Numbers that are no chances."""
    match = said(seen, r"all elements of (input|target) should be between 0 and 1")
    found = inputs_of(seen)
    if match is None or not found:
        return None
    number, odd = found[0 if match[1].lower() == "input" else min(1, len(found) - 1)]
    low, high = odd.tensor.low, odd.tensor.high
    if low is None or high is None:
        return None
    fix = ""
    if match[1].lower() == "input" and function_of(seen.expression) == "binary_cross_entropy":
        fix = seen.expression.replace("binary_cross_entropy", "binary_cross_entropy_with_logits", 1)
    elif match[1].lower() == "input":
        name = layer_name(seen)
        fix = f"{name} = nn.BCEWithLogitsLoss()" if name else "nn.BCEWithLogitsLoss()"
    what = f"nan={odd.tensor.nans}" if odd.tensor.nans else between(low, high)
    return Reason(
        noted(seen.operands, {number: f"{low:.4g} to {high:.4g}, must be 0 to 1"}),
        f"{odd.name} {what}, and a chance is 0 to 1",
        (fix, _into_chances(seen, odd, is_target=match[1].lower() == "target")),
    )


def _into_chances(seen: PostMortem, odd: Named, *, is_target: bool) -> str:
    """Scores become chances by a sigmoid; a target is no score, and is scaled where its numbers are bytes."""
    low, high = odd.tensor.low, odd.tensor.high
    if odd.tensor.nans or low is None or high is None:
        return ""
    if not is_target:
        return rewritten(seen.expression, odd.name, "{}.sigmoid()")
    if low >= 0 and 1 < high <= _MOST_OF_BYTE:
        return rewritten(seen.expression, odd.name, "{} / 255")
    return f"normalise {odd.name} into 0..1 where it is made"


_MOST_OF_BYTE = 255


# --- autograd


def leaf(seen: PostMortem) -> Reason | None:
    """A parameter that is written to."""
    if not said(seen, r"leaf variable (?:that )?requires grad|leaf variable has been moved"):
        return None
    found = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.requires_grad]
    if not found:
        return None
    number, one = found[0]
    return Reason(
        noted(seen.operands, {number: "a leaf that requires grad"}),
        f"{one.name} is a leaf that requires grad, and is written to while autograd records",
        (f"with torch.no_grad(): {_statement(seen)}",),
    )


def _statement(seen: PostMortem) -> str:
    """The whole line where the expression is but the target of an assignment."""
    line = next((it for it in seen.source if it.number == seen.line), None)
    if line is None or line.start is None:
        return seen.expression
    return line.text[line.start :].partition(";")[0].strip() or seen.expression


def changed_later(seen: PostMortem) -> Reason | None:
    """What backward needs was changed after it was kept. The lines of it take a run of their own."""
    match = said(
        seen,
        r"modified by an inplace operation: \[torch\.(\w*?)Tensor (\[[^\]]*\])\](?:, which is output \d+ of "
        r"(\w+),)?(?: is at version (\d+); expected version (\d+))?",
    )
    if match is None:
        return None
    made = f", a result of {match[3].removesuffix('Backward0')}," if match[3] else ""
    times = ""
    if match[4] and match[5]:
        count = int(match[4]) - int(match[5])
        times = " once" if count == 1 else f" {count} times"
    cause = f"a tensor of {match[2]}{made} was changed in place{times} after backward had kept it"
    fix = f"torchkit snoop --inplace {_command()}   (names the line that saved it and the line that changed it)"
    return Reason(seen.operands, cause, (fix,))


def _command() -> str:
    """The program that runs, as it is called: `train.py --lr 0.1`, `-m package.train`; else `SCRIPT`.

    A model is run by our own command line, whose arguments behind the subcommand are its name.
    """
    ours = re.search(r"(?:^|[\\/])(?:torchkit(?:\.exe)?|torchkit[\\/]__main__\.py)\Z", sys.argv[0])
    if ours and sys.argv[1:2] == ["snoop"]:
        return shlex.join(sys.argv[2:])
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = str(getattr(spec, "name", "")).removesuffix(".__main__")
    if name and name != "__main__" and name.partition(".")[0] not in ("torchkit", "pytest"):
        return shlex.join(("-m", name, *sys.argv[1:]))
    if not sys.argv or not sys.argv[0].endswith(".py"):
        return "SCRIPT"
    return shlex.join(sys.argv)


def no_graph(seen: PostMortem) -> Reason | None:
    """A loss that nothing leads to."""
    if not said(seen, r"does not require grad and does not have a grad_fn"):
        return None
    one = _backward_of(seen)
    if one is None:
        return None
    number, loss = one
    kind = loss.tensor.dtype
    why = "it was made under no_grad, detached, or from what needs no gradient"
    if not kind.startswith(("float", "bfloat", "complex")):
        why = f"it is {kind}, and comparisons, argmax and casts to integers have no gradient"
    return Reason(
        noted(seen.operands, {number: "does not require grad"}),
        f"{loss.name} does not require grad: {why}",
    )


def several(seen: PostMortem) -> Reason | None:
    """Backward of a loss that is not one number."""
    if not said(seen, r"grad can be implicitly created only for scalar outputs"):
        return None
    one = _backward_of(seen)
    if one is None:
        return None
    number, loss = one
    return Reason(
        noted(seen.operands, {number: f"is {shape(loss)}, must be one number"}),
        f"{loss.name} is {shape(loss)}, and backward() begins at one number",
        (rewritten(seen.expression, loss.name, "{}.mean()"),),
    )


def freed(seen: PostMortem) -> Reason | None:
    """Backward a second time."""
    if not said(seen, r"backward through the graph a second time"):
        return None
    one = _backward_of(seen)
    if one is None:
        return None
    number, loss = one
    return Reason(
        noted(
            seen.operands, {number: "its graph, or a part of it, was used up by a backward before"}
        ),
        f"{loss.name}.backward() goes through a graph, or a part of it, that an earlier backward has freed",
        (
            "call backward() once for each forward; state that is kept from step to step: "
            "hidden = hidden.detach()",
            rewritten(seen.expression, seen.expression, "{}").replace(
                ".backward()", ".backward(retain_graph=True)"
            )
            + "  on the first of two",
        ),
    )


def _backward_of(seen: PostMortem) -> tuple[int, Named] | None:
    owner = owner_of(seen.expression)
    for number, it in enumerate(seen.operands):
        if it.name == owner:
            return number, it
    return (0, seen.operands[0]) if len(seen.operands) == 1 else None


# --- as something else


def to_numpy(seen: PostMortem) -> Reason | None:
    """A tensor that keeps its gradient, or is elsewhere, to numpy."""
    if said(seen, r"can't call numpy\(\) on tensor that requires grad"):
        note, suffix = "requires grad", ".detach()"
    elif said(
        seen,
        r"can't convert cuda(?::\d)? .{0,30}to numpy|can't convert \S+ device type tensor to numpy",
    ):
        note, suffix = "is not in the memory of the CPU", ".detach().cpu()"
    elif said(seen, r"got unsupported scalartype bfloat16"):
        note, suffix = "is bfloat16, which numpy does not have", ".float()"
    else:
        return None
    one = _backward_of(seen) or ((0, seen.operands[0]) if seen.operands else None)
    if one is None:
        owner = owner_of(seen.expression)  # worked out on the way, and no longer there
        if not owner or function_of(seen.expression) != "numpy":
            return None
        fix = rewritten(seen.expression, owner, f"{{}}{suffix}")
        return Reason(seen.operands, f"{owner} {note}, and an array of numpy cannot", (fix,))
    number, odd = one
    return Reason(
        noted(seen.operands, {number: note}),
        f"{odd.name} {note}, and an array of numpy cannot",
        (rewritten(seen.expression, odd.name, f"{{}}{suffix}"),),
    )


def scalar(seen: PostMortem) -> Reason | None:
    """Several numbers where one is wanted."""
    if not said(
        seen,
        r"a tensor with \d+ elements cannot be converted to scalar",
        r"only one element tensors can be converted to python scalars",
        r"only integer tensors of a single element can be converted to an index",
    ):
        return None
    odd = next(((n, it) for n, it in enumerate(seen.operands) if it.tensor.numel != 1), None)
    if odd is None:
        return None
    number, one = odd
    count = one.tensor.numel
    cause = f"{one.name} has {count} elements, {shape(one)}, and one number is wanted"
    if function_of(seen.expression) in ("tensor", "Tensor", "FloatTensor", "as_tensor"):
        name = one.name.rpartition("[")[0]
        alike = {it.tensor.shape for it in seen.operands}
        fix = f"torch.stack({name})" if name and len(alike) == 1 else ""
        fix = fix or (f"torch.cat({name})" if name else "")
        return Reason(noted(seen.operands, {number: f"{count} elements"}), cause, (fix,))
    is_index = "to an index" in seen.message
    is_number = not is_index and one.tensor.dtype.startswith(("float", "bfloat"))
    return Reason(
        noted(seen.operands, {number: f"{count} elements"}),
        cause,
        (
            rewritten(seen.expression, one.name, "{}.mean()") if is_number else "",
            f"{one.name}.tolist()  for all of them" if one.name.isidentifier() else "",
        ),
    )


def truth(seen: PostMortem) -> Reason | None:
    """Several answers to one question."""
    if not said(seen, r"boolean value of tensor with (?:more than one|no) values?"):
        return None
    odd = next(((n, it) for n, it in enumerate(seen.operands) if it.tensor.numel != 1), None)
    if odd is None:
        return None
    number, one = odd
    text = one.name if one.name.replace(".", "").isidentifier() else f"({one.name})"
    count = f"{one.tensor.numel} elements" if one.tensor.numel else "no elements"
    fix = [f"{text}.all()", f"or {text}.any()"]
    if " == " in one.name and one.name == seen.expression:
        fix.insert(0, "torch.equal({}, {})".format(*one.name.split(" == ", 1)))
    return Reason(
        noted(seen.operands, {number: count}),
        f"{one.name} has {count}, and Python asks it for one answer",
        tuple(fix),
    )


def before_init(seen: PostMortem) -> Reason | None:
    """A layer that is set before there is a module."""
    if not said(seen, r"cannot assign \w+ before module\.__init__\(\) call"):
        return None
    return Reason(
        seen.operands,
        f"{seen.expression} is set before super().__init__() was called"
        if seen.expression
        else "a layer is set before super().__init__() was called",
        ("super().__init__()  as the first line of __init__",),
    )


def unpacking(seen: PostMortem) -> Reason | None:
    """A tensor, or several, taken apart into another number of names."""
    match = said(
        seen,
        r"too many values to unpack \(expected (\d+)|not enough values to unpack \(expected (\d+), got (\d+)\)",
    )
    if match is None or not seen.operands:
        return None
    wanted = match[1] or match[2]
    one = seen.operands[0]
    many = len({it.name.rpartition("[")[0] for it in seen.operands}) == 1 and "[" in one.name
    what = one.name.rpartition("[")[0] if many else one.name
    has = len(seen.operands) if many else (one.tensor.shape or (0,))[0]
    return Reason(
        noted(seen.operands, {} if many else {0: f"{has} rows, {wanted} names"}),
        f"{what} gives {has}, and there are {wanted} names for them",
    )


JUDGES: tuple[Judge, ...] = (
    embedding_function, mask, index, target_range, target_shape, chances, leaf, changed_later, no_graph, several, freed,
    to_numpy, scalar, truth, before_init, unpacking,
)  # fmt: skip
