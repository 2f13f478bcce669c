"""nvcc belongs to another CUDA major version than torch was built for.

## What it looks at
The version of the nvcc that a build would take, and the CUDA version of torch.

## Why it matters
torch itself never uses nvcc, so this is information until something is built: then
torch.utils.cpp_extension refuses another major version, and warns of another minor one.

## What to do
Before building a CUDA extension, point CUDA_HOME to a toolkit of torch's CUDA major version.

## References
- https://github.com/pytorch/pytorch/blob/main/torch/utils/cpp_extension.py
- https://github.com/pytorch/pytorch/issues/73047
"""

from __future__ import annotations

from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, info, ok
from torchkit.versions import Version

AREA = "toolchain"


def judge(
    nvcc_version: Version,
    torch_cuda: Version,
    cuda_home: str | None | Unknown,
    os_system: str | None | Unknown,
) -> Verdict:
    if nvcc_version.major == torch_cuda.major:
        return ok(f"nvcc {nvcc_version} can build for CUDA {torch_cuda}")
    return info(
        f"nvcc {nvcc_version} cannot build extensions for this torch, which is for CUDA {torch_cuda}",
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                f"RuntimeError: The detected CUDA version ({nvcc_version.series}) mismatches the "
                f"version that was used to compile PyTorch ({torch_cuda.series})",
            ),
            Evidence(
                "found", f"nvcc {nvcc_version}", cuda_home if isinstance(cuda_home, str) else ""
            ),
            Evidence("needed", f"a toolkit of CUDA {torch_cuda.major}, only for building"),
        ],
        fix=[
            f"set CUDA_HOME to a toolkit of CUDA {torch_cuda.series}"
            if os_system == "windows"
            else f"export CUDA_HOME=/usr/local/cuda-{torch_cuda.series}   (after installing that toolkit)"
        ],
    )
