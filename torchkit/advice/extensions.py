"""What stands between a compiled module and this torch, in words. What cures it: extension_cures.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from torchkit.advice.variants import meant, names_torch, torchs
from torchkit.knowledge.compat import torch_for_companion
from torchkit.machine.facts import Extension
from torchkit.versions import Version, as_version


class Cause(Enum):
    """Why a compiled module cannot be loaded."""

    MACHINE = "it is compiled for another kind of CPU"
    PYTHON = "it is compiled for another Python"
    ABI = "its names of torch carry the std::string of the other C++ ABI"
    TORCH_LIBRARY = "it needs a library that this torch does not have"
    CUDA_LIBRARY = "it needs a library of CUDA that is not there"
    DRIVER = "it needs the NVIDIA driver"
    OTHER_LIBRARY = "it needs a library that has nothing to do with torch"
    TORCH_SYMBOL = "it needs a name that this torch does not define"
    OTHER_SYMBOL = "it needs a name that nothing defines"
    SYSTEM_VERSION = "it needs a newer C or C++ library"
    GONE = "it is installed, and not there"
    UNREADABLE = "the loader refuses the file itself"


_TORCH_LIBRARY = re.compile(r"lib(c10|torch|caffe2)(_\w+)?\.so")
_DRIVER_LIBRARY = re.compile(r"lib(cuda|nvidia-ml|nvcuvid|nvidia-encode|nvoptix)\.so")
_CUDA_LIBRARY = re.compile(
    r"lib(cudart|cublas|cublasLt|cudnn\w*|cufft\w*|cufile|cupti|curand|cusolver\w*|cusparse\w*"
    r"|nccl|nvJitLink|nvjpeg|npp\w+|nvrtc|nvrtc-builtins|nvshmem_host|nvToolsExt)[.-]"
)
_FFMPEG_LIBRARY = re.compile(r"lib(av|sw|postproc)\w+\.so")
_NOT_THERE = "cannot open shared object file: No such file or directory"
_SYSTEM_VERSION = re.compile(r"version `((GLIBC|GLIBCXX|CXXABI)_([\d.]+))' not found")


def cause_of(one: Extension) -> Cause:
    """Why this module cannot be loaded; it has an error."""
    error, library = one.error or "", one.missing_library
    if one.built_for_machine is not None:
        return Cause.MACHINE
    if one.built_for_python is not None:
        return Cause.PYTHON
    if system_version(one) is not None:
        return Cause.SYSTEM_VERSION
    if library is not None:
        if _DRIVER_LIBRARY.match(library):
            return Cause.DRIVER
        if _TORCH_LIBRARY.match(library):
            return Cause.TORCH_LIBRARY
        if _CUDA_LIBRARY.match(library):
            return Cause.CUDA_LIBRARY
        return Cause.TORCH_SYMBOL if one.missing_of_torch else Cause.OTHER_LIBRARY
    if one.missing_symbols:
        if one.other_abi and one.missing_symbols[0] in one.missing_of_torch:
            return Cause.ABI
        return Cause.TORCH_SYMBOL if one.missing_of_torch else Cause.OTHER_SYMBOL
    if "undefined symbol" in error:
        return Cause.OTHER_SYMBOL
    return Cause.GONE if error == f"{one.path}: {_NOT_THERE}" else Cause.UNREADABLE


def is_torchs(library: str) -> bool:
    """Whether a library comes with torch, of any build."""
    return _TORCH_LIBRARY.match(library) is not None


def is_ffmpegs(library: str | None) -> bool:
    """Whether a library is one of FFmpeg's."""
    return _FFMPEG_LIBRARY.match(library or "") is not None


def system_version(one: Extension) -> str | None:
    """The symbol version of the C or C++ library that is asked for in vain: `GLIBCXX_3.4.32`."""
    match = _SYSTEM_VERSION.search(one.error or "")
    return match[1] if match else None


def by_package(extensions: Iterable[Extension]) -> list[list[Extension]]:
    """The files of each package together; a file of none stands alone."""
    groups: dict[str, list[Extension]] = {}
    for one in extensions:
        groups.setdefault(one.package or one.path, []).append(one)
    return list(groups.values())


def to_be_told(group: Sequence[Extension], torch_version: Version | None = None) -> list[Extension]:
    """The files of one package that cannot be loaded and are meant to be, the most telling first.

    A package does without what needs a library of another kind (FFmpeg, SoX, OpenCL), as long as
    other files of it load: then nothing is wrong with it.
    """
    files = meant(group, torch_version)
    broken = [one for one in files if one.error is not None]
    dropped: set[str] = set()
    for _ in broken:  # what needs one of these is dropped after it
        dropped |= {
            _name(one)
            for one in broken
            if one.missing_library in dropped
            or (cause_of(one) is Cause.OTHER_LIBRARY and _is_done_without(one, files))
        }
    broken = [one for one in broken if _name(one) not in dropped]
    return sorted(
        broken,
        key=lambda one: (
            _follows(one, broken),
            _RANK.get(cause_of(one), 0),
            not _name(one).startswith("_C"),  # what a package imports first
        ),
    )


