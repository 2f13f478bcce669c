"""Finds the compiled files of an interpreter's packages, and those among them that use torch.

Goes by what installers wrote down (RECORD and its like), or what a user names, never by walking
site-packages, and looks into each file's table of names only. What the loader says of a file is asked elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from torchkit.errors import BadInput
from torchkit.machine.distributions import Distribution, Packages
from torchkit.machine.elf import Elf, cannot_open, name_table, parse_elf, read_elf
from torchkit.machine.symbols import Symbol, undefined_symbols
from torchkit.system import System, Unknown

SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")

TORCH_LIBRARY = re.compile(r"lib(c10|torch|caffe2)(_\w+)?\.so")
"""Libraries that come with torch, of any build and age; not libtorchaudio.so and its kin."""

_TORCH_SYMBOL = re.compile(r"_ZT?[VIS]?NK?(3c10|2at|5torch|6caffe2)|(_Z\d+)?THP[A-Z]")
"""Names in torch's C++ namespaces, those of vtables and type information among them, and those of
libtorch_python.so (THPVariable_Wrap)."""

_STABLE_SYMBOL = re.compile(r"aoti_torch_|torch_(library|call_dispatcher|new_|delete_|get_|list_)")
"""Names of torch's stable C interface (torch/csrc/inductor/aoti_torch/c/shim.h and
torch/csrc/stable/c/shim.h); every library that registers an operator uses one of these."""

_MARKS = (b"torch", b"c10")
"""A file whose names hold none of these has nothing to do with torch."""

_PASSED_OVER = re.compile(r"torch|functorch|torchgen|(pytorch-)?triton(-.*)?|nvidia-.*")
"""Distributions that are torch, or that torch brings along; libtriton.so alone takes 50 ms."""

_START_BYTES = 512
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f\x7f-\xff]")
_CHUNK_BYTES = 1024**2
_LIST_LIMIT_BYTES = 64 * 1024**2
_NAMES_LIMIT_BYTES = 4 * 1024**2
_FOLDER_LIMIT = 1000
_LISTED_LIMIT = 50_000
_PATH_FILES_LIMIT = 100
"""Bounds for lists, tables and source trees that no package of this world comes near."""

_LISTED = re.compile(
    rb'(?m)^(?:"([^"\n\0]*(?:""[^"\n\0]*)*\.so(?:\.\d+)*)"|([^",\n\0]*\.so(?:\.\d+)*))'
    rb"(?=[,\r\n]|\Z)"
)
_PATH_FILE = re.compile(rb'(?m)^"?([^",\n/]*\.pth|__editable__[^",\n/]*_finder\.py)(?=[",\r\n]|\Z)')
_MAPPED = re.compile(r"""["'][\w.]+["']:\s*["'](/[^"']+)["']""")
_OTHER_FOLDERS = {"__pycache__", "build", "node_modules", "site-packages"}
"""Folders of a source tree that no module is imported from."""


class Compiled(NamedTuple):
    """A shared object of an installed package. `site` is the folder its module name starts from.

    Paths are texts here, since an environment may hold thousands of these.
    """

    name: str
    site: str
    distribution: Distribution | None = None

    @property
    def path(self) -> Path:
        return Path(self.name)


def compiled_files(
    system: System, packages: Packages, folders: Iterable[Path], *, torch_folder: Path
) -> list[Compiled]:
    """Every shared object of the distributions but torch, and those that lie on the path itself.

    `folders` are the folders of the interpreter's path. Files that are listed and gone are among
    them: whoever opens one learns so. Copies of system libraries that auditwheel put beside a
    package (`numpy.libs/`) are not.
    """
    found: dict[str, Compiled] = {}
    of_torch = f"{torch_folder}{os.sep}"
    for distribution in packages.installed():
        if _PASSED_OVER.fullmatch(distribution.name):
            continue
        for site, name in _files_of(system, distribution):
            if not name.startswith(of_torch) and name not in found and ".libs/" not in name:
                found[name] = Compiled(name, site, distribution)
    for folder in folders:
        for entry in system.names_in(folder) if folder.name != "lib-dynload" else ():
            name = f"{folder}{os.sep}{entry}"
            if SHARED_OBJECT.search(entry) and name not in found:
                found[name] = Compiled(name, str(folder), _owner(packages, folder))
    return list(found.values())


def _owner(packages: Packages, folder: Path) -> Distribution | None:
    """The one distribution whose metadata lies in this folder: a source tree has one."""
    here = [it for it in packages.installed() if it.site == folder]
    return here[0] if len(here) == 1 else None


# --- the files of one distribution


def _files_of(system: System, distribution: Distribution) -> Iterator[tuple[str, str]]:
    """Site folder and path of each shared object."""
    metadata, site = distribution.metadata, distribution.site
    if metadata.name == "EGG-INFO":
        yield from ((str(site), path) for path in _walk(system, site))
        return
    for name, base in (("RECORD", str(site)), ("installed-files.txt", str(metadata))):
        listed, path_files = _listed(system, metadata / name)
        if listed is not None:
            for text in listed:
                path = os.path.join(base, text)  # noqa: PTH118 - thousands of them, as texts
                yield str(site), os.path.normpath(path) if ".." in text else path
            for text in path_files:
                yield from _developed(system, distribution, site / text)
            return
    for top in _top_levels(system, distribution):
        yield from ((str(site), path) for path in _walk(system, site / top))


def _listed(system: System, path: Path) -> tuple[list[str] | None, list[str]]:
    """Shared objects and path files in a list of files; None where there is no such list."""
    found: list[str] = []
    path_files: list[str] = []
    rest, read_bytes = b"", 0
    try:
        with system.open(path) as file:
            while read_bytes < _LIST_LIMIT_BYTES and len(found) < _LISTED_LIMIT:
                chunk = file.read(_CHUNK_BYTES)
                read_bytes += len(chunk)
                lines, newline, remains = (rest + chunk).rpartition(b"\n")
                if not chunk:  # the last line may lack its end
                    lines, remains = rest, b""
                _add_listed(lines, found, path_files)
                if not chunk:
                    break
                rest = remains if newline or len(remains) < _CHUNK_BYTES else b""
    except (OSError, ValueError):
        return None, []
    return found[:_LISTED_LIMIT], list(dict.fromkeys(path_files))[:_PATH_FILES_LIMIT]


def _add_listed(lines: bytes, found: list[str], path_files: list[str]) -> None:
    if b".so" in lines:
        for quoted, plain in _LISTED.findall(lines):
            found.append((quoted.replace(b'""', b'"') or plain).decode("utf-8", "surrogateescape"))
    if b".pth" in lines or b"__editable__" in lines:
        names = _PATH_FILE.findall(lines)
        path_files += [name.decode("utf-8", "surrogateescape") for name in names]


# --- packages that stay in their source tree


def _developed(
    system: System, distribution: Distribution, path_file: Path
) -> Iterator[tuple[str, str]]:
    """Files in the source trees that an editable install's path file or finder leads to."""
    text = system.read_text(path_file)
    if not isinstance(text, str):
        return
    if path_file.suffix == ".py":
        for mapped in list(dict.fromkeys(_MAPPED.findall(text)))[:_FOLDER_LIMIT]:
            yield from ((str(Path(mapped).parent), path) for path in _walk(system, Path(mapped)))
        return
    for line in list(dict.fromkeys(text.splitlines()))[:_FOLDER_LIMIT]:
        folder = path_file.parent / line.strip()
        if line.strip() and not line.startswith(("#", "import ")) and system.is_folder(folder):
            for top in _top_levels(system, distribution):
                yield from ((str(folder), path) for path in _walk(system, folder / top))


def _top_levels(system: System, distribution: Distribution) -> tuple[str, ...]:
    """Names that a distribution is imported by; what its own name stands for where none is told."""
    text = system.read_text(distribution.metadata / "top_level.txt")
    names = text.split() if isinstance(text, str) else []
    return tuple(dict.fromkeys(names[:_FOLDER_LIMIT])) or (distribution.name.replace("-", "_"),)


def _walk(system: System, top: Path) -> Iterator[str]:
    """Shared objects of a package's folder, or the compiled module of that name beside it."""
    names = system.names_in(top)
    if not names:
        beside = system.names_in(top.parent)
        starts = f"{top.name}."
        yield from (
            str(top.parent / it)
            for it in beside
            if it.startswith(starts) and SHARED_OBJECT.search(it)
        )
        return
    waiting, seen = [(top, names)], {system.resolve(top)}
    while waiting and len(seen) < _FOLDER_LIMIT:
        folder, names = waiting.pop()
        for name in names:
            if SHARED_OBJECT.search(name):
                yield str(folder / name)
            elif "." not in name and name not in _OTHER_FOLDERS:
                inside = system.names_in(folder / name)
                true = system.resolve(folder / name) if inside else top
                if true not in seen:  # a link may lead back up
                    seen.add(true)
                    waiting.append((folder / name, inside))


# --- which of them use torch


def may_use_torch(system: System, path: Path | str) -> bool | Unknown:
    """Whether a file's names speak of torch; unknown where it is gone, cut off or damaged.

    A file that is no ELF file, and is not meant to be one, has none.
    """
    try:
        with system.open(path) as file:
            table = name_table(file)
            if isinstance(table, Unknown):
                return False if _is_of_another_kind(file) else table
            start, size = table
            if size > _NAMES_LIMIT_BYTES:  # a compiler, say: what it needs by name has to do
                elf = parse_elf(file)
                return isinstance(elf, Elf) and any(map(TORCH_LIBRARY.match, elf.needed))
            file.seek(start)
            names = file.read(size)
    except OSError as error:
        return Unknown(cannot_open(error.errno))
    except ValueError:
        return False
    return _MARKS[0] in names or _MARKS[1] in names


def _is_of_another_kind(file: BinaryIO) -> bool:
    """Whether it is a text (of the linker, say) or a library of another system."""
    file.seek(0)
    start = file.read(_START_BYTES)
    if start.startswith(_FETCHED_LATER):
        return False
    is_text = bool(start) and not start.startswith(b"\x7fELF") and _CONTROL.search(start) is None
    return is_text or start.startswith(tuple(_OF_OTHER_SYSTEMS))


def is_name_of_torch(symbol: str) -> bool:
    """Whether it is torch that should define this name."""
    return bool(_TORCH_SYMBOL.match(symbol) or _STABLE_SYMBOL.match(symbol))


class Uses(NamedTuple):
    """How a file uses torch: its libraries by name, C++ names, or the stable C interface alone."""

    libraries: tuple[str, ...]
    cpp: bool
    stable: bool

    @property
    def torch(self) -> bool:
        return bool(self.libraries) or self.cpp or self.stable

    @property
    def stable_only(self) -> bool:
        return self.stable and not self.cpp


def uses_of_torch(system: System, path: Path) -> Uses:
    """What a file needs of torch, by its own list of libraries and its undefined symbols."""
    elf = read_elf(system, path)
    needed = elf.needed if isinstance(elf, Elf) else ()
    libraries = tuple(name for name in needed if TORCH_LIBRARY.match(name))
    symbols = undefined_symbols(system, path)
    asked: tuple[Symbol, ...] = () if isinstance(symbols, Unknown) else symbols
    return Uses(
        libraries,
        cpp=any(_TORCH_SYMBOL.match(symbol.name) for symbol in asked),
        stable=any(_STABLE_SYMBOL.match(symbol.name) for symbol in asked),
    )


# --- files that a user names

_OF_OTHER_SYSTEMS = {
    b"MZ": "a Windows library",
    b"\xcf\xfa\xed\xfe": "a library of macOS",
    b"\xca\xfe\xba\xbe": "a library of macOS",
    b"!<arch>": "a static library",
}
_FETCHED_LATER = b"version https://git-lfs"

_KINDS = {
    **_OF_OTHER_SYSTEMS,
    b"PK\x03\x04": "a zip archive or wheel",
    _FETCHED_LATER: "a pointer of Git LFS, the file itself was not fetched",
}


def named_file(system: System, text: str) -> Path:
    """The compiled file that a user named. Raises BadInput where there is none."""
    example = "name a compiled file, e.g. --extension build/lib/_C.so"
    here = system.working_folder() or Path("/")
    path = here / os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for ~nobody
    if not text:
        raise BadInput("--extension is given no file", hint=example)
    if system.is_folder(path):
        inside = [name for name in system.names_in(path) if SHARED_OBJECT.search(name)]
        named = f"name the file in it: --extension {path / inside[0]}" if inside else example
        raise BadInput(f"{text} is a folder, not a compiled file", hint=named)
    if not system.exists(path):
        raise BadInput(f"{text} is not there", hint=example)
    try:
        with system.open(path) as file:
            start = file.read(64) or b""  # None where nothing is to be had yet
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"cannot read {text}: {reason.lower()}", hint=example) from None
    if not start.startswith(b"\x7fELF"):
        kind = next((it for mark, it in _KINDS.items() if start.startswith(mark)), "no ELF file")
        raise BadInput(
            f"{text} is {kind if start else 'empty'}, a shared object (ELF) is needed", hint=example
        )
    return path
