"""Compilers and build tools: nvcc, gcc, clang, cmake, and what nvcc allows beside it."""

from __future__ import annotations

import re
from pathlib import Path

from torchkit.machine.cmake_cuda import cmake_cuda_home
from torchkit.machine.facts import Unknown, Value
from torchkit.system import System
from torchkit.versions import Version, as_version

TOOL_LIMIT_S = 5.0
"""How long a compiler may take to say its version."""

SCRIPT_LIMIT_BYTES = 4096
"""A larger nvcc is the compiler itself, not a script that starts it."""

CLANG_VERSION = r"clang version (\d+(?:\.\d+)*)"

DEFAULT_CUDA_HOMES = ("/usr/local/cuda", "/opt/cuda")
WINDOWS_CUDA_HOMES = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"

APPLE_TOOLS = (
    "/Library/Developer/CommandLineTools/usr/bin/clang",
    "/Applications/Xcode.app",
    "/var/db/xcode_select_link",
)
"""Without one of these, macOS' own /usr/bin/clang only opens a window that offers to install it."""


def toolchain_facts(system: System) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `toolchain`."""
    home, nvcc = cuda_home_and_nvcc(system)
    by_cmake = cmake_cuda_home(system, home)
    gcc, gcc_version = _gcc(system)
    return {
        "cuda_home": str(home) if home is not None else None,
        "cmake_cuda_home": str(by_cmake) if by_cmake is not None else None,
        "nvcc_path": str(nvcc) if nvcc is not None else None,
        "nvcc_version": _nvcc_version(system, nvcc),
        **_host_bounds(system, home, nvcc),
        "gcc_path": str(gcc) if gcc is not None else None,
        "gcc_version": gcc_version,
        "clang_version": _said_version(
            system, _first_program(system, "clang++", "clang"), CLANG_VERSION
        ),
        "cmake_version": _said_version(
            system, system.which("cmake"), r"cmake3? version (\d+(?:\.\d+)*(?:-rc\d+)?)"
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
            return Path(named), system.which(str(Path(named) / "bin" / "nvcc"))
    on_path = system.which("nvcc")
    if on_path is not None:
        return _home_of(system, on_path), on_path
    folders = [Path(folder) for folder in DEFAULT_CUDA_HOMES]
    if system.platform == "win32":
        home = Path(WINDOWS_CUDA_HOMES)
        folders = [home / name for name in system.names_in(home) if name.startswith("v")]
    for folder in folders:
        if system.is_folder(folder):
            return folder, system.which(str(folder / "bin" / "nvcc"))
    return None, None


def _home_of(system: System, nvcc: Path) -> Path:
    """The toolkit's folder, which is not the one above nvcc where that is a link or a script."""
    real = system.resolve(nvcc).parent.parent
    for home in (nvcc.parent.parent, real):
        if _has_toolkit(system, home):
            return home
    return _home_by_script(system, nvcc) or real


def _has_toolkit(system: System, home: Path) -> bool:
    return any(
        system.exists(home / name)
        for name in ("include/crt/host_config.h", "include/cuda.h", "version.json", "nvvm")
    )


def _home_by_script(system: System, nvcc: Path) -> Path | None:
    """The folder of the nvcc that a script starts (`exec /usr/local/cuda/bin/nvcc "$@"`)."""
    if (system.size(nvcc) or 0) > SCRIPT_LIMIT_BYTES:
        return None
    text = system.read_text(nvcc)
    for match in re.finditer(r"(/[^\s'\"]*)/bin/nvcc\b", text if isinstance(text, str) else ""):
        home = Path(match[1])
        if system.which(str(home / "bin" / "nvcc")) not in (None, nvcc):
            return home
    return None


def _nvcc_version(system: System, nvcc: Path | None) -> Value:
    return _said_version(system, nvcc, r"release [\d.]+, V(\d[\d.]*)")


