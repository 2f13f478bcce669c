"""torch is a build without CUDA on a machine with a working NVIDIA GPU.

## What it looks at
The CUDA version in torch/version.py, and the GPUs that the driver shows.

## Why it matters
Everything runs, on the CPU, many times slower; `.cuda()` fails. It happens when an index, a
lock file or another package pulled the CPU build.

## What to do
Install a CUDA build that the driver can run; the fix names one. On a CPU machine a CPU build
is right, and this check says so.

## References
- https://pytorch.org/get-started/locally/
- https://github.com/pytorch/pytorch/issues/168065
"""

from __future__ import annotations

import re

from torchkit.advice.lines import FITTING_TORCH
from torchkit.knowledge.compat import gpu_capability
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, ok, warn
from torchkit.versions import Version

AREA = "torch"


OLDEST_SERVED = (3, 7)
"""The lowest compute capability that a build of torch 2 has code for (see knowledge/gpus.toml)."""


def judge(
    torch_version: Version,
    torch_cuda: Version | None,
    gpus: tuple[Gpu, ...],
    torch_build: str | None | Unknown,
) -> Verdict:
    if torch_cuda is not None:
        return ok(f"torch {torch_version} is built for CUDA {torch_cuda}")
    if torch_build in ("rocm", "xpu") or (torch_version.local or "").startswith(("rocm", "xpu")):
        return does_not_apply("this torch is built for GPUs of another maker")
    if not gpus:
        return ok(f"torch {torch_version} is a CPU build on a machine without an NVIDIA GPU")
    known = [gpu.capability or gpu_capability(gpu.name) for gpu in gpus]
    told = [text for text in known if text and re.fullmatch(r"\d+\.\d+", text)]
    if told and all(_number(capability) < OLDEST_SERVED for capability in told):
        return ok(f"torch {torch_version} is a CPU build; none has code for {gpus[0].name}")
    return warn(
        f"torch {torch_version} is a build without CUDA, beside {gpus[0].name}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, "AssertionError: Torch not compiled with CUDA enabled"),
            Evidence("found", f"torch {torch_version}, built without CUDA", "torch/version.py"),
            Evidence("GPU", ", ".join(gpu.name for gpu in gpus)),
        ],
        fix=[FITTING_TORCH],
        brief="torch is a CPU build beside a GPU",
    )


def _number(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
