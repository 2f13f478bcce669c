"""Which problems of the catalogue a few lines speak of."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torchkit.knowledge.problems import Problem, echoes, problems
from torchkit.logs.lines import Line, Squeezed, squeeze, without_source
from torchkit.logs.patterns import compiled, literals, reach
from torchkit.logs.signs import Signs, signs_of

CONTEXT = 6_000
"""So many characters before and after a match are its surroundings, for `near` and `unless`."""

MOST_SHOWN = 400
"""So many characters of a matched message are kept."""

MOST_PLACES = 400
"""A pattern is tried at so many places of the lines that are read as one."""

CONTINUED = 8
"""So many lines without a name may go on with what a named writer's line began."""


class Hit(NamedTuple):
    """A problem that was met: where, in which words, with which values."""

    problem: Problem
    line: Line
    text: str
    values: Mapping[str, str]
    around: str
    weak: bool = False


class EchoHit(NamedTuple):
    """A line that only says that something else failed."""

    name: str
    number: int


class _Pattern(NamedTuple):
    """A pattern of a problem, or of the echo of this name."""

    source: str
    problem: Problem | None
    weak: bool = False
    echo: str = ""


@functools.cache
def known_patterns() -> tuple[tuple[_Pattern, ...], Signs]:
    """Every pattern of the catalogue, and by what to see which of them may match."""
    patterns = [
        _Pattern(source, problem, weak)
        for problem in problems().values()
        for weak, sources in ((False, problem.patterns), (True, problem.weak))
        for source in sources
    ]
    patterns += [
        _Pattern(source, None, echo=echo.name) for echo in echoes() for source in echo.patterns
    ]
    return tuple(patterns), signs_of([it.source for it in patterns])


def may_match(lines: Sequence[Line]) -> bool:
    """Whether the text that some pattern must have is in these lines."""
    patterns, signs = known_patterns()
    for stream in _streams(lines):
        lower = squeeze(stream).text.lower()
        for number in signs.patterns(lower):
            if next(iter(literals(patterns[number].source)), "") in lower:
                return True
    return False


class _Found(NamedTuple):
    """A hit and the place of its words in the text of its writer."""

    hit: Hit
    start: int
    end: int


def match_lines(lines: Sequence[Line]) -> tuple[list[Hit], list[EchoHit]]:
    """What these lines speak of, in their order. Lines of different writers are read apart."""
    hits: list[Hit] = []
    echo_hits: set[EchoHit] = set()
    for stream in _streams(lines):
        found, echoed = _in_stream(stream)
        hits += _undisputed(found)
        echo_hits |= set(echoed)
    return (
        sorted(_without_repeats(hits), key=lambda hit: hit.line.number),
        sorted(echo_hits, key=lambda hit: hit.number),
    )


def _in_stream(stream: list[Line]) -> tuple[list[_Found], list[EchoHit]]:
    text = squeeze(without_source(stream))
    lower = text.text.lower()
    patterns, signs = known_patterns()
    numbers = sorted(signs.patterns(lower))
    found: list[_Found] = []
    echoed: list[EchoHit] = []
    if not numbers:
        return found, echoed
    whole = squeeze(stream)  # with the code, which tells where it happened
    stands_in_text, stands_in_whole = _searcher(text.text), _searcher(whole.text)
    for number in numbers:
        pattern = patterns[number]
        for match in _matches(pattern.source, text.text, lower):
            if pattern.problem is None:
                echoed.append(EchoHit(pattern.echo, text.line_at(match.start()).number))
                continue
            around = text.text[max(0, match.start() - CONTEXT) : match.end() + CONTEXT]
            if _fits(pattern.problem, around, stands_in_text, stands_in_whole):
                hit = _hit(pattern.problem, text, match, around, is_weak=pattern.weak)
                found.append(_Found(hit, *match.span()))
    return found, echoed


def _matches(source: str, text: str, lower: str) -> Iterator[re.Match[str]]:
    """Matches of a pattern, sought near what it must hold."""
    pattern = compiled(source)
    pieces = literals(source)
    if not pieces or len(pieces[0]) < 3:
        yield from pattern.finditer(text)
        return
    far = reach(source)
    end = -1
    windows: list[tuple[int, int]] = []
    place = lower.find(pieces[0])
    for _ in range(MOST_PLACES):
        if place < 0:
            break
        if windows and place - far <= windows[-1][1]:
            windows[-1] = (windows[-1][0], place + far)
        else:
            windows.append((max(0, place - far), place + far))
        place = lower.find(pieces[0], place + len(pieces[0]))
    for start, stop in windows:
        for match in pattern.finditer(text, max(start, end), stop):
            end = match.end()
            yield match


