"""Facts about the packages of an interpreter: torch's companions, NVIDIA's libraries, whose pip."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torchkit.machine.distributions import Distribution, Packages, same_release
from torchkit.machine.facts import Companion, Unknown, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.machine.markers import holds
from torchkit.system import System
from torchkit.versions import as_version

COMPANIONS = frozenset(
    [
        "torchvision",
        "torchaudio",
        "torchtext",
        "torchdata",
        "torchao",
        "torchcodec",
        "torchrl",
        "tensordict",
        "torchrec",
        "functorch",
        "xformers",
        "flash-attn",
        "flash-attn-3",
        "fbgemm-gpu",
        "torch-tensorrt",
        "torch-scatter",
        "torch-sparse",
        "torch-cluster",
        "torch-spline-conv",
        "pyg-lib",
        "pytorch3d",
        "mmcv",
        "detectron2",
        "apex",
        "vllm",
        "deepspeed",
        "natten",
        "kaolin",
        "causal-conv1d",
        "mamba-ssm",
        "executorch",
    ]
)
"""Packages with compiled code for one torch; others count when they ask for a version of it."""

TRITON_NAMES = ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-rocm", "triton-windows")


def package_facts(system: System, interpreter: Interpreter, packages: Packages) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `packages`."""
    companions, dependents = _around_torch(system, interpreter, packages)
    return {
        "python_version": interpreter.version,
        "python_executable": str(interpreter.executable),
        "python_prefix": str(interpreter.prefix),
        "python_tag": interpreter.tag,
        "python_free_threaded": interpreter.free_threaded,
        "python_is_active": _is_active(system, interpreter),
        "python_manager": _python_manager(system, interpreter),
        "python_externally_managed": _is_externally_managed(system, interpreter),
        "numpy_version": _version_of(packages, "numpy"),
        "setuptools_version": _version_of(packages, "setuptools"),
        "triton_version": _version_of(packages, *TRITON_NAMES),
        "nvidia_packages": _nvidia_packages(packages),
        "companions": companions,
        "torch_dependents": dependents,
    }


def _is_active(system: System, interpreter: Interpreter) -> bool:
    """Whether the `pip` of PATH is this interpreter's: the script's first lines name its Python.

    Without such a name (pip.exe, a shell script) it must lie beside the interpreter.
    """
    pip = system.which("pip")
    if pip is None:
        return False
    script = system.read_bytes(pip)
    start = script[:PIP_START_BYTES] if isinstance(script, bytes) else b""
    named = re.match(_PIP_OF_PYTHON, start)
    of_pip = Path((named[1] or named[2]).decode("utf-8", "replace")) if named else pip
    executable = interpreter.executable
    if system.resolve(of_pip.parent) != system.resolve(executable.parent):
        return False
    return not named or system.resolve(of_pip) == system.resolve(executable)


PIP_START_BYTES = 1024
"""Where a script names its interpreter; the kernel reads no more than 256 of them."""

_PIP_OF_PYTHON = re.compile(
    rb"#!\s*(/\S*python[\w.]*)\s" rb"|#!\s*/bin/sh\s+'''exec' \"?(/[^\n\"]*?)\"? \"\$0\""
)
"""The line `#!/env/bin/python`, and what pip writes where the path is long or has spaces."""


def _python_manager(system: System, interpreter: Interpreter) -> str | None:
    """`uv` for an environment that it made, without a pip in it: a line in pyvenv.cfg says so."""
    text = system.read_text(interpreter.prefix / "pyvenv.cfg")
    return "uv" if isinstance(text, str) and re.search(r"(?m)^uv\s*=", text) else None


def _is_externally_managed(system: System, interpreter: Interpreter) -> bool:
    """PEP 668: a file in the folder of the standard library, and no virtual environment."""
    if system.size(interpreter.prefix / "pyvenv.cfg") is not None:
        return False
    if system.environ.get("PIP_BREAK_SYSTEM_PACKAGES", "").lower() in ("1", "true", "yes", "on"):
        return False
    return any(
        system.size(folder / "EXTERNALLY-MANAGED") is not None
        for folder in interpreter.package_folders
    )


def _version_of(packages: Packages, *names: str) -> Value:
    for name in names:
        distribution = packages[name]
        if distribution is not None:
            return as_version(distribution.version) or Unknown(
                f"{name} is installed with the version {distribution.version!r}"
            )
    return None


