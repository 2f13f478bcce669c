"""The records that facts consist of, one line each in a list: GPUs, packages, libraries, files.

None in a field means "not told". Named tuples, since they are defined on the way to every start.
How they are read from JSON stands in `facts.py`, by the types that are declared here.
"""

from __future__ import annotations

from typing import NamedTuple


class Gpu(NamedTuple):
    """One GPU: its name, compute capability ("8.6") and memory in bytes; None where untold."""

    name: str
    capability: str | None = None
    memory_bytes: int | None = None


class Install(NamedTuple):
    """One copy of torch: the folder or file that `import torch` would take, and its version."""

    path: str
    version: str | None = None
    manager: str | None = None

    def is_metadata_of(self, folder: str) -> bool:
        """Whether this is only a record, and of that folder: `torch-2.13.0.dist-info` beside it."""
        site, _, name = folder.replace("\\", "/").rpartition("/")
        own_site, _, own = self.path.replace("\\", "/").rpartition("/")
        is_record = own.startswith(f"{name}-") and own.endswith((".dist-info", ".egg-info"))
        return is_record and own_site == site


class Companion(NamedTuple):
    """A package that goes with torch. `requires_torch` is what its metadata asks for.

    `built_for_torch` and `cuda` are what the package's own files say it was compiled for;
    `cuda` is "cpu" for a build without CUDA.
    """

    name: str
    version: str
    requires_torch: str | None = None
    built_for_torch: str | None = None
    cuda: str | None = None


class Library(NamedTuple):
    """A shared library that more than one folder offers: the copy the loader takes, and another.

    `missing` names a symbol version that is needed and the winner lacks.
    """

    name: str
    winner: str
    reason: str
    loser: str
    missing: str | None = None
    needed_by: str | None = None


class Extension(NamedTuple):
    """A compiled module or library that was built against torch, and how loading it would go.

    `package` is the distribution's normalised name, `origin` what pip would be given to build it
    again where that is no index: a source tree or the address of a repository. `built_here`: pip
    compiled it on such a machine; False for a wheel that was made for many. `error` is what
    the loader (or Python) would say once torch is imported; None when it loads, or when that
    could not be told and `unknown` says why.
    `missing_libraries` are needed files that are nowhere, `missing_library` the first of them;
    `missing_symbols` the names that nothing defines, the one the loader stumbles over first, at
    most 20 of `missing_symbol_count`; `missing_of_torch` those that torch should define, told
    also where the loader would first stumble over a library, `missing_of_torch_count` how many in
    all; `missing_strings` those among them with a std::string, `missing_string_count` in all.
    `other_abi`: these are written for the other C++ ABI than this torch's. `loaded_first` are
    files that its package has to load before it, since the loader alone does not find them, or
    their names. `uses_torch`: it needs torch's
    libraries or names; `stable_abi`: only by torch's stable C interface. `built_for_…` are what
    the file or its package tell; `built_for_machine` is the CPU ("aarch64") where it is another
    than that of this Python. `archs` are the GPU architectures it has code for, None without
    GPU code.
    """

    path: str
    package: str | None = None
    version: str | None = None
    error: str | None = None
    missing_library: str | None = None
    missing_symbols: tuple[str, ...] = ()
    missing_symbol_count: int = 0
    other_abi: bool | None = None
    stable_abi: bool | None = None
    built_for_torch: str | None = None
    built_for_cuda: str | None = None
    built_for_python: str | None = None
    archs: tuple[str, ...] | None = None
    missing_libraries: tuple[str, ...] = ()
    uses_torch: bool | None = None
    origin: str | None = None
    unknown: str | None = None
    built_here: bool | None = None
    built_for_machine: str | None = None
    missing_of_torch: tuple[str, ...] = ()
    missing_of_torch_count: int = 0
    missing_strings: tuple[str, ...] = ()
    missing_string_count: int = 0
    loaded_first: tuple[str, ...] = ()


