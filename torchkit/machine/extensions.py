"""Describes the compiled modules that were built against torch, and what the loader says of each.

Each is tried by itself, in a simulated process of this Python that has imported torch. Nothing is
loaded, and nothing is judged: an error is the loader's text, not yet a fault of somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torchkit.errors import BadInput
from torchkit.machine.distributions import Distribution, Packages
from torchkit.machine.elf import Elf, cxx11_abi, parse_elf
from torchkit.machine.extension_files import (
    Compiled,
    Uses,
    compiled_files,
    may_use_torch,
    named_file,
    uses_of_torch,
)
from torchkit.machine.extension_loading import Loading, Tried
from torchkit.machine.extension_packages import (
    goes_with_torch,
    is_built_here,
    origin,
    required,
)
from torchkit.machine.facts import Companion, Extension, Value
from torchkit.machine.fatbin import gpu_archs
from torchkit.machine.interpreter import Interpreter
from torchkit.machine.libtorch import TorchProcess
from torchkit.machine.packages import described
from torchkit.machine.symbols import Symbol
from torchkit.system import System, Unknown

SHOWN_SYMBOLS = 20
"""So many missing names of a file are told; the others are counted."""

_PYTHON_TAG = re.compile(r"\.((?:cpython|cp|pypy)-?(\d)(\d*)([a-z]*)\b[\w-]*)\.so$")
"""`_C.cpython-311-x86_64-linux-gnu.so`, `_C.pypy310-pp73-x86_64-linux-gnu.so`."""

_CUDA_RUNTIME = re.compile(r"(?:^|[ /])libcudart[\w.-]*?\.so\.(\d+)")
_STD_STRING = re.compile(r"__cxx11|[EKRIPOSv_]Ss")
"""How std::string is written in a name, of the new C++ ABI and of the old one."""


def extension_facts(
    process: TorchProcess,
    interpreter: Interpreter,
    packages: Packages,
    *,
    problems: Value,
    asked: Sequence[str] = (),
) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `extensions`.

    `problems` is the fact `torch_problems`: where torch itself cannot be imported, nothing can be
    said of what is loaded after it. `asked` are files that a user named. Raises BadInput where
    one of those is not there or cannot be such a file.
    """
    files = [named_file(process.system, text) for text in asked]
    return {"extensions": _extensions(process, interpreter, packages, problems, files)}


def _extensions(
    process: TorchProcess,
    interpreter: Interpreter,
    packages: Packages,
    problems: Value,
    asked: list[Path],
) -> Value:
    if process.system.platform != "linux":
        if asked:
            raise BadInput(
                f"{asked[0]} cannot be judged: only the loader of Linux is simulated",
                hint="run torchkit env --extension on the Linux machine that is to load the file",
            )
        return None
    if process.loader.not_simulated is not None:
        return Unknown(process.loader.not_simulated)
    if isinstance(problems, Unknown):
        return problems
    if problems:
        return Unknown("torch itself cannot be imported, which comes first")
    if not process.loader.program_is_known:
        return Unknown("the Python that would load them cannot be read")
    if process.torch is None and not asked:
        return None
    return _Examination(process, interpreter, packages).of(asked)


