"""Which torch `import torch` would take, and what it says of itself.

Text files are read as text: a torch that would crash on import is described all the same.
What is wrong with its sources is told by `torch_sources`, what its libraries say by `libtorch`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torchkit.machine.distributions import Distribution, Packages, same_release
from torchkit.machine.facts import Install, Unknown, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.machine.markers import holds, normal_requirement
from torchkit.machine.torch_sources import source_problems
from torchkit.system import System
from torchkit.versions import Version, as_version


@dataclass(frozen=True)
class TorchFolder:
    """The torch that wins: its folder, or the single file that stands in its place."""

    path: Path
    is_real: bool


def find_torch(system: System, interpreter: Interpreter) -> TorchFolder | None:
    """What `import torch` takes in this interpreter; None when there is nothing of that name."""
    origin = interpreter.torch
    if origin is None:
        return None
    folder = origin.parent if origin.name.startswith("__init__.") else origin
    return TorchFolder(folder, _is_real(system, folder))


def torch_facts(
    system: System, interpreter: Interpreter, packages: Packages, torch: TorchFolder | None
) -> dict[str, Value]:
    """The part of the probe `torch` that is told by text files."""
    facts: dict[str, Value] = {
        "torch_installs": _installs(system, interpreter, packages, torch),
        "torch_shadows": _shadows(system, interpreter, torch),
    }
    if torch is None or not torch.is_real:
        return facts | dict.fromkeys(_TOLD_BY_TORCH, None)
    told = _version_file(system, torch.path)
    distribution = _distribution(system, packages, torch.path, told)
    version = _version(told, distribution)
    cmake = torch.path / "share" / "cmake"
    return facts | {
        "torch_version": version,
        "torch_path": str(torch.path),
        "torch_manager": _manager(
            system,
            interpreter,
            packages,
            distribution,
            str(version) if isinstance(version, Version) else None,
        ),
        "torch_build": _build(told, version),
        "torch_cuda": _cuda(told, version),
        "torch_cmake_prefix": str(cmake)
        if system.exists(cmake / "Torch" / "TorchConfig.cmake")
        else None,
        "torch_requires": _requires(system, interpreter, packages, distribution),
        "torch_problems": source_problems(system, interpreter, torch.path, distribution),
    }


_TOLD_BY_TORCH = (
    "torch_version",
    "torch_path",
    "torch_manager",
    "torch_build",
    "torch_cuda",
    "torch_cmake_prefix",
    "torch_requires",
    "torch_problems",
)


def _is_real(system: System, folder: Path) -> bool:
    """A torch that was built or installed, as against a script or checkout of that name."""
    names = system.names_in(folder)
    return (
        system.is_locked(folder)  # installed by another user, with a strict umask
        or any(name.startswith("_C.") for name in names)
        or ("version.py" in names and "_C" in names)  # a checkout gets it by being built
        or any(re.match(r"(lib)?(c10|torch)", name) for name in system.names_in(folder / "lib"))
    )


def _entries(system: System, interpreter: Interpreter, folder: Path) -> list[Path]:
    """What `import torch` could take from one folder of the path, the winner first."""
    package = folder / "torch"
    found = [package] if system.size(package / "__init__.py") is not None else []
    compiled = "pyd" if system.platform == "win32" else "so"
    tags = [f".{tag}" for tag in (interpreter.tag, "abi3") if tag]
    names = [f"torch{tag}.{compiled}" for tag in (*tags, "")] + ["torch.py", "torch.pyc"]
    return found + [folder / name for name in names if system.size(folder / name) is not None]


def _shadows(
    system: System, interpreter: Interpreter, torch: TorchFolder | None
) -> tuple[str, ...]:
    """Things named torch that are none, and come first: in the current folder or on the path.

    `python script.py` puts the script's folder first; the current folder is our guess at it.
    """
    found: list[Path] = []
    here = None if system.environ.get("PYTHONSAFEPATH") else system.working_folder()
    folders = ([here] if here is not None else []) + list(interpreter.package_folders)
    for entry in (it for folder in folders for it in _entries(system, interpreter, folder)):
        if _is_real(system, entry):
            break
        found.append(entry)
    if torch is not None and not torch.is_real and torch.path not in found:
        found.append(torch.path)
    return tuple(str(entry) for entry in dict.fromkeys(found))


def _installs(
    system: System, interpreter: Interpreter, packages: Packages, torch: TorchFolder | None
) -> tuple[Install, ...]:
    """Every real torch on the path, and a second installer's record of the same folder."""
    folders = [torch.path] if torch is not None and torch.is_real else []
    for folder in interpreter.package_folders:
        entries = _entries(system, interpreter, folder)
        folders += [entry for entry in entries if _is_real(system, entry)]
    found: dict[Path, Install] = {}
    for folder in folders:
        place = system.resolve(folder)
        if place not in found:
            told = _version_file(system, folder)
            distribution = _distribution(system, packages, folder, told)
            text = told.get("__version__") if isinstance(told, dict) else None
            text = text or (distribution.version if distribution is not None else None)
            manager = _manager(system, interpreter, packages, distribution, text)
            found[place] = Install(str(folder), text, manager)
    installs = list(found.values())
    for distribution in packages.all:
        if distribution.name == "torch" and not any(
            same_release(distribution.version, install.version) for install in installs
        ):
            manager = packages.installer(distribution)
            installs.append(Install(str(distribution.metadata), distribution.version, manager))
    conda = _conda_record(system, interpreter)
    if conda is not None and not any(same_release(conda[1], it.version) for it in installs):
        installs.append(Install(conda[0], conda[1], "conda"))
    return tuple(installs)


