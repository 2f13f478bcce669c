"""/dev/shm is nearly full.

## What it looks at
How much of /dev/shm is free, how many files it may still hold, and who holds the rest.

## Why it matters
What other programs hold, and what killed ones left behind, is missing when the workers of a
DataLoader need it. Deleted files that a process has open are not seen by `ls`, but count.

## What to do
End the process that holds it, or remove what nobody has open any more.

## References
- https://docs.kernel.org/filesystems/tmpfs.html
"""

from __future__ import annotations

from torchkit.machine.facts import ShmHolder, Unknown
from torchkit.report import Evidence, Verdict, could_not_look, ok, warn
from torchkit.units import readable

AREA = "system"

NEARLY = 0.1
"""Less than this of it free is nearly full."""

FEW_INODES = 50
"""A DataLoader with eight workers needs as many files as this."""

NAMED = 4
"""So many holders are told."""


def judge(
    shm_total_bytes: int | None | Unknown,
    shm_free_bytes: int | None | Unknown,
    shm_inodes_free: int | None | Unknown,
    shm_holders: tuple[ShmHolder, ...],
    is_container: bool | None | Unknown,
    shm_unseen_processes: int | None | Unknown,
) -> Verdict:
    if not isinstance(shm_total_bytes, int) or not isinstance(shm_free_bytes, int):
        return could_not_look("the size of /dev/shm is not known")
    few = isinstance(shm_inodes_free, int) and shm_inodes_free < FEW_INODES
    if shm_free_bytes >= NEARLY * shm_total_bytes and not few:
        return ok(f"{readable(shm_free_bytes)} of /dev/shm are free")
    left = (
        f"{shm_inodes_free} more files"
        if few and shm_free_bytes >= NEARLY * shm_total_bytes
        else readable(shm_free_bytes)
    )
    in_use = {it.kind for it in shm_holders if it.visible and not it.stale}
    stale = [it for it in shm_holders if it.stale and it.kind not in in_use]
    evidence = [Evidence("held", described(it)) for it in shm_holders[:NAMED]]
    sees_all = shm_unseen_processes == 0 and is_container is False
    fix = [_end(it) for it in shm_holders if it.pid is not None][:1]
    if stale:
        removal = "rm " + " ".join(_PATTERNS[kind] for kind in sorted({it.kind for it in stale}))
        certain = "" if sees_all else ", if nothing outside of what is seen here uses them"
        fix.append(f"{removal}   (nobody has them open{certain})")
    return warn(
        f"/dev/shm is nearly full: {left} free of {readable(shm_total_bytes)}",
        evidence=evidence,
        fix=fix,
        brief="/dev/shm is nearly full",
    )


_PATTERNS = {
    "torch": "/dev/shm/torch_*",
    "NCCL": "/dev/shm/nccl-*",
    "Python shared memory": "/dev/shm/psm_*",
}


def described(holder: ShmHolder) -> str:
    """`1.2 GiB in 3 files of torch, by python3 (pid 1234), deleted but open`."""
    files = "1 file" if holder.files == 1 else f"{holder.files} files"
    text = f"{readable(holder.bytes)} in {files}"
    text += f" of {holder.kind}" if holder.kind != "other" else ""
    if holder.pid is None:
        return f"{text}, open nowhere that is seen{', left behind' if holder.stale else ''}"
    who = f"{holder.process or 'a process'} (pid {holder.pid})"
    return f"{text}, by {who}{'' if holder.visible else ', deleted but open'}"


def _end(holder: ShmHolder) -> str:
    return f"end {holder.process or 'the process'} (pid {holder.pid}), which holds {readable(holder.bytes)}"
