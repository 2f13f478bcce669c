"""A comparison as a report shows it: the answer in one line, two tables, and totals for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchkit.checks.machines_differ import Difference
from torchkit.commands.comparison import Comparison, Found, shortly
from torchkit.machine.facts import plain
from torchkit.report import Json, Status, Table

MOST_COLUMNS = 3
"""With more groups of machines than these, the table has a column for the odd values instead."""

NAMED_IN_HEADLINE = 2
"""So many differences stand in the first line; the others are counted."""

MOST_PACKAGES = 4
"""More nvidia packages that follow from another torch than these are one row."""


# --- the answer


def headline(comparison: Comparison, *, noun: str = "machines") -> str:
    """The answer in one line; `noun` is what the machines are called together."""
    count = len(comparison.machines)
    named = [comparison.named([machine.name]) for machine in comparison.machines]
    everybody = f"all {count} {noun}" if count > 2 else " and ".join(named)
    if not comparison.found:
        return f"{everybody} agree on {_counted(comparison.agreed, 'fact')}"
    told = [it.difference for it in _serious(comparison)]
    if not told:
        small = _counted(len(comparison.found), "small difference")
        labels = dict.fromkeys(it.difference.label for it in comparison.found)
        return f"{everybody} agree in all that matters; {small}: {_listed(list(labels))}"
    if count == 2:
        odd, like = named if not told[0].is_one_job else named[::-1]
        return f"{odd} differs from {like}: {_listed([_instead(it) for it in told])}"
    odd_ones = _odd_ones(comparison)
    if not odd_ones:
        parted = _listed([_parted(it) for it in told], mark=";")
        return f"{everybody} differ in {_counted(len(told), 'fact')}: {parted}"
    rest = _counted(count - len(odd_ones), "other")
    if len(odd_ones) == 1 or all(
        len(it.sides) == 2 and it.sides[1].size == len(odd_ones) for it in told
    ):
        verb = "differs" if len(odd_ones) == 1 else "differ"
        instead = _listed([_instead(it) for it in told])
        return f"{comparison.named(odd_ones)} {verb} from {rest}: {instead}"
    parted = _listed([_parted(it) for it in told], mark=";")
    return f"{comparison.named(odd_ones)} differ from {rest}: {parted}"


def _serious(comparison: Comparison) -> list[Found]:
    """What is told as a warning or a failure; the rest is small."""
    return [
        found
        for found, finding in zip(comparison.told, comparison.findings, strict=True)
        if finding.status is not Status.INFO
    ]


def _odd_ones(comparison: Comparison) -> list[str]:
    """The machines that differ from most, and not from each half of them; () where none are."""
    serious = _serious(comparison)
    if not all(it.difference.is_usual for it in serious):
        return []
    odd = [
        machine.name
        for number, machine in enumerate(comparison.machines)
        if any(it.places[number] > 0 for it in serious)
    ]
    return odd if 2 * len(odd) < len(comparison.machines) else []


def _instead(difference: Difference) -> str:
    usual, *others = difference.sides
    return f"{difference.label} {' or '.join(it.words for it in others)} instead of {usual.words}"


def _parted(difference: Difference) -> str:
    first, *others = difference.sides
    if difference.is_usual:
        told = ", ".join(f"{it.words} on {it.machines}" for it in others[:2])
        return f"{difference.label} {told} instead of {first.words}"
    told = ", ".join(f"{it.words} on {it.machines}" for it in difference.sides[:3])
    return f"{difference.label} {told}"


def _listed(texts: Sequence[str], *, mark: str = ",") -> str:
    if len(texts) > NAMED_IN_HEADLINE + 1:
        texts = [*texts[:NAMED_IN_HEADLINE], f"{len(texts) - NAMED_IN_HEADLINE} more"]
    if len(texts) == 1:
        return texts[0]
    return f"{f'{mark} '.join(texts[:-1])}{';' if mark == ';' else ''} and {texts[-1]}"


def _counted(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


# --- tables


def tables(comparison: Comparison) -> tuple[Table, ...]:
    """What differs, and what is not known everywhere; only those that have rows."""
    both = (_differences_table(comparison), _not_known_table(comparison))
    return tuple(table for table in both if table.rows)


def _differences_table(comparison: Comparison) -> Table:
    """One row for each difference; a column for each group of machines that are alike."""
    groups = _groups(comparison)
    if len(groups) > MOST_COLUMNS:
        return _table_of_many(comparison)
    titles = [shortly(names, groups[0][0], comparison.named) for names, _ in groups]
    titles = [f"machine {title}" if title == "fact" else title for title in titles]
    found, folded = _without_the_usual_packages(comparison)
    rows = []
    for it in found:
        places = [signature[comparison.found.index(it)] for _, signature in groups]
        rows.append(_row(_row_name(it.difference), titles, [_cell(it, n) for n in places]))
    if folded:
        packages = [
            sum(_is_there(it, signature[comparison.found.index(it)]) for it in folded)
            for _, signature in groups
        ]
        words = [f"{number} as its torch needs them" if number else "none" for number in packages]
        rows.append(_row(PACKAGES, titles, words))
    return Table("differences", ("fact", *titles), tuple(rows))


PACKAGES = "nvidia packages"
"""The row of those that differ because torch does."""


def _row(name: str, titles: Sequence[str], cells: Sequence[str]) -> dict[str, Json]:
    return {"fact": name, **dict(zip(titles, cells, strict=True))}


def _row_name(difference: Difference) -> str:
    return difference.label.rstrip(":")


def _table_of_many(comparison: Comparison) -> Table:
    """One row for each difference, the odd values with their machines; what most have, if so."""
    found, folded = _without_the_usual_packages(comparison)
    rows = [_row_of_many(it.difference) for it in found]
    if folded:
        words = f"{len(folded)} differ as torch does"
        rows.append({"fact": PACKAGES, "most": None, "others": words})
    if any(row["most"] for row in rows):
        return Table("differences", ("fact", "most", "others"), tuple(rows))
    short = tuple({"fact": row["fact"], "values": row["others"]} for row in rows)
    return Table("differences", ("fact", "values"), short)


def _row_of_many(difference: Difference) -> dict[str, Json]:
    others = difference.sides[1 if difference.is_usual else 0 :]
    return {
        "fact": _row_name(difference),
        "most": difference.sides[0].words if difference.is_usual else None,
        "others": "; ".join(f"{side.words} on {side.machines}" for side in others),
    }


def _without_the_usual_packages(comparison: Comparison) -> tuple[list[Found], list[Found]]:
    """What gets a row of its own, and nvidia packages that differ because torch does."""
    follow = [
        it
        for it in comparison.found
        if it.difference.fact == "nvidia_packages" and it not in comparison.told
    ]
    if len(follow) <= MOST_PACKAGES:
        return list(comparison.found), []
    return [it for it in comparison.found if it not in follow], follow


def _cell(found: Found, place: int) -> str:
    return "?" if place < 0 else found.difference.sides[place].words


def _is_there(found: Found, place: int) -> bool:
    return place >= 0 and found.difference.sides[place].value is not None


def _groups(comparison: Comparison) -> list[tuple[list[str], tuple[int, ...]]]:
    """Machines that are alike in all that differs, and their places among the sides."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for number, machine in enumerate(comparison.machines):
        signature = tuple(it.places[number] for it in comparison.found)
        groups.setdefault(signature, []).append(machine.name)
    found = [(names, signature) for signature, names in groups.items()]
    return found if len(comparison.machines) == 2 else sorted(found, key=lambda it: -len(it[0]))


