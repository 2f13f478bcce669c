"""Runs the same script under `python` and under `torchkit snoop`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent

PYTHON = (sys.executable,)
SNOOP = (sys.executable, "-m", "torchkit", "snoop")


class Ran(NamedTuple):
    """How a process ended; of stdout and stderr every byte."""

    status: int
    stdout: bytes
    stderr: bytes


def environment(**more: str) -> dict[str, str]:
    """Ours, with this checkout to be imported, wherever the script is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def ran(
    start: Sequence[str], arguments: Sequence[str], folder: Path, stdin: bytes = b"", **more: str
) -> Ran:
    done = subprocess.run(
        [*start, *arguments], cwd=folder, input=stdin, capture_output=True, timeout=120,
        check=False, env=environment(**more),
    )  # fmt: skip
    return Ran(done.returncode, plain(done.stdout), plain(done.stderr))


def plain(text: bytes) -> bytes:
    """Without what differs from run to run, and without the frames of runpy, which nobody needs."""
    text = re.sub(rb" at 0x[0-9a-f]+", b"", text)
    text = re.sub(rb"line repeated \d+ more times", b"", text)
    text = re.sub(rb'  File "<frozen runpy>".*\n', b"", text)
    return re.sub(rb'  File "[^"]*/runpy.py".*\n(    .*\n)*', b"", text)


def both(arguments: Sequence[str], folder: Path, stdin: bytes = b"") -> tuple[Ran, Ran]:
    """The same under Python, and under torchkit snoop."""
    return ran(PYTHON, arguments, folder, stdin), ran(SNOOP, arguments, folder, stdin)