def _searcher(text: str) -> Callable[[str], bool]:
    """Whether a pattern is in the text, each looked for once."""

    @functools.cache
    def stands(pattern: str) -> bool:
        return compiled(pattern).search(text) is not None

    return stands


def _fits(
    problem: Problem,
    around: str,
    stands_in_text: Callable[[str], bool],
    stands_in_whole: Callable[[str], bool],
) -> bool:
    if problem.near and not any(stands_in_whole(it) or stands_in_text(it) for it in problem.near):
        return False
    return not any(
        stands_in_text(it) and compiled(it).search(around) is not None for it in problem.unless
    )


def _hit(
    problem: Problem, text: Squeezed, match: re.Match[str], around: str, *, is_weak: bool
) -> Hit:
    values = {
        name: _value(text, match, name)
        for name, value in match.groupdict().items()
        if value is not None
    }
    line = text.line_at(match.start())
    words = text.original(*match.span())
    shown = line.text.strip() if words in line.text else words
    if len(shown) > MOST_SHOWN and words in shown:
        shown = shown[max(0, shown.index(words) - MOST_SHOWN // 4) :]
    return Hit(problem, line, shown[:MOST_SHOWN].strip(), values, around, is_weak)


def _value(text: Squeezed, match: re.Match[str], name: str) -> str:
    """A group as it is written. A number that ends the match ends with its line."""
    value = text.original(*match.span(name))
    first = value.split(" ")[0]
    return first if match.end(name) == match.end() and value.replace(" ", "").isdigit() else value


def _undisputed(found: list[_Found]) -> list[Hit]:
    """Without what another problem says more exactly of the same words."""
    places: dict[str, list[tuple[int, int]]] = {}
    for other in found:
        for problem_id in other.hit.problem.beats:
            places.setdefault(problem_id, []).append((other.start, other.end))
    return [
        one.hit
        for one in found
        if not any(
            start < one.end + CONTEXT and one.start < end + CONTEXT
            for start, end in places.get(one.hit.problem.id, ())
        )
    ]


def _without_repeats(hits: list[Hit]) -> list[Hit]:
    """Each problem once for a line, and none that is beaten on the same line in another stream."""
    first: dict[tuple[str, int], Hit] = {}
    for hit in hits:
        before = first.get((hit.problem.id, hit.line.number))
        if before is None or (before.weak and not hit.weak):
            first[hit.problem.id, hit.line.number] = hit
    beaten = {
        (other, number)
        for (_, number), hit in first.items()
        for other in hit.problem.beats
    }  # fmt: skip
    return [hit for key, hit in first.items() if key not in beaten]


def _streams(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines by who wrote them.

    A line without a name is of whoever has none, and may go on with what a named one began. A
    number that only one line begins with is nobody's name: it stands where a line was wrapped.
    """
    lines = list(lines)
    times = Counter(line.who for line in lines)
    streams: dict[str, list[Line]] = {}
    before, left = "", 0
    for line in lines:
        who = line.who
        if who.isdigit() and times[who] == 1:
            who, whole = "", line._replace(who="", text=f"{who}: {line.text}")
        else:
            whole = line
        streams.setdefault(who, []).append(whole)
        if who:
            before, left = who, CONTINUED
        elif left:
            streams[before].append(whole)
            left -= 1
    return list(streams.values())


def filled(template: str, values: Mapping[str, str]) -> str | None:
    """The template with its `{names}` put in; None where one of them was not found.

    `{name?}` must have been found too, and is not shown.
    """
    names = re.findall(r"\{([a-z_][a-z0-9_]*)\??\}", template)
    if any(name not in values for name in names):
        return None
    shown = re.sub(r"\{[a-z_][a-z0-9_]*\?\}", "", template)
    return re.sub(r"\{([a-z_][a-z0-9_]*)\}", lambda match: values[match[1]], shown)
