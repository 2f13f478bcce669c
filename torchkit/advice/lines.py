"""Lines to paste: pip lines for torch and its companions, drivers, compilers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torchkit.advice.builds import (
    JETSON_CAPABILITIES,
    Build,
    Needs,
    capability_of,
    cuda_of,
    first_driver,
    fitting_builds,
    is_for_other_gpus,
    is_sure,
    is_without_glibc,
    needs_of,
    servable,
    unserved,
)
from torchkit.knowledge.compat import (
    TorchRelease,
    companion_for,
    companion_releases,
    minimum_driver,
    torch_release,
    torch_releases,
)
from torchkit.machine.facts import Companion, Facts, Gpu, Unknown
from torchkit.versions import Version, as_version

WHEEL_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own index of builds by CUDA version (https://pytorch.org/get-started/locally/)."""

FITTING_TORCH = "install a torch that fits this machine"
"""A fix for which the check runner puts `install_line`: so every check names the same build."""

FITTING_LIBTORCH = "download a libtorch that fits this machine"
"""The same for a libtorch: `libtorch_line` of advice/libtorch.py is put in its place."""

JETSON_PAGE = (
    "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/index.html"
)

START_PAGE = "https://pytorch.org/get-started/locally/"


def fitted(fix: Sequence[str], facts: Facts) -> tuple[str, ...]:
    """What a check says is to be done, for this machine: `install_line` for `FITTING_TORCH`, and
    every pip line for the examined interpreter."""
    found: list[str] = []
    for text in fix:
        if text == FITTING_LIBTORCH:
            found.append(_libtorch_line(facts))
            continue
        is_asked = text == FITTING_TORCH
        line = install_line(facts) if is_asked else for_this_python(text, facts)
        told = is_asked and _UPDATE in line and any(_UPDATE in other for other in fix)
        if line not in found and not told:
            found.append(line)
    return tuple(found)


def _libtorch_line(facts: Facts) -> str:
    from torchkit.advice.libtorch import libtorch_advice

    advice = libtorch_advice(facts)
    if advice is not None:
        return f"download instead: {advice.zip.url}"
    return f"take a torch wheel as the libtorch, none is published for here: {install_line(facts)}"


def install_line(facts: Facts) -> str:
    """The pip line for the newest torch that runs on this machine, or a sentence if none does.

    Versions carry their variant ("+cu126"): without it pip leaves an installed build of the same
    release, for another CUDA or for the CPU, in its place. Installed torchvision and torchaudio
    come along, since they go with one torch.
    """
    elsewhere = _not_from_the_index(facts)
    if elsewhere is not None:
        return elsewhere
    if facts.known("os_system") == "macos":  # one build; pip knows the newest for this macOS
        return for_this_python("pip install torch", facts)
    needs = servable(needs_of(facts))
    for companions in (facts.known("companions") or (), ()):
        line = _pip_line(needs, companions, facts)
        if line is not None:
            return for_this_python(line, facts)
    return _what_is_in_the_way(needs, facts)


def _not_from_the_index(facts: Facts) -> str | None:
    jetson = facts.known("jetson_model")
    if jetson:
        return f"install NVIDIA's own torch for this {jetson}: {JETSON_PAGE}"
    if is_without_glibc(facts):
        image = f"python:{usual_python()}-slim"
        return f"take an image with glibc, e.g. {image}: no official torch build runs on musl"
    if is_for_other_gpus(facts) and not facts.known("gpus"):
        maker = "XPU" if facts.known("torch_build") == "xpu" else "ROCm"
        return f"install a torch for {maker} that is built for this Python: {START_PAGE}"
    return None


def _pip_line(needs: Needs, companions: tuple[Companion, ...], facts: Facts) -> str | None:
    for build in fitting_builds(needs):
        tagged = needs.architecture == "x86_64"
        names = _with_companions(build, companions, tagged=tagged) if is_sure(build) else None
        if names is None:
            continue
        line = f"pip install {' '.join(names)} --index-url {WHEEL_INDEX}/{build.variant}"
        left_out = unserved(build, facts.known("gpus") or (), architecture=needs.architecture)
        if left_out:  # three spaces part a remark from a command
            return f"{line}   no official build serves {_names(left_out)} too"
        return line
    return None


def _names(gpus: Sequence[Gpu]) -> str:
    return " and ".join(dict.fromkeys(gpu.name for gpu in gpus))


