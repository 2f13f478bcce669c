"""There is no /dev/shm that this process can write to.

## What it looks at
Whether /dev/shm is there, is a folder, is not mounted read-only, and may be written to.

## Why it matters
The queues of DataLoader workers keep their locks in /dev/shm, and batches travel through it. Without
it every DataLoader with workers fails at its start.

## What to do
Mount a tmpfs there, or load data without workers.

## References
- https://man7.org/linux/man-pages/man7/shm_overview.7.html
"""

from __future__ import annotations

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok

AREA = "system"

ERRORS = {
    "missing": "FileNotFoundError: [Errno 2] No such file or directory",
    "read-only": "OSError: [Errno 30] Read-only file system",
    "not writable": "PermissionError: [Errno 13] Permission denied",
}
"""What the first lock of a DataLoader raises (multiprocessing.SemLock)."""

MOUNT = "sudo mount -t tmpfs -o size=1g,mode=1777 tmpfs /dev/shm"

FIX = {
    "missing": ("sudo mkdir -p /dev/shm   (then the next line)", f"then {MOUNT}"),
    "read-only": (
        "sudo mount -o remount,rw /dev/shm",
        "or mount a tmpfs of the container's own there",
    ),
    "not writable": ("sudo chmod 1777 /dev/shm",),
}


def judge(shm_state: str) -> Verdict:
    if shm_state == "writable":
        return ok("/dev/shm can be written to")
    words = {"missing": "is not there", "read-only": "is mounted read-only"}
    how = words.get(shm_state, "may not be written to")
    return fail(
        f"/dev/shm {how}: no DataLoader with workers can start",
        evidence=[Evidence(WOULD_FAIL_WITH, ERRORS.get(shm_state, ERRORS["not writable"]))],
        fix=[*FIX.get(shm_state, FIX["not writable"]), "or num_workers=0, which needs none"],
        brief=f"/dev/shm {how}",
    )
