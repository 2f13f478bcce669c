"""Lines of styled words: how wide they are, where they wrap, which codes colour them.

Colour is six SGR codes (ECMA-48), so no library is loaded for it; wrapping knows hanging
indents, wide characters, and commands that must survive being pasted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LONGEST_NAME = 20
"""Of the names that stand before values, the longest that decides where values begin."""

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "yellow": "1;33",
    "cyan": "36",
    "green": "1;32",
}


class Span(NamedTuple):
    """A piece of a line in one look: bold, dim, red, yellow, cyan, green, or "" for plain."""

    text: str
    look: str = ""


Line = list[Span]


class Chunk(NamedTuple):
    """What is never broken, and the blanks before it."""

    space: str
    spans: tuple[Span, ...]

    @property
    def columns(self) -> int:
        return sum(columns(span.text) for span in self.spans)


def columns(text: str) -> int:
    """Columns a terminal gives the text: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_character_columns(character) for character in text)


def _character_columns(character: str) -> int:
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return 2
    return 0 if unicodedata.category(character) in {"Mn", "Me", "Cf"} else 1


def name_columns(names: Iterable[str]) -> int:
    """Columns for a list's names; one that is very long is to push its own value, not all."""
    return max((size for size in map(columns, names) if size <= LONGEST_NAME), default=0)


def padded(text: str, width: int) -> str:
    """The text with blanks up to this many columns, and two at least."""
    return text + " " * max(width - columns(text), 2)


def chunks(spans: Iterable[Span]) -> list[Chunk]:
    """The words of these spans, a shape such as `[3, 224, 224]` being one.

    Words that touch across two spans stay together.
    """
    return _chunks(spans, re.compile(r"\s+|(?:\[[\d, ]{1,40}\]|\S)+"))


def command_chunks(spans: Iterable[Span]) -> list[Chunk]:
    """The words of a shell command; what stands in quotes is one word."""
    return _chunks(spans, re.compile(r"""\s+|(?:[^\s"']|"[^"]*"|'[^']*')+|["']\S*"""))


def phrase_chunks(text: str, room: int) -> list[Chunk]:
    """The phrases of `a · b c · d`, each kept whole where it fits into `room` columns."""
    phrases = text.split(" · ")
    found: list[Chunk] = []
    for number, phrase in enumerate(phrases):
        whole = phrase if number == len(phrases) - 1 else f"{phrase} ·"
        parts = [Chunk("", (Span(whole),))] if columns(whole) <= room else chunks([Span(whole)])
        if number and parts:
            parts[0] = Chunk(" ", parts[0].spans)
        found += parts
    return found


def _chunks(spans: Iterable[Span], pieces: re.Pattern[str]) -> list[Chunk]:
    found: list[Chunk] = []
    space: str | None = ""
    for span in spans:
        for piece in pieces.findall(span.text):
            if piece.isspace():
                space = (space or "") + piece
            elif space is None:
                last = found.pop()
                found.append(Chunk(last.space, (*last.spans, Span(piece, span.look))))
            else:
                found.append(Chunk(space, (Span(piece, span.look),)))
                space = None
    return found


def wrap(
    words: Sequence[Chunk],
    *,
    width: int | None,
    prefix: Sequence[Span] = (),
    hang: int = 0,
    joint: str = "",
) -> list[Line]:
    """Lines of at most `width` columns, the first after `prefix`, the others `hang` columns in.

    A word that is too long for a line of its own stands out. `joint` ends each line but the last.
    """
    lines: list[Line] = [list(prefix)]
    used = sum(columns(span.text) for span in prefix)
    whole = used + sum(len(word.space) + word.columns for word in words)
    if width is None or whole <= width:
        for word in words:
            lines[-1] += [Span(word.space, word.spans[0].look), *word.spans]
        return lines
    width -= len(joint)
    is_empty = True
    for word in words:
        space = word.space
        if not is_empty and used + len(space) + word.columns > width:
            if joint:
                lines[-1].append(Span(joint))
            lines.append([Span(" " * hang)])
            used, space = hang, ""
        lines[-1] += [Span(space, word.spans[0].look), *word.spans]
        used += len(space) + word.columns
        is_empty = False
    return lines


def paragraphs(
    spans: Iterable[Span], *, width: int | None, prefix: Sequence[Span] = (), hang: int = 0
) -> list[Line]:
    """Wrapped lines of a text whose own line breaks are kept; all but the first are `hang` in."""
    parts: list[Line] = [[]]
    for span in spans:
        first, *others = span.text.split("\n")
        parts[-1].append(Span(first, span.look))
        parts += [[Span(other, span.look)] for other in others]
    lines = wrap(chunks(parts[0]), width=width, prefix=prefix, hang=hang)
    for part in parts[1:]:
        lines += wrap(chunks(part), width=width, prefix=[Span(" " * hang)], hang=hang)
    return lines


def paint(line: Line, *, colour: bool) -> str:
    """The line as text, with the codes of its looks if `colour`, and no blanks at its end."""
    spans = [span for span in line if span.text]
    while spans and not spans[-1].text.rstrip():
        spans.pop()
    if not spans:
        return ""
    spans[-1] = Span(spans[-1].text.rstrip(), spans[-1].look)
    if not colour:
        return "".join(span.text for span in spans)
    merged: Line = []
    for span in spans:
        if merged and (merged[-1].look == span.look or span.text.isspace()):
            merged[-1] = Span(merged[-1].text + span.text, merged[-1].look)
        else:
            merged.append(span)
    return "".join(
        f"\x1b[{_CODES[span.look]}m{span.text}\x1b[0m" if span.look else span.text
        for span in merged
    )