def _what_is_in_the_way(needs: Needs, facts: Facts) -> str:
    """What to do where no build fits: the one thing that, changed, lets a build fit."""
    build = next(_sure_builds(needs.on_any_python()), None)
    if build is not None:
        python = f"{python_for(build.release)}{', not free-threaded,' * needs.free_threaded}"
        return f"make an environment with Python {python} and install torch there"
    gpus: tuple[Gpu, ...] = facts.known("gpus") or ()
    if any(capability in JETSON_CAPABILITIES for capability in needs.capabilities):
        return f"install NVIDIA's own torch for this {gpus[0].name}: {JETSON_PAGE}"
    drivers = [
        needed
        for build in _sure_builds(needs.with_any_driver().on_any_python())
        if (needed := _driver_for(build, windows=needs.windows)) is not None
    ]
    if drivers:
        return driver_update(
            str(min(drivers)),
            is_wsl=facts["is_wsl"],
            is_container=facts["is_container"],
            gpus=gpus,
            os_system=facts["os_system"],
        )
    build = next(_sure_builds(needs.on_any_python()._replace(glibc_version=None)), None)
    if build is not None:
        return (
            f"work where glibc is {build.release.glibc_needed} or newer, e.g. in a container: "
            f"no official torch build for these GPUs runs on glibc {needs.glibc_version}"
        )
    named = f" has code for {_names(gpus)}" if gpus else " fits this machine"
    return f"use the CPU, or build torch from source: no official build that we know{named}"


def _sure_builds(needs: Needs) -> Iterator[Build]:
    return (build for build in fitting_builds(needs) if is_sure(build))


def _driver_for(build: Build, *, windows: bool) -> Version | None:
    cuda = cuda_of(build.variant)
    return None if cuda is None else minimum_driver(cuda, windows=windows)


