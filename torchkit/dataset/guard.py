"""Runs the child that runs the user's dataset, and watches it.

A dataset may hang, crash, fork, print, fill shared memory or kill its own process: each of these
is an answer here. The child has its own session and a time limit; what it started (`family.py`) and
what it left in /dev/shm (`leftovers.py`) goes with it. Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torchkit.dataset.family import Family
from torchkit.dataset.leftovers import Leftovers
from torchkit.errors import BadInput
from torchkit.machine.shm import SHM_FOLDER
from torchkit.model.user_code import is_library, shown

POLL_S = 0.001
"""How often the use of shared memory is read while the loader runs."""

TREE_EVERY_S = 0.05
"""How often the processes of the child are listed and their files looked at."""

STDERR_BYTES = 64 * 1024
"""So much of the end of what it writes is kept."""

SHOWN_BYTES = 256 * 1024
"""So much of what it writes is shown to the user; more is no help to anybody."""

DONE_S = 3.0
"""How long it may take to end after its last answer: a thread that is left may keep it for ever."""

LOST_S = 3.0
"""When nothing has come for so long after a batch was lost, nothing will."""

FEEDER_FAILED = (
    "unable to allocate shared memory",
    "unable to open shared memory object",
    "unable to resize file",
    "Too many open files",
    "No space left on device",
)
"""What a worker's feeder thread prints when a batch cannot be sent: the batch is lost, the loader
waits for it for ever."""

_TRACE_LINES = 400
"""faulthandler writes a hundred lines for each thread."""

_START = (
    "import sys; sys.path[:1] = filter(None, sys.path[:1]); sys.path.append(sys.argv.pop(1));"
    " from torchkit.dataset.trial import main; main()"
)
"""Neither the current folder nor ours comes before the standard library: `-m` and a script would
put them there."""


class Ended(NamedTuple):
    """What became of a child. `peak_bytes` is what it took of /dev/shm at most.

    `hangs` is what kept it from going on: "" when it ended by itself, else the stage it was in.
    `is_stopped` says that it was ended because it took more than it was allowed to. `place` is the line of the user's code where it hung or crashed, "" where that is not known.
    """

    answers: tuple[Mapping[str, Any], ...]
    status: int | None
    stderr: str
    hangs: str = ""
    lost_batch: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0
    place: str = ""
    is_stopped: bool = False

    def of(self, stage: str) -> list[Mapping[str, Any]]:
        """The answers of one stage."""
        return [answer for answer in self.answers if answer.get("stage") == stage]

    def one(self, stage: str) -> Mapping[str, Any] | None:
        """The last answer of a stage; None without one."""
        found = self.of(stage)
        return found[-1] if found else None


def run_child(
    order: Mapping[str, Any],
    *,
    limit_s: float,
    watch: bool = False,
    most_bytes: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Ended:
    """Run `torchkit.dataset.trial` with this order, for at most `limit_s` seconds.

    With `watch` the use of /dev/shm is followed; a child that takes more than `most_bytes` of it is
    ended. Raises BadInput where no child can be started; whatever happens, also on Ctrl-C, the
    child, what it started and what they left are gone.
    """
    is_private = bool(order.get("private_bytes"))
    with Leftovers(is_private=is_private) as leftovers:
        child = None
        family = Family()
        try:
            with family:
                child = _Child(order, leftovers, limit_s=limit_s, is_private=is_private)
                return child.follow(watch=watch, most_bytes=most_bytes, progress=progress)
        finally:
            leftovers.note(family.seen)
            if child is not None:
                child.close()


class _Child:
    def __init__(
        self, order: Mapping[str, Any], leftovers: Leftovers, *, limit_s: float, is_private: bool
    ) -> None:
        self.leftovers = leftovers
        self.limit_s = limit_s
        self.is_private = is_private
        self.answers: list[Mapping[str, Any]] = []
        self.stderr = bytearray()
        self.shown = 0
        self.rest = b""
        self.trace: list[str] = []
        self.heard = time.monotonic()
        self.base_bytes: int | None = None
        self.peak_bytes = 0
        self.lost_batch = ""
        self.process, self.reading = _start({**order, "limit_s": limit_s})

    @property
    def stage(self) -> str:
        """What it said last that it does."""
        return str(self.answers[-1].get("stage")) if self.answers else ""

    # --- while it runs

    def follow(
        self, *, watch: bool, most_bytes: int | None, progress: Callable[[str], None] | None
    ) -> Ended:
        begun = looked = time.monotonic()
        hangs, is_stopped = "", False
        with selectors.DefaultSelector() as selector:
            for descriptor in (self.reading, _error_pipe(self.process)):
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                is_running = self.base_bytes is not None
                self._read(selector, POLL_S if is_running else TREE_EVERY_S, progress)
                if watch:
                    self._watch()
                if most_bytes is not None and self.peak_bytes > most_bytes:
                    is_stopped = True
                    break
                now = time.monotonic()
                if now - looked > TREE_EVERY_S:
                    self.leftovers.look(self.process.pid)
                    looked = now
                if self.process.poll() is not None and not selector.select(0):
                    break
                if self.stage == "done" and now - self.heard > DONE_S:
                    break
                if now - begun > self.limit_s or (self.lost_batch and now - self.heard > LOST_S):
                    hangs = self.stage or "start"
                    break
        self.leftovers.look(self.process.pid)
        return Ended(
            tuple(self.answers),
            None if is_stopped else self._status(),
            self.stderr.decode("utf-8", "replace"),
            hangs,
            self.lost_batch,
            self.peak_bytes,
            time.monotonic() - begun,
            _place(self.trace) if hangs or self.stage != "done" else "",
            is_stopped,
        )

    def _status(self) -> int | None:
        """Its exit status; it may have closed its pipes a moment before it ends."""
        if self.answers and self.stage == "done":
            return self.process.poll()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(0.2)
        return None

    def _read(
        self,
        selector: selectors.BaseSelector,
        limit_s: float,
        progress: Callable[[str], None] | None,
    ) -> None:
        for key, _ in selector.select(limit_s):
            data = os.read(key.fd, 65536)
            if not data:
                selector.unregister(key.fd)
            elif key.fd == self.reading:
                self._take(data, progress)
            else:
                self._keep(data)

    def _take(self, data: bytes, progress: Callable[[str], None] | None) -> None:
        *lines, rest = (self.rest + data).split(b"\n")
        self.rest = rest[-1_000_000:]
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError:
                self.trace = [*self.trace[-_TRACE_LINES:], line.decode("utf-8", "replace")]
                continue
            if isinstance(answer, dict):
                self.answers.append(answer)
                self.heard = time.monotonic()
                if progress is not None:
                    progress(str(answer.get("stage", "")))

    def _keep(self, data: bytes) -> None:
        self.stderr += data
        del self.stderr[:-STDERR_BYTES]
        self.lost_batch = self.lost_batch or _lost_batch(self.stderr)
        if self.shown > SHOWN_BYTES:
            return
        self.shown += len(data)
        text = data.decode("utf-8", "replace")
        if self.shown > SHOWN_BYTES:
            text += "\n… it writes more, which is left out here\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()

    def _watch(self) -> None:
        """Follow the use of shared memory from the moment on that the loader begins."""
        if self.base_bytes is None and any(it.get("stage") == "run-begun" for it in self.answers):
            self.base_bytes = 0 if self.is_private else _used(self.place)
        if self.base_bytes is not None:
            self.peak_bytes = max(self.peak_bytes, _used(self.place) - self.base_bytes)

    @property
    def place(self) -> str:
        """Where the child's /dev/shm lies for us."""
        return f"/proc/{self.process.pid}/root{SHM_FOLDER}" if self.is_private else SHM_FOLDER

    def close(self) -> None:
        """Close our ends of its pipes, when it is gone."""
        self.process.poll()
        if self.process.stderr is not None:
            self.process.stderr.close()
        with contextlib.suppress(OSError):
            os.close(self.reading)


