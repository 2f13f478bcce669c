"""Finds in a megabyte of log, in milliseconds, the places where some pattern of hundreds may match.

Of text only its letters are looked at: without white space, digits and punctuation it does not
matter how it is wrapped, coloured or numbered. Each pattern is known by a few stretches of
`WINDOW` letters that a match must have. Every fourth position of the text is looked up, eight letters
at once as one number, so a stretch is met at whichever place it begins.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torchkit.logs.patterns import literals

CHUNK = 8
"""Letters that are compared at once: one 64-bit number."""

STRIDE = 4
"""Distance of the places of a text that are looked up."""

WINDOW = CHUNK + STRIDE - 1
"""So many letters contain a chunk at a multiple of the stride, wherever they begin."""

WINDOWS = 2
"""So many stretches of each run of letters are known: one may be torn by what stands between lines."""

MOST_VARIANTS = 24

SHORTEST_RUN = 8

START = 5
"""So many first letters several short pieces may have in common."""

FEW = 6
"""So few chunks are sought one by one."""

_LOWER = bytes(range(256)).lower()
_NO_LETTERS = bytes(it for it in range(128) if not chr(it).isalpha())
_NO_LETTERS_BUT_LINE_ENDS = _NO_LETTERS.replace(b"\n", b"")

_GAP = "\0"

_CHUNK = struct.Struct("=Q")


_DECORATION = tuple(it.encode() for it in "\u2018\u2019\u201c\u201d\u00ab\u00bb\u00b4\u00a0│┃║▌▐")
"""Quotes, sides of boxes: no letters either."""


def letters(data: bytes, *, with_line_ends: bool = False) -> bytes:
    """Only the letters, in lower case."""
    if not data.isascii():
        for it in _DECORATION:
            data = data.replace(it, b"")
    return data.translate(_LOWER, _NO_LETTERS_BUT_LINE_ENDS if with_line_ends else _NO_LETTERS)


class Signs(NamedTuple):
    """What is looked for: numbers of patterns by a chunk of letters; by a run of letters that is
    too short for that; and by a piece of text, for those that have few letters."""

    chunks: dict[int, tuple[int, ...]]
    known: frozenset[int]
    runs: dict[bytes, tuple[int, ...]]
    pieces: dict[str, tuple[int, ...]]

    def positions(self, text: bytes) -> list[int]:
        """Where in these letters something is met, in no order."""
        found: list[int] = []
        for start in range(0, CHUNK, STRIDE):
            view = _numbers(text, start)
            met = self.known.intersection(view)
            if len(met) > FEW:
                places = itertools.count(start, CHUNK)
                found += itertools.compress(places, map(met.__contains__, view.tolist()))
                continue
            for it in met:
                found += _places(_CHUNK.pack(it), text)
        for run in _whose_start_is_in(self.runs, text):
            found += _places(run, text)
        return found

    def patterns(self, text: str) -> set[int]:
        """Which patterns may match in this text without white space, in lower case."""
        flat = letters(text.encode("utf-8", "replace"))
        found: set[int] = set()
        for start in range(0, CHUNK, STRIDE):
            for it in self.known.intersection(_numbers(flat, start)):
                found.update(self.chunks[it])
        for run, numbers in self.runs.items():
            if run in flat:
                found.update(numbers)
        for piece, numbers in self.pieces.items():
            if piece in text:
                found.update(numbers)
        return found


def _places(piece: bytes, text: bytes) -> Iterator[int]:
    at = text.find(piece)
    while at >= 0:
        yield at
        at = text.find(piece, at + len(piece))


def _whose_start_is_in(pieces: Iterable[bytes], text: bytes) -> Iterator[bytes]:
    """Those of the pieces whose first letters are in the text, each start looked for once."""
    starts: dict[bytes, bool] = {}
    for piece in pieces:
        start = piece[:START]
        if start not in starts:
            starts[start] = start in text
        if starts[start]:
            yield piece


def _numbers(text: bytes, start: int) -> memoryview:
    count = max(0, (len(text) - start) // CHUNK)
    return memoryview(text)[start : start + count * CHUNK].cast("Q")


def signs_of(patterns: Sequence[str]) -> Signs:
    """The signs of patterns, which are known by their place."""
    chunks: dict[int, set[int]] = {}
    runs: dict[bytes, set[int]] = {}
    pieces: dict[str, set[int]] = {}
    for number, pattern in enumerate(patterns):
        stretches = _stretches(pattern)
        for stretch in stretches:
            if len(stretch) < WINDOW:
                runs.setdefault(stretch, set()).add(number)
                continue
            for chunk in (_CHUNK.unpack_from(stretch, start)[0] for start in range(STRIDE)):
                chunks.setdefault(chunk, set()).add(number)
        if not stretches:
            piece = _short_piece(pattern)
            if piece:
                pieces.setdefault(piece, set()).add(number)
    return Signs(
        {it: tuple(found) for it, found in chunks.items()},
        frozenset(chunks),
        {it: tuple(found) for it, found in runs.items()},
        {it: tuple(found) for it, found in pieces.items()},
    )


def _short_piece(pattern: str) -> str:
    """The rarest piece without a space in it: a long one, with signs and digits best."""
    found = literals(pattern.replace(" ", "(?: )")) or literals(pattern) or ("",)
    return max(found, key=lambda it: len(it) + 4 * sum(not one.isalpha() for one in it))


def _stretches(pattern: str) -> list[bytes]:
    """Letters in a row, of which every match has at least one; none where it has few letters."""
    best: list[bytes] = []
    for most in (1, MOST_VARIANTS):
        found: list[bytes] = []
        for variant in _Parser(pattern, most).variants():
            runs = [it.lower().encode() for it in variant.split(_GAP)]
            long = [it for it in runs if len(it) >= WINDOW]
            found += _rarest(long) if long else [max(runs, key=len)]
        shortest = min(map(len, found))
        if shortest >= WINDOW:
            return found
        if shortest >= SHORTEST_RUN:
            best = best or found
    return best


_HOW_COMMON = bytes.maketrans(b"zqjxkvbywgpfmuchdlrsnioate", bytes(range(26)))

_PHRASES = """
runtimeerror typeerror valueerror importerror attributeerror indexerror keyerror oserror
filenotfounderror modulenotfounderror assertionerror notimplementederror syntaxerror
deprecationwarning userwarning futurewarning isdeprecated exception mostrecentcalllast
nosuchfileordirectory sitepackages isnotsupported notsupported expected argument arguments
functions function undefinedreference cannotopensharedobjectfile isnotdefined
"""
_COMMON = frozenset(
    it[at : at + CHUNK].encode()
    for it in _PHRASES.split()
    for at in range(max(1, len(it) - CHUNK + 1))
)
_COMMON_PHRASE = re.compile(b"|".join(it[:CHUNK].encode() for it in _PHRASES.split()))
_FAR_TOO_COMMON = 1_000
"""Letters that stand in many logs of no problem: taken only where a pattern has no others."""


def _rarest(runs: Iterable[bytes]) -> list[bytes]:
    """The stretches of the rarest letters, that do not overlap."""
    found: list[tuple[int, bytes]] = []
    for run in runs:
        sums = [0, *itertools.accumulate(run.translate(_HOW_COMMON))]
        scores = [end - start for start, end in zip(sums, sums[WINDOW:])]  # noqa: B905 - the second is shorter
        for at in range(len(run) - CHUNK + 1) if _COMMON_PHRASE.search(run) else ():
            if run[at : at + CHUNK] in _COMMON:
                for place in range(max(0, at - STRIDE + 1), min(len(scores), at + 1)):
                    scores[place] += _FAR_TOO_COMMON
        best = scores.index(min(scores))
        found.append((scores[best], run[best : best + WINDOW]))
        others = scores[: max(0, best - WINDOW + 1)] + scores[best + WINDOW :]
        if others:
            score = min(others)
            at = others.index(score)
            at += 0 if at <= best - WINDOW else best + WINDOW - max(0, best - WINDOW + 1)
            found.append((score, run[at : at + WINDOW]))
    found.sort()
    rare = [window for score, window in found[:WINDOWS] if score < _FAR_TOO_COMMON]
    return rare or [found[0][1]]


class _Parser:
    """Goes through a regular expression for the letters that its matches have in a row.

    A variant is a text of letters in which a gap stands for anything. Where a group has several
    branches, each makes a variant, up to `most` of them; beyond that the group is a gap.
    """

    def __init__(self, text: str, most: int) -> None:
        self.text, self.most, self.place = text, most, 0

    def variants(self) -> list[str]:
        branches = [self._sequence()]
        while self.place < len(self.text) and self.text[self.place] == "|":
            self.place += 1
            branches.append(self._sequence())
        return [variant for branch in branches for variant in branch]

    def _sequence(self) -> list[str]:
        found = [""]
        text, size = self.text, len(self.text)
        while self.place < size and text[self.place] not in "|)":
            plain = None if text[self.place] in _SPECIAL else _PLAIN.match(text, self.place)
            if plain is not None:
                self.place = plain.end()
                element = [_plain_letters(plain[0])]
            else:
                element = self._quantified(self._element())
            if len(element) == 1 and len(found) == 1:
                found = [found[0] + element[0]]
                continue
            if len(found) * len(element) > self.most:
                element = [_GAP]
            found = [before + it for before in found for it in element]
        return found

    def _quantified(self, element: list[str]) -> list[str]:
        if self.text[self.place : self.place + 1] not in _QUANTIFIES:
            return element
        match = _QUANTIFIER.match(self.text, self.place)
        if match is None:
            return element
        self.place = match.end()
        if element == [""]:
            return element
        is_optional = match[0][0] in "?*" or match[0].startswith(("{0", "{,"))
        if is_optional and self.most > 1 and match[0] == "?":
            return [*element, ""]
        return [_GAP] if is_optional else [it + _GAP for it in element]

    def _element(self) -> list[str]:
        one = self.text[self.place]
        if one == "(":
            return self._group()
        if one == "[":
            end = _CLASS.match(self.text, self.place)
            content = end[0] if end else self.text[self.place :]
            self.place += len(content)
            plain = content.replace("\\d", "")
            has_letters = content.startswith("[^") or not plain.isascii()
            return [_GAP if has_letters or any(it.isalpha() for it in plain) else ""]
        if one == "\\":
            following = self.text[self.place + 1 : self.place + 2]
            self.place += 2
            return ["" if following in "dsnt" or not following.isalpha() else _GAP]
        self.place += 1
        return [_GAP if one == "." else _plain_letters(one)]

    def _group(self) -> list[str]:
        opening = _OPENING.match(self.text, self.place)
        kind = opening[0] if opening else "("
        self.place += len(kind)
        inner = self.variants()
        self.place += 1
        if kind in ("(?=", "(?!", "(?<=", "(?<!"):
            return [""]
        return inner if len(set(inner)) == 1 or len(inner) <= self.most else [_GAP]


def _plain_letters(text: str) -> str:
    """The letters of plain text."""
    return _NOT_KEPT.sub("", text)


_NOT_KEPT = re.compile(r"[\x01-@\[-`{-\x7f]+")
_PLAIN = re.compile(r"[^\\()\[\]|?*+{}.^$]+(?![?*+{])")
_SPECIAL = frozenset("\\([.")
_QUANTIFIES = frozenset("*+?{")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{\d*,?\d*\})[?+]?")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_OPENING = re.compile(r"\((?:\?(?:P<\w+>|P=\w+|<[=!]|[:=!]|[aiLmsux-]+:))?")
