"""torch fails, dies or hangs when it is really imported and used.

## What it looks at
With `--live`, a child of the examined Python imports torch, multiplies and convolves on every
device, asks for cuDNN, and joins a group of one process by gloo and NCCL; the results are
compared with the right ones. Where it ended, by which signal, and what was written is told.

## Why it matters
Files can be whole and torch still not work: an instruction the processor lacks, a GPU that
fails, a driver that hangs, a module of the user's own that is imported in between.

## What to do
The stage says who is to blame: while importing, the installation or what is imported with it;
on a GPU, the driver, the build's architectures, or the GPU itself. A limit by `ulimit -v`, a mount
option noexec or a current folder that was deleted is named, and cured in place of torch.

## References
- https://docs.python.org/3/library/faulthandler.html
- https://docs.nvidia.com/deploy/xid-errors/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from torchkit.advice.around_torch import ODD, around
from torchkit.advice.lines import FITTING_TORCH, reinstall_line
from torchkit.machine.facts import Library, LiveTrial, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn
from torchkit.versions import Version

AREA = "torch"

LOOK_AT_THE_GPU = "look for the GPU's own report: sudo dmesg | grep -iE 'nvrm|xid'"

AFTER_COMPUTING = {
    "leaving Python": "Python ends",
    "joining by gloo": "processes are joined by gloo",
    "joining by NCCL": "processes are joined by NCCL",
}
"""Stages that are reached only when every device was tried, and what happens in them."""


T = TypeVar("T")


class Seen(NamedTuple):
    """What the child went through, with the gaps filled."""

    version: Version | None
    stage: str
    error: str
    stack: tuple[str, ...]
    output: tuple[str, ...]
    python: str
    folder: str

    @property
    def name(self) -> str:
        return f"torch {self.version}" if self.version is not None else "torch"

    def evidence(self, would_fail_with: str) -> list[Evidence]:
        """The error, where it was, and what was written beside it."""
        told = [line for line in self.output if line not in would_fail_with]
        told = [line for line in told if not line.startswith(ODD)]
        return [
            Evidence(WOULD_FAIL_WITH, would_fail_with, f"a child, {self.stage}"),
            *(Evidence("where", frame) for frame in self.stack[:3]),
            *(Evidence("written", line, "standard error") for line in told[-3:]),
        ]


def judge(
    live_outcome: str,
    live_stage: str | None | Unknown,
    live_error: str | None | Unknown,
    live_signal: str | None | Unknown,
    live_stack: tuple[str, ...] | None | Unknown,
    live_output: tuple[str, ...] | None | Unknown,
    live_trials: tuple[LiveTrial, ...] | None | Unknown,
    live_torch: Mapping[str, str] | None | Unknown,
    live_import_ms: int | None | Unknown,
    live_warnings: tuple[str, ...] | None | Unknown,
    torch_version: Version | None | Unknown,
    torch_path: str | None | Unknown,
    torch_problems: tuple[str, ...] | None | Unknown,
    torch_shadows: tuple[str, ...] | None | Unknown,
    shadowed_libraries: tuple[Library, ...] | None | Unknown,
    python_executable: str | None | Unknown,
) -> Verdict | tuple[Verdict, ...]:
    seen = Seen(
        _known(torch_version),
        _known(live_stage) or "at a stage that is not told",
        _known(live_error) or "an error that is not told",
        _known(live_stack) or (),
        _known(live_output) or (),
        _known(python_executable) or "python",
        _known(torch_path) or "FOLDER",
    )
    told = _known(live_torch) or {}
    shadows = _known(torch_shadows) or ()
    if live_outcome == "import failed":
        if torch_version is None and seen.error.endswith("No module named 'torch'"):
            return does_not_apply("torch is not installed")
        problems = _known(torch_problems)
        file, libraries = told.get("file", ""), _known(shadowed_libraries) or ()
        by = _told_by(seen, file, problems or (), shadows, libraries)
        return replace(_import_failed(seen, problems), part_of=by)
    if live_outcome in ("died", "hung"):
        verdict = _died(seen, _known(live_signal)) if live_outcome == "died" else _hung(seen)
        return replace(verdict, part_of="torch-shadowed" if shadows else "")
    if live_outcome == "no answer":
        return _no_answer(seen)
    trials = _known(live_trials) or ()
    failed = tuple(_failed(trial, seen) for trial in trials if not trial.worked)
    return failed or _well(told, trials, _known(live_import_ms), _known(live_warnings) or ())


def _known(fact: T | None | Unknown) -> T | None:
    return None if isinstance(fact, Unknown) else fact


def _no_answer(seen: Seen) -> Verdict:
    return warn(
        f"{seen.python} ended before it ran anything: {seen.error}",
        evidence=seen.evidence(seen.error),
        fix=[f"{seen.python} -v -c 0   shows what it runs at its start"],
        brief="Python ends before torch is imported",
    )


def _with_cause(verdict: Verdict, seen: Seen) -> Verdict:
    """The verdict, with the cause and cure of what is around torch in place of torch's own."""
    found = around(seen.error, seen.output, seen.folder)
    if found is None:
        return verdict
    evidence = (*verdict.evidence, Evidence("because", found.because))
    return replace(verdict, evidence=evidence, fix=found.fix)


