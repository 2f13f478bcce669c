"""CUDA_VISIBLE_DEVICES hides every GPU.

## What it looks at
The environment variable CUDA_VISIBLE_DEVICES, and the GPUs of the machine.

## Why it matters
Set to nothing or to -1, `torch.cuda.is_available()` is False although driver and torch are
well. A number that is not there hides the GPUs behind it too.

## What to do
`unset CUDA_VISIBLE_DEVICES`, or name GPUs that exist.

## References
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#env-vars
"""

from __future__ import annotations

import re

from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, ok, warn
from torchkit.versions import Version

AREA = "gpu"


def judge(
    cuda_visible_devices: str,
    gpus: tuple[Gpu, ...],
    torch_cuda: Version | None | Unknown,
    os_system: str | None | Unknown,
) -> Verdict:
    if not gpus:
        return does_not_apply("there is no NVIDIA GPU to hide")
    if torch_cuda is None:
        return does_not_apply("there is no torch with CUDA that would look for them")
    entries = [entry.strip() for entry in cuda_visible_devices.split(",")]
    first = entries[0]
    is_index = re.fullmatch(r"\d{1,4}", first) is not None
    if (is_index and int(first) < len(gpus)) or first.startswith(("GPU-", "MIG-")):
        return ok(f"CUDA_VISIBLE_DEVICES={cuda_visible_devices} leaves a GPU in sight")
    what = f"names GPU {first}, of {len(gpus)}" if is_index else "hides every GPU"
    return warn(
        f"CUDA_VISIBLE_DEVICES={cuda_visible_devices!r} {what}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, "RuntimeError: No CUDA GPUs are available"),
            Evidence("found", f"{len(gpus)} GPU(s): {', '.join(gpu.name for gpu in gpus)}"),
        ],
        fix=[
            "set CUDA_VISIBLE_DEVICES=" if os_system == "windows" else "unset CUDA_VISIBLE_DEVICES"
        ],
        brief="CUDA_VISIBLE_DEVICES hides the GPUs",
    )
