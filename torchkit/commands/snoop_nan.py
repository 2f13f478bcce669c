"""The report of `torchkit snoop --nan`: the first NaN, where it comes from, what to write instead."""

from __future__ import annotations

import ast
import linecache
import re

from torchkit.commands.snoop_paths import shown_path
from torchkit.report import Evidence, Finding, ListedLine, Listing, Report, fail, info
from torchkit.tracing.nan import Found, Maker
from torchkit.tracing.nan_reasons import Numbers, Why, why
from torchkit.tracing.owners import parts_of
from torchkit.tracing.places import Spot
from torchkit.tracing.tensors import Described

_REFERENCE = "https://docs.pytorch.org/docs/stable/notes/autograd.html"


def report_of(found: Found) -> Report:
    """The report on the first NaN or Inf."""
    culprit = _culprit(found)
    reason = _was_there(found) if found.was_there else _why(found, culprit)
    where = where_of(culprit.spot)
    step = f"step {found.step}, " if found.step is not None else ""
    headline = f"first {found.what}: {step}{named(culprit)} at {where}"
    if found.was_there:
        headline = f"NaN was there before: {step}{named(culprit)} at {where} is given it"
    evidence = [
        *spot_evidence(culprit.spot),
        Evidence("operation", _plainly(culprit), shown=False),
    ]
    if culprit is not found.maker:
        evidence.append(
            Evidence("made by", f"{named(found.maker)} at {where_of(found.maker.spot)}")
        )
    if found.earlier_inf is not None and culprit is not found.earlier_inf:
        earlier = found.earlier_inf
        expression = earlier.spot.expression if earlier.spot is not None else ""
        text = f"{named(earlier)} at {where_of(earlier.spot)}   {expression}".rstrip()
        evidence.append(Evidence("earlier Inf", text, "written by hand" if earlier.by_hand else ""))
    if found.inside.module and culprit is found.maker:
        text = f"{found.inside.module}  {found.inside.module_text}".strip()
        evidence.append(Evidence("module", text))
    evidence += _operands(found, culprit)
    verdict = fail(reason.cause, evidence=evidence, fix=reason.fix, brief=headline)
    finding = Finding(f"first-{found.what.lower()}", "snoop", verdict, _REFERENCE)
    totals: dict[str, int] = {"operations": found.operations, "backwards": found.backwards}
    if found.step is not None:
        totals["step"] = found.step
    return Report(
        "snoop",
        findings=(finding,),
        listings=listing_of(culprit.spot),
        totals=totals,
        headline=headline,
    )


def came_in_report(found: Found) -> Report:
    """The report on a script that has ended, and in which NaN was given to operations, made by none."""
    spot = found.maker.spot
    names = " and ".join(dict.fromkeys(f"`{it}`" for it in found.names if it))
    what = f"NaN came in with {names or 'the data or a parameter'}"
    if not found.inputs:
        what = "NaN is written as a number"
    at = f" at {shown_path(spot.code.co_filename)}:{spot.line}" if spot is not None else ""
    evidence = [
        *spot_evidence(spot),
        Evidence("operation", _plainly(found.maker), shown=False),
        *_operands(found, found.maker),
    ]
    verdict = info(
        f"no operation made NaN of numbers; {what}{at}",
        evidence=evidence,
        fix=_was_there(found).fix,
    )
    finding = Finding("nan-was-there", "snoop", verdict, _REFERENCE)
    totals = {"operations": found.operations, "backwards": found.backwards}
    return Report("snoop", findings=(finding,), listings=listing_of(spot), totals=totals)


def _culprit(found: Found) -> Maker:
    """In backward NaN is mostly 0 times the infinite gradient of another line: that one is told."""
    earlier = found.earlier_inf
    if found.maker.is_backward and earlier is not None and earlier.is_backward:
        return earlier
    return found.maker


def _was_there(found: Found) -> Why:
    if not found.inputs:
        return Why("no operation made it: it is written there as a number")
    names = [name for name in found.names if name] or ["what it is given"]
    return Why(
        f"no operation made it: {' and '.join(names)} had NaN already, as data or as a parameter",
        (f"look at it before: assert torch.isfinite({names[0]}).all()",)
        if found.names and names[0] in found.names
        else ("look at the data before: assert torch.isfinite(x).all()",),
    )


def _why(found: Found, culprit: Maker) -> Why:
    if culprit is found.maker:
        numbers = Numbers(
            found.inputs, found.values, found.output, found.inside.optimizer, found.inside.eps,
            [it for _, it in culprit.saved], culprit.is_singular,
        )  # fmt: skip
    else:
        numbers = _of_inf(found, culprit)
    reason = why(culprit.operation, culprit.node, numbers, is_gradient=culprit.is_gradient)
    earlier = found.earlier_inf
    if culprit is found.maker and earlier is not None and reason.is_of_inf and not earlier.by_hand:
        before = why(
            earlier.operation,
            earlier.node,
            _of_inf(found, earlier),
            is_gradient=earlier.is_gradient,
        )
        cause = f"{reason.cause}; the Inf comes from {named(earlier)}: {before.cause}"
        return Why(cause, _in_own_words(before.fix, earlier))
    return reason._replace(fix=_in_own_words(reason.fix, culprit))


