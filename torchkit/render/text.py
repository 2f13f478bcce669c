"""Report -> text for people: the verdict first, then what is wrong and what to do about it.

On a terminal it wraps at words and is coloured; in a pipe every value stands whole on its line,
so that a script can look for it. Every subcommand is drawn by this one file.
"""

from __future__ import annotations

from collections.abc import Sequence

from torchkit.render import Options, Style
from torchkit.render.grid import Grid
from torchkit.render.layout import (
    Line,
    Span,
    columns,
    command_chunks,
    name_columns,
    padded,
    paint,
    paragraphs,
    phrase_chunks,
    wrap,
)
from torchkit.render.legible import one_line
from torchkit.render.words import (
    WRONG,
    cell,
    fine,
    folded,
    headline,
    is_well,
    labelled,
    says_counts,
    shown,
    split_fix,
    unseen,
)
from torchkit.report import Artifact, Evidence, Failure, Finding, Listing, Report, Status, Table

_LOOKS = {
    Status.FAIL: "red",
    Status.CRASH: "red",
    Status.WARN: "yellow",
    Status.INFO: "cyan",
}

_FEWEST_VALUE_COLUMNS = 30
"""Where the values would get fewer columns than this, they hang under their names."""

_READABLE_COLUMNS = 100
"""Reasons that are longer than this together stand one on a line, even in a pipe."""

_FACT_COLUMN = 10
"""Where values of a list of facts begin, and what belongs to an artifact."""


def render(report: Report, options: Options) -> str:
    """The report as text."""
    page = _Page(options.style)
    if report.failure is not None:
        page.failure(report.failure)
        return page.text()
    wrong = [finding for status in WRONG for finding in report.of(status)]
    if options.quiet:
        page.findings(wrong, report)
        return page.text()
    page.headline(report)
    for listing in report.listings:
        page.listing(listing)
    page.findings([*wrong, *report.of(Status.INFO)], report)
    tables = report.shown_tables
    for table in tables:
        page.table(table, is_named=sum(not _is_fact_list(item) for item in tables) > 1)
    for artifact in report.artifacts:
        page.artifact(artifact)
    page.closing(report)
    return page.text()


def _is_fact_list(table: Table) -> bool:
    return table.columns == ("area", "value")


