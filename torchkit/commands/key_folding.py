"""Names of keys as people read them: `layers.0-11.attn.{weight, bias}` instead of 24 lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

MOST_LEAVES = 6
"""Of more names in one module than these the first half stands for all."""

MOST_NUMBERS = 4
"""More numbers without an order than these are counted."""


class Folded(NamedTuple):
    """What several keys are called together, how many they are (`size`), and the place of the first."""

    label: str
    size: int
    first: int


def fold(keys: Sequence[tuple[str, Hashable]]) -> list[Folded]:
    """Names that differ in numbers, or in their last part, as one; in the order of the first.

    Only names whose second item is equal are put together.
    """
    return _by_numbers(_by_leaf(keys))


def told(names: Iterable[str], *, most: int) -> str:
    """Names in one line, folded; more than `most` of these are counted."""
    folded = fold([(name, None) for name in names])
    rest = sum(it.size for it in folded[most:])
    texts = [it.label for it in folded[:most]]
    return ", ".join([*texts, f"and {rest} more"] if rest else texts)


def _by_leaf(
    keys: Sequence[tuple[str, Hashable]],
) -> dict[tuple[str, Hashable], list[tuple[int, str]]]:
    """By module and what else must be equal: the places and last parts of the names."""
    groups: dict[tuple[str, Hashable], list[tuple[int, str]]] = {}
    for place, (name, alike) in enumerate(keys):
        module, _, leaf = name.rpartition(".")
        groups.setdefault((module, alike), []).append((place, leaf))
    return groups


def _by_numbers(groups: dict[tuple[str, Hashable], list[tuple[int, str]]]) -> list[Folded]:
    families: dict[Hashable, list[tuple[list[str], list[tuple[int, str]]]]] = {}
    for (module, alike), leaves in groups.items():
        parts = module.split(".")
        pattern = tuple("#" if part.isdigit() else part for part in parts)
        names = tuple("#" if leaf.isdigit() else leaf for _, leaf in leaves)
        families.setdefault((pattern, alike, names), []).append((parts, leaves))
    found = [_family(members) for members in families.values()]
    return sorted(found, key=lambda it: it.first)


def _family(members: Sequence[tuple[list[str], list[tuple[int, str]]]]) -> Folded:
    columns = zip(*(parts for parts, _ in members), strict=True)
    module = ".".join(_numbers(tuple(dict.fromkeys(column))) for column in columns)
    first = members[0][1]
    label = ".".join(filter(None, [module, _leaves([leaf for _, leaf in first])]))
    return Folded(label, sum(len(leaves) for _, leaves in members), first[0][0])


def _numbers(parts: tuple[str, ...]) -> str:
    if len(parts) == 1:
        return parts[0]
    numbers = sorted(int(part) for part in parts)
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}\N{EN DASH}{numbers[-1]}"
    if len(numbers) <= MOST_NUMBERS:
        return "{" + ", ".join(map(str, numbers)) + "}"
    return "*"


def _leaves(leaves: list[str]) -> str:
    if len(leaves) == 1:
        return leaves[0]
    if all(leaf.isdigit() for leaf in leaves):
        return _numbers(tuple(dict.fromkeys(leaves)))
    if len(leaves) > MOST_LEAVES:
        return "{" + ", ".join([*leaves[: MOST_LEAVES // 2], "…"]) + "}"
    return "{" + ", ".join(leaves) + "}"
