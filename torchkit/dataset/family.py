"""The processes below this one that a user's dataset started: seen, ended and reaped. Linux, no torch.

A worker may leave its group and its session, and outlive its parent. While a `Family` is entered,
whoever loses its parent becomes a child of this process, so that none of them is missed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

END_S = 5.0
"""How long killed processes may take to go; one that is stuck in the kernel is left."""

JANITORS_S = 4.0
"""How long those that clean up after others may take: torch's manager waits two seconds for more
clients before it removes its folder (torch/lib/libshm/manager.cpp)."""

_JANITORS = ("multiprocessing.resource_tracker", "torch_shm_manager")
"""Programs that remove the shared memory of processes that were killed."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Family:
    """What is started below this process while it is entered, and is gone when it is left.

    `seen` are the processes that were there when it was left, by number.
    """

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __enter__(self) -> Family:
        self.before = set(children_of(os.getpid()))
        self.is_reaper = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        return self

    def __exit__(self, *_: object) -> None:
        """End all of them. Ctrl-C waits until that is done."""
        with _undisturbed():
            self._end()
            if self.is_reaper:
                _prctl(_PR_SET_CHILD_SUBREAPER, 0)

    def _end(self) -> None:
        self._kill(END_S, spared=_JANITORS)
        deadline = time.monotonic() + JANITORS_S
        while time.monotonic() < deadline and self._members():
            self._reap()
            time.sleep(0.01)
        self._kill(END_S)

    def _kill(self, limit_s: float, spared: tuple[str, ...] = ()) -> None:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self._reap()
            members = [pid for pid in self._members() if not _runs(pid, spared)]
            if not members:
                return
            for pid in members:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def _members(self) -> set[int]:
        """All below this process, but not what was there before."""
        children = _children_by_parent()
        waiting = [pid for pid in children.get(os.getpid(), ()) if pid not in self.before]
        found = set(waiting)
        while waiting:
            more = [pid for pid in children.get(waiting.pop(), ()) if pid not in found]
            found.update(more)
            waiting += more
        self.seen |= found
        return found

    def _reap(self) -> None:
        for pid in set(children_of(os.getpid())) - self.before:
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that end us come when the block is done."""
    held = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def go_with_parent() -> None:
    """For a child: die when the parent does, and be the first whom a memory limit kills."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _prctl(option: int, value: int) -> bool:
    """prctl(2); False where it is not to be had."""
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def descendants(pid: int) -> Iterator[int]:
    """The process and all below it."""
    waiting, seen = [pid], {pid}
    while waiting:
        one = waiting.pop()
        yield one
        more = [child for child in children_of(one) if child not in seen]
        seen.update(more)
        waiting += more


def children_of(pid: int) -> list[int]:
    """Its children, by the kernel's list of them, or by the parent of every process."""
    if not os.path.exists("/proc/thread-self/children"):  # noqa: PTH110 - a hot path
        return _children_by_parent().get(pid, [])
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are enough
            with contextlib.suppress(OSError, ValueError):
                text = Path(f"/proc/{pid}/task/{task}/children").read_text()
                found += [int(word) for word in text.split()]
    return found


def _children_by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough
        if name.isascii() and name.isdigit():
            parent = _parent_of(int(name))
            if parent is not None:
                found.setdefault(parent, []).append(int(name))
    return found


def _parent_of(pid: int) -> int | None:
    """By /proc/PID/stat, whose second field is a name that may hold anything, in parentheses."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def _runs(pid: int, programs: tuple[str, ...]) -> bool:
    if not programs:
        return False
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return False
    return any(name in line for name in programs)
