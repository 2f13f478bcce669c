"""A layer of torch.nn is given what it was not built for."""

from __future__ import annotations

from math import prod

from torchkit.tracing.judging import (
    Judge,
    Reason,
    in_place_of_self,
    inputs_of,
    layer_name,
    listed,
    noted,
    of_layer,
    place_of,
    rebuilt,
    said,
    shape,
)
from torchkit.tracing.postmortem import Named, PostMortem
from torchkit.tracing.rewriting import rewritten


def _first(seen: PostMortem) -> tuple[int, Named] | None:
    found = inputs_of(seen)
    return found[0] if found else None


def linear(seen: PostMortem) -> Reason | None:
    """A linear layer of another width."""
    layer, first = seen.layer, _first(seen)
    if layer is None or not layer.is_a("Linear") or first is None:
        return None
    number, given = first
    takes, sizes = layer.number("in_features"), given.tensor.shape
    if not sizes or sizes[-1] == takes:
        return None
    name = layer_name(seen)
    weight = place_of(seen, "weight")
    notes = {number if weight is None else weight: f"takes {takes} features, was given {sizes[-1]}"}
    cause = f"{name} was built for {takes} features; its input has {sizes[-1]}"
    if len(sizes) > 2 and prod(sizes[1:]) == takes:
        cause += f" in its last dimension, and {takes} when it is flattened"
        fix = (rewritten(seen.expression, given.name, "{}.flatten(1)"), *_others(seen))
        return Reason(noted(seen.operands, notes), cause, fix or ("x.flatten(1) before it",))
    if len(sizes) == 1 and sizes[0] % takes == 0:
        cause += f", which is {sizes[0] // takes} times as many: the batch was flattened too"
        fix = (rewritten(seen.expression, given.name, f"{{}}.reshape(-1, {takes})"),)
        return Reason(noted(seen.operands, {number: "flattened with its batch"}), cause, fix)
    if len(sizes) == 3 and sizes[1] == takes:
        cause += f"; {takes} is its dimension 1"
        fix = (rewritten(seen.expression, given.name, "{}.transpose(1, 2)"),)
        return Reason(noted(seen.operands, notes), cause, (*fix, *_others(seen)))
    cause += _made_of(seen, given)
    return Reason(
        noted(seen.operands, notes), cause, (rebuilt(seen, in_features=sizes[-1]), *_others(seen))
    )


def _made_of(seen: PostMortem, given: Named) -> str:
    """` = 32x7x7`, where a tensor of that frame was flattened to it."""
    sizes = given.tensor.shape
    if len(sizes) != 2 or not seen.frames:
        return ""
    for it in seen.frames[0].tensors:
        inner = it.tensor.shape[1:]
        if len(inner) > 1 and it.tensor.shape[0] == sizes[0] and prod(inner) == sizes[1]:
            return f" = {listed(inner)}"
    return ""


def _others(seen: PostMortem) -> tuple[str, ...]:
    found = of_layer(seen)
    return found.fix if found is not None else ()


def convolution(seen: PostMortem) -> Reason | None:
    """Another number of channels, or these at the end."""
    layer, first = seen.layer, _first(seen)
    if layer is None or first is None or not any("Conv" in it for it in layer.kinds):
        return None
    number, given = first
    takes, sizes = layer.number("in_channels"), given.tensor.shape
    dimensions = len(layer.sizes("kernel_size")) or 2
    name, weight = layer_name(seen), place_of(seen, "weight")
    if len(sizes) not in (dimensions + 1, dimensions + 2):
        most = f"{dimensions + 1} or {dimensions + 2}"
        note = f"has {len(sizes)} dimensions, takes {most}"
        fix = ""
        if len(sizes) == dimensions and takes == 1:
            fix = rewritten(seen.expression, given.name, "{}.unsqueeze(0)")
        elif len(sizes) == dimensions + 3 and 1 in sizes:
            fix = rewritten(seen.expression, given.name, f"{{}}.squeeze({sizes.index(1)})")
        cause = f"{name} takes {most} dimensions; {given.name} has {len(sizes)}: {shape(given)}"
        return Reason(noted(seen.operands, {number: note}), cause, (fix,))
    if len(sizes) == dimensions + 1 and sizes[-1] == takes != sizes[0]:
        order = ", ".join(map(str, (dimensions, *range(dimensions))))
        return Reason(
            noted(seen.operands, {number: f"its {takes} channels are last"}),
            f"{given.name} is {shape(given)}: its {takes} channels are last, and {name} takes them first",
            (rewritten(seen.expression, given.name, f"{{}}.permute({order})"), *_others(seen)),
        )
    channels = sizes[-dimensions - 1]
    if channels == takes:
        return _too_small(seen, number, given)
    cause = f"{name} was built for {takes} channels; its input has {channels}"
    if sizes[-1] == takes and len(sizes) == dimensions + 2:
        order = ", ".join(map(str, (0, dimensions + 1, *range(1, dimensions + 1))))
        return Reason(
            noted(seen.operands, {number: f"its {takes} channels are last"}),
            f"{given.name} is {shape(given)}: its {takes} channels are last, and {name} takes them "
            "behind the batch",
            (rewritten(seen.expression, given.name, f"{{}}.permute({order})"), *_others(seen)),
        )
    notes = {number if weight is None else weight: f"takes {takes} channels, was given {channels}"}
    fixes = [rebuilt(seen, in_channels=channels)] if not layer.number("groups") > 1 else []
    if takes == 3 and channels == 1:
        fixes.append(rewritten(seen.expression, given.name, "{}.expand(-1, 3, -1, -1)"))
    elif takes == 3 and channels == 4:
        fixes.insert(0, rewritten(seen.expression, given.name, "{}[:, :3]"))
    elif takes == 1 and channels == 3:
        fixes.append(rewritten(seen.expression, given.name, "{}.mean(1, keepdim=True)"))
    return Reason(noted(seen.operands, notes), cause, tuple(fixes))


