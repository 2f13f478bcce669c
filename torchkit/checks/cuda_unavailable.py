"""torch is built for GPUs, there are some, and `torch.cuda.is_available()` is False.

## What it looks at
With `--live`: torch's own reason for using no GPU, asked in a child, and the GPUs of the machine.

## Why it matters
Nothing fails at first: training runs on the CPU, a hundred times slower, or stops at the first
`.cuda()`.

## What to do
What torch's reason says; the findings about the driver tell more where they can.

## References
- https://docs.pytorch.org/docs/stable/notes/cuda.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn

AREA = "gpu"

EXPLAINED_BY = {
    "driver on your system is too old": "driver-too-old",
    "Found no NVIDIA driver": "driver-missing",
    "system has unsupported display driver / cuda driver combination": "driver-mismatch",
}
"""torch's words, and the check that explains them better."""


def judge(
    live_outcome: str,
    live_cuda_error: str | None | Unknown,
    live_torch: Mapping[str, str] | None | Unknown,
    gpus: tuple[Gpu, ...] | None | Unknown,
    nvidia_devices_on_bus: int | None | Unknown,
    cuda_visible_devices: str | None | Unknown,
) -> Verdict:
    told = live_torch if isinstance(live_torch, Mapping) else {}
    platform = "CUDA" if "cuda" in told else "ROCm" if "hip" in told else None
    if "version" not in told:
        return does_not_apply(f"torch was not imported: {live_outcome}")
    if platform is None:
        return does_not_apply("there is no torch that would use a GPU of NVIDIA or AMD")
    if not isinstance(live_cuda_error, str):
        return ok(f"torch uses the GPUs by {platform} {told.get('cuda') or told.get('hip')}")
    count = len(gpus) if isinstance(gpus, tuple) else 0
    on_bus = nvidia_devices_on_bus if isinstance(nvidia_devices_on_bus, int) else 0
    if platform == "ROCm" or not (count or on_bus):
        return does_not_apply(
            f"no GPU is seen here that torch could use; it says: {live_cuda_error}"
        )
    evidence = [
        Evidence(WOULD_FAIL_WITH, live_cuda_error, "torch.cuda.init() in a child"),
        Evidence(
            "found",
            ", ".join(gpu.name for gpu in gpus)
            if isinstance(gpus, tuple) and gpus
            else f"{on_bus} NVIDIA GPUs on the PCI bus",
        ),
    ]
    if isinstance(cuda_visible_devices, str) and "No CUDA GPUs are available" in live_cuda_error:
        verdict = warn(
            f"torch uses no GPU: CUDA_VISIBLE_DEVICES is {cuda_visible_devices!r}",
            evidence=evidence,
            fix=["unset CUDA_VISIBLE_DEVICES"],
            brief="torch uses no GPU",
        )
        return replace(verdict, part_of="gpus-hidden")
    verdict = fail(
        f"torch uses no GPU, of {max(count, on_bus)}: {live_cuda_error}",
        evidence=evidence,
        fix=[
            "see whether the driver answers: nvidia-smi",
            "look for the GPU's own report: sudo dmesg | grep -iE 'nvrm|xid'",
        ],
        brief="torch uses no GPU",
    )
    by = next((check for words, check in EXPLAINED_BY.items() if words in live_cuda_error), "")
    return replace(verdict, part_of=by)
