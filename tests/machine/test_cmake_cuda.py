"""Where CMake looks for the CUDA toolkit: what its own FindCUDA.cmake says, on toolkits of scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from torchkit.advice.cmake_cuda import astray
from torchkit.machine.cmake_cuda import cmake_cuda_home
from torchkit.machine.toolchain import toolchain_facts
from torchkit.system import System

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cmake") is None, reason="needs cmake on Linux"
)

PROJECT = """
cmake_minimum_required(VERSION 3.12...3.18)
project(where LANGUAGES NONE)
set(CMAKE_SIZEOF_VOID_P 8)
set(CMAKE_FIND_LIBRARY_PREFIXES lib)
set(CMAKE_FIND_LIBRARY_SUFFIXES .so .a)
find_package(CUDA QUIET)
message("taken: ${CUDA_TOOLKIT_ROOT_DIR}")
message("compiled by: ${CMAKE_CUDA_COMPILER}")
message("complete: ${CUDA_FOUND}")
"""
NO_FIND_CUDA = "FindCUDA is not in this CMake any more"


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def toolkit(home: Path, version: str = "12.4") -> Path:
    """What FindCUDA and we look for: nvcc, the headers, libcudart."""
    says = f"Cuda compilation tools, release {version}, V{version}.131"
    write(home / "bin" / "nvcc", f"#!/bin/sh\necho '{says}'\n", 0o755)
    for name in ("cuda_runtime.h", "cuda_runtime_api.h", "device_functions.h", "cuda.h"):
        write(home / "include" / name, "")
    write(home / "lib64" / "libcudart.so", "")
    return home


def script(folder: Path, home: Path) -> Path:
    write(folder / "nvcc", f'#!/bin/sh\nexec {home}/bin/nvcc "$@"\n', 0o755)
    return folder


def said_by_cmake(tmp_path: Path, environ: dict[str, str], *options: str) -> dict[str, str]:
    """What CMake itself says, with this PATH and these variables."""
    project = write(tmp_path / "project" / "CMakeLists.txt", PROJECT).parent
    shutil.rmtree(tmp_path / "build", ignore_errors=True)
    done = subprocess.run(
        [shutil.which("cmake") or "", "-S", project, "-B", tmp_path / "build", *options],
        capture_output=True, text=True, timeout=60, check=False, env=environ,
    )  # fmt: skip
    told = dict(re.findall(r"(?m)^([a-z ]+): ?(.*)$", done.stderr))
    if "taken" not in told:
        pytest.skip(NO_FIND_CUDA)
    return told


def environment(tmp_path: Path, case: str) -> dict[str, str]:
    """PATH and variables of a machine with the toolkit in `cuda-12.4`, and maybe another."""
    home = toolkit(tmp_path / "cuda-12.4")
    other = toolkit(tmp_path / "cuda-11.8", "11.8")
    usual = "/usr/bin:/bin"
    bin_folder = tmp_path / "bin" / "bin"
    if case == "a script":
        return {"PATH": f"{script(bin_folder, home)}:{usual}"}
    if case == "a link":
        bin_folder.mkdir(parents=True)
        (bin_folder / "nvcc").symlink_to(home / "bin" / "nvcc")
        return {"PATH": f"{bin_folder}:{usual}"}
    if case == "a link to the folder":
        (tmp_path / "cuda").symlink_to("cuda-12.4")
        return {"PATH": f"{tmp_path}/cuda/bin:{usual}"}
    if case == "CUDA_HOME names another":
        return {"PATH": f"{other}/bin:{usual}", "CUDA_HOME": str(home)}
    if case == "CUDA_PATH":
        return {"PATH": f"{other}/bin:{usual}", "CUDA_PATH": str(home)}
    if case == "CUDA_PATH of a script":
        return {"PATH": usual, "CUDA_PATH": str(script(bin_folder, home).parent)}
    if case == "CUDA_BIN_PATH":
        return {"PATH": f"{other}/bin:{usual}", "CUDA_BIN_PATH": f"{home}/bin"}
    assert case == "its own folder"
    return {"PATH": f"{home}/bin:{usual}"}


CASES = (
    "its own folder",
    "a script",
    "a link",
    "a link to the folder",
    "CUDA_HOME names another",
    "CUDA_PATH",
    "CUDA_PATH of a script",
    "CUDA_BIN_PATH",
)


@pytest.mark.parametrize("case", CASES)
def test_the_folder_is_the_one_that_cmake_takes(tmp_path: Path, case: str) -> None:
    environ = environment(tmp_path, case)

    told = said_by_cmake(tmp_path, environ)

    assert str(cmake_cuda_home(System(environ=environ), None)) == told["taken"]


WITH_A_TOOLKIT = [it for it in CASES if it != "CUDA_PATH of a script"]
"""There CUDA_PATH names what is no toolkit, and no other is known."""


@pytest.mark.parametrize("case", WITH_A_TOOLKIT)
def test_cmake_finds_the_toolkit_or_is_told_of_it_by_the_options_that_are_printed(
    tmp_path: Path, case: str
) -> None:
    environ = environment(tmp_path, case)
    facts = toolchain_facts(System(environ=environ))
    home = str(facts["cuda_home"])
    strayed = astray(facts["cmake_cuda_home"], facts["cuda_home"], facts["nvcc_path"])

    plain = said_by_cmake(tmp_path, environ)
    helped = said_by_cmake(tmp_path, environ, *(strayed.options.split() if strayed else ()))

    same_folder = os.path.realpath(plain["taken"]) == os.path.realpath(home)
    assert (strayed is None) is (same_folder and plain["complete"] == "TRUE")
    assert (helped["taken"], helped["complete"]) == (home, "TRUE")
    if strayed is not None and strayed.finds_none:
        assert plain["complete"] == "FALSE"
    if strayed is not None and strayed.is_named:
        assert helped["compiled by"] == f"{home}/bin/nvcc"


@pytest.mark.parametrize("case", ["a script", "a link", "CUDA_HOME names another"])
def test_with_the_toolkit_first_on_path_cmake_takes_it(tmp_path: Path, case: str) -> None:
    environ = environment(tmp_path, case)
    home = tmp_path / "cuda-12.4"

    told = said_by_cmake(tmp_path, {**environ, "PATH": f"{home}/bin:{environ['PATH']}"})

    assert (told["taken"], told["complete"]) == (str(home), "TRUE")
