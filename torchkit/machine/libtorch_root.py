"""Where the files of a libtorch lie: in which folder, or in which part of an archive."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from torchkit.errors import BadInput
from torchkit.machine.archive import ArchiveSystem, opened_archive
from torchkit.system import System, Unknown

_MAIN_LIBRARIES = re.compile(r"(lib)?(c10|torch|torch_cpu|caffe2)\.(so|a|dylib|dll|lib)")
_INSIDE = ("", "libtorch", "torch")
_MAX_SUBFOLDERS = 200
_BELOW = (("share", "cmake", "Torch"), ("share", "cmake"), ("share",), ("lib",), ("include",))


class Root(NamedTuple):
    """A libtorch's files: whose they are, under which path, and what was named.

    `system` is the machine, or the archive that was named. `problem` says why there is none, and
    `subfolder` which folder in it is one.
    """

    named: str
    kind: str
    system: System
    folder: Path | None = None
    distribution: str | None = None
    problem: str | None = None
    subfolder: str | None = None

    @property
    def inside(self) -> str | None:
        """Where in an archive it lies, "" at its root; None for a folder."""
        return self.folder.as_posix().strip("/") if self.folder and self.is_archive else None

    @property
    def is_archive(self) -> bool:
        return isinstance(self.system, ArchiveSystem)

    def names(self, folder: str) -> tuple[str, ...]:
        """Names of the entries of one of its folders."""
        return () if self.folder is None else self.system.names_in(self.folder / folder)

    def text(self, name: str) -> str | None:
        """One of its texts; None where it is not there or cannot be read."""
        text = None if self.folder is None else self.system.read_text(self.folder / name)
        return text if isinstance(text, str) else None

    def size(self, name: str) -> int | None:
        return None if self.folder is None else self.system.size(self.folder / name)


def each_once(system: System, paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that users name, without those that lead to the same place as one before."""
    places: dict[object, str] = {}
    for path in paths:
        places.setdefault(system.resolve(path) if path.strip() else path, path)
    return tuple(places.values())


@contextlib.contextmanager
def opened_root(system: System, path: str) -> Iterator[Root]:
    """The libtorch that a path leads to. Raises BadInput where nothing is there to look at."""
    if not path.strip():
        raise BadInput(
            "--libtorch was given an empty path",
            hint="--libtorch takes an unpacked folder, a zip or a torch wheel",
        )
    if system.is_folder(path):
        yield _in_folder(system, path)
        return
    if not system.exists(path):
        raise BadInput(
            f"{path} is not there",
            hint="--libtorch takes an unpacked folder, a zip or a torch wheel",
        )
    if system.size(path) is None:
        raise BadInput(
            f"{path} is neither a folder nor a file",
            hint="--libtorch takes an unpacked folder, a zip or a torch wheel",
        )
    kind = "wheel" if path.endswith(".whl") else "zip"
    try:
        with opened_archive(system, path) as archive:
            if isinstance(archive, Unknown):
                yield Root(path, kind, system, problem=f"it is {archive.reason}")
            else:
                yield _in_archive(archive, path, kind)
    except OSError as error:
        raise BadInput(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="name a file that can be read",
        ) from None


def _in_folder(system: System, path: str) -> Root:
    here = Path(path)
    places = [here / name for name in _INSIDE]
    absolute = system.resolve(here)
    for below in _BELOW:
        if absolute.parts[-len(below) :] == below:
            places.append(Path(*absolute.parts[: -len(below)]))
    for place in places:
        if _is_libtorch(system, place):
            return Root(path, "folder", system, place)
    if system.is_locked(path):
        return Root(path, "folder", system, problem="it cannot be looked into: permission denied")
    subfolders = (here / name for name in system.names_in(here)[:_MAX_SUBFOLDERS])
    one = next((it for it in subfolders if _is_libtorch(system, it)), None)
    if one is not None:
        problem = f"it is none itself, there is one in its folder {one.name}"
        return Root(path, "folder", system, problem=problem, subfolder=str(one))
    return Root(
        path,
        "folder",
        system,
        problem="there is no libtorch in it: lib/ with libtorch.so or share/cmake/Torch is missing",
    )


def _in_archive(archive: ArchiveSystem, path: str, kind: str) -> Root:
    records = {
        name.partition("/")[0]
        for name in archive.members
        if re.fullmatch(r"[^/]+\.dist-info/(METADATA|WHEEL|RECORD)", name)
    }
    distribution = next(iter(sorted(records)), None)
    if distribution is not None:
        kind = "wheel"
    tops = {name.partition("/")[0] for name in archive.members if "/" in name}
    places = ["libtorch", "torch", "", *(sorted(tops) if len(tops) == 1 else ())]
    for place in places:
        folder = Path("/") / place
        if _is_libtorch(archive, folder):
            return Root(path, kind, archive, folder, distribution)
    if distribution is not None:
        name = distribution.partition("-")[0]
        return Root(path, kind, archive, problem=f"it is a wheel of {name}, not of torch")
    inner = next(
        (name for name in sorted(archive.members) if name.endswith((".zip", ".whl"))), None
    )
    words = f"; there is another archive in it, {posixpath.basename(inner)}" if inner else ""
    return Root(path, kind, archive, problem=f"there is no libtorch in it{words}")


def _is_libtorch(system: System, folder: Path) -> bool:
    if any(_MAIN_LIBRARIES.fullmatch(name) for name in system.names_in(folder / "lib")):
        return True
    return system.size(folder / "share" / "cmake" / "Torch" / "TorchConfig.cmake") is not None
