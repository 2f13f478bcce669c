"""Where the size of /dev/shm is set, by where a program runs: what is recognised comes first.

Truth: the documents of docker, compose, podman, Kubernetes, GitHub, GitLab and ECS, named in
`torchkit/advice/shared_memory.py`.
"""

from __future__ import annotations

import pytest

from torchkit.advice.shared_memory import (
    GIB,
    MIB,
    Place,
    memory_fixes,
    recommended,
    rounded,
    short_size,
    size_fixes,
)

FIRST = {
    "docker": (Place("docker", None, True), "docker run --shm-size=2g …"),
    "podman": (Place("podman", None, True), "podman run --shm-size=2g …"),
    "kubernetes": (
        Place("kubernetes", None, True),
        "volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}]   (in the pod's spec)",
    ),
    "github": (
        Place("docker", "github-actions", True),
        "jobs.<id>.container.options: --shm-size=2g   (in the workflow file)",
    ),
    "github's own machine": (
        Place(None, "github-actions", False),
        "sudo mount -o remount,size=2g /dev/shm   (until the next start)",
    ),
    "gitlab": (
        Place("docker", "gitlab", True),
        "shm_size = 2147483648   (under [runners.docker] in the runner's config.toml)",
    ),
    "ecs": (
        Place("docker", "ecs", True),
        '"containerDefinitions": [{"linuxParameters": {"sharedMemorySize": 2048}}]'
        "   (in the task definition; not on Fargate)",
    ),
    "batch": (
        Place("docker", "batch", True),
        '"containerProperties": {"linuxParameters": {"sharedMemorySize": 2048}}'
        "   (in the job definition; not on Fargate)",
    ),
    "batch on EKS": (
        Place("kubernetes", "batch", True),
        "volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}]   (in the pod's spec)",
    ),
    "gitlab on Kubernetes": (
        Place("kubernetes", "gitlab", True),
        '[[runners.kubernetes.volumes.empty_dir]] name = "dshm", mount_path = "/dev/shm",'
        ' medium = "Memory"   (each on a line of its own, in the runner\'s config.toml; it counts'
        " in the memory limit)",
    ),
    "github on Kubernetes": (
        Place("kubernetes", "github-actions", True),
        "volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}]"
        "   (in the pod's spec of the runner, or of the template of its container hooks)",
    ),
    "docker under Slurm": (Place("docker", "slurm", True), "docker run --shm-size=2g …"),
    "codespaces": (
        Place("docker", "codespaces", True),
        '"runArgs": ["--shm-size=2g"]   (in devcontainer.json)',
    ),
    "slurm": (
        Place(None, "slurm", False),
        "#SBATCH --exclusive   (a node of your own, where no other job holds some of it)",
    ),
    "singularity": (
        Place("singularity", "slurm", True),
        "leave out --contain   (the host's /dev/shm is used then)",
    ),
    "none": (
        Place(None, None, False),
        "sudo mount -o remount,size=2g /dev/shm   (until the next start)",
    ),
    "a container of no name": (Place("container", None, True), "docker run --shm-size=2g …"),
    "untold": (Place(), "docker run --shm-size=2g …"),
}


@pytest.mark.parametrize("name", FIRST)
def test_the_place_that_is_recognised_comes_first(name: str) -> None:
    place, first = FIRST[name]

    assert size_fixes(2 * GIB, place)[0] == first


@pytest.mark.parametrize("place", [Place("kubernetes"), Place("container", None, True), Place()])
def test_a_pod_is_told_of_the_volume_and_of_where_it_is_mounted(place: Place) -> None:
    fixes = size_fixes(GIB, place)

    assert any(it.startswith("volumes: ") for it in fixes)
    assert any("volumeMounts: [{name: dshm, mountPath: /dev/shm}]" in it for it in fixes)


def test_on_kubernetes_the_options_of_github_are_hedged() -> None:
    fixes = size_fixes(GIB, Place("kubernetes", "github-actions", True))

    assert fixes[-1].startswith("jobs.<id>.container.options: --shm-size=1g   (")
    assert "where the runner's jobs are containers of docker" in fixes[-1]


@pytest.mark.parametrize("service", ["fargate", "colab", "kaggle"])
def test_where_the_size_is_fixed_none_is_advised(service: str) -> None:
    assert size_fixes(GIB, Place("docker", service, True)) == ()


@pytest.mark.parametrize("place", [Place(None, "slurm", False), Place(None, None, False)])
def test_a_machine_without_a_container_is_not_told_of_docker(place: Place) -> None:
    assert not any("docker" in it or "podman" in it for it in size_fixes(GIB, place))


@pytest.mark.parametrize(
    ("size", "text"), [(64 * MIB, "64m"), (GIB, "1g"), (GIB + 1, "1025m"), (8 * GIB, "8g")]
)
def test_sizes_are_written_as_docker_takes_them(size: int, text: str) -> None:
    assert short_size(size) == text


@pytest.mark.parametrize(
    ("size", "advised"),
    [(1, 64 * MIB), (64 * MIB, 64 * MIB), (64 * MIB + 1, 128 * MIB), (GIB // 2, GIB // 2),
     (GIB // 2 + 1, GIB), (GIB, GIB), (GIB + 1, 2 * GIB)],
)  # fmt: skip
def test_sizes_are_rounded_up_to_what_people_write(size: int, advised: int) -> None:
    assert rounded(size) == advised


def test_what_is_recommended_has_a_reserve_and_room_for_others() -> None:
    assert recommended(625 * MIB) == GIB
    assert recommended(100 * MIB, 300 * MIB) == 448 * MIB


@pytest.mark.parametrize(
    ("limited_by", "place", "words"),
    [
        ("the memory limit", Place("kubernetes", None, True), "limits.memory of the container   (100Mi more"),
        ("the memory limit", Place("docker", None, True), "docker run --memory=…   (100 MiB more"),
        ("the memory limit", Place(None, "slurm", False), "#SBATCH --mem=…   (100 MiB more"),
        ("the memory limit", Place("docker", "slurm", True), "docker run --memory=…   (100 MiB more"),
        ("the memory limit", Place("docker", "fargate", True), '"memory": …   (100 MiB more'),
        ("the memory limit", Place(), "raise the memory limit by 100 MiB"),
        ("the machine's memory", Place("docker", None, True), "free 100 MiB of the machine's memory"),
    ],
)  # fmt: skip
def test_more_memory_is_set_where_it_is_limited(limited_by: str, place: Place, words: str) -> None:
    assert words in memory_fixes(100 * MIB, limited_by, place)[0]
