"""What a C++ build against libtorch dies of, and what to do, from build_errors.toml."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.knowledge.problems import problems

STAGES = ("configure", "compile", "link", "run")

_MISSING_NAME = r"(?m)undefined (?:reference to|symbol:)\s+[`'\"‘]?(.+?)['\"’]?\s*$"  # noqa: RUF001 - gcc's quotes


class BuildError(NamedTuple):
    """One kind of failure. `match` is a pattern; `stages` are the steps it is met in, all if empty.

    `problem` is the id of the catalogue's entry for it, "" where it has none; what is missing of
    `cause` and `fix` is taken from there. `every_name` is a pattern that each name the linker did not find has to match. `part_of` is the
    id of the check that finds the same by reading files.
    """

    id: str
    match: str
    source: str
    examples: tuple[str, ...]
    cause: str = ""
    fix: tuple[str, ...] = ()
    problem: str = ""
    stages: tuple[str, ...] = ()
    every_name: str = ""
    part_of: str = ""


@functools.cache
def build_errors() -> tuple[BuildError, ...]:
    """Every kind we know, the particular before the general."""
    document = rows.load("build_errors.toml", "build_error")
    return rows.records(document, "build_error", BuildError, identity=("id",))


def build_error(text: str, *, stage: str, cuda: str = "") -> BuildError | None:
    """What the text of a failed step says, its words filled in; None where we do not know it.

    `cuda` is the CUDA version of the libtorch, "" where there is none.
    """
    for row in build_errors():
        if row.stages and stage not in row.stages:
            continue
        match = re.search(row.match, text, re.MULTILINE)
        if match is not None and _is_about_every_name(row, text):
            return _filled(row, match, cuda)
    return None


def _is_about_every_name(row: BuildError, text: str) -> bool:
    if not row.every_name:
        return True
    names = re.findall(_MISSING_NAME, text)
    return bool(names) and all(re.search(row.every_name, name) for name in names)


def _filled(row: BuildError, match: re.Match[str], cuda: str) -> BuildError:
    """Alternatives of a pattern have groups of their own, so the first that matched is {1}."""
    row = _with_words_of_catalogue(row, match.groupdict())
    groups = [group for group in match.groups() if group is not None]

    def fill(text: str) -> str:
        for number, group in enumerate(groups, 1):
            text = text.replace(f"{{{number}}}", group)
        return text.replace(" {cuda}", f" {cuda}" if cuda else "")

    return row._replace(cause=fill(row.cause), fix=tuple(fill(line) for line in row.fix))


def _with_words_of_catalogue(row: BuildError, values: Mapping[str, str | None]) -> BuildError:
    if not row.problem or (row.cause and row.fix):
        return row
    problem = problems()[row.problem]
    causes = (_put_in(text, values) for text in (*problem.said, problem.cause))
    fixes = (_put_in(text, values) for text in problem.fix)
    return row._replace(
        cause=row.cause or next(text for text in causes if text is not None),
        fix=row.fix or tuple(text for text in fixes if text is not None),
    )


def _put_in(template: str, values: Mapping[str, str | None]) -> str | None:
    """The template with its `{names}` filled in; None where one of them was not found."""
    names = re.findall(r"\{([a-z_]+)\}", template)
    if any(values.get(name) is None for name in names):
        return None
    return re.sub(r"\{([a-z_]+)\}", lambda it: values[it[1]] or "", template)
