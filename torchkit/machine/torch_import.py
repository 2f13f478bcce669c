"""How `import torch` would go, with the loader simulated: nothing is imported, nothing loaded.

Follows torch/__init__.py: libtorch_global_deps.so, the nvidia packages where that fails, torch/_C.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from torchkit.machine.binding import complaint, unbound
from torchkit.machine.loader import Load, Loaded, Problem, Trial
from torchkit.machine.symbols import Exports, Symbol
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

_ALL_GLOBAL = "TORCH_USE_RTLD_GLOBAL"
"""With this variable, torch._C and all it needs become visible to every later library."""

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
        """Go through the whole import; `libraries`, `problems` and `texts` are filled."""
        if "libtorch_global_deps" in self.torch.code and not self._makes_all_global:
            self._load_global_dependencies()
        self._load_module()
        if "torch_shm_manager" in self.torch.code:
            manager = self.torch.folder / "bin" / "torch_shm_manager"
            if not self.torch.system.exists(manager):
                self.texts.append(f"Unable to find torch_shm_manager at {manager}")

    @property
    def _makes_all_global(self) -> bool:
        """Whether torch's own libraries are loaded with RTLD_GLOBAL, and nothing before them."""
        return bool(self.torch.system.environ.get(_ALL_GLOBAL)) and _ALL_GLOBAL in self.torch.code

    def _load_global_dependencies(self) -> None:
        """`_load_global_deps`: where it fails for a CUDA library, the nvidia packages are tried."""
        path = self.torch.libraries / "libtorch_global_deps.so"
        first = self._load(path, is_global=True)
        if not first.problems:
            self._load_when_cudart_is_loaded()
            return
        packages = _in_order(_CUDA_PACKAGE.findall(self.torch.code))
        if any(name.split(".")[0] in first.problems[0].text for _, name in packages):
            trouble = self._preload(packages, optional=set(_OPTIONAL.findall(self.torch.code)))
            if trouble is not None:
                self.texts += [trouble, first.problems[0].text]
                return
            first = self._load(path, is_global=True)
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
            path = self.torch.folder / module
            self._note(self._load(path, is_global=self._makes_all_global))
            return
        others = [name for name in self.torch.names if re.fullmatch(r"_C\..*\.(so|pyd)", name)]
        # without the module, a folder of stubs is imported in its place
        words = "No module named 'torch._C'"
        if "_C" in self.torch.names and "Failed to load PyTorch C extensions" in self.torch.code:
            words = "Failed to load PyTorch C extensions"
        there = f"has {', '.join(others)}" if others else "has no _C"
        self.texts.append(f"{words}: {self.torch.folder} {there}, this Python needs {names[0]}")

    def _load(self, path: Path, *, is_global: bool = False) -> Load:
        load = self.torch.loader.load(path, is_global=is_global, bind=self._unbound)
        if isinstance(load, Unknown):
            return Load((), ())
        self.libraries += load.libraries
        return load

    def _unbound(self, trial: Trial) -> Iterator[Problem]:
        """Symbols that nothing defines, one for each file and library that should have it.

        Binding all of torch takes longer than everything else here, and finds nothing as long as
        it gets the libraries it came with: it is done where a CUDA library comes from elsewhere.
        """
        foreign = self._foreign([*self.libraries, *trial.load.libraries])
        found = unbound(self.torch.system, self.torch.loader, trial) if foreign else ()
        told: set[tuple[str, str]] = set()
        for mapped, symbol in () if isinstance(found, Unknown) else found:
            library = self._should_define(symbol, foreign)
            if (mapped.name, library) not in told:
                told.add((mapped.name, library))
                text = complaint(self.torch.system, mapped, symbol)
                yield Problem(text, library, mapped.name, symbol.name)

    def _foreign(self, libraries: Iterable[Loaded]) -> dict[Path, Loaded]:
        """CUDA libraries that torch did not bring and that no RPATH led to."""
        copies = {found.path: found for found in reversed(tuple(libraries))}
        return {
            path: found
            for path, found in copies.items()
            if _CUDA.match(found.name)
            and "RPATH" not in found.why
            and found.why != "path"
            and not self.torch.is_own(path)
        }

    def _should_define(self, symbol: Symbol, foreign: Mapping[Path, Loaded]) -> str:
        """The library that should have the symbol, as far as it can be told."""
        if symbol.library is not None:
            return symbol.library
        for found in foreign.values():
            own = self.torch.own_copy(found.soname or found.name)
            if own is not None and Exports(self.torch.system, own).defines(symbol) is True:
                return found.name
            if found.name.startswith("libnccl.") and symbol.name.startswith("nccl"):
                return found.name
        return next(iter(foreign.values())).name

    def _note(self, load: Load) -> None:
        self.problems += load.problems
        self.texts += [problem.text for problem in load.problems]


def _in_order(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
