"""g++ is older than torch's headers need.

## What it looks at
The version of g++, and the smallest that the headers of this torch release accept: their own
check where they have one, and the C++ standard they are written in.

## Why it matters
Building a C++ extension, or a program against libtorch, stops in torch's headers. Running
torch needs no compiler.

## What to do
Install a newer g++ and name it: `export CC=gcc-13 CXX=g++-13`.

## References
- https://github.com/pytorch/pytorch/blob/main/README.md#prerequisites
- https://gcc.gnu.org/projects/cxx-status.html
"""

from __future__ import annotations

from torchkit.advice.lines import compiler_installation
from torchkit.knowledge.compat import newest_torch, torch_release
from torchkit.machine.facts import Unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    info,
    ok,
    warn,
)
from torchkit.versions import Version

AREA = "toolchain"

GCC_FOR_STANDARD = {11: 5, 14: 5, 17: 7, 20: 10}
"""First gcc major whose -std=c++NN is complete enough for torch's headers (gcc's status page)."""


USUAL_GCC = 11
"""What a fix names where any newer g++ will do: most distributions offer it."""


def judge(
    gcc_version: Version,
    torch_version: Version | None,
    os_system: str | None | Unknown,
    os_name: str | None | Unknown,
) -> Verdict:
    if os_system == "windows":
        return does_not_apply("on Windows extensions are built with Visual Studio's compiler")
    release = torch_release(torch_version) if torch_version is not None else newest_torch()
    if release is None:
        return could_not_look(f"what the headers of torch {torch_version} need is not known")
    checked = release.min_gcc_header_check or 0
    to_link = max(checked, GCC_FOR_STANDARD.get(release.cxx_standard_headers, 0))
    standard = max(release.cxx_standard_headers, release.cxx_standard_cpp_extension)
    needed = max(checked, GCC_FOR_STANDARD.get(standard, 0))
    name = f"torch {release.version}"
    if gcc_version.major >= needed:
        return ok(f"g++ {gcc_version} can compile {name}'s headers, which need {needed}")
    error = (
        f"error: unrecognized command line option '-std=c++{standard}'"
        if gcc_version.major < GCC_FOR_STANDARD.get(standard, 0)
        else f'#error "You\'re trying to build PyTorch with a too old version of GCC. We need GCC {needed} or later."'
    )
    build = warn if torch_version is not None else info
    links = gcc_version.major >= to_link
    purpose = "to build extensions" if links else "to build extensions or link libtorch"
    return build(
        f"g++ {gcc_version} is too old to build extensions for {name}, which takes {needed} or newer"
        if links
        else f"g++ {gcc_version} is too old for the headers of {name}, which need {needed} or newer",
        evidence=[
            Evidence(WOULD_FAIL_WITH, error),
            Evidence("found", f"g++ {gcc_version}"),
            Evidence(
                "needed",
                f"g++ {needed} or newer, {purpose} (C++{standard})",
            ),
        ],
        fix=[compiler_installation(max(needed, USUAL_GCC), os_name, for_nvcc=False)],
        brief=f"g++ is too old to build against {name}",
    )
