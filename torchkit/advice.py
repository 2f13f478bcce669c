"""Which build of torch or libtorch fits a machine: pure functions of facts and knowledge.

Checks and commands share it, so that two fixes never contradict each other. Nothing is read
and nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torchkit.knowledge.compat import (
    LibtorchZip,
    TorchRelease,
    architectures,
    companion_for,
    libtorch_zip,
    minimum_driver,
    served_by,
    toolkit_driver,
    torch_release,
    torch_releases,
)
from torchkit.machine.facts import Gpu, Unknown
from torchkit.versions import Version

WHEEL_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own index of builds by CUDA version (https://pytorch.org/get-started/locally/)."""

OLD_ABI_GLIBC = Version("2.17")
"""RHEL 7 and its kin: every gcc there, devtoolsets too, compiles with the old C++ ABI
(https://gcc.gnu.org/onlinedocs/libstdc++/manual/using_dual_abi.html, Red Hat's devtoolset notes)."""

FIRST_GCC_WITH_CXX11_ABI = 5
"""From gcc 5 on std::string is the new one by default (same manual)."""


@dataclass(frozen=True)
class Build:
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
    capabilities: Iterable[str] = (),
    python_version: Version | None = None,
    glibc_version: Version | None = None,
    architecture: str = "x86_64",
    windows: bool = False,
) -> Iterator[Build]:
    """Official builds that run here, newest release first, best CUDA variant first.

    With a driver only CUDA builds that it runs and that have code for every GPU; without one the
    CPU builds.
    """
    wanted = tuple(capabilities)
    for release in reversed(torch_releases()):
        if python_version is not None and python_version.series not in release.python:
            continue
        if glibc_version is not None and glibc_version < release.glibc_needed:
            continue
        if driver_version is None:
            yield Build(release, "cpu")
            continue
        cudas = [cuda for name in release.cuda_variants if (cuda := cuda_of(name)) is not None]
        cudas.sort(
            key=lambda cuda: (_fully_supported(cuda, driver_version, windows), cuda), reverse=True
        )
        for cuda in cudas:
            needed = minimum_driver(cuda, windows=windows)
            if needed is None or driver_version < needed:
                continue
            listed = architectures(release.version, cuda, architecture=architecture)
            if listed is None or all(served_by(listed.archs, one) for one in wanted):
                yield Build(release, variant_of(cuda))


def _fully_supported(cuda: Version, driver_version: Version, windows: bool) -> bool:
    own = toolkit_driver(cuda, windows=windows)
    return own is not None and driver_version >= own


def install_line(
    *,
    driver_version: Version | None | Unknown,
    gpus: tuple[Gpu, ...] | None | Unknown,
    python_version: Version | None | Unknown,
    glibc_version: Version | None | Unknown,
) -> str:
    """The pip line for the newest torch that runs on this machine."""
    known_gpus = gpus if isinstance(gpus, tuple) else ()
    driver = driver_version if isinstance(driver_version, Version) and known_gpus else None
    build = next(
        fitting_builds(
            driver_version=driver,
            capabilities=[gpu.capability for gpu in known_gpus if gpu.capability],
            python_version=python_version if isinstance(python_version, Version) else None,
            glibc_version=glibc_version if isinstance(glibc_version, Version) else None,
        ),
        None,
    )
    if build is None:
        return (
            "pip install torch   (no official build that we know fits this driver, GPU and Python)"
        )
    newest = torch_releases()[-1]
    version = "" if build.release.version == newest.version else f"=={build.release.version}"
    return f"pip install torch{version} --index-url {WHEEL_INDEX}/{build.variant}"


def _index(torch_version: Version | None) -> str:
    """The option that names the index this torch came from; nothing for the default build."""
    local = torch_version.local if torch_version is not None else None
    if not local or not (local == "cpu" or local.startswith(("cu", "rocm", "xpu"))):
        return ""
    release = torch_release(torch_version) if torch_version is not None else None
    if release is not None and local == variant_of(release.cuda_default):
        return ""
    return f" --index-url {WHEEL_INDEX}/{local}"


