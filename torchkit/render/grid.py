"""A table as lines: aligned columns under a header, or records where a terminal is too narrow."""

from __future__ import annotations

from torchkit.render.layout import (
    Line,
    Span,
    chunks,
    columns,
    name_columns,
    padded,
    paint,
    paragraphs,
)
from torchkit.render.legible import one_line
from torchkit.render.words import cell, is_number
from torchkit.report import Table

_BRANCHES = " │├└─"
"""What is drawn of a tree before a name."""

LONGEST_WORD = 20
"""A word of more columns is broken where a table would not fit otherwise."""


class Grid:
    """A table with a header. On a terminal its cells wrap, and nothing is ever cut."""

    indent = "  "

    def __init__(self, table: Table, *, width: int | None) -> None:
        self.table = table
        self.width = width
        self.names = [one_line(name) for name in table.columns]
        self.cells = [[cell(row.get(name)) for name in table.columns] for row in table.rows]
        self.right = [self._is_right(name) for name in table.columns]

    def _is_right(self, column: str) -> bool:
        values = [row.get(column) for row in self.table.rows]
        filled = [value for value in values if value is not None and value != ""]
        return bool(filled) and all(is_number(value) for value in filled)

    def lines(self) -> list[Line]:
        widths = self._widths()
        if widths is None:
            return self._records()
        block = self._row(self.names, widths, "dim")
        for texts in self.cells:
            block += self._row(texts, widths, "")
        return block

    def _widths(self) -> list[int] | None:
        """Columns for each column of the table; None when its words do not fit."""
        rows = [self.names, *self.cells]
        wanted = [max(_widest_line(row[place]) for row in rows) for place in range(len(rows[0]))]
        if self.width is None:
            return wanted
        fewest = [max(_widest_word(row[place]) for row in rows) for place in range(len(rows[0]))]
        room = self.width - len(self.indent) - 2 * (len(wanted) - 1)
        if sum(fewest) > room:
            fewest = [min(it, LONGEST_WORD) for it in fewest]
        if sum(fewest) > room:
            return None
        for widest in range(room, 0, -1):  # long columns are cut down to one width, short ones kept
            widths = [min(w, max(f, widest)) for w, f in zip(wanted, fewest, strict=True)]
            if sum(widths) <= room:
                return widths
        return fewest

    def _row(self, texts: list[str], widths: list[int], look: str) -> list[Line]:
        pieces: list[list[str]] = []
        for text, width in zip(texts, widths, strict=True):
            branch = text[: len(text) - len(text.lstrip(_BRANCHES))]
            room = None if self.width is None else width
            rest = [Span(text[len(branch) :])]
            lines = paragraphs(rest, width=room, prefix=[Span(branch)], hang=len(branch))
            painted = [paint(line, colour=False) for line in lines]
            pieces.append([part for line in painted for part in _broken(line, width)])
        block: list[Line] = []
        for number in range(max(len(piece) for piece in pieces)):
            row: Line = [Span(self.indent)]
            for place, piece in enumerate(pieces):
                text = piece[number] if number < len(piece) else ""
                blanks = " " * (widths[place] - columns(text))
                text = blanks + text if self.right[place] else text + blanks
                row += [Span("  " if place else ""), Span(text, look)]
            block.append(row)
        return block

    def _records(self) -> list[Line]:
        """One line for each value: for a terminal too narrow for the table."""
        column = len(self.indent) + name_columns(self.names) + 2
        block: list[Line] = []
        for number, texts in enumerate(self.cells):
            if number:
                block.append([])
            for name, text in zip(self.names, texts, strict=True):
                if text:
                    prefix = [Span(self.indent + padded(name, column - len(self.indent)), "dim")]
                    block += paragraphs([Span(text)], width=self.width, prefix=prefix, hang=column)
        return block


def _broken(line: str, width: int) -> list[str]:
    """A line that is one word too long for its column, in parts; the parts of a tree hang alike."""
    if columns(line) <= width:
        return [line]
    hang = min(len(line) - len(line.lstrip(_BRANCHES)), width // 2)
    parts, used = [""], 0
    for character in line:
        size = columns(character)
        if used + size > width:
            parts.append(" " * hang)
            used = hang
        parts[-1] += character
        used += size
    return parts


def _widest_line(text: str) -> int:
    return max((columns(line.rstrip()) for line in text.split("\n")), default=0)


def _widest_word(text: str) -> int:
    """With the blanks before it where it begins a line: they are the depth of a tree."""
    widest = 0
    for line in text.split("\n"):
        for place, word in enumerate(chunks([Span(line)])):
            widest = max(widest, word.columns + (len(word.space) if place == 0 else 0))
    return widest
