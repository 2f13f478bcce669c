"""`--engine torchsummary`: the table of the torchsummary package itself, where it can make one."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torchkit.errors import BadInput
from torchkit.report import Report, Table

if TYPE_CHECKING:
    from torchkit.commands.summary import Question

_ROW = re.compile(r"^\s*(\S+-\d+)\s+(\[.*\])\s+([\d,]+)\s*$")


def classic_report(question: Question) -> Report:
    """What torchsummary prints for this model. Raises BadInput where it cannot do it."""
    from torchkit.model.inputs import parse
    from torchkit.model.target import find, make, output_to_stderr

    shapes = [_shape(parse(text), text) for text in question.inputs]
    if not shapes:
        raise BadInput(
            "the torchsummary package needs the shape of the input",
            hint="add --input, e.g. --input 1,256,256, or leave --engine out",
        )
    with output_to_stderr():
        model = make(find(question.target))
    text = classic_table(
        model.train(question.train), shapes, batch_size=question.batch_size, device=question.device
    )
    found = [_ROW.match(line) for line in text.splitlines()]
    rows = tuple(
        {"layer": it[1], "output_shape": it[2], "params": int(it[3].replace(",", ""))}
        for it in found
        if it is not None
    )
    return Report(
        "summary",
        headline=f"{type(model).__name__} as the torchsummary package counts it",
        tables=(Table("torchsummary", ("layer", "output_shape", "params"), rows),),
        views=(Table("torchsummary", ("torchsummary",), ({"torchsummary": text},)),),
    )


def classic_table(
    model: Any, shapes: Sequence[tuple[int, ...]], *, batch_size: int, device: str
) -> str:
    """The package's own text. Raises BadInput with its error where it fails."""
    from torchsummary import summary as classic  # type: ignore[import-untyped]  # ships no types

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            classic(model, list(shapes), batch_size=batch_size, device=device.partition(":")[0])
    except Exception as error:  # noqa: BLE001 - the package and the user's forward raise what they like
        raise BadInput(
            "the torchsummary package cannot do this model: "
            f"{type(error).__name__}: {' '.join(str(error).split())}",
            hint="leave --engine out: torchkit's own can",
        ) from None
    return printed.getvalue().rstrip("\n")


def _shape(spec: Any, text: str) -> tuple[int, ...]:
    if spec.shape is None or spec.keyword or (spec.dtype or "float32") != "float32":
        raise BadInput(
            f"the torchsummary package takes float32 inputs by position only, not {text!r}",
            hint="leave --engine out: torchkit's own can",
        )
    return tuple(spec.shape)