def reinstall_line(torch_version: Version | None) -> str:
    """The pip line that puts the same torch in place again, with what it depends on."""
    if torch_version is None:
        return "pip install --force-reinstall torch"
    return f"pip install --force-reinstall torch=={torch_version.base}{_index(torch_version)}"


def companion_line(name: str, torch_version: Version) -> str:
    """The pip line for the companion release that goes with this torch."""
    fitting = companion_for(name, torch_version)
    if not fitting:
        return (
            f"pip install --force-reinstall {name}   (a version for torch {torch_version.series})"
        )
    return f"pip install {name}=={fitting[-1]}{_index(torch_version)}"


# --- libtorch


@dataclass(frozen=True)
class LibtorchAdvice:
    """The libtorch download that fits, why, and what is not certain about it."""

    zip: LibtorchZip
    why: tuple[str, ...]


def uses_cxx11_abi(gcc_version: Version | None, glibc_version: Version | None) -> bool:
    """Whether this system's g++ compiles with the new C++ ABI by default."""
    if glibc_version is not None and glibc_version <= OLD_ABI_GLIBC:
        return False
    return gcc_version is None or gcc_version.major >= FIRST_GCC_WITH_CXX11_ABI


def libtorch_advice(
    *,
    os_system: str,
    architecture: str,
    driver_version: Version | None,
    gpus: tuple[Gpu, ...],
    glibc_version: Version | None,
    gcc_version: Version | None,
    windows_driver: bool = False,
) -> LibtorchAdvice | None:
    """The newest official libtorch for this driver, these GPUs, this glibc and this compiler.

    None where there is no download: Linux on aarch64, or nothing that fits.
    """
    cxx11 = os_system != "linux" or uses_cxx11_abi(gcc_version, glibc_version)
    driver = driver_version if gpus else None
    for build in fitting_builds(
        driver_version=driver,
        capabilities=[gpu.capability for gpu in gpus if gpu.capability],
        architecture=architecture,
        windows=windows_driver or os_system == "windows",
    ):
        found = libtorch_zip(
            build.release.version,
            build.variant,
            os=os_system,
            architecture=architecture,
            cxx11=cxx11,
        )
        if found is None or found.known_bad or not _loads_here(found, glibc_version):
            continue
        why = _why(found, driver, gcc_version, glibc_version, cxx11)
        return LibtorchAdvice(found, (*why, *_compiler_wanted(gcc_version, build.release)))
    return None


def _loads_here(found: LibtorchZip, glibc_version: Version | None) -> bool:
    if glibc_version is None or found.glibc_needed is None:
        return True
    return glibc_version >= found.glibc_needed


GCC_FOR_CXX20 = 10
"""First gcc with -std=c++20, which torch's headers ask for from 2.14 on (gcc's status page)."""


def _compiler_wanted(gcc_version: Version | None, release: TorchRelease) -> tuple[str, ...]:
    """What to say where this g++ is too old for the headers of that release."""
    if gcc_version is None:
        return ()
    needed = release.min_gcc_header_check or 0
    if release.cxx_standard_headers >= 20:
        needed = max(needed, GCC_FOR_CXX20)
    if gcc_version.major >= needed:
        return ()
    return (f"building against it takes g++ {needed} or newer, here is {gcc_version}",)


def _why(
    found: LibtorchZip,
    driver: Version | None,
    gcc_version: Version | None,
    glibc_version: Version | None,
    cxx11: bool,
) -> Iterator[str]:
    cuda = cuda_of(found.variant)
    if cuda is None:
        yield "CPU: there is no NVIDIA GPU to use here"
    else:
        yield f"CUDA {cuda}: the newest release that driver {driver} and the GPUs here run"
    if found.abi in ("cxx11", "pre-cxx11"):
        compiler = (
            f"gcc {gcc_version} builds" if gcc_version is not None else "compilers build today"
        )
        yield f"{'new' if cxx11 else 'old'} C++ ABI, as {compiler}"
    if found.glibc_needed is not None and glibc_version is not None:
        yield f"needs glibc {found.glibc_needed}, here is {glibc_version}"
    if found.confidence != "high":
        yield f"the address follows PyTorch's naming and was not tried; confidence {found.confidence}"
