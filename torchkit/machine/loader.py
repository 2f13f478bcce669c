"""What the dynamic loader of Linux would do, told without loading anything.

Simulates glibc's ld.so (elf/dl-load.c, dl-deps.c, dl-version.c) for a process of one program,
in its order: libraries breadth first, each searched for along RPATH, LD_LIBRARY_PATH, RUNPATH,
the cache and the default folders; then symbol versions. Symbols are not bound here: `trial` says
which files are to be bound and where their symbols are looked for, `binding.py` does it, and
`load` takes what a `Binder` says of them. Not simulated: other C libraries (musl), LD_AUDIT, the folders below
`tls/` and `haswell/` that glibc 2.37 gave up, and the page size of the kernel.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torchkit.machine.elf import (
    CANNOT_READ,
    NO_SEGMENTS,
    NOT_ALIGNED,
    WRONG_CLASS,
    Elf,
    cannot_open,
    parse_elf,
    read_elf,
)
from torchkit.machine.ldcache import read_cache
from torchkit.machine.symbols import Exports
from torchkit.system import System, Unknown

CACHE = "/etc/ld.so.cache"
PRELOAD = "/etc/ld.so.preload"
LIBRARY_PATH = "LD_LIBRARY_PATH"
FROM_CACHE = "ld.so.cache"
DEFAULT_FOLDER = "default folder"
ALREADY_LOADED = "already loaded"

REFUSES_EXECUTABLE_STACK = (2, 41)
"""Since this glibc, `dlopen` refuses a library that asks for an executable stack.

