"""Real wheels as the proof of what torchkit predicts: fetched, put beside a torch, really loaded.

Nothing is installed into the environment whose torch is used. An environment of its own takes the
wheel into its site-packages, and a .pth file leads from there to the packages of that torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

TRY_LOADING = Path(__file__).parent / "try_loading.py"

CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
"""The environment that wheels are loaded in: no LD_LIBRARY_PATH, no PYTHONPATH, English words."""

DOWNLOAD_LIMIT_S = 600
LOADING_LIMIT_S = 1800

# Wheels of these tags are looked for, whether this machine's glibc is new enough or not.
_PLATFORMS = (
    *(f"manylinux_2_{minor}" for minor in (39, 38, 36, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)),
    *("manylinux2014", "manylinux2010", "manylinux1", "linux"),
)

_OF_TORCH = re.compile(r"_Z\w*?(?:2at|3c10|5torch)[0-9N]|(?:aoti_)?torch_|THP")
_TORCH_LIBRARY = re.compile(r"lib(?:torch|c10)(?:_\w+)?\.so")

_ASK = """
import json, os, sys, torch
folders = [it for it in sys.path if os.path.basename(it) in ("site-packages", "dist-packages")]
print(json.dumps(["%d.%d" % sys.version_info[:2], torch.__version__, folders]))
"""


class NotServedError(Exception):
    """The package index has no such wheel, or cannot be reached; the text is pip's last line."""


class Torch(NamedTuple):
    """A Python with torch: "3.11", torch's version, and the folders its packages are in."""

    python: Path
    python_version: str
    version: str
    folders: tuple[str, ...]

    @property
    def name(self) -> str:
        """What tells this one from others, fit for a folder: another torch, another environment."""
        import hashlib

        place = hashlib.sha256(str(self.python).encode()).hexdigest()[:6]
        return f"{self.version}-{place}"


def ask_torch(python: Path) -> Torch:
    """Raises CalledProcessError where torch cannot be imported."""
    answer = subprocess.run(
        [python, "-I", "-c", _ASK], check=True, capture_output=True, text=True, env=CLEAN
    )
    python_version, version, folders = json.loads(answer.stdout.splitlines()[-1])
    return Torch(python, python_version, version, tuple(folders))


def download(name: str, version: str, folder: Path, *, python_version: str) -> Path:
    """The wheel, from the folder or from the package index. Raises NotServedError."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in _wheels(folder, name, version, python_version):
        return wheel
    machine = os.uname().machine
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary", ":all:", "--python-version", python_version]
    command += ["--implementation", "cp", "--dest", str(folder), f"{name}=={version}"]
    for abi in (f"cp{python_version.replace('.', '')}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in _PLATFORMS:
        command += ["--platform", f"{platform}_{machine}"]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S
    )
    for wheel in _wheels(folder, name, version, python_version):
        return wheel
    raise NotServedError((ended.stderr.strip().splitlines() or ["pip said nothing"])[-1])


def _wheels(folder: Path, name: str, version: str, python_version: str) -> Iterator[Path]:
    """Wheels of that version that this Python could take, by their names."""
    start = f"{re.sub('[-_.]+', '_', name).lower()}-{version}-".lower()
    own = f"cp{python_version.replace('.', '')}"
    for wheel in sorted(folder.glob("*.whl")):
        tags = wheel.stem.split("-")
        fits = tags[-3] == own or tags[-2] == "abi3" or tags[-3].startswith("py")
        if wheel.name.lower().startswith(start) and fits:
            yield wheel


def install(wheels: Iterable[Path], environment: Path, torch: Torch) -> None:
    """Make an environment with these wheels beside torch. One that is there is kept."""
    done = environment / "complete"
    if not (done.exists() and (environment / "bin" / "python").exists()):
        make_environment(environment, torch)
        for wheel in wheels:
            _copy(unpacked(wheel), site_packages(environment))
        done.touch()


def make_environment(environment: Path, torch: Torch) -> None:
    """An environment that sees the packages of this torch's."""
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run(
        [torch.python, "-I", "-m", "venv", "--without-pip", environment], check=True, env=CLEAN
    )
    beside = site_packages(environment) / "beside_torch.pth"
    beside.write_text("\n".join(torch.folders) + "\n", encoding="utf-8")


