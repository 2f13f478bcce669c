"""Tensors of dtypes, or on devices, that an operation does not take together or at all."""

from __future__ import annotations

from collections import Counter

from torchkit.tracing.judging import (
    Judge,
    Reason,
    inputs_of,
    is_own,
    noted,
    said,
)
from torchkit.tracing.postmortem import Named, PostMortem
from torchkit.tracing.rewriting import cast_in, function_of, in_place_as_new, owner_of, rewritten

_CASTS = {
    "float32": ".float()", "float64": ".double()", "float16": ".half()", "int64": ".long()",
    "bool": ".bool()", "int32": ".int()", "bfloat16": ".bfloat16()",
}  # fmt: skip

_NAMES = {
    "long": "int64", "int": "int32", "short": "int16", "char": "int8", "byte": "uint8",
    "float": "float32", "double": "float64", "half": "float16", "bool": "bool",
    "bfloat16": "bfloat16", "c10::bfloat16": "bfloat16", "c10::half": "float16",
    "long int": "int64", "unsigned char": "uint8", "complexfloat": "complex64",
    "complexdouble": "complex128",
}  # fmt: skip
"""Dtypes as the messages of C++ write them."""


def cast(dtype: str) -> str:
    """What turns a tensor into one of this dtype: `.float()`."""
    return _CASTS.get(dtype, f".to(torch.{dtype})")


