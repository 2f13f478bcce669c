"""Answers of ranks as files in a folder that all of them see.

Rank 0 writes a call with a number of its own, and each rank answers to that number, so what an
earlier run left counts for nothing. Rank 0 takes each file away once it has read it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchkit.machine.launch import Launch
from torchkit.system import System

CALL_AGAIN_S = 2.0
"""Between two calls; each changes the folder, so that a network file system shows it anew."""

ANSWER_LIMIT_BYTES = 32 * 1024**2
"""A rank's facts have some ten thousand bytes; what is larger than this is not read."""


class Meeting:
    """The folder where the ranks of this run leave their answers.

    `is_agreed`: all know it, so it is made at once; else one who has no other way makes it.
    """

    def __init__(self, system: System, launch: Launch) -> None:
        self.launch = launch
        named = system.environ.get("TORCHKIT_RANKS_DIR")
        self.is_private = not named and launch.is_one_host
        self.is_agreed = bool(named) or launch.is_one_host
        name = f"torchkit-ranks-{launch.key}"
        if named:
            self.folder = Path(named) / name
        elif self.is_private:
            user = os.getuid() if hasattr(os, "getuid") else ""
            self.folder = Path(tempfile.gettempdir()) / f"{name}-{user}"
        else:
            self.folder = (system.working_folder() or Path(tempfile.gettempdir())) / f".{name}"
        self.problem = ""
        self.is_others = False
        self.number = os.urandom(8).hex()
        self.written: Path | None = None
        self.called = -math.inf

    def __enter__(self) -> Meeting:
        if self.is_agreed:
            self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of ours stays: rank 0 takes all away, the others their own file."""
        ours = list(self._files("*")) if self.launch.rank == 0 else [self.written]
        for path in ours:
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink()
        if not self.is_others:
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # only when it is empty

    @property
    def ways(self) -> tuple[str, ...]:
        """Where answers were looked for, in words."""
        if self.problem:
            return (f"{self.folder}: {self.problem}",)
        return (f"files in {self.folder}",) if self.called > 0 else ()

    def open(self) -> None:
        """Make the folder. One that is there already must be this user's, and nobody else's."""
        if self.problem:
            return
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            self.problem = _why_not_ours(self.folder)
            self.is_others = bool(self.problem)
        except OSError as error:
            self.problem = (error.strerror or str(error)).lower()

    @property
    def is_of_no_use(self) -> bool:
        """Whether others need not be expected here."""
        return not self.is_agreed or bool(self.problem)

    @property
    def _is_usable(self) -> bool:
        return not self.problem and self.folder.is_dir()

    def _files(self, pattern: str) -> Iterator[Path]:
        if self._is_usable:
            with contextlib.suppress(OSError):
                yield from self.folder.glob(pattern)

    def collect(self) -> dict[int, Mapping[str, Any]]:
        """Rank 0: the answers to its call, each taken away when it is read."""
        if not self._is_usable:
            return {}
        now = time.monotonic()
        if now - self.called > CALL_AGAIN_S:
            self._write(self.folder / "call", self.number.encode())
            self.called = now
        found = {}
        for path in self._files(f"rank-*-{self.number}.json"):
            rank = path.name.split("-")[1]
            told = read_answer(path)
            if told is not None and rank.isdigit():
                found[int(rank)] = told
                with contextlib.suppress(OSError):
                    path.unlink()
        return found

    def answer(self, answer: Mapping[str, Any]) -> bool:
        """Another rank: answer to the call, if there is one; whether rank 0 took the answer."""
        if self.written is not None and not self.written.exists():
            return True  # and the folder may be gone, too
        if not self._is_usable:
            return False
        try:
            number = (self.folder / "call").read_text(encoding="ascii")
        except (OSError, ValueError):
            number = ""
        place = self.folder / f"rank-{self.launch.rank}-{number}.json"
        if number.isalnum() and place != self.written:
            self._write(place, json.dumps(answer).encode())
            self.written = place
        return False

    def _write(self, place: Path, data: bytes) -> None:
        """All of it at once, so that nobody reads half of it; through no link that lies there."""
        part = place.with_name(f".{place.name}.{os.urandom(4).hex()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        try:
            with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
                file.write(data)
            part.replace(place)
        except OSError as error:
            self.problem = (error.strerror or str(error)).lower()


def _why_not_ours(folder: Path) -> str:
    """Why a folder that is there already is not used; "" if it may be."""
    try:
        status = folder.lstat()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if not stat.S_ISDIR(status.st_mode):
        return "it is no folder"
    if not hasattr(os, "getuid"):
        return ""
    if status.st_uid != os.getuid():
        return "it belongs to somebody else"
    return "others may write there" if status.st_mode & 0o022 else ""


def why_of_no_use(folder: Path) -> str:
    """Why ranks cannot meet in this folder of a user's; "" if they can."""
    if not folder.is_dir():
        return "no folder" if folder.exists() else "not there"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "not to be written by this user"


def read_answer(path: Path) -> Mapping[str, Any] | None:
    """A rank's answer as it was written; None for what is no JSON object, or too large."""
    try:
        if path.stat().st_size > ANSWER_LIMIT_BYTES:
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