def _start(order: Mapping[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    """The child, and where its answers are read. Raises BadInput where none can be started."""
    reading, writing = os.pipe()
    home = str(Path(__file__).resolve().parents[2])
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, home, json.dumps({**order, "answers": writing})],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(writing,),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    except OSError as error:
        os.close(reading)
        raise BadInput(
            f"no child can be started: {(error.strerror or str(error)).lower()}",
            hint="the dataset is run in a child, for which there must be memory and a free process",
        ) from None
    finally:
        os.close(writing)
    return process, reading


def _error_pipe(process: subprocess.Popen[bytes]) -> int:
    if process.stderr is None:
        raise ValueError("the child was started with a pipe")
    return process.stderr.fileno()


def _lost_batch(stderr: bytearray) -> str:
    """The line with which a worker's feeder thread gave a batch up; "" while none did."""
    start = stderr.find(b"in _feed")
    if start < 0:
        return ""
    lines = stderr[start:].decode("utf-8", "replace").splitlines()
    return next(
        (line.strip() for line in lines if any(it in line for it in FEEDER_FAILED)),
        "",
    )


def _place(trace: list[str]) -> str:
    """The innermost line of the user's own code in what faulthandler wrote: `data.py:12`."""
    for line in trace:
        match = re.match(r'  File "(.+)", line (\d+) in ', line)
        if match is not None and not is_library(match[1]):
            return f"{shown(match[1])}:{match[2]}"
    return ""


def _used(place: str) -> int:
    try:
        there = os.statvfs(place)
    except OSError:  # the child has ended
        return 0
    return (there.f_blocks - there.f_bfree) * there.f_frsize
