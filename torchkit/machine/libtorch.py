"""The compiled libraries of an installed torch: what they are, and how importing them would go.

Follows `import torch` as torch/__init__.py does it (libtorch_global_deps.so, the nvidia packages
where that fails, torch/_C), with the loader simulated: nothing is imported and nothing loaded.
Only Linux is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from torchkit.machine.elf import (
    Elf,
    Symbol,
    cxx11_abi,
    defined_symbols,
    read_only_data,
    undefined_symbols,
)
from torchkit.machine.facts import Library, Value
from torchkit.machine.loader import ALREADY_LOADED, Load, Loaded, Loader, Problem
from torchkit.system import System, Unknown
from torchkit.versions import Version, as_version

LIBSTDCXX = "libstdc++.so.6"
ARCHS_LIBRARY = "libtorch_python.so"
"""What `torch._C._cuda_getArchFlags` returns is a string in this library (seen in 2.14.1+cu130)."""

_FACTS = (
    "torch_cxx11_abi",
    "torch_glibc_needed",
    "torch_glibcxx_needed",
    "torch_cxxabi_needed",
    "torch_archs",
    "torch_archs_source",
    "torch_problems",
    "shadowed_libraries",
)
_LIBSTDCXX_FACTS = ("libstdcxx_path", "libstdcxx_glibcxx", "libstdcxx_cxxabi")

_LIBRARIES_TELLING_THE_ABI = ("libc10.so", "libtorch.so", "libtorch_python.so", "libcaffe2.so")
_LIBRARIES_WITH_NEEDS = (
    "libc10.so",
    "libc10_cuda.so",
    "libtorch.so",
    "libtorch_cpu.so",
    "libtorch_cuda.so",
    "libtorch_cuda_cpp.so",
    "libtorch_cuda_cu.so",
    "libtorch_python.so",
)

_WATCHED = re.compile(
    r"lib(cudart|cublas|cublasLt|cudnn\w*|cufft|cufile|cupti|curand|cusolver|cusparse|cusparseLt"
    r"|nccl|nvJitLink|nvrtc|nvrtc-builtins|nvshmem_host|nvToolsExt|stdc\+\+|gomp|iomp5|gcc_s)\.so"
)
"""Libraries that a torch brings along, and that often lie elsewhere on the machine, too."""

_CUDA = re.compile(r"lib(cu|nccl|nv)")
"""Of these, a copy from elsewhere may lack symbols though it has the versions, or has none."""

_OPENED_LATER = {"libcudnn": r"libcudnn_\w+\.so", "libnvrtc": r"libnvrtc-builtins\.so"}
"""What a library opens by name when it is first used, beside what it needs from the start."""

# in torch/__init__.py: `("cublas", "libcublas.so.*[0-9]")`, up to 2.0 `'cublas': 'libcublas.so.*[0-9]'`
_CUDA_PACKAGE = re.compile(r"""["'](\w+)["']\s*[:,]\s*["'](lib[\w-]+\.so[^"']*)["']""")
_OPTIONAL = re.compile(r"""["'](lib[\w-]+\.so[^"']*)["'],\s*required=False""")
_WHEN_CUDART_IS_LOADED = re.compile(
    r"""if ["']([^"']*libcudart\.so)["'] not in _maps:(.*?)except Exception""", re.DOTALL
)

_ARCH_LIST = re.compile(rb"\0((?:(?:sm|compute)_\d+[a-z]? ?)+)\0")
_ARCH_STARTS = (b"\0sm_", b"\0compute_")
_SEARCH_LIMIT_BYTES = 256 * 1024**2
_CHUNK_BYTES = 1024**2
_OVERLAP_BYTES = 1024

_T = TypeVar("_T")


def torch_library_facts(
    system: System,
    *,
    torch_folder: Path,
    python_executable: Path,
    python_tag: str,
    cuda: bool,
    search_path: Sequence[Path] = (),
) -> dict[str, Value]:
    """What the libraries in `torch_folder` say, and what stands in the way of importing them.

    `python_tag` is the suffix of compiled modules, e.g. "cpython-311-x86_64-linux-gnu".
    `cuda`: whether this is a build for CUDA. `search_path` is the interpreter's `sys.path`, where
    the nvidia packages are looked for; without it, the folder that torch lies in.
    """
    if system.platform != "linux":
        return dict.fromkeys((*_FACTS, *_LIBSTDCXX_FACTS))
    loader = Loader(system, executable=python_executable)
    torch = _Torch(system, loader, torch_folder, tuple(search_path) or (torch_folder.parent,))
    archs = torch.archs() if cuda else None
    facts: dict[str, Value] = {
        "torch_cxx11_abi": torch.cxx11_abi(),
        "torch_glibc_needed": torch.newest_needed("GLIBC"),
        "torch_glibcxx_needed": torch.newest_needed("GLIBCXX"),
        "torch_cxxabi_needed": torch.newest_needed("CXXABI"),
        "torch_archs": archs,
        "torch_archs_source": ARCHS_LIBRARY if isinstance(archs, tuple) else archs,
    }
    if loader.not_simulated is not None:
        unknown = Unknown(loader.not_simulated)
        names = ("torch_problems", "shadowed_libraries", *_LIBSTDCXX_FACTS)
        return {**facts, **dict.fromkeys(names, unknown)}
    course = _Import(torch, python_tag)
    course.run()
    facts["torch_problems"] = tuple(dict.fromkeys(course.texts))
    facts["shadowed_libraries"] = tuple(_shadowed(torch, course))
    winner = next(
        (found for found in course.libraries if LIBSTDCXX in (found.name, found.soname)), None
    )
    path = loader.find(LIBSTDCXX) if winner is None else winner.path
    return {**facts, **_describe_libstdcxx(system, loader, path)}


def libstdcxx_facts(system: System, *, python_executable: Path) -> dict[str, Value]:
    """The libstdc++.so.6 that a compiled module would get in a process of this Python."""
    if system.platform != "linux":
        return dict.fromkeys(_LIBSTDCXX_FACTS)
    loader = Loader(system, executable=python_executable)
    if loader.not_simulated is not None:
        return dict.fromkeys(_LIBSTDCXX_FACTS, Unknown(loader.not_simulated))
    return _describe_libstdcxx(system, loader, loader.find(LIBSTDCXX))


def _describe_libstdcxx(system: System, loader: Loader, path: Path | None) -> dict[str, Value]:
    if path is None:
        return dict.fromkeys(_LIBSTDCXX_FACTS)
    elf = loader.elf(path)
    offered: dict[str, Value] = {
        "libstdcxx_glibcxx": _newest("GLIBCXX", elf.defined_versions)
        if isinstance(elf, Elf)
        else elf,
        "libstdcxx_cxxabi": _newest("CXXABI", elf.defined_versions)
        if isinstance(elf, Elf)
        else elf,
    }
    return {"libstdcxx_path": str(_tidy(system, path)), **offered}


def _newest(family: str, names: Iterable[str]) -> Version | None:
    """The newest of `GLIBC_2.17`, `GLIBC_2.28` …; texts such as GLIBC_PRIVATE are passed over."""
    numbers = (re.fullmatch(rf"{family}_(\d+(?:\.\d+)*)", name) for name in names)
    versions = [as_version(match[1]) for match in numbers if match is not None]
    return max((version for version in versions if version is not None), default=None)


def _tidy(system: System, path: Path) -> Path:
    """The path without `..` in it, under the name that was loaded."""
    return system.resolve(path.parent) / path.name


def _in_order(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))


@dataclass
class _Torch:
    """An installed torch, and the process it would be loaded into."""

    system: System
    loader: Loader
    folder: Path
    search_path: tuple[Path, ...]

    @property
    def libraries(self) -> Path:
        return self.folder / "lib"

    @cached_property
    def names(self) -> tuple[str, ...]:
        return self.system.names_in(self.folder)

    @cached_property
    def library_names(self) -> tuple[str, ...]:
        return self.system.names_in(self.libraries)

    @cached_property
    def code(self) -> str:
        """torch/__init__.py, which differs between releases in what it loads, and when."""
        text = self.system.read_text(self.folder / "__init__.py")
        return text if isinstance(text, str) else ""

    @cached_property
    def cuda_major(self) -> str | None:
        text = self.system.read_text(self.folder / "version.py")
        match = (
            re.search(r"""^cuda\b[^=\n]*=\s*["'](\d+)""", text, re.M)
            if isinstance(text, str)
            else None
        )
        return None if match is None else match[1]

    @cached_property
    def own_folders(self) -> tuple[Path, ...]:
        """Where libraries come with torch: its own folder and those of the nvidia packages."""
        folders = [self.libraries]
        for entry in self.search_path:
            folders += [
                entry / "nvidia" / name / "lib" for name in self.system.names_in(entry / "nvidia")
            ]
        return tuple(folder for folder in folders if self.system.is_folder(folder))

    def own_copy(self, name: str) -> Path | None:
        for folder in self.own_folders:
            if self.system.size(folder / name) is not None:
                return folder / name
        return None

    def is_own(self, path: Path) -> bool:
        folder = self.system.resolve(path.parent)
        return any(folder == self.system.resolve(own) for own in self.own_folders)

    # --- what the files say

    def cxx11_abi(self) -> bool | Unknown:
        answers = []
        for name in _LIBRARIES_TELLING_THE_ABI:
            if name in self.library_names:
                answer = cxx11_abi(self.system, self.libraries / name)
                if not isinstance(answer, Unknown):
                    return answer
                answers.append(Unknown(f"{name}: {answer.reason}"))
        return answers[0] if answers else self._nothing_there()

    def newest_needed(self, family: str) -> Version | Unknown | None:
        names = [name for name in _LIBRARIES_WITH_NEEDS if name in self.library_names]
        needed: list[str] = []
        for name in names:
            elf = self.loader.elf(self.libraries / name)
            if isinstance(elf, Unknown):
                return Unknown(f"{name}: {elf.reason}")
            needed += [
                version.name
                for versions in elf.needed_versions.values()
                for version in versions
                if not version.is_weak
            ]
        return _newest(family, needed) if names else self._nothing_there()

    def archs(self) -> tuple[str, ...] | Unknown:
        path = self.libraries / ARCHS_LIBRARY
        try:
            with self.system.open(path) as file:
                parts = read_only_data(file)
                if isinstance(parts, Unknown):
                    return Unknown(f"{ARCHS_LIBRARY}: {parts.reason}")
                found: set[bytes] = set()
                for start, size in parts:
                    for offset in range(0, min(size, _SEARCH_LIMIT_BYTES), _CHUNK_BYTES):
                        file.seek(start + offset)
                        found |= _arch_lists(
                            file.read(min(_CHUNK_BYTES + _OVERLAP_BYTES, size - offset))
                        )
                    if found:
                        break
        except OSError as error:
            return Unknown(f"cannot read {ARCHS_LIBRARY}: {(error.strerror or '').lower()}")
        if not found:
            return Unknown(f"{ARCHS_LIBRARY} has no list of architectures")
        return tuple(max(found, key=len).decode("ascii").split())

    def _nothing_there(self) -> Unknown:
        return Unknown(f"{self.libraries} has no libraries of torch")


def _arch_lists(data: bytes) -> set[bytes]:
    lists = set()
    for start in _ARCH_STARTS:
        at = data.find(start)
        while at >= 0:
            match = _ARCH_LIST.match(data, at)
            if match is not None:
                lists.add(match[1])
            at = data.find(start, at + 1)
    return lists


def _is_of(symbol: Symbol, found: Loaded, expected: frozenset[str] | Unknown) -> bool:
    """Whether it is this library that should have the symbol."""
    if symbol.library is not None:
        return symbol.library == found.name
    if isinstance(expected, frozenset) and symbol.name in expected:
        return True
    return found.name.startswith("libnccl.") and symbol.name.startswith("nccl")


@dataclass
class _Import:
    """One `import torch`: what it loads, what it dies of."""

    torch: _Torch
    tag: str
    libraries: list[Loaded] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def run(self) -> None:
        if "libtorch_global_deps" in self.torch.code:
            self._load_global_dependencies()
        self._load_module()
        if "torch_shm_manager" in self.torch.code:
            manager = self.torch.folder / "bin" / "torch_shm_manager"
            if not self.torch.system.exists(manager):
                self.texts.append(f"Unable to find torch_shm_manager at {manager}")

    def _load_global_dependencies(self) -> None:
        """`_load_global_deps`: where it fails for a CUDA library, the nvidia packages are tried."""
        path = self.torch.libraries / "libtorch_global_deps.so"
        first = self._load(path)
        if not first.problems:
            self._load_when_cudart_is_loaded()
            return
        packages = _in_order(_CUDA_PACKAGE.findall(self.torch.code))
        if any(name.split(".")[0] in first.problems[0].text for _, name in packages):
            trouble = self._preload(packages, optional=set(_OPTIONAL.findall(self.torch.code)))
            if trouble is not None:
                self.texts += [trouble, first.problems[0].text]
                return
            first = self._load(path)
        self._note(first)

    def _load_when_cudart_is_loaded(self) -> None:
        """What torch loads ahead of its own libraries, so that no other copy is taken."""
        match = _WHEN_CUDART_IS_LOADED.search(self.torch.code)
        if match is None or all(match[1] not in str(found.path) for found in self.libraries):
            return
        named = _CUDA_PACKAGE.findall(match[2]) or _CUDA_PACKAGE.findall(self.torch.code)
        packages = _in_order(named)
        all_optional = "required=False" in match[2]
        optional = {name for _, name in packages} if all_optional else set()
        self._preload(packages, optional=optional | set(_OPTIONAL.findall(self.torch.code)))

    def _preload(self, packages: Sequence[tuple[str, str]], *, optional: set[str]) -> str | None:
        """`_preload_cuda_deps`: the first trouble, in Python's words; None when all is loaded."""
        for package, pattern in packages:
            path = self._packaged(package, pattern)
            if path is not None:
                load = self._load(path)
                if load.problems:
                    return load.problems[0].text
            elif pattern not in optional:
                return f"{pattern} not found in the system path"
        return None

    def _packaged(self, package: str, pattern: str) -> Path | None:
        for entry in self.torch.search_path:
            folders = [entry / "nvidia" / package / "lib"]
            if self.torch.cuda_major is not None and "cu{maj_cuda" in self.torch.code:
                folders.append(entry / "nvidia" / f"cu{self.torch.cuda_major}" / "lib")
            for folder in (*folders, entry / package / "lib"):
                for name in self.torch.system.names_in(folder):
                    if fnmatch(name, pattern):
                        return folder / name
        return None

    def _load_module(self) -> None:
        names = (f"_C.{self.tag}.so", "_C.abi3.so", "_C.so")
        module = next((name for name in names if name in self.torch.names), None)
        if module is not None:
            self._note(self._load(self.torch.folder / module))
            return
        others = [name for name in self.torch.names if re.fullmatch(r"_C\..*\.(so|pyd)", name)]
        # without the module, a folder of stubs is imported in its place
        words = "No module named 'torch._C'"
        if "_C" in self.torch.names and "Failed to load PyTorch C extensions" in self.torch.code:
            words = "Failed to load PyTorch C extensions"
        there = f"has {', '.join(others)}" if others else "has no _C"
        self.texts.append(f"{words}: {self.torch.folder} {there}, this Python needs {names[0]}")

    def _load(self, path: Path) -> Load:
        load = self.torch.loader.load(path, bind=self._unbound)
        if isinstance(load, Unknown):
            return Load((), ())
        self.libraries += load.libraries
        return load

    def _unbound(self, new: Sequence[Loaded]) -> Iterator[Problem]:
        """Symbols that a CUDA library from elsewhere lacks, one for each library that needs them.

        Only copies that no RPATH led to are looked into. A symbol with a version names its
        library; of others, those count that torch's own copy has.
        """
        copies: dict[Path, Loaded] = {}
        for found in [*self.libraries, *new]:
            copies.setdefault(found.path, found)
        for found in copies.values():
            if not _CUDA.match(found.name) or "RPATH" in found.why or found.why == "path":
                continue
            if not self.torch.is_own(found.path):
                yield from self._unbound_of(found, new)

    def _unbound_of(self, found: Loaded, new: Sequence[Loaded]) -> Iterator[Problem]:
        offered = defined_symbols(self.torch.system, found.path)
        if isinstance(offered, Unknown):
            return
        own = self.torch.own_copy(found.soname or found.name)
        expected = frozenset() if own is None else defined_symbols(self.torch.system, own)
        for user in reversed(new):  # the loader binds the last one first
            elf = self.torch.loader.elf(user.path)
            if (
                isinstance(elf, Unknown)
                or found.name not in elf.needed
                or user.why == ALREADY_LOADED
            ):
                continue
            symbols = undefined_symbols(self.torch.system, user.path)
            for symbol in () if isinstance(symbols, Unknown) else symbols:
                if symbol.is_weak or symbol.name in offered or not _is_of(symbol, found, expected):
                    continue
                version = f", version {symbol.version}" if symbol.version else ""
                text = f"{user.path}: undefined symbol: {symbol.name}{version}"
                yield Problem(text, found.name, str(user.path), symbol.name)
                break

    def _note(self, load: Load) -> None:
        self.problems += load.problems
        self.texts += [problem.text for problem in load.problems]


def _shadowed(torch: _Torch, course: _Import) -> Iterator[Library]:
    """Watched libraries of which a copy wins that torch did not bring, or that lacks a version."""
    lacking = {problem.library: problem for problem in reversed(course.problems) if problem.version}
    taken: dict[str, Loaded] = {}
    for found in course.libraries:
        if _WATCHED.match(found.name):
            taken.setdefault(found.name, found)
    for found in [*taken.values(), *_opened_later(torch, taken)]:
        problem = lacking.get(found.name)
        loser = None if torch.is_own(found.path) else torch.own_copy(found.soname or found.name)
        if loser is None and problem is not None:
            loser = _copy_with(torch, found, problem)
        if loser is not None:
            needed_by = found.needed_by if problem is None else problem.needed_by
            yield Library(
                name=found.name,
                winner=str(_tidy(torch.system, found.path)),
                reason=_reason(torch.system, found),
                loser=str(_tidy(torch.system, loser)),
                missing=None if problem is None else problem.version,
                needed_by=None if needed_by is None else Path(needed_by).name,
            )


def _reason(system: System, found: Loaded) -> str:
    if found.why == ALREADY_LOADED and found.path.name in system.environ.get("LD_PRELOAD", ""):
        return "LD_PRELOAD"
    return found.why


def _opened_later(torch: _Torch, taken: dict[str, Loaded]) -> Iterator[Loaded]:
    """The parts of a library that it opens by name, as they would be found."""
    for found in taken.values():
        pattern = _OPENED_LATER.get(found.name.split(".")[0])
        copy = torch.own_copy(found.name)
        if pattern is None or copy is None:
            continue
        for name in torch.system.names_in(copy.parent):
            if re.match(pattern, name) and name not in taken:
                part = torch.loader.find_for(name, needed_by=found.path)
                if part is not None:
                    yield part


def _copy_with(torch: _Torch, found: Loaded, problem: Problem) -> Path | None:
    """Another copy in the loader's reach that has the version the winner lacks."""
    if problem.needed_by is None:
        return None
    for offer in torch.loader.offers(found.name, needed_by=Path(problem.needed_by)):
        elf = torch.loader.elf(offer.path)
        if isinstance(elf, Elf) and problem.version in elf.defined_versions:
            return offer.path
    return None
