"""Report -> one page of HTML: the source with the tensors beside its lines, what is wrong, the fix.

Of snoop; one file that needs no network, light or dark as the reader's system is. Tables `frames`,
`trace` and `source` are drawn together, all other tables are not drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from torchkit import __version__
from torchkit.render.words import WRONG, headline, labelled, shown
from torchkit.report import Evidence, Finding, Json, ListedLine, Listing, Report, Status, Table

Rows = Sequence[Mapping[str, Json]]


class Beside(NamedTuple):
    """A tensor beside a line: its name, what happened to it, what it is, how often."""

    name: str
    change: str
    tensor: str
    times: int = 1


class Excerpt(NamedTuple):
    """Some source of one frame, or of one call that was traced; `marks` are what failed in a line."""

    title: str
    lines: Sequence[tuple[int, str]]
    tensors: Mapping[int, Sequence[Beside]]
    failed: int = 0
    marks: Mapping[int, ListedLine] = {}


def page(report: Report) -> str:
    """The page."""
    from torchkit.render.legible import legible_report

    report = legible_report(report, unicode=True)
    verdict = headline(report)
    excerpts = list(_excerpts(report))
    drawn = {it.title for it in excerpts}
    parts = [
        f"<h1>{escape(verdict)}</h1>",
        *(_finding(it) for it in report.findings if it.status in (*WRONG, Status.INFO)),
        *(_listing(it) for it in report.listings if it.title not in drawn),
        *(_excerpt(it) for it in excerpts),
        f"<footer>torchkit {escape(__version__)} {escape(report.command)}</footer>",
    ]
    return _PAGE.format(
        title=escape(verdict or "torchkit snoop"), style=_STYLE, body="\n".join(parts)
    )


# --- what is wrong


def _finding(finding: Finding) -> str:
    rows = "".join(_evidence(item) for item in shown(finding))
    fixes = "".join(
        f"<tr class=fix><th>{escape(label)}</th><td><code>{escape(text)}</code></td><td></td></tr>"
        for label, text in labelled(finding.verdict.fix)
    )
    link = ""
    if finding.reference.startswith("https://"):
        link = f'<p class=more><a href="{escape(finding.reference)}">{escape(finding.reference)}</a></p>'
    return (
        f"<section class='finding {finding.status.value}'>"
        f"<h2><span class=word>{finding.status.value.upper()}</span> {escape(finding.id)}</h2>"
        f"<p>{escape(finding.verdict.message)}</p>"
        f"<table>{rows}{fixes}</table>{link}</section>"
    )


def _evidence(item: Evidence) -> str:
    name = item.name.removeprefix("operand ")
    return (
        f"<tr><th><code>{escape(name)}</code></th><td><code>{escape(item.value)}</code></td>"
        f"<td class=note>{escape(item.source)}</td></tr>"
    )


def _listing(listing: Listing) -> str:
    lines = "".join(
        f"<tr><td class=n>{line.number}</td><td><pre>{_marked(line)}</pre></td></tr>"
        for line in listing.lines
    )
    return (
        f"<section class=source><h3>{escape(listing.title)}</h3>"
        f"<table class=code>{lines}</table></section>"
    )


def _marked(line: ListedLine) -> str:
    if line.start is None or line.end is None:
        return escape(line.text) or " "
    before, marked, after = (
        escape(line.text[: line.start]),
        escape(line.text[line.start : line.end]),
        escape(line.text[line.end :]),
    )
    return f"{before}<mark>{marked}</mark>{after}"


# --- source, with the tensors beside it


def _excerpts(report: Report) -> Iterator[Excerpt]:
    source: dict[str, dict[int, str]] = {}
    for row in _rows(report, "source"):
        source.setdefault(str(row["file"]), {})[_number(row["line"])] = str(row["text"])
    marks = {it.title: {line.number: line for line in it.lines} for it in report.listings}
    for excerpt in _of_frames(_rows(report, "frames"), source):
        yield excerpt._replace(marks=marks.get(excerpt.title, {}))
    yield from _of_trace(_rows(report, "trace"), source)


def _rows(report: Report, name: str) -> Rows:
    tables: dict[str, Table] = {table.name: table for table in report.tables}
    return tables[name].rows if name in tables else ()


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _of_frames(rows: Rows, source: Mapping[str, Mapping[int, str]]) -> Iterator[Excerpt]:
    frames: dict[tuple[str, int, str], list[Beside]] = {}
    for row in rows:
        place = (str(row["file"]), _number(row["line"]), str(row["function"]))
        tensors = frames.setdefault(place, [])
        if row.get("name"):
            tensors.append(Beside(str(row["name"]), "", str(row["tensor"])))
    for (file, line, function), tensors in frames.items():
        lines = _around(source.get(file, {}), line, line)
        beside: dict[int, list[Beside]] = {}
        for tensor in tensors:
            beside.setdefault(_line_of(tensor.name, lines, line), []).append(tensor)
        yield Excerpt(f"{file}:{line} in {function}", lines, beside, failed=line)


def _of_trace(rows: Rows, source: Mapping[str, Mapping[int, str]]) -> Iterator[Excerpt]:
    calls: dict[tuple[str, str, int], dict[int, list[Beside]]] = {}
    for row in rows:
        call = (str(row.get("file", "")), str(row["function"]), _number(row["call"]))
        tensor = Beside(
            str(row["name"]), str(row["change"]), str(row["tensor"]), _number(row.get("times", 1))
        )
        calls.setdefault(call, {}).setdefault(_number(row["line"]), []).append(tensor)
    for (file, function, turn), beside in calls.items():
        numbers = [line for line in beside if line]
        lines = _around(source.get(file, {}), min(numbers, default=0), max(numbers, default=0))
        first = _definition(function, lines) or min(numbers, default=0)
        placed = {line or first: tensors for line, tensors in beside.items() if line}
        placed[first] = [*beside.get(0, ()), *placed.get(first, ())]
        yield Excerpt(f"{function}, call {turn}  ({file})", lines, placed)


def _around(lines: Mapping[int, str], first: int, last: int) -> list[tuple[int, str]]:
    """The lines near these, as far as they belong to the same function."""
    near = [(number, text) for number, text in lines.items() if first - 12 <= number <= last + 4]
    inside = _indent(lines.get(first, ""))
    starts = [
        number
        for number, text in near
        if number <= first and _DEFINES.match(text) and (_indent(text) < inside or number == first)
    ]
    begin = starts[-1] if starts else first - 4
    outside = _indent(lines.get(begin, "")) if starts else -1
    ends = [number for number, text in near if number > last and _is_out(text, outside)]
    end = ends[0] if ends else last + 5
    kept = [(number, text) for number, text in near if begin <= number < end]
    while kept and kept[-1][0] > last and not kept[-1][1].strip():
        kept.pop()
    return kept


_DEFINES = re.compile(r"\s*(async\s+)?(def|class)\s")


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _is_out(text: str, indent: int) -> bool:
    return bool(text.strip()) and _indent(text) <= indent


def _definition(function: str, lines: Sequence[tuple[int, str]]) -> int:
    name = re.escape(function.rpartition(".")[2])
    return next((number for number, text in lines if re.search(rf"\bdef\s+{name}\b", text)), 0)


def _line_of(name: str, lines: Sequence[tuple[int, str]], failed: int) -> int:
    """Where a tensor belongs: the last line before the failing one that makes it, or names it."""
    root = re.escape(re.split(r"[\[({]", name)[0])
    before = [(number, text) for number, text in lines if number < failed]
    for pattern in (rf"\b{root}\b[^=\n]*(?<![=!<>])=(?!=)", rf"\b(for|def|with)\b.*\b{root}\b"):
        found = [number for number, text in before if re.search(pattern, text)]
        if found:
            return found[-1]
    return failed


def _excerpt(excerpt: Excerpt) -> str:
    lines = "".join(
        f"<tr{' class=failed' if number == excerpt.failed else ''}><td class=n>{number}</td>"
        f"<td><pre>{_marked(excerpt.marks.get(number, ListedLine(number, text)))}</pre></td>"
        f"<td class=tensors>{_beside(excerpt.tensors.get(number, ()))}</td></tr>"
        for number, text in excerpt.lines
    )
    known = {number for number, _ in excerpt.lines}
    rest = [it for number, its in excerpt.tensors.items() if number not in known for it in its]
    other = f"<p class=tensors>{_beside(rest)}</p>" if rest else ""
    return (
        f"<section class=source><h3>{escape(excerpt.title)}</h3>"
        f"<table class=code>{lines}</table>{other}</section>"
    )


def _beside(tensors: Sequence[Beside]) -> str:
    return "".join(
        f"<div><b>{escape(it.name)}</b> "
        + (f"<i>{escape(it.change)}</i> " if it.change else "")
        + f"<span{_look(it.tensor)}>{escape(it.tensor)}</span>"
        + (f" <i>x {it.times}</i>" if it.times > 1 else "")
        + "</div>"
        for it in tensors
    )


def _look(tensor: str) -> str:
    return " class=bad" if re.search(r"\b(nan|inf)=(?!0\b)", tensor) else ""


_STYLE = """
:root { color-scheme: light dark; --back: #fdfdfb; --front: #1d1f21; --dim: #6b7076; --line: #e3e3de;
  --card: #ffffff; --fail: #b3261e; --soft: #fdecea; --warn: #8a5a00; --name: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --front: #e4e6e8; --dim: #969ca3;
  --line: #2d3136; --card: #1d2024; --fail: #ff8a80; --soft: #3a2220; --warn: #ffcc66; --name: #8ab8f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 82rem; padding: 2rem 1.25rem; background: var(--back);
  color: var(--front); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .25rem; }
