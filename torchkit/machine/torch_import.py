"""How `import torch` would go, with the loader simulated: nothing is imported, nothing loaded.

Follows torch/__init__.py: libtorch_global_deps.so, the nvidia packages where that fails, torch/_C.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from torchkit.machine.elf import Symbol, defined_symbols, undefined_symbols
from torchkit.machine.loader import ALREADY_LOADED, Load, Loaded, Problem
from torchkit.machine.torch_libraries import TorchLibraries
from torchkit.system import Unknown

_CUDA = re.compile(r"lib(cu|nccl|nv)")
"""Of these, a copy from elsewhere may lack symbols though it has the versions, or has none."""

# in torch/__init__.py: `("cublas", "libcublas.so.*[0-9]")`, up to 2.0 `'cublas': 'libcublas.so.*[0-9]'`
_CUDA_PACKAGE = re.compile(r"""["'](\w+)["']\s*[:,]\s*["'](lib[\w-]+\.so[^"']*)["']""")
_OPTIONAL = re.compile(r"""["'](lib[\w-]+\.so[^"']*)["'],\s*required=False""")
_WHEN_CUDART_IS_LOADED = re.compile(
    r"""if ["']([^"']*libcudart\.so)["'] not in _maps:(.*?)except Exception""", re.DOTALL
)

_T = TypeVar("_T")


@dataclass
class TorchImport:
    """One `import torch`: what it loads, what it dies of."""

    torch: TorchLibraries
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


def _in_order(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))


def _is_of(symbol: Symbol, found: Loaded, expected: frozenset[str] | Unknown) -> bool:
    """Whether it is this library that should have the symbol."""
    if symbol.library is not None:
        return symbol.library == found.name
    if isinstance(expected, frozenset) and symbol.name in expected:
        return True
    return found.name.startswith("libnccl.") and symbol.name.startswith("nccl")