class Libtorch(NamedTuple):
    """A libtorch on disk: an unpacked folder, a zip or a torch wheel (`kind`).

    `problem` says why it is none, or not whole, and `error` what CMake, unzip or the loader says of
    that; `subfolder` is a folder in it that is one; `not_read` what could not be looked at, and why.
    `variant` is "cpu", "cu126", "rocm6.4" or "xpu"; `cuda` is "12.6", or "12" where only that is
    told, None for a build without CUDA. `…_needed` are the newest symbol versions its libraries
    ask for, `…_needed_by` which library asks. `cmake_cxx11_abi` is the ABI its CMake files have
    programs compiled with, None where they leave it to the compiler; `string_symbol` a function
    that programs call, as the linker writes it when they were compiled with the other ABI. `cmake_cuda_min` is the oldest toolkit
    its CMake files take. `cuda_libraries` are CUDA's libraries that it needs and does not bring;
    `missing_cuda_symbol` is one that this machine's toolkit lacks, as
    `cudaStreamUpdateCaptureDependencies@libcudart.so.11.0`, `missing_cuda_symbol_by` the library
    that wants it, `missing_cuda_library` the file that it is looked for in where that is not there
    at all; it stops every link where `missing_cuda_stops_link`, else those of programs
    that call CUDA themselves. `missing_on_link_line` is a library of CUDA's that its CMake files put
    on the command line of every link, and that the toolkit lacks. `folder_inside` is where it lies
    in an archive, "" at its root. `archs` are the GPU architectures it has code for.
    """

    path: str
    kind: str = "folder"
    version: str | None = None
    variant: str | None = None
    cuda: str | None = None
    cxx11_abi: bool | None = None
    cmake_cxx11_abi: bool | None = None
    string_symbol: str | None = None
    glibc_needed: str | None = None
    glibc_needed_by: str | None = None
    glibcxx_needed: str | None = None
    glibcxx_needed_by: str | None = None
    cxxabi_needed: str | None = None
    cxxabi_needed_by: str | None = None
    archs: tuple[str, ...] | None = None
    cuda_libraries: tuple[str, ...] = ()
    missing_cuda_symbol: str | None = None
    missing_cuda_symbol_by: str | None = None
    missing_cuda_library: str | None = None
    missing_cuda_stops_link: bool | None = None
    missing_on_link_line: str | None = None
    cmake_cuda_min: str | None = None
    cmake_prefix: str | None = None
    folder_inside: str | None = None
    os_system: str | None = None
    architecture: str | None = None
    is_debug: bool | None = None
    problem: str | None = None
    error: str | None = None
    not_read: str | None = None
    subfolder: str | None = None


class BuildTrial(NamedTuple):
    """What became of a ten-line C++ program that was built against a libtorch.

    `against` is the path of the libtorch as it was named, or the folder of the installed torch;
    `version` the libtorch's. `stage` is the last one that was reached: `configure`, `compile`,
    `link` or `run`. `error` holds the lines that matter of what the tool said, `output` all of it
    up to 16 KiB, or what the program printed. `tool` is what built it, "cmake" or the compiler;
    `command` builds and runs it again. `…_s` is how long each step took, in seconds, None for one
    that was not reached. `cuda_available` is what the program says of its GPU.
    """

    against: str
    stage: str
    succeeded: bool
    error: str | None = None
    command: str | None = None
    output: str | None = None
    version: str | None = None
    tool: str | None = None
    configure_s: float | None = None
    compile_s: float | None = None
    link_s: float | None = None
    run_s: float | None = None
    cuda_available: bool | None = None


class LiveTrial(NamedTuple):
    """What torch computed, or failed to, in a child: on a device, by cuDNN, among processes.

    `what` is `cpu`, `cuda:0`, `mps`, `xpu:0`, `cudnn`, `gloo` or `nccl`. `error` is the last line
    of the exception. `free_bytes` is the GPU's memory that was free before.
    """

    what: str
    worked: bool
    error: str | None = None
    milliseconds: int | None = None
    name: str | None = None
    capability: str | None = None
    free_bytes: int | None = None


class ShmHolder(NamedTuple):
    """Files of one kind in /dev/shm: who has them open, or None where nobody is seen to.

    `visible` files are listed in the folder; the others were deleted and live as long as they are
    open. `stale` says that the owner is gone and the file of no use.
    """

    kind: str
    bytes: int
    files: int
    pid: int | None = None
    process: str | None = None
    visible: bool = False
    stale: bool = False
