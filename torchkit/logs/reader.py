"""Goes through a log of any length, in bounded memory, and finds the problems it speaks of.

Lines like many before, but for their numbers, are passed over; of the others only those near
letters of some pattern are read closely, with the lines around them.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from torchkit.logs.blocks import blocks
from torchkit.logs.lines import Line, bare
from torchkit.logs.matching import EchoHit, Hit, known_patterns, match_lines, may_match
from torchkit.logs.signs import letters
from torchkit.logs.written import decoded, unpacked

BEFORE, AFTER = 30, 14
"""Lines around a sign that belong to what it may be about: a traceback before, a wrapped text after."""

NEAR = 6
"""Lines around a sign in which all that a pattern needs must stand, however they are wrapped."""

LONGEST_PIECE = 4_096
"""A longer line is taken as several that are wrapped."""

LONGEST_SEGMENT = 400
"""So many lines at most are read as one."""

SHORT_LOG = 200
"""A log of so few lines is read closely as a whole."""

SAME_SHAPE = 12
"""Of lines that are alike but for their numbers so many are read closely."""

MOST_SHAPES = 50_000

MOST_SEEN = 200_000

MOST_HITS = 250
"""So many hits of one problem are kept; what follows is counted."""


class Reading(NamedTuple):
    """What was found in a log of so many lines, and the last line that speaks of an error.

    `more` says how often a problem was met beyond the hits that are there, by its id; echoes by
    their name, after "echo ".
    """

    hits: tuple[Hit, ...]
    echoes: tuple[EchoHit, ...]
    lines: int
    last_error: Line | None
    more: Mapping[str, int] = {}


def read_log(stream: BinaryIO) -> Reading:
    """Read all of a stream of bytes. Raises OSError where it cannot be read."""
    state = _State()
    for block in blocks(stream):
        state.take(block)
    state.finish()
    return Reading(
        tuple(state.hits), tuple(state.echoes), state.lines, state.last_error, state.more
    )


def read_text(text: str) -> Reading:
    """The same for a text."""
    import io

    return read_log(io.BytesIO(text.encode("utf-8", "surrogateescape")))


class _Raw(NamedTuple):
    """A line as it is in the log, or a piece of one: its number, its bytes, its shape."""

    number: int
    data: bytes
    shape: int


class _Window(NamedTuple):
    """The lines that are kept, and those of a block behind them."""

    kept: Sequence[_Raw]
    numbers: Sequence[int]
    data: Sequence[bytes]
    shapes: Sequence[int]

    @property
    def size(self) -> int:
        return len(self.kept) + len(self.data)

    def part(self, start: int, stop: int) -> list[_Raw]:
        """Some of the lines; most are never looked at one by one."""
        shift = len(self.kept)
        first, last = max(0, start - shift), max(0, stop - shift)
        block = map(_Raw, self.numbers[first:last], self.data[first:last], self.shapes[first:last])
        return [*self.kept[start:stop], *block]


_DIGITS = b"0123456789"


class _State:
    """Where we are in a log, and what was found."""

    def __init__(self) -> None:
        self.ended = 0  # lines whose end was seen
        self.lines = 0
        self.hits: list[Hit] = []
        self.echoes: list[EchoHit] = []
        self.more: dict[str, int] = {}
        self.last_error: Line | None = None
        self.kept: list[_Raw] = []  # the last lines, as context of what follows
        self.waiting = 0  # from this place of the kept lines on, candidates wait for what follows
        self.candidates: list[int] = []  # places in the kept lines
        self.known: set[int] = set()  # shapes that are passed over
        self.read: dict[int, int] = {}  # how often a shape was read closely
        self.says: dict[int, tuple[str, ...]] = {}  # what was found at lines of a shape
        self.seen: set[tuple[str, int]] = set()
        self.counts: dict[str, int] = {}

    # --- a block

    def take(self, block: bytes) -> None:
        """The next lines."""
        is_first = not self.lines
        data, numbers = self._split(block)
        is_short = is_first and len(data) <= SHORT_LOG
        shapes = self._shapes(block, data)
        if is_short:
            new = list(range(len(data)))
        else:
            known = self.known
            new = [at for at, shape in enumerate(shapes) if shape not in known]
        wanted = new if is_short else self._candidates(data, numbers, shapes, new)
        if is_short:
            self._note_last_error(data, numbers, b"\n".join(data).lower())
        if not wanted and not self.candidates:
            self._count_passed(numbers, shapes, set())
            first = max(0, len(data) - BEFORE - AFTER)
            self.kept += map(_Raw, numbers[first:], data[first:], shapes[first:])
            del self.kept[: -(BEFORE + AFTER)]
            return
        shift = len(self.kept)
        window = _Window(self.kept, numbers, data, shapes)
        places = [*self.candidates, *(shift + at for at in wanted)]
        end = window.size - AFTER
        self._read_closely(window, [it for it in places if it < end])
        self._count_passed(numbers, shapes, set(wanted))
        gone = max(0, window.size - BEFORE - AFTER)
        self.kept = window.part(gone, window.size)
        self.candidates = [it - gone for it in places if it >= end]

    def finish(self) -> None:
        """Nothing follows: what waited is read with what there is."""
        self._read_closely(_Window(self.kept, (), (), ()), self.candidates)

    def _split(self, block: bytes) -> tuple[list[bytes], Sequence[int]]:
        """The lines of a block, those written over one another apart and long ones in pieces."""
        data = block.split(b"\n")
        first = self.ended + 1
        self.ended += len(data) - 1
        self.lines = self.ended + bool(data[-1])
        if not data[-1]:
            data.pop()
        numbers: Sequence[int] = range(first, first + len(data))
        if b"\r" in block:
            times = [line.count(b"\r") + 1 for line in data]
            numbers = list(itertools.chain.from_iterable(map(itertools.repeat, numbers, times)))
            data = block.replace(b"\r", b"\n").split(b"\n")[: len(numbers)]
        if len(max(data, key=len, default=b"")) <= LONGEST_PIECE:
            return data, numbers
        pieces = [
            (number, line[at : at + LONGEST_PIECE])
            for number, line in zip(numbers, data, strict=True)
            for at in range(0, len(line) or 1, LONGEST_PIECE)
        ]
        return [piece for _, piece in pieces], [number for number, _ in pieces]

    def _shapes(self, block: bytes, data: list[bytes]) -> list[int]:
        """For each line what tells it from others, their numbers aside."""
        stripped = block.translate(None, _DIGITS).replace(b"\r", b"\n").split(b"\n")
        if not stripped[-1]:
            stripped.pop()
        if len(stripped) != len(data):
            stripped = [line.translate(None, _DIGITS) for line in data]
        return list(map(hash, stripped))

    def _candidates(
        self, data: list[bytes], numbers: Sequence[int], shapes: list[int], new: list[int]
    ) -> list[int]:
        """Which of the new lines are near a sign of some pattern; they are known from now on."""
        if not new:
            return []
        lines = [data[at] for at in new]
        text = b"\n".join(lines)
        lower = text.lower()
        found = sorted(_near_signs(lines, text, lower))
        self._note_last_error(lines, [numbers[at] for at in new], lower)
        candidates = []
        signed = set()
        for place in found:
            at = new[place]
            shape = shapes[at]
            signed.add(shape)
            times = self.read.get(shape, 0)
            if times < SAME_SHAPE:
                candidates.append(at)
                if len(self.read) < MOST_SHAPES:
                    self.read[shape] = times + 1
        if len(self.known) > MOST_SHAPES:
            self.known.clear()
        self.known.update(map(shapes.__getitem__, new))
        self.known -= {it for it in signed if self.read.get(it, 0) < SAME_SHAPE}
        return candidates

    def _count_passed(self, numbers: Sequence[int], shapes: list[int], wanted: set[int]) -> None:
        """Count what is known to be said by lines that were not read closely."""
        says = self.says
        if not says:
            return
        for at, shape in enumerate(shapes):
            if shape in says and at not in wanted:
                for name in says[shape]:
                    key = (name, numbers[at])
                    if key not in self.seen:
                        self._mark(key)
                        self.more[name] = self.more.get(name, 0) + 1

    def _mark(self, key: tuple[str, int]) -> None:
        if len(self.seen) < MOST_SEEN:
            self.seen.add(key)

    # --- closely

    def _read_closely(self, window: _Window, places: list[int]) -> None:
        if window.size > SHORT_LOG:
            places = _promising(window, places)
        for start, stop in _segments(places, window.size, BEFORE, AFTER):
            self._read_segment(window.part(start, stop))

    def _read_segment(self, raw: Sequence[_Raw]) -> None:
        hits, echoes = match_lines(_lines(raw))
        if not hits and not echoes:
            return
        shapes = {it.number: it.shape for it in reversed(raw)}
        for hit in hits:
            key = (hit.problem.id, hit.line.number)
            if key in self.seen:
                continue
            self._mark(key)
            self._say(shapes[hit.line.number], hit.problem.id)
            times = self.counts.get(hit.problem.id, 0)
            self.counts[hit.problem.id] = times + 1
            if times < MOST_HITS:
                self.hits.append(hit if times < 3 else hit._replace(around=""))
            else:
                self.more[hit.problem.id] = self.more.get(hit.problem.id, 0) + 1
        for echo in echoes:
            name = f"echo {echo.name}"
            if (name, echo.number) in self.seen:
                continue
            self._mark((name, echo.number))
            self._say(shapes[echo.number], name)
            times = self.counts.get(name, 0)
            self.counts[name] = times + 1
            if times < MOST_HITS:
                self.echoes.append(echo)
            else:
                self.more[name] = self.more.get(name, 0) + 1

    def _say(self, shape: int, name: str) -> None:
        known = self.says.get(shape, ())
        if name not in known and len(self.says) < MOST_SHAPES:
            self.says[shape] = (*known, name)

    def _note_last_error(self, data: Sequence[bytes], numbers: Sequence[int], text: bytes) -> None:
        """Keep the last of these lines that speaks of an error; `text` are they in small letters."""
        place = len(text)
        for _ in range(MOST_LOOKS):
            place = max(text.rfind(word, 0, place) for word in _ERROR_WORDS)
            if place < 0:
                return
            at = text.count(b"\n", 0, place)
            if _ERROR_LINE.search(data[at]) is not None:
                said = [bare(part)[1] for part in unpacked(decoded([data[at]])[0])]
                best = [it for it in said if _ERROR_LINE.search(it.encode("utf-8", "replace"))]
                self.last_error = Line(numbers[at], "", (best or said)[-1])
                return
            place = text.rfind(b"\n", 0, place) + 1


MOST_LOOKS = 20

_ERROR_WORDS = (b"error", b"exception", b"fatal")
_ERROR_LINE = re.compile(rb"(?i)(?:error|exception)\b\s{0,3}[:!]|\bfatal\b")


def _near_signs(lines: list[bytes], text: bytes, lower: bytes) -> set[int]:
    """Places of lines with a sign, which may begin on one and go on on the next."""
    _, signs = known_patterns()
    by_line = letters(text, with_line_ends=True)
    found: set[int] = set()
    positions = signs.positions(by_line.replace(b"\n", b""))
    if positions:
        ends = list(itertools.accumulate(map(len, by_line.split(b"\n"))))
        found.update(bisect.bisect_right(ends, at) for at in positions)
    starts: list[int] = []
    for piece in signs.pieces:
        wanted = piece.encode()
        at = lower.find(wanted)
        while at >= 0:
            if not starts:
                starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
            place = bisect.bisect_right(starts, at) - 1
            found.add(place)
            at = lower.find(wanted, starts[place + 1])
    return {it for it in found if it < len(lines)}


def _lines(raw: Sequence[_Raw]) -> list[Line]:
    """What is written in lines of a log."""
    texts = decoded([it.data for it in raw])
    return [
        Line(it.number, who, said)
        for it, text in zip(raw, texts, strict=True)
        for part in unpacked(text)
        for who, said in (bare(part),)
        if said and not said.isspace()
    ]


def _promising(window: _Window, places: list[int]) -> list[int]:
    """The places in whose next lines stands all the text that some pattern must have."""
    found: list[int] = []
    for start, stop in _segments(places, window.size, NEAR, NEAR):
        if may_match(_lines(window.part(start, stop))):
            found += [it for it in places if start <= it < stop]
    return found


def _segments(wanted: list[int], count: int, before: int, after: int) -> Iterator[tuple[int, int]]:
    """Stretches of lines around the wanted ones, those that touch made one up to some length."""
    start = stop = -1
    for index in sorted(set(wanted)):
        begin, end = max(0, index - before), min(count, index + after + 1)
        if stop >= begin and end - start <= LONGEST_SEGMENT:
            stop = end
            continue
        if stop > start:
            yield start, stop
        start, stop = begin, end
    if stop > start:
        yield start, stop
