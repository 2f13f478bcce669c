"""Options of `summary` that would do nothing for what was asked: they are refused, and not passed over."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torchkit.commands.summary import Question
from torchkit.errors import BadInput
from torchkit.model.target import names_a_file

_OPTIONS = {
    "inputs": "--input", "batch_size": "--batch-size", "no_batch": "--no-batch",
    "dtype": "--dtype", "device": "--device", "depth": "--depth", "columns": "--columns",
    "train": "--train", "run": "--run", "engine": "--engine", "optimizer": "--optimizer",
}  # fmt: skip

_OF_THE_RUN = frozenset(
    {"inputs", "batch_size", "no_batch", "dtype", "device", "train", "run", "engine", "optimizer"}
)
_OF_THE_TABLE = frozenset({"depth", "columns"})
_NOT_CLASSIC = frozenset({"no_batch", "dtype", "depth", "columns", "run", "optimizer"})


def refuse_idle_options(question: Question) -> None:
    """Raises BadInput for an option that has no effect on this target."""
    files = [it for it in (question.target, question.compare) if it and names_a_file(it)]
    if files:
        table = _OF_THE_TABLE if question.compare is not None else {"columns"}
        name = Path(files[0]).name
        _refuse(question, _OF_THE_RUN, f"is for a model that is run; {name} is only read")
        _refuse(question, table, "is for the layers of a model that is run")
    elif question.compare is not None:
        _refuse(question, _OF_THE_TABLE | {"engine"}, "has no effect on what --compare shows")
    elif question.engine == "torchsummary":
        _refuse(question, _NOT_CLASSIC, "has no effect on the table of the torchsummary package")
    _refuse_for_inputs(question)


def _refuse(question: Question, fields: Iterable[str], why: str) -> None:
    plain = Question("")
    for field, option in _OPTIONS.items():
        value = getattr(question, field) or getattr(plain, field)
        if field in fields and value != getattr(plain, field):
            raise BadInput(f"{option} {why}", hint=f"leave {option} out")


def _refuse_for_inputs(question: Question) -> None:
    values = [text.partition("=")[2] or text for text in question.inputs]
    if values and all(it.lstrip().startswith("@") for it in values):
        fields = ("batch_size", "no_batch")
        _refuse(question, fields, f"is for shapes; {values[0]} is taken as it is")
    if values and all(":" in it and not it.lstrip().startswith("@") for it in values):
        _refuse(question, ("dtype",), "is for inputs that name none, and all name one")
