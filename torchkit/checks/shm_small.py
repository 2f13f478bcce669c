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

from torchkit.advice.shared_memory import GIB, Place, size_fixes
from torchkit.knowledge.shared_memory import full_message
from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, ok, warn
from torchkit.units import readable
from torchkit.versions import Version

AREA = "system"

DOCKER_DEFAULT_SHM_BYTES = 64 * 1024**2

USUAL_BATCHES = 2 * 2 + 1
"""Two workers with the default prefetch of two batches each, and the batch in use."""

USUAL_BATCH_BYTES = 32 * 3 * 224 * 224 * 4
"""32 float32 images of [3, 224, 224]."""

RECOMMENDED_BYTES = GIB
"""What is advised where nothing is known of the batches; shm-check says how much they need."""


def judge(
    shm_total_bytes: int,
    is_container: bool | None | Unknown,
    container_runtime: str | None | Unknown,
    job_service: str | None | Unknown,
    torch_version: Version | None | Unknown,
) -> Verdict:
    size = readable(shm_total_bytes)
    if shm_total_bytes > DOCKER_DEFAULT_SHM_BYTES:
        return ok(f"/dev/shm holds {size}")
    needed = readable(USUAL_BATCHES * USUAL_BATCH_BYTES)
    place = Place(
        container_runtime if isinstance(container_runtime, str) else None,
        job_service if isinstance(job_service, str) else None,
        is_container if isinstance(is_container, bool) else None,
    )
    fix = size_fixes(RECOMMENDED_BYTES, place)
    fix = fix or (
        "num_workers=0 in the DataLoader, or batches of uint8   (its size is fixed here)",
    )
    return warn(
        f"/dev/shm holds {size}; two workers with batches of 32 images of [3, 224, 224] need {needed}",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                full_message(torch_version if isinstance(torch_version, Version) else None).text,
            ),
            Evidence("found", f"{size} in all", "/dev/shm"),
            Evidence("needed", f"{needed} for that DataLoader (float32, prefetch 2)"),
        ],
        fix=[
            *fix,
            "torchkit shm-check --sample 3,224,224 --batch-size 32 --workers 2   (says how much)",
        ],
        brief="/dev/shm is small",
    )