def is_a_part(
    told: Sequence[Extension], group: Sequence[Extension], torch_version: Version | None
) -> bool:
    """Whether these need CUDA, while the package works without them: its code for the CPU loads."""
    files = meant(group, torch_version)
    return all(cause_of(it) is Cause.CUDA_LIBRARY and _is_done_without(it, files) for it in told)


def other_builds(
    told: Sequence[Extension], group: Sequence[Extension], torch_version: Version | None
) -> list[str]:
    """The torchs that a package has builds for, oldest first, where this is none of them.

    Nothing where there is one for this torch, or where its files do not name a torch.
    """
    if torch_version is None or not told or not names_torch(told[0], group):
        return []
    named = torchs(group)
    return [] if {torch_version.base, torch_version.series} & set(named) else named


def judged_by(group: Sequence[Extension], torch_version: Version | None = None) -> str | None:
    """Id of the check that says what is wrong with the code of a package; None where none does."""
    told = to_be_told(group, torch_version)
    if not told or cause_of(told[0]) is Cause.DRIVER or is_a_part(told, group, torch_version):
        return None
    if cause_of(told[0]) is Cause.ABI and not other_builds(told, group, torch_version):
        return "extension-abi"
    return "extension-broken"


def loads(group: Sequence[Extension], torch_version: Version | None = None) -> bool:
    """Whether every file of a package that is meant for this torch loads; it has at least one."""
    files = meant(group, torch_version)
    return bool(files) and all(one.error is None and one.unknown is None for one in files)


GOES_ON_WITHOUT = {
    "torchao": "torchao goes on without that code, more slowly",
    "xformers": "xformers is imported without that code, and lacks its operators",
}
"""Packages that warn and go on where their compiled code cannot be loaded (torchao/__init__.py,
xformers/_cpp_lib.py): their code in Python and Triton works."""

_RANK = {Cause.OTHER_LIBRARY: 1, Cause.OTHER_SYMBOL: 2, Cause.DRIVER: 3}
"""A name that nothing defines is often one of a library that another file lacks (torch-npu)."""


def without_ffmpeg(group: Sequence[Extension], torch_version: Version | None) -> list[Extension]:
    """The files of a package that lack FFmpeg, where it has no build for the FFmpeg that is here."""
    files = meant(group, torch_version)
    loading = {_kind(one) for one in files if one.error is None}
    return [
        one
        for one in files
        if one.error is not None and is_ffmpegs(one.missing_library) and _kind(one) not in loading
    ]


def _kind(one: Extension) -> str:
    """`libtorchcodec_core#.so`, of which there is one for each FFmpeg."""
    return re.sub(r"\d+", "#", _name(one))


def _is_done_without(one: Extension, files: Sequence[Extension]) -> bool:
    """Whether the package is there without it: other files load, a module among them if it is one."""
    broken = [it for it in files if it.error is not None]
    loading = [it for it in files if it.error is None]
    if _follows(one, broken) or not loading:
        return False
    return _name(one).startswith("lib") or any(not _name(it).startswith("lib") for it in loading)


def _follows(one: Extension, broken: Sequence[Extension]) -> bool:
    """Whether it only lacks another file of its package, which cannot be loaded either."""
    return one.missing_library in {_name(it) for it in broken}


def _name(one: Extension) -> str:
    return one.path.rpartition("/")[2]


# --- words


def named(one: Extension) -> str:
    """The package and its version, or the file."""
    if one.package is None:
        return one.path
    return f"{one.package} {one.version}" if one.version else one.package


def short(path: str) -> str:
    """A file as its package's users know it: `torchvision/_C.so`, `fused_cuda.so`."""
    folder, _, name = path.rpartition("/")
    inside = re.search(r"(?:site|dist)-packages/(.+)$", path)
    if inside is not None:
        return inside[1]
    last = folder.rpartition("/")[2]
    return f"{last}/{name}" if last else name


def files(group: Sequence[Extension]) -> str:
    """`torchvision/_C.so and 1 more`."""
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{short(group[0].path)}{more}"


def needs(group: Sequence[Extension], what: str) -> str:
    """`torchvision/_C.so and 1 more need libfoo.so; 2 more files cannot be loaded either`.

    `what` is what the first of them needs; those count with it that need the same.
    """
    alike = [it for it in group if _lacking(it) == _lacking(group[0])]
    others = len(group) - len(alike)
    rest = f"; {others} more file{'s' * (others > 1)} cannot be loaded either" if others else ""
    return f"{files(alike)} need{'s' if len(alike) == 1 else ''} {what}{rest}"


def _lacking(one: Extension) -> tuple[object, ...]:
    return one.missing_library, one.missing_libraries, one.missing_symbols, one.missing_symbol_count


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def built_for(one: Extension) -> str:
    """`torch 2.5.1, CUDA 12.4, Python 3.10`, as far as the file, its package or its pairs tell."""
    torch, version = one.built_for_torch, as_version(one.version)
    if not torch and not one.stable_abi and one.package and version is not None:
        series = {".".join(it.split(".")[:2]) for it in torch_for_companion(one.package, version)}
        torch = series.pop() if len(series) == 1 else None  # some go with two
    parts = [
        f"torch {torch}" if torch else "",
        f"CUDA {one.built_for_cuda}" if one.built_for_cuda else "",
        f"Python {one.built_for_python}" if one.built_for_python else "",
    ]
    return ", ".join(part for part in parts if part)
