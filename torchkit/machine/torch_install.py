"""Which torch `import torch` would take, what it says of itself, and what is wrong on disk.

Text files are read as text: a torch that would crash on import is described all the same.
What its compiled libraries say is read by `libtorch`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torchkit.machine.facts import Install, Unknown, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.machine.packages import Distribution, Packages
from torchkit.system import System
from torchkit.versions import Version, as_version

CONDA_NAMES = ("pytorch", "libtorch")


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
    folder = origin.parent if origin.name == "__init__.py" else origin
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
        "torch_manager": _manager(system, interpreter, packages, distribution),
        "torch_build": _build(told, version),
        "torch_cuda": _cuda(told, version),
        "torch_cmake_prefix": str(cmake)
        if system.exists(cmake / "Torch" / "TorchConfig.cmake")
        else None,
        "torch_requires": _requires(packages, distribution, interpreter),
        "torch_problems": _text_problems(system, torch.path, distribution),
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
    return system.is_folder(folder) and (
        system.is_folder(folder / "lib")
        or any(name.startswith("_C.") for name in system.names_in(folder))
        or (system.exists(folder / "version.py") and system.exists(folder / "_C"))
    )


def _entries(system: System, folder: Path) -> list[Path]:
    """What `import torch` could take from one folder of the path, the winner first."""
    package = folder / "torch"
    found = [package] if system.size(package / "__init__.py") is not None else []
    found += [
        folder / name
        for name in system.names_in(folder)
        if (name == "torch.py" or re.fullmatch(r"torch\.[\w.-]*(so|pyd)", name))
        and system.size(folder / name) is not None
    ]
    return found


def _shadows(
    system: System, interpreter: Interpreter, torch: TorchFolder | None
) -> tuple[str, ...]:
    """Things named torch that are none, and come first: in the current folder or on the path.

    `python script.py` puts the script's folder first; the current folder is our guess at it.
    """
    found: list[Path] = []
    here = system.working_folder()
    folders = ([here] if here is not None else []) + list(interpreter.package_folders)
    for entry in (entry for folder in folders for entry in _entries(system, folder)):
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
        folders += [entry for entry in _entries(system, folder) if _is_real(system, entry)]
    found: dict[Path, Install] = {}
    for folder in folders:
        place = system.resolve(folder)
        if place not in found:
            told = _version_file(system, folder)
            text = told.get("__version__") if isinstance(told, dict) else None
            found[place] = Install(str(folder), text, _manager_of_folder(packages, folder))
    installs = list(found.values())
    for distribution in packages.all:
        if distribution.name == "torch" and not any(
            _same_release(distribution.version, install.version)
            or (install.version is None and distribution.site == Path(install.path).parent)
            for install in installs
        ):
            manager = packages.installer(distribution)
            installs.append(Install(str(distribution.metadata), distribution.version, manager))
    conda = _conda_record(system, interpreter)
    if conda is not None and not any(_same_release(conda[1], it.version) for it in installs):
        installs.append(Install(conda[0], conda[1], "conda"))
    return tuple(installs)


def _same_release(one: str | None, other: str | None) -> bool:
    left, right = as_version(one), as_version(other)
    if left is None or right is None:
        return one == other
    return left.public == right.public


def _manager_of_folder(packages: Packages, folder: Path) -> str | None:
    for distribution in packages.all:
        if distribution.name == "torch" and distribution.site == folder.parent:
            return packages.installer(distribution)
    return None


def _manager(
    system: System,
    interpreter: Interpreter,
    packages: Packages,
    distribution: Distribution | None,
) -> str | None:
    named = packages.installer(distribution) if distribution is not None else None
    if named is None and _conda_record(system, interpreter) is not None:
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
    same = (one for one in found if version is not None and _same_release(one.version, version))
    return next(same, found[0] if found else None)


def _belongs(system: System, distribution: Distribution, folder: Path) -> bool:
    """Whether this metadata speaks of this folder: beside it, or installed from a checkout."""
    return distribution.site == folder.parent or system.exists(
        distribution.metadata / "direct_url.json"
    )


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
        if "cuda" in told:
            return "cpu"
    local = (version.local or "") if isinstance(version, Version) else ""
    for start, build in (("cu", "cuda"), ("cpu", "cpu"), ("rocm", "rocm"), ("xpu", "xpu")):
        if local.startswith(start) and (start != "cu" or local[2:3].isdigit()):
            return build
    return told if isinstance(told, Unknown) else Unknown("torch/version.py names no CUDA")


def _cuda(told: dict[str, str | None] | Unknown, version: Version | Unknown) -> Value:
    if isinstance(told, dict) and "cuda" in told:
        text = told["cuda"]
        if text is None:
            return None
        return as_version(text) or Unknown(f"torch/version.py gives {text!r} as its CUDA version")
    build = _build(told, version)
    if isinstance(build, Unknown):
        return build
    if build != "cuda":
        return None
    digits = (version.local or "")[2:] if isinstance(version, Version) else ""
    return as_version(f"{digits[:-1]}.{digits[-1:]}") or Unknown("no CUDA version is named")


# --- what Python itself would stumble over


_IMPORTED = (
    "version.py",
    "__init__.py",
    "_utils.py",
    "torch_version.py",
    "types.py",
    "_tensor.py",
    "functional.py",
    "nn/__init__.py",
    "autograd/__init__.py",
    "cuda/__init__.py",
    "utils/__init__.py",
    "optim/__init__.py",
)
"""What `import torch` reads in every release, as against parts that some take out to save room."""


def _text_problems(
    system: System, folder: Path, distribution: Distribution | None
) -> tuple[str, ...]:
    """Why Python's part of `import torch` would fail, in Python's words, as far as files tell."""
    package = folder / "__init__.py"
    size = system.size(package)
    if not size:
        how = "gone" if size is None else "empty"
        return (
            f"AttributeError: module 'torch' has no attribute '__version__' ({package} is {how})",
        )
    record = _record(system, distribution)
    problems = []
    for name in _IMPORTED:
        recorded_bytes = _recorded_size(record, name)
        if system.size(folder / name) is not None:
            problems += _file_problem(system, folder / name, recorded_bytes)
        elif name == "version.py" or recorded_bytes is not None:
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            problems.append(f"ModuleNotFoundError: No module named 'torch.{module}'")
    return tuple(problems)


def _record(system: System, distribution: Distribution | None) -> bytes:
    """The installer's list of torch's files with their sizes; empty where there is none."""
    record = system.read_bytes(distribution.metadata / "RECORD") if distribution else None
    return record if isinstance(record, bytes) else b""


def _recorded_size(record: bytes, name: str) -> int | None:
    """Size in bytes of one of torch's Python files as it was installed.

    Searched for as bytes: a regular expression over the 2 MB of a RECORD takes 8 ms.
    """
    start = record.find(b"\ntorch/%s," % name.encode())
    if start < 0:
        return None
    line = record[start + 1 : start + 400].partition(b"\n")[0].strip()
    size = line.rpartition(b",")[2]
    return int(size) if size.isdigit() else None


def _file_problem(system: System, file: Path, recorded_bytes: int | None) -> list[str]:
    """A Python file that was cut short or overwritten; one of the recorded size is taken as whole."""
    if recorded_bytes is not None and system.size(file) == recorded_bytes:
        return []
    data = system.read_bytes(file) or b""
    if isinstance(data, Unknown):
        return [f"OSError: {data.reason}"]
    try:
        compile(data, str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return [f"{type(error).__name__}: {reason} ({file})"]
    if file.name == "version.py" and b"__version__" not in data:
        return [f"ImportError: cannot import name '__version__' from 'torch.version' ({file})"]
    if recorded_bytes is not None and len(data) < recorded_bytes and not data.endswith(b"\n"):
        return [f"AttributeError, since {file} is cut off: {len(data)} bytes of {recorded_bytes}"]
    return []


_JUDGED = re.compile(r"(?i)^(nvidia|cuda|triton|pytorch-triton)[\w.-]*")
"""Names of the requirements that a check judges; the others are pip's business."""


def _requires(
    packages: Packages, distribution: Distribution | None, interpreter: Interpreter
) -> tuple[str, ...] | None:
    """torch's requirements of NVIDIA's packages and triton that hold here, without markers."""
    if distribution is None:
        return None
    texts = [text for text in packages.requires(distribution) if _JUDGED.match(text)]
    if not texts:
        return ()
    # packaging's requirement parser costs more than all of the above: only where it is needed
    from packaging.markers import default_environment
    from packaging.requirements import InvalidRequirement, Requirement

    environment: dict[str, str] = {**default_environment(), "extra": ""}  # type: ignore[dict-item]
    environment["python_version"] = interpreter.version.series
    environment["python_full_version"] = str(interpreter.version)
    held = []
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            held.append(str(requirement))
    return tuple(held)
