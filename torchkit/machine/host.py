"""Operating system, C library, container, and what a process may use of the machine."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from torchkit.machine.facts import Unknown, Value
from torchkit.system import System
from torchkit.versions import as_version

_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}

CGROUP_V1_UNLIMITED_BYTES = 2**62
"""cgroup v1 says "no limit" as the largest page-aligned 64-bit number; real limits lie below."""


def host_facts(system: System) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `host`."""
    runtime = container_runtime(system)
    return {
        "os_name": _os_name(system),
        "os_system": _SYSTEMS.get(system.platform, system.platform),
        "cpu_architecture": architecture(system),
        "cpu_count": system.cpu_count(),
        "cpu_limit": _cpu_limit(system),
        "memory_total_bytes": _memory_total_bytes(system),
        "memory_limit_bytes": memory_limit_bytes(system),
        "glibc_version": _glibc_version(system),
        "is_container": runtime is not None,
        "container_runtime": runtime,
        "is_wsl": is_wsl(system),
        "jetson_model": jetson_model(system),
    }


def architecture(system: System) -> str:
    """`x86_64` or `aarch64`, whatever the operating system calls it."""
    return _ARCHITECTURES.get(system.architecture.lower(), system.architecture)


def is_wsl(system: System) -> bool:
    """Whether this is the Windows Subsystem for Linux: its kernel carries Microsoft's name."""
    release = system.read_text("/proc/sys/kernel/osrelease")
    return isinstance(release, str) and "microsoft" in release.lower()


def jetson_model(system: System) -> str | None:
    """Which Jetson this is, by the device tree or by NVIDIA's release file."""
    model = system.read_text("/proc/device-tree/model")
    if isinstance(model, str) and "jetson" in model.lower():
        return model.strip("\0\n ")
    return "NVIDIA Jetson" if system.exists("/etc/nv_tegra_release") else None


def container_runtime(system: System) -> str | None:
    """`docker`, `podman`, `kubernetes` …, `container` for one we cannot name, None outside.

    Kubernetes is named first: its containers are run by another runtime, but what a user sets
    is the pod.
    """
    if system.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if system.exists("/run/.containerenv"):
        return "podman"
    if system.exists("/.dockerenv"):
        return "docker"
    if system.environ.get("SINGULARITY_CONTAINER") or system.environ.get("APPTAINER_CONTAINER"):
        return "singularity"
    named = system.environ.get("container", "")
    if named:
        return named
    return _runtime_by_cgroup(system)


def _runtime_by_cgroup(system: System) -> str | None:
    """The runtime that process 1's cgroup is named after, where nothing else told."""
    lines = system.read_text("/proc/1/cgroup")
    text = lines if isinstance(lines, str) else ""
    for mark, runtime in (
        ("kubepods", "kubernetes"),
        ("libpod", "podman"),
        ("docker", "docker"),
        ("lxc", "lxc"),
        ("containerd", "containerd"),
    ):
        if re.search(rf"(?m)^\d+:[^:]*:.*{mark}", text):
            return runtime
    return None


def _os_name(system: System) -> str | Unknown:
    if system.platform == "linux":
        release = system.read_text("/etc/os-release") or system.read_text("/usr/lib/os-release")
        if not isinstance(release, str):
            return release or "Linux"
        match = re.search(r'(?m)^PRETTY_NAME=["\']?(.*?)["\']?\s*$', release)
        return match[1] if match else "Linux"
    import platform

    if system.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return f"{platform.system()} {platform.release()}"


def _glibc_version(system: System) -> Value:
    name, _, version = (system.libc() or "").partition(" ")
    return as_version(version) if name == "glibc" else None


def _memory_total_bytes(system: System) -> int | Unknown:
    meminfo = system.read_text("/proc/meminfo")
    match = re.search(r"(?m)^MemTotal:\s+(\d+) kB", meminfo) if isinstance(meminfo, str) else None
    if match is None:
        return meminfo if isinstance(meminfo, Unknown) else Unknown("/proc/meminfo does not tell")
    return int(match[1]) * 1024


# --- cgroups: https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html


def memory_limit_bytes(system: System) -> int | None:
    """The lowest memory limit of this process's cgroup and its ancestors; None when unlimited."""
    limits = [
        int(text)
        for folder, version in _cgroup_folders(system, "memory")
        for text in _values(
            system, folder, ("memory.max",) if version == 2 else ("memory.limit_in_bytes",)
        )
        if text.isdigit() and int(text) < CGROUP_V1_UNLIMITED_BYTES
    ]
    return min(limits, default=None)


def _cpu_limit(system: System) -> float | None:
    """CPUs by quota over period, the lowest of this cgroup and its ancestors."""
    limits = []
    for folder, version in _cgroup_folders(system, "cpu"):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        parts = " ".join(_values(system, folder, names)).split()
        if len(parts) == 2 and all(part.isdigit() for part in parts) and int(parts[1]) > 0:
            limits.append(int(parts[0]) / int(parts[1]))
    return min(limits, default=None)


def _values(system: System, folder: PurePosixPath, names: tuple[str, ...]) -> list[str]:
    texts = [system.read_text(Path(folder / name)) for name in names]
    return [text.strip() for text in texts if isinstance(text, str)]


def _cgroup_folders(system: System, controller: str) -> list[tuple[PurePosixPath, int]]:
    """Folders that limit this process, itself first, each with its cgroup version.

    Inside a container the cgroup's own path is often not mounted; then the mount's root, which
    is the container's cgroup, is what is left of the chain.
    """
    lines = system.read_text("/proc/self/cgroup")
    mounts = system.read_text("/proc/self/mountinfo")
    found: list[tuple[PurePosixPath, int]] = []
    for line in (lines if isinstance(lines, str) else "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = 2 if number == "0" and not controllers else 1
        if version == 1 and controller not in controllers.split(","):
            continue
        for mount, root in _cgroup_mounts(
            mounts if isinstance(mounts, str) else "", controller, version
        ):
            found += [(folder, version) for folder in _chain(mount, root, PurePosixPath(path))]
    return found


def _cgroup_mounts(
    mountinfo: str, controller: str, version: int
) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Mount points of this controller, each with the cgroup that is its root."""
    mounts = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if not separator or len(fields) < 5 or len(kinds) < 3:
            continue
        if version == 2:
            matches = kinds[0] == "cgroup2"
        else:
            matches = kinds[0] == "cgroup" and controller in kinds[2].split(",")
        if matches:
            mounts.append((PurePosixPath(fields[4]), PurePosixPath(fields[3])))
    return mounts


def _chain(mount: PurePosixPath, root: PurePosixPath, path: PurePosixPath) -> list[PurePosixPath]:
    """The folders from the cgroup `path` up to the mount point."""
    inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    folder = mount / PurePosixPath(*(part for part in inside.parts if part not in ("/", "..")))
    chain = [folder, *folder.parents]
    return [entry for entry in chain if entry == mount or entry.is_relative_to(mount)]
