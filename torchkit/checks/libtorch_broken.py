"""A libtorch that was given is not whole, or is none.

## What it looks at
Each folder, zip or wheel that `--libtorch` names: whether it can be opened, and whether the
libraries, the headers and the CMake files are there.

## Why it matters
A download that was cut off, a web page saved as a zip or a folder without its libraries stops
unzip, CMake or the linker, each with words that do not name the cause.

## What to do
Download it again; name the folder that has `lib`, `include` and `share` in it.

## References
- https://docs.pytorch.org/cppdocs/installing.html
"""

from __future__ import annotations

from torchkit.advice.libtorch import called, quoted, shortly
from torchkit.advice.lines import FITTING_LIBTORCH
from torchkit.machine.facts import Libtorch
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, info, ok

AREA = "libtorch"


def judge(libtorchs: tuple[Libtorch, ...]) -> tuple[Verdict, ...]:
    return tuple(_judged(libtorch) for libtorch in libtorchs)


def _judged(libtorch: Libtorch) -> Verdict:
    name = called(libtorch)
    if libtorch.problem is None:
        if libtorch.not_read is not None:
            return info(f"{name} was not looked at in full: {libtorch.not_read}")
        return ok(f"{name} is whole")
    error = Evidence(WOULD_FAIL_WITH, libtorch.error or libtorch.problem)
    there = libtorch.subfolder
    return fail(
        f"{name} cannot be used: {libtorch.problem}",
        evidence=[error],
        fix=[FITTING_LIBTORCH] if there is None else [f"name it: --libtorch {quoted(there)}"],
        brief=f"{shortly(libtorch)} cannot be used",
    )