# --- importing

OF_TORCH_ITSELF = ("torch", "torchgen", "functorch")
"""Modules that torch's own wheel brings: whoever lacks one of them lacks a part of torch."""


def _import_failed(seen: Seen, problems: tuple[str, ...] | None) -> Verdict:
    evidence = seen.evidence(seen.error)
    if problems == ():
        evidence.append(Evidence("files", "torch's files and libraries give no sign of it"))
    elif problems and not _is_same(seen.error, problems):
        evidence.append(Evidence("files", f"they foretell another error: {problems[0]}"))
    absent = re.search(r"No module named '(\w+)'$", seen.error)
    fix = [f"{seen.python} -c 'import torch'   shows the whole traceback"]
    if absent and absent[1] not in OF_TORCH_ITSELF:
        fix.insert(0, f"pip install {absent[1].replace('_', '-')}")
    else:
        fix.append(reinstall_line(seen.version))
    verdict = fail(
        f"`import torch` fails: {seen.error}",
        evidence=evidence,
        fix=fix,
        brief="torch cannot be imported",
    )
    return _with_cause(verdict, seen)


def _told_by(
    seen: Seen,
    file: str,
    problems: tuple[str, ...],
    shadows: tuple[str, ...],
    libraries: tuple[Library, ...],
) -> str:
    """Id of the check that foretold this error from files, and explains it; "" where none did."""
    folder = re.sub(r"[/\\]__init__\.py$", "", file)
    if file and {file, folder} & set(shadows):
        return "torch-shadowed"
    if not problems or not _is_same(seen.error, problems):
        return ""
    if any(it.missing and it.missing in seen.error for it in libraries):
        return "library-shadowed"
    if "version `GLIBC_" in seen.error:
        return "glibc-too-old"
    return (
        "libstdcxx-too-old"
        if re.search(r"`(GLIBCXX|CXXABI)_", seen.error)
        else "torch-import-fails"
    )


def _is_same(error: str, problems: tuple[str, ...]) -> bool:
    """Whether the first error is the one foretold; who reports it may put more around it."""
    return problems[0].removeprefix("ImportError: ") in error


# --- a death, a hang


def _died(seen: Seen, signal: str | None) -> Verdict:
    how = f"dies of {signal}" if signal else "ends Python"
    late = AFTER_COMPUTING.get(seen.stage)
    evidence = seen.evidence(seen.error)
    if late is not None:
        return warn(
            f"{seen.name} computes, but {how} when {late}",
            evidence=evidence,
            fix=_cure(seen, signal),
            brief=f"torch {how} when {late}",
        )
    verdict = fail(
        f"{seen.name} {how} while {seen.stage}",
        evidence=evidence,
        fix=_cure(seen, signal),
        brief=f"torch {how} while {seen.stage}",
    )
    return _with_cause(verdict, seen)


