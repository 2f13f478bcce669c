"""`torchkit summary`: layers, shapes, parameters, FLOPs and memory of a model, or what a file holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torchkit.checks import load
from torchkit.checks.forward_fails import judge as judge_failure
from torchkit.commands.failed_forward import failed_forward
from torchkit.commands.layer_tree import (
    COLUMNS,
    JSON_NAMES,
    MORE_COLUMNS,
    Node,
    deepest,
    layer_view,
    quantity,
    rows_of,
    tree,
)
from torchkit.errors import BadInput
from torchkit.model.layers import COLUMNS as LAYER_COLUMNS
from torchkit.model.layers import Layer, layers
from torchkit.model.memory import OPTIMIZER_COPIES, Memory, lacks_of_training, memory
from torchkit.model.record import Nested, Record, TensorInfo, Value, tensors_in
from torchkit.report import Finding, Json, Report, Table
from torchkit.units import readable

FAILURE_ID = "forward-fails"

DEFAULT_DEPTH = 3
"""So deep is the tree in text, if that is not too long; JSON has all of it."""

MOST_ROWS = 100
"""A tree that has more is folded further, unless a depth is asked for."""


class Question(NamedTuple):
    """What the command line asks of `summary`, option by option."""

    target: str
    inputs: Sequence[str] = ()
    batch_size: int = 1
    no_batch: bool = False
    dtype: str | None = None
    device: str = "cpu"
    depth: int | None = None
    columns: str = ""
    train: bool = False
    run: bool = False
    engine: str = "torchkit"
    optimizer: str = "adam"
    compare: str | None = None


def columns_of(text: str) -> tuple[str, ...]:
    """The columns a user chose, by their names in text or JSON, the layer's name first.

    Raises BadInput for one there is not.
    """
    if not text:
        return COLUMNS
    chosen = tuple(name.strip() for name in text.split(",") if name.strip())
    texts = {name.lower(): name for name in (*COLUMNS, *MORE_COLUMNS)}
    known = {**texts, **JSON_NAMES}
    for name in chosen:
        if name.lower() not in known:
            raise BadInput(
                f"there is no column {name!r}", hint=f"choose from {', '.join(texts.values())}"
            )
    return tuple(dict.fromkeys(["layer", *(known[name.lower()] for name in chosen)]))


def report_of(record: Record, question: Question, *, title: str = "", guessed: str = "") -> Report:
    """The report on one forward; `guessed` says how its input was worked out, if it was not given."""
    columns = columns_of(question.columns)
    rows = layers(record)
    taken = memory(record, optimizer=question.optimizer)
    findings = () if record.failure is None else (_failure(record, question),)
    name, given = title or record.type, _circumstances(record, question, guessed)
    if findings:
        brief = findings[0].verdict.brief
        given = ([] if brief.startswith(f"{name} ") else [brief]) + given[:2]
        name = brief if brief.startswith(f"{name} ") else name
    headline = " · ".join(filter(None, [name, *given]))
    root = tree(rows)
    lines = _total_lines(record, rows[0], taken, question)
    depth = depth_of(root, question)
    if deepest(root) > depth:
        lines.append(
            ("depth", f"\N{HORIZONTAL ELLIPSIS} has more inside: --depth {deepest(root)} shows all")
        )
    if guessed:
        lines.append(("input", guessed))
    return Report(
        "summary",
        findings=findings,
        tables=(Table("layers", LAYER_COLUMNS, tuple(_as_json(layer) for layer in rows)),),
        views=(
            layer_view(root, depth=depth, columns=columns, keeps_empty=bool(question.columns)),
            Table(
                "totals",
                ("area", "value"),
                tuple({"area": area, "value": value} for area, value in lines),
            ),
        ),
        totals=_totals(record, rows[0], taken, guessed),
        headline=headline,
    )


def depth_of(root: Node, question: Question) -> int:
    """How deep the tree is shown: as asked for, else as deep as it stays readable."""
    if question.depth is not None:
        return question.depth
    readable_ones = (it for it in range(DEFAULT_DEPTH, 1, -1) if rows_of(root, it) <= MOST_ROWS)
    return next(readable_ones, 1)


def _as_json(layer: Layer) -> dict[str, Json]:
    row: dict[str, Json] = layer.row()
    return row


# --- the first line


def _circumstances(record: Record, question: Question, guessed: str) -> list[str]:
    given = [_named(value) for value in _parts(record.inputs)]
    given += [f"{key}={_named(value)}" for key, value in _named_parts(record.keywords)]
    where = "shapes only, nothing computed" if record.propagation == "fake" else "ran for real"
    on = f" on {question.device}" if record.propagation == "real" else ""
    inputs = ", ".join(given) + (" (guessed)" if guessed else "")
    return [inputs, "train" if question.train else "eval", f"{where}{on}"]


def _parts(value: Value) -> list[Value]:
    return [part for _, part in value.parts] if isinstance(value, Nested) else [value]


def _named_parts(value: Value) -> list[tuple[str, Value]]:
    return list(value.parts) if isinstance(value, Nested) else []


def _named(value: Value) -> str:
    tensors = list(tensors_in(value))
    if not tensors:
        return getattr(value, "text", "") or getattr(value, "type", "")
    texts = [f"{list(tensor.shape)} {tensor.dtype}" for tensor in tensors[:3]]
    return ", ".join(texts)


# --- totals


def _totals(record: Record, root: Layer, taken: Memory, guessed: str) -> dict[str, Json]:
    return {
        "params": root.params,
        "trainable_params": root.trainable_params,
        "buffers": root.buffers,
        "flops": record.flops,
        **taken._asdict(),
        "propagation": record.propagation,
        "propagation_reason": record.why,
        "notes": [*_notes(record), *([guessed] if guessed else [])],
    }


def _notes(record: Record) -> list[str]:
    lacks = lacks_of_training(record) if record.failure is None else ""
    return [*record.notes, *([lacks] if lacks else [])]


def _total_lines(
    record: Record, root: Layer, taken: Memory, question: Question
) -> list[tuple[str, str]]:
    frozen = root.params - root.trainable_params
    trainable = (
        "all trainable" if not frozen else f"{root.trainable_params:,} trainable, {frozen:,} frozen"
    )
    lines = [("parameters", f"{root.params:,} ({trainable}) · {readable(taken.param_bytes)}")]
    if root.buffers:
        lines.append(("buffers", f"{root.buffers:,} · {readable(taken.buffer_bytes)}"))
    if record.failure is None:
        lines.append(
            (
                "activations",
                f"peak at inference {readable(taken.activation_peak_bytes)} · kept for training "
                f"{readable(taken.activation_bytes)}",
            )
        )
        lines.append(("memory", f"inference {readable(taken.inference_peak_bytes)}"))
        lines.append(
            (
                "training",
                f"{'at least ' if lacks_of_training(record) else ''}"
                f"{readable(taken.training_bytes)} at the peak of a step: "
                f"{_training_parts(question.optimizer)}",
            )
        )
        lines.append(("FLOPs", _flops(record, 1 if question.no_batch else _batch_of(record))))
    lines += [("note", note) for note in _notes(record)]
    return lines


def _training_parts(optimizer: str) -> str:
    state = {"none": "", "sgd": ", SGD", "adam": ", Adam's two moments"}[optimizer]
    return f"parameters, activations, gradients{state}"


def _flops(record: Record, batch: int) -> str:
    total = quantity(record.flops) or "0"
    if batch > 1 and record.flops:
        one = quantity(record.flops // batch)
        return f"{total} for this batch, {one} for one sample (1 multiply-add = 2)"
    return f"{total} (1 multiply-add = 2)"


def _batch_of(record: Record) -> int:
    """Of the first input; 1 where that is no tensor, as the list of pictures that detectors take."""
    given = (*_parts(record.inputs), *(it for _, it in _named_parts(record.keywords)))
    first = given[0] if given else None
    return first.shape[0] if isinstance(first, TensorInfo) and len(first.shape) > 1 else 1


# --- a forward that raises


def _failure(record: Record, question: Question) -> Finding:
    check = load(FAILURE_ID)
    shapes = [text for text in question.inputs if "@" not in text]
    failed = failed_forward(
        record,
        is_by_option=bool(shapes) and len(shapes) == len(question.inputs),
        has_batch=not question.no_batch,
    )
    return Finding(check.id, check.area, judge_failure(failed), check.reference)


def check_options(question: Question) -> None:
    """Raises BadInput for an option whose value is none of those it takes."""
    if question.optimizer not in OPTIMIZER_COPIES:
        raise BadInput(
            f"--optimizer {question.optimizer!r} is not known",
            hint=f"choose one of {', '.join(OPTIMIZER_COPIES)}",
        )
    if question.depth is not None and question.depth < 0:
        raise BadInput(
            f"--depth {question.depth} is no depth; it is 0 or more",
            hint="--depth 0 shows the whole model in one row",
        )
    if question.batch_size < 1:
        raise BadInput(
            f"--batch-size {question.batch_size} is no batch; it is 1 or more",
            hint="--no-batch puts no batch dimension in front",
        )
    if question.no_batch and question.batch_size > 1:
        raise BadInput(
            f"--no-batch and --batch-size {question.batch_size} contradict each other",
            hint="leave one of them out",
        )
    columns_of(question.columns)
