"""Which libtorch download fits a machine, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torchkit.advice.builds import Build, cuda_of, driver_runs, fitting_builds, is_sure
from torchkit.knowledge.compat import LibtorchZip, TorchRelease, libtorch_zip, served_by
from torchkit.machine.facts import Facts, Gpu, Unknown
from torchkit.versions import Version

OLD_ABI_GLIBC = Version("2.17")
"""RHEL 7 and its kin: every gcc there, devtoolsets too, compiles with the old C++ ABI
(https://gcc.gnu.org/onlinedocs/libstdc++/manual/using_dual_abi.html, Red Hat's devtoolset notes)."""

FIRST_GCC_WITH_CXX11_ABI = 5
"""From gcc 5 on std::string is the new one by default (same manual)."""

GCC_FOR_CXX20 = 10
"""First gcc with -std=c++20, which torch's headers ask for from 2.14 on (gcc's status page)."""


class LibtorchAdvice(NamedTuple):
    """The libtorch download that fits, and why; what is uncertain is among the reasons."""

    zip: LibtorchZip
    why: tuple[str, ...]


def uses_cxx11_abi(gcc_version: Version | None, glibc_version: Version | None) -> bool:
    """Whether this system's g++ compiles with the new C++ ABI by default."""
    if glibc_version is not None and glibc_version <= OLD_ABI_GLIBC:
        return False
    return gcc_version is None or gcc_version.major >= FIRST_GCC_WITH_CXX11_ABI


def libtorch_advice(facts: Facts) -> LibtorchAdvice | None:
    """The newest official libtorch for this driver, these GPUs, this glibc and this compiler.

    None where there is no download (Linux on aarch64, Jetson), where nothing fits, and where it is
    not known whether there is a GPU to build for.
    """
    system = _system(facts)
    if system is None or isinstance(facts["gpus"], Unknown) or facts.known("jetson_model"):
        return None
    glibc, gcc = facts.known("glibc_version"), facts.known("gcc_version")
    cxx11 = system != "linux" or uses_cxx11_abi(gcc, glibc)
    for build in _builds(facts, windows=system == "windows"):
        found = libtorch_zip(
            build.release.version,
            build.variant,
            os=system,
            architecture=facts.known("cpu_architecture") or "x86_64",
            cxx11=cxx11,
        )
        if found is None or found.known_bad or not is_sure(build):
            continue
        if glibc is None or found.glibc_needed is None or glibc >= found.glibc_needed:
            why = (*_why(found, facts), *_wanted_for_building(found, build.release, facts))
            return LibtorchAdvice(found, why)
    return None


def _system(facts: Facts) -> str | None:
    named: str | None = facts.known("os_system")
    return named or ("linux" if facts.known("glibc_version") is not None else None)


def _builds(facts: Facts, *, windows: bool) -> Iterator[Build]:
    gpus: tuple[Gpu, ...] = facts.known("gpus") or ()
    return fitting_builds(
        driver_version=facts.known("driver_version") if gpus else None,
        driver_cuda=facts.known("driver_cuda") if gpus else None,
        capabilities=[gpu.capability for gpu in gpus if gpu.capability],
        architecture=facts.known("cpu_architecture") or "x86_64",
        windows=windows or facts.known("is_wsl") is True,
    )


def _why(found: LibtorchZip, facts: Facts) -> Iterator[str]:
    cuda, driver = cuda_of(found.variant), facts.known("driver_version")
    glibc, gcc = facts.known("glibc_version"), facts.known("gcc_version")
    if cuda is None:
        yield "CPU: there is no NVIDIA GPU to use here"
    else:
        named = f"driver {driver}" if driver is not None else "the driver"
        yield f"CUDA {cuda}: the newest release that {named} and the GPUs here run"
    if found.abi is not None:
        compiler = f"gcc {gcc} builds" if gcc is not None else "compilers build today"
        yield f"{'new' if found.abi == 'cxx11' else 'old'} C++ ABI, as {compiler}"
    if found.glibc_needed is not None and glibc is not None:
        yield f"needs glibc {found.glibc_needed}, here is {glibc}"
    if found.confidence != "high":
        yield f"the address follows PyTorch's naming and was not tried; confidence {found.confidence}"


def _wanted_for_building(found: LibtorchZip, release: TorchRelease, facts: Facts) -> Iterator[str]:
    """What this machine lacks to build against it: a newer g++, the CUDA toolkit it names."""
    gcc, nvcc, cuda = facts.known("gcc_version"), facts["nvcc_version"], cuda_of(found.variant)
    needed = release.min_gcc_header_check or 0
    if release.cxx_standard_headers >= 20:
        needed = max(needed, GCC_FOR_CXX20)
    if gcc is not None and gcc.major < needed:
        yield f"building against it takes g++ {needed} or newer, here is {gcc}"
    if cuda is None or isinstance(nvcc, Unknown):
        return
    if nvcc is None:
        yield f"building against it takes a CUDA {cuda} toolkit, and there is no nvcc here"
    elif nvcc.major != cuda.major or nvcc.release[:2] < cuda.release[:2]:
        yield f"building against it takes a CUDA {cuda} toolkit, here is nvcc {nvcc}"


def installed_torch_is_one(facts: Facts) -> bool:
    """Whether the installed torch serves as the libtorch that this machine wants.

    Its ABI is the compiler's, its files are whole, and on a machine with GPUs it has code for them.
    """
    if not facts.known("torch_cmake_prefix") or facts.known("torch_problems"):
        return False
    abi = uses_cxx11_abi(facts.known("gcc_version"), facts.known("glibc_version"))
    if facts.known("torch_cxx11_abi") is not abi:
        return False
    gpus: tuple[Gpu, ...] = facts.known("gpus") or ()
    if not gpus:
        return True
    archs, cuda = facts.known("torch_archs"), facts.known("torch_cuda")
    wanted = [gpu.capability for gpu in gpus if gpu.capability]
    return (
        cuda is not None
        and driver_runs(
            cuda,
            facts.known("driver_version"),
            facts.known("driver_cuda"),
            facts.known("is_wsl") is True or facts.known("os_system") == "windows",
        )
        and all(served_by(archs or (), one, cuda=cuda) for one in wanted)
    )