def _of_inf(found: Found, maker: Maker) -> Numbers:
    """What is known of the operation that made the Inf, which may have been of another dtype."""
    result = found.output._replace(nans=0, dtype=maker.dtype or found.output.dtype)
    saved = [it for _, it in maker.saved]
    return Numbers(maker.inputs, result=result, saved=saved, is_singular=maker.is_singular)


def _in_own_words(fix: tuple[str, ...], maker: Maker) -> tuple[str, ...]:
    """The fix with what the source has in place of x and y."""
    if maker.spot is None or (maker.is_gradient and not maker.is_forward):
        return fix
    parts = parts_of(maker.spot.node)
    if len(parts) == 2 and "reciprocal" in f"{maker.node} {maker.operation}".lower():
        parts = parts[1:]  # of `1 / x`
    given = {name: _atom(it) for name, it in zip("xy", parts, strict=False) if len(it) <= 40}
    told = []
    for it in fix:
        needed = set(_PLACES.findall(it))
        fits = needed <= given.keys()
        told.append(_PLACES.sub(lambda match: given[match[0]], it) if fits else it)
    return tuple(told)


_PLACES = re.compile(r"(?<![\w.])[xy]\b")


def _atom(source: str) -> str:
    """Source that may stand before a dot or an operator."""
    node = ast.parse(source, mode="eval").body
    return (
        source
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call))
        else f"({source})"
    )


def named(maker: Maker) -> str:
    """`backward of sqrt`, `log`."""
    if maker.node and maker.is_gradient:
        return f"backward of {maker.node.removesuffix('Backward').lower()}"
    return _plainly(maker)


def _plainly(maker: Maker) -> str:
    if maker.node and maker.is_gradient:
        return maker.node
    return maker.operation.split(".")[0]


def _operands(found: Found, culprit: Maker) -> list[Evidence]:
    if culprit is not found.maker:
        return [
            Evidence(f"operand {_saved_name(culprit, name)}", it.text, _odd(it))
            for name, it in culprit.saved
        ]
    evidence = []
    for number, it in enumerate(found.inputs):
        name = found.names[number] if number < len(found.names) else ""
        value = found.values[number] if number < len(found.values) else None
        note = _at(found, value) or _odd(it)
        evidence.append(Evidence(f"operand {name or number}", it.text, note))
    evidence += [
        Evidence(f"operand {_saved_name(culprit, name)}", it.text, "of the forward")
        for name, it in culprit.saved
    ]
    return [*dict.fromkeys(evidence), Evidence("result", found.output.text)]


def _saved_name(maker: Maker, name: str) -> str:
    """The source of what the node has kept: its first argument, or its result."""
    if maker.spot is None or not maker.is_forward:
        return name
    texts = parts_of(maker.spot.node)
    if name in ("self", "input") and texts:
        return texts[0]
    if name in ("other", "exponent") and len(texts) > 1:
        return texts[1]
    return maker.spot.expression if name == "result" else name


def _at(found: Found, value: float | None) -> str:
    if value is None or not found.at:
        return ""
    return f"{value:.4g} at [{', '.join(map(str, found.at))}]"


def _odd(it: Described) -> str:
    if it.nans is None:
        return ""
    return "finite" if not (it.nans or it.infs) else ""


def where_of(spot: Spot | None) -> str:
    if spot is None:
        return "a line that is not yours"
    return f"{shown_path(spot.code.co_filename)}:{spot.line} in {spot.function}"


def spot_evidence(spot: Spot | None) -> list[Evidence]:
    if spot is None:
        return []
    return [
        Evidence("expression", spot.expression, shown=False),
        Evidence("file", shown_path(spot.code.co_filename), shown=False),
        Evidence("line", str(spot.line), shown=False),
        Evidence("function", spot.function, shown=False),
    ]


def listing_of(spot: Spot | None) -> tuple[Listing, ...]:
    if spot is None:
        return ()
    place = spot.narrow
    lines = []
    for number in range(place.line, place.end_line + 1):
        text = linecache.getline(place.file, number).rstrip("\n")
        indent = len(text) - len(text.lstrip())
        start = place.column if number == place.line else indent
        end = place.end_column if number == place.end_line else len(text)
        marked = (start, end) if place.is_exact else (None, None)
        lines.append(ListedLine(number, text, *marked))
    return (Listing(where_of(spot), tuple(lines)),)
