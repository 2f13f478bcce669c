"""CUDA's libraries that a libtorch needs: which it brings, and what the toolkit here lacks.

The linker takes a library once by its own name (DT_SONAME). A program that CMake builds against
libtorch has the toolkit's libcudart.so on its command line, so a copy that libtorch brings under
the same name is passed over, and one symbol that the toolkit is too old for stops the link
(https://github.com/pytorch/pytorch/issues/73829, https://github.com/pytorch/pytorch/issues/125300).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from torchkit.machine.elf import Elf, read_elf
from torchkit.machine.libtorch_root import Root
from torchkit.machine.loader import Loader
from torchkit.machine.symbols import Exports, Symbol, undefined_symbols
from torchkit.system import System, Unknown

IN_TOOLKIT = re.compile(
    r"lib(cudart|cublas|cublasLt|cufft|cufftw|curand|cusparse|cusolver|nvrtc|nvJitLink|cupti"
    r"|cufile|nvToolsExt|nvtx3interop)\b[^/]*\.so[.\d]*"
)
"""Libraries of the CUDA toolkit, also renamed ones as `libcudart-a7b20f20.so.11.0`."""

BESIDE_TOOLKIT = re.compile(r"lib(cudnn|nccl|nvshmem|cusparseLt|cudss)\w*\b[^/]*\.so[.\d]*")
"""Libraries that NVIDIA publishes beside the toolkit."""

NVRTC = "libnvrtc.so"
_CONFIG = "share/cmake/Torch/TorchConfig.cmake"
_CUDA_CONFIG = "share/cmake/Caffe2/public/cuda.cmake"
_TOOLKIT_FOLDERS = ("lib64", "lib", "extras/CUPTI/lib64", "targets/{cpu}-linux/lib")
_CPUS = {"x86_64": "x86_64", "aarch64": "sbsa"}


class Gap(NamedTuple):
    """A symbol that the toolkit lacks. `stops_link`: whether every program stumbles over it.

    `library` is the file it is looked for in, where that is not there at all.
    """

    symbol: str
    wanted_by: str
    stops_link: bool
    library: str | None = None


def cuda_libraries(elfs: Mapping[str, Elf], root: Root) -> tuple[str, ...]:
    """Names of CUDA's libraries that it needs and that do not lie beside its own."""
    needed = dict.fromkeys(
        name
        for elf in elfs.values()
        for name in elf.needed
        if IN_TOOLKIT.fullmatch(name) or BESIDE_TOOLKIT.fullmatch(name)
    )
    return tuple(name for name in needed if _brought(name, elfs.values(), root) is None)


def cuda_major(elfs: Iterable[Elf]) -> str | None:
    """ "12" for a build that needs libcudart.so.12."""
    for elf in elfs:
        for name in elf.needed:
            match = re.fullmatch(r"libcudart\b[^/]*\.so\.(\d+)(?:\.[.\d]*)?", name)
            if match:
                return match[1]
    return None


def toolkit_gap(
    elfs: Mapping[str, Elf], root: Root, toolkit_system: System, cuda_home: Path
) -> Gap | None:
    """The first symbol that a link against this libtorch would miss.

    One that the toolkit's library of the same name lacks; or one of a library that libtorch does
    not bring and neither the toolkit nor the loader's folders have.
    """
    if root.folder is None:
        return None
    toolkit = _Toolkit(toolkit_system, cuda_home)
    for library, elf in elfs.items():
        linked = {
            name: _linked(name, elf, root, toolkit)
            for name in elf.needed
            if IN_TOOLKIT.fullmatch(name) or BESIDE_TOOLKIT.fullmatch(name)
        }
        judged = {name: how for name, how in linked.items() if how is not None}
        if not judged:
            continue
        wanted = undefined_symbols(root.system, root.folder / "lib" / library)
        for symbol in () if isinstance(wanted, Unknown) else wanted:
            how = judged.get(symbol.library or "")
            if how is not None and not symbol.is_weak and not toolkit.offers(how.name, symbol):
                return Gap(
                    f"{symbol.name}@{symbol.version}",
                    library,
                    how.is_taken_over,
                    None if toolkit.has(how.name) else how.name,
                )
    return None


def missing_on_link_line(root: Root, toolkit_system: System, cuda_home: Path) -> str | None:
    """`libnvrtc.so` where its CMake files link every program against it and it is nowhere.

    TORCH_LIBRARIES has `CUDA_nvrtc_LIBRARY` in it, which FindCUDA.cmake sets to a file of the
    toolkit or to a name that the linker takes for a library's: -lCUDA_nvrtc_LIBRARY-NOTFOUND.
    """
    config, cuda = root.text(_CONFIG) or "", root.text(_CUDA_CONFIG) or ""
    if "CUDA_NVRTC_LIB" not in config or '"${CUDA_nvrtc_LIBRARY}"' not in cuda:
        return None
    toolkit = _Toolkit(toolkit_system, cuda_home)
    is_there = toolkit.has(NVRTC) or toolkit.is_elsewhere(NVRTC)
    return None if is_there else NVRTC


class _Linked(NamedTuple):
    """How the linker knows a library, and whether every program gets the toolkit's copy of it."""

    name: str
    is_taken_over: bool


def _linked(name: str, elf: Elf, root: Root, toolkit: _Toolkit) -> _Linked | None:
    """None for a copy that libtorch brings and the linker takes, and for one found elsewhere.

    A renamed copy that keeps the name inside gives way where a program calls CUDA itself.
    """
    place = _brought(name, (elf,), root)
    if place is None:
        return None if toolkit.is_elsewhere(name) else _Linked(name, is_taken_over=True)
    brought = read_elf(root.system, place)
    soname = (brought.soname if isinstance(brought, Elf) else None) or name
    return _Linked(soname, soname == place.name) if toolkit.has(soname) else None


def _brought(name: str, elfs: Iterable[Elf], root: Root) -> Path | None:
    if root.folder is None:
        return None
    libraries = root.folder / "lib"
    places = [libraries]
    if not root.is_archive:
        for elf in elfs:
            for entry in (elf.rpath or elf.runpath or "").split(":"):
                if entry.startswith("$ORIGIN/"):
                    places.append(libraries / entry.removeprefix("$ORIGIN/"))
    for place in places:
        if root.system.size(place / name) is not None:
            return place / name
    return None


class _Toolkit:
    """The libraries of a CUDA toolkit, by their own names."""

    def __init__(self, system: System, home: Path) -> None:
        self._system = system
        cpu = _CPUS.get(system.architecture, system.architecture)
        self._folders = [home / folder.format(cpu=cpu) for folder in _TOOLKIT_FOLDERS]
        self._exports: dict[str, Exports] = {}

    def has(self, name: str) -> bool:
        return self._place(name) is not None

    def is_elsewhere(self, name: str) -> bool:
        """Whether the toolkit has no such library, and the linker finds one all the same."""
        if self.has(name):
            return False
        return Loader(self._system, executable=None).find(name) is not None

    def offers(self, name: str, symbol: Symbol) -> bool:
        """Whether it has the symbol; True also where that cannot be told."""
        place = self._place(name)
        if place is None:
            return False
        exports = self._exports.setdefault(name, Exports(self._system, place))
        return exports.defines(symbol) is not False

    def _place(self, name: str) -> Path | None:
        for folder in self._folders:
            if self._system.size(folder / name) is not None:
                return folder / name
        return None
