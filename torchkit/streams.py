"""Where a report goes: stdout, a file, a pipe whose reader has left. Standard library only.

Nothing of ours may end in a traceback because of an encoding, a closed stream or a full disk.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from torchkit.errors import BadInput


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody is looking at this stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def stdout() -> TextIO:
    """Standard output. Raises BadInput when the caller's shell closed it."""
    if sys.stdout is None or sys.stdout.closed:
        raise BadInput("stdout is closed", hint="write the report to a file: --output FILE")
    return sys.stdout


def write_report(text: str, output: Path | None) -> None:
    """All of the text to stdout or to a file. Raises BadInput when it cannot be written."""
    if output is None:
        write(text, stdout())
        return
    try:
        output.write_bytes(_encoded(text, "utf-8"))
    except OSError as error:
        raise BadInput(
            f"cannot write {output}: {(error.strerror or str(error)).lower()}",
            hint="name a file in a folder that can be written",
        ) from None


def write(text: str, stream: TextIO) -> None:
    """All of the text, whatever the stream's encoding; a reader that went away is no error.

    Raises BadInput when the stream cannot take it, as on a full disk.
    """
    try:
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(_encoded(text, stream.encoding or "utf-8"))
            stream.buffer.flush()
        else:
            stream.write(text)
            stream.flush()
    except BrokenPipeError:
        discard(stream)
    except OSError as error:
        discard(stream)
        raise BadInput(
            f"cannot write the report: {(error.strerror or str(error)).lower()}",
            hint="write it to a file: --output FILE",
        ) from None


def _encoded(text: str, encoding: str) -> bytes:
    """Names of files that are no text come out as the bytes they are; what is left becomes "?"."""
    try:
        return text.encode(encoding, "surrogateescape")
    except (UnicodeEncodeError, LookupError):
        return text.encode("ascii", "replace")


def discard(stream: TextIO) -> None:
    """Nothing more is written to it, not even by the interpreter's last flush."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        return
