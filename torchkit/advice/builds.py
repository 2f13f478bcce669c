"""Which official builds of torch run on a driver, its GPUs, a Python and a glibc."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from torchkit.knowledge.compat import (
    TorchRelease,
    architectures,
    capability_range,
    cuda_toolkits,
    gpu_capability,
    minimum_driver,
    served_by,
    toolkit_driver,
    torch_releases,
)
from torchkit.machine.facts import Facts, Gpu, Unknown
from torchkit.versions import Version


class Build(NamedTuple):
    """A release of torch and one of its variants: `cu126` or `cpu`."""

    release: TorchRelease
    variant: str


class Needs(NamedTuple):
    """What a build has to run on; None and () where nothing is known, which then binds nothing.

    Without `with_gpu` only CPU builds are wanted. `capabilities` are those of all GPUs.
    """

    with_gpu: bool = False
    driver_version: Version | None = None
    driver_cuda: Version | None = None
    capabilities: tuple[str, ...] = ()
    python_version: Version | None = None
    free_threaded: bool = False
    glibc_version: Version | None = None
    architecture: str = "x86_64"
    windows: bool = False

    def on_any_python(self) -> Needs:
        """The same, whatever Python there is."""
        return self._replace(python_version=None, free_threaded=False)

    def with_any_driver(self) -> Needs:
        """The same, whatever driver there is."""
        return self._replace(driver_version=None, driver_cuda=None)


JETSON_CAPABILITIES = ("5.3", "6.2", "7.2", "8.7", "10.1", "11.0")
"""GPUs of Jetson modules, whose CPU is always aarch64 (https://developer.nvidia.com/cuda-gpus)."""


def needs_of(facts: Facts) -> Needs:
    """What the facts say. GPUs without a known driver still want a build that has code for them."""
    gpus: tuple[Gpu, ...] = facts.known("gpus") or ()
    driver, driver_cuda = facts.known("driver_version"), facts.known("driver_cuda")
    told = dict.fromkeys(capability for gpu in gpus if (capability := capability_of(gpu)))
    is_jetson = any(capability in JETSON_CAPABILITIES for capability in told)
    with_gpu = bool(gpus)
    if isinstance(facts["gpus"], Unknown):
        with_gpu = driver is not None or driver_cuda is not None
    return Needs(
        with_gpu=with_gpu,
        driver_version=driver,
        driver_cuda=driver_cuda,
        capabilities=tuple(told),
        python_version=facts.known("python_version"),
        free_threaded=facts.known("python_free_threaded") is True,
        glibc_version=facts.known("glibc_version"),
        architecture=facts.known("cpu_architecture") or ("aarch64" if is_jetson else "x86_64"),
        windows=facts.known("is_wsl") is True or facts.known("os_system") == "windows",
    )


def capability_of(gpu: Gpu) -> str | None:
    """The GPU's compute capability ("8.6"), by its name where the driver does not tell it.

    /proc and the nvidia-smi of drivers up to 470 tell the name alone.
    """
    told = gpu.capability or ""
    return told if re.fullmatch(r"[0-9]+\.[0-9]+", told) else gpu_capability(gpu.name)


def is_without_glibc(facts: Facts) -> bool:
    """Whether this is a Linux with another C library (musl), for which nothing official is built."""
    return facts.known("os_system") == "linux" and facts["glibc_version"] is None


def is_for_other_gpus(facts: Facts) -> bool:
    """Whether the installed torch is built for GPUs of another maker than NVIDIA."""
    version = facts.known("torch_version")
    local = version.local or "" if version is not None else ""
    return facts.known("torch_build") in ("rocm", "xpu") or local.startswith(("rocm", "xpu"))


def variant_of(cuda: Version) -> str:
    """`cu126` for CUDA 12.6."""
    return f"cu{cuda.major}{cuda.minor}"


def cuda_of(variant: str) -> Version | None:
    """CUDA 12.6 for `cu126`; None for `cpu`."""
    digits = variant.removeprefix("cu")
    return Version(f"{digits[:-1]}.{digits[-1]}") if digits.isdigit() else None


def fitting_builds(needs: Needs) -> Iterator[Build]:
    """Official builds that run there, newest release first, best CUDA variant first.

    For GPUs only CUDA builds that the driver runs and that are known to have code for every one.
    """
    if needs.with_gpu and not _knows_the_gpus(needs):
        return
    for release in reversed(torch_releases()):
        if needs.python_version is not None and not _offered(
            release, needs.python_version, needs.free_threaded
        ):
            continue
        if needs.glibc_version is not None and needs.glibc_version < release.glibc_needed:
            continue
        if not needs.with_gpu:
            yield Build(release, "cpu")
            continue
        cudas = [cuda for name in release.cuda_variants if (cuda := cuda_of(name)) is not None]
        cudas.sort(key=lambda cuda: (_fully_supported(cuda, needs), cuda), reverse=True)
        for cuda in cudas:
            if _driver_serves(cuda, needs) and _has_code(release, cuda, needs):
                yield Build(release, variant_of(cuda))


def _has_code(release: TorchRelease, cuda: Version, needs: Needs) -> bool:
    """Whether the build is there for this CPU and known to have code for all the GPUs."""
    listed = architectures(release.version, cuda, architecture=needs.architecture)
    if listed is None:  # few releases have CUDA builds for other CPUs than x86_64
        return not needs.capabilities and needs.architecture == "x86_64"
    return all(_is_served(listed.archs, one, cuda) for one in needs.capabilities)


def _is_served(archs: tuple[str, ...], capability: str, cuda: Version) -> bool:
    """PTX alone does for a GPU that this CUDA knows: its cuBLAS and cuDNN have code for no later."""
    code = served_by(archs, capability, cuda=cuda)
    if code is None or code.startswith("sm_"):
        return code is not None
    known = capability_range(cuda)
    return known is not None and _number(capability) <= _number(known[1])


def _offered(release: TorchRelease, python_version: Version, free_threaded: bool) -> bool:
    if free_threaded:
        return f"{python_version.series}t" in release.python_freethreaded
    return python_version.series in release.python


def _driver_serves(cuda: Version, needs: Needs) -> bool:
    if needs.driver_version is None and needs.driver_cuda is None:
        return True
    return driver_runs(cuda, needs.driver_version, needs.driver_cuda, needs.windows)


def _knows_the_gpus(needs: Needs) -> bool:
    """Whether the driver's branch is not older than that of the first CUDA for each GPU."""
    if needs.driver_version is None:
        return True
    first = [first_driver(one, windows=needs.windows) for one in needs.capabilities]
    return all(it is None or needs.driver_version.major >= it.major for it in first)


def driver_runs(
    cuda: Version, driver_version: Version | None, driver_cuda: Version | None, windows: bool
) -> bool:
    """By the driver's version where a bound is published, else by the CUDA it says it runs."""
    needed = minimum_driver(cuda, windows=windows)
    if needed is not None and driver_version is not None:
        return driver_version >= needed
    return driver_cuda is not None and driver_cuda.major >= cuda.major


def _fully_supported(cuda: Version, needs: Needs) -> bool:
    own = toolkit_driver(cuda, windows=needs.windows)
    if own is not None and needs.driver_version is not None:
        return needs.driver_version >= own
    return needs.driver_cuda is not None and needs.driver_cuda >= cuda


def is_sure(build: Build) -> bool:
    """Whether this build was seen, not only announced."""
    sure = "cuda_variants" not in build.release.weak
    return sure or build.variant in ("cpu", variant_of(build.release.cuda_default))


def servable(needs: Needs) -> Needs:
    """The same, for the newest GPU alone where no official build ever had code for all of them."""
    if len(needs.capabilities) < 2:
        return needs
    anywhere = Needs(with_gpu=True, architecture=needs.architecture)
    newest_first = sorted(needs.capabilities, key=_number, reverse=True)
    for wanted in (needs.capabilities, *((one,) for one in newest_first)):
        if any(fitting_builds(anywhere._replace(capabilities=wanted))):
            return needs._replace(capabilities=wanted)
    return needs


def unserved(build: Build, gpus: tuple[Gpu, ...], *, architecture: str) -> tuple[Gpu, ...]:
    """The GPUs that this build has no code for, as far as both are known."""
    cuda = cuda_of(build.variant)
    if cuda is None:
        return ()
    listed = architectures(build.release.version, cuda, architecture=architecture)
    if listed is None:
        return ()
    return tuple(
        gpu
        for gpu in gpus
        if (capability := capability_of(gpu)) and not _is_served(listed.archs, capability, cuda)
    )


def first_driver(capability: str, *, windows: bool = False) -> Version | None:
    """The driver of the first CUDA toolkit that compiles for this capability; None if not known.

    An older driver does not know the GPU. A lower bound: some capabilities came later than
    their number says.
    """
    for toolkit in cuda_toolkits():
        known = capability_range(toolkit.version)
        if known is not None and _number(known[0]) <= _number(capability) <= _number(known[1]):
            return toolkit_driver(toolkit.version, windows=windows)
    return None


def _number(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
