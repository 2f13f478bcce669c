"""This torch has no code for a GPU of this machine.

## What it looks at
The compute capability of each GPU, and the architectures torch was compiled for.

Compiled code (sm_86) runs on the same major version from its minor version on, so sm_86 serves
8.9; PTX (compute_90) is compiled at run time for anything newer. Nothing below sm_100 without
PTX serves Blackwell.

## Why it matters
torch imports and sees the GPU, and the first kernel dies with "no kernel image is available".

## What to do
Install a torch build that has code for this GPU; for a GPU that official builds have dropped,
the fix names the last one that had it.

## References
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#binary-compatibility
- https://github.com/pytorch/pytorch/issues/167244
"""

from __future__ import annotations

from torchkit.advice.lines import FITTING_TORCH
from torchkit.knowledge.compat import (
    architectures,
    doubtfully_served_by,
    gpu_capability,
    served_by,
)
from torchkit.machine.facts import Gpu, Unknown
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
from torchkit.versions import Version

AREA = "gpu"

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"


def judge(
    torch_version: Version | Unknown,
    torch_cuda: Version,
    gpus: tuple[Gpu, ...],
    torch_archs: tuple[str, ...] | None | Unknown,
    torch_archs_source: str | None | Unknown,
    cpu_architecture: str | None | Unknown,
    driver_cuda: Version | None | Unknown,
) -> Verdict:
    if not gpus:
        return does_not_apply("there is no NVIDIA GPU to run on")
    archs, source = _archs(
        torch_version, torch_cuda, torch_archs, torch_archs_source, cpu_architecture
    )
    if not archs:
        return could_not_look(f"which GPUs torch {torch_version} has code for is not known")
    gpus = tuple(_with_capability(gpu) for gpu in gpus)
    told = [gpu for gpu in gpus if gpu.capability is not None]
    if not told:
        return could_not_look(f"the compute capability of {gpus[0].name} is not known")
    serving = {gpu: served_by(archs, gpu.capability or "", cuda=torch_cuda) for gpu in told}
    unserved = [gpu for gpu in told if serving[gpu] is None]
    doubtful = (
        doubtfully_served_by(archs, unserved[0].capability or "", cuda=torch_cuda)
        if unserved
        else None
    )
    if doubtful:
        return warn(
            f"this torch has code for desktop GPUs of {unserved[0].name}'s generation only "
            f"({doubtful}), which may not run on it",
            evidence=[
                Evidence(WOULD_FAIL_WITH, NO_KERNEL),
                Evidence("found", " ".join(archs), source),
            ],
            fix=[FITTING_TORCH],
            brief=f"this torch may have no code for {unserved[0].name}",
        )
    if unserved:
        served = [number for number, gpu in enumerate(gpus) if serving.get(gpu) is not None]
        return _unsupported(unserved[0], gpus, served, torch_version, archs, source)
    by_ptx = [gpu for gpu in told if (serving[gpu] or "").startswith("compute")]
    if by_ptx and isinstance(driver_cuda, Version) and driver_cuda < torch_cuda:
        return _ptx_too_new(by_ptx[0], torch_cuda, driver_cuda, archs, source)
    if by_ptx:
        return info(
            f"torch has only PTX for {by_ptx[0].name} ({by_ptx[0].capability}): the first start "
            "compiles for minutes, and needs a driver as new as torch's CUDA"
        )
    return ok(f"torch has code for {', '.join(sorted({gpu.name for gpu in told}))}")


def _with_capability(gpu: Gpu) -> Gpu:
    """Older drivers' nvidia-smi and /proc give a name without a capability."""
    return gpu if gpu.capability else gpu._replace(capability=gpu_capability(gpu.name))


def _ptx_too_new(
    gpu: Gpu, torch_cuda: Version, driver_cuda: Version, archs: tuple[str, ...], source: str
) -> Verdict:
    """PTX is compiled by the driver, which must be as new as the CUDA that wrote it."""
    return fail(
        f"torch has only PTX of CUDA {torch_cuda} for {gpu.name}, the driver compiles up to {driver_cuda}",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                "CUDA error: the provided PTX was compiled with an unsupported toolchain.",
            ),
            Evidence("found", " ".join(archs), source),
            Evidence("needed", f"a driver for CUDA {torch_cuda}, or sm code for {gpu.capability}"),
        ],
        fix=[FITTING_TORCH],
        brief=f"this torch has no code for {gpu.name} that the driver can use",
    )


def _archs(
    torch_version: Version | Unknown,
    torch_cuda: Version,
    torch_archs: tuple[str, ...] | None | Unknown,
    torch_archs_source: str | None | Unknown,
    cpu_architecture: str | None | Unknown,
) -> tuple[tuple[str, ...], str]:
    """From the binary where it was read, else from the table of official builds."""
    if isinstance(torch_archs, tuple) and torch_archs:
        return torch_archs, torch_archs_source if isinstance(torch_archs_source, str) else ""
    if not isinstance(torch_version, Version):
        return (), ""
    machine = cpu_architecture if isinstance(cpu_architecture, str) else "x86_64"
    listed = architectures(torch_version, torch_cuda, architecture=machine)
    if listed is None:
        return (), ""
    return tuple(listed.archs), f"official builds, confidence {listed.confidence}"


def _unsupported(
    gpu: Gpu,
    gpus: tuple[Gpu, ...],
    served: list[int],
    torch_version: Version | Unknown,
    archs: tuple[str, ...],
    source: str,
) -> Verdict:
    name = f"torch {torch_version}" if isinstance(torch_version, Version) else "this torch"
    number = (gpu.capability or "").replace(".", "")
    build, fix = fail, [FITTING_TORCH]
    message = f"{name} has no code for {gpu.name}, compute capability {gpu.capability}"
    if served:
        message += f"; it runs on {gpus[served[0]].name}"
        visible = ",".join(str(index) for index in served)
        hidden = f"export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={visible}"
        if served[0] == 0:  # cuda:0, the device that is taken unasked, is served
            build, fix = warn, [hidden]
        else:
            fix.append(f"or leave that GPU out: {hidden}")
    return build(
        message,
        evidence=[
            Evidence(WOULD_FAIL_WITH, NO_KERNEL),
            Evidence("found", " ".join(archs), source),
            Evidence("needed", f"sm_{number}, or PTX for {gpu.capability} or below"),
        ],
        fix=fix,
        brief=f"this torch has no code for {gpu.name}",
    )
