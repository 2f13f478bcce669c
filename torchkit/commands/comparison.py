"""Several machines held against each other: what differs, the worst first, and what is told.

What a difference means is said by the check `machines_differ`; how it is shown, by `differences`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torchkit.checks import load
from torchkit.checks.machines_differ import (
    Difference,
    Side,
    fatal_in_a_job,
    is_worth_a_finding,
    judge,
    reference,
)
from torchkit.commands.sameness import sides
from torchkit.commands.traits import Trait, compared, told_of
from torchkit.commands.value_words import in_words
from torchkit.knowledge.meanings import meanings
from torchkit.machine.facts import Facts, Unknown, Value
from torchkit.report import Finding, Status

CHECK_ID = "machines-differ"


class Machine(NamedTuple):
    """A machine, or a rank, and what is known of it."""

    name: str
    facts: Facts


class Found(NamedTuple):
    """A difference, and each machine's place among its sides; -1 where it is not known."""

    difference: Difference
    places: tuple[int, ...]


class Comparison(NamedTuple):
    """All that was compared: what differs, the worst first, and what that leaves.

    `told` are the differences that matter by themselves, each with its finding.
    """

    machines: tuple[Machine, ...]
    found: tuple[Found, ...]
    told: tuple[Found, ...]
    findings: tuple[Finding, ...]
    agreed: int
    not_known: Mapping[str, tuple[str, ...]]
    named: Callable[[Sequence[str]], str]


Named = Callable[[Sequence[str]], str]
"""Makes words of the names of machines, folding them."""


def compare(machines: Sequence[Machine], *, named: Named, is_one_job: bool = False) -> Comparison:
    """Everything that differs, whether it matters or not."""
    values = [compared(machine.facts, is_one_job=is_one_job) for machine in machines]
    found: list[Found] = []
    agreed = 0
    for trait in dict.fromkeys(trait for known in values for trait in known):
        told = [told_of(known, *trait) for known in values]
        difference = _difference(machines, trait, told, named=named, is_one_job=is_one_job)
        if difference is not None:
            found.append(difference)
        elif sum(not isinstance(value, Unknown) for value in told) > 1:
            agreed += 1
    found.sort(key=_how_bad)
    worth = [it for it in found if is_worth_a_finding(it.difference) and not _follows(it, found)]
    return Comparison(
        tuple(machines),
        tuple(found),
        tuple(worth),
        tuple(_finding(it.difference) for it in worth),
        agreed,
        _not_known(machines, values),
        named,
    )


def _difference(
    machines: Sequence[Machine],
    trait: Trait,
    told: Sequence[Value],
    *,
    named: Named,
    is_one_job: bool,
) -> Found | None:
    """The machines on the sides of one trait; None where all that is known is the same."""
    fact, item = trait
    values, places = sides(fact, told, first_wins=is_one_job)
    if len(values) < 2:
        return None
    members = [
        [it for it, place in zip(machines, places, strict=True) if place == number]
        for number in range(len(values))
    ]
    most = [it.name for it in members[0]]
    shown = tuple(
        Side(
            value,
            in_words(fact, value),
            shortly([it.name for it in some], most, named),
            len(some),
            any(_may_have_a_gpu(it.facts) for it in some),
        )
        for value, some in zip(values, members, strict=True)
    )
    is_usual = shown[0].size > shown[1].size
    return Found(Difference(fact, shown, item, is_usual, is_one_job), places)


def _may_have_a_gpu(facts: Facts) -> bool:
    """Not where neither nvidia-smi nor the PCI bus shows one; where that is unknown, it may."""
    return any(
        isinstance(facts[name], Unknown) or bool(facts[name])
        for name in ("gpus", "nvidia_devices_on_bus")
    )


def _finding(difference: Difference) -> Finding:
    check = load(CHECK_ID)
    page = reference(difference, check.reference)
    return Finding(CHECK_ID, check.area, judge(difference), page)


def shortly(
    names: Sequence[str], most: Sequence[str], named: Callable[[Sequence[str]], str]
) -> str:
    """Words for these machines; where they are most of all and in pieces: how many others."""
    words = named(names)
    return (
        f"{len(names)} others"
        if names == most and words.count(",") and len(names) > MANY
        else words
    )


MANY = 3
"""More machines than these, in pieces, need no names where they are the usual ones."""

# --- what matters


_ORDER = (Status.FAIL, Status.WARN, Status.INFO)


def _how_bad(found: Found) -> tuple[int, int]:
    """Fatal ones first, then as meanings.toml has them, then what means nothing."""
    order = list(meanings())
    fact = found.difference.fact
    place = order.index(fact) if fact in order else len(order)
    if not is_worth_a_finding(found.difference):
        return len(_ORDER), place
    return _ORDER.index(judge(found.difference).status), place


def _follows(found: Found, others: Sequence[Found]) -> bool:
    """Whether it follows from another difference between the same machines, which is told."""
    return any(
        _is_cause(other.difference, found.difference) and _parts(found.places, other.places)
        for other in others
        if is_worth_a_finding(other.difference)
    )


def _is_cause(cause: Difference, difference: Difference) -> bool:
    """Whether this difference is explained by that one, by what the two facts are."""
    fact = difference.fact
    if fact == "torch_version" and cause.fact == "torch_build":
        return _is_told_as_the_build(difference, cause)
    if fact == "torch_build" and cause.fact == "torch_version":
        return not _is_told_as_the_build(cause, difference)
    if fatal_in_a_job(difference) and cause.fact != "torch_shadows":
        return False  # told though it follows, unless it is no torch
    if cause.fact == "companions" and cause.item != difference.item:
        return False
    return cause.fact in meanings()[fact].follows


def _is_told_as_the_build(version: Difference, build: Difference) -> bool:
    """Whether torch differs only as builds do, or so that the build is what breaks the job.

    Two findings would advise two things: the build for CUDA, and the version that most have.
    """
    releases = {side.value.public if side.value else None for side in version.sides}
    return len(releases) == 1 or fatal_in_a_job(build) is not None


def _parts(places: Sequence[int], by: Sequence[int]) -> bool:
    """Whether machines that differ in the one always differ in the other."""
    pairs: dict[int, int] = {}
    for place, cause in zip(places, by, strict=True):
        if place >= 0 and cause >= 0 and pairs.setdefault(cause, place) != place:
            return False
    return True


def _not_known(
    machines: Sequence[Machine], values: Sequence[Mapping[Trait, Value]]
) -> dict[str, tuple[str, ...]]:
    """By machine, the facts it does not tell and another does."""
    told = {
        fact
        for known in values
        for (fact, _), value in known.items()
        if not isinstance(value, Unknown)
    }
    found = {}
    for machine, known in zip(machines, values, strict=True):
        lacking = [
            fact for (fact, _), it in known.items() if isinstance(it, Unknown) and fact in told
        ]
        if lacking:
            found[machine.name] = tuple(dict.fromkeys(lacking))
    return found
