"""Report -> GitHub Flavoured Markdown, made to be pasted into an issue.

Values stand in code, where nothing in them can be taken for Markdown; words of ours are escaped.
Private data has been replaced before, see `redact`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torchkit import __version__
from torchkit.render import Options
from torchkit.render.legible import one_line
from torchkit.render.words import (
    WRONG,
    cell,
    fine,
    folded,
    headline,
    is_number,
    labelled,
    says_counts,
    shown,
    split_fix,
    unseen,
)
from torchkit.report import Artifact, Finding, Json, Listing, Report, Status, Table


def render(report: Report, options: Options) -> str:
    """The report as Markdown; with `quiet` only what is wrong."""
    if report.failure is not None:
        blocks = [
            f"**torchkit {report.command}** could not answer: {prose(report.failure.message)}"
        ]
        if report.failure.hint:
            blocks.append(f"fix: {prose(report.failure.hint)}")
        return _joined([*blocks, _version(report)])
    wrong = report.of(*WRONG)
    if options.quiet:
        return _joined([_findings(wrong, report), _version(report)]) if wrong else ""
    verdict = headline(report)
    blocks = [
        f"**torchkit {report.command}**" + (f": {prose(verdict)}" if verdict else ""),
        *(_listing(listing) for listing in report.listings),
        _findings([*wrong, *report.of(Status.INFO)], report),
        *(_table(table) for table in report.shown_tables),
        *(_artifact(artifact) for artifact in report.artifacts),
        _closing(report),
        _details("facts", report.facts),
        _details("totals", _legible(report.totals)),
        _version(report),
    ]
    return _joined(blocks)


def _joined(blocks: Sequence[str]) -> str:
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def _version(report: Report) -> str:
    return f"<sub>torchkit {__version__}, `torchkit {report.command}`</sub>"


# --- blocks


def _findings(findings: Sequence[Finding], report: Report) -> str:
    """A list of them; what is part of another one is a line of that one."""
    order = (*WRONG, Status.INFO)
    alone, parts = folded(findings, report)
    return "\n".join(
        _finding(item, parts.pop(item.id, []))
        for item in sorted(alone, key=lambda f: order.index(f.status))
    )


def _finding(finding: Finding, parts: Sequence[Finding]) -> str:
    verdict = finding.verdict
    lines = [f"- **{finding.status.value.upper()}** {code(finding.id)}: {prose(verdict.message)}"]
    for item in shown(finding):
        source = f" ({prose(item.source)})" if item.source else ""
        lines.append(_item(prose(item.name), item.value, source))
    lines += [f"  - also {code(part.id)}: {prose(part.verdict.message)}" for part in parts]
    for label, text in labelled(verdict.fix):
        command, _, remark = split_fix(text)
        before = f"{label}: " if label else ""
        if not command:
            lines.append(f"  - {before}{prose(text)}")
        else:
            lines.append(_item(label, command, f" {prose(remark)}" if remark else ""))
    if finding.reference:
        lines.append(f"  - see {_link(finding.reference)}")
    return "\n".join(lines)


def _item(name: str, value: str, after: str) -> str:
    """A line of the list inside a finding; a value of several lines is a block of its own."""
    before = f"{name}: " if name else ""
    if "\n" not in value:
        return f"  - {before}{code(value)}{after}"
    return f"  - {before.rstrip()}{after}\n\n{fenced(value, indent=4)}\n"


def _listing(listing: Listing) -> str:
    lines = []
    for line in listing.lines:
        lines.append(f"{line.number:>5} | {line.text}")
        if line.start is not None and line.end is not None:
            marks = "^" * (line.end - line.start)
            lines.append(f"{'':>5} | {' ' * line.start}{marks}")
    text = "\n".join(lines)
    return f"{code(listing.title)}\n\n{fenced(text)}"


def _table(table: Table) -> str:
    if not table.rows or not table.columns:
        return ""
    if table.columns == ("area", "value"):
        rows = [(prose(cell(row.get("area"))), _cell(row.get("value"))) for row in table.rows]
        return _grid((table.name, ""), rows, (False, False))
    right = tuple(_is_right(table, column) for column in table.columns)
    texts = [tuple(_cell(row.get(name)) for name in table.columns) for row in table.rows]
    return f"{prose(table.name)}\n\n{_grid(table.columns, texts, right)}"


def _is_right(table: Table, column: str) -> bool:
    filled = [row[column] for row in table.rows if row.get(column) is not None]
    return bool(filled) and all(is_number(value) for value in filled)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    names = [prose(name) for name in header]
    rule = ["---:" if is_right else "---" for is_right in right]
    return "\n".join(f"| {' | '.join(row)} |" for row in [names, rule, *rows])


def _artifact(artifact: Artifact) -> str:
    places = [code(artifact.path)] if artifact.path else []
    places += [_link(artifact.url)] if artifact.url else []
    heading = f"**{prose(artifact.title or artifact.kind)}**"
    lines = [f"{heading}: {' '.join(places)}" if places else heading]
    lines += [f"- {prose(why)}" for why in artifact.why]
    blocks = ["\n".join(lines)]
    if artifact.commands:
        blocks.append(fenced("\n".join(artifact.commands), language="sh"))
    return "\n\n".join(blocks)


def _closing(report: Report) -> str:
    lines = [
        f"could not look: {', '.join(map(code, ids))} ({prose(reason)})"
        for reason, ids in unseen(report).items()
    ]
    if fine(report) and not says_counts(report):
        lines.append(fine(report))
    return "  \n".join(lines)


def _details(name: str, values: Mapping[str, Json]) -> str:
    if not values:
        return ""
    rows = [(prose(key), _fact(value)) for key, value in values.items()]
    table = _grid(("name", "value"), rows, (False, False))
    return f"<details><summary>{name}</summary>\n\n{table}\n\n</details>"


def _legible(totals: Mapping[str, Json]) -> Mapping[str, Json]:
    """Without lists of records, which are for programs: in one cell nobody reads them."""
    return {
        name: value
        for name, value in totals.items()
        if not (isinstance(value, (list, tuple)) and any(isinstance(it, Mapping) for it in value))
    }


def _fact(value: Json) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping) and set(value) == {"unknown"}:
        return f"unknown: {prose(cell(value['unknown']))}"
    return _cell(value)


# --- escapes

_MARKUP = re.compile(
    r"[\\`*<>|~$]"
    r"|\](?=[(\[:])"  # what makes a link of brackets; a shape stays as it is
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # inside a word it means nothing
    r"|&(?=#?\w+;)"
    r"|^[#+=-]"  # a heading, an item of a list
)


def prose(text: str) -> str:
    """Text in which no character means anything to Markdown, on one line; nobody is notified."""
    text = _MARKUP.sub(r"\\\g<0>", one_line(text))
    text = re.sub(r"^(\d{1,9})([.)])(?=\s|$)", r"\1\\\2", text)  # an item of a numbered list
    return re.sub(r"@(?=\w)", "@<!-- -->", text)


def code(text: str, before: str = "") -> str:
    """A code span; the fence is longer than any row of backticks in the text."""
    text = before + one_line(text)
    if not text:
        return "(empty)"
    fence = "`" * (_longest_row(text) + 1)
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def fenced(text: str, *, language: str = "", indent: int = 0) -> str:
    """A block of code, indented so far that it belongs to an item of a list."""
    fence = "`" * max(3, _longest_row(text) + 1)
    lines = [f"{fence}{language}", *text.split("\n"), fence]
    return "\n".join(f"{' ' * indent}{line}".rstrip() for line in lines)


def _longest_row(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _link(url: str) -> str:
    return f"<{url}>" if re.fullmatch(r"https?://[^\s<>]+", url) else code(url)


def _cell(value: Json) -> str:
    """A value as code inside a table, its line breaks kept."""
    text = cell(value)
    if isinstance(value, (int, float)):
        return text
    parts = [_code_in_table(part) for part in text.split("\n") if part.strip()]
    return "<br>".join(parts)


_BRANCHES = re.compile(r"^[ │]*[├└]─ ")
"""Before the name of a layer; plain spaces in front, or several, are lost where this is shown."""


def _code_in_table(text: str) -> str:
    """With a bar in it, HTML: readers of Markdown differ on a backslash before a bar."""
    drawn = _BRANCHES.match(text)
    before = drawn[0].replace(" ", "\N{NO-BREAK SPACE}") if drawn else ""
    text = text[len(before) :]
    if "|" not in text:
        return code(text, before)
    text = before + text
    return f"<code>{re.sub('[^ A-Za-z0-9]', lambda match: f'&#{ord(match[0])};', text)}</code>"