def _too_small(seen: PostMortem, number: int, given: Named) -> Reason | None:
    layer = seen.layer
    if layer is None or not said(seen, "kernel size can't be greater", "output size is too small"):
        return None
    kernel = layer.sizes("kernel_size")
    pictures = given.tensor.shape[-(len(kernel) if len(kernel) > 1 else 2) :]
    if len(kernel) == 1 and not any("1d" in it for it in layer.kinds):
        kernel = kernel * len(pictures)
    name, weight = layer_name(seen), place_of(seen, "weight")
    if weight is None:
        notes = {number: f"is {listed(pictures)}, the kernel {listed(kernel)}"}
    else:
        notes = {weight: f"a kernel of {listed(kernel)} for {listed(pictures)}"}
    return Reason(
        noted(seen.operands, notes),
        f"{name} has a kernel of {listed(kernel)}; its input is {listed(pictures)}",
        (
            "larger pictures, fewer or smaller strides before it, or padding in it",
            rebuilt(seen, kernel_size=min(*kernel, *pictures)) if min(pictures) > 0 else "",
        ),
    )


def pooling(seen: PostMortem) -> Reason | None:
    """Nothing is left of a picture."""
    layer, first = seen.layer, _first(seen)
    if layer is None or first is None or not any("Pool" in it for it in layer.kinds):
        return None
    return _too_small(seen, *first)


def recurrent(seen: PostMortem) -> Reason | None:
    """An LSTM, GRU or RNN of another width, or with a state of another shape."""
    layer, first = seen.layer, _first(seen)
    if layer is None or first is None or not layer.is_a("LSTM", "GRU", "RNN"):
        return None
    number, given = first
    takes, sizes = layer.number("input_size"), given.tensor.shape
    name = layer_name(seen)
    if len(sizes) in (2, 3) and sizes[-1] != takes:
        cause = f"{name} was built for {takes} features; its input has {sizes[-1]}"
        note = f"has {sizes[-1]} features, takes {takes}"
        fix = [rebuilt(seen, input_size=sizes[-1])]
        if len(sizes) == 3 and sizes[1] == takes:
            cause += f"; {takes} is its dimension 1"
            fix.insert(0, rewritten(seen.expression, given.name, "{}.transpose(1, 2)"))
        return Reason(noted(seen.operands, {number: note}), cause, (*fix, *_others(seen)))
    state = said(seen, r"expected hidden(?:\[\d\])? size \(([\d, ]+)\), got [\[(]([\d, ]+)[\])]")
    if state is None:
        return None
    wanted, got = f"[{state[1]}]", f"[{state[2]}]"
    odd = next((n for n, it in inputs_of(seen)[1:] if shape(it) == got), None)
    if odd is None:
        return None
    return Reason(
        noted(seen.operands, {odd: f"is {got}, must be {wanted}"}),
        f"{seen.operands[odd].name} is {got}, and has to be {wanted}: layers x directions, batch, "
        "hidden_size, also with batch_first",
        _others(seen)
        or (f"{seen.operands[odd].name} = torch.zeros({wanted[1:-1]})  for each batch",),
    )


def attention(seen: PostMortem) -> Reason | None:
    """An attention layer of another width."""
    layer, first = seen.layer, _first(seen)
    if layer is None or first is None or not layer.is_a("MultiheadAttention"):
        return None
    number, given = first
    takes, sizes = layer.number("embed_dim"), given.tensor.shape
    if not sizes or sizes[-1] == takes:
        return None
    return Reason(
        noted(seen.operands, {number: f"has {sizes[-1]} features, takes {takes}"}),
        f"{layer_name(seen)} was built for {takes} features; its input has {sizes[-1]}",
        _others(seen),
    )