@dataclass
class _Examination:
    """One look at the compiled files of an interpreter, each package described once."""

    process: TorchProcess
    interpreter: Interpreter
    packages: Packages
    companions: dict[str, Companion] = field(default_factory=dict)

    @property
    def system(self) -> System:
        return self.process.system

    @cached_property
    def compiled(self) -> list[Compiled]:
        torch = self.process.torch
        if torch is None:
            return []
        return compiled_files(
            self.system,
            self.packages,
            self.interpreter.package_folders,
            torch_folder=torch.folder,
        )

    @cached_property
    def loading(self) -> Loading:
        return Loading(
            self.system,
            self.process.loader,
            self.compiled,
            lambda distribution: required(self.packages, distribution),
        )

    @cached_property
    def torch_abi(self) -> bool | None:
        told = None if self.process.torch is None else self.process.torch.cxx11_abi()
        return None if isinstance(told, Unknown) else told

    def of(self, asked: list[Path]) -> tuple[Extension, ...]:
        """The files that were asked for, then the installed ones that use torch, or should."""
        named = {self.system.resolve(it.path): it for it in self._named(asked)}
        chosen: dict[Path, tuple[Compiled, Uses | None]] = {
            true: (file, uses_of_torch(self.system, file.path)) for true, file in named.items()
        }
        for file in self.compiled:
            may_use = may_use_torch(self.system, file.name)
            if may_use is False or (may_use is not True and not self._is_torchs(file)):
                continue
            true = self.system.resolve(file.path)
            uses = uses_of_torch(self.system, file.path) if may_use is True else None
            if uses is None or uses.torch:
                chosen.setdefault(true, (file, uses))
        tried = self._tried([file for file, _ in chosen.values()])
        found = []
        for true, (file, uses) in chosen.items():
            told = self._described(file, uses, tried[file.name], is_asked_for=true in named)
            found += [] if told is None else [told]
        return tuple(found)

    def _is_torchs(self, file: Compiled) -> bool:
        """Whether a file that is gone or cannot be read belongs to a package that needs torch.

        Only below the folder of packages: what a list has elsewhere may be there for pip alone.
        """
        distribution = file.distribution
        is_inside = file.path.is_relative_to(file.site)
        return (
            is_inside and distribution is not None and goes_with_torch(self.packages, distribution)
        )

    def _tried(self, files: list[Compiled]) -> dict[str, Tried | Unknown]:
        """How loading each goes, by its path: the files of one package together."""
        packages: dict[str, list[Compiled]] = {}
        for file in files:
            package = file.name if file.distribution is None else file.distribution.name
            packages.setdefault(package, []).append(file)
        tried: dict[str, Tried | Unknown] = {}
        for together in packages.values():
            tried |= self.loading.tried(together)
        return tried

    def _named(self, asked: list[Path]) -> Iterator[Compiled]:
        """Files that a user named, with the package that they belong to, if any."""
        if not asked:
            return
        installed = {self.system.resolve(it.path): it for it in self.compiled}
        for path in asked:
            known = installed.get(self.system.resolve(path))
            yield known or Compiled(str(path), str(path.parent))

    # --- one file

    def _described(
        self, file: Compiled, uses: Uses | None, tried: Tried | Unknown, *, is_asked_for: bool
    ) -> Extension | None:
        """None for a module of another Python that has a sibling for this one."""
        distribution = file.distribution
        extension = Extension(
            path=file.name,
            uses_torch=uses.torch if uses is not None else None,
            stable_abi=uses.stable_only if uses is not None and uses.torch else None,
            built_for_cuda=self._cuda_runtime(file.path),
            built_for_machine=self._other_machine(file.path),
            archs=self._archs(file.path),
        )
        if distribution is not None:
            extension = self._with_package(extension, distribution)
        python = self._other_python(file.path)
        if python is not None:
            if self._has_module_for_this_python(file.path) and not is_asked_for:
                return None
            return extension._replace(
                error=f"No module named {_module(file)!r}", built_for_python=python
            )
        if isinstance(tried, Unknown):
            return extension._replace(unknown=tried.reason)
        if tried.attempt.error is None:
            return extension._replace(loaded_first=tried.first)
        return self._with_error(extension, file, tried)

    def _with_package(self, extension: Extension, distribution: Distribution) -> Extension:
        if distribution.name not in self.companions:
            self.companions[distribution.name] = described(
                self.system, self.interpreter, self.packages, distribution
            )
        told = self.companions[distribution.name]
        pin = re.fullmatch(r"===?\s*([\w.+!-]+)", told.requires_torch or "")
        return extension._replace(
            package=distribution.name,
            version=told.version or None,
            built_for_torch=told.built_for_torch or (pin[1] if pin else None),
            built_for_cuda=told.cuda
            if told.cuda not in (None, "cpu")
            else extension.built_for_cuda,
            origin=origin(self.system, distribution),
            built_here=is_built_here(self.system, self.packages, distribution),
        )

    def _with_error(self, extension: Extension, file: Compiled, tried: Tried) -> Extension:
        said = tried.attempt
        names = [symbol.name for symbol in said.missing_symbols]
        of_torch = [symbol.name for symbol in tried.lacks_of_torch]
        strings = [name for name in of_torch if _STD_STRING.search(name)]
        return extension._replace(
            error=said.error,
            missing_library=said.missing_library,
            missing_libraries=self._missing_libraries(file.path, said.missing_library),
            missing_symbols=tuple(names[:SHOWN_SYMBOLS]),
            missing_symbol_count=len(names),
            missing_of_torch=tuple(of_torch[:SHOWN_SYMBOLS]),
            missing_of_torch_count=len(of_torch),
            missing_strings=tuple(strings[:SHOWN_SYMBOLS]),
            missing_string_count=len(strings),
            other_abi=self._has_other_abi(file.path, strings) if names else None,
        )

    def _missing_libraries(self, path: Path, first: str | None) -> tuple[str, ...]:
        """The library that is missing first, and the others that the file itself needs in vain."""
        if first is None:
            return ()
        loader = self.process.loader
        elf = loader.elf(path)
        needed = elf.needed if isinstance(elf, Elf) else ()
        absent = [it for it in needed if loader.find_for(it, needed_by=path) is None]
        return tuple(dict.fromkeys((first, *absent)))

    def _has_other_abi(self, path: Path, strings: Sequence[str]) -> bool | None:
        """Whether torch writes the std::string in these missing names of it otherwise."""
        if not strings:
            return False
        own = cxx11_abi(self.system, path)
        if isinstance(own, Unknown) or self.torch_abi is None:
            return None
        return own is not self.torch_abi

    # --- what a file tells besides

    def _other_machine(self, path: Path) -> str | None:
        """The kind of CPU that a file is for, where this Python is for another."""
        loader = self.process.loader
        try:
            with self.system.open(path) as file:  # of the other size too, which the loader refuses
                elf = parse_elf(file)
        except (OSError, ValueError):
            return None
        own = loader.program
        if not isinstance(elf, Elf) or own is None or elf.machine == own.machine:
            return None
        return elf.machine

    def _cuda_runtime(self, path: Path) -> str | None:
        elf = self.process.loader.elf(path)
        needed = " ".join(elf.needed) if isinstance(elf, Elf) else ""
        match = _CUDA_RUNTIME.search(needed)
        return match[1] if match else None

    def _archs(self, path: Path) -> tuple[str, ...] | None:
        archs = gpu_archs(self.system, path)
        return None if isinstance(archs, Unknown) else archs

    def _other_python(self, path: Path) -> str | None:
        """The Python that a module's file name is for, where it is not the examined one."""
        tag = _PYTHON_TAG.search(path.name)
        if tag is None or not self.interpreter.tag:
            is_refused = self.interpreter.free_threaded and path.name.endswith(".abi3.so")
            return "abi3" if is_refused and self._is_module(path) else None
        if tag[1] == self.interpreter.tag or not self._is_module(path):
            return None
        version = f"{tag[2]}.{tag[3]}{tag[4]}" if tag[3] else tag[2]
        same_version = f"{self.interpreter.tag}-".startswith("-".join(tag[1].split("-")[:2]) + "-")
        return f"{version} ({tag[1]})" if same_version else version

    def _is_module(self, path: Path) -> bool:
        """Whether Python can import it; torchao loads `_C_mxfp8.cpython-310-….so` by its path."""
        start = Symbol(f"PyInit_{path.name.partition('.')[0]}")
        return self.loading.exports(str(path)).defines(start) is True

    def _has_module_for_this_python(self, path: Path) -> bool:
        stem = path.name.partition(".")[0]
        suffixes = [f".{self.interpreter.tag}.so", ".so"]
        suffixes += [] if self.interpreter.free_threaded else [".abi3.so"]
        return any(self.system.size(path.with_name(stem + it)) is not None for it in suffixes)


def _module(file: Compiled) -> str:
    """The name a module is imported by: `torchvision._C`."""
    folders = (
        file.path.parent.relative_to(file.site).parts if file.path.is_relative_to(file.site) else ()
    )
    return ".".join((*folders, file.path.name.partition(".")[0]))
