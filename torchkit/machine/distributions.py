"""Installed distributions, read from their metadata as bytes, without importing any.

`importlib.metadata` parses every METADATA as an e-mail, which costs three times the whole of
`torchkit env`; here the names come from the folders, and a file is opened only when asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torchkit.system import System, Unknown
from torchkit.versions import as_version


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


def same_release(one: str | None, other: str | None) -> bool:
    """Whether two versions differ in nothing but their local tags and their writing."""
    left, right = as_version(one), as_version(other)
    if left is None or right is None:
        return one == other
    return as_version(left.public) == as_version(right.public)
