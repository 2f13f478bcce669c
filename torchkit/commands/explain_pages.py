"""Pages of `torchkit explain`: one for each problem and each check, and the list of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from torchkit import checks
from torchkit.errors import BadInput
from torchkit.knowledge.problems import Problem, examples, possible_causes, problems
from torchkit.logs.problems import told
from torchkit.logs.reader import read_text
from torchkit.report import Json, Report, Table


def known_ids() -> list[str]:
    """Every id that has a page."""
    return sorted({*problems(), *checks.check_ids()})


def page(name: str) -> Report | None:
    """The page of a problem or check; None where there is none of this id."""
    if name in problems():
        return _of_problem(problems()[name])
    if name in checks.check_ids():
        return _of_check(name)
    return None


class Section(NamedTuple):
    """A part of a page: its heading, and what stands below it line by line."""

    heading: str
    lines: tuple[str, ...]


def sections(problem: Problem) -> tuple[Section, ...]:
    """The page of a problem, which the documentation shows too."""
    causes = possible_causes().get(problem.id, ())
    plain = [text for text in problem.fix if not re.search(r"\{[a-z_]\w*\}", text)]
    fixes = [alone(text) for text in (*(it for cause in causes for it in cause.fix), *plain)]
    checked = [*problem.confirm, *(it for cause in causes for it in cause.confirm)]
    found = (
        Section("message", (_message(problem),)),
        Section("why", (problem.cause,)),
        Section("it may be", tuple(cause.cause for cause in causes)),
        Section("see it", (problem.see,)),
        Section("fix", tuple(dict.fromkeys(fixes))),
        Section("not this", (problem.traps,)),
        Section("check", tuple(f"torchkit env --only {it}" for it in dict.fromkeys(checked))),
        Section("link", problem.urls),
    )
    return tuple(it for it in found if any(it.lines))


def alone(fix: str) -> str:
    """A fix without the word that joins it to the one before: those who show it put their own."""
    return re.sub(r"^(?:or|otherwise|else)(?:,| that is,)?\s+", "", fix)


def _message(problem: Problem) -> str:
    """What it looks like: the words of an example that are recognised."""
    example = next((it for it in examples(problem.area)[0] if it.of == problem.id), None)
    if example is None:
        return ""
    met = [it for it in told(read_text(example.text)).problems if it.problem.id == problem.id]
    return met[0].text if met else ""


def _of_problem(problem: Problem) -> Report:
    rows: list[tuple[str, str]] = []
    for section in sections(problem):
        following = "or" if section.heading in ("fix", "it may be") else ""
        for number, text in enumerate(section.lines):
            rows.append((section.heading if number == 0 else following, text))
    return _as_page(f"{problem.id}: {problem.title}", rows)


def _of_check(check_id: str) -> Report:
    check = checks.load(check_id)
    parts = re.split(r"(?m)^## (.+)$", check.page)
    rows: list[tuple[str, str]] = []
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        items = re.split(r"(?m)^- ", text.strip()) if text.strip().startswith("- ") else [text]
        lines = [" ".join(item.split()) for item in items if item.strip()]
        rows += [
            (heading.strip().lower() if number == 0 else "", line)
            for number, line in enumerate(lines)
        ]
    return _as_page(f"{check.id}: {check.title}", rows)


def _as_page(headline: str, rows: list[tuple[str, str]]) -> Report:
    shown = tuple({"area": name, "value": text} for name, text in rows)
    return Report("explain", tables=(Table("page", ("area", "value"), shown),), headline=headline)


def listed(search: str) -> Report:
    """Every problem and check whose page speaks of the words searched for."""
    words = search.lower().split()
    rows: list[dict[str, Json]] = []
    for problem in problems().values():
        text = f"{problem.id} {problem.area} {problem.title} {problem.cause} {' '.join(problem.patterns)}"
        if all(word in text.lower() for word in words):
            rows.append({"id": problem.id, "area": problem.area, "title": problem.title})
    for check_id in checks.check_ids():
        check = checks.load(check_id)
        if all(word in f"{check.id} {check.area} {check.page}".lower() for word in words):
            rows.append({"id": check.id, "area": f"check: {check.area}", "title": check.title})
    if not rows:
        raise BadInput(
            f"no problem and no check speaks of {search!r}", hint="torchkit explain --list"
        )
    return Report("explain", tables=(Table("problems", ("id", "area", "title"), tuple(rows)),))
