"""`torchkit summary`: layers, shapes, parameters, FLOPs and memory of a model, or what a file holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit.checks import load
from torchkit.checks.forward_fails import FailedForward
from torchkit.checks.forward_fails import judge as judge_failure
from torchkit.commands.layer_tree import COLUMNS, MORE_COLUMNS, layer_view, quantity, tree
from torchkit.errors import BadInput
from torchkit.model.layers import COLUMNS as LAYER_COLUMNS
from torchkit.model.layers import Layer, layers
from torchkit.model.memory import OPTIMIZER_COPIES, Memory, memory
from torchkit.model.record import Nested, Record, TensorInfo, Value, tensors_in
from torchkit.report import Finding, Json, Report, Table
from torchkit.units import readable

FAILURE_ID = "forward-fails"

DEFAULT_DEPTH = 3
"""So deep is the tree in text; JSON has all of it."""


class Question(NamedTuple):
    """What the command line asks of `summary`, option by option."""

    target: str
    inputs: Sequence[str] = ()
    batch_size: int = 1
    no_batch: bool = False
    dtype: str | None = None
    device: str = "cpu"
    depth: int = DEFAULT_DEPTH
    columns: str = ""
    train: bool = False
    run: bool = False
    engine: str = "torchkit"
    optimizer: str = "adam"
    compare: str | None = None


def columns_of(text: str) -> tuple[str, ...]:
    """The columns a user chose, the layer's name first. Raises BadInput for one there is not."""
    if not text:
        return COLUMNS
    chosen = tuple(name.strip() for name in text.split(",") if name.strip())
    known = {name.lower(): name for name in (*COLUMNS, *MORE_COLUMNS)}
    for name in chosen:
        if name.lower() not in known:
            raise BadInput(
                f"there is no column {name!r}", hint=f"choose from {', '.join(known.values())}"
            )
    return tuple(dict.fromkeys(["layer", *(known[name.lower()] for name in chosen)]))


def report_of(record: Record, question: Question, *, title: str = "") -> Report:
    """The report on one forward."""
    columns = columns_of(question.columns)
    rows = layers(record)
    taken = memory(record, optimizer=question.optimizer)
    findings = () if record.failure is None else (_failure(record),)
    headline = " · ".join(filter(None, [title or record.type, *_circumstances(record, question)]))
    if findings:
        headline = f"{record.type} · {findings[0].verdict.brief}"
    return Report(
        "summary",
        findings=findings,
        tables=(Table("layers", LAYER_COLUMNS, tuple(_as_json(layer) for layer in rows)),),
        views=(
            layer_view(tree(rows), depth=question.depth, columns=columns),
            Table(
                "totals", ("area", "value"), tuple(_total_lines(record, rows[0], taken, question))
            ),
        ),
        totals=_totals(record, rows[0], taken),
        headline=headline,
    )


def _as_json(layer: Layer) -> dict[str, Json]:
    row: dict[str, Json] = layer.row()
    return row


# --- the first line


def _circumstances(record: Record, question: Question) -> list[str]:
    given = [_named(value) for value in _parts(record.inputs)]
    given += [f"{key}={_named(value)}" for key, value in _named_parts(record.keywords)]
    where = "shapes only, nothing computed" if record.propagation == "fake" else "ran for real"
    on = f" on {question.device}" if record.propagation == "real" else ""
    return [", ".join(given), "train" if question.train else "eval", f"{where}{on}"]


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


def _totals(record: Record, root: Layer, taken: Memory) -> dict[str, Json]:
    return {
        "params": root.params,
        "trainable_params": root.trainable_params,
        "buffers": root.buffers,
        "flops": record.flops,
        **taken._asdict(),
        "propagation": record.propagation,
        "propagation_reason": record.why,
        "notes": list(record.notes),
    }


def _total_lines(
    record: Record, root: Layer, taken: Memory, question: Question
) -> list[dict[str, Json]]:
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
            ("training", f"{_training_parts(question.optimizer)} {readable(taken.training_bytes)}")
        )
        lines.append(("FLOPs", _flops(record)))
    lines += [("note", note) for note in record.notes]
    return [{"area": area, "value": value} for area, value in lines]


