"""Machines that should be alike differ.

## What it looks at
One fact that several machines tell differently: this machine and saved ones (`torchkit env
--compare FILE...`), or the ranks of one job (`torchrun --nproc-per-node 8 -m torchkit env
--all-ranks`). Versions are compared as far as they matter: Python by its series, numpy and the
driver by their major. Sizes that differ by less than 5 % are the same. Free memory, paths and
whatever else differs between any two machines is left out, and so is what follows from another
difference: a torch for another CUDA brings other nvidia packages.

A fact that one machine does not tell is no difference. It is listed apart.

## Why it matters
The script that runs here dies there, or one node of a job crashes, waits or slows down the others.
Which difference is to blame is seen when all are listed beside each other. Among the ranks of one
job some are known to be fatal: NCCL compares its version on every rank and refuses to start
("Mismatched NCCL version detected"), a CPU build of torch has no NCCL, and no torch is no torch.

## What to do
Make the odd one like the others: the same container image, or the same lock file. Where there are
as many of one kind as of the other, choose one kind.

Under torchrun every rank looks and rank 0 reports; its exit code is the answer. torchrun turns an
exit code other than 0 into its own, after a message of its own about the failed rank. On one host
the ranks meet in the folder for temporary files, else through torch.distributed's store; a rank
whose torch does not work leaves its answer in the current folder, or in TORCHKIT_RANKS_DIR, which
every rank must see. TORCHKIT_RANKS_TIMEOUT_S says how long rank 0 waits, 60 seconds if not set.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torchkit.machine.facts import Value
from torchkit.report import WOULD_FAIL_WITH, Evidence, Status, Verdict, fail, info, warn
from torchkit.versions import Version, as_version

AREA = "machines"


class Side(NamedTuple):
    """A value, in words too, and the machines that have it: folded names, and how many."""

    value: Value
    words: str
    machines: str
    size: int = 1


class Difference(NamedTuple):
    """A fact, or one item of a fact that lists packages, that is not the same everywhere.

    The first side is the one to be like: most machines', or the saved machine's. It `is_usual`
    where more machines are on it than on any other. `is_one_job`: the machines work together.
    """

    fact: str
    sides: tuple[Side, ...]
    item: str = ""
    is_usual: bool = False
    is_one_job: bool = False

    @property
    def label(self) -> str:
        """What people call it: `torch`, `driver`, `torchvision`."""
        if self.fact == "extensions":
            return f"extension {self.item}"
        return self.item or (MEANINGS[self.fact].label if self.fact in MEANINGS else self.fact)


def judge(difference: Difference) -> Verdict:
    """What the difference means. Facts that `MEANINGS` does not name mean nothing: info."""
    meaning = MEANINGS.get(difference.fact)
    words = f"{difference.label} {_values(difference)}"
    evidence = [Evidence(side.machines, side.words, difference.fact) for side in difference.sides]
    if meaning is None:
        return info(words, evidence=evidence)
    if meaning.status is Status.INFO:
        return info(f"{words}: {meaning.sentence}", evidence=evidence, brief=words)
    evidence.append(Evidence("means", meaning.sentence))
    fix = [_fix(meaning, difference)]
    fatal = _fatal_in_a_job(difference) if difference.is_one_job else None
    if fatal:
        return fail(words, evidence=[*evidence, Evidence(WOULD_FAIL_WITH, *fatal)], fix=fix)
    return warn(words, evidence=evidence, fix=fix)


def is_worth_a_finding(difference: Difference) -> bool:
    """Whether it matters: patch releases, a twentieth more memory and another cmake do not."""
    meaning = MEANINGS.get(difference.fact)
    return meaning is not None and meaning.matters([side.value for side in difference.sides])


MOST_VALUES = 3
"""More values than these are not told in one line."""


def _values(difference: Difference) -> str:
    """`535.54.03 on node7, 550.90.07 on node0-6`: what is odd comes first."""
    first, *others = difference.sides
    sides = (
        [*others, first] if difference.is_usual or len(difference.sides) == 2 else [first, *others]
    )
    told = [f"{side.words} on {side.machines}" for side in sides]
    if len(told) > MOST_VALUES:
        usual = told[-1:] if difference.is_usual else []
        kept = told[: MOST_VALUES - 1 - len(usual)]
        rest = len(told) - len(kept) - len(usual)
        told = [*kept, *usual, f"and {rest} other values"]
    return ", ".join(told)


def _fix(meaning: Meaning, difference: Difference) -> str:
    usual = difference.sides[0]
    where = ", ".join(dict.fromkeys(side.machines for side in difference.sides[1:]))
    if len(difference.sides) > MOST_VALUES:
        where = "the others"
    form = meaning.fix if usual.value is not None else meaning.fix_none or "make them the same"
    return form.format(item=difference.item, needed=usual.words, where=where)


# --- what is known to break a job


def _fatal_in_a_job(difference: Difference) -> tuple[str, str] | None:
    """The error the ranks of one job would meet, and when; None where none is known."""
    values = [side.value for side in difference.sides]
    if difference.fact == "torch_version" and None in values:
        return "ModuleNotFoundError: No module named 'torch'", "import torch"
    if difference.fact == "torch_build" and "cpu" in values and "cuda" in values:
        return "RuntimeError: Distributed package doesn't have NCCL built in", WITH_NCCL
    if difference.fact == "nvidia_packages" and difference.item == "nvidia-nccl":
        versions = {as_version(value) for value in values if value is not None}
        codes = {_nccl_code(version) for version in versions if version is not None}
        if len(codes) > 1:
            return "Mismatched NCCL version detected", WITH_NCCL
    return None


WITH_NCCL = "init_process_group with nccl"


def _nccl_code(version: Version) -> tuple[int, int, int]:
    """What initTransportsRank of NCCL's src/init.cc compares: NCCL_VERSION_CODE."""
    return version.major, version.minor, version.micro


