"""Report -> str, in the format that was asked for. Knows nothing of torch or of the machine.

A renderer is imported when its format is asked for, and not before: start-up time matters. What
is the same for all of them happens here, once: private data goes, and what a terminal would
obey instead of show is made visible, so that a renderer is handed text it may simply place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import TextIO, cast

from torchkit.report import Report

__all__ = ["RENDERERS", "Format", "Options", "Style", "render"]

DEFAULT_COLUMNS = 80
"""Where a terminal does not tell its width."""

FEWEST_COLUMNS = 20
"""A terminal that says it is narrower is written to as if it had these."""

_ANY_UNICODE = "·…─→中\U0001f600"
"""What an encoding must carry so that no path of any user can break it."""


class Format(str, Enum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"


@dataclass(frozen=True)
class Style:
    """What the stream can show. `width` is in columns; None is a pipe: nothing is wrapped or cut."""

    width: int | None = None
    colour: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Style:
        """What this stream can show, after NO_COLOR, FORCE_COLOR, TERM and COLUMNS.

        https://no-color.org: NO_COLOR counts when it is not empty, and wins over FORCE_COLOR.
        """
        terminal = _is_terminal(stream)
        width = _columns(stream, environ) if terminal else None
        return cls(width, _wants_colour(environ, terminal=terminal), _carries_unicode(stream))


@dataclass(frozen=True)
class Options:
    """How a report is to be written: the stream's style, and what the user asked for."""

    style: Style
    strict: bool = False
    quiet: bool = False


Renderer = Callable[[Report, Options], str]

RENDERERS: Mapping[str, str] = {
    "text": "torchkit.render.text",
    "json": "torchkit.render.json",
    "markdown": "torchkit.render.markdown",
    "github": "torchkit.render.github",
}
"""Module of each format; its function `render` is the renderer."""


def render(
    report: Report,
    format: Format,
    *,
    style: Style,
    strict: bool = False,
    quiet: bool = False,
    redact: bool = True,
) -> str:
    """The report in this format, with a final newline; "" when there is nothing to say.

    `quiet` leaves only what is wrong; JSON is for programs and always whole. `redact` concerns
    Markdown alone, which is made to be published: home, user, host, GPU ids, tokens are replaced.
    """
    if format is Format.MARKDOWN and redact:
        from torchkit.render.redact import Private, redact_report

        report = redact_report(report, private=Private.of_this_machine())
    if format is not Format.JSON:
        from torchkit.render.legible import legible_report

        report = legible_report(report, unicode=style.unicode)
    renderer = cast("Renderer", import_module(RENDERERS[format.value]).render)
    return renderer(report, Options(style, strict, quiet))


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError, OSError):  # no such method, or closed
        return False


def _columns(stream: TextIO, environ: Mapping[str, str]) -> int:
    told = environ.get("COLUMNS", "")
    columns = int(told) if told.isascii() and told.isdigit() else 0
    if columns == 0:
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (AttributeError, ValueError, OSError):
            columns = 0
    return max(columns or DEFAULT_COLUMNS, FEWEST_COLUMNS)


def _wants_colour(environ: Mapping[str, str], *, terminal: bool) -> bool:
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    if sys.platform == "win32" and not any(
        name in environ for name in ("WT_SESSION", "ANSICON", "ConEmuANSI", "TERM")
    ):
        return False  # an old console window shows the codes themselves
    return terminal and environ.get("TERM") != "dumb"


def _carries_unicode(stream: TextIO) -> bool:
    try:
        _ANY_UNICODE.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    except (AttributeError, TypeError):  # a stream that keeps text, such as StringIO
        return True
    return True
