"""Text that may be placed: what a terminal would obey is shown, what a stream cannot carry replaced.

Also how a change is applied to every text of a report. Nothing here knows a format.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from torchkit.report import (
    Artifact,
    Evidence,
    Failure,
    Finding,
    Json,
    ListedLine,
    Listing,
    Report,
    Table,
    Verdict,
)

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters save tab and newline: ESC, CR, BEL …
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # they reorder or hide what is read
    "\ud800-\udfff]"  # bytes of a name that is no UTF-8, as Python carries them
)

_ASCII = str.maketrans(
    {
        "·": "-",
        "…": "...",
        "\N{EN DASH}": "-",
        "—": "-",
        "\N{MINUS SIGN}": "-",
        "\N{MULTIPLICATION SIGN}": "x",
        "→": "->",
        "←": "<-",
        "≥": ">=",
        "≤": "<=",
        "≠": "!=",
        "µ": "u",
        "•": "*",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "“": '"',
        "”": '"',
        "│": "|",
        "├": "|",
        "└": "`",
        "─": "-",
        "\N{NO-BREAK SPACE}": " ",
    }
)
"""What stands in for the signs we write ourselves."""


def legible(text: str, *, unicode: bool = True) -> str:
    """The text with everything a terminal would obey shown as an escape, e.g. `\\x1b`.

    Newlines stay, tabs become spaces. Without `unicode` the result is ASCII.
    """
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    text = _UNSEEN.sub(lambda match: _escape(match[0]), text)
    if unicode or text.isascii():
        return text
    text = text.replace(" · ", ", ").translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _escape(character: str) -> str:
    if character == "\r":
        return "\\r"
    return f"\\x{ord(character):02x}" if character < "\x80" else f"\\u{ord(character):04x}"


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(part.strip() for part in text.splitlines() if part.strip())


def legible_report(report: Report, *, unicode: bool) -> Report:
    """The report with every text in it made legible."""
    return rewritten(report, lambda text: legible(text, unicode=unicode))


def rewritten(report: Report, change: Callable[[str], str]) -> Report:
    """The report with every text in it changed, except the names of facts and totals."""
    return dataclasses.replace(
        report,
        findings=tuple(_finding(finding, change) for finding in report.findings),
        tables=tuple(_table(table, change) for table in report.tables),
        views=tuple(_table(table, change) for table in report.views),
        artifacts=tuple(_artifact(artifact, change) for artifact in report.artifacts),
        listings=tuple(_listing(listing, change) for listing in report.listings),
        facts={name: _json(value, change) for name, value in report.facts.items()},
        totals={name: _json(value, change) for name, value in report.totals.items()},
        failure=report.failure
        and Failure(change(report.failure.message), change(report.failure.hint)),
        headline=change(report.headline),
    )


def _finding(finding: Finding, change: Callable[[str], str]) -> Finding:
    verdict = finding.verdict
    evidence = tuple(
        Evidence(change(item.name), change(item.value), change(item.source), item.shown)
        for item in verdict.evidence
    )
    fix = tuple(change(text) for text in verdict.fix)
    changed = Verdict(
        verdict.status,
        change(verdict.message),
        evidence,
        fix,
        change(verdict.brief),
        verdict.applies,
        verdict.part_of,
    )
    return Finding(change(finding.id), change(finding.area), changed, change(finding.reference))


def _table(table: Table, change: Callable[[str], str]) -> Table:
    rows = tuple(
        {change(key): _json(value, change) for key, value in row.items()} for row in table.rows
    )
    return Table(change(table.name), tuple(change(name) for name in table.columns), rows)


def _artifact(artifact: Artifact, change: Callable[[str], str]) -> Artifact:
    return Artifact(
        change(artifact.kind),
        change(artifact.title),
        None if artifact.path is None else change(artifact.path),
        None if artifact.url is None else change(artifact.url),
        tuple(change(text) for text in artifact.why),
        tuple(change(text) for text in artifact.commands),
    )


def _listing(listing: Listing, change: Callable[[str], str]) -> Listing:
    """Marks stay where they are, unless a line changes its length."""
    lines = []
    for line in listing.lines:
        text = change(line.text)
        if len(text) == len(line.text):
            lines.append(ListedLine(line.number, text, line.start, line.end))
        else:
            lines.append(ListedLine(line.number, text))
    return Listing(change(listing.title), tuple(lines))


def _json(value: Json, change: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _json(item, change) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_json(item, change) for item in value]
    return value