h3 { font: 600 .85rem/1.4 ui-monospace, monospace; margin: 0 0 .5rem; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem 1.25rem; margin: 0 0 1rem; overflow-x: auto; }
.finding { border-left: 4px solid var(--dim); }
.finding.fail, .finding.crash { border-left-color: var(--fail); }
.finding.warn { border-left-color: var(--warn); }
.fail .word, .crash .word { color: var(--fail); } .warn .word { color: var(--warn); }
table { border-collapse: collapse; }
th { text-align: left; font-weight: 400; color: var(--name); padding: .1rem 1.25rem .1rem 0;
  vertical-align: top; white-space: nowrap; }
td { padding: .1rem 1.25rem .1rem 0; vertical-align: top; }
.note { color: var(--fail); } .fix th { color: var(--dim); } .fix td { font-weight: 600; }
code, pre, .tensors { font: .85rem/1.5 ui-monospace, monospace; }
pre { margin: 0; white-space: pre; tab-size: 4; }
.code { width: 100%; } .code td { padding-top: 0; padding-bottom: 0; }
.n { color: var(--dim); text-align: right; user-select: none; width: 3rem;
  font: .85rem/1.5 ui-monospace, monospace; }
.tensors { color: var(--dim); border-left: 1px solid var(--line); padding-left: 1rem; width: 45%; }
.tensors b { color: var(--name); font-weight: 400; } .tensors i { font-style: normal; opacity: .8; }
.bad { color: var(--fail); }
.failed td { background: var(--soft); }
mark { background: var(--soft); color: var(--fail); font-weight: 600; }
.more, footer { color: var(--dim); font-size: .85rem; } a { color: inherit; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