https://github.com/OpenNMT/CTranslate2/issues/1849
"""

MAX_FOLDERS = 1000
"""So many folders of one list are searched: a damaged RPATH may have tens of thousands."""

MAX_OPENED = 100_000
"""So many paths are tried for one `dlopen`, and so many answers kept: real ones try hundreds."""

_TOO_MANY = f"what it needs is searched for under more than {MAX_OPENED} paths"

_SAID_OF_THE_NAME = (NO_SEGMENTS, NOT_ALIGNED)
"""Faults found while mapping: the message has the name asked for, where others have the path."""

_TOKEN = re.compile(r"\$(?:(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])|\{(ORIGIN|LIB|PLATFORM)\})")
_FOLDER_LIST = re.compile(rb"(?<=\0)(?:/[\w.+/-]*lib[\w.+/-]*/\0){2,8}")

_USUAL_FOLDERS = {
    "x86_64": ("/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib64/", "/usr/lib64/"),
    "aarch64": ("/lib/aarch64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/", "/lib64/", "/usr/lib64/"),
}
"""Where ld.so itself does not tell."""

# https://gitlab.com/x86-psABIs/x86-64-ABI, table of micro-architecture levels; lzcnt is `abm`
_X86_LEVELS = {
    "x86-64-v2": "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}


class Loaded(NamedTuple):
    """One library of a process: the name that was asked for, the copy taken, why, and for whom."""

    name: str
    path: Path
    why: str
    soname: str | None = None
    needed_by: str | None = None


class Problem(NamedTuple):
    """What the loader would say. `library` is the one that is missing, broken or too old."""

    text: str
    library: str
    needed_by: str | None = None
    version: str | None = None


class Load(NamedTuple):
    """What one `dlopen` does. With problems it fails with the first, and nothing stays loaded.

    The other problems are those that would come up once the earlier ones are cured.
    """

    libraries: tuple[Loaded, ...] = ()
    problems: tuple[Problem, ...] = ()

    def find(self, name: str) -> Loaded | None:
        """The library of that name."""
        for library in self.libraries:
            if name in (library.name, library.soname):
                return library
        return None


@dataclass(eq=False)
class Mapped:
    """A file in the process. `name` is the path as the loader writes it, dots and all.

    `parent` is the file for which it was searched; `needs` are the files it needs, in its order.
    """

    name: str
    elf: Elf
    parent: Mapped | None = None
    origin: str = ""
    identity: tuple[int, int] | None = None
    names: set[str] = field(default_factory=set)
    needs: list[Mapped] = field(default_factory=list)

    def answers_to(self, name: str) -> bool:
        """Whether a demand for that name is met by this file."""
        return name in self.names or name in (self.name, self.elf.soname)

    def closure(self) -> dict[Mapped, None]:
        """The file and what it needs, breadth first: where its symbols are looked for."""
        found = {self: None}
        queue = [self]
        for mapped in queue:
            for needed in mapped.needs:
                if needed not in found:
                    found[needed] = None
                    queue.append(needed)
        return found


class Trial(NamedTuple):
    """One `dlopen` that was undone again, before symbols are bound.

    `new` are the files it would map, breadth first, the opened one first: none where that one is
    in the process already. Their symbols are looked for in `global_scope`, then `local_scope`.
    """

    load: Load
    new: tuple[Mapped, ...] = ()
    global_scope: tuple[Mapped, ...] = ()
    local_scope: tuple[Mapped, ...] = ()


Binder = Callable[[Trial], Iterable[Problem]]
"""Given what a load would map, the symbols in it that nothing defines."""


class _Folder(NamedTuple):
    """A place to search: a folder with its slash (or nothing, the working folder), and why."""

    text: str
    why: str


class _FatalError(Exception):
    """The loader gives up; the text is its message."""


class Loader:
    """A process of `executable` (a Python, or any program), before it loads something more.

    Without a program, or with one that cannot be read, it is one of this machine's kind that
    needs nothing. Loads add up, as in a process.
    """

    def __init__(self, system: System, *, executable: Path | None) -> None:
        self._system = system
        self._executable = executable
        self._exists: dict[str, bool] = {}
        self._elfs: dict[str, tuple[Elf | Unknown, tuple[int, int] | None, int | None]] = {}
        self._folders: dict[tuple[str, int], tuple[_Folder, ...]] = {}
        self._exports: dict[str, Exports] = {}
        self._maps: list[Mapped] = []
        self._global: dict[Mapped, None] = {}
        self._opened = 0
        self._has_started = False

    # --- what is asked of it

    @cached_property
    def not_simulated(self) -> str | None:
        """Why this process cannot be simulated; None where it can."""
        if self._system.platform != "linux":
            return "only the loader of Linux is simulated"
        interpreter = self._main.elf.interpreter or ""
        if "ld-musl" in interpreter:
            return f"{interpreter} is the loader of musl, only that of glibc is simulated"
        if not interpreter and self._system.libc() is None:
            return "the C library is not glibc, whose loader alone is simulated"
        return None

    def load(
        self, path: Path | str, *, is_global: bool = False, bind: Binder | None = None
    ) -> Load | Unknown:
        """`dlopen` of a path, or of a bare name, from Python's own code.

        `is_global`: with RTLD_GLOBAL, so that later files find the symbols of what is loaded.
        `bind` is asked for symbols that would not be found once everything else is well.
        """
        if self.not_simulated is not None:
            return Unknown(self.not_simulated)
        self._start()
        before, names = self._state()
        trial = self._open(str(path))
        if self._opened > MAX_OPENED:
            self._undo(before, names)
            return Unknown(_TOO_MANY)
        load = trial.load
        if bind is not None and trial.new and not load.problems:
            load = load._replace(problems=tuple(bind(trial)))
        if load.problems:
            self._undo(before, names)
        elif is_global:
            self._global |= dict.fromkeys(trial.local_scope)
        return load

    def trial(self, path: Path | str) -> Trial | Unknown:
        """What a `dlopen` of this path would map; afterwards the process is as it was."""
        if self.not_simulated is not None:
            return Unknown(self.not_simulated)
        self._start()
        before, names = self._state()
        trial = self._open(str(path))
        self._undo(before, names)
        return Unknown(_TOO_MANY) if self._opened > MAX_OPENED else trial

    @contextmanager
    def restored(self) -> Iterator[None]:
        """What is loaded meanwhile is gone at the end, as when a forked child ends."""
        self._start()
        (before, names), in_reach = self._state(), dict(self._global)
        try:
            yield
        finally:
            self._undo(before, names)
            self._global = in_reach

    def exports(self, mapped: Mapped) -> Exports:
        """What the file offers to others."""
        if mapped.name not in self._exports:
            self._exports[mapped.name] = Exports(self._system, self.path_of(mapped))
        return self._exports[mapped.name]

    def path_of(self, mapped: Mapped) -> Path:
        """Where the file lies; the loader may write its path from the working folder on."""
        return self._absolute(mapped.name)

    @cached_property
    def program_is_known(self) -> bool:
        """Whether the program could be read: a Python module takes symbols from it."""
        return self._executable is not None and isinstance(self.elf(self._main.name), Elf)

    @property
    def program(self) -> Elf | None:
        """What the program's file says of itself; None where it cannot be read."""
        elf = self.elf(self._main.name)
        return elf if self._executable is not None and isinstance(elf, Elf) else None

    def find(self, soname: str) -> Path | None:
        """The file that a `dlopen` of this bare name would take; None where there is none."""
        if self._system.platform != "linux":
            return None
        self._start()
        found = next((old for old in self._maps if old.answers_to(soname)), None)
        if found is not None:
            return Path(found.name)
        try:
            _, where = self._locate(soname, self._caller)
        except _FatalError:
            return None
        return self._absolute(where.text + soname)

    def find_for(self, soname: str, *, needed_by: Path) -> Loaded | None:
        """The copy that a library, loaded or not, would get when it opens this name itself."""
        if self.not_simulated is not None:
            return None
        self._start()
        for old in self._maps:
            if old.answers_to(soname):
                return Loaded(
                    soname, Path(old.name), ALREADY_LOADED, old.elf.soname, str(needed_by)
                )
        caller = self._map_of(needed_by)
        if caller is None:
            return None
        try:
            elf, where = self._locate(soname, caller)
        except _FatalError:
            return None
        path = self._absolute(where.text + soname)
        return Loaded(soname, path, where.why, elf.soname, str(needed_by))

    def offers(self, soname: str, *, needed_by: Path) -> tuple[Loaded, ...]:
        """Every usable copy in the folders searched for this name, the winner first.

        What is loaded already is not looked at.
        """
        if self.not_simulated is not None:
            return ()
        self._start()
        caller = self._map_of(needed_by)
        if caller is None:
            return ()
        offers: dict[Path, Loaded] = {}
        for folders in self._searched(soname, caller):
            for folder in folders:
                path = self._absolute(folder.text + soname)
                elf = self._read(folder.text + soname)[0] if self._has(folder.text) else None
                if path not in offers and isinstance(elf, Elf) and self._fits(elf):
                    offers[path] = Loaded(soname, path, folder.why, elf.soname, str(needed_by))
        return tuple(offers.values())

    def names_in_reach(self, pattern: re.Pattern[str], *, needed_by: Path) -> tuple[str, ...]:
        """Names of files in the folders and the cache that are searched on behalf of a library."""
        if self.not_simulated is not None:
            return ()
        self._start()
        caller = self._map_of(needed_by)
        if caller is None:
            return ()
        names = [name for name in self._cache if pattern.fullmatch(name)]
        for folders in self._searched(needed_by.name, caller):
            for folder in folders:
                if folder.text and folder.why != FROM_CACHE and self._has(folder.text):
                    listed = self._system.names_in(self._absolute(folder.text))
                    names += [name for name in listed if pattern.fullmatch(name)]
        return tuple(dict.fromkeys(names))

    def elf(self, path: Path | str) -> Elf | Unknown:
        """The file, read once."""
        return self._read(str(path))[0]

    # --- the process

    @cached_property
    def _main(self) -> Mapped:
        empty = Elf(machine=_machine(self._system.architecture), is_program=True)
        if self._executable is None:
            return Mapped("", empty)
        path = self._system.resolve(self._executable)
        elf = read_elf(self._system, path)
        return Mapped(str(path), elf if isinstance(elf, Elf) else empty, origin=str(path.parent))

    def _start(self) -> None:
        """What is in the process before `dlopen`: the program, preloaded files, what they need."""
        if self._maps:
            return
        main = self._main
        self._maps = [main]
        if main.elf.interpreter:
            elf, identity, _ = self._read(main.elf.interpreter)
            if isinstance(elf, Elf):
                self._maps.append(Mapped(main.elf.interpreter, elf, identity=identity))
        new = [main]
        for name in filter(None, self._preloaded()):
            try:
                new.append(self._map(name, main, [], []))
            except _FatalError:  # the loader says so and goes on
                continue
        self._follow(list(dict.fromkeys(new)), [], [])
        self._global = dict.fromkeys(new)
        for mapped in new:
            self._global |= mapped.closure()
        self._has_started = True

    def _preloaded(self) -> Iterator[str]:
        yield from re.split("[ :]+", self._system.environ.get("LD_PRELOAD", "").strip(" :"))
        text = self._system.read_text(PRELOAD)
        if isinstance(text, str):
            yield from re.split(r"[\s:]+", re.sub("#.*", "", text).strip())

    @cached_property
    def _caller(self) -> Mapped:
        """Who calls `dlopen`: the library Python is in, or the program itself."""
        for old in self._maps:
            if (old.elf.soname or "").startswith("libpython3."):
                return old
        return self._main

    def _map_of(self, path: Path) -> Mapped | None:
        for old in self._maps:
            if old.name == str(path):
                return old
        elf = self.elf(path)
        if not isinstance(elf, Elf):
            return None
        return Mapped(str(path), elf, parent=self._caller, origin=str(path.parent))

    # --- dlopen

    def _open(self, name: str) -> Trial:
        """What is mapped until the first problem that ends it, and the problems."""
        libraries: list[Loaded] = []
        problems: list[Problem] = []
        before = len(self._maps)
        self._opened = 0
        try:
            root = self._map(name, self._caller, libraries, problems)
            if root not in self._maps[:before]:
                root.parent = None  # who calls `dlopen` lends its RPATH to this search alone
        except _FatalError as fatal:
            return Trial(Load(tuple(libraries), (Problem(str(fatal), name),)))
        if root not in self._maps[:before]:
            self._follow([root], libraries, problems)
        load = Load(tuple(libraries), tuple(problems))
        new = tuple(self._maps[before:])
        return Trial(load, new, tuple(self._global), tuple(root.closure()))

    def _state(self) -> tuple[int, list[set[str]]]:
        return len(self._maps), [set(old.names) for old in self._maps]

    def _undo(self, before: int, names: list[set[str]]) -> None:
        """Back to an earlier state, as after a `dlopen` that failed."""
        del self._maps[before:]
        for old, known in zip(self._maps, names, strict=True):
            old.names = known

    def _follow(self, new: list[Mapped], libraries: list[Loaded], problems: list[Problem]) -> None:
        """Load what `new` needs, breadth first, then compare versions."""
        position = 0
        while position < len(new):
            parent = new[position]
            position += 1
            for needed in parent.elf.needed:
                name = self._expand(needed, parent)
                before = len(self._maps)
                try:
                    found = self._map(name, parent, libraries, problems)
                except _FatalError as fatal:
                    if all(problem.text != str(fatal) for problem in problems):
                        problems.append(Problem(str(fatal), name, parent.name))
                    continue
                parent.needs.append(found)
                if len(self._maps) > before:
                    new.append(found)
        for library in new:
            problems.extend(self._version_problems(library))

    def _version_problems(self, library: Mapped) -> Iterator[Problem]:
        for name, versions in library.elf.needed_versions.items():
            provider = next((old for old in self._maps if old.answers_to(name)), None)
            if provider is None or not provider.elf.defined_versions:
                continue
            for version in versions:
                if not version.is_weak and version.name not in provider.elf.defined_versions:
                    text = (
                        f"{provider.name}: version `{version.name}' not found"
                        f" (required by {library.name})"
                    )
                    yield Problem(text, name, library.name, version.name)

    def _map(
        self, name: str, parent: Mapped, libraries: list[Loaded], problems: list[Problem]
    ) -> Mapped:
        """The file of that name, in the process already or from now on."""
        why = ALREADY_LOADED
        found = next((old for old in self._maps if old.answers_to(name)), None)
        if found is None:
            elf, where = self._locate(name, parent)
            text = where.text + name
            identity = self._read(text)[1]
            found = next((old for old in self._maps if identity and old.identity == identity), None)
            if found is None:
                self._refuse(elf, name, problems)
                origin = str(self._absolute(text).parent)
                found = Mapped(text, elf, parent=parent, origin=origin, identity=identity)
                self._maps.append(found)
                why = where.why
        found.names.add(name)
        if all(found.name != str(other.path) for other in libraries):
            libraries.append(
                Loaded(name, self._absolute(found.name), why, found.elf.soname, parent.name or None)
            )
        return found

    def _refuse(self, elf: Elf, name: str, problems: list[Problem]) -> None:
        """What the loader refuses once it has the file."""
        if not elf.has_dynamic:
            raise _FatalError(f"{name}: object file has no dynamic section")
        if elf.is_program:
            kind = (
                "position-independent executable" if elf.is_position_independent else "executable"
            )
            raise _FatalError(f"{name}: cannot dynamically load {kind}")
        if self._has_started and elf.executable_stack and self._refuses_executable_stack:
            words = "cannot enable executable stack as shared object requires"
            text = f"{name}: {words}: {os.strerror(errno.EINVAL)}"
            problems.append(Problem(text, name))

    @cached_property
    def _refuses_executable_stack(self) -> bool:
        numbers = re.findall(r"\d+", self._system.libc() or "")
        if tuple(map(int, numbers[:2])) < REFUSES_EXECUTABLE_STACK:
            return False
        if re.search(r"glibc\.rtld\.execstack=2\b", self._system.environ.get("GLIBC_TUNABLES", "")):
            return False
        return not (self._main.elf.interpreter and self._main.elf.executable_stack)

    # --- the search

    def _locate(self, name: str, parent: Mapped) -> tuple[Elf, _Folder]:
        """The file for a name or path, and the folder it was found in ("" for a path)."""
        number: int | None = errno.ENOENT
        other_class = False
        for folders in self._searched(name, parent):
            for folder in folders:
                if not self._has(folder.text):
                    continue
                elf, _, failure = self._read(folder.text + name)
                if failure is not None:
                    number = failure
                    if failure not in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                        break  # the loader leaves this list of folders then
                    continue
                if isinstance(elf, Elf) and self._fits(elf):
                    return elf, folder
                number = errno.ENOENT
                if isinstance(elf, Elf):
                    self._refuse_byte_order(elf, folder.text + name)
                elif elf.reason.startswith(WRONG_CLASS):
                    other_class = True
                else:
                    told_of = name if elf.reason in _SAID_OF_THE_NAME else folder.text + name
                    raise _FatalError(f"{told_of}: {elf.reason}")
        if other_class:
            other = 96 - self._main.elf.bits
            raise _FatalError(f"{name}: {WRONG_CLASS}: ELFCLASS{other}")
        raise _FatalError(f"{name}: {cannot_open(number)}")

    def _refuse_byte_order(self, elf: Elf, path: str) -> None:
        if elf.is_little_endian != self._main.elf.is_little_endian:
            wanted = "little" if self._main.elf.is_little_endian else "big"
            raise _FatalError(f"{path}: ELF file data encoding not {wanted}-endian")

    def _searched(self, name: str, parent: Mapped) -> Iterator[tuple[_Folder, ...]]:
        """The lists of folders in which a name is searched for, in the loader's order."""
        if "/" in name:
            yield (_Folder("", "path"),)
            return
        if parent.elf.runpath is None:
            chain = []
            ancestor: Mapped | None = parent
            while ancestor is not None:
                chain.append(ancestor)
                ancestor = ancestor.parent
            if self._main not in chain:
                chain.append(self._main)
            for ancestor in chain:
                if ancestor.elf.runpath is None:
                    yield self._path_folders(
                        ancestor.elf.rpath, f"RPATH of {ancestor.name}", ancestor
                    )
        yield self._path_folders(
            self._system.environ.get(LIBRARY_PATH), LIBRARY_PATH, self._main, separators="[:;]"
        )
        yield self._path_folders(parent.elf.runpath, f"RUNPATH of {parent.name}", parent)
        cached = self._cache.get(name)
        if cached is not None and cached.endswith(f"/{name}"):
            folder = cached[: -len(name)]
            if not (parent.elf.ignores_default_folders and folder in self._default_folders):
                yield (_Folder(folder, FROM_CACHE),)
        if not parent.elf.ignores_default_folders:
            yield self._default

    def _path_folders(
        self, text: str | None, why: str, owner: Mapped, *, separators: str = ":"
    ) -> tuple[_Folder, ...]:
        if not text:
            return ()
        key = (why, id(owner))
        if key not in self._folders:
            folders: dict[str, None] = {}
            for part in re.split(separators, text, maxsplit=MAX_FOLDERS)[:MAX_FOLDERS]:
                folder = self._expand(part, owner)
                if folder or not part:
                    folders[folder.rstrip("/") + "/" if folder else ""] = None
            self._folders[key] = tuple(self._with_levels(folders, why))
        return self._folders[key]

    def _with_levels(self, folders: Mapping[str, None], why: str) -> Iterator[_Folder]:
        """Each folder, preceded by its `glibc-hwcaps` for this CPU."""
        for folder in folders:
            if folder and self._has(f"{folder}glibc-hwcaps/"):
                for level in self._levels:
                    yield _Folder(f"{folder}glibc-hwcaps/{level}/", why)
            yield _Folder(folder, why)

    def _expand(self, text: str, owner: Mapped) -> str:
        if "$" not in text:
            return text
        values = {"ORIGIN": owner.origin, "PLATFORM": self._system.architecture}

        def value(match: re.Match[str]) -> str:
            word = match[1] or match[2]
            return self._default_folders[0].strip("/") if word == "LIB" else values[word]

        return _TOKEN.sub(value, text)

    # --- what the machine has

    @cached_property
    def _default_folders(self) -> tuple[str, ...]:
        """The folders built into ld.so, which differ between distributions: it holds their list."""
        interpreter = self._main.elf.interpreter
        data = self._system.read_bytes(interpreter) if interpreter else None
        if isinstance(data, bytes):
            match = _FOLDER_LIST.search(data)
            if match is not None:
                return tuple(os.fsdecode(part) for part in match[0].split(b"\0") if part)
        return (*_USUAL_FOLDERS.get(self._main.elf.machine, ()), "/lib/", "/usr/lib/")

    @cached_property
    def _default(self) -> tuple[_Folder, ...]:
        return tuple(self._with_levels(dict.fromkeys(self._default_folders), DEFAULT_FOLDER))

    @cached_property
    def _cache(self) -> Mapping[str, str]:
        data = self._system.read_bytes(CACHE)
        if not isinstance(data, bytes):
            return {}
        levels = self._levels if b"x86-64-v" in data else ()
        return read_cache(data, machine=self._main.elf.machine, levels=levels)

    @cached_property
    def _levels(self) -> tuple[str, ...]:
        """The folders below `glibc-hwcaps` for this CPU, best first."""
        if self._main.elf.machine != "x86_64":
            return ()
        text = self._system.read_text("/proc/cpuinfo")
        match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE) if isinstance(text, str) else None
        flags = set(match[1].split()) if match is not None else set()
        levels: list[str] = []
        for level, needed in _X86_LEVELS.items():
            if not flags.issuperset(needed.split()):
                break
            levels.insert(0, level)
        return tuple(levels)

    def _has(self, folder: str) -> bool:
        if folder not in self._exists:
            self._exists[folder] = not folder or self._system.is_folder(self._absolute(folder))
        return self._exists[folder]

    def _fits(self, elf: Elf) -> bool:
        main = self._main.elf
        return (elf.machine, elf.bits, elf.is_little_endian) == (
            main.machine,
            main.bits,
            main.is_little_endian,
        )

    def _absolute(self, text: str) -> Path:
        if text.startswith("/"):
            return Path(text)
        return (self._system.working_folder() or Path("/")) / text

    def _read(self, text: str) -> tuple[Elf | Unknown, tuple[int, int] | None, int | None]:
        """A file, which one it is on its disk, and the errno where it cannot be opened."""
        if text not in self._elfs:
            if len(self._elfs) >= MAX_OPENED:
                self._elfs.clear()
            self._elfs[text] = self._read_anew(text)
        return self._elfs[text]

    def _read_anew(self, text: str) -> tuple[Elf | Unknown, tuple[int, int] | None, int | None]:
        self._opened += 1
        if self._opened > MAX_OPENED:
            return Unknown(_TOO_MANY), None, errno.ENOENT
        path = self._absolute(text)
        try:
            with self._system.open(path) as file:
                status = os.fstat(file.fileno())
                return (
                    parse_elf(file, bits=self._main.elf.bits),
                    (status.st_dev, status.st_ino),
                    None,
                )
        except IsADirectoryError as error:  # opens, and then cannot be read
            return Unknown(f"{CANNOT_READ}: {error.strerror}"), None, None
        except OSError as error:
            return Unknown(cannot_open(error.errno)), None, error.errno
        except ValueError:
            return Unknown(cannot_open(None)), None, errno.ENOENT


def _machine(architecture: str) -> str:
    """The name this module has for what the kernel calls a machine."""
    return {"AMD64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64"}.get(
        architecture, architecture
    )
