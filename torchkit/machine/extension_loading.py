"""Loads compiled files as their package would, in the simulated process: what it brings along first.

fbgemm-gpu loads the libraries that its modules need by path, transformer-engine one whose symbols
they use, metatensor-torch one of another package: none of these is missing. Nothing of it is there
for the next package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from torchkit.machine.binding import Attempt, attempt
from torchkit.machine.distributions import Distribution
from torchkit.machine.extension_files import TORCH_LIBRARY, Compiled, is_name_of_torch
from torchkit.machine.loader import Loader
from torchkit.machine.symbols import Exports, Symbol, query
from torchkit.system import System, Unknown

_OF_CUDA = re.compile(
    r"lib(cuda|cublas|cudnn|cufft|cufile|cupti|curand|cusolver|cusparse|nccl|npp|nvidia|nvrtc"
    r"|nvJitLink|nvjpeg|nvshmem|nvToolsExt)"
)
"""Many a package has a copy for itself, which no other package loads."""


class Loading:
    """What loading each of these files comes to. `required` names what a distribution requires."""

    def __init__(
        self,
        system: System,
        loader: Loader,
        compiled: Iterable[Compiled],
        required: Callable[[Distribution], Collection[str]] = lambda _: (),
    ) -> None:
        self._system = system
        self._loader = loader
        self._required = required
        self._by_name: dict[str, list[Compiled]] = {}
        self._tried: dict[str, Attempt | Unknown] = {}
        self._exports: dict[str, Exports] = {}
        for it in compiled:
            self._by_name.setdefault(it.name.rpartition("/")[2], []).append(it)

    def tried(self, files: Sequence[Compiled]) -> dict[str, Attempt | Unknown]:
        """How it goes for each of one package's files, by its path.

        They are loaded one after the other in one process, which ends with the package.
        """
        with self._loader.restored():
            self._tried.clear()
            return {file.name: self._alone(file) for file in files}

    def exports(self, name: str) -> Exports:
        """What a file offers to others; it is read once."""
        if name not in self._exports:
            self._exports[name] = Exports(self._system, name)
        return self._exports[name]

    def _alone(self, file: Compiled) -> Attempt | Unknown:
        tried = self._with_libraries(file)
        if isinstance(tried, Attempt) and tried.missing_symbols:
            return self._without_own_symbols(file, tried)
        return tried

    # --- libraries

    def _with_libraries(self, file: Compiled) -> Attempt | Unknown:
        if file.name not in self._tried:
            tried = self._attempt(file.path)
            self._tried[file.name] = tried  # two that need each other end here
            brought: set[str] = set()
            while isinstance(tried, Attempt) and tried.missing_library is not None:
                bringing = self._bringing(file, tried.missing_library)
                if bringing is None or bringing.name in brought:
                    break
                loaded = self._with_libraries(bringing)
                if isinstance(loaded, Unknown) or loaded.error is not None:
                    break
                brought.add(bringing.name)
                self._loader.load(bringing.path)
                tried = self._attempt(file.path)
            self._tried[file.name] = tried
        return self._tried[file.name]

    def _attempt(self, path: Path) -> Attempt | Unknown:
        return attempt(self._system, self._loader, path)

    def _bringing(self, file: Compiled, name: str) -> Compiled | None:
        """The installed file of this name that is meant; of several builds, the one for the same.

        A library of torch or CUDA must be the package's own.
        """
        if file.distribution is None:
            return None
        there = [it for it in self._by_name.get(name, ()) if it.name != file.name]
        own = [it for it in there if it.distribution is file.distribution]
        if not own and (TORCH_LIBRARY.match(name) or _OF_CUDA.match(name)):
            return None
        parts = set(file.path.parts)
        return max(own or there, key=lambda it: len(parts & set(it.path.parts)), default=None)

    # --- symbols

    def _without_own_symbols(self, file: Compiled, tried: Attempt) -> Attempt:
        """The same without the names that a file of the package, or of one it requires, defines."""
        wanted = {it: query(it) for it in tried.missing_symbols if not is_name_of_torch(it.name)}
        if not wanted or file.distribution is None:
            return tried
        own: set[Symbol] = set()
        for other in self._siblings(file):
            left = [entry for symbol, entry in wanted.items() if symbol not in own]
            found = self.exports(other.name).among(left) if left else frozenset()
            if not isinstance(found, Unknown) and found and self._can_be_loaded(other):
                own |= found
        left_over = tuple(it for it in tried.missing_symbols if it not in own)
        if not own:
            return tried
        if not left_over:
            return Attempt(libraries=tried.libraries)
        error = tried.error
        if tried.missing_symbols[0] in own:
            error = f"{file.name}: undefined symbol: {left_over[0].name}"
        return tried._replace(error=error, missing_symbols=left_over)

    def _siblings(self, file: Compiled) -> list[Compiled]:
        """The other files of its distribution, then those of the ones that it requires."""
        own, distribution = file.distribution, file.distribution
        required = () if distribution is None else self._required(distribution)
        files = [it for them in self._by_name.values() for it in them if it.name != file.name]
        near = [it for it in files if it.distribution is own]
        return near + [it for it in files if it.distribution and it.distribution.name in required]

    def _can_be_loaded(self, file: Compiled) -> bool:
        """Whether nothing but names stands in the way, which its own siblings may have."""
        tried = self._with_libraries(file)
        return isinstance(tried, Attempt) and (tried.error is None or bool(tried.missing_symbols))