def _training_parts(optimizer: str) -> str:
    state = {"none": "", "sgd": " + gradients (SGD)", "adam": " + gradients + Adam"}[optimizer]
    return f"parameters{state} + activations"


def _flops(record: Record) -> str:
    total = quantity(record.flops) or "0"
    batch = _batch_of(record)
    if batch > 1 and record.flops:
        one = quantity(record.flops // batch)
        return f"{total} for this batch, {one} for one sample (1 multiply-add = 2)"
    return f"{total} (1 multiply-add = 2)"


def _batch_of(record: Record) -> int:
    first = next(tensors_in(record.inputs), None) or next(tensors_in(record.keywords), None)
    return first.shape[0] if first is not None and len(first.shape) > 1 else 1


# --- a forward that raises


def _failure(record: Record) -> Finding:
    check = load(FAILURE_ID)
    return Finding(check.id, check.area, judge_failure(failed_forward(record)), check.reference)


def failed_forward(record: Record) -> FailedForward:
    """What is known of the failure of a record that has one."""
    failure = record.failure
    if failure is None:
        raise ValueError("this forward did not fail")
    call = record.calls[failure.call] if failure.call is not None else None
    path = call.path if call is not None else ""
    module = next((it for it in record.modules if it.path == path), None)
    own = set(module.own if module is not None else ())
    held = [it for it in record.parameters if own.intersection(it.paths) and not it.is_buffer]
    given = [*tensors_in(call.inputs), *tensors_in(call.keywords)] if call is not None else []
    place = failure.place
    return FailedForward(
        error=failure.error,
        message=failure.message,
        model=record.type,
        module=path,
        type=module.type if module is not None else "",
        sizes=_sizes(module.type, module.text) if module is not None else (),
        parameters=tuple(
            f"{it.paths[0].rpartition('.')[2]} {list(it.tensor.shape)} {it.tensor.dtype}"
            for it in held
        ),
        given=tuple(f"{list(it.shape)} {it.dtype}{_elsewhere(it)}" for it in given),
        given_shapes=tuple(it.shape for it in given),
        operation=(failure.operation or "").replace("aten::", "torch."),
        operands=tuple(f"{list(it.shape)} {it.dtype}" for it in failure.operands[:4]),
        place=f"{Path(place.file).name}:{place.line} in {place.function}" if place else "",
        is_certain=record.propagation == "real",
    )


def _elsewhere(tensor: TensorInfo) -> str:
    return "" if tensor.device == "cpu" else f" {tensor.device}"


_FIRST_TWO = {
    "Conv": ("in_channels", "out_channels"),
    "BatchNorm": ("num_features",),
    "InstanceNorm": ("num_features",),
    "LSTM": ("input_size", "hidden_size"),
    "GRU": ("input_size", "hidden_size"),
    "RNN": ("input_size", "hidden_size"),
}
"""What the first sizes in the `extra_repr` of these layers are (torch/nn/modules)."""


def _sizes(type_name: str, text: str) -> tuple[tuple[str, int], ...]:
    named = [(name, int(size)) for name, size in re.findall(r"(\w+)=(\d+)\b", text)]
    for start, names in _FIRST_TWO.items():
        if start in type_name:
            numbers = re.findall(r"^\s*(\d+)(?:, (\d+))?", text)
            if numbers:
                named += [
                    (name, int(size)) for name, size in zip(names, numbers[0], strict=False) if size
                ]
    return tuple(named)


def check_options(question: Question) -> None:
    """Raises BadInput for an option whose value is none of those it takes."""
    if question.optimizer not in OPTIMIZER_COPIES:
        raise BadInput(
            f"--optimizer {question.optimizer!r} is not known",
            hint=f"choose one of {', '.join(OPTIMIZER_COPIES)}",
        )
    if question.depth < 0 or question.batch_size < 1:
        raise BadInput(
            "--depth is 0 or more and --batch-size 1 or more",
            hint="e.g. --depth 2 --batch-size 20",
        )
    columns_of(question.columns)
