"""Which libtorch download fits a machine, and why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from torchkit.advice.builds import (
    Build,
    Needs,
    capability_of,
    cuda_of,
    driver_runs,
    fitting_builds,
    is_for_other_gpus,
    is_sure,
    is_without_glibc,
    needs_of,
    servable,
    unserved,
)
from torchkit.knowledge.compat import (
    LibtorchZip,
    TorchRelease,
    libtorch_zip,
    minimum_driver,
    newest_torch,
    served_by,
    torch_release,
)
from torchkit.machine.facts import Facts, Gpu, Libtorch, Unknown
from torchkit.versions import Version, as_version

OLD_ABI_GLIBC = Version("2.17")
"""RHEL 7 and its kin: every gcc there, devtoolsets too, compiles with the old C++ ABI
(https://gcc.gnu.org/onlinedocs/libstdc++/manual/using_dual_abi.html, Red Hat's devtoolset notes)."""

FIRST_GCC_WITH_CXX11_ABI = 5
"""From gcc 5 on std::string is the new one by default (same manual)."""

GCC_FOR_STANDARD = {11: 5, 14: 5, 17: 7, 20: 10}
"""First gcc major whose -std=c++NN is complete enough for torch's headers (gcc's status page)."""


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

    None where there is no download (Linux on aarch64 or with musl, Jetson), where nothing fits,
    where torch is for GPUs of another maker, and where it is not known whether there is a GPU.
    """
    system = _system(facts)
    if system is None or isinstance(facts["gpus"], Unknown) or facts.known("jetson_model"):
        return None
    if is_without_glibc(facts) or is_for_other_gpus(facts):
        return None
    needs = servable(needs_of(facts)).on_any_python()._replace(glibc_version=None)
    glibc, gcc = facts.known("glibc_version"), facts.known("gcc_version")
    cxx11 = system != "linux" or uses_cxx11_abi(gcc, glibc)
    for build in fitting_builds(needs):
        found = libtorch_zip(
            build.release.version,
            build.variant,
            os=system,
            architecture=needs.architecture,
            cxx11=cxx11,
        )
        if found is None or found.known_bad or not is_sure(build):
            continue
        if glibc is None or found.glibc_needed is None or glibc >= found.glibc_needed:
            why = (
                *_for_which_gpu(build, facts, needs),
                *_why(found, facts),
                *_wanted_for_building(cuda_of(found.variant), build.release, facts),
            )
            return LibtorchAdvice(found, why)
    return None


def _system(facts: Facts) -> str | None:
    named: str | None = facts.known("os_system")
    return named or ("linux" if facts.known("glibc_version") is not None else None)


def _for_which_gpu(build: Build, facts: Facts, needs: Needs) -> Iterator[str]:
    """Why this variant: what GPU and driver are here, or why it is the one for the CPU."""
    cuda, driver = cuda_of(build.variant), needs.driver_version
    gpus: tuple[Gpu, ...] = facts.known("gpus") or ()
    if cuda is None:
        yield from _why_cpu(facts)
    elif driver is None and needs.driver_cuda is None:
        yield f"CUDA {cuda}: the newest release for the GPUs here"
        needed = minimum_driver(cuda, windows=needs.windows)
        asks = f"; it needs {needed} or newer" if needed is not None else ""
        yield f"the driver here is not known{asks}"
    else:
        named = f"driver {driver}" if driver is not None else "the driver"
        yield f"CUDA {cuda}: the newest release that {named} and the GPUs here run"
    left_out = unserved(build, gpus, architecture=needs.architecture)
    if left_out:
        names = " and ".join(dict.fromkeys(gpu.name for gpu in left_out))
        yield f"it has no code for {names}; no official build has code for all GPUs here"


def _why_cpu(facts: Facts) -> Iterator[str]:
    if facts.known("driver_version") is not None:
        yield "CPU: no GPU is in reach here"
        yield "with the GPUs in reach: run torchkit env again"
    elif facts.known("nvidia_devices_on_bus") or facts.known("is_container"):
        yield "CPU: no GPU is in reach here"
    else:
        yield "CPU: there is no NVIDIA GPU to use here"


def _why(found: LibtorchZip, facts: Facts) -> Iterator[str]:
    glibc, gcc = facts.known("glibc_version"), facts.known("gcc_version")
    if found.abi is not None:
        compiler = f"gcc {gcc} builds" if gcc is not None else "compilers build today"
        yield f"{'new' if found.abi == 'cxx11' else 'old'} C++ ABI, as {compiler}"
    if found.glibc_needed is not None and glibc is not None:
        yield f"needs glibc {found.glibc_needed}, here is {glibc}"
    if found.confidence != "high":
        yield f"the address follows PyTorch's naming and was not tried; confidence {found.confidence}"


def _wanted_for_building(
    cuda: Version | None, release: TorchRelease, facts: Facts
) -> Iterator[str]:
    """What this machine lacks to build against it: a newer g++, the CUDA toolkit it names."""
    gcc, nvcc = facts.known("gcc_version"), facts["nvcc_version"]
    needed = gcc_for_headers(release)
    if gcc is not None and gcc.major < needed:
        yield f"building against it takes g++ {needed} or newer, here is {gcc}"
    if cuda is None or isinstance(nvcc, Unknown):
        return
    if nvcc is None:
        yield f"building against it takes a CUDA {cuda} toolkit, and there is no nvcc here"
    elif nvcc.major != cuda.major or nvcc.release[:2] < cuda.release[:2]:
        yield f"building against it takes a CUDA {cuda} toolkit, here is nvcc {nvcc}"


def gcc_for_headers(release: TorchRelease) -> int:
    """The oldest gcc major that compiles a program with this release's headers."""
    by_standard = GCC_FOR_STANDARD.get(release.cxx_standard_headers, 0)
    return max(release.min_gcc_header_check or 0, by_standard)


def driver_serves(
    cuda: Version, driver_version: Version | None, driver_cuda: Version | None, *, windows: bool
) -> bool:
    """Whether the driver runs this CUDA, also through a forward-compatibility library."""
    if driver_cuda is not None and driver_cuda >= cuda:
        return True
    return driver_runs(cuda, driver_version, driver_cuda, windows)


def zip_address(
    libtorch: Libtorch, *, variant: str | None = None, cxx11: bool | None = None
) -> str | None:
    """The official download of the same release: of another variant, or of the other C++ ABI.

    None where there is none, where it is known to be bad, and for a build between releases.
    """
    version = as_version(libtorch.version)
    if version is None or version.is_prerelease or libtorch.variant is None:
        return None
    found = libtorch_zip(
        version,
        variant or libtorch.variant,
        os=libtorch.os_system or "linux",
        architecture=libtorch.architecture or "x86_64",
        cxx11=libtorch.cxx11_abi is not False if cxx11 is None else cxx11,
    )
    return None if found is None or found.known_bad else found.url


def quoted(path: str) -> str:
    """A path as a shell takes it, of Windows too."""
    if re.search(r"\\|^[A-Za-z]:", path):
        return f'"{path}"'
    return shlex.quote(path)


def unpacked(libtorch: Libtorch) -> str:
    """Its folder; of an archive, where it lies once that is unpacked as we say.

    What lies at an archive's root is unpacked into a folder `libtorch`.
    """
    if libtorch.kind == "folder":
        return libtorch.cmake_prefix or libtorch.path
    if libtorch.folder_inside is None:  # as it was told before that was a fact
        return "torch" if libtorch.kind == "wheel" else "libtorch"
    return libtorch.folder_inside or "libtorch"


def called(libtorch: Libtorch) -> str:
    """How a message names it: `libtorch 1.10.2+cu113 in /opt/libtorch`."""
    return f"libtorch {libtorch.version} in {libtorch.path}" if libtorch.version else libtorch.path


def shortly(libtorch: Libtorch) -> str:
    """The same for a headline: `libtorch 1.10.2+cu113`, or the name of the file."""
    name = libtorch.path.rstrip("/").rpartition("/")[2]
    return f"libtorch {libtorch.version}" if libtorch.version else name or libtorch.path


def installed_torch_is_one(facts: Facts) -> bool:
    """Whether the installed torch serves as the libtorch that this machine wants.

    Its ABI is the compiler's, its files are whole, what building against it takes is here (CMake
    stops at a CUDA torch without a toolkit), and on a machine with GPUs it has code for them.
    """
    version, cuda = facts.known("torch_version"), facts.known("torch_cuda")
    if not facts.known("torch_cmake_prefix") or facts.known("torch_problems") or version is None:
        return False
    abi = uses_cxx11_abi(facts.known("gcc_version"), facts.known("glibc_version"))
    if facts.known("torch_cxx11_abi") is not abi:
        return False
    if cuda is not None and facts.known("nvcc_version") is None:
        return False
    if any(_wanted_for_building(cuda, torch_release(version) or newest_torch(), facts)):
        return False
    gpus: tuple[Gpu, ...] = facts.known("gpus") or ()
    return not gpus or (cuda is not None and _runs_on(gpus, cuda, facts))


def _runs_on(gpus: tuple[Gpu, ...], cuda: Version, facts: Facts) -> bool:
    archs: tuple[str, ...] = facts.known("torch_archs") or ()
    wanted = [capability for gpu in gpus if (capability := capability_of(gpu))]
    return driver_runs(
        cuda,
        facts.known("driver_version"),
        facts.known("driver_cuda"),
        facts.known("is_wsl") is True or facts.known("os_system") == "windows",
    ) and all(served_by(archs, one, cuda=cuda) for one in wanted)
