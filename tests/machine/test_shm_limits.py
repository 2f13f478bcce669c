"""What limits shared memory, against the kernel's own words and invented cgroups."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from torchkit.machine.cgroups import memory_headroom_bytes
from torchkit.machine.job import job_service
from torchkit.machine.shm_limits import shm_limit_facts
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/shm")

V2 = "35 24 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
MIB = 1024**2
STAT = "anon 1\ninactive_file {}\nactive_file {}\nshmem 5\n"

Fake = Callable[..., System]


def test_the_headroom_is_the_least_of_all_ancestors(fake_system: Fake) -> None:
    system = fake_system(
        {
            "/proc/self/cgroup": "0::/pod/train\n",
            "/proc/self/mountinfo": V2,
            "/sys/fs/cgroup/pod/train/memory.max": f"{100 * MIB}\n",
            "/sys/fs/cgroup/pod/train/memory.current": f"{10 * MIB}\n",
            "/sys/fs/cgroup/pod/memory.max": f"{90 * MIB}\n",
            "/sys/fs/cgroup/pod/memory.current": f"{60 * MIB}\n",
        }
    )

    assert memory_headroom_bytes(system) == 30 * MIB


def test_the_cache_of_files_is_given_back_when_memory_is_short(fake_system: Fake) -> None:
    system = fake_system(
        {
            "/proc/self/cgroup": "0::/pod\n",
            "/proc/self/mountinfo": V2,
            "/sys/fs/cgroup/pod/memory.max": f"{100 * MIB}\n",
            "/sys/fs/cgroup/pod/memory.current": f"{90 * MIB}\n",
            "/sys/fs/cgroup/pod/memory.stat": STAT.format(20 * MIB, 30 * MIB),
        }
    )

    assert memory_headroom_bytes(system) == 60 * MIB


@pytest.mark.parametrize(
    ("limit", "left"), [(str(64 * MIB), 54 * MIB), ("9223372036854771712", None)]
)
def test_version_1_has_a_number_for_no_limit(
    fake_system: Fake, limit: str, left: int | None
) -> None:
    system = fake_system(
        {
            "/proc/self/cgroup": "4:memory:/docker/9dc\n",
            "/proc/self/mountinfo": V1,
            "/sys/fs/cgroup/memory/docker/9dc/memory.limit_in_bytes": f"{limit}\n",
            "/sys/fs/cgroup/memory/docker/9dc/memory.usage_in_bytes": f"{10 * MIB}\n",
        }
    )

    assert memory_headroom_bytes(system) == left


def test_more_in_use_than_allowed_leaves_nothing(fake_system: Fake) -> None:
    system = fake_system(
        {
            "/proc/self/cgroup": "0::/pod\n",
            "/proc/self/mountinfo": V2,
            "/sys/fs/cgroup/pod/memory.max": "1000\n",
            "/sys/fs/cgroup/pod/memory.current": "5000\n",
        }
    )

    assert memory_headroom_bytes(system) == 0


def test_the_limits_of_this_process_are_those_that_it_has() -> None:
    facts = shm_limit_facts(System())

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    size, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert facts["open_files_limit"] == (None if files == resource.RLIM_INFINITY else files)
    assert facts["file_size_limit_bytes"] == (None if size == resource.RLIM_INFINITY else size)


def test_available_memory_is_the_kernel_s_estimate(fake_system: Fake) -> None:
    system = fake_system({"/proc/meminfo": "MemTotal: 64 kB\nMemAvailable:      32 kB\n"})

    assert shm_limit_facts(system)["memory_available_bytes"] == 32 * 1024


def test_a_mount_that_lies_on_another_is_the_one_that_counts(
    fake_system: Fake, tmp_path: Path
) -> None:
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    system = fake_system(
        {
            "/proc/self/mountinfo": (
                "25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw,size=8g\n"
                "30 25 0:27 / /dev/shm rw - tmpfs shm rw,size=65536k\n"
            )
        }
    )

    facts = shm_limit_facts(system)

    assert (facts["shm_kind"], facts["shm_options"]) == ("tmpfs", "rw,size=65536k")


@pytest.mark.parametrize("is_file", [False, True])
def test_a_folder_that_is_none_is_missing(fake_system: Fake, tmp_path: Path, is_file: bool) -> None:
    system = fake_system({"/dev/shm": "a file"} if is_file else {"/dev/null": ""})

    assert shm_limit_facts(system)["shm_state"] == "missing"


def test_a_link_to_nowhere_is_missing(fake_system: Fake, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "shm").symlink_to(tmp_path / "run" / "shm")

    assert shm_limit_facts(fake_system())["shm_state"] == "missing"


def test_other_systems_have_none_of_it(tmp_path: Path) -> None:
    class Mac(System):
        @property
        def platform(self) -> str:
            return "darwin"

    facts = shm_limit_facts(Mac(root=tmp_path, environ={}))

    assert facts["shm_state"] is facts["shm_kind"] is None
    assert not any(isinstance(value, Unknown) for value in facts.values())


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({"GITHUB_ACTIONS": "true"}, "github-actions"),
        ({"GITHUB_ACTIONS": "false"}, None),
        ({"GITLAB_CI": "true"}, "gitlab"),
        ({"CODESPACES": "true"}, "codespaces"),
        ({"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "ECS_CONTAINER_METADATA_URI_V4": "http://…"}, "fargate"),
        ({"AWS_EXECUTION_ENV": "AWS_ECS_EC2", "ECS_CONTAINER_METADATA_URI_V4": "http://…"}, "ecs"),
        ({"AWS_BATCH_JOB_ID": "7", "ECS_CONTAINER_METADATA_URI_V4": "http://…"}, "batch"),
        ({"SLURM_JOB_ID": "7"}, "slurm"),
        ({"COLAB_RELEASE_TAG": "release"}, "colab"),
        ({"HOME": "/root"}, None),
    ],
)  # fmt: skip
def test_a_service_is_known_by_the_variables_that_it_sets(
    environ: dict[str, str], service: str | None, tmp_path: Path
) -> None:
    assert job_service(System(root=tmp_path, environ=environ)) == service


def test_inodes_are_those_of_df() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("there is no /dev/shm here")
    said = subprocess.run(
        ["df", "--output=itotal", "/dev/shm"], check=True, capture_output=True, text=True
    )
    total = int(said.stdout.split()[-1])

    assert shm_limit_facts(System())["shm_inodes_total"] == (total or None)
