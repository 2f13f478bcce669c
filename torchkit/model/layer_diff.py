"""The layers of two models, aligned: which are the same, changed, added or removed. No torch here.

Layers are paired by name where a module's children have names, and by what they are where they
only have numbers (Sequential, ModuleList), so that one more layer in front does not make all the
others differ. What is left over is paired by what it is, wherever it moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import NamedTuple

from torchkit.model.layers import Layer

MOST_ALIGNED = 1500
"""More siblings, or layers that moved, than these are paired by name alone: alignment is quadratic."""


class Match(NamedTuple):
    """One row: a layer of each model, or of one alone.

    `status` is `same`, `changed`, `added` or `removed`. `what` are the quantities that differ, `own`
    those of them that are not merely its children's, or a number that shifted. `is_inside` what is
    added or removed as a whole; `is_shell`: it is added or removed, and something in it is not.
    """

    one: Layer | None
    other: Layer | None
    status: str
    what: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    is_inside: bool = False
    is_shell: bool = False


@dataclass
class _Node:
    layer: Layer
    name: str
    children: list[_Node] = field(default_factory=list)
    kind: int = 0
    """What it is and holds, without its place: equal for equal subtrees."""

    def walk(self) -> Iterator[_Node]:
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += reversed(node.children)


def align(one: Sequence[Layer], other: Sequence[Layer]) -> list[Match]:
    """A row for every layer of either model, in the order of the first, what was added in its place."""
    ours, theirs = _tree(one), _tree(other)
    if ours is None or theirs is None:
        return [*_alone(ours, "removed"), *_alone(theirs, "added")]
    pairs: dict[int, _Node] = {}
    start, end = _roots(ours, theirs)
    pairs[id(start)] = end
    _pair_below(start, end, pairs)
    _pair_moved(ours, theirs, pairs)
    return _rows(ours, theirs, pairs)


def _tree(layers: Sequence[Layer]) -> _Node | None:
    if not layers:
        return None
    nodes = {layer.path: _Node(layer, layer.path.rpartition(".")[2]) for layer in layers}
    root = next(iter(nodes.values()))
    for path, node in nodes.items():
        above = nodes.get(path.rpartition(".")[0], root)
        if node is not root:
            above.children.append(node)
    kinds: dict[object, int] = {}
    for node in reversed(list(root.walk())):
        layer = node.layer
        inside = tuple((child.name, child.kind) for child in node.children)
        what = (layer.type, layer.description, layer.own_params, inside)
        node.kind = kinds.setdefault(what, hash(what))
    return root


# --- which layer is which


def _roots(ours: _Node, theirs: _Node) -> tuple[_Node, _Node]:
    """The models themselves, unless one holds the other as a part."""
    if ours.kind != theirs.kind:
        for node in theirs.walk():
            if node.kind == ours.kind:
                return ours, node
        for node in ours.walk():
            if node.kind == theirs.kind:
                return node, theirs
    return ours, theirs


def _pair_below(one: _Node, other: _Node, pairs: dict[int, _Node]) -> None:
    stack = [(one, other)]
    while stack:
        ours, theirs = stack.pop()
        for mine, its in _siblings(ours.children, theirs.children):
            pairs[id(mine)] = its
            stack.append((mine, its))


def _siblings(ours: Sequence[_Node], theirs: Sequence[_Node]) -> list[tuple[_Node, _Node]]:
    found = _numbered(
        [it for it in ours if it.name.isdigit()], [it for it in theirs if it.name.isdigit()]
    )
    by_name = {it.name: it for it in theirs if not it.name.isdigit()}
    found += [
        (it, by_name[it.name])
        for it in ours
        if it.name in by_name and not _is_wrapped(it, by_name[it.name])
    ]
    mine, its = _without(ours, theirs, found)
    return [*found, *_alike(mine, its)]


def _is_wrapped(one: _Node, other: _Node) -> bool:
    """Whether one of the two of this name is now a part of the other."""
    if one.layer.type == other.layer.type:
        return False
    return any(it.kind == one.kind for it in other.walk()) or any(
        it.kind == other.kind for it in one.walk()
    )


def _numbered(ours: Sequence[_Node], theirs: Sequence[_Node]) -> list[tuple[_Node, _Node]]:
    """Equal ones first, then those of one type, then others with or without parameters."""
    if len(ours) + len(theirs) > MOST_ALIGNED:
        by_name = {it.name: it for it in theirs}
        return [(it, by_name[it.name]) for it in ours if it.name in by_name]
    found: list[tuple[_Node, _Node]] = []
    for mine, its in _gaps(ours, theirs, found, lambda node: node.kind):
        for left, right in _gaps(mine, its, found, lambda node: node.layer.type):
            _gaps(left, right, found, lambda node: bool(node.layer.params))
    return found


def _gaps(
    ours: Sequence[_Node],
    theirs: Sequence[_Node],
    found: list[tuple[_Node, _Node]],
    alike: Callable[[_Node], object],
) -> list[tuple[Sequence[_Node], Sequence[_Node]]]:
    """Adds the pairs that are alike, in order, to `found`; gives what lies between them."""
    blocks = SequenceMatcher(
        None, [alike(it) for it in ours], [alike(it) for it in theirs], autojunk=False
    ).get_matching_blocks()
    gaps = []
    left = right = 0
    for block in blocks:
        gaps.append((ours[left : block.a], theirs[right : block.b]))
        left, right = block.a + block.size, block.b + block.size
        found += zip(ours[block.a : left], theirs[block.b : right], strict=True)
    return gaps


def _alike(
    ours: Sequence[_Node],
    theirs: Sequence[_Node],
    alike: Callable[[_Node], object] = lambda node: node.kind,
) -> list[tuple[_Node, _Node]]:
    """Equal ones among those whose names are in one model only."""
    found: list[tuple[_Node, _Node]] = []
    if ours and theirs and len(ours) + len(theirs) <= MOST_ALIGNED:
        _gaps(ours, theirs, found, alike)
    return found


def _without(
    ours: Sequence[_Node], theirs: Sequence[_Node], found: Iterable[tuple[_Node, _Node]]
) -> tuple[list[_Node], list[_Node]]:
    mine, its = {id(one) for one, _ in found}, {id(other) for _, other in found}
    return [it for it in ours if id(it) not in mine], [it for it in theirs if id(it) not in its]


def _pair_moved(ours: _Node, theirs: _Node, pairs: dict[int, _Node]) -> None:
    """Equal subtrees that are in one model here and in the other one there.

    What has no parameters must have the same name too, and something with some have moved.
    """
    taken = {id(it) for it in pairs.values()}

    def left() -> tuple[list[_Node], list[_Node]]:
        return (
            [it for it in ours.walk() if id(it) not in pairs],
            [it for it in theirs.walk() if id(it) not in taken],
        )

    mine, its = ([it for it in side if it.layer.params] for side in left())
    moved = _alike(mine, its)
    if moved:
        _pair_whole(moved, pairs, taken)
        _pair_whole(_alike(*left(), lambda node: (node.name, node.kind)), pairs, taken)


def _pair_whole(
    found: Iterable[tuple[_Node, _Node]], pairs: dict[int, _Node], taken: set[int]
) -> None:
    for one, other in found:
        if id(one) in pairs or id(other) in taken:
            continue
        for here, there in zip(one.walk(), other.walk(), strict=True):
            if id(here) not in pairs and id(there) not in taken:
                pairs[id(here)] = there
                taken.add(id(there))


# --- the rows


def _rows(ours: _Node, theirs: _Node, pairs: dict[int, _Node]) -> list[Match]:
    """Those of the first model in its order; an added one after the one that is before it."""
    walk = list(ours.walk())
    places = {id(node): place for place, node in enumerate(walk)}
    back = {id(its): it for it in walk if (its := pairs.get(id(it))) is not None}
    parents = {id(child): node for node in walk for child in node.children}
    rows: list[tuple[tuple[int, int], Match]] = []
    for node, is_inside, is_shell in _with_circumstances(ours, pairs):
        its = pairs.get(id(node))
        if its is None:
            row = Match(node.layer, None, "removed", is_inside=is_inside, is_shell=is_shell)
        else:
            row = _match(node, its, parents.get(id(node)), pairs)
        rows.append(((places[id(node)], -1), row))
    place = -1
    for number, (node, is_inside, is_shell) in enumerate(_with_circumstances(theirs, back)):
        mine = back.get(id(node))
        if mine is not None:
            place = places[id(mine)]
        else:
            added = Match(None, node.layer, "added", is_inside=is_inside, is_shell=is_shell)
            rows.append(((place, number), added))
    return [row for _, row in sorted(rows, key=lambda it: it[0])]


def _with_circumstances(
    root: _Node, paired: Mapping[int, object]
) -> Iterator[tuple[_Node, bool, bool]]:
    """Each node, whether it is inside one without any pair in it, and whether it is a shell."""
    some: dict[int, bool] = {}
    for node in reversed(list(root.walk())):
        some[id(node)] = id(node) in paired or any(some[id(child)] for child in node.children)
    stack = [(root, False)]
    while stack:
        node, is_inside = stack.pop()
        has_some = some[id(node)]
        yield node, is_inside, has_some and id(node) not in paired
        stack += [(child, is_inside or not has_some) for child in reversed(node.children)]


def _alone(root: _Node | None, status: str) -> list[Match]:
    nodes = [] if root is None else list(root.walk())
    if status == "removed":
        return [Match(it.layer, None, status, is_inside=it is not root) for it in nodes]
    return [Match(None, it.layer, status, is_inside=it is not root) for it in nodes]


def _match(one: _Node, other: _Node, above: _Node | None, pairs: dict[int, _Node]) -> Match:
    mine, its = one.layer, other.layer
    what = [name for name, quantity in _QUANTITIES.items() if quantity(mine) != quantity(its)]
    own = [name for name in what if name not in _SUMS]
    if one.children or other.children:
        own += [name for name in _SUMS if _own(one, name) != _own(other, name)]
        if "output" in own and _is_a_childs(one, pairs):
            own.remove("output")
    else:
        own += [name for name in what if name in _SUMS]
    if mine.path != its.path:
        what.insert(0, "path")
        holder = pairs.get(id(above)) if above is not None else None
        moved_along = (
            holder is not None and f"{holder.layer.path}.{one.name}".lstrip(".") == its.path
        )
        is_shifted = holder is not None and _only_shifted(one, other, holder)
        if not (moved_along or is_shifted):
            own.insert(0, "path")
    status = "changed" if what else "same"
    return Match(mine, its, status, tuple(what), tuple(dict.fromkeys(own)))


_QUANTITIES: dict[str, Callable[[Layer], object]] = {
    "type": lambda layer: layer.type,
    "sizes": lambda layer: layer.description.partition(" ")[2],
    "output": lambda layer: layer.output_shapes,
    "params": lambda layer: layer.params,
    "trainable": lambda layer: layer.trainable_params,
    "buffers": lambda layer: layer.buffers,
    "FLOPs": lambda layer: layer.flops,
    "calls": lambda layer: layer.calls,
    "sharing": lambda layer: layer.shared_with is None,
    "status": lambda layer: layer.status,
}
"""What is compared, by the names that people see."""

_SUMS: dict[str, Callable[[Layer], int]] = {
    "params": lambda layer: layer.params,
    "trainable": lambda layer: layer.trainable_params,
    "buffers": lambda layer: layer.buffers,
    "FLOPs": lambda layer: layer.flops,
}
"""Those that a layer has of its children too."""


def _only_shifted(one: _Node, other: _Node, holder: _Node) -> bool:
    """Another number in the same list, because something was put before it."""
    is_numbered = one.name.isdigit() and other.name.isdigit()
    return is_numbered and other.layer.path.rpartition(".")[0] == holder.layer.path


def _own(node: _Node, name: str) -> int:
    """What a layer has beside its children; a list that is never called has no FLOPs of its own."""
    total = _SUMS[name]
    if name == "FLOPs" and not node.layer.calls:
        return 0
    return total(node.layer) - sum(_of_all(child, name) for child in node.children)


def _of_all(node: _Node, name: str) -> int:
    if name == "FLOPs" and not node.layer.calls:
        return sum(_of_all(child, name) for child in node.children)
    return _SUMS[name](node.layer)


def _is_a_childs(one: _Node, pairs: dict[int, _Node]) -> bool:
    """Whether a child's output changed from and to just the same shapes."""
    other = pairs[id(one)]
    changed = (one.layer.output_shapes, other.layer.output_shapes)
    return any(
        (child.layer.output_shapes, pairs[id(child)].layer.output_shapes) == changed
        for child in one.children
        if id(child) in pairs
    )
