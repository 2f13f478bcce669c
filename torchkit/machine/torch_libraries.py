"""The compiled libraries of an installed torch, as files: ABI, symbol versions, architectures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torchkit.machine.elf import cxx11_abi, read_only_data
from torchkit.machine.fatbin import gpu_archs
from torchkit.machine.loader import Loader
from torchkit.system import System, Unknown
from torchkit.versions import Version, as_version

ARCHS_LIBRARY = "libtorch_python.so"
"""What `torch._C._cuda_getArchFlags` returns is a string in this library (seen in 2.14.1+cu130)."""

_LIBRARIES_WITH_GPU_CODE = ("libtorch_cuda.so", "libtorch_cuda_cu.so")
"""The second one where the first was split for its size (BUILD_SPLIT_CUDA of torch 1)."""

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

_ARCH_LIST = re.compile(rb"\0((?:(?:sm|compute)_\d+[a-z]? ?)+)\0")
_ARCH_STARTS = (b"\0sm_", b"\0compute_")
_SEARCH_LIMIT_BYTES = 256 * 1024**2
_CHUNK_BYTES = 1024**2
_OVERLAP_BYTES = 1024


@dataclass
class TorchLibraries:
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
        return newest(family, needed) if names else self._nothing_there()

    def archs(self) -> tuple[str, ...] | Unknown:
        """What it has GPU code for, e.g. ("sm_80", "sm_90", "compute_90")."""
        found = self._told_archs
        return found if isinstance(found, Unknown) else found[1]

    def archs_source(self) -> str | Unknown:
        """The library that tells this."""
        found = self._told_archs
        return found if isinstance(found, Unknown) else found[0]

    @cached_property
    def _told_archs(self) -> tuple[str, tuple[str, ...]] | Unknown:
        """The list that torch itself would show, else what most of its GPU code is made for.

        Both are the same where both are there (2.14.1+cu130). The code of some operators is made
        for more GPUs (sm_90a, sm_103f), but torch does not run on a GPU that only they serve.
        """
        listed = self._listed_archs()
        if not isinstance(listed, Unknown):
            return ARCHS_LIBRARY, listed
        for name in _LIBRARIES_WITH_GPU_CODE:
            if name in self.library_names:
                found = gpu_archs(self.system, self.libraries / name, in_most_parts=True)
                if isinstance(found, tuple):
                    return name, found
        return listed

    def _listed_archs(self) -> tuple[str, ...] | Unknown:
        path = self.libraries / ARCHS_LIBRARY
        try:
            with self.system.open(path) as file:
                parts = read_only_data(file)
                if isinstance(parts, Unknown):
                    return Unknown(f"{ARCHS_LIBRARY}: {parts.reason}")
                found: set[bytes] = set()
                left = _SEARCH_LIMIT_BYTES
                for start, size in parts:
                    searched, left = min(size, left), left - min(size, left)
                    for offset in range(0, searched, _CHUNK_BYTES):
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


def newest(family: str, names: Iterable[str]) -> Version | None:
    """The newest of `GLIBC_2.17`, `GLIBC_2.28` …; texts such as GLIBC_PRIVATE are passed over."""
    numbers = (re.fullmatch(rf"{family}_(\d+(?:\.\d+)*)", name) for name in names)
    versions = [as_version(match[1]) for match in numbers if match is not None]
    return max((version for version in versions if version is not None), default=None)