def _is_floating(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex"))


# --- several dtypes


def mixed(seen: PostMortem) -> Reason | None:
    """Operands of two dtypes where one is wanted."""
    if not said(
        seen,
        r"must have the same dtype",
        r"to have the same dtype",
        r"should be the same",
        r"expected scalar type \w+ but found \w+",
        r"does not match weight dtype",
        r"expected m1 and m2 to",
        r"type mismatch|mixed dtype",
    ):
        return None
    if "loss" in function_of(seen.expression) or "cross_entropy" in function_of(seen.expression):
        return None
    kinds = [it.tensor.dtype for it in seen.operands]
    odd = _odd(seen, kinds)
    if odd is None:
        return None
    usual = next(kind for kind in kinds if kind != kinds[odd])
    one = seen.operands[odd]
    other = next(it for it in seen.operands if it.tensor.dtype == usual)
    if one.tensor.dtype.startswith("complex") and not usual.startswith("complex"):
        return Reason(
            noted(seen.operands, _notes(seen.operands, kinds, one, "is")),
            f"{one.name} is {kinds[odd]}, {other.name} is {usual}; this takes them of one dtype",
            (
                cast_in(seen, one.name, ".abs()"),
                f"torch.view_as_real({one.name})  for both parts, in a last dimension of 2",
            ),
        )
    return Reason(
        noted(seen.operands, _notes(seen.operands, kinds, one, "is")),
        f"{one.name} is {kinds[odd]}, {other.name} is {usual}; this takes them of one dtype",
        (cast_in(seen, one.name, cast(usual)),),
    )


def stored(seen: PostMortem) -> Reason | None:
    """`bank[i] = value` of another dtype: what is stored takes the dtype of where it is stored."""
    if not said(seen, r"index put requires the source and destination dtypes match"):
        return None
    owner, _, index = seen.expression.partition("[")
    line = next((it for it in seen.source if it.number == seen.line), None)
    into = next((it for it in seen.operands if it.name == owner), None)
    if into is None or line is None or not index.endswith("]"):
        return None
    found = [
        (n, it)
        for n, it in enumerate(seen.operands)
        if it.tensor.dtype != into.tensor.dtype and f"[{it.name}" not in seen.expression
    ]
    if len(found) != 1:
        return None
    number, odd = found[0]
    start = f"{seen.expression} = {odd.name}"
    fix = f"{seen.expression} = {odd.name}.to({owner}.dtype)" if line.text.strip() == start else ""
    return Reason(
        noted(seen.operands, {number: f"is {odd.tensor.dtype}, not {into.tensor.dtype}"}),
        f"{odd.name} is {odd.tensor.dtype}, {owner} is {into.tensor.dtype}; what is stored by index "
        "has to be of the same dtype",
        (fix,),
    )


def _odd(seen: PostMortem, values: list[str]) -> int | None:
    """Which operand is unlike the others. A layer's own tensors are what the rest has to be like."""
    if len(set(values)) != 2:
        return None
    own = {values[n] for n, it in enumerate(seen.operands) if is_own(seen, it)}
    if len(own) == 1:
        return next((n for n, it in enumerate(values) if it not in own), None)
    counts = Counter(values).most_common()
    if counts[0][1] > counts[1][1]:
        return values.index(counts[1][0])
    order = ("float32", "bfloat16", "float16", "float64")  # of two, the likelier one to be meant
    known = [it for it in order if it in values]
    return next(n for n, it in enumerate(values) if not known or it != known[0])


def _notes(operands: tuple[Named, ...], values: list[str], odd: Named, verb: str) -> dict[int, str]:
    usual = next(
        value
        for value, it in zip(values, operands, strict=True)
        if value != _of(values, operands, odd)
    )
    found = _of(values, operands, odd)
    rest = f"not {usual}" if len(values) == 2 else _the_others(verb, usual)
    return {n: f"{verb} {found}, {rest}" for n, value in enumerate(values) if value == found}


def _the_others(verb: str, usual: str) -> str:
    return f"the others {verb.replace('is', 'are', 1)} {usual}"


def _of(values: list[str], operands: tuple[Named, ...], one: Named) -> str:
    return values[operands.index(one)]


# --- a dtype that is not taken


def index(seen: PostMortem) -> Reason | None:
    """Floats where a place is looked up."""
    if not said(
        seen,
        r"tensors used as indices must be",
        r"scalar types: long, int",
        r"expected dtype int\d+/int\d+ for index",
        r"expected dtype int\d+ for index",
        r"only applicable to index tensor of type",
        r"index tensor.{0,40}must be|expects? (?:a )?(?:long|int64)",
    ):
        return None
    found = [(n, it) for n, it in inputs_of(seen) if not _is_index(it.tensor.dtype)]
    if not seen.module and len(seen.operands) > 1 and function_of(seen.expression) != "one_hot":
        owner = owner_of(seen.expression) or seen.operands[0].name
        found = [(n, it) for n, it in found if it.name != owner] or found[1:]
    if seen.expression.startswith("F.embedding"):
        found = found[:1]
    if len(found) != 1:
        return None
    number, odd = found[0]
    wanted = "int64 or bool" if "used as indices" in seen.message else "int64"
    wanted = "int64 or int32" if "Long, Int" in seen.message else wanted
    return Reason(
        noted(seen.operands, {number: f"is {odd.tensor.dtype}, an index is {wanted}"}),
        f"{odd.name} is {odd.tensor.dtype}; an index is {wanted}",
        (cast_in(seen, odd.name, ".long()"),),
    )


def _is_index(dtype: str) -> bool:
    return dtype in ("int64", "int32", "bool", "uint8")


def target(seen: PostMortem) -> Reason | None:
    """The target of a loss is of a dtype that this loss does not take."""
    found = inputs_of(seen)
    name = function_of(seen.expression)
    is_loss = (
        "loss" in seen.module_type.lower()
        or name.endswith(("loss", "entropy", "entropy_with_logits"))
        or "criterion" in name
    )
    if not is_loss or len(found) < 2:
        return None
    if said(seen, r"target dtype to be long", r"expected scalar type long", r"expected floating"):
        wanted, why = ".long()", "class numbers are int64, and chances have the shape of the scores"
    elif said(
        seen,
        r"found dtype \w+ but expected \w+",
        r"result type \w+ can't be cast",
        r"expected scalar type \w+ but found \w+",
    ):
        wanted, why = cast(found[0][1].tensor.dtype), ""
    else:
        return None
    (_, scores), (number, odd) = found[0], found[1]
    cause = f"{odd.name} is {odd.tensor.dtype}, {scores.name} is {scores.tensor.dtype}"
    if why:
        cause = f"{odd.name} is {odd.tensor.dtype}; {why}"
    needed = "int64" if wanted == ".long()" else scores.tensor.dtype
    return Reason(
        noted(seen.operands, {number: f"is {odd.tensor.dtype}, must be {needed}"}),
        cause,
        (cast_in(seen, odd.name, wanted),),
    )


def not_implemented(seen: PostMortem) -> Reason | None:
    """A kernel that there is none of for a dtype."""
    match = said(seen, r"\"([^\"]{1,80})\" not implemented for '([^']+)'")
    bare = match or said(
        seen,
        r"^(\w+)\(\): could not infer output dtype\..*Got: (\w+)",
        r"^([\w.]+)(?:\(\))?: .{0,80}floating point.{0,60}\bgot:? (\w+)",
    )
    if bare is None:
        return None
    dtype = _NAMES.get(bare[2].lower(), bare[2].lower())
    odd = next(((n, it) for n, it in enumerate(seen.operands) if it.tensor.dtype == dtype), None)
    if odd is None:
        return None
    number, operand = odd
    name = function_of(seen.expression) or bare[1]
    others = [it.tensor.dtype for it in seen.operands if it.tensor.dtype != dtype]
    wanted = ".bool()" if others == ["bool"] and _is_floating(dtype) else _other(dtype)
    what = name if name.isidentifier() else "this"
    return Reason(
        noted(seen.operands, {number: f"is {dtype}"}),
        f"{operand.name} is {dtype}, and {what} is not written for that on {operand.tensor.device}",
        (cast_in(seen, operand.name, wanted),),
    )


def _other(dtype: str) -> str:
    return ".float()" if not _is_floating(dtype) or dtype in ("float16", "bfloat16") else ".long()"


def byte_and_bool(seen: PostMortem) -> Reason | None:
    """Masks of bytes where bool is wanted."""
    match = said(
        seen,
        r"result type (\w+) can't be cast to the desired output type (bool)",
        r"(boolean) masks?, but got mask with dtype ([\w ]+)",
        r"(expected) .{0,40}to be (bool)",
    )
    if match is None:
        return None
    found = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.dtype != "bool"]
    if "mask" in seen.message:
        owner = owner_of(seen.expression)
        found = [(n, it) for n, it in found if it.name != owner]
    if len(found) != 1:
        return None
    number, odd = found[0]
    bools = [it for it in seen.operands if it.tensor.dtype == "bool"]
    cause = f"{odd.name} is {odd.tensor.dtype}"
    cause += f", {bools[0].name} is bool" if bools else ", a mask is bool"
    fix = cast_in(seen, odd.name, ".bool()")
    if odd.name.endswith(".byte()"):
        fix = seen.expression.replace(".byte()", ".bool()")
    return Reason(noted(seen.operands, {number: f"is {odd.tensor.dtype}, not bool"}), cause, (fix,))


