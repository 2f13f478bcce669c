"""What `env` shows besides its findings: the machine in a few lines, and the libtorch that fits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from torchkit import checks
from torchkit.advice.builds import cuda_of
from torchkit.advice.cmake_cuda import Astray, astray
from torchkit.advice.libtorch import installed_torch_is_one, libtorch_advice, unpacked
from torchkit.machine.facts import BuildTrial, Facts, Gpu, Libtorch, LiveTrial, Unknown
from torchkit.report import Artifact, Status, Table
from torchkit.units import readable


def machine_table(facts: Facts) -> Table:
    """The machine in a few lines: what people ask for first."""
    lines = {
        "torch": _torch_line(facts),
        "driver": _driver_line(facts),
        "build": _build_line(facts),
        "system": _system_line(facts),
        "live": _live_line(facts),
    }
    rows = [{"area": area, "value": value} for area, value in lines.items() if value]
    rows += [{"area": "probe", "value": value} for value in _probe_lines(facts)]
    return Table("machine", ("area", "value"), tuple(rows))


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _torch_line(facts: Facts) -> str:
    version, python = facts["torch_version"], facts.known("python_version")
    abi, cuda = facts.known("torch_cxx11_abi"), facts.known("torch_cuda")
    if isinstance(version, Unknown):
        torch = f"unknown ({version.reason})"
    else:
        torch = str(version) if version is not None else "none"
    prefix = facts.known("python_prefix")
    return _joined(
        torch,
        f"CUDA {cuda}" if cuda is not None else None,
        None if abi is None else f"C++11 ABI {'new' if abi else 'old'}",
        f"Python {python}" + (f" ({prefix})" if prefix else "") if python is not None else None,
    )


def _driver_line(facts: Facts) -> str:
    version, cuda = facts["driver_version"], facts.known("driver_cuda")
    gpus = facts.known("gpus") or ()
    if isinstance(version, Unknown):
        return f"unknown ({version.reason})"
    if version is None and not gpus:
        return "no NVIDIA driver"
    return _joined(
        str(version) if version is not None else "of the system",
        f"CUDA up to {cuda}" if cuda is not None else None,
        _gpus(gpus) or "no GPU in reach",
    )


def _gpus(gpus: Sequence[Gpu]) -> str:
    """Equal ones once: `4x NVIDIA A100 (8.0, 40 GiB)`."""
    texts: dict[str, int] = {}
    for gpu in gpus:
        told = [gpu.capability, readable(gpu.memory_bytes) if gpu.memory_bytes else None]
        inside = ", ".join(part for part in told if part)
        text = f"{gpu.name} ({inside})" if inside else gpu.name
        texts[text] = texts.get(text, 0) + 1
    return " · ".join(f"{count}x {text}" if count > 1 else text for text, count in texts.items())


def _build_line(facts: Facts) -> str | None:
    tools = [facts[f"{name}_version"] for name in ("gcc", "clang", "nvcc", "cmake")]
    if all(isinstance(tool, Unknown) for tool in tools):
        return None
    gcc, clang = facts.known("gcc_version"), facts.known("clang_version")
    nvcc, bound = facts.known("nvcc_version"), facts.known("nvcc_gcc_max")
    cmake = facts.known("cmake_version")
    takes = f" (takes gcc up to {bound})" if bound else ""
    found = _joined(
        f"gcc {gcc}" if gcc is not None else None,
        f"clang {clang}" if clang is not None else None,
        f"nvcc {nvcc}{takes}" if nvcc is not None else None,
        f"cmake {cmake}" if cmake is not None else None,
    )
    return found or "no compiler, nvcc or cmake"


def _system_line(facts: Facts) -> str:
    limit, total = facts.known("memory_limit_bytes"), facts.known("memory_total_bytes")
    memory = min((size for size in (limit, total) if size is not None), default=None)
    cpus = facts.known("cpu_limit") or facts.known("cpu_count")
    glibc, shm = facts.known("glibc_version"), facts.known("shm_total_bytes")
    runtime = facts.known("container_runtime")
    return _joined(
        facts.known("os_name"),
        facts.known("jetson_model"),
        "WSL" if facts.known("is_wsl") else None,
        f"glibc {glibc}" if glibc is not None else None,
        f"container ({runtime})"
        if runtime
        else "container"
        if facts.known("is_container")
        else None,
        f"{cpus:g} CPUs" if cpus else None,
        readable(memory) if memory else None,
        f"/dev/shm {readable(shm)}" if shm else None,
    )


def _live_line(facts: Facts) -> str | None:
    """What torch did in a child; nothing where it was not asked."""
    outcome = facts.known("live_outcome")
    if outcome is None:
        return None
    time = facts.known("live_import_ms") if outcome != "import failed" else None
    trials: Sequence[LiveTrial] = facts.known("live_trials") or ()
    ended = outcome if outcome in ("works", "trial failed", "import failed") else None
    return _joined(
        ended or f"{outcome} while {facts.known('live_stage')}",
        f"imported in {time / 1000:.1f} s" if time is not None else None,
        *(
            f"{it.what} {f'{it.milliseconds} ms' if it.worked else 'failed'}"
            for it in trials
            if it.what != "cudnn" or not it.worked
        ),
    )


def _probe_lines(facts: Facts) -> Iterator[str]:
    """How long each trial build took, and against what where there are several."""
    trials: Sequence[BuildTrial] = facts.known("build_trials") or ()
    for trial in trials:
        took = {"configured": trial.configure_s, "compiled": trial.compile_s}
        took |= {"linked": trial.link_s, "ran": trial.run_s}
        cuda = "available" if trial.cuda_available else "not available"
        yield _joined(
            "works" if trial.succeeded else f"{trial.stage} failed",
            f"libtorch {trial.version}" if trial.version is not None else None,
            trial.against if len(trials) > 1 else None,
            *(f"{did} in {it:.1f} s" for did, it in took.items() if it and trial.succeeded),
            f"CUDA {cuda}" if trial.cuda_available is not None else None,
        )


LIBTORCH_CHECKS = (
    "libtorch-broken",
    "libtorch-abi",
    "libtorch-cuda",
    "libtorch-glibc",
    "libtorch-compiler",
)


def libtorch_artifacts(facts: Facts) -> tuple[Artifact, ...]:
    """The libtorchs that were given and fit; else the download that fits this machine, and why.

    Nothing where the facts do not settle it.
    """
    given: tuple[Libtorch, ...] = facts.known("libtorchs") or ()
    fitting = tuple(artifact for one in given if (artifact := _if_it_fits(one, facts)) is not None)
    if fitting:
        return fitting
    return _download(facts, instead=bool(given))


def _if_it_fits(libtorch: Libtorch, facts: Facts) -> Artifact | None:
    """None where a check finds it unfit, or could not tell anything of it."""
    alone = facts.with_values({"libtorchs": (libtorch,)})
    found = checks.run_checks(alone, LIBTORCH_CHECKS)
    statuses = {finding.status for finding in found}
    if statuses & {Status.FAIL, Status.CRASH} or libtorch.version is None:
        return None
    told = [libtorch.version, libtorch.variant if "+" not in libtorch.version else None]
    name = " ".join(part for part in told if part)
    but = [it.verdict.brief or it.verdict.message for it in found if it.status is Status.WARN]
    return Artifact(
        "libtorch",
        f"libtorch {name} fits this machine" + (", with a warning" if but else ""),
        path=libtorch.path,
        why=tuple(but),
        commands=_using(libtorch, facts),
    )


def _using(libtorch: Libtorch, facts: Facts) -> tuple[str, ...]:
    """How CMake is told of it; an archive is unpacked first."""
    is_windows = facts.known("os_system") == "windows"
    folder = unpacked(libtorch)
    if libtorch.kind == "folder":
        prefix = f'"{folder}"' if is_windows else shlex.quote(folder)
        return (_cmake(prefix, for_cuda=libtorch.cuda is not None, facts=facts),)
    is_flat = libtorch.folder_inside == ""
    if is_windows:
        into = f" -C {folder}" if is_flat else ""
        unpack = f'tar -xf "{libtorch.path}"{into}'
        here = f'"%CD%/{folder}"'
    else:
        into = f" -d {folder}" if is_flat else ""
        unpack = f"unzip -q {shlex.quote(libtorch.path)}{into}"
        is_plain = re.fullmatch(r"[\w.+/-]+", folder) is not None
        here = f'"$PWD/{folder}"' if is_plain else f'"$PWD"/{shlex.quote(folder)}'
    make = (f"mkdir {folder}",) if is_flat and is_windows else ()
    return (*make, unpack, _cmake(here, for_cuda=libtorch.cuda is not None, facts=facts))


def _cmake(prefix: str, *, for_cuda: bool, facts: Facts) -> str:
    """`prefix` as a shell takes it; CMake is told of the CUDA toolkit where it would not find it."""
    strayed = _astray(facts) if for_cuda else None
    options = f" {strayed.options}" if strayed is not None else ""
    return f"cmake -DCMAKE_PREFIX_PATH={prefix}{options} -S . -B build"


def _astray(facts: Facts) -> Astray | None:
    return astray(facts["cmake_cuda_home"], facts["cuda_home"], facts["nvcc_path"])


def _download(facts: Facts, *, instead: bool) -> tuple[Artifact, ...]:
    found = libtorch_advice(facts)
    if found is None:
        return ()
    installed: tuple[str, ...] = ()
    if installed_torch_is_one(facts):
        strayed = _astray(facts) if facts.known("torch_cuda") is not None else None
        installed = (
            f"or no download: the installed torch {facts.known('torch_version')} is one, with "
            f"-DCMAKE_PREFIX_PATH={facts.known('torch_cmake_prefix')}"
            + (f" {strayed.options}" if strayed is not None else ""),
        )
    return (
        Artifact(
            "libtorch",
            "libtorch for this machine instead" if instead else "libtorch for this machine",
            url=found.zip.url,
            why=(*found.why, *installed),
            commands=(
                _cmake(
                    '"$PWD/libtorch"', for_cuda=cuda_of(found.zip.variant) is not None, facts=facts
                ),
            ),
        ),
    )
