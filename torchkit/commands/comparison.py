"""Several machines held against each other: which facts are compared, and when two are the same.

What a difference means is said by the check `machines_differ`; how it is shown, by `differences`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torchkit.checks import load
from torchkit.checks.machines_differ import (
    MEANINGS,
    Difference,
    Side,
    is_worth_a_finding,
    judge,
)
from torchkit.machine.facts import NOT_GIVEN, Facts, Gpu, Unknown, Value
from torchkit.report import Finding, Status
from torchkit.units import readable

CHECK_ID = "machines-differ"

SHOWN_ONLY = (
    "os_name", "jetson_model", "setuptools_version", "clang_version", "cmake_version",
    "host_compiler", "torch_manager", "driver_library_version", "driver_error",
    "nvidia_devices_on_bus", "nvidia_device_nodes", "cuda_visible_devices",
)  # fmt: skip
"""Facts that are compared, and whose difference by itself means nothing."""

COMPARED = (*MEANINGS, *SHOWN_ONLY)
"""Facts that are compared, those that matter first."""

OF_ITS_OWN = ("cuda_visible_devices",)
"""Facts that a launcher gives each rank of a job its own of."""

PASSED_OVER = {
    "shm_free_bytes": "it changes from moment to moment",
    **dict.fromkeys(
        (
            "python_executable", "python_prefix", "torch_path", "torch_cmake_prefix",
            "torch_installs", "libstdcxx_path", "cuda_home", "nvcc_path", "gcc_path",
            "torch_archs_source", "driver_source",
        ),
        "paths differ between homes; what lies there is compared",
    ),
    **dict.fromkeys(
        (
            "python_tag", "python_is_active", "python_manager", "python_externally_managed",
            "torch_dependents", "torch_requires", "torch_glibc_needed", "torch_glibcxx_needed",
            "torch_cxxabi_needed", "libstdcxx_cxxabi", "nvcc_gcc_max", "nvcc_clang_max",
            "is_container",
        ),
        "it follows from what is compared",
    ),
    **dict.fromkeys(("libtorchs", "build_trials"), "it was asked for on one machine only"),
}  # fmt: skip
"""Facts that are not compared, and why; nor are those of `--live`, which only some ask for."""

NEARLY = 1.05
"""Sizes that differ by less than this factor are the same: kernels keep a different part back."""


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


def compare(
    machines: Sequence[Machine],
    *,
    named: Callable[[Sequence[str]], str],
    is_one_job: bool = False,
) -> Comparison:
    """Everything that differs. `named` makes words of the names of machines, folding them.

    Where as many machines have one value as another, the one to be like is that of the last
    machine, or of the first one, rank 0, where they work on one job.
    """
    values = [_compared(machine.facts, is_one_job=is_one_job) for machine in machines]
    traits = dict.fromkeys(trait for known in values for trait in known)
    found: list[Found] = []
    agreed = 0
    for fact, item in traits:
        told = [_told(known, fact, item) for known in values]
        sides, places = _sides(fact, told, first_wins=is_one_job)
        if len(sides) > 1:
            names = [
                [it.name for it, p in zip(machines, places, strict=True) if p == n]
                for n in range(len(sides))
            ]
            shown = tuple(
                Side(value, in_words(fact, value), shortly(some, names[0], named), len(some))
                for value, some in zip(sides, names, strict=True)
            )
            is_usual = shown[0].size > shown[1].size
            found.append(Found(Difference(fact, shown, item, is_usual, is_one_job), places))
        elif sum(place >= 0 for place in places) > 1:
            agreed += 1
    found = sorted(found, key=_how_bad)
    told_apart = [
        it for it in found if is_worth_a_finding(it.difference) and not _follows(it, found)
    ]
    check = load(CHECK_ID)
    return Comparison(
        tuple(machines),
        tuple(found),
        tuple(told_apart),
        tuple(
            Finding(CHECK_ID, check.area, judge(it.difference), check.reference)
            for it in told_apart
        ),
        agreed,
        _not_known(machines, values),
        named,
    )


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


# --- what is compared


_Trait = tuple[str, str]
"""A fact, and the item of it: a package's name; "" for the whole."""


def _compared(facts: Facts, *, is_one_job: bool) -> dict[_Trait, Value]:
    """Every value that is compared; a fact that lists packages gives one for each."""
    found: dict[_Trait, Value] = {}
    for fact in COMPARED:
        if is_one_job and fact in OF_ITS_OWN:
            continue
        value = facts[fact]
        if fact in _ITEMS and not isinstance(value, Unknown):
            found[fact, ""] = None  # known, so an item that is not among them is not there
            found |= {(fact, item): told for item, told in _ITEMS[fact](value or ()).items()}
        else:
            found[fact, ""] = value
    return found


