"""Two weights files as a report: which tensors are in one alone, of another shape or dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchkit import checks
from torchkit.commands.compare_keys import MOST_TOLD, folded_view
from torchkit.commands.key_folding import told
from torchkit.model.keys import Key, KeyComparison, compare_keys
from torchkit.model.rename_search import find_renaming
from torchkit.model.renaming import Renaming
from torchkit.report import Finding, Json, Report, Status, Table

FILE_COLUMNS = ("key", "status", "shape", "other_key", "other_shape", "dtype", "other_dtype")


def compare_files(
    one: Sequence[Key],
    other: Sequence[Key],
    *,
    names: tuple[str, str],
    findings: Sequence[Finding] = (),
) -> Report:
    """Which tensors two files have in common, by name, shape and dtype; values are not compared.

    Differences are no fault: the only findings are those on the files themselves, as they are given.
    """
    ours, theirs = _with_groups(one), _with_groups(other)
    renaming = find_renaming(ours, theirs)
    renamed = theirs if renaming is None else renaming.apply(theirs)
    compared = compare_keys(ours, renamed, fills=False)
    rows = _file_rows(compared, renaming, theirs)
    counts = {
        status: sum(row["status"] == status for row in rows)
        for status in ("removed", "added", "shape-differs", "dtype-differs", "renamed")
    }
    cells = [
        (str(row["key"]), (str(row["status"]), _file_side(row, ""), _file_side(row, "other_")))
        for row in rows
        if row["status"] not in ("renamed", "dtype-differs")  # told in words
    ]
    sides = names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")
    return Report(
        "summary",
        findings=checks.worst_first(findings),
        tables=(Table("tensors", FILE_COLUMNS, tuple(rows)),),
        views=(
            folded_view("tensors", "tensor", cells, sides),
            Table("totals", ("area", "value"), _file_lines(ours, theirs, sides, compared)),
        ),
        totals={
            "tensors": len(ours),
            "other_tensors": len(theirs),
            "same": len(compared.matched) - len(compared.converted),
            **{status.replace("-", "_"): count for status, count in counts.items()},
            "renaming": renaming.words if renaming else None,
        },
        headline=" · ".join(
            [
                *(it.verdict.brief for it in findings if it.status is Status.FAIL),
                _file_headline(compared, renaming, counts, sides),
            ]
        ),
    )


def _with_groups(keys: Sequence[Key]) -> list[Key]:
    return [key._replace(name=f"{key.group}.{key.name}") if key.group else key for key in keys]


def _file_rows(
    compared: KeyComparison, renaming: Renaming | None, theirs: Sequence[Key]
) -> list[dict[str, Json]]:
    old = {renaming(key.name): key.name for key in theirs} if renaming is not None else {}
    rows = [_file_row("removed", key, None, old) for key in compared.missing]
    rows += [_file_row("added", None, key, old) for key in compared.unexpected]
    rows += [_file_row("shape-differs", it.wanted, it.given, old) for it in compared.differing]
    converted = {it.name for it in compared.converted}
    for pair in compared.matched:
        if pair.name in converted:
            rows.append(_file_row("dtype-differs", pair.wanted, pair.given, old))
        elif old.get(pair.name, pair.name) != pair.name:
            rows.append(_file_row("renamed", pair.wanted, pair.given, old))
    return rows


def _file_row(
    status: str, one: Key | None, other: Key | None, old: Mapping[str | None, str]
) -> dict[str, Json]:
    there = one or other
    name = there.name if there is not None else ""
    return {
        "key": name,
        "status": status,
        "shape": None if one is None or one.shape is None else list(one.shape),
        "other_key": None if other is None else old.get(name, name),
        "other_shape": None if other is None or other.shape is None else list(other.shape),
        "dtype": one.dtype if one is not None else None,
        "other_dtype": other.dtype if other is not None else None,
    }


def _file_side(row: Mapping[str, Json], side: str) -> str:
    shape = row[f"{side}shape"]
    return "" if shape is None else f"{shape} {row[f'{side}dtype']}"


def _file_headline(
    compared: KeyComparison,
    renaming: Renaming | None,
    counts: Mapping[str, int],
    sides: tuple[str, str],
) -> str:
    after = f" after {renaming.words} of {sides[1]}" if renaming is not None else ""
    words = {
        "removed": f"only in {sides[0]}",
        "added": f"only in {sides[1]}",
        "shape-differs": "of another shape",
        "dtype-differs": "of another dtype",
    }
    parts = [f"{counts[status]} {text}" for status, text in words.items() if counts[status]]
    if not parts:
        return f"the same {len(compared.matched)} tensors by name, shape and dtype{after}"
    same = len(compared.matched) - len(compared.converted)
    return (
        f"{same} {'tensor is' if same == 1 else 'tensors are'} the same{after}, {', '.join(parts)}"
    )


def _file_lines(
    ours: Sequence[Key], theirs: Sequence[Key], sides: tuple[str, str], compared: KeyComparison
) -> tuple[dict[str, Json], ...]:
    lines = [
        (name, f"{len(keys)} tensors · {sum(map(_count, keys)):,} numbers")
        for name, keys in zip(sides, (ours, theirs), strict=True)
    ]
    kinds: dict[tuple[str, str], list[str]] = {}
    for pair in compared.converted:
        kinds.setdefault((pair.wanted.dtype, pair.given.dtype), []).append(pair.name)
    lines += [
        ("dtypes", f"{one} in {sides[0]} and {other} in {sides[1]}: {told(names, most=MOST_TOLD)}")
        for (one, other), names in kinds.items()
    ]
    return tuple({"area": area, "value": value} for area, value in lines)


def _count(key: Key) -> int:
    count = 1
    for size in key.shape or ():
        count *= size
    return count
