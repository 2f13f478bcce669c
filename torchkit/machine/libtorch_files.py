"""A libtorch on disk, as `--libtorch` names it: what it is, what it needs, whether it is whole.

Only its main libraries are opened. In a zip the large ones are decompressed as far as they are
read, which takes a second for libtorch_cpu.so; nothing is unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torchkit.machine.elf import Elf, parse_cxx11_abi, parse_elf
from torchkit.machine.facts import Libtorch, Unknown, Value
from torchkit.machine.fatbin import gpu_archs, stream_gpu_archs
from torchkit.machine.libtorch_root import Root, each_once, opened_root
from torchkit.machine.libtorch_toolkit import (
    cuda_libraries,
    cuda_major,
    missing_on_link_line,
    toolkit_gap,
)
from torchkit.machine.libtorch_version import Label, label_of
from torchkit.machine.libtorch_whole import BROKEN, CMAKE_CONFIG, wholeness, words_for
from torchkit.machine.symbols import defined_symbols
from torchkit.machine.torch_libraries import newest
from torchkit.system import System
from torchkit.versions import Version

_LIBRARIES = re.compile(r"lib(c10|c10_cuda|c10_hip|c10_xpu|torch|torch_\w+|caffe2)\.so")
_NOT_OF_PROGRAMS = re.compile(r"libtorch_python\.so|libtorch_cuda_linalg\.so|libtorch_nvshmem\.so")
"""A program loads no libtorch_python.so, and the others on demand."""

_MAX_LIBRARIES = 100
"""So many are opened; a libtorch has a dozen."""

_GPU_CODE = ("libtorch_cuda.so", "libtorch_cuda_cu.so", "libtorch_hip.so")
_TELLING_THE_ABI = ("libc10.so", "libtorch.so", "libtorch_cpu.so", "libcaffe2.so")

_OF_SYSTEM = {
    ".so": "linux",
    ".a": "linux",
    ".dylib": "macos",
    ".dll": "windows",
    ".lib": "windows",
}

_OLD_STRING = "Ss"
_NEW_STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_NEW_STRING_TEXT = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"
_WITH_STRING = {
    "_ZN3c106detail14torchCheckFailEPKcS2_jRK{}": (
        "c10::detail::torchCheckFail(char const*, char const*, unsigned int, {} const&)"
    ),
    "_ZN3c105ErrorC1ENS_14SourceLocationE{}": "c10::Error::Error(c10::SourceLocation, {})",
    "_ZN3c105ErrorC1ENS_14SourceLocationERK{}": (
        "c10::Error::Error(c10::SourceLocation, {} const&)"
    ),
}
"""Functions that torch's headers call, so that nearly every program refers to them: 1.8 and later,
1.5 to 1.7, up to 1.4; as the compiler and as the linker write them."""


def libtorch_file_facts(
    system: System, paths: Sequence[str], *, cuda_home: Path | None = None
) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to this probe. Raises BadInput for a path that is not there.

    `cuda_home` is the toolkit that programs would be built with; without one its symbols are not
    looked at.
    """
    found = []
    for path in each_once(system, paths):
        with system.noticing(f"reading {path}"), opened_root(system, path) as root:
            found.append(_libtorch(root, system, cuda_home))
    return {"libtorchs": tuple(found)}


def _libtorch(root: Root, system: System, cuda_home: Path | None) -> Libtorch:
    if root.folder is None:
        return Libtorch(
            root.named,
            root.kind,
            problem=root.problem,
            error=words_for(root),
            subfolder=root.subfolder,
        )
    label = label_of(root)
    os_system = _os_system(root)
    told = Libtorch(
        root.named,
        root.kind,
        version=label.version,
        os_system=os_system,
        cmake_cxx11_abi=_cmake_abi(root),
        cmake_cuda_min=_cmake_cuda_min(root),
        cmake_prefix=None if root.is_archive else _absolute(system, root.folder),
        folder_inside=root.inside,
        is_debug=label.is_debug,
    )
    if os_system != "linux":
        told = _with_label(told, label, {}, root)
        return told._replace(**wholeness(root, told, {}))
    elfs, unread = _elfs(root)
    told = _with_label(told, label, elfs, root)
    machines = {elf.machine for elf in elfs.values()}
    told = told._replace(
        architecture=machines.pop() if len(machines) == 1 else None,
        cuda_libraries=cuda_libraries(elfs, root),
        **wholeness(root, told, unread),
        **_symbol_versions(elfs),
        **_abi(root),
    )
    archs = _archs(root) if told.variant != "cpu" else None
    if isinstance(archs, tuple):
        told = told._replace(archs=archs)
    told = told._replace(not_read=_not_read(root, unread, archs))
    if cuda_home is not None and told.cuda is not None:
        gap = toolkit_gap(elfs, root, system, cuda_home)
        if gap is not None:
            told = told._replace(
                missing_cuda_symbol=gap.symbol,
                missing_cuda_symbol_by=gap.wanted_by,
                missing_cuda_library=gap.library,
                missing_cuda_stops_link=gap.stops_link,
            )
        told = told._replace(missing_on_link_line=missing_on_link_line(root, system, cuda_home))
    return told


def _absolute(system: System, folder: Path) -> str:
    if folder.is_absolute():
        return str(folder)
    here = system.working_folder()
    return str(folder if here is None else here / folder)