def unpacked(wheel: Path) -> Path:
    """The wheel's files as an installer lays them out, in a folder beside that of the wheels."""
    folder = wheel.parent.parent / "unpacked" / wheel.stem
    if folder.is_dir():
        return folder
    rough = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(rough, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(rough)
    for data in list(rough.glob("*.data")):
        for kind in ("purelib", "platlib"):
            if (data / kind).is_dir():
                _copy(data / kind, rough)
        shutil.rmtree(data)
    for record in rough.glob("*.dist-info/RECORD"):
        text = record.read_text(encoding="utf-8")
        record.write_text(
            re.sub(r"(?m)^[^/\n]+\.data/(?:pure|plat)lib/", "", text), encoding="utf-8"
        )
        record.with_name("INSTALLER").write_text("pip\n", encoding="utf-8")
    rough.rename(folder)
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's content by hard links where the file system allows."""
    for path in source.rglob("*"):
        if path.is_dir():
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copy2(path, place)


def site_packages(environment: Path) -> Path:
    """Where an environment keeps its packages."""
    return next((environment / "lib").glob("python*/site-packages"))


def compiled_files(environment: Path) -> list[Path]:
    """Every shared library of the wheel: by its name, and by its first bytes."""
    found = []
    for path in sorted((environment / "lib").rglob("*.so*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    found.append(path)
    return found


def modules(files: Iterable[Path]) -> list[str]:
    """The top-level modules that compiled files belong to, by the names they are imported by."""
    names: dict[str, None] = {}
    for path in files:
        inside = str(path).rpartition("/site-packages/")[2]
        top = inside.partition("/")[0].partition(".")[0]
        if top.isidentifier() and not (top.startswith("lib") and "/" not in inside):
            names[top] = None
    return list(names)


def refers_to_torch(path: Path) -> bool:
    """Whether the file needs a library of torch, or a name that only torch's libraries define."""
    if any(_TORCH_LIBRARY.match(name) for name in needed_by(path)):
        return True
    try:
        with path.open("rb") as file:
            return any(_OF_TORCH.match(name) for name in _undefined_names(ELFFile(file)))
    except (ELFError, OSError, ValueError):
        return False


def _undefined_names(elf: ELFFile) -> Iterator[str]:
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection) and section.name == ".dynsym":
            for symbol in section.iter_symbols():
                if symbol["st_shndx"] == "SHN_UNDEF":
                    yield symbol.name


def really_load(
    torch: Torch,
    paths: Iterable[Path],
    *,
    first: Mapping[Path, Sequence[Path]] | None = None,
    library_path: str = "",
) -> dict[Path, str | None]:
    """What `ctypes.CDLL` says of each file after `import torch`: None, or the text of its error.

    `first` are the files that are loaded ahead of it, as packages do with what they bring along.
    `library_path` is the LD_LIBRARY_PATH of that process.
    """
    asked = list(paths)
    ahead = first or {}
    questions = [["load", str(path), *map(str, ahead.get(path, ()))] for path in asked]
    return dict(zip(asked, _try(torch, questions, library_path), strict=True))


def brought_along(path: Path, files: Iterable[Path]) -> list[Path]:
    """Which of the files it needs, by their names, those first that others of them need.

    Of several of one name the one whose path has most in common is taken: a package may bring a
    library for every torch.
    """
    named: dict[str, list[Path]] = {}
    for file in files:
        named.setdefault(file.name, []).append(file)
    order: list[Path] = []
    waiting = [(path, iter(needed_by(path)))]
    while waiting:
        current, rest = waiting[-1]
        name = next(rest, None)
        if name is None:
            order.append(waiting.pop()[0])
            continue
        alike = named.get(name, [])
        found = max(alike, key=lambda it: len({*it.parts} & {*current.parts}), default=None)
        if found is not None and found not in order and all(found != it for it, _ in waiting):
            waiting.append((found, iter(needed_by(found))))
    return order[:-1]


@cache
def needed_by(path: Path) -> tuple[str, ...]:
    """The names of the libraries that a file needs."""
    try:
        with path.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, DynamicSection):
                    return tuple(
                        str(getattr(tag, "needed", "")) for tag in section.iter_tags("DT_NEEDED")
                    )
    except (ELFError, OSError, ValueError):
        pass
    return ()


def really_import(torch: Torch, modules: Iterable[tuple[Path, str]]) -> list[str | None]:
    """What `import MODULE` says with this folder in front of the path: None, or its error."""
    return _try(torch, [["import", str(folder), module] for folder, module in modules], "")


def _try(torch: Torch, questions: list[list[str]], library_path: str) -> list[str | None]:
    ended = subprocess.run(
        [torch.python, "-I", TRY_LOADING],
        input=json.dumps(questions),
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment(library_path),
        timeout=LOADING_LIMIT_S,
    )
    answers: list[str | None] = json.loads(ended.stdout)
    return answers


def clean_environment(library_path: str = "") -> dict[str, str]:
    """The environment that wheels are loaded in, and that predictions are made for."""
    return {**CLEAN, **({"LD_LIBRARY_PATH": library_path} if library_path else {})}
