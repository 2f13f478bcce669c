"""A compiled module that was built against torch cannot be loaded beside this torch.

## What it looks at
Every installed file that needs torch's libraries or names, and those given with `--extension`.
Each is resolved as the dynamic loader would after `import torch`: every needed library, every
symbol that must be defined, and the Python it is compiled for.

## Why it matters
A module for another torch, another CUDA or another Python installs without a complaint. It dies
when it is imported, or its package swallows the error and dies later, at the first operator.

## What to do
Install the release that goes with this torch, or compile the package again against it. A module
that wants the NVIDIA driver only needs a machine that has one.

## References
- https://github.com/Dao-AILab/flash-attention/issues/1832
- https://github.com/vllm-project/vllm/issues/31018
- https://docs.pytorch.org/docs/stable/notes/libtorch_stable_abi.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

from torchkit.advice.extension_cures import (
    again,
    compile_line,
    has_cpu_builds,
    its_torch,
    newer_torch,
    reinstall_line,
    with_cuda_torch,
)
from torchkit.advice.extensions import (
    GOES_ON_WITHOUT,
    Cause,
    built_for,
    by_package,
    cause_of,
    files,
    is_a_part,
    is_ffmpegs,
    is_torchs,
    joined,
    judged_by,
    named,
    needs,
    other_builds,
    short,
    system_version,
    to_be_told,
    without_ffmpeg,
)
from torchkit.advice.lines import FITTING_TORCH, PAIRED
from torchkit.advice.symbol_names import readable
from torchkit.machine.facts import Companion, Extension, Unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    fail,
    info,
    ok,
    warn,
)
from torchkit.versions import Version, as_version

AREA = "packages"

SHOWN_NAMES = 3
"""So many of the missing names are shown; the others are counted."""


class Here(NamedTuple):
    """What the modules are to fit: the torch and the Python of this machine."""

    torch_version: Version | None
    torch_cuda: Version | None
    is_cpu_build: bool
    python_version: Version | None
    cpu: str | None
    companions: dict[str, Companion]

    @property
    def torch(self) -> str:
        return f"torch {self.torch_version}" if self.torch_version is not None else "this torch"


def judge(
    extensions: tuple[Extension, ...],
    torch_version: Version | None | Unknown,
    torch_cuda: Version | None | Unknown,
    torch_build: str | None | Unknown,
    companions: tuple[Companion, ...] | None | Unknown,
    python_version: Version | None | Unknown,
    cpu_architecture: str | None | Unknown,
) -> Verdict | tuple[Verdict, ...]:
    here = Here(
        torch_version if isinstance(torch_version, Version) else None,
        torch_cuda if isinstance(torch_cuda, Version) else None,
        torch_build == "cpu",
        python_version if isinstance(python_version, Version) else None,
        cpu_architecture if isinstance(cpu_architecture, str) else None,
        {it.name: it for it in companions} if isinstance(companions, tuple) else {},
    )
    verdicts = [
        verdict
        for group in by_package(extensions)
        if (verdict := _judged(group, here, is_torch_there=torch_version is not None)) is not None
    ]
    if verdicts:
        return tuple(verdicts)
    untold = next((it for it in extensions if it.unknown is not None), None)
    if untold is not None:
        return could_not_look(f"{short(untold.path)}: {untold.unknown}")
    return _nothing_wrong(extensions, here)


def _judged(package: list[Extension], here: Here, *, is_torch_there: bool) -> Verdict | None:
    """What is wrong with one package, or one file; None where nothing is, or another check tells."""
    told = to_be_told(package, here.torch_version)
    if not told:
        lacking = without_ffmpeg(package, here.torch_version)
        return _without_ffmpeg(lacking) if lacking else None
    others = other_builds(told, package, here.torch_version)
    if others:
        return _other_builds(told, others, here)
    if cause_of(told[0]) is Cause.ABI:
        return None
    if is_a_part(told, package, here.torch_version):
        return _part(told, here)
    return _verdict(told, here, is_torch_there=is_torch_there)


def _nothing_wrong(extensions: tuple[Extension, ...], here: Here) -> Verdict:
    packages = by_package(extensions)
    loaded = [group for group in packages if judged_by(group, here.torch_version) is None]
    if not extensions:
        return does_not_apply("no installed package has a compiled module that uses torch")
    if not loaded:
        return does_not_apply("what keeps modules from being loaded is judged by extension-abi")
    names = [named(group[0]) for group in loaded]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    first = dict.fromkeys(short(it) for one in extensions for it in one.loaded_first)
    after = f", once their packages have loaded {joined(list(first)[:3])}" if first else ""
    after += f" and {len(first) - 3} more" if len(first) > 3 else ""
    return ok(f"the compiled code of {joined(names[:3])}{more} loads with {here.torch}{after}")


def _verdict(group: list[Extension], here: Here, *, is_torch_there: bool) -> Verdict:
    """What is wrong with a package whose files are all judged by the first of these."""
    one, cause = group[0], cause_of(group[0])
    if one.uses_torch is not False and not is_torch_there:
        message = f"{named(one)} needs torch, which is not installed"
        return _told(group, message, its_torch(one))
    if cause is Cause.DRIVER:
        return _wants_driver(group)
    message, found, fix = _WORDS[cause](group, here)
    if one.package is None and cause in (Cause.TORCH_LIBRARY, Cause.TORCH_SYMBOL):
        fix = again(one, None, here.torch_version or Version("0"))
    return _told(group, message, fix, found)


def _told(group: list[Extension], message: str, fix: list[str], found: str = "") -> Verdict:
    one = group[0]
    evidence = [Evidence(WOULD_FAIL_WITH, one.error or "")]
    if found:
        evidence.append(Evidence("found", found))
    if built_for(one):
        evidence.append(Evidence("built for", built_for(one)))
    what = one.package or short(one.path)
    without = GOES_ON_WITHOUT.get(one.package or "")
    if without is None:
        return fail(message, evidence=evidence, fix=fix, brief=f"{what} cannot be loaded")
    brief = f"kernels of {what} cannot be loaded"
    return warn(f"{message}; {without}", evidence=evidence, fix=fix, brief=brief)


def _part(group: list[Extension], here: Here) -> Verdict:
    """Its code for the CPU loads, that for CUDA does not, which only the GPU's users miss."""
    one = group[0]
    message = f"a part of {named(one)} cannot be loaded: it needs {one.missing_library}"
    evidence = [
        Evidence(WOULD_FAIL_WITH, one.error or ""),
        Evidence("found", needs(group, joined(one.missing_libraries))),
    ]
    if here.is_cpu_build:
        return info(f"{message}, and {here.torch} is a CPU build", evidence=evidence)
    fix = [f"install the NVIDIA package that has {one.missing_library}, to use it on the GPU"]
    return warn(message, evidence=evidence, fix=fix, brief=f"{one.package} cannot use CUDA")


