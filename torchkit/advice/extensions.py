"""What stands between a compiled module and this torch, in words, and what puts it right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from torchkit.advice.lines import (
    BUILT_ON_THE_SPOT,
    BY_VARIANT,
    FITTING_TORCH,
    PAIRED,
    PYG,
    companion_lines,
)
from torchkit.advice.variants import meant, names_torch, torchs
from torchkit.knowledge.compat import torch_for_companion
from torchkit.machine.facts import Companion, Extension
from torchkit.versions import Version, as_version


class Cause(Enum):
    """Why a compiled module cannot be loaded."""

    PYTHON = "it is compiled for another Python"
    ABI = "its names of torch carry the std::string of the other C++ ABI"
    TORCH_LIBRARY = "it needs a library that this torch does not have"
    CUDA_LIBRARY = "it needs a library of CUDA that is not there"
    DRIVER = "it needs the NVIDIA driver"
    OTHER_LIBRARY = "it needs a library that has nothing to do with torch"
    TORCH_SYMBOL = "it needs a name that this torch does not define"
    OTHER_SYMBOL = "it needs a name that nothing defines"
    SYSTEM_VERSION = "it needs a newer C or C++ library"
    UNREADABLE = "the loader refuses the file itself"


_TORCH_LIBRARY = re.compile(r"lib(c10|torch|caffe2)(_\w+)?\.so")
_DRIVER_LIBRARY = re.compile(r"lib(cuda|nvidia-ml|nvcuvid|nvidia-encode|nvoptix)\.so")
_CUDA_LIBRARY = re.compile(
    r"lib(cudart|cublas|cublasLt|cudnn\w*|cufft\w*|cufile|cupti|curand|cusolver\w*|cusparse\w*"
    r"|nccl|nvJitLink|nvjpeg|npp\w+|nvrtc|nvrtc-builtins|nvshmem_host|nvToolsExt)[.-]"
)
_TORCH_SYMBOL = re.compile(
    r"_ZT?[VIS]?NK?(3c10|2at|5torch|6caffe2)|_Z\d+THP|THP|aoti_torch_|torch_\w+$"
)
_SYSTEM_VERSION = re.compile(r"version `((GLIBC|GLIBCXX|CXXABI)_([\d.]+))' not found")


def cause_of(one: Extension) -> Cause:
    """Why this module cannot be loaded; it has an error."""
    error, library = one.error or "", one.missing_library
    if one.built_for_python is not None:
        return Cause.PYTHON
    if system_version(one) is not None:
        return Cause.SYSTEM_VERSION
    if library is not None:
        if _DRIVER_LIBRARY.match(library):
            return Cause.DRIVER
        if _TORCH_LIBRARY.match(library):
            return Cause.TORCH_LIBRARY
        return Cause.CUDA_LIBRARY if _CUDA_LIBRARY.match(library) else Cause.OTHER_LIBRARY
    if one.missing_symbols:
        if one.other_abi:
            return Cause.ABI
        torchs = any(map(_TORCH_SYMBOL.match, one.missing_symbols))
        return Cause.TORCH_SYMBOL if torchs else Cause.OTHER_SYMBOL
    if "undefined symbol" in error:
        return Cause.OTHER_SYMBOL
    return Cause.UNREADABLE


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


GOES_ON_WITHOUT = ("torchao",)
"""Packages that do their work without compiled code that cannot be loaded, more slowly
(torchao/__init__.py). Not those that are imported without it, and fail at their first operator."""

_RANK = {Cause.OTHER_LIBRARY: 1, Cause.OTHER_SYMBOL: 2, Cause.DRIVER: 3}
"""A name that nothing defines is often one of a library that another file lacks (torch-npu)."""


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


def needs(group: Sequence[Extension]) -> str:
    """`torchvision/_C.so and 1 more need`."""
    return f"{files(group)} need{'s' if len(group) == 1 else ''}"


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def readable(symbol: str) -> str:
    """A C++ name without its arguments: `torch::jit::parseSchemaOrName(…)`.

    What is not plainly a name in namespaces stays as the linker writes it
    (https://itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling).
    """
    start = re.match(r"_Z(T[VIS])?(NK?)?", symbol)
    if start is None:
        return symbol
    what = {"TV": "vtable of ", "TI": "type information of ", "TS": "type name of "}
    parts, rest, nested = [], symbol[start.end() :], start[2] is not None
    while match := re.match(r"\d+", rest):
        length = int(match[0]) if len(match[0]) < 5 else 0
        name = rest[match.end() : match.end() + length]
        if not length or len(name) < length:
            return symbol
        parts.append(name)
        rest = rest[match.end() + length :]
        if not nested:
            break
    if nested and parts and (special := re.match(r"[CD][0-5]", rest)):
        parts.append(parts[-1] if special[0][0] == "C" else f"~{parts[-1]}")
        rest = rest[2:]
    if not parts or (nested and not rest.startswith(("E", "I"))):
        return symbol
    if rest.startswith("I"):
        parts[-1] += "<…>"
    takes_nothing = rest == ("Ev" if nested else "v")
    call = "" if start[1] or len(rest) <= nested else "()" if takes_nothing else "(…)"
    return f"{what.get(start[1] or '', '')}{'::'.join(parts)}{call}"


def built_for(one: Extension) -> str:
    """`torch 2.5.1, CUDA 12.4, Python 3.10`, as far as the file, its package or its pairs tell."""
    torch, version = one.built_for_torch, as_version(one.version)
    if not torch and not one.stable_abi and one.package in PAIRED and version is not None:
        series = {".".join(it.split(".")[:2]) for it in torch_for_companion(one.package, version)}
        torch = series.pop() if len(series) == 1 else None  # some go with two
    parts = [
        f"torch {torch}" if torch else "",
        f"CUDA {one.built_for_cuda}" if one.built_for_cuda else "",
        f"Python {one.built_for_python}" if one.built_for_python else "",
    ]
    return ", ".join(part for part in parts if part)


# --- what to do


def again(one: Extension, companion: Companion | None, torch_version: Version) -> list[str]:
    """What puts a build of the package in place that fits this torch, the likeliest first."""
    if one.package is None:
        return [f"build {one.path} again, against torch {torch_version}"]
    ended = ended_line(one.package)
    if ended is not None:
        return [ended]
    if one.origin is None and one.package in _WITH_BUILDS:
        known = companion or Companion(one.package, one.version or "")
        return companion_lines([known], torch_version)
    if one.origin is None and companion is not None and one.package in _BUILT_ELSEWHERE:
        return companion_lines([companion], torch_version)
    if one.origin is None and one.built_here is False:
        return _other_release(one, companion, torch_version)
    return [rebuild_line(one)]


def _other_release(
    one: Extension, companion: Companion | None, torch_version: Version
) -> list[str]:
    """For a package that came compiled: the same release again would bring the same files."""
    asked = companion.requires_torch if companion is not None else None
    if _is_for_older(one, asked, torch_version):
        upgrade = f"pip install --upgrade --no-deps {one.package}"
        first = f"{upgrade}   if a newer release is built for torch {torch_version.series}"
    else:
        (first,) = companion_lines([companion or Companion(f"{one.package}", "")], torch_version)
    return [first, f"or, {source_line(one)}"]


def _is_for_older(one: Extension, asked: str | None, torch_version: Version) -> bool:
    """Whether it is known that the package was made for older releases of torch."""
    bounds = re.findall(r"(?:==|<=?|~=)\s*(\d+(?:\.\d+)*)", asked or "")
    told = [as_version(text) for text in (one.built_for_torch, *bounds)]
    return any(it is not None and it <= Version(torch_version.series) for it in told)


def ended_line(package: str) -> str | None:
    """What to do about a package that is no longer made; None for any other."""
    ended = _ENDED.get(package)
    if ended is None:
        return None
    return f"pip uninstall -y {package}   its last release is for torch {ended}"


_ENDED = {"torchtext": "2.3"}
"""Packages that are no longer made: the torch of their last release (torchtext's README)."""

_WITH_BUILDS = (*PAIRED, *BUILT_ON_THE_SPOT, *PYG, *BY_VARIANT)
_BUILT_ELSEWHERE = ("xformers", "vllm", "torch-tensorrt", "flash-attn-3", "natten")
"""Packages of which an index has a build for each torch: to compile them takes hours."""


def rebuild_line(one: Extension) -> str:
    """The pip line that compiles a package again, against the torch that is installed."""
    if one.origin is not None and one.origin.startswith("/"):
        tree = f'"{one.origin}"' if " " in one.origin else one.origin
        return f"pip install --no-build-isolation --no-deps -e {tree}"
    what = f"'{one.origin}'" if one.origin is not None else _pinned(one)
    return f"pip install --force-reinstall --no-cache-dir --no-build-isolation --no-deps {what}"


def source_line(one: Extension) -> str:
    """The pip line that compiles a package which came compiled. Not every one has sources there."""
    options = f"--no-binary {one.package} --no-build-isolation --force-reinstall --no-deps"
    return f"where the index has its sources: pip install {options} {one.package}"


def compile_line(one: Extension) -> str:
    """What compiles an installed package again on this machine."""
    came_compiled = one.origin is None and one.built_here is False
    return source_line(one) if came_compiled else rebuild_line(one)


def reinstall_line(one: Extension) -> str:
    """The pip line that puts the same release in place again, for this Python."""
    if one.origin is not None:
        return rebuild_line(one)
    return f"pip install --force-reinstall --no-cache-dir --no-deps {_pinned(one)}"


def _pinned(one: Extension) -> str:
    version = as_version(one.version)
    return f"{one.package}=={version.public}" if version is not None else str(one.package)


def newer_torch(companion: Companion | None) -> str:
    """The fix where a module of the stable ABI needs a newer torch than this."""
    asked = companion.requires_torch if companion is not None else None
    return f"pip install 'torch{asked.replace(' ', '')}'" if asked else FITTING_TORCH
