"""What to set for more shared memory, where it is set, by what runs the container or the job.

Sizes are written as each place wants them. Sources:
https://docs.docker.com/reference/cli/docker/container/run/ (`--shm-size`, `--ipc`)
https://docs.docker.com/reference/compose-file/services/#shm_size
https://docs.podman.io/en/latest/markdown/podman-run.1.html
https://kubernetes.io/docs/concepts/storage/volumes/#emptydir
https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax (container.options)
https://github.com/actions/runner-container-hooks/tree/main/packages/k8s (no docker options there)
https://docs.gitlab.com/runner/configuration/advanced-configuration/ (runners.docker, shm_size)
https://docs.gitlab.com/runner/executors/kubernetes/ (runners.kubernetes.volumes.empty_dir)
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LinuxParameters.html
https://docs.aws.amazon.com/batch/latest/APIReference/API_LinuxParameters.html
"""

from __future__ import annotations

from typing import NamedTuple

MIB = 1024**2
GIB = 1024**3

STEP_BYTES = 64 * MIB
"""Recommended sizes are multiples of this, docker's default; of a GiB above half a GiB."""

RESERVE = 1.25
"""What is recommended is so many times what is needed: estimates of samples are estimates."""

FIXED = ("fargate", "colab", "kaggle")
"""Services where the size of /dev/shm cannot be set."""


class Place(NamedTuple):
    """Where the program runs, by the facts; None where untold."""

    runtime: str | None = None
    service: str | None = None
    is_container: bool | None = None


def recommended(needed_bytes: int, used_bytes: int = 0) -> int:
    """A size of /dev/shm for a need, with a reserve, and what others use, rounded up; in bytes."""
    return rounded(int(needed_bytes * RESERVE) + used_bytes)


def rounded(size_bytes: int) -> int:
    """The next size that people write: a multiple of 64 MiB up to half a GiB, of a GiB above."""
    step = STEP_BYTES if size_bytes <= GIB // 2 else GIB
    return -(-size_bytes // step) * step


def short_size(size_bytes: int) -> str:
    """`512m`, `2g`: as docker and mount take it."""
    if size_bytes % GIB == 0:
        return f"{size_bytes // GIB}g"
    return f"{-(-size_bytes // MIB)}m"


def size_fixes(size_bytes: int, place: Place) -> tuple[str, ...]:
    """Where to set this size, ready to paste, what fits where this runs first; () where it is fixed."""
    if place.service in FIXED:
        return ()
    size = short_size(size_bytes)
    of_service = () if place.is_container is False else _of_service(size_bytes, place)
    if of_service:
        return of_service
    docker = (
        f"docker run --shm-size={size} …",
        f'shm_size: "{size}b"   (for the service in compose.yaml)',
    )
    podman = (f"podman run --shm-size={size} …",)
    kubernetes = _kubernetes(size_bytes)
    by_runtime = {"docker": docker, "podman": podman, "kubernetes": kubernetes}
    if place.runtime in by_runtime:
        return by_runtime[place.runtime]
    if place.runtime == "singularity":
        return (
            "leave out --contain   (the host's /dev/shm is used then)",
            f"sudo mount -o remount,size={size} /dev/shm   (on the host)",
        )
    if place.service == "slurm" and place.is_container is False:
        return (
            "#SBATCH --exclusive   (a node of your own, where no other job holds some of it)",
            f"mount -o remount,size={size} /dev/shm   (for the administrators of the node)",
        )
    if place.is_container is False or place.runtime in ("lxc", "systemd-nspawn"):
        return (f"sudo mount -o remount,size={size} /dev/shm   (until the next start)",)
    return (docker[0], *podman, *kubernetes, _github(size))


def _of_service(size_bytes: int, place: Place) -> tuple[str, ...]:
    """Where a CI service or cloud sets it, which starts the container; () where that is not known."""
    size, mib = short_size(size_bytes), -(-size_bytes // MIB)
    in_pod = place.runtime == "kubernetes"
    if place.service == "github-actions":
        if not in_pod:
            return (_github(size),)
        return (
            *_kubernetes(size_bytes, "of the runner, or of the template of its container hooks"),
            f"{_github(size)[:-1]}, where the runner's jobs are containers of docker)",
        )
    if place.service == "gitlab":
        if not in_pod:
            return (
                f"shm_size = {size_bytes}   (under [runners.docker] in the runner's config.toml)",
            )
        return (
            '[[runners.kubernetes.volumes.empty_dir]] name = "dshm", mount_path = "/dev/shm",'
            ' medium = "Memory"   (each on a line of its own, in the runner\'s config.toml; it counts'
            " in the memory limit)",
        )
    if place.service == "batch" and not in_pod:
        return (
            f'"containerProperties": {{"linuxParameters": {{"sharedMemorySize": {mib}}}}}'
            "   (in the job definition; not on Fargate)",
        )
    if place.service == "ecs":
        return (
            f'"containerDefinitions": [{{"linuxParameters": {{"sharedMemorySize": {mib}}}}}]'
            "   (in the task definition; not on Fargate)",
        )
    if place.service == "codespaces":
        return (f'"runArgs": ["--shm-size={size}"]   (in devcontainer.json)',)
    return ()


def _github(size: str) -> str:
    return f"jobs.<id>.container.options: --shm-size={size}   (in the workflow file)"


def _kubernetes(size_bytes: int, whose: str = "") -> tuple[str, ...]:
    """All that a pod needs: a volume, where it is mounted, and memory for it."""
    size = f"{size_bytes // GIB}Gi" if size_bytes % GIB == 0 else f"{-(-size_bytes // MIB)}Mi"
    pod = f"the pod's spec {whose}".rstrip()
    return (
        f"volumes: [{{name: dshm, emptyDir: {{medium: Memory, sizeLimit: {size}}}}}]   (in {pod})",
        "and volumeMounts: [{name: dshm, mountPath: /dev/shm}]   (in the container; it counts in"
        f" resources.limits.memory, which needs {size} more)",
    )


def memory_fixes(short_bytes: int, limited_by: str, place: Place) -> tuple[str, ...]:
    """Where to set more memory, which shared memory counts in: so many bytes more than now."""
    mib = -(-short_bytes // MIB)
    more = f"{mib:,} MiB more than now"
    if limited_by == "the machine's memory":
        return (f"free {mib:,} MiB of the machine's memory, or use a machine with more",)
    slurm = (f"#SBATCH --mem=…   ({more}, in the job script)",)
    container = (f"{place.runtime} run --memory=…   ({more}, or without it)",)
    if place.service == "slurm":
        return (*container, *slurm) if place.runtime in ("docker", "podman") else slurm
    if place.runtime == "kubernetes":
        return (f"resources.limits.memory of the container   ({mib}Mi more than now)",)
    if place.service in ("ecs", "fargate", "batch"):
        kind = "job" if place.service == "batch" else "task"
        return (f'"memory": …   ({more}, in MiB, in the {kind} definition)',)
    if place.runtime in ("docker", "podman"):
        return container
    return (f"raise the memory limit by {mib:,} MiB",)
