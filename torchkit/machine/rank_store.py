"""Answers of ranks through the store of torch.distributed, by a child of each rank.

A broken torch may crash, hang or print; the child has a limit, and ends with this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchkit.machine import ask_ranks
from torchkit.machine.launch import Launch
from torchkit.machine.rank_files import read_answer
from torchkit.system import Answer, System, Unknown

IMPORTING = "importing torch"
"""How the problem of a rank begins whose torch does not even load."""

SLOW = "takes longer than"
"""What the problem says of a rank whose torch may load yet."""

SLOW_S = 20.0
"""When torch is no longer relied on alone to meet the others; or a third of the limit."""

LAST_LENGTH = 200
"""How much of the last line of standard error is told, in characters."""

END_S = 0.5
"""How long the child may take to end once it is told to."""


class StoreChild:
    """A child with torch, which moves answers between the store and a folder of this process."""

    def __init__(
        self, system: System, launch: Launch, answer: Mapping[str, Any], python: str
    ) -> None:
        self.system = System(root=system.root, environ=system.environ)  # it tells nobody to wait
        self.launch = launch
        self.answer = answer
        self.python = python
        self.folder: Path | None = None
        self.thread: threading.Thread | None = None
        self.problem = ""
        self.is_done = False
        self.started = 0.0

    def __enter__(self) -> StoreChild:
        return self

    def __exit__(self, *_: object) -> None:
        """The child is told to end, ended if it does not, and its folder taken away."""
        if self.folder is None or self.thread is None:
            return
        with contextlib.suppress(OSError):
            (self.folder / "stop").touch()
        self.thread.join(END_S)
        if self.thread.is_alive():  # stuck while it loads torch
            with contextlib.suppress(OSError, ValueError):
                os.killpg(int((self.folder / "pid").read_text()), signal.SIGKILL)
            self.thread.join(END_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def ways(self) -> tuple[str, ...]:
        """How answers were asked for, in words."""
        if self.folder is None:
            return ()
        host, port = self.launch.address or ("", 0)
        return (f"torch.distributed at {host}:{port}{f': {self.trouble}' if self.trouble else ''}",)

    @property
    def trouble(self) -> str:
        """Why torch is of no use, or seems to be: it has not met the others for long; else ""."""
        if self.problem or self.folder is None or self.is_done:
            return self.problem
        slow_s = min(self.launch.limit_s / 3, SLOW_S)
        if time.monotonic() - self.started < slow_s or (self.folder / "met").exists():
            return ""
        if (self.folder / "imported").exists():
            return f"the store was not reached within {slow_s:.0f} s"
        return f"{IMPORTING} {SLOW} {slow_s:.0f} s"

    @property
    def failure(self) -> str:
        """The trouble, unless torch is but slow to load: the name, the port, or torch itself."""
        return "" if self.trouble.startswith(f"{IMPORTING} {SLOW}") else self.trouble

    def start_if(self, is_due: bool) -> None:
        """Start the child, once."""
        if not is_due or self.thread is not None or self.problem or self.launch.world_size == 1:
            return
        if self.launch.address is None:
            self.problem = "MASTER_ADDR and MASTER_PORT are not set"
            return
        if not hasattr(os, "killpg"):
            self.problem = "not on this operating system"
            return
        self.folder = Path(tempfile.mkdtemp(prefix="torchkit-ranks-"))
        (self.folder / "answer").write_text(json.dumps(self.answer), encoding="utf-8")
        self.thread = threading.Thread(target=self._run, args=(self.folder,), daemon=True)
        self.started = time.monotonic()
        self.thread.start()

    def _run(self, folder: Path) -> None:
        host, port = self.launch.address or ("", 0)
        limit_s = self.launch.limit_s * (1 if self.launch.rank == 0 else 2)
        asked = {
            "rank": self.launch.rank,
            "world_size": self.launch.world_size,
            "host": host,
            "port": port,
            "hosts_store": self.launch.hosts_store and self.launch.rank == 0,
            "prefix": f"torchkit/{self.launch.key}",
            "answer": str(folder / "answer"),
            "folder": str(folder),
            "limit_s": limit_s,
        }
        script = Path(ask_ranks.__file__).read_text(encoding="utf-8")
        told = self.system.run([self.python, "-c", script, json.dumps(asked)], limit_s=limit_s + 2)
        if (folder / "stop").exists():
            return
        self.problem, self.is_done = _outcome(told)

    def collect(self) -> dict[int, Mapping[str, Any]]:
        """What has come through the store."""
        if self.folder is None:
            return {}
        found = {}
        for path in self.folder.glob("rank-*.json"):
            told = read_answer(path)
            if told is not None:
                found[int(path.stem.partition("-")[2])] = told
        return found


def _outcome(told: Answer | Unknown) -> tuple[str, bool]:
    """What became of the child: why it could not, and whether it could."""
    if isinstance(told, Unknown):
        return told.reason, False
    lines = [line for line in told.stdout.splitlines() if line.startswith(ask_ranks.MARK)]
    words = [line.removeprefix(ask_ranks.MARK).strip() for line in lines]
    if "done" in words:
        return "", True
    for word in words:
        if word.startswith("failed "):
            return word.removeprefix("failed "), False
    last = "".join(told.stderr.strip().splitlines()[-1:])[:LAST_LENGTH]
    ending = f"the child died ({_ending(told.status)}){f': {last}' if last else ''}"
    if ask_ranks.READY not in words:  # it never came to torch
        return ending, False
    return ending if "imported" in words else f"{IMPORTING}: {ending}", False


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
