"""Whether a libtorch is whole, and what CMake, unzip or the linker says where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torchkit.machine.elf import NO_ELF, TOO_SHORT
from torchkit.machine.facts import Libtorch, Value
from torchkit.machine.libtorch_root import Root
from torchkit.versions import Version, as_version

_FIRST_WITH_TORCH_CPU = Version("1.5")
"""Up to 1.4 all code is in libtorch.so."""

_NEEDED_FILES = {
    "linux": ("libc10.so", "libtorch.so"),
    "macos": ("libc10.dylib", "libtorch.dylib"),
    "windows": ("c10.lib", "torch.lib"),
}
_TORCH_CPU = {
    "linux": "libtorch_cpu.so",
    "macos": "libtorch_cpu.dylib",
    "windows": "torch_cpu.lib",
}
BROKEN = "broken: "
CMAKE_CONFIG = "share/cmake/Torch/TorchConfig.cmake"
_HEADERS = ("include/torch/csrc/api/include/torch/torch.h", "include/torch/torch.h")
_HEADER_FOLDERS = {"include/c10": "c10/macros/Export.h", "include/ATen": "ATen/Tensor.h"}
"""Folders of headers that torch.h includes, and the first header of each that it asks for."""

_NO_CONFIG = (
    'Could not find a package configuration file provided by "Torch" with any of the following '
    "names: TorchConfig.cmake torch-config.cmake"
)
_NO_ZIP = (
    "End-of-central-directory signature not found.  Either this file is not a zipfile, or it "
    "constitutes one disk of a multi-part archive."
)
"""CMake's words for a folder without a libtorch, and unzip's for a file that is no zip."""


def words_for(root: Root) -> str | None:
    """What the user would meet where there is no libtorch at all."""
    if root.kind == "folder" or root.is_archive:
        return _NO_CONFIG
    return _NO_ZIP


def wholeness(root: Root, told: Libtorch, unread: Mapping[str, str]) -> dict[str, Value]:
    """`problem` and `error` of the record, where something is missing or broken.

    `unread` are the libraries that could not be read, and why: `BROKEN` begins the reason of
    those that are damaged.
    """
    missing = list(_missing(root, told))
    if missing:
        words = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        return {"problem": words, "error": _error_for_missing(missing[0], told)}
    broken = {
        name: why.removeprefix(BROKEN) for name, why in unread.items() if why.startswith(BROKEN)
    }
    for name, why in broken.items():
        is_elf = why not in (NO_ELF, TOO_SHORT)
        error = "file too short" if is_elf else "file not recognized: file format not recognized"
        return {"problem": f"lib/{name}: {why}", "error": f"lib/{name}: {error}"}
    return {}


def _error_for_missing(name: str, told: Libtorch) -> str:
    if name == CMAKE_CONFIG:
        return _NO_CONFIG
    if name in _HEADERS:
        return "fatal error: torch/torch.h: No such file or directory"
    target = name.rpartition("/")[2].partition(".")[0].removeprefix("lib")
    if name in _HEADER_FOLDERS:
        return f"fatal error: {_HEADER_FOLDERS[name]}: No such file or directory"
    place = f"{told.cmake_prefix or told.folder_inside or 'libtorch'}/{name}"
    return f'The imported target "{target}" references the file "{place}" but this file does not exist.'


def _missing(root: Root, told: Libtorch) -> Iterator[str]:
    libraries = set(root.names("lib"))
    if any(name in libraries for name in ("libtorch.a", "libtorch_cpu.a")):
        libraries |= {name.replace(".a", ".so") for name in libraries}
    system = told.os_system or "linux"
    version = as_version(told.version)
    needed = list(_NEEDED_FILES[system])
    if version is None or version >= _FIRST_WITH_TORCH_CPU:
        needed.append(_TORCH_CPU[system])
    if told.cuda is not None and system == "linux" and _TORCH_CPU[system] in needed:
        needed += ["libc10_cuda.so", "libtorch_cuda.so"]
    for name in needed:
        if name not in libraries:
            yield f"lib/{name}"
    if not any(root.size(header) for header in _HEADERS):
        yield _HEADERS[0]
    for folder in _HEADER_FOLDERS:
        if not root.names(folder):
            yield folder
    if not root.size(CMAKE_CONFIG):
        yield CMAKE_CONFIG
