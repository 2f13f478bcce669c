"""From a pattern as the catalogue writes it to what is searched in text without white space.

A pattern is a regular expression over the message as people read it. Its spaces are dropped, so
that a message may be wrapped anywhere; a quote `'` stands for any quote; upper and lower case are
the same. Repetitions must be bounded: a hostile line must not make it slow.
"""

from __future__ import annotations

import functools
import re

ANY_QUOTE = "['\"`´‘’“”«»]"  # noqa: RUF001 - the quotes of compilers in other languages

FEWEST_LETTERS = 5
"""A pattern has a piece of plain text at least so long, by which it is passed over quickly."""

_ESCAPES_OF_SPACE = ("\\s", "\\n", "\\t", "\\ ")


class BadPatternError(ValueError):
    """A pattern of the catalogue that cannot be used: our bug."""


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, ready to search text without white space. Raises BadPatternError."""
    try:
        return re.compile(squeezed(pattern), re.IGNORECASE)
    except re.error as error:
        raise BadPatternError(f"{pattern!r}: {error}") from None


def squeezed(pattern: str) -> str:
    """The pattern without what matches white space; quotes as any quote."""
    out, place = [], 0
    in_class = False
    while place < len(pattern):
        two = pattern[place : place + 2]
        one = pattern[place]
        if two in _ESCAPES_OF_SPACE and not in_class:
            place += 2
            place += _quantifier_length(pattern, place)
            continue
        if one == "\\":
            out.append(ANY_QUOTE if two == "\\'" and not in_class else two)
            place += 2
            continue
        if one == "[" and not in_class:
            in_class = True
        elif one == "]" and in_class:
            in_class = False
        if one == " " and not in_class:
            place += 1
            place += _quantifier_length(pattern, place)
            continue
        out.append(ANY_QUOTE if one == "'" and not in_class else one)
        place += 1
    return "".join(out)


def _quantifier_length(pattern: str, place: int) -> int:
    match = re.compile(r"(?:[*+?]|\{\d*,?\d*\})\??").match(pattern, place)
    return len(match[0]) if match else 0


@functools.lru_cache(maxsize=4096)
def literals(pattern: str) -> tuple[str, ...]:
    """Pieces of plain text, lower case and without spaces, that every match has, the longest first.

    Only what stands outside of groups and is not optional; groups and classes end a piece.
    """
    text = squeezed(pattern)
    pieces, current, place = [], "", 0
    while place < len(text):
        one = text[place]
        if one == "(":
            pieces.append(current)
            current, place = "", _after_group(text, place)
            continue
        if one == "[":
            pieces.append(current)
            current, place = "", _after_class(text, place)
            continue
        if one == "|":
            return ()  # an alternative at the top: no piece is in every match
        if one == "\\" and place + 1 < len(text):
            following = text[place + 1]
            if following.isalnum():
                pieces.append(current)
                current = ""
            else:
                current += following
            place += 2
            continue
        if one in "?*{":
            pieces.append(current[:-1])
            current = ""
            place += _quantifier_length(text, place) or 1
            continue
        if one == "+" or one in ".^$":
            pieces.append(current)
            current = ""
        else:
            current += one
        place += 1
    pieces.append(current)
    return tuple(sorted((piece.lower() for piece in pieces if piece), key=len, reverse=True))


def _after_group(text: str, place: int) -> int:
    depth = 0
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        if text[place] == "[":
            place = _after_class(text, place)
            continue
        if text[place] == "(":
            depth += 1
        elif text[place] == ")":
            depth -= 1
            if depth == 0:
                place += 1
                return place + _quantifier_length(text, place)
        place += 1
    return place


def _after_class(text: str, place: int) -> int:
    place += 2 if text[place + 1 : place + 2] in ("]", "^") else 1
    if text[place - 1 : place + 1] == "^]":
        place += 1
    while place < len(text) and text[place] != "]":
        place += 2 if text[place] == "\\" else 1
    place += 1
    return place + _quantifier_length(text, place)


def needle(pattern: str) -> str:
    """The longest piece of plain text that every match has. Raises BadPatternError without one."""
    found = literals(pattern)
    if not found or len(found[0]) < FEWEST_LETTERS:
        raise BadPatternError(
            f"{pattern!r} has no {FEWEST_LETTERS} letters that every match has; write it as two patterns"
        )
    return found[0]


_UNBOUNDED = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\})")


def is_bounded(pattern: str) -> bool:
    """Whether no repetition of it is without end, `[^)]{0,200}` in place of `.*`.

    A single class repeated, as in `\\d+`, is allowed where nothing before it can take the same.
    """
    text = squeezed(pattern)
    return re.search(r"(?<!\\)\.(?:[*+]|\{\d*,\})|\)(?:[*+]|\{\d*,\})", text) is None


@functools.lru_cache(maxsize=4096)
def reach(pattern: str) -> int:
    """So many characters a match may have, roughly and no fewer than 600."""
    most = [int(it or 64) for it in re.findall(r"\{(?:\d*,)?(\d*)\}", pattern)]
    endless = len(re.findall(r"(?<!\\)[+*]", pattern))
    return min(8_000, max(600, len(pattern) + 2 * sum(most) + 64 * endless))
