"""The C library is older than torch's libraries need.

## What it looks at
The newest GLIBC symbol version that torch's libraries ask for, and the glibc of this system.

## Why it matters
`import torch` dies in the loader. Wheels up to torch 2.6 need glibc 2.17; from 2.7 on 2.28,
which RHEL 7, Amazon Linux 2 and Ubuntu 18.04 do not have.

## What to do
Run on a newer distribution (a container is enough), or take a torch that still fits. glibc
itself is never replaced: everything on the system stands on it.

## References
- https://github.com/pytorch/pytorch/issues/123649
- https://peps.python.org/pep-0600/
"""

from __future__ import annotations

from torchkit.advice.lines import FITTING_TORCH
from torchkit.knowledge.compat import torch_release
from torchkit.machine.facts import Unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    fail,
    ok,
)
from torchkit.versions import Version

AREA = "system"


def judge(
    glibc_version: Version | None,
    torch_version: Version | None,
    torch_glibc_needed: Version | None | Unknown,
    os_name: str | None | Unknown,
    os_system: str | None | Unknown,
) -> Verdict:
    if glibc_version is None:
        return _without_glibc(os_system, os_name, is_installed=torch_version is not None)
    if torch_version is None:
        return does_not_apply("torch is not installed")
    needed, source = _needed(torch_version, torch_glibc_needed)
    if needed is None:
        return could_not_look(f"the glibc that torch {torch_version} needs is not known")
    if glibc_version >= needed:
        return ok(f"glibc {glibc_version} is enough, torch {torch_version} needs {needed}")
    system = f" ({os_name})" if isinstance(os_name, str) else ""
    return fail(
        f"glibc {glibc_version} is too old for torch {torch_version}, which needs {needed} or newer",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                f"ImportError: /lib64/libc.so.6: version `GLIBC_{needed}' not found",
            ),
            Evidence("found", f"glibc {glibc_version}{system}"),
            Evidence("needed", f"glibc {needed} or newer", source),
        ],
        fix=[
            FITTING_TORCH,
            f"or run in a container of a distribution with glibc {needed} or newer",
        ],
        brief="glibc is too old for this torch",
    )


def _without_glibc(
    os_system: str | None | Unknown, os_name: str | None | Unknown, *, is_installed: bool
) -> Verdict:
    """Linux with musl, such as Alpine: official wheels and zips are for glibc alone."""
    if os_system != "linux" or is_installed:
        return does_not_apply("the C library is not glibc")
    system = os_name if isinstance(os_name, str) else "this system"
    return fail(
        f"{system} has no glibc, and there is no official torch for another C library",
        evidence=[
            Evidence(WOULD_FAIL_WITH, "ERROR: No matching distribution found for torch"),
            Evidence("found", f"{system}, without glibc"),
            Evidence("needed", "a distribution with glibc, e.g. Debian or Ubuntu"),
        ],
        fix=["take an image with glibc, e.g. FROM python:3.12-slim instead of python:3.12-alpine"],
        brief="there is no torch for a system without glibc",
    )


def _needed(
    torch_version: Version, torch_glibc_needed: Version | None | Unknown
) -> tuple[Version | None, str]:
    if isinstance(torch_glibc_needed, Version):
        return torch_glibc_needed, "symbol versions of torch's libraries"
    release = torch_release(torch_version)
    if release is None:
        return None, ""
    return release.glibc_needed, "table of official builds"
