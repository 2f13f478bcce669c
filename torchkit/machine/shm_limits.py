"""What else limits shared memory: how /dev/shm is mounted, inodes, memory, open files.

tmpfs is charged to the cgroup of the process that writes it, and is only a promise of memory:
https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-ownership
"""

from __future__ import annotations

import os
import re

from torchkit.machine.cgroups import memory_headroom_bytes, mounts_of
from torchkit.machine.facts import Unknown, Value
from torchkit.machine.shm import SHM_FOLDER
from torchkit.system import System

_READ_ONLY = getattr(os, "ST_RDONLY", 1)


def shm_limit_facts(system: System) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `shm_limits`."""
    return {
        **_file_system(system),
        "memory_headroom_bytes": memory_headroom_bytes(system),
        "memory_available_bytes": _memory_available_bytes(system),
        "open_files_limit": _limit(system, "Max open files"),
        "file_size_limit_bytes": _limit(system, "Max file size"),
    }


def _file_system(system: System) -> dict[str, Value]:
    names = ("shm_state", "shm_kind", "shm_options", "shm_inodes_total", "shm_inodes_free")
    if system.platform != "linux":
        return dict.fromkeys(names)
    there = system.file_system(SHM_FOLDER)
    if there is None:
        return {**dict.fromkeys(names), "shm_state": "missing"}
    if isinstance(there, Unknown):
        return dict.fromkeys(names, there)
    point = str(system.resolve(SHM_FOLDER))
    mounts = [mount for mount in mounts_of(system) if mount.point == point]
    return {
        "shm_state": _state(system, there.f_flag),
        "shm_kind": mounts[-1].kind if mounts else None,  # mounts lie on one another
        "shm_options": mounts[-1].options if mounts else None,
        "shm_inodes_total": there.f_files or None,
        "shm_inodes_free": there.f_favail if there.f_files else None,
    }


def _state(system: System, flags: int) -> str:
    if not system.is_folder(SHM_FOLDER):
        return "missing"
    if flags & _READ_ONLY:
        return "read-only"
    return "writable" if system.is_writable(SHM_FOLDER) else "not writable"


def _memory_available_bytes(system: System) -> int | None | Unknown:
    """What may be taken without swapping, by the kernel's own estimate."""
    text = system.read_text("/proc/meminfo")
    match = (
        re.search(r"(?m)^MemAvailable:\s+(\d{1,18}) kB$", text) if isinstance(text, str) else None
    )
    if match is not None:
        return int(match[1]) * 1024
    return text if isinstance(text, Unknown) else None


def _limit(system: System, name: str) -> int | None | Unknown:
    """The soft limit of this process, which its children inherit; None when unlimited."""
    text = system.read_text("/proc/self/limits")
    match = re.search(rf"(?m)^{name}\s+(\d{{1,20}})\s", text) if isinstance(text, str) else None
    if match is not None:
        return int(match[1])
    return text if isinstance(text, Unknown) else None