def _without_ffmpeg(group: list[Extension]) -> Verdict:
    """The rest of it loads: only who reads or writes films misses this."""
    one = group[0]
    what = _any_of(group, one.missing_library or "")
    return info(
        f"a part of {named(one)} cannot be loaded: it needs {what}, which is not there",
        evidence=[
            Evidence(WOULD_FAIL_WITH, one.error or ""),
            Evidence("found", needs(group, joined(one.missing_libraries))),
        ],
        fix=_FFMPEG,
    )


_FFMPEG = ["sudo apt install ffmpeg", "or: conda install -c conda-forge ffmpeg"]


def _other_builds(told: list[Extension], has: list[str], here: Here) -> Verdict:
    """Its Python code looks for a build for this torch by name, so the loader is not even asked."""
    one = told[0]
    listed = has[0] if len(has) == 1 else f"{has[0]} to {has[-1]}"
    known = one._replace(built_for_torch=has[-1])
    build = warn if one.package in GOES_ON_WITHOUT else fail
    return build(
        f"{named(one)} has builds for torch {listed}, none for {here.torch}",
        evidence=[
            Evidence("found", joined(has), "builds for torch"),
            Evidence("needed", f"a build for {here.torch}"),
        ],
        fix=_again(known, here),
        brief=f"{one.package} has no build for {here.torch}",
    )


def _wants_driver(group: list[Extension]) -> Verdict:
    """No fault of the installation: it is made for a machine with a driver."""
    one = group[0]
    return info(
        f"{named(one)} needs the NVIDIA driver, which gives {one.missing_library}; here is none",
        evidence=[
            Evidence(WOULD_FAIL_WITH, one.error or ""),
            Evidence("found", needs(group, joined(one.missing_libraries))),
        ],
        fix=["run it where an NVIDIA driver is; in a container, start it with the GPUs"],
    )


