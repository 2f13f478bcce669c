"""The host compiler is newer than nvcc allows.

## What it looks at
The version of g++, or of the compiler NVCC_CCBIN or CUDAHOSTCXX names, and the bound in the
toolkit's own `crt/host_config.h`; a table is asked only where that header is missing. nvcc
compares major versions.

## Why it matters
Every compilation of CUDA code stops with "unsupported GNU version". Nothing that is built
already is touched.

## What to do
Install an older g++ and name it: CC and CXX for torch.utils.cpp_extension, CUDAHOSTCXX for
CMake, NVCC_CCBIN for nvcc itself. Or take a newer toolkit.

## References
- https://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html#host-compiler-support-policy
- https://github.com/pytorch/pytorch/issues/136556
"""

from __future__ import annotations

from torchkit.advice.lines import compiler_installation
from torchkit.knowledge.compat import clang_max, cuda_toolkits, gcc_max
from torchkit.machine.facts import Unknown, why_unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    ok,
    warn,
)
from torchkit.versions import InvalidVersion, Version

AREA = "toolchain"


def judge(
    nvcc_version: Version,
    gcc_version: Version | None | Unknown,
    nvcc_gcc_max: int | None | Unknown,
    nvcc_clang_max: int | None | Unknown,
    host_compiler: str | None | Unknown,
    os_system: str | None | Unknown,
    os_name: str | None | Unknown,
) -> Verdict:
    if os_system == "windows":
        return does_not_apply("on Windows nvcc uses Visual Studio's compiler")
    named = host_compiler if isinstance(host_compiler, str) else None
    kind, version = _compiler(named, gcc_version)
    if named is not None and version is None:
        return could_not_look(f"the version of {named}, which nvcc is told to use, is not known")
    if version is None and isinstance(gcc_version, Unknown):
        return could_not_look(why_unknown("gcc_version", gcc_version))
    if version is None:
        return does_not_apply("there is no g++ for nvcc to use")
    bound, source = _bound(kind, nvcc_version, nvcc_gcc_max, nvcc_clang_max)
    if bound is None:
        return could_not_look(f"the newest {kind} that nvcc {nvcc_version} takes is not known")
    if version.major <= bound:
        return ok(f"nvcc {nvcc_version} takes {kind} up to {bound}, found {version}")
    macro = "GNU" if kind == "gcc" else "clang"
    words = (
        f"gcc versions later than {bound} are not supported!"
        if kind == "gcc"
        else f"clang version must be less than {bound + 1}"
    )
    error = f"#error -- unsupported {macro} version! {words}"
    return warn(
        f"{kind} {version} is too new for nvcc {nvcc_version}, which takes {kind} up to {bound}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, error),
            Evidence("found", f"{kind} {version}"),
            Evidence("needed", f"{kind} {bound} or older, to compile CUDA code", source),
        ],
        fix=_fix(kind, version, bound, os_name),
        brief=f"{kind} is too new for nvcc",
    )


def _fix(kind: str, version: Version, bound: int, os_name: str | None | Unknown) -> list[str]:
    if kind != "gcc":
        return [f"install clang {bound}, then: export NVCC_CCBIN=clang++-{bound}"]
    fix = [compiler_installation(bound, os_name, for_nvcc=True)]
    taking = [toolkit for toolkit in cuda_toolkits() if toolkit.gcc_max >= version.major]
    if taking:
        oldest = taking[0].version
        fix.append(f"or install CUDA {oldest} or newer, whose nvcc takes gcc {version.major}")
    return fix


def _compiler(
    named: str | None, gcc_version: Version | None | Unknown
) -> tuple[str, Version | None]:
    """The compiler nvcc is told to use (`clang 17.0.6`), else g++."""
    if named is not None:
        kind, _, text = named.partition(" ")
        try:
            return kind, Version(text)
        except InvalidVersion:
            return kind, None
    return "gcc", gcc_version if isinstance(gcc_version, Version) else None


def _bound(
    kind: str,
    nvcc_version: Version,
    nvcc_gcc_max: int | None | Unknown,
    nvcc_clang_max: int | None | Unknown,
) -> tuple[int | None, str]:
    own = nvcc_clang_max if kind == "clang" else nvcc_gcc_max
    if isinstance(own, int):
        return own, "the toolkit's crt/host_config.h"
    bound = clang_max(nvcc_version) if kind == "clang" else gcc_max(nvcc_version)
    return bound, "table of CUDA toolkits"
