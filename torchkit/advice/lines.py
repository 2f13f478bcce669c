"""Lines to paste: pip lines for torch and its companions, drivers, compilers."""

from __future__ import annotations

from collections.abc import Sequence

from torchkit.advice.builds import Build, fitting_builds, is_sure
from torchkit.knowledge.compat import TorchRelease, companion_for, torch_releases
from torchkit.machine.facts import Companion, Facts, Unknown
from torchkit.versions import Version

WHEEL_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own index of builds by CUDA version (https://pytorch.org/get-started/locally/)."""

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
        if not is_sure(build):
            continue
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


def _index(torch_version: Version) -> str:
    """The option that names the index this torch came from; nothing where its tag names none.

    Also for the default build: PyPI has another one for Windows than for Linux.
    """
    local = torch_version.local or ""
    is_variant = local == "cpu" or local.startswith(("cu", "rocm", "xpu"))
    return f" --index-url {WHEEL_INDEX}/{local}" if is_variant else ""


def reinstall_line(torch_version: Version | None) -> str:
    """The pip line that puts the same torch in place again, with what it depends on."""
    if torch_version is None:
        return "pip install --force-reinstall torch"
    if torch_version.is_prerelease:  # a nightly, NVIDIA's own, a build from source
        return f"install torch {torch_version} again from where it came from"
    return f"pip install --force-reinstall torch=={torch_version.base}{_index(torch_version)}"


def companion_lines(companions: Sequence[Companion], torch_version: Version) -> list[str]:
    """What puts the companions' releases for this torch in place, and leaves torch alone.

    One step each, torchvision and torchaudio together. `--no-deps` and `--force-reinstall`:
    without them pip replaces torch, or leaves a build of the same release for another CUDA.
    """
    again = "pip install --force-reinstall --no-deps"
    pinned = [
        f"{one.name}=={fitting[-1]}"
        for one in companions
        if (fitting := companion_for(one.name, torch_version))
    ]
    steps = [f"{again} {' '.join(pinned)}{_index(torch_version)}"] if pinned else []
    for one in companions:
        if companion_for(one.name, torch_version):
            continue
        if one.name in BUILT_ON_THE_SPOT:
            steps.append(f"{again} --no-build-isolation --no-cache-dir {one.name}")
        elif one.name in PYG:
            steps.append(
                f"{again} {one.name} -f https://data.pyg.org/whl/torch-{torch_version}.html"
            )
        else:
            asked = f"; this one is for torch{one.requires_torch}" if one.requires_torch else ""
            steps.append(
                f"install the {one.name} that is built for torch {torch_version.series}{asked}"
            )
    return [step if number == 0 else f"then {step}" for number, step in enumerate(steps)]


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


def compiler_installation(gcc: int, os_name: str | None | Unknown, *, for_nvcc: bool) -> str:
    """How this major of g++ is installed beside the present one, and named to builds.

    CC and CXX are what torch's cpp_extension takes, also for nvcc; CUDAHOSTCXX is CMake's.
    """
    name = os_name.lower() if isinstance(os_name, str) else ""
    named = f"export CC=gcc-{gcc} CXX=g++-{gcc}" + (f" CUDAHOSTCXX=g++-{gcc}" if for_nvcc else "")
    if name.startswith(("debian", "ubuntu")):
        return f"sudo apt install g++-{gcc} && {named}"
    if name.startswith(_WITH_TOOLSETS):
        return f"sudo dnf install gcc-toolset-{gcc} && source /opt/rh/gcc-toolset-{gcc}/enable"
    return f"install g++ {gcc}, then: {named}"


_WITH_TOOLSETS = ("red hat", "rocky", "almalinux", "oracle", "centos stream")
"""RHEL 8 and its kin, whose other compilers are called gcc-toolset."""