_Words = tuple[str, str, list[str]]
"""Message, what was found, what is to be done."""


def _again(one: Extension, here: Here) -> list[str]:
    if here.torch_version is None:
        return [compile_line(one)] if one.package else [f"build {one.path} again"]
    return again(one, here.companions.get(one.package or ""), here.torch_version)


def _torch_library(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    missing = [it for it in one.missing_libraries or (one.missing_library or "",) if is_torchs(it)]
    kind = "this torch is a CPU build and " if here.is_cpu_build else "this torch "
    has = {1: "does not have it", 2: "has neither"}.get(len(missing), "has none of them")
    is_for_cuda = here.is_cpu_build and any(it.endswith("_cuda.so") for it in missing)
    return (
        f"{named(one)} does not fit {here.torch}",
        needs(group, f"{joined(missing)}, {kind}{has}"),
        _with_cuda(one, one.built_for_cuda, here) if is_for_cuda else _again(one, here),
    )


def _with_cuda(one: Extension, cuda: str | None, here: Here) -> list[str]:
    """For code that is built for CUDA, beside a torch for the CPU."""
    if has_cpu_builds(one.package) or here.torch_version is None:
        return _again(one, here)
    companion = here.companions.get(one.package or "")
    lines = with_cuda_torch(one, companion, here.torch_version, as_version(cuda))
    return lines if one.package else [*lines, f"or build {one.path} again, without CUDA"]


def _cuda_library(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    library = one.missing_library or ""
    told = re.match(r"lib(?:cudart|cublas|cublasLt|nvrtc|npp\w+)[\w.-]*?\.so\.(\d+)", library)
    built = told[1] if told else (one.built_for_cuda or "").partition(".")[0]
    missing = one.missing_libraries or (library,)
    found = needs(group, f"{joined(missing)}, nowhere to be found")
    if here.is_cpu_build:
        cuda = f"CUDA {built}" if built else "CUDA"
        message = f"{named(one)} is built for {cuda}, {here.torch} is a CPU build"
        return message, found, _with_cuda(one, one.built_for_cuda or built, here)
    if built and here.torch_cuda is not None and built != str(here.torch_cuda.major):
        message = f"{named(one)} is built for CUDA {built}, {here.torch} for CUDA {here.torch_cuda}"
        return message, found, _again(one, here)
    toolkit = f"/usr/local/cuda-{built}/lib64" if built else "/usr/local/cuda/lib64"
    return (
        f"{named(one)} needs {library}, which is not there",
        found,
        [
            f"install the NVIDIA package that has {library}",
            f"or, with a toolkit installed: export LD_LIBRARY_PATH={toolkit}",
        ],
    )


def _torch_symbol(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    found = _uses(group)
    if one.stable_abi:
        companion = here.companions.get(one.package or "")
        older = _again(one, here) if one.package in PAIRED else []
        newer = newer_torch(companion)
        return (
            f"{named(one)} needs a newer torch than {here.torch_version or 'this'}",
            found,
            [*older, f"or {newer}" if older and newer != FITTING_TORCH else newer],
        )
    return f"{named(one)} does not fit {here.torch}", found, _again(one, here)


def _uses(group: list[Extension]) -> str:
    """`a.so needs 16 names that this torch does not define: a(…), b(…), c(…) and 13 more`."""
    one = group[0]
    names, count, who = one.missing_of_torch, one.missing_of_torch_count, "this torch does not"
    if not names:
        names, count, who = one.missing_symbols, one.missing_symbol_count, "nothing loaded"
    define = "define" if who.endswith("not") else "defines"
    shown = [readable(name) for name in names[:SHOWN_NAMES]]
    rest = max(count, len(names)) - len(shown)
    listed = f"{', '.join(shown)} and {rest} more" if rest else joined(shown)
    what = f"{rest + len(shown)} names that {who} {define}: {listed}"
    if rest + len(shown) == 1:
        what = f"{shown[0]}, which {who} {define}"
    library = f"; and {joined(one.missing_libraries)}" if one.missing_libraries else ""
    return needs(group, f"{what}{library}")


def _other_symbol(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    found = _uses(group) if one.missing_symbols else ""
    return f"{named(one)} cannot be loaded: a name is undefined", found, _again(one, here)


def _other_library(group: list[Extension], _here: Here) -> _Words:
    one = group[0]
    library = one.missing_library or ""
    is_ffmpeg = is_ffmpegs(library)
    fix = (
        _FFMPEG
        if is_ffmpeg
        else [f"install the library that has {library}, or put its folder into LD_LIBRARY_PATH"]
    )
    what = _any_of(group, library) if is_ffmpeg else library
    return (
        f"{named(one)} needs {what}, which is not there",
        needs(group, joined(one.missing_libraries or (library,))),
        fix,
    )


def _any_of(group: list[Extension], library: str) -> str:
    """`FFmpeg's libavutil.so.56, .57 or .58`: of the builds for several FFmpegs one is enough."""
    stem = f"{library.partition('.so')[0]}.so."
    missing = [it.missing_library or "" for it in group]
    others = [f".{it.removeprefix(stem)}" for it in missing if it.startswith(stem)]
    rest = [it for it in dict.fromkeys(others) if not library.endswith(it)]
    more = f", {', '.join(rest[:-1])}" if rest[:-1] else ""
    return f"FFmpeg's {library}{more}" + (f" or {rest[-1]}" if rest else "")


def _system_version(group: list[Extension], _here: Here) -> _Words:
    one = group[0]
    version = system_version(one) or ""
    which = "glibc" if version.startswith("GLIBC_") else "libstdc++"
    fix = [compile_line(one)] if one.package else [f"build {one.path} on this machine"]
    if which == "libstdc++" and "conda" in (one.error or ""):
        fix.insert(0, "conda install -c conda-forge 'libstdcxx-ng>=13'")
    return f"{named(one)} needs {version}, which this {which} does not have", files(group), fix


def _python(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    python = f"Python {here.python_version}" if here.python_version else "another one"
    fix = [reinstall_line(one)] if one.package else [f"build {one.path} for {python}"]
    built_for = as_version(one.built_for_torch)
    is_for_other = (
        built_for is not None
        and here.torch_version is not None
        and (built_for.series != here.torch_version.series)
    )
    if one.package in PAIRED or (one.package and is_for_other):  # the same release would not do
        fix = _again(one, here)
    return (
        f"{named(one)} is compiled for Python {one.built_for_python}, this is {python}",
        f"{files(group)}, and no such module for this Python",
        fix,
    )


def _unreadable(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    found = files(group) if len(group) > 1 else ""
    if re.search(r"dynamically load|only ET_DYN", one.error or ""):
        link = "link it as a shared library, with -shared and -fPIC"
        return f"{named(one)} is no shared library", found, [link]
    fix = [reinstall_line(one)] if one.package else [f"build {one.path} again"]
    if one.package in PAIRED:
        fix = _again(one, here)
    is_cut = re.search(
        r"too short|invalid ELF header|cut off|cannot read file data", one.error or ""
    )
    why = f": {short(one.path)} is damaged" if is_cut and one.package else ""
    return f"{named(one)} cannot be loaded{why}", found, fix


def _gone(group: list[Extension], here: Here) -> _Words:
    group = [it for it in group if cause_of(it) is Cause.GONE]
    one = group[0]
    fix = _again(one, here) if one.package in PAIRED else [reinstall_line(one)]
    are = "is" if len(group) == 1 else "are"
    return (
        f"{named(one)} is not whole: {files(group)} {are} gone",
        f"{files(group)}, which its installer listed",
        fix,
    )


def _machine(group: list[Extension], here: Here) -> _Words:
    one = group[0]
    this = here.cpu or "another kind"
    fix = [reinstall_line(one)] if one.package else [f"build {one.path} for {this}"]
    return (
        f"{named(one)} is compiled for {one.built_for_machine}, this Python is {this}",
        files(group),
        fix,
    )


_WORDS = {
    Cause.MACHINE: _machine,
    Cause.GONE: _gone,
    Cause.TORCH_LIBRARY: _torch_library,
    Cause.CUDA_LIBRARY: _cuda_library,
    Cause.TORCH_SYMBOL: _torch_symbol,
    Cause.OTHER_SYMBOL: _other_symbol,
    Cause.OTHER_LIBRARY: _other_library,
    Cause.SYSTEM_VERSION: _system_version,
    Cause.PYTHON: _python,
    Cause.UNREADABLE: _unreadable,
}
