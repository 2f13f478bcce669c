"""Loads compiled files as their package would, in the simulated process: what it brings along first.

fbgemm-gpu loads the libraries that its modules need by path, transformer-engine one whose symbols
they use, metatensor-torch one of another package: none of these is missing. Nothing of it is there
for the next package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit.machine.binding import Attempt, attempt
from torchkit.machine.distributions import Distribution
from torchkit.machine.elf import Elf
from torchkit.machine.extension_files import TORCH_LIBRARY, Compiled, is_name_of_torch
from torchkit.machine.loader import Loader
from torchkit.machine.symbols import Exports, Symbol, query, undefined_symbols
from torchkit.system import System, Unknown

_OF_CUDA = re.compile(
    r"lib(cuda|cublas|cudnn|cufft|cufile|cupti|curand|cusolver|cusparse|nccl|npp|nvidia|nvrtc"
    r"|nvJitLink|nvjpeg|nvshmem|nvToolsExt)"
)
"""Many a package has a copy for itself, which no other package loads."""


class Tried(NamedTuple):
    """How loading a file goes; `first` are files that have to be loaded before it, by their paths.

    `lacks_of_torch` are names that torch should define and does not, told too where a library of
    another kind is missing, of which the loader would speak first.
    """

    attempt: Attempt
    first: tuple[str, ...] = ()
    lacks_of_torch: tuple[Symbol, ...] = ()


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
        self._brought: dict[str, Compiled] = {}
        self._for_names: dict[str, dict[str, None]] = {}
        self._exports: dict[str, Exports] = {}
        for it in compiled:
            self._by_name.setdefault(it.name.rpartition("/")[2], []).append(it)

    def tried(self, files: Sequence[Compiled]) -> dict[str, Tried | Unknown]:
        """How it goes for each of one package's files, by its path.

        They are loaded one after the other in one process, which ends with the package.
        """
        with self._loader.restored():
            self._tried.clear()
            self._brought.clear()
            self._for_names.clear()
            return {file.name: self._alone(file) for file in files}

    def exports(self, name: str) -> Exports:
        """What a file offers to others; it is read once."""
        if name not in self._exports:
            self._exports[name] = Exports(self._system, name)
        return self._exports[name]

    def _alone(self, file: Compiled) -> Tried | Unknown:
        tried = self._with_libraries(file)
        if isinstance(tried, Unknown):
            return tried
        if tried.missing_library is not None:
            of_torch = self._lacks_of_torch(file, tried.missing_library)
        else:
            tried = self._without_own_symbols(file, tried)
            of_torch = tuple(it for it in tried.missing_symbols if is_name_of_torch(it.name))
        return Tried(tried, tuple(self._first(file)), of_torch)

    def _first(self, file: Compiled) -> list[str]:
        """Those of the files that were loaded before it that it needs, the farthest first."""
        found: dict[str, None] = {}
        waiting = [file]
        while waiting:
            elf = self._loader.elf(waiting.pop(0).path)
            for name in elf.needed if isinstance(elf, Elf) else ():
                bringing = self._brought.get(name)
                if bringing is not None and bringing.name not in (file.name, *found):
                    found[bringing.name] = None
                    waiting.append(bringing)
        return [*reversed(found), *self._for_names.get(file.name, ())]

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
                self._brought[tried.missing_library] = bringing
                self._loader.load(bringing.path)
                tried = self._attempt(file.path)
            self._tried[file.name] = tried
        return self._tried[file.name]

    def _attempt(self, path: Path) -> Attempt | Unknown:
        return attempt(self._system, self._loader, path)

    def _bringing(self, file: Compiled, name: str) -> Compiled | None:
        """The file of this name that is meant; of several builds, the one for the same.

        It is the package's own, or of a package that it requires, which it can import first. A
        library of torch or CUDA must be its own.
        """
        if file.distribution is None:
            return None
        own = file.distribution
        there = [it for it in self._by_name.get(name, ()) if it.name != file.name]
        meant = [it for it in there if it.distribution is own]
        if there and not meant and not (TORCH_LIBRARY.match(name) or _OF_CUDA.match(name)):
            near = self._required(own)
            meant = [it for it in there if it.distribution and it.distribution.name in near]
        parts = set(file.path.parts)
        return max(meant, key=lambda it: len(parts & set(it.path.parts)), default=None)

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
                self._for_names.setdefault(file.name, {})[other.name] = None
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

    def _lacks_of_torch(self, file: Compiled, missing_library: str) -> tuple[Symbol, ...]:
        """Names of torch that it would lack, were the missing library there.

        A library of torch, of CUDA or of its own could define them, or needs them itself.
        """
        name = missing_library
        if TORCH_LIBRARY.match(name) or _OF_CUDA.match(name) or name in self._by_name:
            return ()
        symbols = undefined_symbols(self._system, file.path)
        trial = self._loader.trial(file.path)
        if isinstance(symbols, Unknown) or isinstance(trial, Unknown):
            return ()
        left = {it: query(it) for it in symbols if is_name_of_torch(it.name) and not it.is_weak}
        in_reach = [self._loader.exports(it) for it in (*trial.global_scope, *trial.local_scope)]
        for exports in (*in_reach, *(self.exports(it.name) for it in self._siblings(file))):
            found = exports.among(left.values()) if left else frozenset()
            for symbol in () if isinstance(found, Unknown) else found:
                del left[symbol]
        return tuple(left)
