"""Operating system, C library, container, and what a process may use of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torchkit.machine.cgroups import Mount, cpu_limit, memory_limit_bytes, mounts_of
from torchkit.machine.facts import Unknown, Value
from torchkit.machine.job import job_service
from torchkit.system import System
from torchkit.versions import as_version

_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}

WINDOWS_11_FIRST_BUILD = 22000
"""Windows 11 goes on calling itself 10.0; its build tells
(https://learn.microsoft.com/windows/release-health/windows11-release-information)."""


def host_facts(system: System) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `host`."""
    runtime = container_runtime(system)
    return {
        "os_name": _os_name(system),
        "os_system": _SYSTEMS.get(system.platform, system.platform),
        "cpu_architecture": architecture(system),
        "cpu_count": system.cpu_count(),
        "cpu_limit": cpu_limit(system),
        "memory_total_bytes": _memory_total_bytes(system),
        "memory_limit_bytes": memory_limit_bytes(system),
        "glibc_version": _glibc_version(system),
        "is_container": runtime is not None,
        "container_runtime": runtime,
        "job_service": job_service(system),
        "is_wsl": is_wsl(system),
        "jetson_model": jetson_model(system),
    }


def architecture(system: System) -> str:
    """`x86_64` or `aarch64`, whatever the operating system calls it."""
    return _ARCHITECTURES.get(system.architecture.lower(), system.architecture)


def is_wsl(system: System) -> bool:
    """Whether this is the Windows Subsystem for Linux: its kernel carries Microsoft's name."""
    release = _kernel_release(system)
    return "microsoft" in release or "wsl" in release


def _kernel_release(system: System) -> str:
    release = system.read_text("/proc/sys/kernel/osrelease")
    return release.strip().lower() if isinstance(release, str) else ""


def jetson_model(system: System) -> str | None:
    """Which Jetson this is: by the device tree, which docker hides, by NVIDIA's release file, or
    by the name of its kernel. Some carry no "Jetson" in their model, but all a Tegra."""
    told = system.read_text("/proc/device-tree/model")
    model = told.strip("\0\n ") if isinstance(told, str) else ""
    chips = system.read_text("/proc/device-tree/compatible")
    tegra = isinstance(chips, str) and "nvidia,tegra" in chips
    if "jetson" in model.lower() or (model and tegra):
        return model
    if (
        tegra
        or system.exists("/etc/nv_tegra_release")
        or _kernel_release(system).endswith("-tegra")
    ):
        return "NVIDIA Jetson"
    return None


# --- containers: what gives them away, https://systemd.io/CONTAINER_INTERFACE/ among it

_NAMED_BY_INIT = {
    "docker": "docker",
    "podman": "podman",
    "lxc": "lxc",
    "lxc-libvirt": "lxc",
    "systemd-nspawn": "systemd-nspawn",
    "openvz": "openvz",
    "rkt": "rkt",
    "proot": "proot",
    "oci": "container",
}
"""Values of the variable `container`; others may be a script's own variable of that name."""

_CGROUPS_OF_CONTAINERS = (
    ("kubernetes", r"kubepods"),
    ("podman", r"/libpod-(?!conmon)|/libpod_parent/"),
    ("docker", r"/docker/|/docker-[0-9a-f]+\.scope|/ecs/|/actions_job/"),
    ("lxc", r"/lxc/|/lxc\.payload"),
    ("containerd", r"cri-containerd[-:]|:containerd:|/containerd/|/nerdctl-"),
)

_FILES_OF_CONTAINERS = (
    ("kubernetes", r"/kubelet/pods/"),
    ("podman", r"/containers/storage/|/overlay-containers/"),
    ("docker", r"/docker/|/buildkit/"),
    ("containerd", r"/containerd/|/io\.containerd\.|/nerdctl/"),
)
"""Folders of the host that a container's root and its /etc/hosts lie in."""

_MADE_FOR_CONTAINERS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def container_runtime(system: System) -> str | None:
    """`docker`, `podman`, `kubernetes` …, `container` for one we cannot name, None outside.

    Kubernetes is named first: its containers are run by another runtime, but what a user sets
    is the pod.
    """
    if is_wsl(system) and (system.environ.get("WSL_DISTRO_NAME") or system.exists("/run/WSL")):
        return None  # though the distribution was made from a container's image
    return (
        _runtime_by_marks(system)
        or _runtime_by_init(system)
        or _runtime_by_cgroup(system)
        or _runtime_by_mounts(mounts_of(system))
        or ("container" if system.environ.get("container") == "oci" else None)
    )


def _runtime_by_marks(system: System) -> str | None:
    """Variables and files that a runtime puts into its containers."""
    environ = system.environ
    if environ.get("KUBERNETES_SERVICE_HOST") or any(
        system.exists(f"{folder}/secrets/kubernetes.io") for folder in ("/run", "/var/run")
    ):
        return "kubernetes"
    if (
        environ.get("SINGULARITY_CONTAINER")
        or environ.get("APPTAINER_CONTAINER")
        or system.exists("/.singularity.d")
    ):
        return "singularity"
    if system.exists("/run/.containerenv"):
        return "podman"
    if system.exists("/.dockerenv") or environ.get("CODESPACES") == "true":
        return "docker"
    if system.exists("/proc/vz") and not system.exists("/proc/bc"):
        return "openvz"
    return None


def _runtime_by_init(system: System) -> str | None:
    """What the manager told the container's init, and systemd wrote down. It says `wsl`, too."""
    for place in ("/run/host/container-manager", "/run/systemd/container"):
        text = system.read_text(place)
        if isinstance(text, str) and text.strip() not in ("", "wsl", "oci"):
            return _NAMED_BY_INIT.get(text.strip(), text.strip())
    named = _NAMED_BY_INIT.get(system.environ.get("container", ""))
    return None if named == "container" else named


def _runtime_by_cgroup(system: System) -> str | None:
    """The runtime that a cgroup is named after: that of process 1, or ours where pids are shared."""
    for process in ("1", "self"):
        lines = system.read_text(f"/proc/{process}/cgroup")
        text = lines if isinstance(lines, str) else ""
        paths = [line.split(":", 2)[-1] for line in text.splitlines()]
        for runtime, pattern in _CGROUPS_OF_CONTAINERS:
            if any(re.search(pattern, path) for path in paths):
                return runtime
    return None


def _runtime_by_mounts(mounts: Iterable[Mount]) -> str | None:
    """The runtime whose folders the root and /etc/hosts come from, or lxcfs over /proc.

    A host that runs containers has those folders mounted too, but elsewhere.
    """
    texts, has_lxcfs = [], False
    for mount in mounts:
        if mount.point in _MADE_FOR_CONTAINERS:
            texts.append(mount.root)
        elif mount.point == "/":
            texts.append(mount.root)
            texts += [mount.options] if mount.kind == "overlay" else []
        elif mount.kind == "fuse.lxcfs" and mount.point.startswith("/proc/"):
            has_lxcfs = True
    for runtime, pattern in _FILES_OF_CONTAINERS:
        if any(re.search(pattern, text) for text in texts):
            return runtime
    return "lxc" if has_lxcfs else None


# --- the operating system


def _os_name(system: System) -> str | Unknown:
    if system.platform == "linux":
        return _distribution_name(system)
    if system.platform == "darwin":
        plist = system.read_text("/System/Library/CoreServices/SystemVersion.plist")
        pattern = r"<key>ProductVersion</key>\s*<string>([^<]+)</string>"
        match = re.search(pattern, plist) if isinstance(plist, str) else None
        return f"macOS {match[1]}" if match else "macOS"
    release = system.release
    if system.platform == "win32":
        numbers = re.findall(r"\d+", release)
        build = int(numbers[2]) if len(numbers) > 2 else 0
        name = "11" if build >= WINDOWS_11_FIRST_BUILD else ".".join(numbers[:2]).removesuffix(".0")
        return f"Windows {name}" + (f" ({release})" if release else "")
    return f"{system.platform} {release}".strip()


def _distribution_name(system: System) -> str | Unknown:
    """PRETTY_NAME of os-release(5), or what else it says."""
    text = system.read_text("/etc/os-release")
    if text is None:
        text = system.read_text("/usr/lib/os-release")
    if not isinstance(text, str):
        return text or "Linux"
    found = dict(re.findall(r"(?m)^(PRETTY_NAME|NAME|VERSION)=[\"']?(.*?)[\"']?[ \t\r]*$", text))
    pretty = found.get("PRETTY_NAME") or f"{found.get('NAME', '')} {found.get('VERSION', '')}"
    return re.sub(r"\\([\"'$`\\])", r"\1", pretty).strip() or "Linux"


def _glibc_version(system: System) -> Value:
    name, _, version = (system.libc() or "").partition(" ")
    if name != "glibc":
        return None
    return as_version(version) or Unknown(f"glibc calls itself {version!r}")


def _memory_total_bytes(system: System) -> int | Unknown:
    if system.platform != "linux":
        return system.memory_bytes()
    meminfo = system.read_text("/proc/meminfo")
    match = re.search(r"(?m)^MemTotal:\s+(\d+) kB", meminfo) if isinstance(meminfo, str) else None
    if match is None:
        return meminfo if isinstance(meminfo, Unknown) else Unknown("/proc/meminfo does not tell")
    return int(match[1]) * 1024
