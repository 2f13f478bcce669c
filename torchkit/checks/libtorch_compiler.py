"""A libtorch is for another machine, or this one's compiler cannot build against it.

## What it looks at
The operating system and the CPU the libtorch is made for; the C++ standard and the smallest g++
of its headers; for a CUDA build, the newest g++ that nvcc takes; on Windows, whether it is a
Debug build.

## Why it matters
A libtorch of another system or CPU links nowhere. Its headers stop an old g++, nvcc stops a new
one, and on Windows a Debug library beside Release code crashes.

## What to do
Download the libtorch of this system and CPU; install a g++ that fits.

## References
- https://docs.pytorch.org/cppdocs/installing.html
- https://gcc.gnu.org/projects/cxx-status.html
"""

from __future__ import annotations

from dataclasses import replace

from torchkit.advice.libtorch import GCC_FOR_STANDARD, called, gcc_for_headers, shortly
from torchkit.advice.lines import FITTING_LIBTORCH, compiler_installation
from torchkit.knowledge.compat import torch_release
from torchkit.machine.facts import Libtorch, Unknown, why_unknown
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
from torchkit.versions import Version, as_version

AREA = "libtorch"

USUAL_GCC = 11
"""What a fix names where any newer g++ will do: most distributions offer it."""


def judge(
    libtorchs: tuple[Libtorch, ...],
    gcc_version: Version | None | Unknown,
    nvcc_gcc_max: int | None | Unknown,
    nvcc_version: Version | None | Unknown,
    host_compiler: str | None | Unknown,
    os_system: str | None | Unknown,
    os_name: str | None | Unknown,
    cpu_architecture: str | None | Unknown,
) -> tuple[Verdict, ...]:
    verdicts = []
    bound = nvcc_gcc_max if isinstance(nvcc_gcc_max, int) and host_compiler is None else None
    for libtorch in libtorchs:
        elsewhere = _for_elsewhere(libtorch, os_system, cpu_architecture)
        if libtorch.problem is not None:
            verdicts.append(does_not_apply(f"{called(libtorch)} cannot be used"))
        elif elsewhere is not None:
            verdicts.append(elsewhere)
        elif libtorch.os_system == "windows":
            verdicts.append(_on_windows(libtorch))
        else:
            verdicts.append(_by_gcc(libtorch, gcc_version, bound, nvcc_version, os_name))
    return tuple(verdicts)


def _for_elsewhere(
    libtorch: Libtorch, os_system: str | None | Unknown, cpu_architecture: str | None | Unknown
) -> Verdict | None:
    name, own = called(libtorch), libtorch.os_system
    if own is not None and isinstance(os_system, str) and own != os_system:
        return fail(
            f"{name} is for {_TITLES.get(own, own)}, this machine has {_TITLES.get(os_system, os_system)}",
            evidence=[
                Evidence("found", f"libraries of {_TITLES.get(own, own)}", libtorch.path),
                Evidence("needed", f"a libtorch for {_TITLES.get(os_system, os_system)}"),
            ],
            fix=[FITTING_LIBTORCH],
            brief=f"{shortly(libtorch)} is for another operating system",
        )
    cpu = libtorch.architecture
    if cpu is not None and isinstance(cpu_architecture, str) and cpu != cpu_architecture:
        return fail(
            f"{name} is for {cpu}, this machine is {cpu_architecture}",
            evidence=[
                Evidence(WOULD_FAIL_WITH, "libc10.so: error adding symbols: file in wrong format"),
                Evidence("found", f"libraries for {cpu}", libtorch.path),
                Evidence("needed", f"a libtorch for {cpu_architecture}"),
            ],
            fix=[FITTING_LIBTORCH],
            brief=f"{shortly(libtorch)} is for another CPU",
        )
    return None


_TITLES = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}


def _on_windows(libtorch: Libtorch) -> Verdict:
    name = called(libtorch)
    if libtorch.is_debug:
        return info(
            f"{name} is a Debug build: it goes with Debug programs only",
            fix=["cmake --build build --config Debug"],
        )
    if libtorch.is_debug is None:
        return does_not_apply(f"{name} does not tell whether it is a Debug or a Release build")
    return ok(f"{name} is a Release build: cmake --build build --config Release")


def _by_gcc(
    libtorch: Libtorch,
    gcc_version: Version | None | Unknown,
    bound: int | None,
    nvcc_version: Version | None | Unknown,
    os_name: str | None | Unknown,
) -> Verdict:
    name, version = called(libtorch), as_version(libtorch.version)
    if isinstance(gcc_version, Unknown):
        return could_not_look(why_unknown("gcc_version", gcc_version))
    if gcc_version is None:
        return does_not_apply("there is no g++ to build with")
    release = None if version is None else torch_release(version)
    if release is None:
        return could_not_look(f"what the headers of {name} need is not known")
    needed = gcc_for_headers(release)
    if gcc_version.major < needed:
        standard = release.cxx_standard_headers
        return _too_old(libtorch, gcc_version, needed, standard, os_name)
    if libtorch.cuda is not None and bound is not None and gcc_version.major > bound:
        return _too_new_for_nvcc(libtorch, gcc_version, bound, nvcc_version, os_name)
    return ok(f"g++ {gcc_version} can compile the headers of {name}, which need {needed}")


def _too_old(
    libtorch: Libtorch, gcc: Version, needed: int, standard: int, os_name: str | None | Unknown
) -> Verdict:
    """`needed` is a major version of gcc, `standard` the C++ standard of the headers."""
    error = (
        f"error: unrecognized command line option '-std=gnu++{standard}'"
        if gcc.major < GCC_FOR_STANDARD.get(standard, 0)
        else f'#error "You\'re trying to build PyTorch with a too old version of GCC. We need GCC {needed} or later."'
    )
    return fail(
        f"g++ {gcc} is too old for the headers of {called(libtorch)}, which need {needed} or newer",
        evidence=[
            Evidence(WOULD_FAIL_WITH, error),
            Evidence("found", f"g++ {gcc}"),
            Evidence("needed", f"g++ {needed} or newer (C++{standard})"),
        ],
        fix=[compiler_installation(max(needed, USUAL_GCC), os_name, for_nvcc=False)],
        brief="g++ is too old for a libtorch",
    )


def _too_new_for_nvcc(
    libtorch: Libtorch,
    gcc: Version,
    bound: int,
    nvcc: Version | None | Unknown,
    os_name: str | None | Unknown,
) -> Verdict:
    verdict = warn(
        f"{called(libtorch)} is for CUDA, and nvcc {nvcc} takes g++ up to {bound}, not {gcc}",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                "#error -- unsupported GNU version! gcc versions later than "
                f"{bound} are not supported!",
            ),
            Evidence("found", f"g++ {gcc}"),
            Evidence("needed", f"g++ {bound} or older", "the toolkit's crt/host_config.h"),
        ],
        fix=[compiler_installation(bound, os_name, for_nvcc=True)],
        brief="g++ is too new for nvcc",
    )
    return replace(verdict, part_of="host-compiler-too-new")