def _companions(value: Value) -> dict[str, Value]:
    return {it.name: it.version for it in value}


def _nvidia_packages(value: Value) -> dict[str, Value]:
    """By library: nvidia-nccl-cu12 of one machine is compared with nvidia-nccl-cu13 of another."""
    found: dict[str, list[str]] = {}
    for name, version in dict(value).items():
        found.setdefault(re.sub(r"-cu\d+$", "", name), []).append(version)
    return {name: ", ".join(sorted(set(versions))) for name, versions in found.items()}


def _extensions(value: Value) -> dict[str, Value]:
    """Whether each loads: by the name of its package, since paths differ between homes."""
    found: dict[str, Value] = {}
    for it in value:
        name = it.package or it.path.replace("\\", "/").rpartition("/")[2]
        state = "loads" if it.error is None else it.error.replace(it.path, name)
        if found.get(name, "loads") == "loads":
            found[name] = state
    return found


_ITEMS: dict[str, Callable[[Value], dict[str, Value]]] = {
    "companions": _companions,
    "nvidia_packages": _nvidia_packages,
    "extensions": _extensions,
}


def _told(known: Mapping[_Trait, Value], fact: str, item: str) -> Value:
    """A machine's value; None for an item it has not, Unknown where its list is not known."""
    if (fact, item) in known:
        return known[fact, item]
    whole = known.get((fact, ""), NOT_GIVEN)
    return whole if isinstance(whole, Unknown) else None


# --- which values are the same


def _sides(
    fact: str, told: Sequence[Value], *, first_wins: bool
) -> tuple[list[Value], tuple[int, ...]]:
    """The values that differ, the commonest first, and each machine's place among them; -1: unknown."""
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


# --- words


def in_words(fact: str, value: Value) -> str:
    """A value as people read it."""
    if value is None:
        return "no limit" if fact in ("memory_limit_bytes", "cpu_limit") else "none"
    if fact == "torch_cxx11_abi":
        return "new" if value else "old"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if fact.endswith("_bytes"):
        return readable(value)
    if fact == "gpus":
        return _gpus(value)
    if fact == "shadowed_libraries":
        return ", ".join(it.name for it in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(it) for it in value) or "none"
    return str(value)


def _gpus(gpus: Sequence[Gpu]) -> str:
    counts: dict[str, int] = {}
    for gpu in gpus:
        size = f" ({readable(gpu.memory_bytes)})" if gpu.memory_bytes else ""
        counts[gpu.name + size] = counts.get(gpu.name + size, 0) + 1
    return (
        ", ".join(f"{count}x {text}" if count > 1 else text for text, count in counts.items())
        or "none"
    )


# --- what matters


def _how_bad(found: Found) -> tuple[int, int]:
    """Fatal ones first, then as `MEANINGS` has them, then what means nothing."""
    fact = found.difference.fact
    place = list(MEANINGS).index(fact) if fact in MEANINGS else len(MEANINGS)
    if not is_worth_a_finding(found.difference):
        return len(_ORDER), place
    return _ORDER.index(judge(found.difference).status), place


_ORDER = (Status.FAIL, Status.WARN, Status.INFO)


def _follows(found: Found, others: Sequence[Found]) -> bool:
    """Whether it follows from another difference between the same machines, which is told."""
    causes = MEANINGS[found.difference.fact].follows
    if (
        judge(found.difference).status is Status.FAIL
    ):  # told though it follows, unless it is no torch
        causes = tuple(cause for cause in causes if cause == "torch_shadows")
    return any(
        other.difference.fact in causes
        and (
            other.difference.fact != "companions" or other.difference.item == found.difference.item
        )
        and is_worth_a_finding(other.difference)
        and _parts(found.places, other.places)
        for other in others
    )


def _parts(places: Sequence[int], by: Sequence[int]) -> bool:
    """Whether machines that differ in the one always differ in the other."""
    pairs: dict[int, int] = {}
    for place, cause in zip(places, by, strict=True):
        if place >= 0 and cause >= 0 and pairs.setdefault(cause, place) != place:
            return False
    return True


def _not_known(
    machines: Sequence[Machine], values: Sequence[Mapping[_Trait, Value]]
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
