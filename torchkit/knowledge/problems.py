"""The catalogue of problems: what an error text means and what cures it, from errors/*.toml.

One problem has one id, one page and one wording, whichever way it is met. A file is an area. How
patterns are written is told in `torchkit/logs/patterns.py`, how an entry is written at the head of
`errors/README.md`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torchkit.knowledge import rows

FOLDER = Path(__file__).parent / "errors"


class Problem(NamedTuple):
    """One problem. `area` is the name of its file.

    `patterns` each recognise it. `near` are patterns one of which must stand in the lines around,
    `unless` such as must not. `weak` are patterns that
    count only where the log speaks of no other problem. `beats` names problems that say less about the same line.
    `cause` and `fix` are sentences and lines to paste; `{name}` is the group of that name. A text
    whose names were not all found is passed over, so `cause` and the last `fix` name none, and
    `said` is the sentence that is preferred where its names are there. `confirm` names checks of
    `torchkit env` that show whether it is so on a machine. A `symptom` follows from an earlier
    problem of the same log, where there is one; a `warning` is told after the errors of its log.
    `see` says how to see it, `traps` what looks alike.
    """

    id: str
    title: str
    patterns: tuple[str, ...]
    cause: str
    fix: tuple[str, ...]
    urls: tuple[str, ...]
    said: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    beats: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    see: str = ""
    traps: str = ""
    symptom: bool = False
    warning: bool = False
    area: str = ""


class Possible(NamedTuple):
    """One of several causes of the problem `of`, the likeliest first; `confirm` as there."""

    of: str
    cause: str
    fix: tuple[str, ...]
    confirm: tuple[str, ...] = ()


class Echo(NamedTuple):
    """What tools say after a failure of something else: `name` is the tool."""

    name: str
    patterns: tuple[str, ...]


class Example(NamedTuple):
    """A text of problem `of`, which must yield it and nothing else; or one that must not, `near`."""

    of: str
    text: str
    source: str = ""


@functools.cache
def problems() -> Mapping[str, Problem]:
    """Every problem by its id. Raises ValueError where an entry is not sound."""
    found: dict[str, Problem] = {}
    for path in _files():
        document = _document(path)
        for row in rows.records(document, "problem", Problem, identity=("id",)):
            if row.id in found:
                raise ValueError(f"{path.name}: {row.id} is in {found[row.id].area} too")
            found[row.id] = row._replace(area=path.stem)
    return found


@functools.cache
def possible_causes() -> Mapping[str, tuple[Possible, ...]]:
    """Causes to be told apart, by the problem's id, the likeliest first."""
    found: dict[str, tuple[Possible, ...]] = {}
    for path in _files():
        for row in rows.records(_document(path), "possible", Possible, identity=("of", "cause")):
            found[row.of] = (*found.get(row.of, ()), row)
    return found


@functools.cache
def echoes() -> tuple[Echo, ...]:
    """What follows from other failures, from echoes.toml."""
    path = FOLDER / "echoes.toml"
    document = rows.read(path.read_text(encoding="utf-8"), path.name, "echo")
    return rows.records(document, "echo", Echo, identity=("name",))


def examples(area: str = "*") -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Texts that must yield their problem, and such as must not; for tests and pages."""
    good: list[Example] = []
    bad: list[Example] = []
    for path in sorted((FOLDER / "examples").glob(f"{area}.toml")):
        document = rows.read(path.read_text(encoding="utf-8"), path.name, "example", "near_miss")
        good += rows.records(document, "example", Example, identity=("of", "text"))
        bad += rows.records(document, "near_miss", Example, identity=("of", "text"))
    return tuple(good), tuple(bad)


def _files() -> list[Path]:
    return sorted(path for path in FOLDER.glob("*.toml") if path.stem != "echoes")


@functools.cache
def _document(path: Path) -> rows.Document:
    text = path.read_text(encoding="utf-8")
    if "[[possible]]" not in text:
        document = rows.read(text, path.name, "problem")
        return document._replace(tables={**document.tables, "possible": []})
    return rows.read(text, path.name, "problem", "possible")
