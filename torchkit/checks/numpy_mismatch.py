"""torch was compiled for NumPy 1 and NumPy 2 is installed.

## What it looks at
The versions of torch and numpy.

## Why it matters
torch before 2.3 was compiled for NumPy 1. With NumPy 2 it imports with a long warning, and
`tensor.numpy()` and `torch.from_numpy` fail; so does every DataLoader that collates arrays.

## What to do
Install numpy below 2, or torch 2.3 or newer.

## References
- https://github.com/pytorch/pytorch/issues/107302
- https://github.com/pytorch/pytorch/issues/131668
"""

from __future__ import annotations

from torchkit.knowledge.compat import window
from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok
from torchkit.versions import Version

AREA = "packages"


def judge(
    torch_version: Version, numpy_version: Version, os_system: str | None | Unknown
) -> Verdict:
    breakage = window("numpy2-windows" if os_system == "windows" else "numpy2")
    if not breakage.covers(torch_version, numpy_version):
        return ok(f"numpy {numpy_version} fits torch {torch_version}")
    return fail(
        f"numpy {numpy_version} does not fit torch {torch_version}, which was compiled for NumPy 1",
        evidence=[
            Evidence(WOULD_FAIL_WITH, "RuntimeError: Numpy is not available"),
            Evidence("found", f"numpy {numpy_version}, torch {torch_version}"),
            Evidence("needed", f"numpy below 2, or torch {breakage.torch_until} or newer"),
        ],
        fix=["pip install 'numpy<2'"],
        brief="numpy 2 does not fit this torch",
    )
