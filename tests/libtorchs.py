"""Libtorchs that a test builds from stubs: the names, the ABI and the versions are real, the code
does nothing. g++ and ld are the judges."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from torchkit.system import System

HAS_COMPILER = (
    sys.platform == "linux" and System().libc() is not None and shutil.which("g++") is not None
)

C10 = """
#include <string>
namespace c10 { namespace detail {
std::string last;
void torchCheckFail(const char*, const char*, unsigned, const std::string& words) { last = words; }
} }
"""
PROGRAM = """
#include <string>
namespace c10 { namespace detail {
void torchCheckFail(const char*, const char*, unsigned, const std::string&);
} }
int main() { c10::detail::torchCheckFail("f", "main.cpp", 1, "words"); }
"""
"""What TORCH_CHECK of torch's headers compiles to."""

CONFIG = """
get_filename_component(_root "${{CMAKE_CURRENT_LIST_DIR}}/../../.." ABSOLUTE)
set(TORCH_CXX_FLAGS "{flags}")
add_library(torch SHARED IMPORTED)
set_target_properties(torch PROPERTIES IMPORTED_LOCATION "${{_root}}/lib/libc10.so"
  INTERFACE_INCLUDE_DIRECTORIES "${{_root}}/include")
if(TORCH_CXX_FLAGS)
  set_property(TARGET torch PROPERTY INTERFACE_COMPILE_OPTIONS "${{TORCH_CXX_FLAGS}}")
endif()
set(TORCH_LIBRARIES torch)
set(Torch_FOUND TRUE)
"""
"""As TorchConfig.cmake of releases up to 2.6 hands the ABI on."""


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """A program's end, its words in English."""
    words = [str(part) for part in command]
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, env=environ
    )


def compile_library(path: Path, code: str, *options: object) -> Path:
    """A shared library named after its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_name(f"{path.name}.cpp")
    source.write_text(code)
    named = () if any("-soname" in str(it) for it in options) else (f"-Wl,-soname,{path.name}",)
    done = run("g++", "-shared", "-fPIC", "-o", path, source, *named, *options)
    source.unlink()
    assert done.returncode == 0, done.stderr
    return path


def make_libtorch(
    folder: Path, *, abi: int = 1, version: str = "2.5.1+cpu", sets_abi: bool = True
) -> Path:
    """A whole libtorch of stubs at `folder`, without CUDA."""
    option = f"-D_GLIBCXX_USE_CXX11_ABI={abi}"
    c10 = compile_library(folder / "lib" / "libc10.so", C10, option)
    rpath = "-Wl,-rpath,$ORIGIN"
    compile_library(folder / "lib" / "libtorch_cpu.so", "int cpu() { return 0; }", c10, rpath)
    compile_library(folder / "lib" / "libtorch.so", "int torch() { return 0; }")
    header = folder / "include" / "torch" / "csrc" / "api" / "include" / "torch" / "torch.h"
    header.parent.mkdir(parents=True)
    header.write_text("#pragma once\n")
    for name in ("c10/macros/Export.h", "ATen/Tensor.h"):
        other = folder / "include" / name
        other.parent.mkdir(parents=True)
        other.write_text("#pragma once\n")
    config = folder / "share" / "cmake" / "Torch" / "TorchConfig.cmake"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(flags=option if sets_abi else ""))
    (folder / "build-version").write_text(f"{version}\n")
    return folder


CUDART = "libcudart.so.11.0"
NEW_CUDART = 'extern "C" { int cudaMalloc() { return 0; } int cudaStreamUpdateCaptureDependencies() { return 0; } }'
OLD_CUDART = 'extern "C" { int cudaMalloc() { return 0; } }'


def compile_cudart(folder: Path, code: str, *, name: str = CUDART, soname: str = CUDART) -> Path:
    """A libcudart whose symbols have NVIDIA's version."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "versions.map"
    script.write_text(f"{CUDART} {{ global: cuda*; local: *; }};\n")
    return compile_library(
        folder / name, code, f"-Wl,-soname,{soname}", f"-Wl,--version-script={script}"
    )


def add_cuda(folder: Path, cudart: Path) -> None:
    """The libraries of a CUDA build, which take a symbol that came with CUDA 11.3."""
    code = (
        'extern "C" int cudaStreamUpdateCaptureDependencies();'
        "namespace at { int capture() { return cudaStreamUpdateCaptureDependencies(); } }"
    )
    rpath = "-Wl,-rpath,$ORIGIN"
    compile_library(folder / "lib" / "libtorch_cuda.so", code, cudart, rpath)
    compile_library(folder / "lib" / "libc10_cuda.so", "int c10_cuda() { return 0; }")
    (folder / "build-version").write_text("1.10.2+cu113\n")


def zipped(
    folder: Path, path: Path, *, prefix: str = "libtorch", extra: Sequence[str] = ()
) -> Path:
    """The folder as a zip, as a download has it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}/{file.relative_to(folder)}")
        for name in extra:
            archive.writestr(name, "")
    return path