class _Page:
    """Blocks of lines with an empty line between them."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self.blocks: list[list[Line]] = []

    def text(self) -> str:
        blocks = [
            "".join(f"{paint(line, colour=self.style.colour)}\n" for line in block)
            for block in self.blocks
            if block
        ]
        return "\n".join(blocks)

    # --- pieces

    def lines(self, prefix: Sequence[Span], body: Sequence[Span], hang: int) -> list[Line]:
        return paragraphs(body, width=self.style.width, prefix=prefix, hang=hang)

    def command(self, prefix: Sequence[Span], text: str, hang: int) -> list[Line]:
        """A command to paste; where it has to wrap, the shell is told that it goes on."""
        lines: list[Line] = []
        for number, part in enumerate(text.split("\n")):
            before = prefix if number == 0 else [Span(" " * hang)]
            words = command_chunks([Span(part, "bold")])
            lines += wrap(words, width=self.style.width, prefix=before, hang=hang + 2, joint=" \\")
        return lines

    def phrases(self, prefix: Sequence[Span], text: str, hang: int) -> list[Line]:
        """Facts with a dot between them, which wraps at the dots where it can."""
        if "\n" in text or self.style.width is None:
            return self.lines(prefix, [Span(text)], hang)
        words = phrase_chunks(text, self.style.width - hang)
        return wrap(words, width=self.style.width, prefix=prefix, hang=hang)

    # --- blocks

    def failure(self, failure: Failure) -> None:
        block = self.lines([Span("error", "red"), Span("  ")], [Span(failure.message)], 7)
        if failure.hint:
            block += self.lines([Span("fix", "bold"), Span("    ")], [Span(failure.hint)], 7)
        self.blocks.append(block)

    def headline(self, report: Report) -> None:
        text = headline(report)
        if text:
            look = "green" if is_well(report) and report.of(Status.OK) else "bold"
            self.blocks.append(self.lines([], [Span(text, look)], 0))

    def listing(self, listing: Listing) -> None:
        """Lines of source with their numbers; below each what of it is marked."""
        bar = "│" if self.style.unicode else "|"
        digits = max((len(str(line.number)) for line in listing.lines), default=1)
        block: list[Line] = [[Span(listing.title, "bold")]]
        for line in listing.lines:
            text = line.text.replace("\t", "    ")
            block.append([Span(f"  {line.number:>{digits}} {bar} ", "dim"), Span(text)])
            if line.start is not None and line.end is not None and line.end > line.start:
                shift = (len(text) - len(line.text)) if line.text.startswith("\t") else 0
                before = columns(line.text[: line.start]) + shift
                marks = "^" * columns(line.text[line.start : line.end])
                block.append(
                    [Span(f"  {'':>{digits}} {bar} ", "dim"), Span(" " * before + marks, "red")]
                )
        self.blocks.append(block)

    def findings(self, findings: Sequence[Finding], report: Report) -> None:
        """Each with its evidence and fix; what is part of another one is a line of that one."""
        findings, parts = folded(findings, report)
        if not findings:
            return
        said = headline(report) if self.blocks else ""
        titled = [finding for finding in findings if not _is_said(finding, said)]
        indent = max((len(finding.status.value) for finding in titled), default=0) + 2
        names = [_spoken(item) for finding in findings for item in shown(finding)]
        names += ["fix" for finding in findings if finding.verdict.fix]
        value_column = indent + name_columns(names) + 2
        block: list[Line] = []
        for finding in findings:
            block += self._finding(
                finding,
                parts.pop(finding.id, []),
                indent,
                value_column,
                is_titled=finding in titled,
            )
        self.blocks.append(block)

    def _finding(
        self,
        finding: Finding,
        parts: Sequence[Finding],
        indent: int,
        value_column: int,
        *,
        is_titled: bool,
    ) -> list[Line]:
        word = finding.status.value.upper()
        look = "bold" if finding.status in WRONG else ""
        prefix = [Span(word, _LOOKS[finding.status]), Span(" " * (indent - len(word)))]
        body = [Span(finding.id, look), Span(": "), Span(finding.verdict.message)]
        block = self.lines(prefix, body, indent) if is_titled else []
        hang = self._hang(indent, value_column)
        for item in shown(finding):
            name = self._name(_spoken(item), "dim", indent, value_column)
            arrow = "←" if self.style.unicode else "<-"
            block += self.lines(name, _with_source(item, arrow), hang)
        for part in parts:
            name = self._name("also", "dim", indent, value_column)
            block += self.lines(name, [Span(f"{part.id}: {part.verdict.message}")], hang)
        for label, text in labelled(finding.verdict.fix):
            block += self._fix(self._name(label, "bold", indent, value_column), text, hang)
        return block

    def _hang(self, indent: int, value_column: int) -> int:
        width = self.style.width
        if width is not None and width - value_column < _FEWEST_VALUE_COLUMNS:
            return indent + 2
        return value_column

    def _name(self, name: str, look: str, indent: int, value_column: int) -> Line:
        return [Span(" " * indent), Span(padded(name, value_column - indent), look)]

    def _fix(self, prefix: Line, text: str, hang: int) -> list[Line]:
        command, gap, remark = split_fix(text)
        if not command:
            return self.lines(prefix, [Span(remark)], hang)
        used = sum(columns(span.text) for span in prefix) + columns(text)
        if self.style.width is None or (used <= self.style.width and "\n" not in text):
            return self.lines(prefix, [Span(command, "bold"), Span(gap), Span(remark, "dim")], hang)
        block = self.command(prefix, command, hang)
        if remark:
            block += self.lines([Span(" " * hang)], [Span(remark, "dim")], hang)
        return block

    def table(self, table: Table, *, is_named: bool) -> None:
        if not table.rows or not table.columns:
            return
        if _is_fact_list(table):
            self.blocks.append(self._fact_list(table))
            return
        name = [[Span(one_line(table.name), "bold")]] if is_named else []
        self.blocks.append(name + Grid(table, width=self.style.width).lines())

    def _fact_list(self, table: Table) -> list[Line]:
        rows = [(one_line(cell(row.get("area"))), cell(row.get("value"))) for row in table.rows]
        column = max(_FACT_COLUMN, name_columns(area for area, _ in rows) + 2)
        block: list[Line] = []
        for area, value in rows:
            block += self.phrases([Span(padded(area, column), "bold")], value, column)
        return block

    def artifact(self, artifact: Artifact) -> None:
        places = [one_line(place) for place in (artifact.path, artifact.url) if place]
        heading = one_line(artifact.title or artifact.kind)
        whole = columns(heading) + 3 + sum(columns(place) + 1 for place in places) - 1
        block: list[Line]
        if self.style.width is None or whole <= self.style.width:
            body = [Span(heading, "bold"), Span("   " if places else ""), Span(" ".join(places))]
            block = self.lines([], body, _FACT_COLUMN)
        else:
            block = self.lines([], [Span(heading, "bold")], _FACT_COLUMN)
            block += [[Span(" " * _FACT_COLUMN), Span(place)] for place in places]
        inner = [Span(" " * _FACT_COLUMN)]
        whys = " · ".join(artifact.why) if self.style.unicode else ", ".join(artifact.why)
        is_short = _FACT_COLUMN + columns(whys) <= (self.style.width or _READABLE_COLUMNS)
        for why in [whys] if is_short else artifact.why:
            block += self.lines(inner, [Span(why, "dim")], _FACT_COLUMN) if why else []
        for command in artifact.commands:
            block += self.command(inner, command, _FACT_COLUMN)
        self.blocks.append(block)

    def closing(self, report: Report) -> None:
        """What could not be looked at, and what is fine unless the headline has said it."""
        block: list[Line] = []
        for reason, ids in unseen(report).items():
            text = f"could not look: {', '.join(ids)} ({reason})"
            block += self.lines([], [Span(text)], 2)
        if fine(report) and not says_counts(report):
            block += self.lines([], [Span(fine(report), "dim")], 0)
        self.blocks.append(block)


_OPERAND = "operand "
"""Begins the name of a tensor that a failed operation was given; what is odd is its source."""


def _spoken(item: Evidence) -> str:
    return one_line(item.name.removeprefix(_OPERAND))


def _is_said(finding: Finding, said: str) -> bool:
    """Whether the first line of the report has told all that the finding's first line would."""
    message = one_line(finding.verdict.message)
    return said == message or said.startswith(f"{finding.id}: {message}")


def _with_source(item: Evidence, arrow: str) -> list[Span]:
    if item.source and item.name.startswith(_OPERAND):
        return [Span(item.value), Span(f"   {arrow} {item.source}", "red")]
    source = [Span(f"  ({item.source})", "dim")] if item.source else []
    return [Span(item.value), *source]
