"""The NVIDIA driver is older than this torch build needs.

## What it looks at
The driver's version, the CUDA version torch was built for, and the newest CUDA that the
installed libcuda runs (a forward-compatibility package raises it).

## Why it matters
torch imports, but `torch.cuda.is_available()` is False and training runs on the CPU without an
error; creating a CUDA tensor fails.

Inside one CUDA major, from 11 on, an older driver of that major is enough (minor-version
compatibility): 13.x runs on 580, 12.x on 525, 11.x on 450. Only code that is compiled at run
time (PTX, Triton, NVRTC) may then want a newer driver.

## What to do
Update the driver, or install a torch build for an older CUDA.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
- https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
"""

from __future__ import annotations

from torchkit.advice.lines import FITTING_TORCH, driver_update
from torchkit.knowledge.compat import minimum_driver, newest_cuda_for_driver, toolkit_driver
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
)
from torchkit.versions import Version

AREA = "driver"


def judge(
    driver_version: Version,
    torch_cuda: Version,
    driver_cuda: Version | None | Unknown,
    driver_source: str | None | Unknown,
    is_wsl: bool | None | Unknown,
    is_container: bool | None | Unknown,
    os_system: str | None | Unknown,
    jetson_model: str | None | Unknown,
    gpus: tuple[Gpu, ...] | None | Unknown,
) -> Verdict:
    if isinstance(jetson_model, str):
        return does_not_apply(
            "on a Jetson the driver comes with JetPack, not with a version of its own"
        )
    windows = is_wsl is True or os_system == "windows"
    needed = minimum_driver(torch_cuda, windows=windows)
    runs = driver_cuda if isinstance(driver_cuda, Version) else None
    if needed is None and runs is None:
        return could_not_look(f"the driver that CUDA {torch_cuda} needs is not known to us")
    if needed is None or driver_version < needed:
        if runs is not None and _library_runs(torch_cuda, runs, driver_version, needed):
            return ok(_by_library(driver_version, torch_cuda, runs, needed))
        where = driver_update(
            str(needed or f"one that runs CUDA {torch_cuda.major}.0"),
            is_wsl=is_wsl,
            is_container=is_container,
            gpus=gpus,
            os_system=os_system,
        )
        source = driver_source if isinstance(driver_source, str) else ""
        newest = runs or newest_cuda_for_driver(driver_version, windows=windows)
        return _too_old(driver_version, torch_cuda, needed, newest, source, where)
    own = toolkit_driver(torch_cuda, windows=windows)
    if own is not None and driver_version < own and (runs is None or runs < torch_cuda):
        return info(
            f"driver {driver_version} runs CUDA {torch_cuda} by minor-version compatibility; "
            f"code compiled at run time may want {own} or newer"
        )
    return ok(f"driver {driver_version} can run CUDA {torch_cuda}, which needs {needed} or newer")


FIRST_WITH_MINOR_COMPATIBILITY = 11
"""From this CUDA major on a library runs every minor of its major (NVIDIA, minor versions)."""


def _library_runs(
    torch_cuda: Version, runs: Version, driver_version: Version, needed: Version | None
) -> bool:
    """Whether libcuda runs this CUDA although the kernel's driver is older than its floor.

    Only NVIDIA's forward-compatibility library does: one of a later driver branch. The driver's
    own libcuda stands no higher than the driver.
    """
    if runs >= torch_cuda:
        return True
    if torch_cuda.major < FIRST_WITH_MINOR_COMPATIBILITY or runs.major < torch_cuda.major:
        return False
    if needed is None:  # no floor is published: what the driver says of itself counts
        return True
    own = toolkit_driver(runs)
    return own is not None and own.major > driver_version.major


def _by_library(
    driver_version: Version, torch_cuda: Version, runs: Version, needed: Version | None
) -> str:
    own = toolkit_driver(runs)
    if needed is None or own is None or own.major <= driver_version.major:
        return f"driver {driver_version} says that it runs CUDA {runs}, torch needs {torch_cuda}"
    return (
        f"driver {driver_version} runs CUDA {torch_cuda} through the forward-compatibility "
        f"library, which offers CUDA {runs}"
    )


def _too_old(
    driver_version: Version,
    torch_cuda: Version,
    needed: Version | None,
    newest: Version | None,
    source: str,
    where: str,
) -> Verdict:
    number = f" (found version {newest.major * 1000 + newest.minor * 10})" if newest else ""
    message = f"driver {driver_version} cannot run CUDA {torch_cuda}, which needs {needed} or newer"
    if needed is None:
        message = (
            f"driver {driver_version} runs CUDA up to {newest}, torch is built for {torch_cuda}"
        )
    return fail(
        message,
        evidence=[
            Evidence(
                WOULD_FAIL_WITH,
                f"RuntimeError: The NVIDIA driver on your system is too old{number}",
            ),
            Evidence(
                "found",
                f"driver {driver_version}" + (f", CUDA up to {newest}" if newest else ""),
                source,
            ),
            Evidence(
                "needed",
                f"driver {needed} or newer for CUDA {torch_cuda}"
                if needed is not None
                else f"a driver that runs CUDA {torch_cuda.major}.0 or newer",
                "NVIDIA CUDA compatibility",
            ),
        ],
        fix=[where, FITTING_TORCH],
        brief="the driver is too old for this torch",
    )
