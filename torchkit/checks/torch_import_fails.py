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

import re
from collections.abc import Mapping

from torchkit.advice.lines import FITTING_TORCH, reinstall_line
from torchkit.knowledge.compat import window
from torchkit.machine.facts import Library, Unknown, why_unknown
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

AREA = "torch"

JUDGED_ELSEWHERE = {
    "version `GLIBC_": "glibc-too-old",
    "version `GLIBCXX_": "libstdcxx-too-old",
    "version `CXXABI_": "libstdcxx-too-old",
}
"""Texts that another check explains better. A symbol that a shadowing library lacks is
`library-shadowed`'s: to reinstall torch would not help."""


def judge(
    torch_version: Version | Unknown,
    torch_problems: tuple[str, ...] | Unknown,
    torch_path: str | None | Unknown,
    glibc_version: Version | None | Unknown,
    os_system: str | None | Unknown,
    cpu_architecture: str | None | Unknown,
    shadowed_libraries: tuple[Library, ...] | None | Unknown,
    torch_requires: tuple[str, ...] | None | Unknown,
    nvidia_packages: Mapping[str, str] | None | Unknown,
) -> Verdict:
    if _needs_executable_stack(torch_version, glibc_version, os_system, cpu_architecture):
        return _executable_stack(torch_version, glibc_version, torch_path)
    if isinstance(torch_problems, Unknown):
        return could_not_look(why_unknown("torch_problems", torch_problems))
    lacking = (
        [it.missing for it in shadowed_libraries if it.missing]
        if isinstance(shadowed_libraries, tuple)
        else []
    )
    problems = [text for text in torch_problems if _judge_of(text, lacking) is None]
    if problems:
        return _broken(
            problems, torch_version, torch_path, _uninstalled(torch_requires, nvidia_packages)
        )
    if torch_problems:
        judges = sorted({_judge_of(text, lacking) or "" for text in torch_problems})
        return does_not_apply(f"why `import torch` would fail is judged by {', '.join(judges)}")
    if isinstance(torch_version, Unknown):
        return could_not_look(
            f"torch is installed, its version is not known: {torch_version.reason}"
        )
    return ok("torch's files and every library they need are in place")


_FROM_TORCHS_WHEEL = ("torch", "torchgen", "functorch")
"""Modules that no other package brings: torch itself is installed again."""


def _judge_of(text: str, lacking: list[str]) -> str | None:
    """Id of the check that explains this text better."""
    if any(name in text for name in lacking):
        return "library-shadowed"
    return next((check for mark, check in JUDGED_ELSEWHERE.items() if mark in text), None)


def _uninstalled(
    torch_requires: tuple[str, ...] | None | Unknown,
    nvidia_packages: Mapping[str, str] | None | Unknown,
) -> list[str]:
    """The nvidia-* packages that torch pins and that are not installed, as pip is given them."""
    if not isinstance(torch_requires, tuple) or not isinstance(nvidia_packages, Mapping):
        return []
    pins = [text for text in torch_requires if text.startswith("nvidia-")]
    return [text for text in pins if re.split(r"[^\w.-]", text)[0] not in nvidia_packages]


def _broken(
    problems: list[str],
    torch_version: Version | Unknown,
    torch_path: str | None | Unknown,
    uninstalled: list[str],
) -> Verdict:
    known = torch_version if isinstance(torch_version, Version) else None
    name = f"torch {known}" if known is not None else "torch"
    further = [Evidence("then", text) for text in problems[1:4]]
    message = f"`import torch` would fail: {name} in {torch_path} is not whole"
    fix = [reinstall_line(known)]
    if uninstalled and "cannot open shared object file" in problems[0]:
        message = (
            f"`import torch` would fail: {name} needs {uninstalled[0]}, which is not installed"
        )
        fix.insert(0, "pip install " + " ".join(f"'{text}'" for text in uninstalled))
    absent = re.fullmatch(r"ModuleNotFoundError: No module named '(\w+)'", problems[0])
    if absent and absent[1] not in _FROM_TORCHS_WHEEL:
        package = absent[1].replace("_", "-")
        message = f"`import torch` would fail: {name} needs {package}, which is not installed"
        fix = [f"pip install {package}"]
    if "ermission denied" in problems[0] and isinstance(torch_path, str):
        fix = [f"chmod -R a+rX {torch_path}"]
    return fail(
        message,
        evidence=[Evidence(WOULD_FAIL_WITH, problems[0]), *further],
        fix=fix,
        brief="torch cannot be imported",
    )


def _needs_executable_stack(
    torch_version: Version | Unknown,
    glibc_version: Version | None | Unknown,
    os_system: str | None | Unknown,
    cpu_architecture: str | None | Unknown,
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
            FITTING_TORCH,
            f"patchelf --clear-execstack {folder}/lib/libtorch_cpu.so",
        ],
        brief="torch cannot be imported",
    )
