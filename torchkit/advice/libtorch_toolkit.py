"""Which CUDA toolkit to build with against a libtorch, or which libtorch for the toolkit here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from torchkit.advice.cmake_cuda import Astray
from torchkit.advice.libtorch import driver_serves, quoted, zip_address
from torchkit.advice.lines import FITTING_LIBTORCH
from torchkit.machine.facts import Gpu, Libtorch, Unknown
from torchkit.versions import Version


class CudaHere(NamedTuple):
    """What this machine has of CUDA; None where nothing is there or known.

    `builds`: whether it has a compiler. `strayed` is where CMake looks for the toolkit instead.
    """

    driver: Version | None
    driver_cuda: Version | None
    gpus: tuple[Gpu, ...]
    nvcc: Version | None | Unknown
    cuda_home: str | None
    strayed: Astray | None
    windows: bool
    builds: bool
    unknown: str | None


def toolkit_fix(
    libtorch: Libtorch, cuda: Version, nvcc: Version | None, here: CudaHere
) -> list[str]:
    """The toolkit it is for; or the same release for the toolkit here, or for the CPU.

    `cuda` is the libtorch's.
    """
    fix = [*_other_libtorchs(libtorch, cuda, nvcc, here), _toolkit(libtorch, cuda, nvcc, here)]
    return [fix[0].removeprefix("or "), *fix[1:]]


def _other_libtorchs(
    libtorch: Libtorch, cuda: Version, nvcc: Version | None, here: CudaHere
) -> Iterator[str]:
    if libtorch.kind == "wheel" and libtorch.missing_cuda_library is not None:
        file = quoted(libtorch.path.rpartition("/")[2])
        yield (
            f"pip install {file}   CUDA's libraries come with it; then --libtorch its torch folder"
        )
    if not here.gpus:
        address = zip_address(libtorch, variant="cpu")
        yield f"or download the CPU build: {address}" if address else FITTING_LIBTORCH
    if nvcc is not None and nvcc.series != cuda.series and not _is_too_new(nvcc, here):
        address = zip_address(libtorch, variant=f"cu{nvcc.major}{nvcc.minor}")
        if address is not None:
            yield f"or download the build for the toolkit here: {address}"


def _toolkit(libtorch: Libtorch, cuda: Version, nvcc: Version | None, here: CudaHere) -> str:
    home = f"/usr/local/cuda-{cuda.series}"
    if nvcc is not None and nvcc.series == cuda.series:
        absent = libtorch.missing_cuda_library or libtorch.missing_on_link_line
        if absent is not None and re.match(r"lib(cudnn|nccl|nvshmem|cusparseLt)", absent):
            return f"or install {absent}, which NVIDIA offers by itself"
        return f"or install all of the CUDA {cuda} toolkit" + (f", with {absent}" if absent else "")
    if here.windows:
        return f"or install the CUDA {cuda} toolkit"
    return f"or export PATH={home}/bin:$PATH CUDA_HOME={home}   (after installing that toolkit)"


def _is_too_new(nvcc: Version, here: CudaHere) -> bool:
    if here.driver is None and here.driver_cuda is None:
        return False
    return not driver_serves(nvcc, here.driver, here.driver_cuda, windows=here.windows)