def _not_known_table(comparison: Comparison) -> Table:
    """What some machine tells and another does not: neither alike nor different."""
    by_facts: dict[tuple[str, ...], list[str]] = {}
    for name, facts in comparison.not_known.items():
        by_facts.setdefault(facts, []).append(name)
    rows = tuple(
        {"area": f"not known on {comparison.named(names)}", "value": ", ".join(facts)}
        for facts, names in by_facts.items()
    )
    return Table("not_known", ("area", "value"), rows)


# --- for programs


def totals(comparison: Comparison) -> Mapping[str, Json]:
    """Who is alike, and every difference with its raw values and whose they are."""
    names = [machine.name for machine in comparison.machines]
    differences: list[dict[str, Any]] = []
    for difference, places in comparison.found:
        values = [
            {
                "value": plain(side.value),
                "machines": [name for name, it in zip(names, places, strict=True) if it == number],
            }
            for number, side in enumerate(difference.sides)
        ]
        item = {"item": difference.item} if difference.item else {}
        differences.append({"fact": difference.fact, **item, "values": values})
    return {
        "machines": names,
        "groups": [members for members, _ in _groups(comparison)],
        "facts_alike": comparison.agreed,
        "differences": differences,
        "not_known": {name: list(facts) for name, facts in comparison.not_known.items()},
    }
