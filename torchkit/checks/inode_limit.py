"""/dev/shm may not hold as many files as these workers make.

## What it looks at
The files that DataLoader workers make in /dev/shm, one for each tensor of each batch and some
locks, beside the files that it may still hold.

## Why it matters
A file that cannot be made is a batch that is lost: torch raises, or hangs, with space left over.

## What to do
Mount /dev/shm with a larger nr_inodes, or send fewer tensors in a batch.

## References
- https://docs.kernel.org/filesystems/tmpfs.html
"""

from __future__ import annotations

from torchkit.dataset.predict import Need
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn

AREA = "system"

NO_INODE = (
    "RuntimeError: unable to open shared memory object </torch_…> in read-write mode:"
    " No space left on device (28)"
)


def judge(need: Need) -> Verdict:
    usual, most, free = need.prediction.inodes, need.prediction.inodes_bound, need.inodes_free
    if free is None:
        return does_not_apply("the files of /dev/shm are not limited")
    if need.load.workers == 0:
        return ok("without workers no file is made in /dev/shm")
    if most <= free:
        return ok(f"the workers make {most:,} files at most, /dev/shm takes {free:,} more")
    certain = usual > free
    message = (
        f"these workers make {usual:,} files, /dev/shm takes {free:,} more"
        if certain
        else f"these workers may make {most:,} files, /dev/shm takes {free:,} more"
    )
    return (fail if certain else warn)(
        message,
        evidence=[
            Evidence(WOULD_FAIL_WITH if certain else "may fail with", NO_INODE),
            Evidence(
                "or", "it hangs without a word, when a number's or your collate_fn's tensor is lost"
            ),
        ],
        fix=[
            f"sudo mount -o remount,nr_inodes={_rounded(most)} /dev/shm",
            "stack the tensors of a sample into fewer",
        ],
        brief="/dev/shm takes too few files",
    )


def _rounded(needed: int) -> int:
    """With a reserve, as a full thousand."""
    return -(-needed * 2 // 1000) * 1000
