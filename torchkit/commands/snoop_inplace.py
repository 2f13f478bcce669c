"""The report of `torchkit snoop --inplace`: the line that saved a tensor, and the line that changed it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torchkit.commands.snoop_nan import listing_of, where_of
from torchkit.commands.snoop_paths import shown_path
from torchkit.report import Evidence, Finding, Report, fail
from torchkit.tracing.inplace import MESSAGE, Touch
from torchkit.tracing.run import Ended

_REFERENCE = (
    "https://docs.pytorch.org/docs/stable/notes/autograd.html#in-place-operations-with-autograd"
)


def report_of(ended: Ended, both: Callable[..., Any]) -> Report | None:
    """The report; None where the exception is another one, or the lines cannot be told."""
    message = str(ended.error)
    if MESSAGE not in message:
        return None
    frames, traceback = [], ended.traceback
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    found = both(message, frames)
    if found is None:
        return None
    first = found.changed[0]
    times = "" if len(found.changed) == 1 else f", {len(found.changed)} times in all"
    headline = f"{_line(found.saved)} saved a tensor for backward, {_line(first)} changed it"
    evidence = [
        Evidence("saved", _told(found.saved), found.what),
        *(Evidence("changed", _told(it), it.operation) for it in dict.fromkeys(found.changed[:4])),
    ]
    if first.spot is not None:
        evidence += [
            Evidence("expression", first.spot.expression, shown=False),
            Evidence("file", shown_path(first.spot.code.co_filename), shown=False),
            Evidence("line", str(first.spot.line), shown=False),
            Evidence("function", first.spot.function, shown=False),
        ]
    verdict = fail(
        f"what {_line(found.saved)} saved for backward is changed in place by {_line(first)}{times}",
        evidence=evidence,
        fix=_fix(first),
        brief=headline,
    )
    finding = Finding("inplace-modified", "snoop", verdict, _REFERENCE)
    listings = dict.fromkeys((*listing_of(found.saved.spot), *listing_of(first.spot)))
    return Report("snoop", findings=(finding,), listings=tuple(listings), headline=headline)


def _line(touch: Touch) -> str:
    return f"line {touch.spot.line}" if touch.spot is not None else "a line that is not yours"


def _told(touch: Touch) -> str:
    if touch.spot is None:
        return where_of(None)
    return f"{where_of(touch.spot).partition(' in ')[0]}   {touch.spot.expression}"


_LAYERS = {
    "relu_": "nn.ReLU()", "relu6_": "nn.ReLU6()", "leaky_relu_": "nn.LeakyReLU()",
    "elu_": "nn.ELU()", "silu_": "nn.SiLU()", "hardswish_": "nn.Hardswish()",
    "hardtanh_": "nn.Hardtanh()", "mish_": "nn.Mish()", "celu_": "nn.CELU()",
}  # fmt: skip
"""The layer that changes its input in place with `inplace=True`, by its operation."""


def _fix(first: Touch) -> list[str]:
    expression = first.spot.expression if first.spot is not None else ""
    if re.search(r"\bstep\(", expression):
        return ["call backward() for every loss before the optimizer's step()"]
    made_new = re.fullmatch(r"([\w.]+)\s*([-+*/@|&^%]|\*\*|//)=\s*(.+)", expression)
    if made_new is not None:
        name, sign, value = made_new.groups()
        value = value if re.fullmatch(r"[\w.]+", value) else f"({value})"
        return [f"{name} = {name} {sign} {value}   (makes a new tensor)"]
    if re.search(rf"\.{re.escape(first.operation)}\(", expression):
        without = expression.replace(f".{first.operation}(", f".{first.operation[:-1]}(", 1)
        name = expression.partition(f".{first.operation}(")[0]
        return [f"{name} = {without}   (makes a new tensor)"]
    if first.operation in _LAYERS:
        return [f"{_LAYERS[first.operation]} without inplace=True"]
    name = expression.partition("[")[0].strip()
    if "[" in expression and re.fullmatch(r"[\w.]+", name):
        return [f"{name} = {name}.clone()   before it is changed, or torch.stack of the parts"]
    return ["use the operation without its underscore, or clone() the tensor before it is changed"]
