"""Whether so much shared memory can really be had: taken for a moment in a child, and given back.

The file has no name, so nothing is left whatever happens to the child. Memory is taken by
posix_fallocate, which answers with an error where a write would be a bus error. More than what
memory limits leave is never asked for: past them the kernel kills.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from torchkit.system import Answer, System, Unknown

LIMIT_S = 60.0
"""A gigabyte takes about a second."""

STEP_BYTES = 64 * 1024**2

KEPT_FREE = 0.05
"""So much of what is free is left to others, however much is asked for."""

OF_MEMORY = 0.8
"""So much of what memory limits leave is taken at most."""

_SCRIPT = """
import errno, os, resource, sys
wanted, step, keep = (int(text) for text in sys.argv[1:4])
try:
    open("/proc/self/oom_score_adj", "w").write("1000")  # should memory end, this is what is killed
except OSError:
    pass
largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
if 0 < largest < step:
    step = largest
def nameless():
    try:
        return os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
    except OSError:
        name = f"/dev/shm/torchkit-{os.getpid()}"
        file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        os.unlink(name)
        return file
taken = 0
try:
    while taken < wanted:
        there = os.statvfs("/dev/shm")
        more = min(step, wanted - taken)
        if there.f_blocks and there.f_bavail * there.f_frsize < more + keep:
            break
        os.posix_fallocate(nameless(), 0, more)
        taken += more
except OSError as error:
    print(taken, errno.errorcode.get(error.errno, ""), error.strerror)
else:
    print(taken)
"""


class Proof(NamedTuple):
    """How much was really taken, in bytes, and why it was not more; "" where it was all.

    `is_refused` says that there was no space, though it seemed to be free.
    """

    bytes: int
    reason: str = ""
    is_refused: bool = False


def prove(system: System, wanted_bytes: int, *, free_bytes: int, left_bytes: int | None) -> Proof:
    """Take `wanted_bytes` of /dev/shm for a moment, or as much of them as is safe.

    `free_bytes` is what is free of it, `left_bytes` what memory limits leave, None for no limit.
    """
    keep = int(free_bytes * KEPT_FREE)
    safe = free_bytes - keep
    if left_bytes is not None:
        safe = min(safe, int(left_bytes * OF_MEMORY))
    taken = min(wanted_bytes, max(0, safe))
    if not taken:
        return Proof(0, "nothing may be taken safely")
    answer = system.run(
        [sys.executable, "-I", "-c", _SCRIPT, str(taken), str(STEP_BYTES), str(keep // 2)],
        limit_s=LIMIT_S,
        called="the child that takes it",
    )
    if isinstance(answer, Unknown):
        return Proof(0, answer.reason)
    return _told(answer, taken, wanted_bytes)


def _told(answer: Answer, taken: int, wanted: int) -> Proof:
    got, _, trouble = answer.stdout.strip().partition(" ")
    if answer.status < 0:
        return Proof(0, f"the child that took it died of signal {-answer.status}")
    if answer.status or not got.isdigit():
        lines = answer.stderr.strip().splitlines()
        return Proof(0, lines[-1] if lines else f"the child ended with status {answer.status}")
    code, _, words = trouble.partition(" ")
    if trouble:
        return Proof(int(got), words.lower(), is_refused=code in ("ENOSPC", "ENOMEM", "EDQUOT"))
    if int(got) < taken:
        return Proof(int(got), "others took what was free meanwhile", is_refused=True)
    return Proof(int(got), "" if int(got) == wanted else "the rest is left to others")
