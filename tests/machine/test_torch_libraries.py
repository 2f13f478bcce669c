"""Truth: the options that the GPU code in fat_binaries/ was compiled with (its make.sh)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from torchkit.machine.loader import Loader
from torchkit.machine.torch_libraries import TorchLibraries
from torchkit.system import System, Unknown

FILES = Path(__file__).parent / "fat_binaries"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads libraries of Linux")


def torch_of(folder: Path, **libraries: str) -> TorchLibraries:
    """A torch whose libraries are copies of these files."""
    (folder / "lib").mkdir()
    for name, source in libraries.items():
        shutil.copy(FILES / source, folder / "lib" / f"{name}.so")
    system = System()
    return TorchLibraries(
        system, Loader(system, executable=Path(sys.executable)), folder, (folder.parent,)
    )


@on_linux
def test_without_torchs_own_list_its_gpu_code_tells_what_most_of_it_is_made_for(
    tmp_path: Path,
) -> None:
    torch = torch_of(tmp_path, libtorch_python="nothing.so", libtorch_cuda="parts.so")

    assert torch.archs() == ("sm_75", "sm_80", "compute_120")
    assert torch.archs_source() == "libtorch_cuda.so"


@on_linux
def test_the_gpu_code_of_a_split_build_is_found(tmp_path: Path) -> None:
    torch = torch_of(tmp_path, libtorch_cuda="nothing.so", libtorch_cuda_cu="ptx.so")

    assert torch.archs() == ("compute_80",)
    assert torch.archs_source() == "libtorch_cuda_cu.so"


@on_linux
def test_where_neither_tells_the_reason_is_that_of_the_list(tmp_path: Path) -> None:
    torch = torch_of(tmp_path, libtorch_python="nothing.so", libtorch_cuda="nothing.so")

    unknown = Unknown("libtorch_python.so has no list of architectures")

    assert torch.archs() == unknown
    assert torch.archs_source() == unknown
