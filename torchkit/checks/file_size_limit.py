"""These workers' tensors are larger than the largest file a process may write.

## What it looks at
The largest storage of a batch, beside the limit of a file's size (`ulimit -f`). It counts for files
in /dev/shm too.

## Why it matters
Each storage of a batch is a file of its own. One above the limit cannot be made, whatever is free.

## What to do
Raise the limit in the shell that starts the training.

## References
- https://man7.org/linux/man-pages/man2/setrlimit.2.html
"""

from __future__ import annotations

from torchkit.dataset.predict import Need
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok
from torchkit.units import readable

AREA = "system"

TOO_LARGE = "RuntimeError: unable to resize file </torch_…> to the right size: File too large (27)"


def judge(need: Need) -> Verdict:
    limit = need.file_size_limit_bytes
    if limit is None:
        return does_not_apply("the size of a file is not limited")
    largest = max((*need.load.storages, *need.load.resident), default=0)
    if need.load.workers == 0 or largest <= limit:
        return ok(f"the largest tensor is {readable(largest)}, a file may have {readable(limit)}")
    return fail(
        f"a tensor of a batch is {readable(largest)}, a file may have {readable(limit)}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, TOO_LARGE),
            Evidence("found", f"{readable(limit)} at most", "ulimit -f"),
        ],
        fix=["ulimit -f unlimited   (in the shell that starts the training)"],
        brief="a tensor of a batch is larger than a file may be",
    )
