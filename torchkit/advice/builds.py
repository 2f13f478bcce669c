"""Which official builds of torch run on a driver, its GPUs, a Python and a glibc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torchkit.knowledge.compat import (
    TorchRelease,
    architectures,
    minimum_driver,
    served_by,
    toolkit_driver,
    torch_releases,
)
from torchkit.versions import Version


class Build(NamedTuple):
    """A release of torch and one of its variants: `cu126` or `cpu`."""

    release: TorchRelease
    variant: str


def variant_of(cuda: Version) -> str:
    """`cu126` for CUDA 12.6."""
    return f"cu{cuda.major}{cuda.minor}"


def cuda_of(variant: str) -> Version | None:
    """CUDA 12.6 for `cu126`; None for `cpu`."""
    digits = variant.removeprefix("cu")
    return Version(f"{digits[:-1]}.{digits[-1]}") if digits.isdigit() else None


def fitting_builds(
    *,
    driver_version: Version | None,
    driver_cuda: Version | None = None,
    capabilities: Iterable[str] = (),
    python_version: Version | None = None,
    free_threaded: bool = False,
    glibc_version: Version | None = None,
    architecture: str = "x86_64",
    windows: bool = False,
) -> Iterator[Build]:
    """Official builds that run here, newest release first, best CUDA variant first.

    With a driver only CUDA builds that it runs and that have code for every GPU; with neither
    its version nor `driver_cuda`, the newest CUDA it runs, the CPU builds.
    """
    wanted = tuple(capabilities)
    for release in reversed(torch_releases()):
        if python_version is not None and not _offered(release, python_version, free_threaded):
            continue
        if glibc_version is not None and glibc_version < release.glibc_needed:
            continue
        if driver_version is None and driver_cuda is None:
            yield Build(release, "cpu")
            continue
        cudas = [cuda for name in release.cuda_variants if (cuda := cuda_of(name)) is not None]
        cudas.sort(
            key=lambda cuda: (_fully_supported(cuda, driver_version, driver_cuda, windows), cuda),
            reverse=True,
        )
        for cuda in cudas:
            if not driver_runs(cuda, driver_version, driver_cuda, windows):
                continue
            listed = architectures(release.version, cuda, architecture=architecture)
            if listed is None and architecture != "x86_64":
                continue  # few releases have CUDA builds for other CPUs
            if listed is None or all(served_by(listed.archs, one, cuda=cuda) for one in wanted):
                yield Build(release, variant_of(cuda))


def _offered(release: TorchRelease, python_version: Version, free_threaded: bool) -> bool:
    if free_threaded:
        return f"{python_version.series}t" in release.python_freethreaded
    return python_version.series in release.python


def driver_runs(
    cuda: Version, driver_version: Version | None, driver_cuda: Version | None, windows: bool
) -> bool:
    """By the driver's version where a bound is published, else by the CUDA it says it runs."""
    needed = minimum_driver(cuda, windows=windows)
    if needed is not None and driver_version is not None:
        return driver_version >= needed
    return driver_cuda is not None and driver_cuda.major >= cuda.major


def _fully_supported(
    cuda: Version, driver_version: Version | None, driver_cuda: Version | None, windows: bool
) -> bool:
    own = toolkit_driver(cuda, windows=windows)
    if own is not None and driver_version is not None:
        return driver_version >= own
    return driver_cuda is not None and driver_cuda >= cuda


def is_sure(build: Build) -> bool:
    """Whether this build was seen, not only announced."""
    sure = "cuda_variants" not in build.release.weak
    return sure or build.variant in ("cpu", variant_of(build.release.cuda_default))