def in_place(seen: PostMortem) -> Reason | None:
    """A result that does not fit into the tensor that it is written to."""
    match = said(seen, r"result type (\w+) can't be cast to the desired output type (\w+)")
    if match is None or not seen.operands:
        return None
    dtype = _NAMES.get(match[2].lower(), match[2].lower())
    made = _NAMES.get(match[1].lower(), match[1].lower())
    first = seen.operands[0]
    if first.tensor.dtype != dtype:
        return None
    other = next((it for it in seen.operands[1:] if it.tensor.dtype != dtype), None)
    cause = f"{first.name} is {dtype}"
    cause += (
        f", {other.name} is {other.tensor.dtype}" if other is not None else f", the result {made}"
    )
    fix = in_place_as_new(seen.expression)
    before = f"{first.name} = {first.name}{cast(made)}  before it: made a floating tensor"
    return Reason(
        noted(seen.operands, {0: f"is {dtype}, the result is {made}"}),
        f"{cause}; in place a tensor keeps its dtype",
        (fix, before),
        id="dtype-cast-inplace",
    )


def of_bools(seen: PostMortem) -> Reason | None:
    """A mask that is subtracted."""
    if not said(
        seen, r"subtraction, the `-` operator, with", r"negation, the `-` operator, on a bool"
    ):
        return None
    found = [(n, it) for n, it in enumerate(seen.operands) if it.tensor.dtype == "bool"]
    if not found:
        return None
    _, odd = found[0]
    text = odd.name if odd.name.replace(".", "").isidentifier() else f"({odd.name})"
    fix = f"~{text}" if seen.expression.replace(" ", "").startswith(("1-", "-")) else ""
    fix = fix or (f"{found[0][1].name} ^ {found[1][1].name}" if len(found) == 2 else "")
    return Reason(
        noted(seen.operands, {n: "is bool" for n, _ in found}),
        f"{odd.name} is bool, and bools are not subtracted",
        (fix, cast_in(seen, odd.name, ".float()")),
    )