# --- when a difference matters


def _always(_values: Sequence[Value]) -> bool:
    return True


def _some_absent(values: Sequence[Value]) -> bool:
    return any(value is None for value in values)


def _other_series(values: Sequence[Value]) -> bool:
    return _some_absent(values) or len({value.series for value in values}) > 1


def _other_major(values: Sequence[Value]) -> bool:
    return _some_absent(values) or len({value.major for value in values}) > 1


def _twice_as_much(values: Sequence[Value]) -> bool:
    return _some_absent(values) or max(values) >= 2 * min(values)


class Meaning(NamedTuple):
    """What a difference in one fact means.

    `fix` and `fix_none` (where the usual is that there is none) may name {item}, {needed}, {where}.
    It is told by another finding where one of `follows` differs between the same machines.
    """

    label: str
    sentence: str
    fix: str
    matters: Callable[[Sequence[Value]], bool] = _always
    status: Status = Status.WARN
    follows: tuple[str, ...] = ()
    fix_none: str = ""


MEANINGS: dict[str, Meaning] = {
    "torch_version": Meaning(
        "torch",
        "results, speed and saved files may differ, and extensions built for one need not load with the other",
        "install torch {needed} on {where} too",
        fix_none="install the same torch everywhere, or remove it from {where}",
        follows=("torch_shadows",),
    ),
    "torch_build": Meaning(
        "torch build",
        "a build for the CPU uses no GPU",
        "install one build of torch everywhere: where GPUs are to be used, the one for CUDA",
        follows=("torch_version",),
        fix_none="install the same torch everywhere",
    ),
    "torch_cuda": Meaning(
        "torch's CUDA",
        "extensions built for one do not load with the other, and the driver must run both",
        "install the torch for CUDA {needed} on {where} too",
        follows=("torch_version", "torch_build"),
        fix_none="install the same build of torch everywhere",
    ),
    "torch_cxx11_abi": Meaning(
        "torch's C++ ABI",
        "extensions and C++ programs built for one do not load with the other",
        "install the same build of torch on {where}, and build extensions again there",
        follows=("torch_version",),
        fix_none="install the same build of torch everywhere",
    ),
    "torch_archs": Meaning(
        "torch's GPU architectures",
        "builds of one version that are not the same: one was made by hand or for other GPUs",
        "install the same build of torch on {where}",
        follows=("torch_version", "torch_build", "torch_cuda"),
        fix_none="install the same build of torch everywhere",
    ),
    "torch_problems": Meaning(
        "obstacle to `import torch`:",
        "torch does not load where something is named",
        "see `torchkit env` on {where} for the cure",
        fix_none="see `torchkit env` on {where} for the cure",
    ),
    "torch_shadows": Meaning(
        "shadow of torch:",
        "a file or folder named torch is imported in its place where one is named",
        "rename it: see `torchkit env` on {where}",
        fix_none="rename it: see `torchkit env` on {where}",
    ),
    "shadowed_libraries": Meaning(
        "shadowed libraries:",
        "other copies of torch's libraries win where some are named",
        "see `torchkit env` on {where} for the cure",
        fix_none="see `torchkit env` on {where} for the cure",
    ),
    "companions": Meaning(
        "a package that goes with torch",
        "it goes with one torch, and its models and operators change between releases",
        "install {item} {needed} on {where} too",
        follows=("torch_version",),
        fix_none="install {item} everywhere, or remove it from {where}",
    ),
    "extensions": Meaning(
        "a compiled extension",
        "what loads on one machine does not on the other",
        "build or install {item} on {where} as on the others",
        follows=("torch_version", "companions"),
        fix_none="install {item} everywhere, or remove it from {where}",
    ),
    "nvidia_packages": Meaning(
        "an nvidia package",
        "torch loads CUDA's libraries from it",
        "install {item} {needed} on {where} too",
        follows=("torch_version",),
        fix_none="install {item} everywhere, or remove it from {where}",
    ),
    "triton_version": Meaning(
        "triton",
        "torch.compile makes other kernels, or none",
        "install triton {needed} on {where} too",
        follows=("torch_version",),
        fix_none="install triton everywhere, or remove it from {where}",
    ),
    "python_version": Meaning(
        "python",
        "compiled packages are made for one series of Python, and pickled code does not travel between two",
        "make the environment of {where} with Python {needed}",
        matters=_other_series,
    ),
    "python_free_threaded": Meaning(
        "python without the GIL",
        "compiled packages for one kind of Python do not load in the other",
        "make the environment of {where} with the same kind of Python",
    ),
    "numpy_version": Meaning(
        "numpy",
        "modules compiled for numpy 1 do not work with numpy 2, and arrays pickled by 2 are not read by old releases of 1",
        "install numpy {needed} on {where} too",
        matters=_other_major,
        fix_none="install numpy everywhere, or remove it from {where}",
    ),
    "driver_version": Meaning(
        "driver",
        "what is built for a new CUDA runs on the newer driver only",
        "bring the NVIDIA driver of {where} to {needed}",
        matters=_other_major,
        fix_none="install the NVIDIA driver everywhere",
    ),
    "driver_cuda": Meaning(
        "driver's CUDA",
        "what is built for a newer CUDA than that does not run",
        "bring the NVIDIA driver of {where} to one that runs CUDA {needed}",
        follows=("driver_version",),
        fix_none="install the NVIDIA driver everywhere",
    ),
    "gpus": Meaning(
        "GPUs",
        "memory, speed and the code they run differ; in a job the smallest bounds the batch and the slowest sets the pace",
        "run on machines with the same GPUs, and see that all of them are visible on {where}",
        fix_none="run on machines with the same GPUs",
    ),
    "glibc_version": Meaning(
        "glibc",
        "what is built or bundled on the newer one does not start on the older one",
        "build on the machine with the oldest glibc, or use one container image",
        fix_none="use one container image",
    ),
    "libstdcxx_glibcxx": Meaning(
        "libstdc++",
        "what is compiled against the newer one does not load with the older one",
        "build with the older compiler, or install libstdcxx-ng from conda-forge on all",
        follows=("glibc_version", "os_system"),
    ),
    "os_system": Meaning(
        "operating system", "no compiled file of one runs on the other", "compare machines of one system"
    ),
    "cpu_architecture": Meaning(
        "CPU architecture",
        "no compiled file of one runs on the other, and not every wheel exists for both",
        "build and install on {where} apart",
    ),
    "shm_total_bytes": Meaning(
        "/dev/shm",
        "DataLoader workers that fit on one machine die on the other",
        "give {where} as much: docker run --shm-size",
        matters=_twice_as_much,
    ),
    "memory_limit_bytes": Meaning(
        "memory limit",
        "a process that fits on one machine is killed on the other",
        "set the same limit of memory on {where}",
        status=Status.INFO,
        fix_none="set the same limit of memory, or none, on {where}",
    ),
    "memory_total_bytes": Meaning(
        "memory",
        "a process that fits on one machine is killed on the other",
        "plan for the smallest machine",
        matters=_twice_as_much,
        status=Status.INFO,
    ),
    "cpu_limit": Meaning(
        "CPU limit",
        "as many DataLoader workers are slower on one machine than on the other",
        "set the same limit of CPUs on {where}",
        status=Status.INFO,
        fix_none="set the same limit of CPUs, or none, on {where}",
    ),
    "cpu_count": Meaning(
        "CPUs",
        "as many DataLoader workers are slower on one machine than on the other",
        "plan for the smallest machine, or give all ranks as many CPUs",
        matters=_twice_as_much,
        status=Status.INFO,
    ),
    "container_runtime": Meaning(
        "container",
        "inside a container libraries, limits and /dev/shm are its own",
        "run all in the same container image, or none",
        status=Status.INFO,
        fix_none="run all in the same container image, or none",
    ),
    "is_wsl": Meaning(
        "WSL", "under WSL the driver is that of Windows", "compare machines of one system", status=Status.INFO
    ),
    "gcc_version": Meaning(
        "gcc",
        "extensions are built by other compilers, and nvcc takes only some",
        "build with gcc {needed} on {where} too",
        matters=_other_major,
        status=Status.INFO,
        fix_none="install the same compiler everywhere",
    ),
    "nvcc_version": Meaning(
        "nvcc",
        "extensions with CUDA code are built by other toolkits",
        "build with the CUDA toolkit {needed} on {where} too",
        matters=_other_series,
        status=Status.INFO,
        fix_none="install the same CUDA toolkit everywhere",
    ),
}  # fmt: skip
"""What each fact's difference means. Of the ranks' fatal ones, each was seen to happen with torch
2.13 and 2.14, or stands in NCCL's source; two releases of torch did work together over gloo."""
