"""These workers need more open files than a process may have.

## What it looks at
The files that a DataLoader's main process and each of its workers have open: one for each tensor
of a batch that waits or is kept, beside the limit of open files (`ulimit -n`).

## Why it matters
At the limit torch raises "Too many open files", or a worker loses its batch and the program hangs.

## What to do
Raise the limit, keep fewer batches, or send fewer tensors in a batch. Only where none of that can
be done, share through the file system.

## References
- https://docs.pytorch.org/docs/stable/multiprocessing.html#sharing-strategies
"""

from __future__ import annotations

from torchkit.dataset.predict import Need
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn

AREA = "system"

IN_MAIN = (
    "RuntimeError: Too many open files. Communication with the workers is no longer possible."
    " Please increase the limit using `ulimit -n` in the shell or change the sharing strategy by"
    " calling `torch.multiprocessing.set_sharing_strategy('file_system')` at the beginning of your"
    " code"
)
IN_WORKER = (
    "RuntimeError: unable to open shared memory object </torch_…> in read-write mode:"
    " Too many open files (24)"
)


def judge(need: Need) -> Verdict:
    taken, limit = need.prediction, need.open_files_limit
    if limit is None:
        return does_not_apply("open files are not limited")
    if need.load.workers == 0:
        return ok("without workers no file is opened for a batch")
    usual, most = max(taken.worker_files, taken.main_files), taken.open_files
    if most <= limit:
        return ok(f"a process has at most {most:,} files open, {limit:,} are allowed")
    certain = usual > limit
    in_worker = (taken.worker_files if certain else taken.worker_files_bound) > limit
    message = (
        f"a process needs {usual:,} open files, {limit:,} are allowed"
        if certain
        else f"a process may need {most:,} open files, {limit:,} are allowed"
    )
    return (fail if certain else warn)(
        message,
        evidence=[
            Evidence(
                WOULD_FAIL_WITH if certain else "may fail with", IN_WORKER if in_worker else IN_MAIN
            ),
            Evidence("a worker", _range(taken.worker_files, taken.worker_files_bound)),
            Evidence("the main process", _range(taken.main_files, taken.main_files_bound)),
        ],
        fix=[
            f"ulimit -n {_rounded(most)}   (in the shell that starts the training)",
            "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))   (from inside)",
            "stack the tensors of a batch into fewer",
            "torch.multiprocessing.set_sharing_strategy('file_system')   (leaks files when a process"
            " is killed)",
        ],
        brief="too few open files are allowed",
    )


def _range(least: int, most: int) -> str:
    return f"{least:,} open files, {most:,} at most"


def _rounded(needed: int) -> int:
    """The next power of two above twice the need, as limits usually are; at least 4096."""
    return max(4096, 1 << (2 * needed - 1).bit_length())
