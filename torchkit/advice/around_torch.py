"""What stops torch in a child though another torch would not help: limits, mounts, folders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import NamedTuple

ODD = "in this child: "
"""So begin the lines of the child itself, among those that torch wrote."""

_NO_MEMORY = re.compile(
    r"std::bad_alloc|\bMemoryError\b|[Cc]annot allocate memory(?! in static TLS)"
    r"|[Oo]ut of memory|failed to map segment"
)


class Around(NamedTuple):
    """What would be in the way of other programs too: what it is, and what to do."""

    because: str
    fix: tuple[str, ...]


def around(error: str, output: Iterable[str], folder: str) -> Around | None:
    """What is around torch that explains this error; None where nothing is seen.

    `output` holds the lines of the child, its own among them; `folder` is where torch lies. glibc
    says the same, without errno, where there is no memory for a library and where its file system
    is mounted noexec (elf/dl-map-segments.h); tried with torch 2.13 and glibc 2.36.
    """
    for line in (it.removeprefix(ODD) for it in output if it.startswith(ODD)):
        if line == "the current folder does not exist":
            return Around(line, ("cd ~   or to another folder that exists",))
        if "(ulimit -v)" in line and _NO_MEMORY.search(error):
            return Around(line, ("ulimit -v unlimited   in the shell or script that sets it",))
    refused = re.search(r"(?:(/[^\s:]+): )?failed to map segment", error)
    if refused is None:
        return None
    return Around(
        "the system loads no code from that file, mostly since it is mounted noexec",
        (
            f"findmnt -T {shlex.quote(refused[1] or folder)}   shows its options: noexec may not"
            " be among them",
        ),
    )
