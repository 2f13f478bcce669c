"""A compiled package has no GPU code that a GPU of this machine runs.

## What it looks at
The compute capability of each GPU, and the architectures in the fat binaries of every installed
module and library that was built against torch, and of those given with `--extension`.

Compiled code (sm_86) runs on the same major version from its minor version on, PTX (compute_86)
is compiled at run time for anything newer; sm_90a runs on 9.0 alone. A package may have files for
one kind of GPU only, so its files are judged together. Where all its code is of that sort (sm_90a,
sm_100f), it is an extra that the package takes on that GPU only.

## Why it matters
The module loads and torch itself runs. The first operator of that package dies with "no kernel
image is available for execution on the device".

## What to do
Compile the package for this GPU (TORCH_CUDA_ARCH_LIST says for which), with a CUDA toolkit that
knows it, or take a newer release that has code for it.

## References
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#binary-compatibility
- https://docs.pytorch.org/docs/stable/cpp_extension.html
- https://github.com/ostris/ai-toolkit/issues/475
- https://github.com/thomasbrandon/mish-cuda/issues/10
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torchkit.advice.extension_cures import rebuild_line, source_line
from torchkit.advice.extensions import (
    GOES_ON_WITHOUT,
    by_package,
    files,
    joined,
    named,
    short,
)
from torchkit.advice.lines import FITTING_TORCH, PAIRED
from torchkit.knowledge.compat import (
    cuda_toolkits,
    doubtfully_served_by,
    gpu_capability,
    served_by,
)
from torchkit.machine.facts import Extension, Gpu, Unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Verdict,
    could_not_look,
    does_not_apply,
    fail,
    info,
    ok,
    warn,
)
from torchkit.versions import Version, as_version

AREA = "packages"

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
PTX_TOO_NEW = "CUDA error: the provided PTX was compiled with an unsupported toolchain."

_FORCED = {
    "flash-attn": "FLASH_ATTENTION_FORCE_BUILD=TRUE",
    "causal-conv1d": "CAUSAL_CONV1D_FORCE_BUILD=TRUE",
    "mamba-ssm": "MAMBA_FORCE_BUILD=TRUE",
}
"""Their setup.py fetches a wheel unless it is told to build, for GPUs that it chooses itself."""


class Machine(NamedTuple):
    """The GPUs whose capability is known, in their order, and what runs and builds for them."""

    gpus: tuple[tuple[int, Gpu, str], ...]
    torch_cuda: Version | None
    driver_cuda: Version | None
    nvcc_version: Version | None


def judge(
    extensions: tuple[Extension, ...],
    gpus: tuple[Gpu, ...],
    torch_cuda: Version | None | Unknown,
    driver_cuda: Version | None | Unknown,
    nvcc_version: Version | None | Unknown,
) -> Verdict | tuple[Verdict, ...]:
    if not gpus:
        return does_not_apply("there is no NVIDIA GPU to run on")
    loading = [it for it in extensions if it.error is None and _cuda_archs([it])]
    if not loading:
        return does_not_apply("no compiled module that loads has code for NVIDIA GPUs")
    told = [
        (number, gpu, capability)
        for number, gpu in enumerate(gpus)
        if (capability := gpu.capability or gpu_capability(gpu.name))
    ]
    if not told:
        return could_not_look(f"the compute capability of {gpus[0].name} is not known")
    machine = Machine(tuple(told), *map(_value, (torch_cuda, driver_cuda, nvcc_version)))
    packages = by_package(loading)
    wrong = [verdict for package in packages if (verdict := _judged(package, machine))]
    if wrong:
        return tuple(wrong)
    names = [named(package[0]) for package in packages]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ok(
        f"{joined(names[:3])}{more} ha{'s' if len(names) == 1 else 've'} code for "
        f"{joined(sorted({gpu.name for _, gpu, _ in told}))}"
    )


def _value(fact: Version | None | Unknown) -> Version | None:
    return fact if isinstance(fact, Version) else None


def _judged(package: Sequence[Extension], machine: Machine) -> Verdict | None:
    """What is wrong with the files of one package; None when all GPUs are served."""
    archs, cuda = _cuda_archs(package), _cuda_of(package) or machine.torch_cuda
    serving = {
        number: served_by(archs, capability, cuda=cuda) for number, _, capability in machine.gpus
    }
    unserved = [number for number, code in serving.items() if code is None]
    if unserved and all(map(_is_for_one_gpu, archs)):
        return _for_other_gpus(package, machine, unserved)
    if unserved:
        return _unserved(package, machine, unserved, cuda)
    for number, gpu, _ in machine.gpus:
        code = serving[number] or ""
        if code.startswith("compute") and _is_too_new(package, code, machine.driver_cuda):
            return _ptx_too_new(package, machine, gpu)
    return _partly_served(package, machine, cuda)


def _is_for_one_gpu(arch: str) -> bool:
    """Code that uses what one GPU or its family alone has: its package asks for the GPU first."""
    return arch.endswith(("a", "f"))


def _for_other_gpus(
    package: Sequence[Extension], machine: Machine, numbers: Sequence[int]
) -> Verdict:
    """Kernels that are optional, as torchao's for Hopper: nothing is wrong without them."""
    gpu = next(gpu for number, gpu, _ in machine.gpus if number in numbers)
    archs = " ".join(_cuda_archs(package))
    return info(
        f"the kernels of {named(package[0])} are for GPUs of one kind alone, {gpu.name} is another",
        evidence=[Evidence("found", archs, files(package))],
    )


