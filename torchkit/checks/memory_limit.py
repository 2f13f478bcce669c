"""These workers' batches would pass the memory limit.

## What it looks at
What DataLoader workers put into shared memory, beside what the memory limit of the container (its
cgroup and all above it) and the machine's memory leave.

## Why it matters
Shared memory counts as memory of the container. Past the limit nothing raises an error: the kernel
kills a process of the container, a worker or the training itself.

## What to do
Raise the memory limit, or send less through shared memory.

## References
- https://docs.kernel.org/admin-guide/cgroup-v2.html
- https://kubernetes.io/docs/concepts/storage/volumes/#emptydir
"""

from __future__ import annotations

from torchkit.advice.shared_memory import Place, memory_fixes
from torchkit.dataset.predict import Need
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn
from torchkit.units import readable

AREA = "system"

KILLED = "RuntimeError: DataLoader worker (pid …) is killed by signal: Killed."


def judge(need: Need) -> Verdict:
    left, by = need.memory_usable_bytes, need.memory_limited_by
    if left is None:
        return does_not_apply("nothing is known to limit memory")
    if need.load.workers == 0:
        return ok("without workers a DataLoader needs no shared memory")
    if need.bound_bytes <= left:
        return ok(f"{by} leaves {readable(left)}, the batches need {readable(need.bound_bytes)}")
    certain = need.peak_bytes > left
    evidence = [
        Evidence(WOULD_FAIL_WITH if certain else "may fail with", KILLED),
        Evidence(
            "needed", f"{readable(need.peak_bytes)}, never more than {readable(need.bound_bytes)}"
        ),
        Evidence("left", f"{readable(left)} by {by}"),
    ]
    place = Place(need.runtime, need.service, need.is_container)
    fix = [
        *memory_fixes(need.bound_bytes - left, by, place),
        "prefetch_factor=1, or a smaller num_workers, in the DataLoader",
    ]
    message = f"the batches in shared memory need {readable(need.peak_bytes)}, {by} leaves {readable(left)}"
    return (fail if certain else warn)(
        message, evidence=evidence, fix=fix, brief=f"{by} is too small for these batches"
    )
