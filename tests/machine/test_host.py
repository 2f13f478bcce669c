"""The host's facts: invented machines from what real ones say, and the kernel of this one."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from torchkit.machine.cgroups import cpu_limit, memory_limit_bytes
from torchkit.machine.host import container_runtime, host_facts
from torchkit.system import System, Unknown

REPOSITORY = Path(__file__).parents[2]
ID = "9dc9271dc21015e3a3edc26c9a6985459a39050713269167dda49301cfdec565"
POD = "pod5f399c1a-f8c0-4b7e-8a8e-1f4a1e2d3c4b"
GIB = 1024**3


class Invented(System):
    """A machine of files, with what the operating system would tell."""

    def __init__(
        self,
        root: Path,
        files: Mapping[str, str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        platform: str = "linux",
        architecture: str = "x86_64",
        release: str = "6.1.0-18-amd64",
        libc: str | None = "glibc 2.36",
    ) -> None:
        super().__init__(root=root, environ=environ or {})
        self.told = (platform, architecture, release, libc)
        for path, text in (files or {}).items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    @property
    def platform(self) -> str:
        return self.told[0]

    @property
    def architecture(self) -> str:
        return self.told[1]

    @property
    def release(self) -> str:
        return self.told[2]

    def libc(self) -> str | None:
        return self.told[3]


# --- what real machines have in /proc: found in public bug reports, ids and ranges shortened

BARE_METAL = {
    "/proc/1/cgroup": "0::/init.scope\n",
    "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
    "/proc/self/mountinfo": (
        "28 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro\n"
        "35 24 0:29 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
    ),
}
DOCKER_HOST = {
    **BARE_METAL,
    "/proc/self/mountinfo": BARE_METAL["/proc/self/mountinfo"]
    + f"412 33 0:62 / /var/lib/docker/overlay2/{ID}/merged rw,relatime shared:213 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/AB:/var/lib/docker/overlay2/l/CD\n"
    "391 28 0:49 / /var/lib/lxcfs rw,nosuid,nodev,relatime shared:208 - fuse.lxcfs lxcfs rw,user_id=0,group_id=0,allow_other\n"
    "510 28 0:3 net:[4026531993] /run/docker/netns/default rw shared:255 - nsfs nsfs rw\n"
    "700 28 0:80 / /var/lib/kubelet/pods/5f39/volumes/kubernetes.io~projected/token rw,relatime - tmpfs tmpfs rw\n",
    "/run/docker.sock": "",
}
DOCKER_V2 = {  # --cgroupns private, the default since cgroup version 2
    "/.dockerenv": "",
    "/proc/1/cgroup": "0::/\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/mountinfo": (
        "793 612 0:195 / / rw,relatime master:319 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/AB:/var/lib/docker/overlay2/l/CD,upperdir=/var/lib/docker/overlay2/x/diff\n"
        "798 797 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot\n"
        "800 795 0:202 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k\n"
        f"804 793 259:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/root rw,discard\n"
        f"806 793 259:1 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw,relatime - ext4 /dev/root rw,discard\n"
    ),
}
DOCKER_V2_HOST_NAMESPACE = {
    **DOCKER_V2,
    "/proc/1/cgroup": f"0::/system.slice/docker-{ID}.scope\n",
    "/proc/self/cgroup": f"0::/system.slice/docker-{ID}.scope\n",
}
DOCKER_V1 = {
    "/.dockerenv": "",
    "/proc/1/cgroup": f"11:memory:/docker/{ID}\n4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n",
    "/proc/self/cgroup": f"11:memory:/docker/{ID}\n4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n",
    "/proc/self/mountinfo": (
        "1425 900 0:160 / / rw,relatime master:80 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/AB\n"
        f"1460 1453 0:33 /docker/{ID} /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:15 - cgroup cgroup rw,cpu,cpuacct\n"
        f"1467 1453 0:37 /docker/{ID} /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:18 - cgroup cgroup rw,memory\n"
    ),
}
KUBERNETES_CONTAINERD = {  # neither /.dockerenv nor, in a login shell, any variable
    "/proc/1/cgroup": "0::/\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/mountinfo": (
        "2354 1387 0:165 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/35/fs\n"
        "2391 2354 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n"
        "2396 2354 8:1 /var/lib/kubelet/pods/5f399c1a/etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n"
    ),
}
KUBERNETES_V1 = {
    "/proc/1/cgroup": f"9:memory:/kubepods/burstable/{POD}/{ID}\n",
    "/proc/self/cgroup": f"9:memory:/kubepods/burstable/{POD}/{ID}\n5:cpu,cpuacct:/kubepods/burstable/{POD}/{ID}\n",
    "/proc/self/mountinfo": (
        f"1467 1453 0:37 /kubepods/burstable/{POD}/{ID} /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n"
        f"1468 1453 0:38 /kubepods/burstable/{POD}/{ID} /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    ),
}
PODMAN_ROOTLESS = {
    "/run/.containerenv": 'engine="podman-4.3.1"\n',
    "/proc/1/cgroup": "0::/\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/mountinfo": (
        "845 744 0:56 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containers/storage/overlay/l/AB,userxattr\n"
        "880 845 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw\n"
    ),
}
LXC = {
    "/proc/1/cgroup": "0::/init.scope\n",
    "/proc/self/cgroup": "0::/user.slice/user-0.slice/session-1.scope\n",
    "/proc/self/mountinfo": (
        "6210 5000 0:90 /rpool/data/subvol-100-disk-0 / rw,noatime - zfs rpool/data/subvol-100-disk-0 rw,xattr\n"
        "6226 6212 0:99 /proc/cpuinfo /proc/cpuinfo rw,nosuid,nodev,relatime - fuse.lxcfs lxcfs rw,user_id=0,group_id=0,allow_other\n"
        "6230 6215 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 none rw\n"
    ),
}
WSL = {
    "/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
    "/proc/1/cgroup": "0::/init.scope\n",
    "/run/systemd/container": "wsl\n",
    "/run/WSL/1_interop": "",
    "/proc/self/mountinfo": (
        "83 76 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro\n"
        "103 83 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
        "109 83 0:65 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\\n"
    ),
}
OSTREE = {  # Silverblue: an overlay for a root, and no container
    **BARE_METAL,
    "/proc/self/mountinfo": "70 1 0:38 / / ro,relatime - overlay composefs ro,lowerdir+=/run/ostree/.private/cfsroot-lower,datadir+=/sysroot/ostree/repo/objects\n",
}


@pytest.mark.parametrize(
    ("files", "environ", "runtime"),
    [
        pytest.param(BARE_METAL, {}, None, id="bare-metal"),
        pytest.param(DOCKER_HOST, {}, None, id="host-that-runs-docker-and-kubelet"),
        pytest.param(OSTREE, {}, None, id="ostree"),
        pytest.param(
            BARE_METAL, {"container": "data-01"}, None, id="a-script's-variable-named-container"
        ),
        pytest.param(WSL, {"WSL_DISTRO_NAME": "Ubuntu"}, None, id="wsl2"),
        pytest.param(WSL, {}, None, id="wsl2-under-sudo"),
        pytest.param({**WSL, "/.dockerenv": ""}, {}, None, id="wsl2-imported-from-an-image"),
        pytest.param(DOCKER_V2, {}, "docker", id="docker"),
        pytest.param(DOCKER_V1, {}, "docker", id="docker-v1"),
        pytest.param(
            {**DOCKER_V2, "/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n"},
            {},
            "docker",
            id="docker-desktop-on-wsl2",
        ),
        pytest.param(
            {k: v for k, v in DOCKER_V2.items() if k != "/.dockerenv"}, {}, "docker", id="buildkit"
        ),
        pytest.param(
            {k: v for k, v in DOCKER_V2_HOST_NAMESPACE.items() if k.endswith("cgroup")},
            {},
            "docker",
            id="docker-by-cgroup-alone",
        ),
        pytest.param(
            {"/proc/1/cgroup": "0::/init.scope\n", "/proc/self/cgroup": f"0::/docker/{ID}\n"},
            {},
            "docker",
            id="docker-with-the-host's-pids",
        ),
        pytest.param(BARE_METAL, {"CODESPACES": "true"}, "docker", id="codespaces"),
        pytest.param(KUBERNETES_CONTAINERD, {}, "kubernetes", id="kubernetes"),
        pytest.param(KUBERNETES_V1, {}, "kubernetes", id="kubernetes-v1"),
        pytest.param(
            DOCKER_V2, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes", id="pod-by-docker"
        ),
        pytest.param(
            {"/run/secrets/kubernetes.io/serviceaccount/token": ""}, {}, "kubernetes", id="account"
        ),
        pytest.param(PODMAN_ROOTLESS, {"container": "oci"}, "podman", id="podman"),
        pytest.param(
            {k: v for k, v in PODMAN_ROOTLESS.items() if k != "/run/.containerenv"},
            {"container": "oci"},
            "podman",
            id="buildah",
        ),
        pytest.param({}, {"container": "oci"}, "container", id="some-oci-runtime"),
        pytest.param(LXC, {}, "lxc", id="proxmox-lxc"),
        pytest.param({"/proc/1/cgroup": "4:memory:/lxc/web\n"}, {}, "lxc", id="lxc-v1"),
        pytest.param(BARE_METAL, {"container": "lxc"}, "lxc", id="lxc-attach"),
        pytest.param(
            {**BARE_METAL, "/run/systemd/container": "systemd-nspawn"},
            {},
            "systemd-nspawn",
            id="nspawn",
        ),
        pytest.param(
            BARE_METAL, {"APPTAINER_CONTAINER": "/images/torch.sif"}, "singularity", id="apptainer"
        ),
        pytest.param({"/proc/vz/veinfo": ""}, {}, "openvz", id="openvz-guest"),
        pytest.param({"/proc/vz/x": "", "/proc/bc/x": ""}, {}, None, id="openvz-host"),
    ],
)
def test_a_container_is_told_from_a_host(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str], runtime: str | None
) -> None:
    system = Invented(tmp_path, files, environ=environ)

    facts = host_facts(system)

    assert facts["container_runtime"] == runtime
    assert facts["is_container"] is (runtime is not None)


# --- cgroups


@pytest.mark.parametrize(
    ("files", "memory", "cpus"),
    [
        pytest.param(
            {
                **DOCKER_V2,
                "/sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
                "/sys/fs/cgroup/cpu.max": "150000 100000\n",
            },
            4 * GIB,
            1.5,
            id="docker-v2-private",
        ),
        pytest.param(
            {
                **DOCKER_V2_HOST_NAMESPACE,
                f"/sys/fs/cgroup/system.slice/docker-{ID}.scope/memory.max": "max\n",
                f"/sys/fs/cgroup/system.slice/docker-{ID}.scope/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/system.slice/memory.max": f"{2 * GIB}\n",
                "/sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
            },
            2 * GIB,
            0.5,
            id="docker-v2-host-namespace-limited-above",
        ),
        pytest.param(
            {**DOCKER_V2_HOST_NAMESPACE, "/sys/fs/cgroup/memory.max": f"{3 * GIB}\n"},
            3 * GIB,
            None,
            id="own-path-not-mounted",
        ),
        pytest.param(
            {
                **DOCKER_V1,
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
                "/sys/fs/cgroup/memory/memory.stat": f"cache 0\nhierarchical_memory_limit {GIB}\nhierarchical_memsw_limit 9223372036854771712\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            GIB,
            2.0,
            id="docker-v1",
        ),
        pytest.param(
            {
                **KUBERNETES_V1,
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "/sys/fs/cgroup/memory/memory.stat": f"rss 1\nhierarchical_memory_limit {8 * GIB}\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            8 * GIB,
            None,
            id="kubernetes-v1-limited-by-the-pod",
        ),
        pytest.param(
            {
                **DOCKER_V1,
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854710272\n",
                "/sys/fs/cgroup/memory/memory.stat": "hierarchical_memory_limit 9223372036854710272\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
            None,
            id="v1-without-limits-and-64-KiB-pages",
        ),
        pytest.param(
            {
                **BARE_METAL,
                "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/memory.max": "max\n",
                "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max": f"{6 * GIB}\n",
                "/sys/fs/cgroup/user.slice/memory.max": f"{7 * GIB}\n",
                "/sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n",
            },
            6 * GIB,
            4.0,
            id="systemd-slices",
        ),
        pytest.param(
            {  # memory in version 1, the rest in 2, as systemd's hybrid mode
                "/proc/self/cgroup": "9:memory:/user.slice\n0::/user.slice/session-1.scope\n",
                "/proc/self/mountinfo": (
                    "40 31 0:37 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n"
                    "41 31 0:38 / /sys/fs/cgroup/memory rw shared:6 - cgroup cgroup rw,memory\n"
                ),
                "/sys/fs/cgroup/memory/user.slice/memory.limit_in_bytes": f"{5 * GIB}\n",
                "/sys/fs/cgroup/unified/user.slice/cpu.max": "300000 100000\n",
            },
            5 * GIB,
            3.0,
            id="hybrid",
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::/job\n",
                "/proc/self/mountinfo": "40 31 0:37 / /sys/fs/my\\040group rw - cgroup2 cgroup2 rw\n",
                "/sys/fs/my group/job/memory.max": f"{GIB}\n",
            },
            GIB,
            None,
            id="space-in-the-mount-point",
        ),
        pytest.param({}, None, None, id="no-cgroups"),
        pytest.param(
            {**DOCKER_V2, "/sys/fs/cgroup/memory.max": "lots\n"}, None, None, id="garbage"
        ),
        pytest.param(
            {
                "/proc/self/cgroup": "0::\n::::\nx\n4:memory\n",
                "/proc/self/mountinfo": "\n - \n1 2 3 - cgroup2\n",
            },
            None,
            None,
            id="garbled-lines",
        ),
    ],
)
def test_the_lowest_limit_of_the_chain_counts(
    tmp_path: Path, files: dict[str, str], memory: int | None, cpus: float | None
) -> None:
    system = Invented(tmp_path, files)

    assert memory_limit_bytes(system) == memory
    assert cpu_limit(system) == cpus


def test_a_cgroup_below_the_mount_of_another_namespace_is_unknown(tmp_path: Path) -> None:
    files = {
        "/proc/self/cgroup": "0::/\n",
        "/proc/self/mountinfo": "51 47 0:32 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "/sys/fs/cgroup/memory.max": "max\n",
    }

    limit = memory_limit_bytes(Invented(tmp_path, files))

    assert limit == Unknown("the cgroup of this process is not mounted")


def test_a_limit_that_cannot_be_read_is_unknown_and_not_unlimited(tmp_path: Path) -> None:
    system = Invented(tmp_path, DOCKER_V2)
    (tmp_path / "sys/fs/cgroup/memory.max").mkdir(parents=True)

    limit = memory_limit_bytes(system)

    assert isinstance(limit, Unknown)
    assert "memory.max" in limit.reason


V1_MEMORY = Path("/sys/fs/cgroup/memory")
V1_CPU = Path("/sys/fs/cgroup/cpu")
V2_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
ASK = (
    "import json, os, sys; [open(f, 'w').write(str(os.getpid())) for f in sys.argv[1:]]; "
    "from torchkit.machine.cgroups import *; from torchkit.system import System; "
    "print(json.dumps([memory_limit_bytes(System()), cpu_limit(System())]))"
)


def _ask_in(*groups: Path, before: tuple[str, ...] = ()) -> Any:
    """What a child says of its limits after it joined these cgroups."""
    command = [*before, sys.executable, "-c", ASK, *(str(it / "cgroup.procs") for it in groups)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path[1:]])}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def cgroup() -> Iterator[Any]:
    """Makes cgroups below a hierarchy, and removes them, deepest first; skips where it may not."""
    made: list[Path] = []

    def make(hierarchy: Path, depth: int, control: str) -> list[Path]:
        folder = hierarchy / f"torchkit-{uuid.uuid4().hex[:8]}"
        chain = []
        for _ in range(depth):
            try:
                folder.mkdir()
            except OSError:
                pytest.skip(f"no cgroup can be made in {hierarchy}")
            made.append(folder)
            chain.append(folder)
            folder = folder / "inner"
        if not (chain[0] / control).exists():
            pytest.skip(f"{hierarchy} does not control {control}")
        return chain

    yield make
    for folder in reversed(made):
        folder.rmdir()


def test_a_real_memory_limit_of_version_1_on_an_ancestor_is_found(cgroup: Any) -> None:
    outer, inner = cgroup(V1_MEMORY, 2, "memory.limit_in_bytes")
    (outer / "memory.limit_in_bytes").write_text("300000000")
    kernel = int((outer / "memory.limit_in_bytes").read_text())

    memory, _ = _ask_in(inner)

    assert memory == kernel


def test_a_real_memory_limit_above_the_mount_is_found(cgroup: Any) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare")
    outer, inner = cgroup(V1_MEMORY, 2, "memory.limit_in_bytes")
    (outer / "memory.limit_in_bytes").write_text("300000000")
    kernel = int((outer / "memory.limit_in_bytes").read_text())
    remount = (
        f"echo $$ > {inner}/cgroup.procs && exec {unshare} -C -m sh -c '"
        f'umount {V1_MEMORY} && mount -t cgroup -o memory none {V1_MEMORY} && exec "$@"\' sh "$@"'
    )

    memory, _ = _ask_in(before=("sh", "-c", remount, "sh"))

    assert memory == kernel


def test_a_real_cpu_quota_of_version_1_on_an_ancestor_is_found(cgroup: Any) -> None:
    outer, inner = cgroup(V1_CPU, 2, "cpu.cfs_quota_us")
    (outer / "cpu.cfs_quota_us").write_text("150000")
    (outer / "cpu.cfs_period_us").write_text("100000")
    (inner / "cpu.cfs_quota_us").write_text("-1")

    _, cpus = _ask_in(inner)

    assert cpus == 1.5


@pytest.mark.parametrize("root", V2_ROOTS, ids=str)
def test_real_limits_of_version_2_on_an_ancestor_are_found(cgroup: Any, root: Path) -> None:
    control = root / "cgroup.subtree_control"
    if not control.exists() or not {"memory", "cpu"} <= set(control.read_text().split()):
        pytest.skip(f"{root} hands on neither memory nor cpu in version 2")
    outer, inner = cgroup(root, 2, "memory.max")
    (outer / "memory.max").write_text("300000000")
    (outer / "cpu.max").write_text("150000 100000")
    kernel = int((outer / "memory.max").read_text())

    answer = _ask_in(inner)

    assert answer == [kernel, 1.5]


# --- the operating system


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\n', "Debian GNU/Linux 12 (bookworm)"),
        ('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n', "Ubuntu 24.04.1 LTS"),
        ('NAME="Red Hat Enterprise Linux"\nPRETTY_NAME="Red Hat Enterprise Linux 9.4 (Plow)"\r\n', "Red Hat Enterprise Linux 9.4 (Plow)"),
        ("PRETTY_NAME='Alpine Linux v3.20'\n", "Alpine Linux v3.20"),
        ("PRETTY_NAME=Fedora\n", "Fedora"),
        ('NAME="Slackware"\nVERSION="15.0"\n', "Slackware 15.0"),
        ('PRETTY_NAME="My \\"own\\" Linux"\n', 'My "own" Linux'),
        ("ID=nothing\n", "Linux"),
        ("", "Linux"),
    ],
)  # fmt: skip
def test_a_distribution_calls_itself_by_os_release(tmp_path: Path, text: str, name: str) -> None:
    assert host_facts(Invented(tmp_path, {"/etc/os-release": text}))["os_name"] == name


def test_os_release_may_lie_below_usr(tmp_path: Path) -> None:
    system = Invented(tmp_path, {"/usr/lib/os-release": 'PRETTY_NAME="NixOS 24.05 (Uakari)"\n'})

    assert host_facts(system)["os_name"] == "NixOS 24.05 (Uakari)"


def test_macos_is_read_from_its_own_files(tmp_path: Path) -> None:
    plist = (
        '<plist version="1.0">\n<dict>\n\t<key>ProductName</key>\n\t<string>macOS</string>\n'
        "\t<key>ProductVersion</key>\n\t<string>14.5</string>\n</dict>\n</plist>\n"
    )
    files = {"/System/Library/CoreServices/SystemVersion.plist": plist}
    system = Invented(
        tmp_path, files, platform="darwin", architecture="arm64", release="23.5.0", libc=None
    )

    facts = host_facts(system)

    assert facts["os_name"] == "macOS 14.5"
    assert facts["os_system"] == "macos"
    assert facts["cpu_architecture"] == "aarch64"
    assert facts["glibc_version"] is None
    assert facts["memory_limit_bytes"] is None
    assert facts["is_container"] is False
    assert isinstance(facts["memory_total_bytes"], int)


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("10.0.19045", "Windows 10 (10.0.19045)"),
        ("10.0.22631", "Windows 11 (10.0.22631)"),
        ("", "Windows "),
    ],
)
def test_windows_11_is_told_by_its_build(tmp_path: Path, release: str, name: str) -> None:
    system = Invented(tmp_path, platform="win32", architecture="AMD64", release=release, libc=None)

    facts = host_facts(system)

    assert facts["os_name"] == name
    assert facts["os_system"] == "windows"
    assert facts["cpu_architecture"] == "x86_64"


def test_this_machine_is_described_as_python_and_the_kernel_do() -> None:
    facts = host_facts(System())

    assert facts["cpu_architecture"] in (platform.machine(), "x86_64", "aarch64")
    assert facts["cpu_count"] == (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    if sys.platform == "linux":
        assert facts["os_name"] == platform.freedesktop_os_release()["PRETTY_NAME"]
        of_libc = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert facts["memory_total_bytes"] == pytest.approx(of_libc, rel=0.01)
        assert str(facts["glibc_version"] or "") == platform.libc_ver()[1]


def test_musl_is_no_glibc(tmp_path: Path) -> None:
    assert host_facts(Invented(tmp_path, libc=None))["glibc_version"] is None


def test_without_meminfo_the_memory_is_unknown(tmp_path: Path) -> None:
    told = host_facts(Invented(tmp_path))["memory_total_bytes"]

    assert told == Unknown("/proc/meminfo does not tell")


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.15.153.1-microsoft-standard-WSL2", True),
        ("4.4.0-19041-Microsoft", True),
        ("6.6.36.3-custom-WSL2+", True),
        ("5.15.0-1064-azure", False),
        ("6.1.0-18-amd64", False),
    ],
)
def test_wsl_is_told_by_its_kernel(tmp_path: Path, release: str, expected: bool) -> None:
    system = Invented(tmp_path, {"/proc/sys/kernel/osrelease": f"{release}\n"})

    assert host_facts(system)["is_wsl"] is expected


@pytest.mark.parametrize(
    ("files", "model"),
    [
        ({"/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"}, "NVIDIA Jetson AGX Orin Developer Kit"),
        ({"/proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0"}, "NVIDIA Jetson Nano Developer Kit"),
        (
            {
                "/proc/device-tree/model": "NVIDIA Orin NX Developer Kit\0",
                "/proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0000\0nvidia,tegra234\0",
            },
            "NVIDIA Orin NX Developer Kit",
        ),
        ({"/etc/nv_tegra_release": "# R35 (release), REVISION: 4.1\n"}, "NVIDIA Jetson"),
        ({"/proc/sys/kernel/osrelease": "5.15.148-tegra\n"}, "NVIDIA Jetson"),
        ({"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0", "/proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_jetson_is_told_by_its_device_tree_or_its_kernel(
    tmp_path: Path, files: dict[str, str], model: str | None
) -> None:
    system = Invented(tmp_path, files, architecture="aarch64")

    assert host_facts(system)["jetson_model"] == model


def test_a_container_is_named_without_reading_what_blocks(tmp_path: Path) -> None:
    system = Invented(tmp_path, BARE_METAL)
    (tmp_path / "run/systemd").mkdir(parents=True)
    os.mkfifo(tmp_path / "run/systemd/container")

    assert container_runtime(system) is None
