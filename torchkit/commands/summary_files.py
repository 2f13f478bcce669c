"""What a weights file holds, as a report: tensors as a tree, metadata, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torchkit import checks
from torchkit.checks.dangerous_globals import judge as judge_globals
from torchkit.checks.file_damaged import judge as judge_damage
from torchkit.commands.layer_tree import Node, layer_view, tree
from torchkit.commands.named_findings import named
from torchkit.commands.summary import depth_of
from torchkit.model.files import Contents, Entry, read
from torchkit.model.layers import Layer
from torchkit.report import Finding, Json, Report, Status, Table
from torchkit.units import readable

if TYPE_CHECKING:
    from torchkit.commands.summary import Question

COLUMNS = ("tensor", "shape", "dtype", "elements", "bytes", "shared with")

MIN_UNUSED_BYTES = 1 << 16
"""Less that no tensor uses is not told."""

MOST_DTYPES = 3
"""Of more dtypes under one prefix only the number is told."""

ROWS = ("name", "shape", "dtype", "bytes", "group", "shared_with")


@dataclass
class Stored(Layer):
    """A tensor of a file, or the prefix that several have in common; `params` are all elements.

    Data that several tensors have in common is counted with the first of them.
    """

    bytes: int = 0
    dtypes: tuple[str, ...] = ()


def file_report(path: Path, question: Question) -> Report:
    """The report on a weights file. Raises BadInput where it is none."""
    contents = read(path)
    findings = findings_on(contents)
    rows: tuple[Mapping[str, Json], ...] = tuple(
        {
            "name": entry.name,
            "shape": list(entry.shape),
            "dtype": entry.dtype,
            "bytes": entry.bytes,
            "group": entry.group,
            "shared_with": entry.shared_with or None,
        }
        for entry in contents.entries
    )
    root = tree(_as_layers(contents.entries, path.name))
    return Report(
        "summary",
        findings=checks.worst_first(findings),
        tables=(Table("tensors", ROWS, rows),),
        views=(
            layer_view(
                root, depth=depth_of(root, question), columns=COLUMNS, cells=_cells, name="tensors"
            ),
            Table("contents", ("area", "value"), tuple(_lines(contents))),
        ),
        totals={
            "format": contents.format,
            "tensors": len(contents.entries),
            "params": contents.parameters,
            "elements": _elements(contents),
            "optimizer_elements": _elements(contents) - contents.parameters,
            "tensor_bytes": contents.total_bytes,
            "file_bytes": contents.file_bytes,
            "metadata": dict(contents.metadata),
            "globals": list(contents.globals),
        },
        headline=_headline(path, contents, findings),
    )


def findings_on(contents: Contents, name: str = "") -> list[Finding]:
    """What is wrong with the file and what unpickling it would run; `name` where there are two."""
    found = []
    for check_id, verdict in (
        ("file-damaged", judge_damage(contents)),
        ("dangerous-globals", judge_globals(contents)),
    ):
        check = checks.load(check_id)
        finding = Finding(check.id, check.area, verdict, check.reference)
        found.append(named(finding, name) if name else finding)
    return found


def _elements(contents: Contents) -> int:
    return sum(entry.own_elements for entry in contents.entries)


def _headline(path: Path, contents: Contents, findings: Sequence[Finding]) -> str:
    wrong = [it for it in findings if it.status in (Status.FAIL, Status.WARN)]
    tensors = len(contents.entries)
    parts = [
        path.name,
        contents.format,
        f"{tensors:,} tensor{'' if tensors == 1 else 's'}",
        _counted(contents) if tensors else "",
        readable(contents.file_bytes),
    ]
    return " · ".join(filter(None, [*parts, *(it.verdict.brief for it in wrong)]))


def _counted(contents: Contents) -> str:
    """Parameters and buffers look alike in a file, so that they are counted together."""
    elements = _elements(contents)
    of_optimizers = elements - contents.parameters
    if not of_optimizers or not contents.parameters:
        return f"{elements:,} element{'' if elements == 1 else 's'}"
    return f"{contents.parameters:,} elements, {of_optimizers:,} more of the optimizer"


def _lines(contents: Contents) -> list[dict[str, str]]:
    lines = [("metadata", f"{name}: {value}") for name, value in contents.metadata.items()]
    lines += [("also", text) for text in contents.others]
    by_dtype: dict[str, int] = {}
    for entry in contents.entries:
        by_dtype[entry.dtype] = by_dtype.get(entry.dtype, 0) + entry.own_bytes
    if by_dtype:
        kinds = sorted(by_dtype.items(), key=lambda it: -it[1])
        lines.append(("dtypes", " · ".join(f"{name} {readable(size)}" for name, size in kinds)))
    unused = contents.total_bytes - sum(by_dtype.values())
    if unused >= MIN_UNUSED_BYTES and not contents.damage:
        lines.append(
            (
                "unused",
                f"{readable(unused)} of the file are of no tensor: what was saved are parts of larger "
                "ones; save tensor.clone() instead",
            )
        )
    return [{"area": area, "value": value} for area, value in lines]


# --- tensors as a tree by their names


def _as_layers(entries: Sequence[Entry], name: str) -> list[Stored]:
    """A row for the file, each prefix and each tensor, depth first, in the file's own order."""
    rows: dict[str, Stored] = {"": _stored("", name)}
    below: dict[str, dict[str, None]] = {}
    for entry in entries:
        path = entry.full_name
        while path in rows and rows[path].output_shapes:  # two of one name, in a damaged file
            path += "'"
        for place in dict.fromkeys((*_prefixes(path), path)):
            if place not in rows:
                rows[place] = _stored(place)
            if place:
                below.setdefault(place.rpartition(".")[0], {})[place] = None
            row = rows[place]
            row.params += entry.own_elements
            row.bytes += entry.own_bytes
            row.dtypes = tuple(dict.fromkeys((*row.dtypes, entry.dtype)))
        rows[path].output_shapes = [list(entry.shape)]
        rows[path].shared_with = entry.shared_with or None
    found: list[Stored] = []
    stack = [""]
    while stack:
        path = stack.pop()
        found.append(rows[path])
        stack += reversed(below.get(path, ()))
    return found


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:number]) for number in range(len(parts))]


def _stored(path: str, name: str = "") -> Stored:
    return Stored(
        path=path, type=name, description="", depth=path.count(".") + 1 if path else 0,
        input_shapes=[], output_shapes=[], params=0, own_params=0, trainable_params=0, buffers=0,
        flops=0, calls=0, shared_with=None, status="ok",
    )  # fmt: skip


def _cells(node: Node, prefix: str, _total: int) -> Mapping[str, str | int | None]:
    one = node.first
    stored = [layer for layer in node.layers if isinstance(layer, Stored)]
    dtypes = dict.fromkeys(dtype for layer in stored for dtype in layer.dtypes)
    many = f" (x{len(stored)})" if len(stored) > 1 else ""
    is_repeated = one.shared_with is not None and not any(layer.bytes for layer in stored)
    return {
        "tensor": f"{prefix}{node.label}{many}",
        "shape": str(one.output_shapes[0]) if one.output_shapes and not node.children else "",
        "dtype": ", ".join(dtypes) if len(dtypes) <= MOST_DTYPES else f"{len(dtypes)} dtypes",
        "elements": "" if is_repeated else f"{sum(layer.params for layer in stored):,}",
        "bytes": "" if is_repeated else readable(sum(layer.bytes for layer in stored)),
        "shared with": "" if node.children else one.shared_with,
    }
