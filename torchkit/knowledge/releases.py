"""Releases of torch and of the packages that are released with it, from torch.toml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.versions import Version

COMPANIONS = ("torchvision", "torchaudio", "torchcodec", "triton")
"""The packages whose releases torch.toml names."""


class TorchRelease(NamedTuple):
    """One release of torch on the default index; None where a fact is not known.

    `python` holds series ("3.12"), `python_freethreaded` the builds without the GIL ("3.14t").
    `cuda_default` is the CUDA of the plain Linux x86_64 wheel; `cuda_variants` ("cu126") and
    `rocm_variants` ("6.4") are the Linux builds. The ABI is that of the plain wheel;
    `other_abi_variants` names the x86_64 builds with the other one. The three `_needed` are
    symbol versions; `symbols_measured` is False where those of libtorch_cpu.so are carried over
    from a neighbouring release. `weak` names the fields that `confidence` is about.
    """

    version: Version
    released: date
    python: tuple[str, ...]
    cuda_default: Version
    cuda_variants: tuple[str, ...]
    cpu_variant: bool
    cxx_standard_headers: int
    cxx_standard_cpp_extension: int
    cxx11_abi_linux_x86_64: bool
    glibc_needed: Version
    glibcxx_needed: Version
    cxxabi_needed: Version
    source: str
    python_freethreaded: tuple[str, ...] = ()
    rocm_variants: tuple[str, ...] = ()
    min_gcc_header_check: int | None = None
    min_clang_header_check: int | None = None
    cxx11_abi_linux_aarch64: bool | None = None
    other_abi_variants: tuple[str, ...] = ()
    symbols_measured: bool = False
    execstack_libtorch_cpu: bool | None = None
    torchvision: tuple[str, ...] = ()
    torchaudio: tuple[str, ...] = ()
    torchcodec: tuple[str, ...] = ()
    triton: tuple[str, ...] = ()
    confidence: str = "high"
    weak: tuple[str, ...] = ()


@functools.cache
def torch_releases() -> tuple[TorchRelease, ...]:
    """Every release, oldest first."""
    releases = rows.records(
        rows.load("torch.toml", "torch"), "torch", TorchRelease, identity=("version",)
    )
    return tuple(sorted(releases, key=lambda release: release.version))


@functools.cache
def _by_version() -> Mapping[Version, TorchRelease]:
    return {release.version: release for release in torch_releases()}


def torch_release(version: Version) -> TorchRelease | None:
    """The release of this version, whatever its local tag; None for a build between releases."""
    if version.is_prerelease:
        return None
    return _by_version().get(Version(version.base))


def newest_torch() -> TorchRelease:
    """The newest release we know of."""
    return torch_releases()[-1]


def newest_torch_for_python(python: Version, *, free_threaded: bool = False) -> TorchRelease | None:
    """The newest release with a wheel for this Python; None where there never was one."""
    for release in reversed(torch_releases()):
        if free_threaded and f"{python.series}t" in release.python_freethreaded:
            return release
        if not free_threaded and python.series in release.python:
            return release
    return None


def companion_releases(name: str) -> Mapping[str, tuple[str, ...]]:
    """Releases of a companion by the torch release they go with, oldest torch first.

    Empty for a package that is not one of `COMPANIONS`. A release such as "3.8.*" stands for all
    that begin so.
    """
    if name not in COMPANIONS:
        return MappingProxyType({})
    found: dict[str, tuple[str, ...]] = {}
    for release in torch_releases():
        versions: tuple[str, ...] = getattr(release, name)
        if versions:
            found[str(release.version)] = versions
    return MappingProxyType(found)


def companion_for(name: str, torch_version: Version) -> tuple[str, ...]:
    """Releases of a companion that go with this torch; none when there are none or none is known.

    A patch release we have no row for gets what the newest one of its series got.
    """
    if torch_version.is_prerelease:
        return ()
    releases = companion_releases(name)
    if torch_release(torch_version) is not None:
        return releases.get(str(Version(torch_version.base)), ())
    of_series = [
        versions for torch, versions in releases.items() if _series(torch) == torch_version.series
    ]
    return of_series[-1] if of_series else ()


def torch_for_companion(name: str, version: Version) -> tuple[str, ...]:
    """Releases of torch that this release of a companion goes with, oldest first."""
    if version.is_prerelease:
        return ()
    return tuple(
        torch
        for torch, versions in companion_releases(name).items()
        if any(_is_meant(version, wanted) for wanted in versions)
    )


def _series(version: str) -> str:
    return version.rpartition(".")[0]


def _is_meant(version: Version, wanted: str) -> bool:
    if wanted.endswith(".*"):
        return f"{version.base}.".startswith(wanted.removesuffix("*"))
    return Version(version.base) == Version(wanted)
