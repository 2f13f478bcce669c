"""/dev/shm is as small as a container's default.

## What it looks at
The size of /dev/shm.

## Why it matters
The workers of a DataLoader hand their batches over through /dev/shm. Docker gives a container
64 MiB of it, which two workers fill with batches of 32 ordinary images; then they die with a
bus error, an allocation error, or hang.

## What to do
Start the container with a larger one.

## References
- https://docs.docker.com/reference/cli/docker/container/run/
- https://github.com/pytorch/pytorch/issues/5247
"""

from __future__ import annotations

from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, ok, warn
from torchkit.units import readable

AREA = "system"

DOCKER_DEFAULT_SHM_BYTES = 64 * 1024**2

USUAL_BATCHES = 2 * 2 + 1
"""Two workers with the default prefetch of two batches each, and the batch in use."""

USUAL_BATCH_BYTES = 32 * 3 * 224 * 224 * 4
"""32 float32 images of [3, 224, 224]."""

FIX = {
    "docker": "docker run --shm-size=1g …",
    "podman": "podman run --shm-size=1g …",
    "kubernetes": "mount an emptyDir with medium: Memory and sizeLimit: 1Gi at /dev/shm",
    "container": "start the container with --shm-size=1g",
}


def judge(
    shm_total_bytes: int,
    is_container: bool | None | Unknown,
    container_runtime: str | None | Unknown,
) -> Verdict:
    size = readable(shm_total_bytes)
    if shm_total_bytes > DOCKER_DEFAULT_SHM_BYTES:
        return ok(f"/dev/shm holds {size}")
    needed = readable(USUAL_BATCHES * USUAL_BATCH_BYTES)
    runtime = container_runtime if isinstance(container_runtime, str) else "docker"
    if is_container is False:
        fix = "mount -o remount,size=1g /dev/shm   (as root)"
    else:
        fix = FIX.get(runtime, FIX["container"])
    return warn(
        f"/dev/shm holds {size}; two workers with batches of 32 images of [3, 224, 224] need {needed}",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                "RuntimeError: unable to allocate shared memory(shm) for file </torch_…>: No space left on device (28)",
            ),
            Evidence("found", f"{size} in all", "/dev/shm"),
            Evidence("needed", f"{needed} for that DataLoader (float32, prefetch 2)"),
        ],
        fix=[fix],
        brief="/dev/shm is small",
    )
