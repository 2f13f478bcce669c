"""The lines that matter of what cmake, compilers, linkers and programs say when they fail.

They are theirs, word for word, so that a reader can search for them; nothing here explains them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

LINES = 12
NAMES = 5
"""How many missing names are told of many."""

LINE_LENGTH = 400

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NOISE = re.compile(
    r"(g?make(\.exe)?(\[\d+\])?: |\[ *\d+(%|/\d+)\]|Consolidate compiler|Scanning dep|FAILED: "
    r"|ninja: (build stopped|Entering)|CMake (Deprecation )?Warning|-- |collect2: error|See also )"
)
_CMAKE_ERROR = re.compile(r"CMake (Fatal )?Error")
_OF_A_TRY = "It fails with the following output:"
_NOT_FOUND = re.compile(r"(-- )?Could NOT find (\w+).*missing:")
_COMPILER_ERROR = re.compile(
    r"(?i)(\b(fatal )?error( [A-Z]+\d+)?\s?:|nvcc fatal\b|#error|\bkilled\b|out of memory"
    r"|memory exhausted|no space left on device)"
)
_LINKER_ERROR = re.compile(
    r"(?i)(cannot find|no rule to make target|missing and no known rule|file format|wrong format"
    r"|error adding symbols|incompatible|no such file|\b(fatal )?error( LNK\d+)?\s?:|\bkilled\b"
    r"|out of memory|no space left on device|not found)"
)
_MISSING_NAME = re.compile(
    r"undefined (?:reference to|symbol:)\s+[`'\"‘]?(?P<name>.+?)['\"’]?\s*$"  # noqa: RUF001 - gcc's quotes
)


def plain_output(stdout: str, stderr: str, folder: Path) -> str:
    """Both outputs as one text, errors first, without colours and the path of a temporary folder."""
    parts = (text.strip("\n") for text in (stderr, stdout))
    text = _COLOUR.sub("", "\n".join(part for part in parts if part)).replace("\r\n", "\n")
    return text.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")


def lines_that_matter(stage: str, output: str) -> str:
    """At most `LINES` lines: the first error with what belongs to it; "" where nothing is said.

    `stage` is the step that failed: `configure`, `compile`, `link` or `run`.
    """
    lines = output.splitlines()
    found = {"configure": _of_cmake, "compile": _of_compiler, "link": _of_linker}.get(stage)
    chosen = found(lines) if found is not None else ()
    return "\n".join(_short(line) for line in chosen or _last(lines))


def missing_names(output: str) -> tuple[str, ...]:
    """The names that a linker did not find, each once."""
    found = (_MISSING_NAME.search(line) for line in output.splitlines())
    return tuple(dict.fromkeys(match["name"] for match in found if match))


def _of_cmake(lines: Sequence[str]) -> Sequence[str]:
    """The first error without its call stack, and what was not found of what it is about."""
    start = next((n for n, line in enumerate(lines) if _CMAKE_ERROR.match(line)), None)
    if start is None:
        return _of_compiler(lines)
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if line.strip() and not line.startswith(" "):
            break
        block += [line] if line.strip() else []
    block = [*_without_preamble(block)]
    words = " ".join(block).lower()
    because = [
        line.removeprefix("-- ").rstrip()
        for line in lines
        if (match := _NOT_FOUND.match(line)) and match[2].lower() in words
    ]
    return [*block[: LINES - 2], *dict.fromkeys(because)][:LINES]


def _without_preamble(block: Sequence[str]) -> Iterator[str]:
    """Of what cmake tried to compile itself: its words, and then the errors alone."""
    start = next((n for n, line in enumerate(block, 1) if line.strip() == _OF_A_TRY), len(block))
    yield from block[:start]
    tried = [line for line in block[start:] if not _NOISE.match(line.strip())]
    errors = [it for it in tried if _COMPILER_ERROR.search(it) or _LINKER_ERROR.search(it)]
    yield from errors or tried


def _of_compiler(lines: Sequence[str]) -> Sequence[str]:
    """The first error with the source line below it, and how many there are.

    An #error of a header is the cause of those that come before it, from headers it includes.
    """
    places = [n for n, line in enumerate(lines) if _COMPILER_ERROR.search(line)]
    places = [n for n in places if not _NOISE.match(lines[n])]
    asked = [n for n in places if "error: #error" in lines[n]]
    places = [*asked[:1], *(n for n in places if not asked or n > asked[0])]
    if not places:
        return ()
    first, *others = places
    end = min(others[0] if others else len(lines), first + 6)
    shown = [line for line in lines[first:end] if line.strip() and not _NOISE.match(line)]
    more = len([n for n in others if n >= end])
    return [*shown, *_and_more(more, "error")]


def _of_linker(lines: Sequence[str]) -> Sequence[str]:
    names = missing_names("\n".join(lines))
    told = [line for line in lines if _is_linker_error(line)]
    shown = [*dict.fromkeys(told)][: LINES - NAMES - 1]
    shown += [f"undefined reference to `{name}'" for name in names[:NAMES]]
    return [*shown, *_and_more(len(names) - NAMES, "undefined reference")] or _of_compiler(lines)


def _is_linker_error(line: str) -> bool:
    """A make that cannot go on says so as make, and a missing rule is what matters then."""
    if _MISSING_NAME.search(line) or not _LINKER_ERROR.search(line):
        return False
    return "rule" in line or not _NOISE.match(line)


def _and_more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"and {count} more {what}{'s' * (count > 1)}"


def _last(lines: Sequence[str]) -> Sequence[str]:
    told = [line.rstrip() for line in lines if line.strip()]
    return ([line for line in told if not _NOISE.match(line)] or told)[-LINES:]


def _short(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]}…"
