"""Who holds what of /dev/shm: files that can be seen, and deleted ones that a process has open.

Under torch's usual strategy a file is deleted as soon as it is made, so `ls /dev/shm` shows
nothing while `df` shows the use: only /proc/PID/fd tells.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from torchkit.machine.facts import ShmHolder, Value
from torchkit.machine.shm import SHM_FOLDER
from torchkit.system import System

STALE_AFTER_S = 60.0
"""A file that nobody has open is left behind only when it is older: torch's manager needs some
seconds to remove what a killed process left."""

MOST_PROCESSES = 20_000
"""More than these are not looked into."""

MOST_FILES = 100_000
"""More files of /dev/shm than these are not counted."""

_KINDS = (
    ("torch", r"torch_\d+_"),
    ("NCCL", r"nccl-"),
    ("Python shared memory", r"psm_|wnsm_"),
    ("Ray", r"plasma|ray[-_.]"),
    ("semaphores", r"sem\."),
    ("OpenMP", r"__KMP_REGISTERED_LIB"),
    ("CUDA", r"cuda\.shm\."),
    ("PostgreSQL", r"PostgreSQL\."),
    ("PulseAudio", r"pulse-shm-"),
    ("Chromium", r"\.(?:org\.chromium|com\.google\.Chrome)\."),
)
"""What names in /dev/shm begin with, by who makes them."""

_LEFT_BY_A_DEAD = ("torch", "NCCL", "Python shared memory")
"""What stays behind when its owner is killed, and is of no use to anybody else."""

_DELETED = " (deleted)"


def kind_of(name: str) -> str:
    """Who makes files of this name: `torch`, `NCCL`, `semaphores` …, `other` for none we know.

    The multiprocessing module makes its semaphores under `mp-` and renames them to `sem.mp-`.
    """
    for kind, pattern in _KINDS:
        if re.match(pattern, name):
            return kind
    return "other"


def shm_user_facts(system: System) -> dict[str, Value]:
    """`shm_holders`, the largest first, and `shm_unseen_processes`; None where there is no /dev/shm."""
    if system.platform != "linux" or not system.is_folder(SHM_FOLDER):
        return {"shm_holders": None, "shm_unseen_processes": None}
    looked = _Look(system)
    return {"shm_holders": looked.holders(), "shm_unseen_processes": looked.unseen}


class _Look:
    """One look at the folder and at all processes."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.unseen = 0
        self.folder = str(system.resolve(SHM_FOLDER))
        self.device = self._device()
        self.visible = dict(self._visible())
        self.open: dict[int, tuple[str, int, list[int]]] = {}  # inode: name, bytes, pids
        for pid in self._pids():
            self._look_into(pid)

    def _device(self) -> int | None:
        """Which mount it is: containers have each their own, with the same names and inodes in it."""
        try:
            return self.system.path(self.folder).stat().st_dev
        except OSError:
            return None

    def _visible(self) -> Iterator[tuple[int, tuple[str, os.stat_result]]]:
        count = 0
        for folder, folders, names in os.walk(self.system.path(self.folder)):
            folders[:] = [name for name in folders if not Path(folder, name).is_symlink()]
            for name in names:
                count += 1
                if count > MOST_FILES:
                    return
                try:
                    status = Path(folder, name).lstat()
                except OSError:
                    continue
                if status.st_dev == self.device:
                    yield status.st_ino, (name, status)

    def _pids(self) -> Iterator[int]:
        names = self.system.names_in("/proc")
        pids = [int(name) for name in names if name.isascii() and name.isdigit()]
        return iter(sorted(pids)[:MOST_PROCESSES])

    def _look_into(self, pid: int) -> None:
        place = self.system.path(f"/proc/{pid}/fd")
        try:
            descriptors = os.listdir(place)  # noqa: PTH208 - names are enough
        except PermissionError:
            self.unseen += 1
            return
        except OSError:  # it has ended
            return
        for descriptor in descriptors:
            link = f"{place}/{descriptor}"
            try:
                target = os.readlink(link)  # noqa: PTH115 - a third of the time of Path.readlink
                if not target.startswith((f"{SHM_FOLDER}/", f"{self.folder}/")):
                    continue
                status = os.stat(link)  # noqa: PTH116 - as above
            except OSError:
                continue
            if status.st_dev != self.device:
                continue
            name = target.removesuffix(_DELETED).rpartition("/")[2]
            _, _, pids = self.open.setdefault(status.st_ino, (name, status.st_blocks * 512, []))
            if not pids or pids[-1] != pid:
                pids.append(pid)

    def holders(self) -> tuple[ShmHolder, ...]:
        """Bytes and files by process and kind; a file counts for the first process that has it."""
        grouped: dict[tuple[int | None, str, bool, bool], list[int]] = {}
        now = time.time()
        for inode, (name, size, pids) in self.open.items():
            key = (pids[0], kind_of(name), inode in self.visible, False)
            grouped.setdefault(key, []).append(size)
        for inode, (name, status) in self.visible.items():
            if inode in self.open:
                continue
            kind = kind_of(name)
            is_stale = (
                kind in _LEFT_BY_A_DEAD
                and status.st_uid == os.getuid()
                and now - status.st_mtime > STALE_AFTER_S
                and inode not in self._mapped
            )
            grouped.setdefault((None, kind, True, is_stale), []).append(status.st_blocks * 512)
        found = [
            ShmHolder(
                kind=kind,
                bytes=sum(sizes),
                files=len(sizes),
                pid=pid,
                process=self._name_of(pid),
                visible=visible,
                stale=stale,
            )
            for (pid, kind, visible, stale), sizes in grouped.items()
        ]
        return tuple(sorted(found, key=lambda it: (-it.bytes, it.kind, it.pid or 0)))

    @functools.cached_property
    def _mapped(self) -> frozenset[int]:
        """Inodes of the files that a process has in its memory, though it may not have them open."""
        pattern = re.compile(
            rf"(?m) ([0-9a-f]+):([0-9a-f]+) (\d+) +(?:{re.escape(self.folder)}|{SHM_FOLDER})/"
        )
        found: set[int] = set()
        for pid in self._pids():
            text = self.system.read_text(f"/proc/{pid}/maps")
            if isinstance(text, str) and SHM_FOLDER[4:] in text:
                found.update(
                    int(inode)
                    for major, minor, inode in pattern.findall(text)
                    if os.makedev(int(major, 16), int(minor, 16)) == self.device
                )
        return frozenset(found)

    def _name_of(self, pid: int | None) -> str | None:
        text = self.system.read_text(f"/proc/{pid}/comm") if pid is not None else None
        return text.strip() if isinstance(text, str) else None
