"""CUDA toolkits: the drivers they need, the compilers and GPUs they take, from cuda.toml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.versions import Version


class CudaToolkit(NamedTuple):
    """One toolkit; None where a fact is not known.

    The drivers are those of its first release. `gcc_min`, `gcc_max` and `clang_max` are majors
    and inclusive; the capabilities are the lowest and the highest that its nvcc compiles for.
    """

    version: Version
    gcc_max: int
    clang_max: int
    capability_min: str
    capability_max: str
    cudart_soname: str
    source: str
    driver_linux: Version | None = None
    driver_windows: Version | None = None
    gcc_min: int | None = None
    confidence: str = "high"
    weak: tuple[str, ...] = ()


class MinorCompatibility(NamedTuple):
    """The oldest drivers that run programs of any toolkit of a major, from 11 on."""

    major: int
    linux: Version
    source: str
    windows: Version | None = None
    confidence: str = "high"
    weak: tuple[str, ...] = ()


@functools.cache
def _document() -> rows.Document:
    return rows.load("cuda.toml", "cuda", "minor_compatibility")


@functools.cache
def _toolkits() -> Mapping[str, CudaToolkit]:
    found = rows.records(_document(), "cuda", CudaToolkit, identity=("version",))
    return {toolkit.version.series: toolkit for toolkit in found}


@functools.cache
def _floors() -> Mapping[int, MinorCompatibility]:
    found = rows.records(
        _document(), "minor_compatibility", MinorCompatibility, identity=("major",)
    )
    return {floor.major: floor for floor in found}


def cuda_toolkits() -> tuple[CudaToolkit, ...]:
    """Every toolkit, oldest first."""
    return tuple(sorted(_toolkits().values(), key=lambda toolkit: toolkit.version))


def cuda_toolkit(cuda: Version) -> CudaToolkit | None:
    """The toolkit of this major and minor, whatever its update."""
    return _toolkits().get(cuda.series)


def toolkit_driver(cuda: Version, *, windows: bool = False) -> Version | None:
    """The driver that came with this toolkit; None where none is published.

    It is needed for all of the toolkit's features and to compile its PTX, not to run programs
    built with it: see `minimum_driver`.
    """
    toolkit = cuda_toolkit(cuda)
    if toolkit is None:
        return None
    return toolkit.driver_windows if windows else toolkit.driver_linux


def minimum_driver(cuda: Version, *, windows: bool = False) -> Version | None:
    """The oldest driver that runs a program built with this CUDA; None where it is not known.

    From CUDA 11 on any toolkit of a major runs on the driver of
    https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, also one
    newer than we know. 11.0 alone came with an older driver, and runs on it.
    """
    own = toolkit_driver(cuda, windows=windows)
    floor = _floors().get(cuda.major)
    if floor is None:
        return own
    lowest = floor.windows if windows else floor.linux
    if lowest is None or own is None:
        return lowest
    return min(own, lowest)


def newest_cuda_for_driver(driver: Version, *, windows: bool = False) -> Version | None:
    """The newest toolkit whose own driver this one is not older than; None when there is none.

    This is the CUDA version that nvidia-smi prints. For a driver newer than the newest we know
    it is a lower bound.
    """
    for toolkit in reversed(cuda_toolkits()):
        own = toolkit.driver_windows if windows else toolkit.driver_linux
        if own is not None and driver >= own:
            return toolkit.version
    return None


def runnable_cuda_major(driver: Version, *, windows: bool = False) -> int | None:
    """The newest CUDA major of which this driver runs programs of every minor; None for none.

    For a driver newer than the newest we know it is a lower bound.
    """
    for major, floor in sorted(_floors().items(), reverse=True):
        lowest = floor.windows if windows else floor.linux
        if lowest is not None and driver >= lowest:
            return major
    newest = newest_cuda_for_driver(driver, windows=windows)
    if newest is None:
        return None
    return min(newest.major, min(_floors()) - 1)


def gcc_max(cuda: Version) -> int | None:
    """The newest gcc major that this nvcc takes; None for a toolkit we do not know.

    A neighbour's bound would be a guess: bounds rise with a minor. nvcc's own
    `crt/host_config.h`, where there is one, is the better source.
    """
    toolkit = cuda_toolkit(cuda)
    return None if toolkit is None else toolkit.gcc_max


def clang_max(cuda: Version) -> int | None:
    """The newest clang major that this nvcc takes; None for a toolkit we do not know."""
    toolkit = cuda_toolkit(cuda)
    return None if toolkit is None else toolkit.clang_max


def capability_range(cuda: Version) -> tuple[str, str] | None:
    """The lowest and the highest compute capability this nvcc compiles for."""
    toolkit = cuda_toolkit(cuda)
    return None if toolkit is None else (toolkit.capability_min, toolkit.capability_max)