def _manager(
    system: System,
    interpreter: Interpreter,
    packages: Packages,
    distribution: Distribution | None,
    version: str | None,
) -> str | None:
    """The installer by its own note, or conda where its note is of this version."""
    named = packages.installer(distribution) if distribution is not None else None
    if named is None:
        conda = _conda_record(system, interpreter)
        if conda is not None and same_release(conda[1], version):
            return "conda"
    return named


def _conda_record(system: System, interpreter: Interpreter) -> tuple[str, str] | None:
    """conda's own note of an installed pytorch: the file, and the version in its name."""
    folder = interpreter.prefix / "conda-meta"
    for name in system.names_in(folder):
        match = re.fullmatch(r"(pytorch|pytorch-cpu|pytorch-gpu)-([0-9][^-]*)-[^-]+\.json", name)
        if match and match[1] == "pytorch":
            return str(folder / name), match[2]
    return None


def _distribution(
    system: System,
    packages: Packages,
    folder: Path,
    told: dict[str, str | None] | Unknown,
) -> Distribution | None:
    """torch's metadata; beside a leftover of an earlier release, the one of this version."""
    version = told.get("__version__") if isinstance(told, dict) else None
    found = [
        distribution
        for distribution in packages.all
        if distribution.name == "torch" and _belongs(system, distribution, folder)
    ]
    same = (one for one in found if version is not None and same_release(one.version, version))
    return next(same, found[0] if found else None)


def _belongs(system: System, distribution: Distribution, folder: Path) -> bool:
    """Whether this metadata speaks of this folder: beside it, or of the checkout it lies in."""
    if distribution.site == folder.parent:
        return True
    checkout = _checkout(system, distribution)
    return checkout is not None and system.resolve(folder).is_relative_to(system.resolve(checkout))


def _checkout(system: System, distribution: Distribution) -> Path | None:
    """Where `pip install -e` took it from: https://packaging.python.org/specifications/direct-url"""
    text = system.read_text(distribution.metadata / "direct_url.json")
    if not isinstance(text, str):
        return None
    import json
    from urllib.parse import unquote, urlsplit

    try:
        told = json.loads(text)
        if told["dir_info"]["editable"] is not True:
            return None
        path = unquote(urlsplit(told["url"]).path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Path(re.sub(r"^/(?=[A-Za-z]:)", "", path))


# --- torch/version.py, read as text


def _version_file(system: System, folder: Path) -> dict[str, str | None] | Unknown:
    """The assignments of torch/version.py; a value of None is Python's None."""
    text = system.read_text(folder / "version.py")
    if text is None:
        return Unknown("torch/version.py is not there")
    if isinstance(text, Unknown):
        return text
    found: dict[str, str | None] = {}
    for name, quoted, none in re.findall(
        r"(?m)^(\w+)\s*(?::[^=\n]+)?=\s*(?:['\"]([^'\"\n]*)['\"]|(None)\b)", text
    ):
        found[name] = None if none else quoted
    if not found.get("__version__"):
        return Unknown("torch/version.py holds no version")
    return found


def _version(
    told: dict[str, str | None] | Unknown, distribution: Distribution | None
) -> Version | Unknown:
    """version.py's word first: the metadata of the default wheels lacks the +cu tag."""
    texts = [told.get("__version__") or ""] if isinstance(told, dict) else []
    if distribution is not None:
        texts.append(distribution.version)
    for text in texts:
        version = as_version(text)
        if version is not None:
            return version
    if isinstance(told, Unknown):
        return Unknown(f"{told.reason}, and there is no metadata")
    return Unknown(f"torch calls itself {texts[0]!r}, which is no version")


def _build(told: dict[str, str | None] | Unknown, version: Version | Unknown) -> str | Unknown:
    """`cpu`, `cuda`, `rocm` or `xpu`."""
    if isinstance(told, dict):
        for key, build in (("cuda", "cuda"), ("hip", "rocm"), ("xpu", "xpu")):
            if told.get(key):
                return build
    local = (version.local or "") if isinstance(version, Version) else ""
    match = re.match(r"(cpu|rocm|xpu|cu(?=\d))", local)
    by_tag = {"cu": "cuda"}.get(match[1], match[1]) if match else None
    if isinstance(told, dict) and "cuda" in told:
        return by_tag if by_tag in ("rocm", "xpu") else "cpu"
    if by_tag is not None:
        return by_tag
    return told if isinstance(told, Unknown) else Unknown("torch/version.py names no CUDA")


def _cuda(told: dict[str, str | None] | Unknown, version: Version | Unknown) -> Value:
    if isinstance(told, dict) and "cuda" in told:
        text = told["cuda"]
        if not text:
            return None
        return as_version(text) or Unknown(f"torch/version.py gives {text!r} as its CUDA version")
    build = _build(told, version)
    if isinstance(build, Unknown):
        return build
    if build != "cuda":
        return None
    local = (version.local or "") if isinstance(version, Version) else ""
    match = re.match(r"cu(\d+)(\d)(?!\d)", local)
    return Version(f"{match[1]}.{match[2]}") if match else Unknown("no CUDA version is named")


def _requires(
    system: System,
    interpreter: Interpreter,
    packages: Packages,
    distribution: Distribution | None,
) -> tuple[str, ...] | None:
    """torch's requirements that hold here, without their markers."""
    if distribution is None:
        return None
    held = []
    for text in packages.requires(distribution):
        requirement, _, marker = text.partition(";")
        if not marker.strip() or holds(marker, system, interpreter):
            held.append(normal_requirement(requirement))
    return tuple(held)