# --- devices


def device(seen: PostMortem) -> Reason | None:
    """Operands on two devices."""
    match = said(
        seen,
        r"tensor on device (\S+) is not on the expected device (\S+?)!",
        r"at least two devices, (\S+) and (\S+?)!",
        r"expected all tensors to be on the same device",
        r"input type \((torch\.\w*\.?\w+tensor)\) and weight type \(",
        r"indices should be either on (cpu) or on the same device",
        r"is on (\S+), (?:but )?expected .{0,30}?(\S+)",
    )
    if match is None:
        return None
    places = [it.tensor.device for it in seen.operands]
    odd = _odd(seen, places)
    if odd is not None and len(places) == 2 and match.groups() and match[1] in places:
        odd = places.index(match[1])  # of two, torch names the one that it did not expect first
        odd = _odd(seen, places) if any(is_own(seen, it) for it in seen.operands) else odd
    if odd is not None:
        one = seen.operands[odd]
        other = next(it for it in seen.operands if it.tensor.device != one.tensor.device)
        first, second = (one, other) if odd < seen.operands.index(other) else (other, one)
        if is_own(seen, first):
            first, second = one, other
        return Reason(
            noted(seen.operands, _notes(seen.operands, places, one, "is on")),
            f"{first.name} is on {first.tensor.device}, {second.name} is on {second.tensor.device}",
            _moves(seen, one, other),
            id="device-mismatch",
        )
    if len(set(places)) == 1 and len(match.groups()) >= 2 and match[2] and match[1]:
        one = seen.operands[0]
        rest = next((it for it in (match[1], match[2]) if it != places[0]), "")
        return Reason(
            noted(seen.operands, {0: f"is on {places[0]}, the others on {rest}"}),
            f"{one.name} is on {places[0]}, and {rest} is wanted",
            _moves(seen, one, None, rest),
            id="device-mismatch",
        )
    return None


def _moves(seen: PostMortem, one: Named, other: Named | None, where: str = "") -> tuple[str, ...]:
    """How the odd one gets to the others."""
    name = one.name.removeprefix("self.")
    if one.name.startswith("self.") and name.isidentifier() and not is_own(seen, one):
        return (
            f'self.register_buffer("{name}", …) where self.{name} = … is: a plain tensor is not '
            "moved by .to(device)",
        )
    if other is not None and other.tensor.device == "meta" and is_own(seen, other):
        root = seen.module or "the model"
        return (
            f'{root}.to_empty(device="{one.tensor.device}"), then load its weights: those on meta '
            "have no values",
        )
    if other is not None and one.tensor.device != "meta":
        return (rewritten(seen.expression, one.name, f"{{}}.to({_safe(other.name)}.device)"),)
    if one.tensor.device == "meta":
        return (f"make {one.name} on a device with memory: what is on meta has no values",)
    return (rewritten(seen.expression, one.name, f'{{}}.to("{where}")') if where else "",)


def _safe(name: str) -> str:
    return (
        name
        if name.replace(".", "").replace("[", "").replace("]", "").isidentifier()
        else f"({name})"
    )


JUDGES: tuple[Judge, ...] = (
    device, target, byte_and_bool, of_bools, index, not_implemented, in_place, stored, mixed,
)  # fmt: skip