def _host_bounds(system: System, home: Path | None, nvcc: Path | None) -> dict[str, Value]:
    """The newest host compilers by `#if __GNUC__ > N` in the toolkit's crt/host_config.h.

    The toolkit's word comes before any table: torch's own and others' are known to be wrong.
    """
    if home is None or nvcc is None:
        return {"nvcc_gcc_max": None, "nvcc_clang_max": None}
    text = _host_config(system, (home, system.resolve(nvcc).parent.parent))
    if not isinstance(text, str):
        unknown = text or Unknown("the toolkit has no crt/host_config.h")
        return {"nvcc_gcc_max": unknown, "nvcc_clang_max": unknown}
    silent = Unknown("crt/host_config.h names no bound")
    gcc = re.search(r"(?m)^#\s*if\s+\(?\s*__GNUC__\s*>\s*(\d+)", text)
    # the last one is for clang as such; those before it are for variants (HOS)
    clang = re.findall(r"(?m)^#\s*if\s+\(?\s*__clang_major__\s*>=\s*(\d+)", text)
    return {
        "nvcc_gcc_max": int(gcc[1]) if gcc else silent,
        "nvcc_clang_max": int(clang[-1]) - 1 if clang else silent,
    }


def _host_config(system: System, homes: tuple[Path, ...]) -> str | None | Unknown:
    """The header that refuses compilers; conda and cross toolkits have it below targets/."""
    unread: Unknown | None = None
    for home in dict.fromkeys(homes):
        targets = [home / "targets" / name for name in system.names_in(home / "targets")]
        for folder in (home, *targets):
            text = system.read_text(folder / "include" / "crt" / "host_config.h")
            if isinstance(text, str):
                return text
            unread = text or unread
    return unread


def _host_compiler(system: System) -> str | None:
    """`gcc 12.2.0` for the compiler that NVCC_CCBIN or CUDAHOSTCXX names; None for the default."""
    for name in ("NVCC_CCBIN", "CUDAHOSTCXX"):
        named = system.environ.get(name)
        if named:
            program = system.which(named)
            if program is None and system.is_folder(named):
                program = system.which(f"{named}/g++") or system.which(f"{named}/gcc")
            return f"{named} (not found)" if program is None else _named_compiler(system, program)
    return None


def _named_compiler(system: System, program: Path) -> str:
    gcc = _gcc_version(system, program)
    if isinstance(gcc, Version):
        return f"gcc {gcc}"
    clang = _said_version(system, program, CLANG_VERSION)
    return f"clang {clang}" if isinstance(clang, Version) else str(program)


def _first_program(system: System, *names: str) -> Path | None:
    return next((found for name in names if (found := _tool(system, name)) is not None), None)


def _tool(system: System, name: str) -> Path | None:
    found = system.which(name)
    if found is not None and system.platform == "darwin" and found.parent == Path("/usr/bin"):
        return found if any(system.exists(place) for place in APPLE_TOOLS) else None
    return found


def _gcc(system: System) -> tuple[Path | None, Value]:
    """The first program of these names that is gcc, and its version.

    conda's compilers have long names, and are on PATH by those alone.
    """
    conda = f"{system.architecture}-conda-linux-gnu-"
    told = [system.environ.get(name, "").split(" ")[0] for name in ("CXX", "CC")]
    for name in (*filter(None, told), "g++", "gcc", "c++", f"{conda}c++", f"{conda}cc"):
        program = _tool(system, name)
        version = _gcc_version(system, program)
        if version is not None:
            return program, version
    return None, None


def _gcc_version(system: System, program: Path | None) -> Value:
    """None for a clang that is called gcc, as on macOS.

    -dumpversion alone gives only the major on some distributions; before gcc 7 the two mean it.
    """
    if program is None:
        return None
    answer = system.run([program, "--version"], limit_s=TOOL_LIMIT_S)
    if isinstance(answer, Unknown):
        return answer
    if re.search(r"\bclang\b", answer.stdout):
        return None
    told = re.match(r"[^\n]*\) (\d+\.\d+\.\d+)\b", answer.stdout)
    if told is not None:
        return Version(told[1])
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
