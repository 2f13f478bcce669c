"""A CUDA libtorch does not fit the driver, the GPUs or the toolkit here.

## What it looks at
The CUDA version of the libtorch, its GPU code, CUDA's libraries that it needs and does not bring,
and what its CMake files refuse; the driver, the GPUs and the CUDA toolkit of this machine. In the
toolkit's libraries the symbols are looked up that the libtorch takes from them. Whether CMake
takes that toolkit, too: it goes by the nvcc on PATH, and not by CUDA_HOME.

## Why it matters
Building: its CMake files stop where there is no toolkit, and the linker stops at the first symbol
that an older toolkit lacks, also where the libtorch brings the library: the toolkit's copy of the
same name comes first. Running: a driver that is too old, or a GPU that it has no code for.

## What to do
Take the libtorch for the CUDA that driver and toolkit have, or install the toolkit it is for.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
- https://github.com/pytorch/pytorch/issues/73829
- https://github.com/pytorch/pytorch/issues/125300
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torchkit.advice.cmake_cuda import Astray, astray
from torchkit.advice.libtorch import called, driver_serves, shortly
from torchkit.advice.libtorch_toolkit import CudaHere, toolkit_fix
from torchkit.advice.lines import FITTING_LIBTORCH, driver_update
from torchkit.knowledge.compat import (
    architectures,
    doubtfully_served_by,
    gpu_capability,
    minimum_driver,
    newest_cuda_for_driver,
    served_by,
)
from torchkit.machine.facts import Gpu, Libtorch, Unknown, why_unknown
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

AREA = "libtorch"

NO_TOOLKIT = (
    "Your installed Caffe2 version uses CUDA but I cannot find the CUDA libraries. Please set the "
    "proper CUDA prefixes and / or install CUDA."
)
"""What Caffe2Config.cmake of every release says."""

NO_NVRTC = "cannot find -lCUDA_nvrtc_LIBRARY-NOTFOUND: No such file or directory"
"""What the linker makes of the name that FindCUDA.cmake leaves where it found no libnvrtc.so."""

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"


def judge(
    libtorchs: tuple[Libtorch, ...],
    driver_version: Version | None | Unknown,
    driver_cuda: Version | None | Unknown,
    gpus: tuple[Gpu, ...] | None | Unknown,
    nvcc_version: Version | None | Unknown,
    cuda_home: str | None | Unknown,
    cmake_cuda_home: str | None | Unknown,
    nvcc_path: str | None | Unknown,
    gcc_version: Version | None | Unknown,
    os_system: str | None | Unknown,
    is_wsl: bool | None | Unknown,
    is_container: bool | None | Unknown,
) -> tuple[Verdict, ...]:
    windows = is_wsl is True or os_system == "windows"
    here = CudaHere(
        driver_version if isinstance(driver_version, Version) else None,
        driver_cuda if isinstance(driver_cuda, Version) else None,
        gpus if isinstance(gpus, tuple) else (),
        nvcc_version,
        cuda_home if isinstance(cuda_home, str) else None,
        astray(cmake_cuda_home, cuda_home, nvcc_path),
        windows,
        gcc_version is not None,
        _first_unknown(
            driver_version=driver_version if driver_cuda is None else driver_cuda,
            gpus=gpus,
            nvcc_version=nvcc_version,
        ),
    )

    def update(needed: str) -> str:
        return driver_update(
            needed, is_wsl=is_wsl, is_container=is_container, gpus=here.gpus, os_system=os_system
        )

    verdicts: list[Verdict] = []
    for libtorch in libtorchs:
        if isinstance(os_system, str) and libtorch.os_system not in (None, os_system):
            verdicts.append(does_not_apply(f"{called(libtorch)} is for another system"))
            continue
        verdicts += _judged(libtorch, here, update)
    return tuple(verdicts)


def _judged(libtorch: Libtorch, here: CudaHere, update: Callable[[str], str]) -> list[Verdict]:
    name, cuda = called(libtorch), as_version(libtorch.cuda)
    if libtorch.problem is not None:
        return [does_not_apply(f"{name} cannot be used")]
    if cuda is None:
        return [_without_cuda(libtorch, here)]
    wrong = [
        *_by_driver(libtorch, cuda, here, update),
        *_by_gpus(libtorch, cuda, here),
        *_by_toolkit(libtorch, cuda, here),
    ]
    if wrong:
        return wrong
    if here.unknown is not None:
        return [could_not_look(here.unknown)]
    if not here.gpus and here.driver is None and here.driver_cuda is None:
        return [
            info(
                f"{name} is for CUDA {cuda}; there is no NVIDIA driver here, so it runs on the CPU"
            )
        ]
    return [ok(f"{name} is for CUDA {cuda}, which driver, GPUs and toolkit here serve")]


def _first_unknown(**facts: object) -> str | None:
    """Why one of these is not known."""
    unknown = ((name, fact) for name, fact in facts.items() if isinstance(fact, Unknown))
    return next((why_unknown(name, fact) for name, fact in unknown), None)


def _without_cuda(libtorch: Libtorch, here: CudaHere) -> Verdict:
    name = called(libtorch)
    if libtorch.variant not in (None, "cpu"):
        return does_not_apply(f"{name} is for GPUs of another maker")
    if here.gpus:
        return info(
            f"{name} is a CPU build, and would leave {here.gpus[0].name} unused",
            fix=[FITTING_LIBTORCH],
        )
    return does_not_apply(f"{name} is a build without CUDA")


# --- running


def _by_driver(
    libtorch: Libtorch, cuda: Version, here: CudaHere, update: Callable[[str], str]
) -> Iterator[Verdict]:
    if here.driver is None and here.driver_cuda is None:
        return
    if driver_serves(cuda, here.driver, here.driver_cuda, windows=here.windows):
        return
    needed = minimum_driver(cuda, windows=here.windows)
    newest = here.driver_cuda
    if newest is None and here.driver is not None:
        newest = newest_cuda_for_driver(here.driver, windows=here.windows)
    if needed is None and newest is None:
        return
    number = f" (found version {newest.major * 1000 + newest.minor * 10})" if newest else ""
    found = f"driver {here.driver}" if here.driver is not None else f"a driver for CUDA {newest}"
    wanted = str(needed or f"one that runs CUDA {cuda.major}.0")
    yield fail(
        f"{called(libtorch)} is for CUDA {cuda}, which {found} cannot run",
        evidence=[
            Evidence(WOULD_FAIL_WITH, f"The NVIDIA driver on your system is too old{number}"),
            Evidence("found", found),
            Evidence("needed", f"driver {wanted} or newer for CUDA {cuda}"),
        ],
        fix=[FITTING_LIBTORCH, f"or {update(wanted)}"],
        brief="the driver is too old for a libtorch",
    )


def _by_gpus(libtorch: Libtorch, cuda: Version, here: CudaHere) -> Iterator[Verdict]:
    archs, source = libtorch.archs, "its libtorch_cuda.so"
    version = as_version(libtorch.version)
    if not archs and version is not None:
        listed = architectures(version, cuda, architecture=libtorch.architecture or "x86_64")
        archs = None if listed is None else listed.archs
        source = "official builds"
    if not archs:
        return
    for gpu in dict.fromkeys(here.gpus):
        capability = gpu.capability or gpu_capability(gpu.name)
        if capability is None or served_by(archs, capability, cuda=cuda):
            continue
        doubtful = doubtfully_served_by(archs, capability, cuda=cuda)
        yield (warn if doubtful else fail)(
            f"{called(libtorch)} {'may have' if doubtful else 'has'} no code for {gpu.name}, "
            f"compute capability {capability}",
            evidence=[
                Evidence(WOULD_FAIL_WITH, NO_KERNEL),
                Evidence("found", " ".join(archs), source),
                Evidence("needed", f"sm_{capability.replace('.', '')}, or PTX for it or below"),
            ],
            fix=[FITTING_LIBTORCH],
            brief=f"{shortly(libtorch)} has no code for {gpu.name}",
        )
        return


# --- building


def _by_toolkit(libtorch: Libtorch, cuda: Version, here: CudaHere) -> Iterator[Verdict]:
    nvcc, lowest = here.nvcc, as_version(libtorch.cmake_cuda_min)
    if isinstance(nvcc, Unknown):
        return
    if nvcc is None:
        if here.cuda_home is None:
            yield _without_toolkit(libtorch, cuda, here)
        return
    if here.strayed is not None:
        yield _looked_for_elsewhere(libtorch, here.strayed)
    if lowest is not None and nvcc.release[:2] < lowest.release:
        yield fail(
            f"{called(libtorch)} takes a toolkit of CUDA {lowest} or newer, here is {nvcc}",
            evidence=[
                Evidence(WOULD_FAIL_WITH, f"PyTorch requires CUDA {lowest} or above."),
                Evidence("found", f"nvcc {nvcc}", here.cuda_home or ""),
                Evidence("needed", f"CUDA {lowest} or newer", "its cuda.cmake"),
            ],
            fix=toolkit_fix(libtorch, cuda, nvcc, here),
            brief="the CUDA toolkit is too old for a libtorch",
        )
    elif libtorch.missing_cuda_symbol is not None:
        yield _lacking(libtorch, cuda, nvcc, here)
    elif libtorch.missing_on_link_line is not None:
        yield _not_on_link_line(libtorch, libtorch.missing_on_link_line, cuda, nvcc, here)
    elif nvcc.major != cuda.major:
        yield warn(
            f"{called(libtorch)} is for CUDA {cuda}, the toolkit here is {nvcc}: a program that "
            "calls CUDA itself would have both at once",
            evidence=[
                Evidence("found", f"nvcc {nvcc}", here.cuda_home or ""),
                Evidence("needed", f"a toolkit of CUDA {cuda.major}, to build with"),
            ],
            fix=toolkit_fix(libtorch, cuda, nvcc, here),
            brief="the CUDA toolkit is of another major version than a libtorch",
        )


def _without_toolkit(libtorch: Libtorch, cuda: Version, here: CudaHere) -> Verdict:
    return (fail if here.builds else warn)(
        f"{called(libtorch)} is for CUDA {cuda}, and there is no CUDA toolkit here to build with",
        evidence=[
            Evidence(WOULD_FAIL_WITH, NO_TOOLKIT),
            Evidence("found", "no CUDA toolkit"),
            Evidence("needed", f"a toolkit of CUDA {cuda}"),
        ],
        fix=toolkit_fix(libtorch, cuda, None, here),
        brief="there is no CUDA toolkit for a libtorch",
    )


def _looked_for_elsewhere(libtorch: Libtorch, strayed: Astray) -> Verdict:
    evidence = [
        Evidence("found", strayed.taken or "no nvcc", "as FindCUDA.cmake looks for it"),
        Evidence("needed", strayed.home),
    ]
    if strayed.finds_none:
        evidence.insert(0, Evidence(WOULD_FAIL_WITH, NO_TOOLKIT))
    return warn(
        f"for {called(libtorch)} {strayed.cause}",
        evidence=evidence,
        fix=strayed.fix,
        brief="CMake looks for the CUDA toolkit in another folder",
    )


def _not_on_link_line(
    libtorch: Libtorch, library: str, cuda: Version, nvcc: Version, here: CudaHere
) -> Verdict:
    """Its CMake files have `-lCUDA_nvrtc_LIBRARY-NOTFOUND` on the command line then."""
    return fail(
        f"{called(libtorch)} will not link: its CMake files ask for {library}, which the toolkit "
        f"here ({nvcc}) does not have",
        evidence=[
            Evidence(WOULD_FAIL_WITH, NO_NVRTC),
            Evidence("found", f"nvcc {nvcc}", here.cuda_home or ""),
            Evidence("needed", f"a toolkit of CUDA {cuda} with {library}"),
        ],
        fix=toolkit_fix(libtorch, cuda, nvcc, here),
        brief=f"{shortly(libtorch)} will not link with the CUDA toolkit here",
    )


def _lacking(libtorch: Libtorch, cuda: Version, nvcc: Version, here: CudaHere) -> Verdict:
    symbol, absent = libtorch.missing_cuda_symbol or "", libtorch.missing_cuda_library
    wanted_by = libtorch.missing_cuda_symbol_by or "libtorch_cuda.so"
    name, _, library = symbol.partition("@")
    programs = (
        "" if libtorch.missing_cuda_stops_link else " into programs that call CUDA themselves"
    )
    why = (
        f"it needs {absent}, which neither it nor the toolkit here ({nvcc}) has"
        if absent is not None
        else f"the {library} of the toolkit here ({nvcc}) has no {name}"
    )
    is_wheel = libtorch.kind == "wheel" and absent is not None  # it has other wheels beside it
    return (fail if libtorch.missing_cuda_stops_link and not is_wheel else warn)(
        f"{called(libtorch)} will not link{programs}: {why}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, f"{wanted_by}: undefined reference to `{symbol}'"),
            Evidence("found", f"nvcc {nvcc}", here.cuda_home or ""),
            Evidence("needed", f"a toolkit of CUDA {cuda}" + (f" with {absent}" if absent else "")),
        ],
        fix=toolkit_fix(libtorch, cuda, nvcc, here),
        brief=f"{shortly(libtorch)} will not link with the CUDA toolkit here",
    )
