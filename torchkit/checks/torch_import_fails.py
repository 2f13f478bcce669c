"""torch is installed, but `import torch` would fail.

## What it looks at
torch's own files, without importing them: its first Python modules, its compiled module for
this Python, and every library these need, searched for in the order of the dynamic loader.

## Why it matters
Nothing that uses torch starts. An installation that was interrupted, copied from another
Python, or lost a library looks complete to pip.

## What to do
Reinstall torch together with what it depends on. For an executable stack (official wheels
1.10 to 1.12 on glibc 2.41 and newer), take torch 1.13 or newer, or clear the flag with patchelf.

## References
- https://github.com/pytorch/pytorch/issues/157709
- https://github.com/conda-forge/pytorch-cpu-feedstock/issues/350
"""

from __future__ import annotations

from torchkit.advice import reinstall_line
from torchkit.knowledge.compat import window
from torchkit.machine.facts import Unknown, why_unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, could_not_look, fail, ok
from torchkit.versions import Version

AREA = "torch"

JUDGED_ELSEWHERE = ("version `GLIBC_", "version `GLIBCXX_", "version `CXXABI_")
"""Texts that `glibc-too-old` and `libstdcxx-too-old` explain better."""


def judge(
    torch_version: Version | Unknown,
    torch_problems: tuple[str, ...] | Unknown,
    torch_path: str | None | Unknown,
    glibc_version: Version | None | Unknown,
    os_system: str | Unknown,
    cpu_architecture: str | Unknown,
) -> Verdict:
    if _needs_executable_stack(torch_version, glibc_version, os_system, cpu_architecture):
        return _executable_stack(torch_version, glibc_version, torch_path)
    if isinstance(torch_problems, Unknown):
        return could_not_look(why_unknown("torch_problems", torch_problems))
    problems = [
        text for text in torch_problems if not any(mark in text for mark in JUDGED_ELSEWHERE)
    ]
    if problems:
        return _broken(problems, torch_version, torch_path)
    if isinstance(torch_version, Unknown):
        return fail(
            "torch is installed, but its version cannot be read",
            evidence=[Evidence("found", torch_version.reason, str(torch_path))],
            fix=[reinstall_line(None)],
        )
    return ok("torch's files and every library they need are in place")


def _broken(
    problems: list[str], torch_version: Version | Unknown, torch_path: str | None | Unknown
) -> Verdict:
    known = torch_version if isinstance(torch_version, Version) else None
    name = f"torch {known}" if known is not None else "torch"
    further = [Evidence("then", text) for text in problems[1:4]]
    return fail(
        f"`import torch` would fail: {name} in {torch_path} is not whole",
        evidence=[Evidence(WOULD_FAIL_WITH, problems[0]), *further],
        fix=[reinstall_line(known)],
        brief="torch cannot be imported",
    )


def _needs_executable_stack(
    torch_version: Version | Unknown,
    glibc_version: Version | None | Unknown,
    os_system: str | Unknown,
    cpu_architecture: str | Unknown,
) -> bool:
    if not isinstance(torch_version, Version) or not isinstance(glibc_version, Version):
        return False
    if os_system in ("macos", "windows") or cpu_architecture == "aarch64":
        return False
    return window("execstack").covers(torch_version, glibc_version)


def _executable_stack(
    torch_version: Version | Unknown,
    glibc_version: Version | None | Unknown,
    torch_path: str | None | Unknown,
) -> Verdict:
    folder = torch_path if isinstance(torch_path, str) else "…/torch"
    return fail(
        f"torch {torch_version} asks for an executable stack, which glibc {glibc_version} refuses",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                "ImportError: libtorch_cpu.so: cannot enable executable stack as shared object "
                "requires: Invalid argument",
            ),
            Evidence("found", f"glibc {glibc_version}"),
            Evidence("needed", "torch 1.13 or newer, or glibc before 2.41"),
        ],
        fix=[
            "pip install 'torch>=1.13'",
            f"patchelf --clear-execstack {folder}/lib/libtorch_cpu.so",
        ],
        brief="torch cannot be imported",
    )
