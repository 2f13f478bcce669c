"""Report -> workflow commands of GitHub Actions, so that findings show up on the pull request.

The form and its escapes:
https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from torchkit.render import Options
from torchkit.render.legible import one_line
from torchkit.render.words import WRONG, Parts, fine, folded, headline, labelled, shown
from torchkit.report import Finding, Report, Status

_COMMANDS = {
    Status.FAIL: "error",
    Status.CRASH: "error",
    Status.WARN: "warning",
    Status.INFO: "notice",
}


def render(report: Report, options: Options) -> str:
    """A line for each finding that is worth one, and one that sums up, unless `quiet`.

    What is part of another finding is a line of that one's message, so that the counts agree.
    """
    if report.failure is not None:
        text = "\n".join(part for part in (report.failure.message, report.failure.hint) if part)
        return _command("error", f"torchkit {report.command}", text)
    told, parts = folded(report.of(*(WRONG if options.quiet else _COMMANDS)), report)
    lines = [
        _command(_COMMANDS[finding.status], finding.id, _message(finding, parts), _place(finding))
        for status in _COMMANDS
        for finding in told
        if finding.status is status
    ]
    summary = headline(report) or fine(report)
    if summary and not options.quiet:
        lines.append(f"torchkit {report.command}: {_plain(summary)}\n")
    return "".join(lines)


def _message(finding: Finding, parts: Parts) -> str:
    verdict = finding.verdict
    lines = [verdict.message]
    for item in shown(finding):
        source = f" ({item.source})" if item.source else ""
        lines.append(f"{item.name}: {item.value}{source}")
    lines += [f"also: {part.id}: {part.verdict.message}" for part in parts.pop(finding.id, [])]
    lines += [f"{label}: {text}" if label else text for label, text in labelled(verdict.fix)]
    return "\n".join(lines)


def _place(finding: Finding) -> str:
    """`file=train.py,line=31,` where a finding is about a line of source, so that it shows there."""
    told = {item.name: item.value for item in finding.verdict.evidence}
    if "file" not in told or not told.get("line", "").isdigit():
        return ""
    return f"file={escape_property(told['file'])},line={told['line']},"


def _command(name: str, title: str, message: str, place: str = "") -> str:
    return f"::{name} {place}title={escape_property(title)}::{escape_data(message)}\n"


def escape_data(text: str) -> str:
    """As `escapeData` of GitHub's own toolkit (packages/core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """As `escapeProperty` of GitHub's own toolkit."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def _plain(text: str) -> str:
    """One line the runner does not take for a command, in the older form either."""
    return one_line(text).replace("##[", "## [")
