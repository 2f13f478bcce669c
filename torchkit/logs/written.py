"""How the lines of a log are written: in which alphabet, and whether packed into JSON or a string."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

MOST_PARTS = 2_000
"""So many lines in one string are looked at."""


def decoded(lines: Sequence[bytes]) -> list[str]:
    """The lines as text: UTF-8 where it can be, else as Chinese or Western Windows writes."""
    try:
        return b"\n".join(lines).decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return [_decoded(line) for line in lines]


_CHINESE = re.compile(rb"(?:[\xb0-\xf7][\xa1-\xfe]|[\xa1-\xa9][\xa1-\xfe])+")


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if _is_mostly_utf8(line):
        return line.decode("utf-8", "replace")
    high = sum(it >= 0x80 for it in line)
    if high >= 4 and sum(map(len, _CHINESE.findall(line))) == high:
        return line.decode("gb18030", "replace")
    return line.decode("cp1252", "replace")


def _is_mostly_utf8(line: bytes) -> bool:
    """Whether it is UTF-8 that was torn, as where a long line was cut."""
    text = line.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(not it.isascii() for it in text) > 4 * broken


def unpacked(text: str) -> list[str]:
    """The lines that are written into one as JSON or as the text of a string; else the line."""
    if "\\" not in text and not text.startswith("{"):
        return [text]
    if text.lstrip()[:1] in ("{", "["):
        strings = _strings_of(text)
        if strings:
            return strings
    if _ESCAPED_LINE_END.search(text) is None:
        return [text]
    plain = text.replace('\\"', '"').replace("\\'", "'").replace("\\t", " ")
    return _ESCAPED_LINE_END.split(plain)[:MOST_PARTS]


_ESCAPED_LINE_END = re.compile(
    r"(?<![A-Za-z]:)(?:\\r)?\\n(?=[^a-z]|(?:terminate|mat1|return|make|collect2|ninja|error)\b|\Z)"
)
"""Not the backslash of a Windows path."""


def _strings_of(text: str) -> list[str]:
    """Every string of a JSON object, line by line; nothing where it is none."""
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    return [line for it in _texts(value, 0) for line in it.split("\n")][:MOST_PARTS]


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)) and depth < 5:
        for it in value.values() if isinstance(value, dict) else value:
            yield from _texts(it, depth + 1)
