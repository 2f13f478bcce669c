"""A libtorch needs a newer C or C++ library than this machine has.

## What it looks at
The newest GLIBC, GLIBCXX and CXXABI symbol versions that the libtorch's libraries ask for, the
glibc of this machine, and its libstdc++ where that is the system's own.

## Why it matters
The link stops with undefined references to functions of the C library, and a program that was
linked elsewhere dies in the loader.

## What to do
Take an older libtorch, or build and run on a newer distribution (a container is enough).

## References
- https://github.com/pytorch/pytorch/issues/123649
- https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
"""

from __future__ import annotations

from torchkit.advice.libtorch import called, shortly, unpacked
from torchkit.advice.lines import FITTING_LIBTORCH
from torchkit.machine.facts import Libtorch, Unknown, why_unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    fail,
    ok,
)
from torchkit.versions import Version, as_version

AREA = "libtorch"


def judge(
    libtorchs: tuple[Libtorch, ...],
    glibc_version: Version | None | Unknown,
    libstdcxx_glibcxx: Version | None | Unknown,
    libstdcxx_cxxabi: Version | None | Unknown,
    libstdcxx_path: str | None | Unknown,
    os_system: str | None | Unknown,
    os_name: str | None | Unknown,
) -> tuple[Verdict, ...]:
    if isinstance(glibc_version, Unknown):
        return (could_not_look(why_unknown("glibc_version", glibc_version)),)
    is_own = isinstance(libstdcxx_path, str) and libstdcxx_path.startswith(("/lib", "/usr/lib"))
    here = {
        "GLIBC": glibc_version,
        "GLIBCXX": libstdcxx_glibcxx if is_own else None,
        "CXXABI": libstdcxx_cxxabi if is_own else None,
    }
    system = os_name if isinstance(os_name, str) else "this system"
    return tuple(_judged(libtorch, here, os_system, system) for libtorch in libtorchs)


def _judged(
    libtorch: Libtorch,
    here: dict[str, Version | None | Unknown],
    os_system: str | None | Unknown,
    system: str,
) -> Verdict:
    name = called(libtorch)
    if libtorch.problem is not None:
        return does_not_apply(f"{name} cannot be used")
    if libtorch.os_system != "linux" or os_system in ("windows", "macos"):
        return does_not_apply(f"{name} or this machine is not of Linux")
    needed = {
        "GLIBC": (libtorch.glibc_needed, libtorch.glibc_needed_by),
        "GLIBCXX": (libtorch.glibcxx_needed, libtorch.glibcxx_needed_by),
        "CXXABI": (libtorch.cxxabi_needed, libtorch.cxxabi_needed_by),
    }
    if needed["GLIBC"][0] is None:
        return could_not_look(f"which C library {name} needs could not be read")
    if here["GLIBC"] is None and os_system == "linux":
        return _without_glibc(libtorch, system)
    for family, (text, library) in needed.items():
        wanted, found = as_version(text), here[family]
        if wanted is None or not isinstance(found, Version) or found >= wanted:
            continue
        return _too_old(libtorch, f"{family}_{wanted}", f"{family}_{found}", library, system)
    if here["GLIBC"] is None:
        return could_not_look("the glibc of this machine is not known")
    return ok(f"glibc {here['GLIBC']} is enough, {name} needs {libtorch.glibc_needed}")


def _without_glibc(libtorch: Libtorch, system: str) -> Verdict:
    library = _library(libtorch, libtorch.glibc_needed_by)
    return fail(
        f"{called(libtorch)} needs glibc {libtorch.glibc_needed}, {system} has another C library",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                "Error loading shared library ld-linux-x86-64.so.2: No such file or directory "
                f"(needed by {library})",
            ),
            Evidence("found", "no glibc", system),
        ],
        fix=["build and run in a container of a distribution with glibc"],
        brief=f"{shortly(libtorch)} needs glibc",
    )


def _too_old(
    libtorch: Libtorch, wanted: str, found: str, library: str | None, system: str
) -> Verdict:
    """`wanted` and `found` are versions as symbols have them: `GLIBCXX_3.4.30`."""
    owner = "glibc" if wanted.startswith("GLIBC_") else "libstdc++"
    return fail(
        f"{called(libtorch)} needs {wanted}, the {owner} of {system} has up to {found}",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                f"version `{wanted}' not found (required by {_library(libtorch, library)})",
            ),
            Evidence("found", found, system),
            Evidence("needed", f"{wanted} or newer", library or ""),
        ],
        fix=[
            FITTING_LIBTORCH,
            f"or build and run in a container of a distribution with {wanted}",
        ],
        brief=f"{shortly(libtorch)} needs a newer {owner}",
    )


def _library(libtorch: Libtorch, library: str | None) -> str:
    return f"{unpacked(libtorch)}/lib/{library or 'libtorch.so'}"
