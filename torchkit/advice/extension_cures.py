"""What puts a package's compiled code right: the lines that bring a build for this torch.

None of them fetches the file that is here already, unless that file is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torchkit.advice.builds import cuda_of
from torchkit.advice.lines import (
    BUILT_ON_THE_SPOT,
    BY_CUDA,
    BY_VARIANT,
    FITTING_TORCH,
    PAIRED,
    PYG,
    WHEEL_INDEX,
    companion_lines,
)
from torchkit.knowledge.compat import torch_release, torch_releases
from torchkit.machine.facts import Companion, Extension
from torchkit.versions import Version, as_version


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
        first = (
            f"take the {one.package} of {_when(torch_version)}the time of torch "
            f"{torch_version.series}: pip index versions {one.package}"
        )
    return [first, f"or, {source_line(one)}"]


def _when(torch_version: Version) -> str:
    release = torch_release(torch_version)
    return "" if release is None else f"about {release.released:%Y-%m}, "


def _is_for_older(one: Extension, asked: str | None, torch_version: Version) -> bool:
    """Whether it is known that the package was made for older releases of torch."""
    bounds = re.findall(r"(?:==|<=?|~=)\s*(\d+(?:\.\d+)*)", asked or "")
    told = [as_version(text) for text in (one.built_for_torch, *bounds)]
    return any(it is not None and it <= Version(torch_version.series) for it in told)


# --- a package that is made for CUDA alone, beside a torch for the CPU


def has_cpu_builds(package: str | None) -> bool:
    """Whether an index has builds of the package for a CPU torch too."""
    return package in (*PAIRED, *PYG, *BY_VARIANT)


def with_cuda_torch(
    one: Extension, companion: Companion | None, torch_version: Version, cuda: Version | None
) -> list[str]:
    """The torch that a package for CUDA alone goes with, and the package's build for that one."""
    asked = companion.requires_torch if companion is not None else None
    release, variant = cuda_build(torch_version, cuda, asked=asked)
    named = f"torch=={release.public}+{variant}"
    lines = [f"pip install --force-reinstall {named} --index-url {WHEEL_INDEX}/{variant}"]
    new = Version(f"{release.public}+{variant}")
    its_cuda, built_for = cuda_of(variant), as_version(one.built_for_torch)
    fits = cuda is None or its_cuda is None or cuda.major == its_cuda.major
    is_for_this = built_for is None or built_for.series == new.series or bool(one.stable_abi)
    if one.package is not None and not (fits and is_for_this):
        first, *rest = again(one, companion, new)
        lines += [f"then {first}", *rest]
    return lines


def cuda_build(
    torch_version: Version, cuda: Version | None, *, asked: str | None = None
) -> tuple[Version, str]:
    """Of this release the build for a CUDA of this major, or else of the newest that has one.

    `asked` is the specifier of the torch that is asked for.
    """
    own = torch_release(torch_version)
    newest = torch_releases()[-1]
    for release in (*([own] if own is not None else []), *reversed(torch_releases())):
        if asked and not _meets(release.version, asked):
            continue
        for variant in reversed(release.cuda_variants):
            its = cuda_of(variant)
            if its is not None and (cuda is None or its.major == cuda.major):
                return release.version, variant
    return newest.version, newest.cuda_variants[-1]


def _meets(version: Version, asked: str) -> bool:
    # packaging's specifiers are slow to import: only where one is to be compared
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(asked).contains(str(version))
    except InvalidSpecifier:
        return True


def companion_cures(
    companions: Sequence[Companion], torch_version: Version, *, is_cpu_torch: bool
) -> list[str]:
    """What brings these packages and this torch together, all in one."""
    ended = [line for it in companions if (line := ended_line(it.name)) is not None]
    left = [it for it in companions if ended_line(it.name) is None]
    for_cuda = [it for it in left if is_cpu_torch and _is_for_cuda_alone(it)]
    lines: list[str] = []
    for it in for_cuda[:1]:  # one torch for all of them
        told = Extension("", it.name, it.version, built_for_torch=it.built_for_torch)
        lines += with_cuda_torch(told, it, torch_version, as_version(it.cuda))
    return ended + companion_lines([it for it in left if it not in for_cuda], torch_version) + lines


def _is_for_cuda_alone(one: Companion) -> bool:
    return one.cuda not in (None, "cpu") and not has_cpu_builds(one.name)


# --- single lines


def ended_line(package: str) -> str | None:
    """What to do about a package that is no longer made; None for any other."""
    ended = _ENDED.get(package)
    if ended is None:
        return None
    return f"pip uninstall -y {package}   its last release is for torch {ended}"


_ENDED = {"torchtext": "2.3"}
"""Packages that are no longer made: the torch of their last release (torchtext's README)."""

_WITH_BUILDS = (*PAIRED, *BUILT_ON_THE_SPOT, *PYG, *BY_VARIANT)
_BUILT_ELSEWHERE = (*BY_CUDA, "vllm", "torch-tensorrt", "flash-attn-3", "natten")
"""Packages of which an index has a build for each torch: to compile them takes hours."""


def rebuild_line(one: Extension) -> str:
    """The pip line that compiles a package again, against the torch that is installed.

    `--no-binary`: else pip would take the wheel again that is here, where an index has one.
    """
    if one.origin is not None and one.origin.startswith("/"):
        tree = f'"{one.origin}"' if " " in one.origin else one.origin
        return f"pip install --no-build-isolation --no-deps -e {tree}"
    options = "--force-reinstall --no-cache-dir --no-build-isolation --no-deps"
    if one.origin is not None:
        return f"pip install {options} '{one.origin}'"
    return f"pip install {options} --no-binary {one.package} {_pinned(one)}"


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


def its_torch(one: Extension) -> list[str]:
    """The torch that a file was built against, where there is none."""
    version = as_version(one.built_for_torch)
    if version is not None:
        return [f"pip install torch=={version.public}"]
    return [f"install the torch that {one.path} was built against"]
