"""What a program wrote, from what is in a log: without colours, boxes, prefixes of launchers.

Only what surely is decoration goes; two programs' lines are kept apart by their prefix.
"""

from __future__ import annotations

import bisect
import re
from typing import NamedTuple

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|[@-Z\\-_=>])")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff]")

_SIDES = "│┃║▌▐|"
"""What rich and others draw at both ends of a line."""

_DRAWN = "│┃║▌▐╭╰╮╯┏┗┓┛─━═"

_RULE = re.compile(r"^[\s╭╮╰╯─━═┏┓┗┛+=*_~-]{3,}$")

_PREFIXES = (
    # who writes: kept, since lines of two must not be read as one
    (
        r"\[(?P<{}>rank\s?\d{{1,6}}|default\d{{1,6}}|\d{{1,4}},\d{{1,6}}|\d{{1,6}})\]"
        r"(?:<std(?:err|out)>)?:\s?"
    ),
    r"(?P<{}>\d{{1,5}}):\s",
    r"\((?P<{}>[^()]{{0,60}}?(?:\(\))?\s?pid=\d{{1,9}}(?:,\s?ip=[\d.]{{1,15}})?)\)\s?",
    r"(?P<{}>\d{{1,3}})>",
    r"(?P<{}>[A-Za-z][\w.-]{{0,60}})\s{{1,20}}\|(?:\s|$)",
    r"(?P<{}>worker-?\d{{1,5}}):\s",
    # when, and how loud: of no meaning here
    (
        r"[\[(]?\d{{4}}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{{1,9}})?"
        r"(?:Z|\s?[+-]\d\d:?\d\d)?[\])]?\s?[:|-]?\s?"
    ),
    r"\[?\d\d:\d\d:\d\d(?:[.,]\d{{1,9}})?\]?\s",
    r"#\d{{1,4}}\s\d{{1,6}}\.\d{{1,3}}\s",
    r"##\[(?:error|warning|debug|group|endgroup)\]",
    r"::(?:error|warning|notice)[^:]{{0,200}}::",
    r"E\s{{3}}",
    r">\s(?=\s{{0,4}}\S)",
    r"std(?:err|out)(?:[:|]\s?|\s[FP]\s)",
    r"[|+](?:[-+]{{3,}}[\s\d-]*$|\s)",
)  # fmt: skip
"""Prefixes of torchrun, mpirun and srun, Ray, MSBuild, docker compose; of clocks, docker build,
GitHub and Azure, pytest, quoted mail, Kubernetes, groups of exceptions. Each is bounded, so that no
line makes it slow."""

_PREFIX = re.compile(
    r"\s{0,8}(?:" + "|".join(it.format(f"who{number}") for number, it in enumerate(_PREFIXES)) + ")"
)

_MAY_HAVE_PREFIX = re.compile(
    r"\s{0,8}(?:[\[(#>E\d:|+]|std(?:err|out)|worker|[A-Za-z][\w.-]{0,60}\s{1,20}\|)"
)

MOST_PREFIXES = 4


class Line(NamedTuple):
    """One line: its number in the log, who wrote it ("" where untold), and what it says."""

    number: int
    who: str
    text: str


