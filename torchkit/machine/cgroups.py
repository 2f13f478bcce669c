"""What a process may use of the machine by its cgroups, and the mounts they are found by.

https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from torchkit.system import System, Unknown

CGROUP_V1_UNLIMITED_BYTES = 2**62
"""cgroup v1 says "no limit" as the largest page-aligned 64-bit number; real limits lie below."""

_Number = TypeVar("_Number", int, float)


def memory_limit_bytes(system: System) -> int | None | Unknown:
    """The lowest memory limit of this process's cgroup and its ancestors; None when unlimited.

    Version 1 tells the lowest of all ancestors in one number, those above the mount among them.
    """
    readings: list[int | Unknown | None] = []
    for folder, version in _cgroup_folders(system, "memory"):
        if isinstance(folder, Unknown):
            readings.append(folder)
        elif version == 2:
            readings.append(_whole_number(system, folder / "memory.max", r"^(\d+)\s*$"))
        else:
            for name, pattern in (
                ("memory.limit_in_bytes", r"^(\d+)\s*$"),
                ("memory.stat", r"(?m)^hierarchical_memory_limit (\d+)$"),
            ):
                limit = _whole_number(system, folder / name, pattern)
                below = not isinstance(limit, int) or limit < CGROUP_V1_UNLIMITED_BYTES
                readings.append(limit if below else None)
    return _lowest(readings)


def memory_headroom_bytes(system: System) -> int | None | Unknown:
    """What memory limits leave: limit less use, the least of this cgroup and its ancestors, in bytes.

    The page cache of files counts as used and is given back when memory is short, so it is left
    out of the use; shared memory is not (memory.stat of both versions counts it as anonymous).
    None when nothing is limited.
    """
    readings: list[int | Unknown | None] = []
    for folder, version in _cgroup_folders(system, "memory"):
        if isinstance(folder, Unknown):
            readings.append(folder)
            continue
        limit_file, use_file, prefix = (
            ("memory.max", "memory.current", "")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        )
        limit = _whole_number(system, folder / limit_file, r"^(\d+)\s*$")
        use = _whole_number(system, folder / use_file, r"^(\d+)\s*$")
        if not isinstance(limit, int) or limit >= CGROUP_V1_UNLIMITED_BYTES:
            readings.append(limit if isinstance(limit, Unknown) else None)
        elif not isinstance(use, int):
            readings.append(use if isinstance(use, Unknown) else limit)
        else:
            cached = [
                _whole_number(system, folder / "memory.stat", rf"(?m)^{prefix}{name} (\d+)$")
                for name in ("inactive_file", "active_file")
            ]
            cache = sum(size for size in cached if isinstance(size, int))
            readings.append(max(0, limit - max(0, use - cache)))
    return _lowest(readings)


def cpu_limit(system: System) -> float | None | Unknown:
    """CPUs by quota over period, the lowest of this cgroup and its ancestors."""
    readings: list[float | Unknown | None] = []
    for folder, version in _cgroup_folders(system, "cpu"):
        if isinstance(folder, Unknown):
            readings.append(folder)
            continue
        if version == 2:
            quota = _whole_number(system, folder / "cpu.max", r"^(\d+) \d+\s*$")
            period = _whole_number(system, folder / "cpu.max", r"^\d+ (\d+)\s*$")
        else:
            quota = _whole_number(system, folder / "cpu.cfs_quota_us", r"^(\d+)\s*$")
            period = _whole_number(system, folder / "cpu.cfs_period_us", r"^(\d+)\s*$")
        if isinstance(quota, int) and isinstance(period, int):
            readings.append(quota / period if period > 0 else None)
        else:
            readings.append(quota)
    return _lowest(readings)


def _lowest(readings: Iterable[_Number | Unknown | None]) -> _Number | None | Unknown:
    """The lowest number; without one, why it could not be read, if that is so."""
    readings = list(readings)
    numbers = [reading for reading in readings if not isinstance(reading, (Unknown, type(None)))]
    unknown = next((reading for reading in readings if isinstance(reading, Unknown)), None)
    return min(numbers) if numbers else unknown


def _whole_number(system: System, file: PurePosixPath, pattern: str) -> int | None | Unknown:
    text = system.read_text(Path(file))
    match = re.search(pattern, text) if isinstance(text, str) else None
    if match is not None:
        return int(match[1][:20])  # more digits than 64 bits have are no limit
    return text if isinstance(text, Unknown) else None


def _cgroup_folders(
    system: System, controller: str
) -> Iterator[tuple[PurePosixPath | Unknown, int]]:
    """Folders that limit this process, itself first, each with its cgroup version.

    Inside a container the cgroup's own path is often not mounted; then the mount's root, which
    is the container's cgroup, is what is left of the chain.
    """
    lines = system.read_text("/proc/self/cgroup")
    mounts = mounts_of(system)
    for line in lines.splitlines() if isinstance(lines, str) else ():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = 2 if number == "0" and not controllers else 1
        if version == 1 and controller not in controllers.split(","):
            continue
        for mount in mounts:
            if mount.kind != ("cgroup2" if version == 2 else "cgroup"):
                continue
            if version == 1 and controller not in mount.options.split(","):
                continue
            point, root = PurePosixPath(mount.point), PurePosixPath(mount.root)
            for folder in _chain(point, root, PurePosixPath(path)):
                yield folder, version
            if ".." in root.parts:  # a mount of another namespace: ours lies somewhere below it
                yield Unknown("the cgroup of this process is not mounted"), version


def _chain(mount: PurePosixPath, root: PurePosixPath, path: PurePosixPath) -> list[PurePosixPath]:
    """The folders from the cgroup `path` up to the mount point."""
    inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    folder = mount / PurePosixPath(*(part for part in inside.parts if part not in ("/", "..")))
    chain = [folder, *folder.parents]
    return [entry for entry in chain if entry == mount or entry.is_relative_to(mount)]


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo: which folder of a file system lies where, proc(5)."""

    root: str
    point: str
    kind: str
    options: str


def mounts_of(system: System) -> tuple[Mount, ...]:
    """Every mount of this process's namespace, in the order they were made."""
    text = system.read_text("/proc/self/mountinfo")
    mounts = []
    for line in text.splitlines() if isinstance(text, str) else ():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if separator and len(fields) >= 5 and len(kinds) >= 2:
            root, point = (_unescaped(field) for field in fields[3:5])
            mounts.append(Mount(root, point, kinds[0], " ".join(kinds[2:])))
    return tuple(mounts)


def _unescaped(field: str) -> str:
    """Spaces, tabs, newlines and backslashes are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
