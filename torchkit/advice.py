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
from torchkit.machine.facts import Companion, Facts, Gpu, Unknown
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
            if not _driver_runs(cuda, driver_version, driver_cuda, windows):
                continue
            listed = architectures(release.version, cuda, architecture=architecture)
            if listed is None and architecture != "x86_64":
                continue  # few releases have CUDA builds for other CPUs
            if listed is None or all(served_by(listed.archs, one) for one in wanted):
                yield Build(release, variant_of(cuda))


def _offered(release: TorchRelease, python_version: Version, free_threaded: bool) -> bool:
    if free_threaded:
        return f"{python_version.series}t" in release.python_freethreaded
    return python_version.series in release.python


def _driver_runs(
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


# --- lines to paste


FITTING_TORCH = "install a torch that fits this machine"
"""A fix for which the check runner puts `install_line`: so every check names the same build."""


def install_line(facts: Facts) -> str:
    """The pip line for the newest torch that runs on this machine, or a sentence if none does.

    Versions carry their variant ("+cu126"): without it pip leaves an installed build of the same
    release, for another CUDA or for the CPU, in its place. Installed torchvision and torchaudio
    come along, since they go with one torch.
    """
    jetson, gpus = facts.known("jetson_model"), facts["gpus"]
    if jetson:
        return f"install NVIDIA's own torch for this {jetson}: {JETSON_PAGE}"
    pip = "uv pip" if facts.known("torch_manager") == "uv" else "pip"
    if facts.known("os_system") == "macos":
        return f"{pip} install torch"  # one build for all; pip knows the newest for this macOS
    python = facts.known("python_version")
    architecture = facts.known("cpu_architecture") or "x86_64"
    with_gpu = isinstance(gpus, Unknown) or bool(gpus)
    builds = fitting_builds(
        driver_version=facts.known("driver_version") if with_gpu else None,
        driver_cuda=facts.known("driver_cuda") if with_gpu else None,
        capabilities=[gpu.capability for gpu in facts.known("gpus") or () if gpu.capability],
        python_version=python,
        free_threaded=facts.known("python_free_threaded") is True,
        glibc_version=facts.known("glibc_version"),
        architecture=architecture,
        windows=facts.known("is_wsl") is True or facts.known("os_system") == "windows",
    )
    for build in builds:
        names = _with_companions(
            build, facts.known("companions") or (), tagged=architecture == "x86_64"
        )
        if names is not None:
            return f"{pip} install {' '.join(names)} --index-url {WHEEL_INDEX}/{build.variant}"
    if python is not None and not any(python.series in it.python for it in torch_releases()):
        return f"make an environment with Python {usual_python()} and install torch there"
    return "no official torch build that we know fits this driver, GPU, Python and glibc together"


JETSON_PAGE = (
    "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/index.html"
)


def usual_python() -> str:
    """A Python that the newest torch has builds for: neither the oldest nor the newest."""
    offered = torch_releases()[-1].python
    return offered[len(offered) // 2]


def _with_companions(
    build: Build, companions: tuple[Companion, ...], *, tagged: bool
) -> list[str] | None:
    """torch and its companions as pip wants them; None where this variant has no companion.

    Wheels for other CPUs than x86_64 do not all carry the variant in their version.
    """
    tag = f"+{build.variant}" if tagged else ""
    names = [f"torch=={build.release.version}{tag}"]
    for one in companions:
        if one.name not in PAIRED:
            continue
        version, home = _companion_release(one.name, build.release)
        if home is None:
            continue
        if build.variant not in ("cpu", *home.cuda_variants):
            return None
        names.append(f"{one.name}=={version}{tag}")
    return names


PAIRED = ("torchvision", "torchaudio")
"""Companions with a release for every torch release; torchaudio's last one is for 2.11."""


def _companion_release(name: str, release: TorchRelease) -> tuple[str, TorchRelease | None]:
    """The companion's version for this torch, and the torch release it was built with.

    torchaudio 2.11 is the last, and uses the stable ABI: it goes with every later torch.
    """
    for older in reversed(torch_releases()):
        if older.version > release.version:
            continue
        fitting = companion_for(name, older.version)
        if fitting:
            stable = older.version == release.version or name == "torchaudio"
            return (fitting[-1], older) if stable else ("", None)
    return "", None


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


def companion_line(one: Companion, torch_version: Version) -> str:
    """What puts the release of a companion for this torch in place, and leaves torch alone.

    `--no-deps` and `--force-reinstall`: without them pip replaces torch, or takes a build of
    the same release for another CUDA for good.
    """
    again = "pip install --force-reinstall --no-deps"
    fitting = companion_for(one.name, torch_version)
    if fitting:
        return f"{again} {one.name}=={fitting[-1]}{_index(torch_version)}"
    if one.name in BUILT_ON_THE_SPOT:
        return f"{again} --no-build-isolation --no-cache-dir {one.name}"
    if one.name in PYG:
        return f"{again} {one.name} -f https://data.pyg.org/whl/torch-{torch_version}.html"
    wanted = f", or the torch it is for: torch{one.requires_torch}" if one.requires_torch else ""
    return f"install a {one.name} that is built for torch {torch_version.series}{wanted}"


BUILT_ON_THE_SPOT = ("flash-attn", "causal-conv1d", "mamba-ssm")
"""Their setup.py fetches the wheel for the torch it finds, or compiles against it."""

PYG = ("torch-scatter", "torch-sparse", "torch-cluster", "torch-spline-conv", "pyg-lib")
"""PyTorch Geometric's packages (https://pytorch-geometric.readthedocs.io, installation)."""


def driver_update(
    needed: str, *, is_wsl: bool | None | Unknown, is_container: bool | None | Unknown
) -> str:
    """Where the driver is updated, and to what: a container and WSL have none of their own."""
    if is_wsl is True:
        return f"on Windows, not in WSL: update the NVIDIA driver to {needed} or newer"
    place = "on the host: " if is_container is True else ""
    return f"{place}update the NVIDIA driver to {needed} or newer"


def driver_installation(os_name: str | None | Unknown) -> str:
    """How the driver is installed on this system."""
    name = os_name.lower() if isinstance(os_name, str) else ""
    for start, line in _DRIVER_LINES.items():
        if name.startswith(start):
            return line
    return "install the NVIDIA driver (https://www.nvidia.com/drivers), then reboot"


_DRIVER_LINES = {
    "ubuntu": "sudo ubuntu-drivers install   then reboot",
    "debian": "sudo apt install nvidia-driver   from non-free; then reboot",
}


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
    driver_cuda: Version | None = None,
    windows_driver: bool = False,
) -> LibtorchAdvice | None:
    """The newest official libtorch for this driver, these GPUs, this glibc and this compiler.

    None where there is no download: Linux on aarch64, or nothing that fits.
    """
    cxx11 = os_system != "linux" or uses_cxx11_abi(gcc_version, glibc_version)
    driver = driver_version if gpus else None
    for build in fitting_builds(
        driver_version=driver,
        driver_cuda=driver_cuda if driver is not None else None,
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