def padding_mask(seen: PostMortem) -> Reason | None:
    """A mask of keys for another number of them."""
    match = said(
        seen,
        r"key_padd\w+_mask\.shape\[(?P<at>\d)\] to be (?P<wanted>\d+), but got (?P<got>\d+)",
        r"key_padding_mask shape of \(\d+, (?P<wanted>\d+)\), but got torch\.Size\(\[\d+, (?P<got>\d+)\]",
    )
    if match is None:
        return None
    at = int(match.groupdict().get("at") or 1)
    wanted, got = int(match["wanted"]), int(match["got"])
    for number, it in inputs_of(seen)[1:]:
        if len(it.tensor.shape) == 2 and it.tensor.shape[at] == got:
            return Reason(
                noted(seen.operands, {number: f"{got} in dimension {at}, must be {wanted}"}),
                f"{it.name} is {shape(it)}; its dimension {at} has to be {wanted}: batch, keys",
            )
    return None


def several(seen: PostMortem) -> Reason | None:
    """A layer is given what another one gave with its state: a tuple."""
    match = said(seen, r"argument '?\w+'? (?:\(position 1\) )?must be Tensor, not (tuple|list)")
    first = _first(seen)
    if match is None or first is None or seen.layer is None:
        return None
    number, one = first
    name = one.name.removesuffix("[0]")
    if name == one.name:
        return None
    return Reason(
        noted(seen.operands, {number: f"the first of a {match[1]}"}),
        f"{layer_name(seen)} takes a tensor, and is given a {match[1]}: {name}",
        (rewritten(seen.expression, name, "{}[0]"),),
    )


def embedding(seen: PostMortem) -> Reason | None:
    """An id without a row."""
    layer, first = seen.layer, _first(seen)
    if layer is None or first is None or not layer.is_a("Embedding", "EmbeddingBag"):
        return None
    number, ids = first
    low, high, rows = ids.tensor.low, ids.tensor.high, layer.number("num_embeddings")
    if low is None or high is None or not rows or (low >= 0 and high < rows):
        return None
    name = layer_name(seen)
    both = low < 0 and high >= rows
    note = f"{low} is below 0" if low < 0 else f"{high} is not below {rows}"
    goes = f"goes from {low} to {high}" if low != high else f"is {low}"
    fix = ["check what makes the ids: padding is often -1, and a row is needed for it too"]
    if high >= rows and not both:
        fix = [rebuilt(seen, num_embeddings=int(high) + 1), "or check what makes the ids"]
    if low < 0 and not both:
        fix.insert(0, rewritten(seen.expression, ids.name, "{}.clamp(min=0)"))
    return Reason(
        noted(seen.operands, {number: note}),
        f"{ids.name} {goes}, {name} has rows for 0 to {rows - 1}",
        tuple(fix),
    )


def norm(seen: PostMortem) -> Reason | None:
    """A normalisation of another number of features, or of a batch of one."""
    layer, first = seen.layer, _first(seen)
    if layer is None or first is None or not any("Norm" in it for it in layer.kinds):
        return None
    number, given = first
    sizes, name = given.tensor.shape, layer_name(seen)
    if said(seen, "more than 1 value per channel", "more than 1 spatial element"):
        return Reason(
            noted(seen.operands, {number: f"{shape(given)} is one value for each channel"}),
            f"{name} needs several values for each channel while it trains; its input is "
            f"{shape(given)}",
            (
                "drop_last=True in the DataLoader, so that no batch of one is left",
                "or net.eval() where nothing is trained",
            ),
        )
    wide = layer.number("num_features")
    if wide and len(sizes) > 1 and sizes[1] != wide:
        notes = _mark(seen, number, f"for {wide} channels, was given {sizes[1]}")
        return Reason(
            noted(seen.operands, notes),
            f"{name} was built for {wide} channels; its input has {sizes[1]}",
            (rebuilt(seen, num_features=sizes[1]), *_others(seen)),
        )
    shape_wanted = layer.sizes("normalized_shape")
    if shape_wanted and sizes[-len(shape_wanted) :] != shape_wanted:
        now = sizes[-len(shape_wanted) :]
        notes = _mark(seen, number, f"for {listed(shape_wanted)}, was given {listed(now)}")
        return Reason(
            noted(seen.operands, notes),
            f"{name} was built for a last dimension of {listed(shape_wanted)}; its input has "
            f"{listed(now)}",
            (rebuilt(seen, normalized_shape=now), *_others(seen)),
        )
    return None


def _mark(seen: PostMortem, number: int, note: str) -> dict[int, str]:
    weight = place_of(seen, "weight")
    return {number if weight is None else weight: note}


def missing_forward(seen: PostMortem) -> Reason | None:
    """A module without a forward."""
    if not said(seen, 'missing the required "forward" function') or seen.layer is None:
        return None
    found = of_layer(seen)
    cause = f"{seen.module_type} has no method forward"
    return Reason(
        seen.operands,
        cause,
        tuple(in_place_of_self(seen, it) for it in found.fix) if found is not None else (),
    )


JUDGES: tuple[Judge, ...] = (
    missing_forward, several, padding_mask, linear, convolution, pooling, recurrent, attention, embedding, norm,
)  # fmt: skip