def bare(text: str) -> tuple[str, str]:
    """Who wrote the line, and what it says."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if not text.isprintable():
        text = _CONTROL.sub("", text)
    text = _unboxed(text)
    who = ""
    for _ in range(MOST_PREFIXES):
        if _MAY_HAVE_PREFIX.match(text) is None:
            break
        match = _PREFIX.match(text)
        if match is None:
            break
        if match.lastgroup and not who:
            who = match[match.lastgroup]
        text = _unboxed(text[match.end() :])
    return who, text


def _unboxed(text: str) -> str:
    """Without the sides of a box, or empty where the line is a side of one."""
    if not text or text[0] not in "│┃║▌ \t|╭╰┏┗─━═":
        return text
    if text.isascii() and "|" not in text:
        return text
    stripped = text.strip()
    if len(stripped) > 1 and stripped[0] in _SIDES and stripped[-1] in _SIDES:
        return stripped[1:-1].rstrip()
    return "" if _RULE.match(stripped) and not stripped.isascii() else text


_FRAME = re.compile(r'\s{0,80}File "[^"]{1,400}", line \d{1,9}')
_CARETS = re.compile(r"\s*[~^]{2,}[~^\s]*\Z")
_NOTEBOOK_FRAME = re.compile(
    r"\s{0,40}(?:(?:Cell|Input) In ?\[\d{1,6}\]|File [^\s\"][^\n]{0,400}?:\d{1,7}, in |"
    r"<ipython-input-|(?:/|~/|[A-Z]:\\)\S{1,400}\.py[x]? in |"
    r"\S{0,60}Error\s{3,}Traceback \(most recent call last\))"
)
_NOTEBOOK_CODE = re.compile(r"\s{0,40}(?:-{1,8}> ?)?\d{1,7}(?:\s|\Z)")
_PYTEST_CODE = re.compile(r">\s{6}")


def without_source(lines: list[Line]) -> list[Line]:
    """The lines without the source code that Python's tracebacks quote below each frame.

    A message that stands in the code of a `raise` is not the message of an exception.
    """
    kept: list[Line] = []
    depth = -1  # of the frame that we are in
    notebook = False
    for line in lines:
        text = line.text
        if _FRAME.match(text):
            depth, notebook = len(text) - len(text.lstrip()), False
        elif depth >= 0 and text.strip():
            if len(text) - len(text.lstrip()) > depth:
                continue
            depth = -1
        elif _NOTEBOOK_FRAME.match(text):
            notebook = True
        elif notebook and text.strip():
            if _NOTEBOOK_CODE.match(text):
                continue
            notebook = False
        elif _PYTEST_CODE.match(text) or _CARETS.match(text):
            continue
        kept.append(line)
    return kept


class Squeezed(NamedTuple):
    """Text without any white space, so that wrapping, even in the middle of a word, is undone.

    `starts` is for each line the place of its first character.
    """

    text: str
    lines: tuple[Line, ...]
    starts: tuple[int, ...]

    def line_at(self, position: int) -> Line:
        """The line that a character stands in."""
        return self.lines[max(0, bisect.bisect_right(self.starts, position) - 1)]

    def original(self, start: int, end: int) -> str:
        """What stands between two places, with its spaces; line ends as one space."""
        first = max(0, bisect.bisect_right(self.starts, start) - 1)
        last = max(0, bisect.bisect_right(self.starts, max(start, end - 1)) - 1)
        parts = []
        for number in range(first, last + 1):
            text, base = self.lines[number].text, self.starts[number]
            left = _place(text, start - base) if start > base else 0
            right = _place(text, end - base)
            parts.append(text[left:right].strip())
        return " ".join(part for part in parts if part)


_SPACE = re.compile(r"[\s\u00a0│┃]+")


_NO_SPACE = re.compile(r"[^\s\u00a0│┃]+")


def _place(text: str, count: int) -> int:
    """Where in the text its character number `count` that is no space stands."""
    seen = 0
    for match in _NO_SPACE.finditer(text):
        size = match.end() - match.start()
        if seen + size > count:
            return match.start() + count - seen
        seen += size
    return len(text)


def _squeezed(text: str) -> str:
    if text.isascii():
        return "".join(text.split())
    return _SPACE.sub("", text)


def squeeze(lines: list[Line]) -> Squeezed:
    """The lines as one text without white space."""
    parts, starts, kept, position = [], [], [], 0
    for line in lines:
        text = _squeezed(line.text)
        if not text:
            continue
        parts.append(text)
        starts.append(position)
        kept.append(line)
        position += len(text)
    return Squeezed("".join(parts), tuple(kept), tuple(starts))
