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

from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, ok, warn

AREA = "gpu"


def judge(
    cuda_visible_devices: str, gpus: tuple[Gpu, ...], os_system: str | None | Unknown
) -> Verdict:
    if not gpus:
        return does_not_apply("there is no NVIDIA GPU to hide")
    entries = [entry.strip() for entry in cuda_visible_devices.split(",")]
    first = entries[0]
    visible = not first.lstrip("-").isdigit() or 0 <= int(first) < len(gpus)
    if first and visible:
        return ok(f"CUDA_VISIBLE_DEVICES={cuda_visible_devices} leaves a GPU in sight")
    what = "hides every GPU" if first in ("", "-1") else f"names GPU {first}, of {len(gpus)}"
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