def _cuda_archs(package: Iterable[Extension]) -> tuple[str, ...]:
    """The code for NVIDIA's GPUs in any of these files."""
    archs = dict.fromkeys(arch for one in package for arch in one.archs or ())
    return tuple(arch for arch in archs if arch.startswith(("sm_", "compute_")))


def _cuda_of(package: Iterable[Extension]) -> Version | None:
    """The oldest CUDA that one of these files is known to be built with."""
    return min(
        (cuda for one in package if (cuda := as_version(one.built_for_cuda)) is not None),
        default=None,
    )


def _unserved(
    package: Sequence[Extension], machine: Machine, numbers: Sequence[int], cuda: Version | None
) -> Verdict:
    gpu, capability = next(
        (gpu, capability) for number, gpu, capability in machine.gpus if number == numbers[0]
    )
    archs = _cuda_archs(package)
    what = package[0].package or short(package[0].path)
    served = [(number, it) for number, it, _ in machine.gpus if number not in numbers]
    evidence = [
        Evidence(WOULD_FAIL_WITH, NO_KERNEL),
        Evidence("found", " ".join(archs), files(package)),
        Evidence("needed", f"sm_{capability.replace('.', '')}, or PTX for {capability} or below"),
    ]
    doubtful = doubtfully_served_by(archs, capability, cuda=cuda)
    if doubtful:
        return warn(
            f"{named(package[0])} has code for desktop GPUs of {gpu.name}'s generation only "
            f"({doubtful}), which may not run on it",
            evidence=evidence,
            fix=_cure(package, machine),
            brief=f"{what} may have no code for {gpu.name}",
        )
    message = f"{named(package[0])} has no code for {gpu.name}, compute capability {capability}"
    brief = f"{what} has no code for {gpu.name}"
    if served:
        visible = ",".join(str(number) for number, _ in served)
        hidden = f"export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={visible}"
        message += f"; it runs on {joined(sorted({it.name for _, it in served}))}"
        fix = [*_cure(package, machine), f"or leave that GPU out: {hidden}"]
        return warn(message, evidence=evidence, fix=fix, brief=brief)
    build = warn if package[0].package in GOES_ON_WITHOUT else fail
    return build(message, evidence=evidence, fix=_cure(package, machine), brief=brief)


def _is_too_new(package: Sequence[Extension], code: str, driver_cuda: Version | None) -> bool:
    """Whether every file with this PTX is known to be of a newer CUDA than the driver compiles."""
    if driver_cuda is None:
        return False
    written = [as_version(one.built_for_cuda) for one in package if code in (one.archs or ())]
    return all(cuda is not None and cuda > driver_cuda for cuda in written)


def _ptx_too_new(package: Sequence[Extension], machine: Machine, gpu: Gpu) -> Verdict:
    cuda = _cuda_of(package)
    return fail(
        f"{named(package[0])} has only PTX of CUDA {cuda} for {gpu.name}, the driver compiles "
        f"up to {machine.driver_cuda}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, PTX_TOO_NEW),
            Evidence("found", " ".join(_cuda_archs(package)), files(package)),
            Evidence("needed", f"a driver for CUDA {cuda}, or sm code for {gpu.name}"),
        ],
        fix=_cure(package, machine),
        brief=f"{package[0].package or short(package[0].path)} has no code for {gpu.name} that "
        "the driver can use",
    )


def _partly_served(
    package: Sequence[Extension], machine: Machine, cuda: Version | None
) -> Verdict | None:
    """A file beside others may lack a GPU; one that is made for one GPU alone (sm_90a) always does."""
    for _, gpu, capability in machine.gpus:
        lacking = [
            one
            for one in package
            if served_by(_cuda_archs([one]), capability, cuda=cuda) is None
            and not all(map(_is_for_one_gpu, _cuda_archs([one])))
        ]
        if lacking:
            return info(
                f"a part of {named(package[0])} has no code for {gpu.name}: {files(lacking)}",
                evidence=[Evidence("found", " ".join(_cuda_archs(lacking)), files(lacking))],
            )
    return None


# --- what to do


def _cure(package: Sequence[Extension], machine: Machine) -> list[str]:
    one = package[0]
    if one.package in PAIRED:
        return [FITTING_TORCH]
    capabilities = sorted({capability for _, _, capability in machine.gpus}, key=Version)
    listed = f'TORCH_CUDA_ARCH_LIST="{";".join(capabilities)}+PTX"'
    if one.package is None:
        return [f"build {one.path} again with {listed}", *_toolkit(capabilities[-1], machine)]
    if one.package in _FORCED and one.origin is None:
        build = f"{_FORCED[one.package]} {rebuild_line(one._replace(version=None))}"
    else:
        build = f"{listed} {rebuild_line(one)}"
    newer = f"take a newer release of {one.package} that has code for {capabilities[-1]}"
    if one.built_here is False and one.origin is None and one.package not in _FORCED:
        build = source_line(one).replace("pip install", f"{listed} pip install")
        return [newer, f"or, {build}", *_toolkit(capabilities[-1], machine)]
    return [
        build,
        *_toolkit(capabilities[-1], machine),
        f"or {newer}",
    ]


def _toolkit(capability: str, machine: Machine) -> list[str]:
    """What the build needs first, where this machine's nvcc does not know the GPU."""
    knowing = [
        it.version for it in cuda_toolkits() if Version(it.capability_max) >= Version(capability)
    ]
    if not knowing or (machine.nvcc_version is not None and machine.nvcc_version >= min(knowing)):
        return []
    here = f"nvcc here is {machine.nvcc_version}" if machine.nvcc_version else "there is no nvcc"
    return [f"that build needs a CUDA toolkit of {min(knowing)} or newer; {here}"]
