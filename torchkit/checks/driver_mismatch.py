"""The kernel's NVIDIA driver and the libcuda that programs load do not fit together.

## What it looks at
The version of the loaded kernel module, the version in the file name of libcuda.so.1, and
what NVIDIA's own libraries say when they are asked.

## Why it matters
After an upgrade without a reboot, or with a libcuda copied into an image, CUDA does not start:
nvidia-smi says "Driver/library version mismatch", torch says error 803 or 804. NVIDIA's
forward-compatibility library is newer than the kernel module on purpose; it works on
data-centre GPUs only.

## What to do
Reboot, or reload the kernel modules, so that both are of one version. Inside a container remove
the stray libcuda: the container runtime brings the host's own.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
- https://github.com/pytorch/pytorch/issues/35710
"""

from __future__ import annotations

import re

from torchkit.advice.lines import driver_update
from torchkit.knowledge.compat import (
    cuda_toolkits,
    is_data_center_gpu,
    newest_cuda_for_driver,
    toolkit_driver,
)
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, info, ok
from torchkit.versions import Version

AREA = "driver"

MISMATCH_803 = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported "
    "display driver / cuda driver combination"
)
FORWARD_804 = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility "
    "was attempted on non supported HW"
)


def judge(
    driver_version: Version,
    driver_library_version: Version | None | Unknown,
    driver_cuda: Version | None | Unknown,
    driver_error: str | None | Unknown,
    gpus: tuple[Gpu, ...] | None | Unknown,
    is_wsl: bool | None | Unknown,
    is_container: bool | None | Unknown,
    os_system: str | None | Unknown,
    jetson_model: str | None | Unknown,
) -> Verdict:
    if is_wsl is True:
        return does_not_apply("under WSL the driver is Windows' own, and libcuda a stub")
    if os_system == "windows":
        return does_not_apply("on Windows the driver brings its libraries along")
    said = driver_error if isinstance(driver_error, str) else ""
    library = driver_library_version if isinstance(driver_library_version, Version) else None
    other = library if library is not None and library != driver_version else None
    is_older = other is not None and other < driver_version
    if is_older or "mismatch" in said.lower() or re.search(r"\b803\b", said):
        name = f"libcuda {other}" if other is not None else "another version of NVIDIA's libraries"
        return _mismatch(driver_version, name, said, is_container is True)
    if other is not None:
        return _newer_library(driver_version, f"libcuda {other}", gpus, str(other), is_container)
    if library is not None:
        return ok(f"kernel driver and libcuda are both {driver_version}")
    if not isinstance(driver_cuda, Version) or isinstance(jetson_model, str):
        return ok(f"nothing speaks against driver {driver_version}")
    return _by_cuda(driver_version, driver_cuda, gpus, is_container)


def _by_cuda(
    driver_version: Version,
    driver_cuda: Version,
    gpus: tuple[Gpu, ...] | None | Unknown,
    is_container: bool | None | Unknown,
) -> Verdict:
    """Where libcuda's own version is not known: by the CUDA it runs, which each driver raises."""
    named = f"a libcuda for CUDA {driver_cuda}"
    brings, own = toolkit_driver(driver_cuda), newest_cuda_for_driver(driver_version)
    if own is not None and driver_cuda < own:
        return _mismatch(driver_version, named, "", is_container is True)
    newest_known = max(it.driver_linux for it in cuda_toolkits() if it.driver_linux is not None)
    if brings is not None:
        is_newer = brings.major > driver_version.major
    else:  # a CUDA that we do not know; so may be the driver
        is_newer = driver_version < newest_known
    if is_newer:
        needed = str(brings or f"one for CUDA {driver_cuda}")
        return _newer_library(driver_version, named, gpus, needed, is_container)
    return ok(f"driver {driver_version} and its libcuda for CUDA {driver_cuda} go together")


def _newer_library(
    driver_version: Version,
    library: str,
    gpus: tuple[Gpu, ...] | None | Unknown,
    needed: str,
    is_container: bool | None | Unknown,
) -> Verdict:
    """Newer than the kernel's: NVIDIA's compatibility package, or an upgrade without a reboot."""
    known = [gpu.name for gpu in gpus] if isinstance(gpus, tuple) else []
    consumer = [name for name in known if not is_data_center_gpu(name)]
    if consumer and "geforce" in consumer[0].lower():
        return fail(
            f"{library} is newer than kernel driver {driver_version}; on {consumer[0]} that does not work",
            evidence=[
                Evidence(WOULD_FAIL_WITH, FORWARD_804),
                Evidence("found", f"kernel driver {driver_version}, {library}"),
                Evidence("needed", "both of one version, or a data-centre GPU"),
            ],
            fix=[
                "remove the cuda-compat package or its folder from LD_LIBRARY_PATH",
                driver_update(needed, is_wsl=False, is_container=is_container),
            ],
            brief="kernel driver and libcuda differ",
        )
    return info(
        f"{library} is newer than kernel driver {driver_version}: NVIDIA's forward-compatibility "
        "library, or an upgrade without a reboot"
    )


def _mismatch(driver_version: Version, library: str, said: str, in_container: bool) -> Verdict:
    quoted = [Evidence("NVIDIA says", said)] if said else []
    fix = ["reboot, so that the kernel loads the driver of the installed libraries"]
    if in_container:
        fix.insert(
            0,
            "remove the image's own libcuda.so.* and restart the container with the host's driver",
        )
    return fail(
        f"kernel driver {driver_version} and {library} do not fit together",
        evidence=[
            Evidence(WOULD_FAIL_WITH, MISMATCH_803),
            Evidence("found", f"kernel driver {driver_version}, {library}"),
            Evidence("needed", "both of one version"),
            *quoted,
        ],
        fix=fix,
        brief="kernel driver and libcuda differ",
    )
