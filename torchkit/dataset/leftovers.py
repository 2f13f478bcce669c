"""What a child and those below it leave in /dev/shm: found while they live, removed when they are gone.

Linux, no torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torchkit.dataset.family import descendants
from torchkit.machine.shm import SHM_FOLDER


class _Inode(NamedTuple):
    """One file, whatever its name: other mounts number theirs alike."""

    device: int
    number: int


class Leftovers:
    """Files of /dev/shm that were made by the child or below it: removed when all of them are gone.

    Known by a look at what the processes have open or mapped, and by torch's names, which carry
    the number of the process: torch leaves the file of a batch for which there was no space, and of
    a worker that was killed before it could delete it. What was there before, or is another's, is
    not touched. With `is_private` there is nothing to remove: the mount goes with the child.
    """

    def __init__(self, *, is_private: bool) -> None:
        self.is_private = is_private
        self.folder = os.path.realpath(SHM_FOLDER)
        self.pids: set[int] = set()
        self.made: dict[str, _Inode] = {}

    def __enter__(self) -> Leftovers:
        self.before = {} if self.is_private else self._listed()
        return self

    def look(self, pid: int) -> None:
        """Note the processes from this one down, and the files in /dev/shm that they have."""
        found = set(descendants(pid))
        self.note(found)
        if not self.is_private:
            for one in found:
                self.made.update(self._files_of(one))

    def note(self, pids: Iterable[int]) -> None:
        """These are of the child's family too."""
        self.pids.update(pids)

    def __exit__(self, *_: object) -> None:
        if self.is_private:
            return
        for path, inode in self._listed().items():
            if self.before.get(path) != inode and self._is_ours(path, inode):
                with contextlib.suppress(OSError):
                    Path(path).unlink()

    def _is_ours(self, path: str, inode: _Inode) -> bool:
        if self.made.get(path) == inode:
            return True
        owner = Path(path).name.split("_")
        is_torchs = len(owner) > 2 and owner[0] == "torch" and owner[1].isdigit()
        return is_torchs and int(owner[1]) in self.pids

    def _listed(self) -> dict[str, _Inode]:
        """Every file in it, by path."""
        found = {}
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - there may be many
                with contextlib.suppress(OSError):
                    found[path] = _inode(os.lstat(path))
        return found

    def _files_of(self, pid: int) -> dict[str, _Inode]:
        """Those that a process has open or in its memory, and that have a name still."""
        found = {}
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names are enough
                with contextlib.suppress(OSError):
                    link = f"/proc/{pid}/fd/{name}"
                    target = os.readlink(link)  # noqa: PTH115 - a hot path
                    if target.startswith(f"{self.folder}/") and not target.endswith(" (deleted)"):
                        found[target] = _inode(os.stat(link))  # noqa: PTH116 - a hot path
        with contextlib.suppress(OSError, ValueError):
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
                if f" {self.folder}/" in line and not line.endswith(" (deleted)"):
                    _, _, _, device, number, path = line.split(None, 5)
                    major, minor = (int(part, 16) for part in device.split(":"))
                    found[path] = _Inode(os.makedev(major, minor), int(number))
        return found


def _inode(status: os.stat_result) -> _Inode:
    return _Inode(status.st_dev, status.st_ino)