def usual_python() -> str:
    """A Python that the newest torch has builds for: neither the oldest nor the newest."""
    offered = torch_releases()[-1].python
    return offered[len(offered) // 2]


def python_for(release: TorchRelease) -> str:
    """The newest Python that this release has builds for, up to the usual one."""
    usual = Version(usual_python())
    offered = [python for python in release.python if Version(python) <= usual]
    return max(offered or release.python, key=Version)


_PIP = re.compile(r"(?<![\w/.-])(?<!-m )(?:uv )?pip (install|uninstall)\b")
"""pip called by its bare name, at the start of a line or within one."""


def for_this_python(text: str, facts: Facts) -> str:
    """The same fix with its pip commands given to the examined interpreter.

    Plain `pip` stays where a shell's pip is that interpreter's, and where it is not known (a saved
    machine). A Python that refuses pip (PEP 668) gets a virtual environment of its own first.
    """
    executable: str | None = facts.known("python_executable")
    if _PIP.search(text) is None:
        return text
    named = f'"{executable}"' if executable and " " in executable else executable
    is_ours: bool | None = facts.known("python_is_active")
    if "uv" in (facts.known("torch_manager"), facts.known("python_manager")):
        option = f" --python {named}" if named and is_ours is not None else ""
        text = text.replace("uninstall -y ", "uninstall ")  # uv does not ask
        return _PIP.sub(lambda found: f"uv pip {found[1]}{option}", text)
    if facts.known("python_externally_managed") is True:
        return _in_an_environment(text, named or "python3", facts)
    if named and is_ours is False:
        return _PIP.sub(lambda found: f"{named} -m pip {found[1]}", text)
    return text


def _in_an_environment(text: str, python: str, facts: Facts) -> str:
    """A torch goes into an environment of its own; what belongs to one that is here, beside it."""
    if "pip uninstall" in text or not re.search(r" torch(?![\w-])", text):
        return _PIP.sub(lambda it: f"{python} -m pip {it[1]} --break-system-packages", text)
    folder = r".venv\Scripts" if facts.known("os_system") == "windows" else ".venv/bin"
    inside = _PIP.sub(lambda found: f"{folder}/pip {found[1]}", text)
    if inside.startswith("then "):
        return inside
    return f"make a virtual environment first: {python} -m venv .venv && {inside}"


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
        version, home = _companion_release(one.name, build.release.version)
        if home is None:
            continue
        if build.variant not in ("cpu", *home.cuda_variants):
            return None
        names.append(f"{one.name}=={version}{tag}")
    return names


PAIRED = ("torchvision", "torchaudio")
"""Companions with a release for every torch release; torchaudio's last one is for 2.11."""


def _companion_release(name: str, torch_version: Version) -> tuple[str, TorchRelease | None]:
    """The companion's version for this torch, and the torch release it was built with.

    torchaudio 2.11 is the last, and uses the stable ABI: it goes with every later torch.
    """
    fitting = companion_for(name, torch_version)
    if fitting:
        return fitting[-1], torch_release(torch_version) or _newest_of_series(torch_version)
    made = companion_releases(name)
    if name != "torchaudio" or torch_version.is_prerelease or not made:
        return "", None
    last = Version(list(made)[-1])
    return (made[str(last)][-1], torch_release(last)) if torch_version > last else ("", None)


def _newest_of_series(torch_version: Version) -> TorchRelease | None:
    releases = reversed(torch_releases())
    return next((it for it in releases if it.version.series == torch_version.series), None)


def _index(torch_version: Version, home: TorchRelease | None = None) -> str:
    """The option that names the index this torch came from; nothing where its tag names none.

    Also for the default build: PyPI has another one for Windows than for Linux. A companion from
    an older release, its home, may have no build for this very CUDA, but one of its major.
    """
    local = torch_version.local or ""
    if not (local == "cpu" or local.startswith(("cu", "rocm", "xpu"))):
        return ""
    if torch_version.is_devrelease:
        return f" --pre --index-url {WHEEL_INDEX}/nightly/{local}"
    if home is not None and local != "cpu":
        variants = (*home.cuda_variants, *(f"rocm{it}" for it in home.rocm_variants))
        near = [it for it in variants if _major_of(it) == _major_of(local)]
        local = local if local in variants else max(near, default=local)
    return f" --index-url {WHEEL_INDEX}/{local}"


def _major_of(variant: str) -> str:
    """`cu13` of `cu130`, `rocm7` of `rocm7.2`."""
    return variant.partition(".")[0] if "." in variant else variant[:-1]


def reinstall_line(torch_version: Version | None) -> str:
    """The pip line that puts the same torch in place again, with what it depends on."""
    if torch_version is None:
        return "pip install --force-reinstall torch"
    if torch_version.is_prerelease:  # a nightly, NVIDIA's own, a build from source
        return f"install torch {torch_version} again from where it came from"
    return f"pip install --force-reinstall torch=={torch_version.base}{_index(torch_version)}"


def companion_lines(companions: Sequence[Companion], torch_version: Version) -> list[str]:
    """What puts the companions' releases for this torch in place, and leaves torch alone.

    One step for all of one index, torchvision and torchaudio together. `--no-deps` and
    `--force-reinstall`: without them pip replaces torch, or leaves a build of the same release
    for another CUDA.
    """
    again = "pip install --force-reinstall --no-deps"
    by_index: dict[str, list[str]] = {}
    steps: list[str] = []
    for one in companions:
        version, home = _companion_release(one.name, torch_version)
        if version:
            by_index.setdefault(_index(torch_version, home), []).append(f"{one.name}=={version}")
        elif one.name in BUILT_ON_THE_SPOT:
            steps.append(f"{again} --no-build-isolation --no-cache-dir {one.name}")
        elif one.name in PYG:
            steps.append(
                f"{again} {one.name} -f https://data.pyg.org/whl/torch-{torch_version}.html"
            )
        elif _is_on_the_index(one, torch_version):
            by_index.setdefault(_index(torch_version), []).append(one.name)
        else:
            asked = f"; this one is for torch{one.requires_torch}" if _is_bound(one) else ""
            steps.append(
                f"install the {one.name} that is built for torch {torch_version.series}{asked}"
            )
    steps = [f"{again} {' '.join(names)}{index}" for index, names in by_index.items()] + steps
    return [step if number == 0 else f"then {step}" for number, step in enumerate(steps)]


def _is_bound(one: Companion) -> bool:
    """Whether its metadata names the newest torch that it goes with."""
    return re.search(r"==|~=|<", one.requires_torch or "") is not None


def _is_on_the_index(one: Companion, torch_version: Version) -> bool:
    """Whether the newest release there goes with this torch."""
    if one.name in BY_CUDA:
        is_cuda = (torch_version.local or "").startswith("cu")
        return is_cuda and torch_version >= BY_CUDA[one.name]
    return one.name in BY_VARIANT and not one.requires_torch


BY_CUDA = {"xformers": Version("2.10")}
"""Companions that PyTorch's indexes have for each CUDA, none for the CPU, and the first torch that
their newest releases go with, as with every later one (xformers' README, "Installing xFormers")."""

BY_VARIANT = ("torchcodec", "torchao", "torchrec", "fbgemm-gpu")
"""Companions that PyTorch's indexes have too, a build for each CUDA and one for the CPU; which
release goes with which torch is not told by their metadata."""

BUILT_ON_THE_SPOT = ("flash-attn", "causal-conv1d", "mamba-ssm")
"""Their setup.py fetches the wheel for the torch it finds, or compiles against it."""

PYG = ("torch-scatter", "torch-sparse", "torch-cluster", "torch-spline-conv", "pyg-lib")
"""PyTorch Geometric's packages (https://pytorch-geometric.readthedocs.io, installation)."""

_UPDATE = "update the NVIDIA driver"


def driver_update(
    needed: str,
    *,
    is_wsl: bool | None | Unknown,
    is_container: bool | None | Unknown,
    gpus: Sequence[Gpu] | None | Unknown = (),
    os_system: str | None | Unknown = None,
) -> str:
    """Where the driver is updated, and to what: a container and WSL have none of their own.

    `needed` is a version, or words for one. A driver that is older than the first CUDA for one of
    the GPUs does not know that GPU: then it is the driver of that CUDA.
    """
    windows = is_wsl is True or os_system == "windows"
    bounds = [as_version(needed)] if as_version(needed) is not None else []
    if bounds and isinstance(gpus, Sequence):
        capabilities = [capability for gpu in gpus if (capability := capability_of(gpu))]
        bounds += [first_driver(one, windows=windows) for one in capabilities]
        needed = str(max(it for it in bounds if it is not None))
    if is_wsl is True:
        return f"on Windows, not in WSL: {_UPDATE} to {needed} or newer"
    place = "on the host: " if is_container is True else ""
    return f"{place}{_UPDATE} to {needed} or newer"


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
