"""Describes the compiled modules that were built against torch, and what the loader says of each.

Each is tried by itself, in a simulated process of this Python that has imported torch. Nothing is
loaded, and nothing is judged: an error is the loader's text, not yet a fault of somebody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torchkit.errors import BadInput
from torchkit.machine.binding import Attempt
from torchkit.machine.distributions import Distribution, Packages, normal_name
from torchkit.machine.elf import Elf, cxx11_abi
from torchkit.machine.extension_files import (
    Compiled,
    Uses,
    compiled_files,
    is_name_of_torch,
    may_use_torch,
    named_file,
    uses_of_torch,
)
from torchkit.machine.extension_loading import Loading
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
        return Loading(self.system, self.process.loader, self.compiled, self._required)

    def _required(self, distribution: Distribution) -> set[str]:
        """Names of the distributions that it asks for."""
        texts = (re.match(r"[\w.-]+", text) for text in self.packages.requires(distribution))
        return {normal_name(it[0]) for it in texts if it is not None}

    @cached_property
    def torch_abi(self) -> bool | None:
        told = None if self.process.torch is None else self.process.torch.cxx11_abi()
        return None if isinstance(told, Unknown) else told

    def of(self, asked: list[Path]) -> tuple[Extension, ...]:
        """The files that were asked for, then the installed ones that use torch."""
        chosen: dict[Path, tuple[Compiled, Uses]] = {}
        for file in self._named(asked):
            true = self.system.resolve(file.path)
            chosen[true] = (file, uses_of_torch(self.system, file.path))
        for file in self.compiled:
            if not may_use_torch(self.system, file.name):
                continue
            true, uses = self.system.resolve(file.path), uses_of_torch(self.system, file.path)
            if uses.torch:
                chosen.setdefault(true, (file, uses))
        tried: dict[str, Attempt | Unknown] = {}
        packages: dict[str, list[Compiled]] = {}
        for file, _ in chosen.values():
            package = "" if file.distribution is None else file.distribution.name
            packages.setdefault(package, []).append(file)
        for files in packages.values():
            tried |= self.loading.tried(files)
        found = []
        for file, uses in chosen.values():
            told = self._described(file, uses, tried[file.name], is_asked_for=file.path in asked)
            found += [] if told is None else [told]
        return tuple(found)

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
        self, file: Compiled, uses: Uses, tried: Attempt | Unknown, *, is_asked_for: bool
    ) -> Extension | None:
        """None for a module of another Python that has a sibling for this one."""
        distribution = file.distribution
        extension = Extension(
            path=file.name,
            uses_torch=uses.torch,
            stable_abi=uses.stable_only if uses.torch else None,
            built_for_cuda=self._cuda_runtime(file.path),
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
        return extension if tried.error is None else self._with_error(extension, file, tried)

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
            origin=_origin(self.system, distribution),
            built_here=_is_built_here(self.system, self.packages, distribution),
        )

    def _with_error(self, extension: Extension, file: Compiled, tried: Attempt) -> Extension:
        names = [symbol.name for symbol in tried.missing_symbols]
        missing = self._missing_libraries(file.path, tried.missing_library)
        return extension._replace(
            error=tried.error,
            missing_library=tried.missing_library,
            missing_libraries=missing,
            missing_symbols=tuple(names[:SHOWN_SYMBOLS]),
            missing_symbol_count=len(names),
            other_abi=self._has_other_abi(file.path, names) if names else None,
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

    def _has_other_abi(self, path: Path, missing: Sequence[str]) -> bool | None:
        """Whether missing names of torch have a std::string in them, which torch writes otherwise."""
        with_string = [it for it in missing if is_name_of_torch(it) and _STD_STRING.search(it)]
        if not with_string:
            return False
        own = cxx11_abi(self.system, path)
        if isinstance(own, Unknown) or self.torch_abi is None:
            return None
        return own is not self.torch_abi

    # --- what a file tells besides

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


def _is_built_here(system: System, packages: Packages, distribution: Distribution) -> bool | None:
    """Whether pip compiled the package on a machine like this; None where nothing tells.

    The tag of its wheel tells: an index takes `manylinux_…` only, a build makes `linux_x86_64`.
    """
    text = system.read_text(distribution.metadata / "WHEEL")
    tags = re.findall(r"(?m)^Tag:[^\n]*-(\w+)[ \t\r]*$", text) if isinstance(text, str) else []
    if not tags or packages.installer(distribution) == "conda":
        return None
    return any(tag.startswith("linux_") for tag in tags)


def _origin(system: System, distribution: Distribution) -> str | None:
    """What pip installed a package from, where that was no index (PEP 610), or its source tree."""
    text = system.read_text(distribution.metadata / "direct_url.json")
    try:
        told = json.loads(text) if isinstance(text, str) else {}
        url, vcs = str(told.get("url", "")), told.get("vcs_info")
        if isinstance(vcs, dict):
            return f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}".rstrip("@")
        folder = url.removeprefix("file://") if "dir_info" in told else ""
    except (ValueError, AttributeError, RecursionError):
        return None
    if folder and system.is_folder(folder):
        return folder
    is_tree = distribution.metadata.suffix == ".egg-info" and any(
        system.size(distribution.site / it) is not None for it in ("setup.py", "pyproject.toml")
    )
    return str(distribution.site) if is_tree else None
