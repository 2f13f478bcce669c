"""Installed distributions, read from their metadata as bytes, without importing any.

`importlib.metadata` parses every METADATA as an e-mail, which costs three times the whole of
`torchkit env`; here the names come from the folders, and a file is opened only when asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchkit.machine.facts import Companion, Unknown, Value
from torchkit.machine.interpreter import Interpreter
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


@dataclass(frozen=True)
class Distribution:
    """One installed distribution: its normalised name, its version, where its metadata lies."""

    name: str
    version: str
    metadata: Path

    @property
    def site(self) -> Path:
        """The folder its packages lie in."""
        return self.metadata.parent


class Packages:
    """The distributions an interpreter sees; of two with one name, the first on the path."""

    def __init__(self, system: System, folders: tuple[Path, ...]) -> None:
        self._system = system
        self._found: dict[str, Distribution] = {}
        self.all: list[Distribution] = []
        self._headers: dict[Path, bytes | None | Unknown] = {}
        for folder in folders:
            for name in system.names_in(folder):
                distribution = _distribution(folder, name)
                if distribution is None:
                    continue
                if not distribution.version:  # foo.egg-info, as a checkout has it
                    told = self._version_in_header(distribution)
                    distribution = Distribution(distribution.name, told, distribution.metadata)
                self.all.append(distribution)
                self._found.setdefault(distribution.name, distribution)

    def __getitem__(self, name: str) -> Distribution | None:
        return self._found.get(normal_name(name))

    def installed(self) -> tuple[Distribution, ...]:
        """Each distribution once, in the order of the path."""
        return tuple(self._found.values())

    def header(self, distribution: Distribution) -> bytes | None | Unknown:
        """The part of METADATA before the description; None when the file is not there."""
        if distribution.metadata not in self._headers:
            self._headers[distribution.metadata] = self._read_header(distribution.metadata)
        return self._headers[distribution.metadata]

    def _read_header(self, metadata: Path) -> bytes | None | Unknown:
        candidates = (metadata / "METADATA", metadata / "PKG-INFO", metadata)
        for candidate in candidates:
            data = self._system.read_bytes(candidate)
            if isinstance(data, bytes):
                return data.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
            if isinstance(data, Unknown) and candidate != metadata:
                return data
        return None

    def _version_in_header(self, distribution: Distribution) -> str:
        header = self.header(distribution)
        match = (
            re.search(rb"(?mi)^Version:[ \t]*(\S+)", header) if isinstance(header, bytes) else None
        )
        return match[1].decode("utf-8", "replace") if match else ""

    def requires(self, distribution: Distribution) -> tuple[str, ...]:
        """What the metadata requires, markers and all."""
        header = self.header(distribution)
        if not isinstance(header, bytes):
            return ()
        lines = re.findall(rb"(?mi)^Requires-Dist:[ \t]*(.+)$", header)
        if not lines and distribution.metadata.name.lower().endswith("egg-info"):
            return self._requires_of_egg(distribution)
        return tuple(line.decode("utf-8", "replace").strip() for line in lines)

    def _requires_of_egg(self, distribution: Distribution) -> tuple[str, ...]:
        """requires.txt: a line each, under `[extra:marker]` those that hold only then."""
        text = self._system.read_text(distribution.metadata / "requires.txt")
        found, condition = [], ""
        for line in text.splitlines() if isinstance(text, str) else ():
            section = re.fullmatch(r"\[([^:\]]*)(?::(.*))?\]", line.strip())
            if section:
                extra, marker = section[1], section[2]
                parts = [f"({marker})"] if marker else []
                condition = " and ".join(parts + ([f'extra == "{extra}"'] if extra else []))
            elif line.strip() and not line.startswith("#"):
                found.append(f"{line.strip()}; {condition}" if condition else line.strip())
        return tuple(found)

    def installer(self, distribution: Distribution) -> str | None:
        """`pip`, `uv`, `conda`, `poetry` …, of what the installer wrote down ("Poetry 1.8.3")."""
        text = self._system.read_text(distribution.metadata / "INSTALLER")
        return next(iter(text.lower().split()), None) if isinstance(text, str) else None


def normal_name(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(folder: Path, entry: str) -> Distribution | None:
    """What a name in a folder of the path stands for; the version is empty where it is not told."""
    if entry == "EGG-INFO" and folder.suffix == ".egg":  # easy_install's: the whole folder is one
        stem, kind = folder.stem, "egg-info"
    else:
        stem, _, kind = entry.rpartition(".")
    if kind not in ("dist-info", "egg-info"):
        return None
    if kind == "egg-info":
        stem = re.sub(r"-py\d.*$", "", stem)
    name, dash, version = stem.rpartition("-")
    if not dash:
        name, version = stem, ""
    if not name or name.startswith("~") or (kind == "dist-info" and not dash):
        return None
    return Distribution(normal_name(name), version, folder / entry)


def holds(requirement_marker: str, system: System, interpreter: Interpreter) -> bool:
    """Whether a marker ("python_version < '3.12'") holds for this interpreter, without extras.

    One that cannot be read holds: pip would have refused to install what carries it.
    """
    examined = {
        "extra": "",
        "python_version": interpreter.version.series,
        "python_full_version": str(interpreter.version),
        "sys_platform": system.platform,
        "platform_machine": system.architecture,
    }
    if system.platform in _PLATFORM_SYSTEMS:
        examined["platform_system"] = _PLATFORM_SYSTEMS[system.platform]
    clauses = [_clause_holds(text, examined) for text in re.split(r"\band\b", requirement_marker)]
    if None not in clauses:
        return all(clauses)
    # packaging's parser costs more than all other reading of packages: only where it is needed
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, default_environment

    own = {name: str(value) for name, value in default_environment().items()}
    try:
        return Marker(requirement_marker).evaluate({**own, **examined})
    except (InvalidMarker, UndefinedComparison):
        return True


_PLATFORM_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
"""`platform.system()` by `sys.platform`."""

_CLAUSE = re.compile(r"""\s*(\w+)\s*(==|!=|<=|>=|<|>)\s*(["'])([\w.-]+)\3\s*""")


def _clause_holds(clause: str, examined: Mapping[str, str]) -> bool | None:
    """One comparison of the form that nearly all markers have; None leaves it to packaging."""
    match = _CLAUSE.fullmatch(clause)
    if match is None or match[1] not in examined:
        return None
    name, sign, wanted = match[1], match[2], match[4]
    if not name.startswith("python_"):
        same = examined[name] == wanted
        return {"==": same, "!=": not same}.get(sign)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", wanted):
        return None
    version, bound = as_version(examined[name]), as_version(wanted)
    if version is None or bound is None or version.is_prerelease:
        return None
    return {
        "==": version == bound,
        "!=": version != bound,
        "<=": version <= bound,
        ">=": version >= bound,
        "<": version < bound,
        ">": version > bound,
    }[sign]


_PLAIN_REQUIREMENT = re.compile(
    r"""\s*([A-Za-z0-9][\w.-]*)\s*                                # a name
    (?:\[\s*([\w.-]+(?:\s*,\s*[\w.-]+)*)\s*\]\s*)?              # [extras]
    (\(?)\s*                                                     # versions, also in brackets
    ((?:(?:[<>=!]=|~=|<|>)\s*[\w.*+!-]+\s*(?:,\s*(?=[<>=!~])|(?=$|\))))*)
    (\)?)\s*""",
    re.VERBOSE,
)


def normal_requirement(text: str) -> str:
    """`triton<4,>=3` of "triton (>=3, <4)", as packaging writes it; what is none stays as it is."""
    match = _PLAIN_REQUIREMENT.fullmatch(text)
    if match is not None and bool(match[3]) == bool(match[5]):
        extras = ",".join(sorted(re.findall(r"[\w.-]+", match[2] or "")))
        specifiers = ",".join(sorted("".join(match[4].split()).split(",")))
        return f"{match[1]}{f'[{extras}]' if extras else ''}{specifiers}"
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return str(Requirement(text))
    except InvalidRequirement:
        return text.strip()


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


def same_release(one: str | None, other: str | None) -> bool:
    """Whether two versions differ in nothing but their local tags and their writing."""
    left, right = as_version(one), as_version(other)
    if left is None or right is None:
        return one == other
    return as_version(left.public) == as_version(right.public)


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
