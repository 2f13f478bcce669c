"""A C++ program cannot be built against a libtorch with the tools of this machine.

## What it looks at
What became of a ten-line program that `torchkit env --probe` configures, compiles, links and runs
against each libtorch that `--libtorch` names, or else the installed torch: with the cmake, the
compiler and the environment of the user, in a temporary folder.

## Why it matters
Every program against this libtorch meets the same. Where the program builds and runs, compiler,
linker, loader and libtorch fit together.

## What to do
Where the error is one that is known, its cause and cure stand with it. The command below builds the
same program again, to try a change of the environment.

## References
- https://docs.pytorch.org/cppdocs/installing.html
- https://cmake.org/cmake/help/latest/manual/cmake-env-variables.7.html
"""

from __future__ import annotations

import re
from dataclasses import replace

from torchkit.advice.cmake_cuda import Astray, astray
from torchkit.knowledge.compat import build_error
from torchkit.machine.facts import BuildTrial, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok

AREA = "libtorch"

_CANNOT_BE = {
    "configure": "cannot be configured against",
    "compile": "cannot be compiled against",
    "link": "cannot be linked against",
    "run": "does not run with",
}
_DONE = (("configure", "configured"), ("compile", "compiled"), ("link", "linked"), ("run", "ran"))


_WITHOUT_TOOLKIT = ("cuda-toolkit-incomplete", "cmake-cuda-not-found")
"""Errors whose cause is another one where CMake looks in the wrong folder."""


def judge(
    build_trials: tuple[BuildTrial, ...],
    cmake_cuda_home: str | None | Unknown,
    cuda_home: str | None | Unknown,
    nvcc_path: str | None | Unknown,
) -> tuple[Verdict, ...]:
    strayed = astray(cmake_cuda_home, cuda_home, nvcc_path)
    verdicts = tuple(_judged(trial, strayed) for trial in build_trials)
    if len(build_trials) > 1:  # of which libtorch the other finding speaks is not known
        verdicts = tuple(replace(verdict, part_of="") for verdict in verdicts)
    return verdicts


def _judged(trial: BuildTrial, strayed: Astray | None) -> Verdict:
    name = f"libtorch {trial.version}" if trial.version else "the libtorch"
    where = f"{name} in {trial.against}"
    if trial.succeeded:
        return ok(f"a C++ program builds against {where} and runs: {_took(trial)}")
    error = trial.error or "no error was told"
    known = build_error(
        f"{error}\n{trial.output or ''}", stage=trial.stage, cuda=_cuda(trial.version)
    )
    if known is not None and known.id in _WITHOUT_TOOLKIT and strayed is not None:
        known = known._replace(cause=strayed.cause, fix=strayed.fix)
    evidence = [Evidence(WOULD_FAIL_WITH, error, _step(trial))]
    if known is not None:
        evidence.append(Evidence("because", known.cause))
    if known is not None and known.problem:
        evidence.append(Evidence("more of it", f"torchkit explain {known.problem}"))
    if trial.command:
        evidence.append(Evidence("to see it again", trial.command))
    verdict = fail(
        f"a C++ program {_CANNOT_BE.get(trial.stage, 'cannot be built against')} {where}",
        evidence=evidence,
        fix=list(known.fix) if known is not None else (),
        brief=f"a C++ program {_CANNOT_BE.get(trial.stage, 'cannot be built against')} {name}",
    )
    return replace(verdict, part_of=known.part_of) if known is not None else verdict


def _cuda(version: str | None) -> str:
    """`12.6` of `2.7.0+cu126`."""
    match = re.search(r"\+cu(\d+)(\d)$", version or "")
    return f"{match[1]}.{match[2]}" if match else ""


def _step(trial: BuildTrial) -> str:
    tool = f" with {trial.tool}" if trial.tool and trial.tool != "cmake" else ""
    seconds = getattr(trial, f"{trial.stage}_s", None)
    took = f", after {seconds:.1f} s" if seconds and seconds >= 0.1 else ""
    return f"{trial.stage}{tool}{took}"


def _took(trial: BuildTrial) -> str:
    seconds = ((did, getattr(trial, f"{stage}_s")) for stage, did in _DONE)
    told = [f"{did} in {it:.1f} s" for did, it in seconds if it is not None]
    if trial.cuda_available is not None:
        told.append("CUDA available" if trial.cuda_available else "CUDA not available")
    return ", ".join(told)