def _hung(seen: Seen) -> Verdict:
    late = AFTER_COMPUTING.get(seen.stage)
    build = fail if late is None else warn
    before = "" if late is None else "computes, but "
    return build(
        f"{seen.name} {before}hangs while {seen.stage}",
        evidence=[
            *seen.evidence("no error: it waits without end"),
            Evidence("found", seen.error),
        ],
        fix=_cure(seen, None),
        brief=f"torch hangs while {seen.stage}",
    )


def _cure(seen: Seen, signal: str | None) -> list[str]:
    if signal == "SIGKILL":
        return ["look whether memory ran out: sudo dmesg | grep -iE 'out of memory|killed process'"]
    if re.search(r"CUDA|cuda:\d|NCCL", seen.stage):
        return [LOOK_AT_THE_GPU, "see whether the driver answers: nvidia-smi"]
    if seen.stage == "joining by gloo":
        return ["see whether the loopback interface is up: ip address show lo"]
    where = f"{seen.python} -X faulthandler -c 'import torch'   shows where"
    if signal == "SIGILL":
        return [f"{where}: an instruction that this processor lacks", FITTING_TORCH]
    return [where, reinstall_line(seen.version)]


# --- what was computed


def _failed(trial: LiveTrial, seen: Seen) -> Verdict:
    error = trial.error or "an error that is not told"
    where = f"{trial.what} ({trial.name})" if trial.name else trial.what
    evidence = seen._replace(stack=(), stage=f"on {trial.what}").evidence(error)
    if trial.what in ("gloo", "nccl"):
        return warn(
            f"{seen.name} computes, but cannot join processes by {trial.what}: {error}",
            evidence=evidence,
            fix=["ip address show lo   shows whether the loopback interface is up"]
            if trial.what == "gloo"
            else ["NCCL_DEBUG=INFO shows why, in the output of the program"],
            brief=f"torch cannot join processes by {trial.what}",
        )
    if "out of memory" in error.lower():
        return warn(
            f"{where} has no memory left for {seen.name}",
            evidence=evidence,
            fix=["see who has it: nvidia-smi"],
            brief=f"{trial.what} has no memory left",
        )
    if trial.what == "cudnn":
        verdict = fail(
            f"{seen.name} refuses its cuDNN: {error}",
            evidence=evidence,
            fix=["take other copies of cuDNN out of LD_LIBRARY_PATH", reinstall_line(seen.version)],
            brief="torch refuses its cuDNN",
        )
        return replace(verdict, part_of="library-shadowed")
    wrong = "came out wrong" in error
    verdict = fail(
        f"{seen.name} {'computes wrong' if wrong else 'does not work'} on {where}: {error}",
        evidence=evidence,
        fix=_device_cure(trial, seen, error),
        brief=f"torch {'computes wrong' if wrong else 'does not work'} on {trial.what}",
    )
    return replace(verdict, part_of="gpu-unsupported") if NO_CODE in error else verdict


NO_CODE = "no kernel image is available"


def _device_cure(trial: LiveTrial, seen: Seen, error: str) -> list[str]:
    if NO_CODE in error:
        return [FITTING_TORCH]
    if trial.what.startswith("cuda"):
        return [LOOK_AT_THE_GPU, reinstall_line(seen.version)]
    return [reinstall_line(seen.version)]


def _well(
    told: Mapping[str, str],
    trials: tuple[LiveTrial, ...],
    import_ms: int | None,
    warnings: tuple[str, ...],
) -> Verdict:
    devices = [it.what for it in trials if it.what not in ("cudnn", "gloo", "nccl")]
    time = f" in {import_ms / 1000:.1f} s" if import_ms is not None else ""
    return ok(
        f"torch {told.get('version', '')} imports{time}, multiplies right on {' and '.join(devices)}",
        evidence=[Evidence("warned", text) for text in warnings],
    )
