"""Compilers and build tools: nvcc, gcc, clang, cmake, and what nvcc allows beside it."""

from __future__ import annotations

import re
from pathlib import Path

from torchkit.machine.facts import Unknown, Value
from torchkit.system import System
from torchkit.versions import Version, as_version

TOOL_LIMIT_S = 5.0
"""How long a compiler may take to say its version."""

DEFAULT_CUDA_HOMES = ("/usr/local/cuda", "/opt/cuda")


def toolchain_facts(system: System) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `toolchain`."""
    home, nvcc = cuda_home_and_nvcc(system)
    gcc = _first_program(system, "g++", "gcc")
    return {
        "cuda_home": str(home) if home is not None else None,
        "nvcc_path": str(nvcc) if nvcc is not None else None,
        "nvcc_version": _nvcc_version(system, nvcc),
        **_host_bounds(system, home, nvcc),
        "gcc_path": str(gcc) if gcc is not None else None,
        "gcc_version": _gcc_version(system, gcc),
        "clang_version": _said_version(
            system, _first_program(system, "clang++", "clang"), r"clang version (\d[\d.]*)"
        ),
        "cmake_version": _said_version(
            system, system.which("cmake"), r"cmake version (\d[\d.]*\w*)"
        ),
        "host_compiler": _host_compiler(system),
    }


def cuda_home_and_nvcc(system: System) -> tuple[Path | None, Path | None]:
    """The toolkit a build takes, in the order of torch.utils.cpp_extension._find_cuda_home.

    CUDA_HOME, CUDA_PATH, then the nvcc on PATH (followed through links), then the usual folder.
    """
    for name in ("CUDA_HOME", "CUDA_PATH"):
        named = system.environ.get(name)
        if named:
            nvcc = Path(named) / "bin" / "nvcc"
            return Path(named), nvcc if system.exists(nvcc) else None
    on_path = system.which("nvcc")
    if on_path is not None:
        return _home_of(system, on_path), on_path
    for folder in DEFAULT_CUDA_HOMES:
        nvcc = Path(folder) / "bin" / "nvcc"
        if system.exists(nvcc):
            return Path(folder), nvcc
    return None, None


def _home_of(system: System, nvcc: Path) -> Path:
    """The toolkit's folder; an nvcc that is a two-line script is followed to the one it starts."""
    home = system.resolve(nvcc).parent.parent
    if system.exists(home / "include"):
        return home if _has_toolkit(system, home) else _home_by_script(system, nvcc) or home
    return _home_by_script(system, nvcc) or home


def _has_toolkit(system: System, home: Path) -> bool:
    return any(
        system.exists(home / name)
        for name in ("include/crt/host_config.h", "include/cuda.h", "version.json", "nvvm")
    )


def _home_by_script(system: System, nvcc: Path) -> Path | None:
    if (system.size(nvcc) or 0) > 4096:
        return None
    text = system.read_text(nvcc)
    match = re.search(r"(/[^\s'\"]*)/bin/nvcc\b", text) if isinstance(text, str) else None
    return Path(match[1]) if match and system.exists(match[1]) else None


def _nvcc_version(system: System, nvcc: Path | None) -> Value:
    return _said_version(system, nvcc, r"release [\d.]+, V(\d[\d.]*)")


def _host_bounds(system: System, home: Path | None, nvcc: Path | None) -> dict[str, Value]:
    """The newest host compilers by `#if __GNUC__ > N` in the toolkit's crt/host_config.h.

    The toolkit's word comes before any table: torch's own and others' are known to be wrong.
    """
    if home is None or nvcc is None:
        return {"nvcc_gcc_max": None, "nvcc_clang_max": None}
    text: str | None = None
    for folder in (home, system.resolve(nvcc).parent.parent):
        for place in (
            "include/crt/host_config.h",
            "targets/x86_64-linux/include/crt/host_config.h",
        ):
            if text is None:
                read = system.read_text(folder / place)
                text = read if isinstance(read, str) else None
    if text is None:
        unknown = Unknown("the toolkit has no crt/host_config.h")
        return {"nvcc_gcc_max": unknown, "nvcc_clang_max": unknown}
    gcc = re.search(r"#\s*if\s+__GNUC__\s*>\s*(\d+)", text)
    clang = re.search(r"__clang_major__\s*>=?\s*(\d+)", text)
    exclusive = clang is not None and ">=" in clang[0]
    silent = Unknown("crt/host_config.h names no bound")
    return {
        "nvcc_gcc_max": int(gcc[1]) if gcc else silent,
        "nvcc_clang_max": int(clang[1]) - exclusive if clang else silent,
    }


def _host_compiler(system: System) -> str | None:
    """`gcc 12.2.0` for the compiler that NVCC_CCBIN or CUDAHOSTCXX names; None for the default."""
    for name in ("NVCC_CCBIN", "CUDAHOSTCXX"):
        named = system.environ.get(name)
        if named:
            program = system.which(named)
            if program is None and system.is_folder(named):
                program = system.which(f"{named}/g++")
            if program is None:
                return f"{named} (not found)"
            kind = "clang" if "clang" in program.name else "gcc"
            if kind == "clang":
                version = _said_version(system, program, r"clang version (\d[\d.]*)")
            else:
                version = _gcc_version(system, program)
            return f"{kind} {version}" if isinstance(version, Version) else str(program)
    return None


def _first_program(system: System, *names: str) -> Path | None:
    return next((found for found in map(system.which, names) if found is not None), None)


def _gcc_version(system: System, program: Path | None) -> Value:
    """Asked twice over: -dumpversion alone gives only the major on some distributions.

    Apple's g++ is clang under another name; it answers 4.2.1, and counts as no gcc.
    """
    if program is None or system.platform == "darwin":
        return None
    return _said_version(system, program, r"^(\d[\d.]*)\s*$", "-dumpfullversion", "-dumpversion")


def _said_version(system: System, program: Path | None, pattern: str, *arguments: str) -> Value:
    """What a program says its version is; None when there is no program."""
    if program is None:
        return None
    answer = system.run([program, *(arguments or ("--version",))], limit_s=TOOL_LIMIT_S)
    if isinstance(answer, Unknown):
        return answer
    match = re.search(pattern, answer.stdout, re.MULTILINE)
    version = as_version(match[1]) if match else None
    if version is not None:
        return version
    said = (answer.stdout.strip() or answer.stderr.strip() or "nothing").splitlines()[0]
    return Unknown(f"{program} said: {said[:200]}")
