"""What a stream can show, with real terminals and real encodings."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from torchkit.render import RENDERERS, Format, Style

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A terminal of 93 columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 93, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        yield stream
    os.close(ours)


def test_a_terminal_is_coloured_and_wraps_at_its_width(terminal: TextIO) -> None:
    style = Style.of(terminal, {"TERM": "xterm-256color"})

    assert style == Style(93, colour=True, unicode=True)


def test_columns_wins_over_what_the_terminal_says(terminal: TextIO) -> None:
    assert Style.of(terminal, {"TERM": "xterm", "COLUMNS": "120"}).width == 120
    assert Style.of(terminal, {"TERM": "xterm", "COLUMNS": "wide"}).width == 93


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colour_still_wraps(terminal: TextIO, environ: dict[str, str]) -> None:
    style = Style.of(terminal, {"TERM": "xterm", **environ})

    assert style == Style(93, colour=False, unicode=True)


def test_an_empty_no_color_does_not_count(terminal: TextIO) -> None:
    assert Style.of(terminal, {"TERM": "xterm", "NO_COLOR": ""}).colour


def test_a_pipe_is_neither_wrapped_nor_coloured() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")

    assert Style.of(stream, {"TERM": "xterm", "COLUMNS": "80"}) == Style(None, False, True)


def test_force_color_colours_a_pipe_and_no_color_wins_over_it() -> None:
    stream = io.StringIO()

    assert Style.of(stream, {"FORCE_COLOR": "1"}) == Style(None, colour=True, unicode=True)
    assert not Style.of(stream, {"FORCE_COLOR": "0"}).colour
    assert not Style.of(stream, {"FORCE_COLOR": "1", "NO_COLOR": "1"}).colour


@pytest.mark.parametrize(
    ("encoding", "carries"),
    [("utf-8", True), ("gb18030", True), ("ascii", False), ("latin-1", False), ("cp1252", False)],
)
def test_unicode_is_written_only_where_every_character_can_be(encoding: str, carries: bool) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    assert Style.of(stream, {}).unicode is carries


def test_a_closed_stream_is_a_pipe() -> None:
    stream = io.StringIO()
    stream.close()

    assert Style.of(stream, {}).width is None


def test_every_format_has_a_renderer() -> None:
    assert set(RENDERERS) == {member.value for member in Format}


@pytest.mark.parametrize("name", list(RENDERERS))
def test_a_renderer_is_imported_only_when_asked_for_and_none_needs_rich(name: str) -> None:
    program = (
        "import sys\n"
        "from torchkit.render import Format, Style, render\n"
        "from torchkit.report import Report\n"
        "early = [name for name in sys.modules if name.startswith('torchkit.render.')]\n"
        f"render(Report('env'), Format('{name}'), style=Style(80, colour=True))\n"
        "print(early, 'rich' in sys.modules, 'typer' in sys.modules, 'torch' in sys.modules)\n"
        "print(sorted(n for n in sys.modules if n in "
        f"{sorted(RENDERERS.values())}))\n"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout.splitlines() == [
        "[] False False False",
        str([RENDERERS[name]]),
    ]
