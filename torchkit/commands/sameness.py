"""Which values of a fact are the same, on machines that no two people set up alike."""

from __future__ import annotations

from collections.abc import Sequence

from torchkit.machine.facts import Gpu, Unknown, Value

NEARLY = 1.05
"""Sizes that differ by less than this factor are the same: kernels keep a different part back."""


def sides(
    fact: str, told: Sequence[Value], *, first_wins: bool
) -> tuple[list[Value], tuple[int, ...]]:
    """The values that differ, the commonest first, and each machine's place; -1: not known.

    Of values that are as common, the one that the first machine has comes first, or the last one.
    """
    values: list[Value] = []
    places = []
    for value in told:
        if isinstance(value, Unknown):
            places.append(-1)
            continue
        place = next((n for n, other in enumerate(values) if _is_same(fact, value, other)), None)
        if place is None:
            values.append(value)
            place = len(values) - 1
        places.append(place)
    wins = next((it for it in (places if first_wins else reversed(places)) if it >= 0), 0)
    order = sorted(range(len(values)), key=lambda place: (-places.count(place), place != wins))
    back = {place: number for number, place in enumerate(order)}
    return [values[place] for place in order], tuple(back.get(place, -1) for place in places)


def _is_same(fact: str, one: Value, other: Value) -> bool:
    if fact in _BY_PRESENCE:
        return bool(one) == bool(other)
    if fact == "shadowed_libraries":
        return {it.name for it in one or ()} == {it.name for it in other or ()}
    if fact == "gpus":
        one, other = one or (), other or ()
        return len(one) == len(other) and all(map(_is_same_gpu, one, other))
    if one is None or other is None:
        return one is None and other is None
    if fact == "extensions":
        return bool((one == "loads") == (other == "loads"))
    if fact.endswith("_bytes"):
        return _is_near(one, other)
    return bool(one == other)


_BY_PRESENCE = ("torch_problems", "torch_shadows", "driver_error")
"""Texts with paths in them: whether there are any is compared."""


def _is_same_gpu(one: Gpu, other: Gpu) -> bool:
    capabilities = {it.capability for it in (one, other) if it.capability}
    sizes = [it.memory_bytes for it in (one, other) if it.memory_bytes]
    is_as_large = _is_near(min(sizes or [1]), max(sizes or [1]))
    return bool(one.name == other.name and len(capabilities) < 2 and is_as_large)


def _is_near(one: float, other: float) -> bool:
    return max(one, other) <= NEARLY * min(one, other)
