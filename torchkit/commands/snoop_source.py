"""The source around what a report of snoop speaks of, as a table: for a page that shows both."""

from __future__ import annotations

import dataclasses
import linecache
from collections.abc import Iterator, Mapping
from pathlib import Path

from torchkit.report import Json, Report, Table

COLUMNS = ("file", "line", "text")

BEFORE, AFTER = 12, 4
"""So many lines around a line are shown."""

_NAMES = ("frames", "trace")


def with_source(report: Report) -> Report:
    """The report with a table `source` more: lines around each frame, and of what was traced."""
    wanted: dict[str, set[int]] = {}
    for table in report.tables:
        if table.name in _NAMES:
            for file, line in _places(table):
                wanted.setdefault(file, set()).update(range(line - BEFORE, line + AFTER + 1))
    rows: list[Mapping[str, Json]] = []
    for file, numbers in wanted.items():
        lines = linecache.getlines(str(Path.cwd() / file)) or linecache.getlines(file)
        rows += [
            {"file": file, "line": number, "text": lines[number - 1].rstrip("\n")}
            for number in sorted(numbers)
            if 0 < number <= len(lines)
        ]
    table = Table("source", COLUMNS, tuple(rows))
    return dataclasses.replace(report, tables=(*report.tables, table))


def _places(table: Table) -> Iterator[tuple[str, int]]:
    for row in table.rows:
        file, line = row.get("file"), row.get("line")
        if isinstance(file, str) and isinstance(line, int) and line > 0:
            yield file, line
