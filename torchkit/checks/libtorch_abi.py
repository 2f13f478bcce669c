"""A libtorch has another C++ ABI than this machine's compiler builds.

## What it looks at
The std::string in the names that the libtorch's own libraries export, what its CMake files say of
it, and which ABI g++ builds by default here.

## Why it matters
The linker finds no function that takes or gives a std::string. Where the libtorch's CMake files
set the ABI, a program that is built with them links; other C++ libraries that it uses (OpenCV,
protobuf …) then have the wrong one.

## What to do
Download the build with the compiler's ABI, or compile everything with the libtorch's.

## References
- https://gcc.gnu.org/onlinedocs/libstdc++/manual/using_dual_abi.html
- https://github.com/pytorch/pytorch/issues/13541
"""

from __future__ import annotations

from torchkit.advice.libtorch import called, shortly, uses_cxx11_abi, zip_address
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
    warn,
)
from torchkit.versions import Version

AREA = "libtorch"


def judge(
    libtorchs: tuple[Libtorch, ...],
    gcc_version: Version | None | Unknown,
    glibc_version: Version | None | Unknown,
) -> tuple[Verdict, ...]:
    return tuple(_judged(libtorch, gcc_version, glibc_version) for libtorch in libtorchs)


def _judged(
    libtorch: Libtorch,
    gcc_version: Version | None | Unknown,
    glibc_version: Version | None | Unknown,
) -> Verdict:
    name, cxx11 = called(libtorch), libtorch.cxx11_abi
    if libtorch.problem is not None:
        return does_not_apply(f"{name} cannot be used")
    if libtorch.os_system != "linux":
        return does_not_apply(f"{name} has no choice of a C++ ABI")
    if cxx11 is None:
        return could_not_look(f"the C++ ABI of {name} could not be read")
    if isinstance(gcc_version, Unknown):
        return could_not_look(why_unknown("gcc_version", gcc_version))
    glibc = glibc_version if isinstance(glibc_version, Version) else None
    wanted = uses_cxx11_abi(gcc_version, glibc)
    compiler = f"g++ {gcc_version}" if gcc_version is not None else "a compiler of today"
    if cxx11 is wanted:
        return ok(f"{name} has the {_named(cxx11)} C++ ABI, as {compiler} builds")
    is_set = not cxx11 and libtorch.cmake_cxx11_abi is False
    message = f"{name} has the {_named(cxx11)} C++ ABI, {compiler} builds the {_named(wanted)} one"
    if is_set:
        message += "; its CMake files set it for programs, not for other C++ libraries"
    evidence = [
        Evidence("found", f"the {_named(cxx11)} C++ ABI", "names in its libraries"),
        Evidence("needed", f"the {_named(wanted)} one, which {compiler} builds by default"),
    ]
    if libtorch.string_symbol is not None:
        error = f"undefined reference to `{libtorch.string_symbol}'"
        evidence.insert(0, Evidence(WOULD_FAIL_WITH, error))
    return (warn if is_set else fail)(
        message,
        evidence=evidence,
        fix=_fix(libtorch, wanted),
        brief=f"{shortly(libtorch)} has the {_named(cxx11)} C++ ABI",
    )


def _named(cxx11: bool) -> str:
    return "new" if cxx11 else "old"


def _fix(libtorch: Libtorch, cxx11: bool) -> list[str]:
    address = zip_address(libtorch, cxx11=cxx11)
    fix = [f"download instead: {address}" if address is not None else FITTING_LIBTORCH]
    if cxx11:
        fix.append(
            "or compile everything with the old one: add_definitions(-D_GLIBCXX_USE_CXX11_ABI=0)"
        )
    elif address is None:
        fix = ["build on a newer distribution, whose g++ builds the new C++ ABI"]
    return fix