def _nvidia_packages(packages: Packages) -> Mapping[str, str]:
    """NVIDIA's libraries as packages: nvidia-cudnn-cu12, cuda-toolkit and their like."""
    return {
        found.name: found.version
        for found in packages.installed()
        if found.name.startswith("nvidia-") or found.name in ("cuda-toolkit", "cuda-bindings")
    }


_ASKS_FOR_TORCH = re.compile(r"(?i)torch(?![\w.-])\s*(?:\[[^]]*\])?\s*([^;]*)(?:;(.*))?")
"""A requirement of torch: the specifier or address, and the marker."""


def _around_torch(
    system: System, interpreter: Interpreter, packages: Packages
) -> tuple[tuple[Companion, ...], tuple[str, ...]]:
    companions, dependents = [], []
    for found in packages.installed():
        specifier = _asked_of_torch(system, interpreter, packages.requires(found))
        if specifier is not None:
            dependents.append(found.name)
        if found.name in COMPANIONS or specifier:
            companions.append(_companion(system, found, specifier or None))
    return tuple(companions), tuple(dependents)


def _asked_of_torch(
    system: System, interpreter: Interpreter, requires: tuple[str, ...]
) -> str | None:
    """The specifier of the torch that is asked for, "" for any; None where none is."""
    for text in requires:
        match = _ASKS_FOR_TORCH.fullmatch(text)
        marker = match[2] or "" if match else ""
        if match is None or "extra" in marker:
            continue
        if not marker.strip() or holds(marker, system, interpreter):
            specifier = match[1].strip(" \t()")
            return "" if specifier.startswith("@") else specifier
    return None


def described(
    system: System, interpreter: Interpreter, packages: Packages, found: Distribution
) -> Companion:
    """What a distribution was made for, whether or not it counts as one of torch's companions."""
    return _companion(
        system, found, _asked_of_torch(system, interpreter, packages.requires(found)) or None
    )


def _companion(system: System, found: Distribution, requires_torch: str | None) -> Companion:
    version, built_for, cuda = found.version, None, None
    folder = found.site / found.name.replace("-", "_")
    text = system.read_text(folder / "version.py") if found.name in COMPANIONS else None
    own = (
        re.search(r"(?m)^__version__[^=\n]*=\s*['\"]([^'\"]+)", text or "")
        if isinstance(text, str)
        else None
    )
    if own and same_release(own[1], version):
        version = own[1]
    local = version.partition("+")[2]
    if local:
        built_for, cuda = _torch_in(local), _cuda_in(local)
    if found.name == "xformers":
        built_for, cuda = _xformers_build(system, folder) or (built_for, cuda)
    return Companion(found.name, version, requires_torch, built_for, cuda)


def _torch_in(local: str) -> str | None:
    """The torch in a local version tag: `cu12torch2.6cxx11abiFALSE`, `pt24cu121`, `torch260cu126`."""
    match = (
        re.search(r"torch(\d+\.\d+(?:\.\d+)?)", local)
        or re.search(r"torch(\d)(\d{1,2})(\d)(?!\d)", local)
        or re.search(r"pt(\d)(\d+)", local)
    )
    return ".".join(match.groups()) if match else None


def _cuda_in(local: str) -> str | None:
    """The CUDA in a local version tag: `cu121` is 12.1, `cu92` 9.2, `cu12` 12; `cpu` is none."""
    match = re.search(r"cu(\d{2,3})(?!\d)", local)
    if match is None:
        return "cpu" if re.search(r"(?:^|[\d.])cpu", local) else None
    digits = match[1]
    if len(digits) == 2:
        return digits if digits.startswith("1") else f"{digits[0]}.{digits[1]}"
    return f"{digits[:2]}.{digits[2]}"


def _xformers_build(system: System, folder: Path) -> tuple[str | None, str | None] | None:
    """What xformers was compiled for, from its own cpp_lib.json (xformers/_cpp_lib.py)."""
    text = system.read_text(folder / "cpp_lib.json")
    try:
        version = json.loads(text)["version"] if isinstance(text, str) else {}
        torch, cuda = version.get("torch"), version.get("cuda")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    number = int(cuda) if isinstance(cuda, int) else 0
    return (
        str(torch) if torch else None,
        f"{number // 100}.{number % 100}" if number else None,
    )
