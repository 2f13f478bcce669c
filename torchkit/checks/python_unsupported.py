"""There is no official torch for this Python, or this torch was not made for it.

## What it looks at
The Python version, and for which Pythons each torch release has official wheels.

## Why it matters
pip finds no torch at all, or an old one, for a Python that is too new or too old. A torch that
is installed all the same was built by somebody else. torch.compile refuses new Pythons longer
than the rest of torch does.

## What to do
Take a Python that has wheels for the torch you want, or the torch release that is named.

## References
- https://pytorch.org/get-started/locally/
- https://github.com/pytorch/pytorch/blob/main/RELEASE.md
"""

from __future__ import annotations

from torchkit.advice.lines import FITTING_TORCH
from torchkit.knowledge.compat import (
    newest_torch,
    newest_torch_for_python,
    torch_compile_refused_from,
    torch_release,
)
from torchkit.machine.facts import Unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    fail,
    info,
    ok,
    warn,
)
from torchkit.versions import Version

AREA = "python"


def judge(
    python_version: Version,
    torch_version: Version | None,
    python_free_threaded: bool | None | Unknown,
    torch_manager: str | None | Unknown,
    glibc_version: Version | None | Unknown,
    os_system: str | None | Unknown,
) -> Verdict:
    if os_system == "linux" and glibc_version is None:
        return does_not_apply("official builds for Linux need glibc: see glibc-too-old")
    free = python_free_threaded is True
    named = f"Python {python_version}" + (", free-threaded" if free else "")
    if torch_version is None:
        return _to_be_installed(python_version, named, free=free)
    release = torch_release(torch_version)
    if release is None:
        return could_not_look(f"torch {torch_version} is not an official release that we know")
    series = python_version.series
    offered = release.python_freethreaded if free else release.python
    if (f"{series}t" if free else series) not in offered:
        if torch_manager == "conda":
            return ok(f"torch {release.version} for {named} was built by conda")
        return warn(
            f"torch {release.version} has no official build for {named}",
            evidence=[Evidence("found", named), Evidence("needed", _listed(offered))],
            fix=[
                FITTING_TORCH
                if newest_torch_for_python(python_version, free_threaded=free)
                else f"make an environment with Python {_middle(offered)}"
            ],
            brief=f"torch {release.version} was not made for {named}",
        )
    refused_from = torch_compile_refused_from(torch_version)
    if refused_from is not None and Version(series) >= refused_from:
        return info(
            f"torch {release.version} runs on {named}, its torch.compile does not",
            evidence=[
                Evidence(
                    WOULD_FAIL_WITH,
                    f"RuntimeError: Python {series}+ not yet supported for torch.compile",
                )
            ],
            fix=["for torch.compile, upgrade torch or take an older Python"],
        )
    return ok(f"torch {release.version} has official builds for {named}")


def _to_be_installed(python_version: Version, named: str, *, free: bool) -> Verdict:
    newest, fitting = newest_torch(), newest_torch_for_python(python_version, free_threaded=free)
    if fitting is None:
        offered = newest.python_freethreaded if free else newest.python
        return fail(
            f"no torch release that we know has a build for {named}",
            evidence=[
                Evidence(WOULD_FAIL_WITH, "ERROR: No matching distribution found for torch"),
                Evidence("found", named),
                Evidence("needed", f"{_listed(offered)} for torch {newest.version}"),
            ],
            fix=[f"make an environment with Python {_middle(offered)} and install torch there"],
            brief=f"there is no torch for {named}",
        )
    if fitting.version != newest.version:
        return info(
            f"the newest torch for {named} is {fitting.version}; {newest.version} needs "
            f"{_listed(newest.python_freethreaded if free else newest.python)}"
        )
    return ok(f"torch {newest.version} has official builds for {named}")


def _middle(offered: tuple[str, ...]) -> str:
    """Neither the oldest nor the newest: what most packages have wheels for."""
    return offered[len(offered) // 2] if offered else "3.12"


def _listed(pythons: tuple[str, ...]) -> str:
    if not pythons:
        return "a Python with the GIL"
    return f"Python {pythons[0]}" if len(pythons) == 1 else f"Python {pythons[0]} to {pythons[-1]}"