def _with_label(told: Libtorch, label: Label, elfs: Mapping[str, Elf], root: Root) -> Libtorch:
    """The variant and the CUDA version; what the libraries need goes before a name."""
    names = set(root.names("lib"))
    has_cuda = any(re.match(r"(lib)?(c10_cuda|torch_cuda)\b", name) for name in names)
    has_hip = any(re.match(r"(lib)?(c10_hip|torch_hip)\b", name) for name in names)
    has_xpu = any(re.match(r"(lib)?(c10_xpu|torch_xpu)\b", name) for name in names)
    variant, cuda = label.variant, label.cuda
    if has_cuda:
        major = cuda_major(elfs.values())
        if cuda is None or (major is not None and cuda.partition(".")[0] != major):
            cuda = major
        if variant is None or not variant.startswith("cu"):
            variant = "cuda" if cuda is None or "." not in cuda else f"cu{cuda.replace('.', '')}"
        return told._replace(variant=variant, cuda=cuda)
    if has_hip or has_xpu:
        return told._replace(variant=variant or ("rocm" if has_hip else "xpu"))
    return told._replace(variant="cpu" if names else variant)


def _os_system(root: Root) -> str | None:
    for name in root.names("lib"):
        match = re.fullmatch(r"(?:lib)?(?:c10|torch|torch_cpu|caffe2)(\.\w+)", name)
        if match is not None and match[1] in _OF_SYSTEM:
            return _OF_SYSTEM[match[1]]
    return None


# --- its libraries


def _not_read(root: Root, unread: Mapping[str, str], archs: object) -> str | None:
    notes = [f"lib/{name}: {why}" for name, why in unread.items() if not why.startswith(BROKEN)]
    if isinstance(archs, Unknown):
        notes.append(f"its GPU code: {archs.reason}")
    if any(name == "libtorch.a" for name in root.names("lib")):
        notes.append("its libraries are static, and those are not looked into")
    return "; ".join(notes) or None


def _elfs(root: Root) -> tuple[dict[str, Elf], dict[str, str]]:
    """Its main libraries by name, and why some could not be read; a small one is read first."""
    names = [
        name
        for name in root.names("lib")
        if _LIBRARIES.fullmatch(name) and not _NOT_OF_PROGRAMS.fullmatch(name)
    ]
    elfs: dict[str, Elf] = {}
    unread: dict[str, str] = {}
    for name in sorted(names, key=lambda name: root.size(f"lib/{name}") or 0)[:_MAX_LIBRARIES]:
        try:
            with root.system.open(_library(root, name)) as file:
                elf = parse_elf(file)
        except OSError as error:
            unread[name] = (error.strerror or str(error)).lower()
            continue
        if isinstance(elf, Unknown):
            unread[name] = f"{BROKEN}{elf.reason}"
        else:
            elfs[name] = elf
    return elfs, unread


def _library(root: Root, name: str) -> Path:
    return (root.folder or Path()) / "lib" / name


def _symbol_versions(elfs: Mapping[str, Elf]) -> dict[str, Value]:
    facts: dict[str, Value] = {}
    for family in ("GLIBC", "GLIBCXX", "CXXABI"):
        found: dict[str, Version] = {}
        for library, elf in elfs.items():
            version = newest(
                family,
                (
                    version.name
                    for versions in elf.needed_versions.values()
                    for version in versions
                    if not version.is_weak
                ),
            )
            if version is not None:
                found[library] = version
        asking = max(found, key=lambda name: found[name], default=None)
        facts[f"{family.lower()}_needed"] = None if asking is None else str(found[asking])
        facts[f"{family.lower()}_needed_by"] = asking
    return facts


def _abi(root: Root) -> dict[str, Value]:
    abi: bool | None = None
    symbol: str | None = None
    names = root.names("lib")
    for library in _TELLING_THE_ABI:
        if library not in names or abi is not None:
            continue
        try:
            with root.system.open(_library(root, library)) as file:
                told = parse_cxx11_abi(file)
        except OSError:
            continue
        if isinstance(told, bool):
            abi = told
            symbol = _string_symbol(root, library, cxx11=told)
    return {"cxx11_abi": abi, "string_symbol": symbol}


def _string_symbol(root: Root, library: str, *, cxx11: bool) -> str | None:
    """A function of this library that takes a std::string, as the other ABI's linker writes it."""
    defined = defined_symbols(root.system, _library(root, library))
    if isinstance(defined, Unknown):
        return None
    own = _NEW_STRING if cxx11 else _OLD_STRING
    other = "std::string" if cxx11 else _NEW_STRING_TEXT
    for mangled, text in _WITH_STRING.items():
        if mangled.format(own) in defined:
            return text.format(other)
    return None


def _archs(root: Root) -> tuple[str, ...] | Unknown | None:
    """What most parts of its GPU library have code for."""
    answer: tuple[str, ...] | Unknown | None = None
    for name in _GPU_CODE:
        if root.size(f"lib/{name}") is None:
            continue
        place = _library(root, name)
        if not root.is_archive:
            answer = gpu_archs(root.system, place, in_most_parts=True)
        else:
            try:
                with root.system.open(place) as file:
                    answer = stream_gpu_archs(file)
            except OSError as error:
                answer = Unknown((error.strerror or str(error)).lower())
        if isinstance(answer, tuple):
            break
    return answer


# --- what its CMake files ask for


def _cmake_abi(root: Root) -> bool | None:
    match = re.search(r"-D_GLIBCXX_USE_CXX11_ABI=([01])", root.text(CMAKE_CONFIG) or "")
    return None if match is None else match[1] == "1"


def _cmake_cuda_min(root: Root) -> str | None:
    """`if(CUDA_VERSION VERSION_LESS 12.6)` before the line that stops."""
    text = root.text("share/cmake/Caffe2/public/cuda.cmake") or ""
    match = re.search(
        r"if\(CUDA_VERSION VERSION_LESS \"?(\d+(?:\.\d+)?)\"?\)\s*message\(FATAL_ERROR", text
    )
    return match[1] if match else None
