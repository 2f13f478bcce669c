"""The layers of a model as people read them: a tree, equal neighbours folded, few columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torchkit.model.layers import Layer
from torchkit.report import Table

COLUMNS = ("layer", "type", "output", "params", "share", "FLOPs")
"""What is shown unless a user chooses."""

MORE_COLUMNS = (
    "input", "own params", "trainable", "buffers", "calls", "path", "depth", "shared with", "status"
)  # fmt: skip

JSON_NAMES = {
    "description": "type", "input_shapes": "input", "output_shapes": "output",
    "own_params": "own params", "trainable_params": "trainable", "shared_with": "shared with",
    "tied": "shared with",
}  # fmt: skip
"""Columns of the JSON table by the names that they have here, where these differ."""

FOLDED = " \N{HORIZONTAL ELLIPSIS}"
"""Behind the name of a layer that has more inside than is shown."""

ENDED = ("failed", "stopped")
"""The status of layers that raised, and of those around them."""

SHOWN_TENSORS = 3
"""Of a layer with more outputs, so many shapes are shown."""


@dataclass
class Node:
    """A row of the tree: one layer, or several equal neighbours folded into one."""

    layers: list[Layer]
    label: str
    children: list[Node] = field(default_factory=list)

    @property
    def first(self) -> Layer:
        return self.layers[0]

    def total(self, name: str) -> int:
        """Of all layers that are folded here."""
        return sum(int(getattr(layer, name)) for layer in self.layers)

    def signature(self) -> object:
        """What two layers must have in common to be folded."""
        one = self.first
        return (
            one.type, one.description, str(one.input_shapes), str(one.output_shapes), one.params,
            one.trainable_params, one.buffers, one.flops, one.calls, one.status,
            one.shared_with is None, one.tied, tuple((it.label, it.signature()) for it in self.children),
        )  # fmt: skip


def tree(layers: Sequence[Layer], *, folds: bool = True) -> Node:
    """The layers, which come depth first, as a tree."""
    root = Node([layers[0]], layers[0].type)
    above = [root]
    for layer in layers[1:]:
        while above[-1].first.path and not layer.path.startswith(f"{above[-1].first.path}."):
            above.pop()
        node = Node([layer], layer.path.rpartition(".")[2])
        above[-1].children.append(node)
        above.append(node)
    if folds:
        _fold(root)
    return root


def _fold(node: Node) -> None:
    for child in node.children:
        _fold(child)
    folded: list[Node] = []
    for child in node.children:
        before = folded[-1] if folded else None
        if before is not None and _follows(before, child):
            _merge(before, child)
        else:
            folded.append(child)
    node.children = folded
    if len(folded) == 1 and len(folded[0].layers) > 1 and node.first.path:
        only = folded[0]  # a list of equal blocks and nothing else: one row for both
        node.label = f"{node.label}.{only.label}"
        node.layers, node.children = only.layers, only.children


def _follows(before: Node, child: Node) -> bool:
    last = before.layers[-1].path.rpartition(".")[2]
    one, other = (re.fullmatch(r"(\D*)(\d+)", name) for name in (last, child.label))
    if one is None or other is None or one[1] != other[1] or int(other[2]) != int(one[2]) + 1:
        return False
    return before.signature() == child.signature()


def _merge(before: Node, child: Node) -> None:
    before.layers += child.layers
    start = before.layers[0].path.rpartition(".")[2]
    end = re.search(r"\d+$", child.label)
    before.label = f"{start}\N{EN DASH}{end[0] if end else child.label}"
    for mine, its in zip(before.children, child.children, strict=True):
        _add(mine, its)


def _add(mine: Node, its: Node) -> None:
    mine.layers += its.layers
    for one, other in zip(mine.children, its.children, strict=True):
        _add(one, other)


Cells = Callable[[Node, str, int], Mapping[str, "str | int | None"]]
"""A node, the branches before its name, and all parameters there are: the cells by column."""


def layer_view(
    root: Node,
    *,
    depth: int,
    columns: Sequence[str],
    cells: Cells | None = None,
    name: str = "layers",
    keeps_empty: bool = False,
) -> Table:
    """The tree as a table; `cells` says what stands in it.

    Columns in which nothing stands are left out unless kept. Nothing is below `depth` but the way to a layer that failed.
    """
    total = max(root.total("params"), 1)
    draw = cells or _cells
    rows = []
    for node, prefix, is_whole in _walk(root, depth):
        drawn = draw(node, prefix, total)
        row = {column: value for column, value in drawn.items() if column in columns}
        if not is_whole:
            row[columns[0]] = f"{row[columns[0]]}{FOLDED}"
        rows.append(row)
    filled = [it for it in columns if keeps_empty or any(row.get(it) for row in rows)]
    return Table(name, tuple(filled), tuple(rows))


def deepest(node: Node) -> int:
    """The depth at which nothing of the tree is folded away."""
    return max((deepest(child) + 1 for child in node.children), default=0)


def rows_of(root: Node, depth: int) -> int:
    """How many rows the tree has so deep."""
    return sum(1 for _ in _walk(root, depth))


def _walk(root: Node, depth: int) -> Iterator[tuple[Node, str, bool]]:
    """Each node with the branches that are drawn before it, and whether its children are, too."""

    def shown(node: Node, left: int) -> list[Node]:
        """Below the depth, only the one that raised."""
        return [it for it in node.children if left > 0 or it.first.status in ENDED]

    def below(node: Node, indent: str, left: int) -> Iterator[tuple[Node, str, bool]]:
        children = shown(node, left)
        for child in children:
            is_last = child is children[-1]
            is_whole = len(shown(child, left - 1)) == len(child.children)
            yield child, f"{indent}{'└─ ' if is_last else '├─ '}", is_whole
            yield from below(child, f"{indent}{'   ' if is_last else '│  '}", left - 1)

    yield root, "", len(shown(root, depth)) == len(root.children)
    yield from below(root, "", depth)


def _cells(node: Node, prefix: str, total: int) -> Mapping[str, str | int | None]:
    one = node.first
    is_repeated = one.shared_with is not None  # its parameters stand in the row of the first use
    params = min(node.total("own_params" if is_repeated else "params"), total)
    return {
        "layer": f"{prefix}{node.label}",
        "type": _kind(node),
        "output": _outcome(one),
        "params": f"{params:,}" if params else "",
        "share": f"{100 * params / total:.1f} %" if params else "",
        "FLOPs": quantity(node.total("flops")),
        "input": _shapes(one.input_shapes),
        "own params": f"{node.total('own_params'):,}" if one.own_params else "",
        "trainable": f"{node.total('trainable_params'):,}" if one.params else "",
        "buffers": f"{node.total('buffers'):,}" if one.buffers else "",
        "calls": str(node.total("calls")),
        "path": one.path,
        "depth": str(one.depth),
        "shared with": one.shared_with,
        "status": one.status,
    }


def _kind(node: Node) -> str:
    one = node.first
    notes = [f"x{len(node.layers)}"] if len(node.layers) > 1 else []
    calls = one.calls
    if calls > 1:
        notes.append(f"{calls} calls")
    if one.tied:
        notes.append(f"{', '.join(one.tied)} of {one.shared_with or 'the model itself'}")
    elif one.shared_with is not None:
        notes.append(f"is {one.shared_with or 'the model itself'}")
    return f"{one.description} ({', '.join(notes)})" if notes else one.description


def _outcome(layer: Layer) -> str:
    if layer.status in ENDED and not layer.output_shapes:
        return layer.status.upper()
    if layer.status == "not-run":
        return "not run" if layer.shared_with is None or layer.tied else ""
    return _shapes(layer.output_shapes)


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    texts = [str(list(shape)) for shape in shapes[:SHOWN_TENSORS]]
    more = len(shapes) - SHOWN_TENSORS
    return ", ".join([*texts, f"and {more} more"] if more > 0 else texts)


def quantity(count: int) -> str:
    """A count with a decimal unit: 9.1 G, 456 M, 12 k; nothing for none."""
    if count == 0:
        return ""
    size, units = float(f"{count:.3g}"), ["", "k", "M", "G", "T", "P"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:g} {units[0]}".strip()
