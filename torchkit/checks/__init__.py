"""Finds the checks in this folder, runs them, and turns verdicts into findings.

One file is one check: its name is the id, its docstring the page, `AREA` its group, and
`judge` the judgement. The parameters of `judge` are the facts it needs, and their annotations
say which of the three states it can take:

- `Version` wants a value; on None the check does not apply, on `Unknown` it could not look;
- `Version | None` is also given "there is none";
- `Version | Unknown` is also given "could not tell".

`judge` returns one verdict, or a tuple of them where it judges several things (extensions, say)
and more than one is wrong: each becomes a finding with the check's id.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType

from torchkit.machine.facts import ASKED_FOR, GLOSSARY, Facts, Unknown, why_unknown
from torchkit.report import Finding, Status, Verdict, could_not_look, does_not_apply

_ABSENT = {
    "companions": "no package that goes with torch is installed",
    "cuda_visible_devices": "CUDA_VISIBLE_DEVICES is not set",
    "build_trials": "no build was tried, which --probe asks for",
    "driver_version": "there is no NVIDIA driver",
    "driver_library_version": "there is no libcuda",
    "driver_cuda": "there is no libcuda",
    "extensions": "there are no compiled modules of Linux to look into",
    "gcc_version": "there is no gcc",
    "glibc_version": "the C library is not glibc",
    "libstdcxx_glibcxx": "there is no libstdc++",
    "live_outcome": "torch was not tried, which --live asks for",
    "libtorchs": "no libtorch is given; --libtorch names one",
    "numpy_version": "numpy is not installed",
    "nvcc_version": "there is no nvcc",
    "setuptools_version": "setuptools is not installed",
    "shadowed_libraries": "there is no torch whose libraries could be shadowed",
    "shm_total_bytes": "there is no /dev/shm",
    "torch_archs": "this torch has no GPU code",
    "torch_cuda": "there is no torch with CUDA",
    "torch_problems": "torch is not installed",
    "torch_requires": "torch has no metadata",
    "torch_version": "torch is not installed",
}
"""What None means, in the words of a sentence."""


@dataclass(frozen=True)
class Check:
    """One check: what it is called, what it is about, and how it judges."""

    id: str
    area: str
    page: str
    judge: Callable[..., Verdict | tuple[Verdict, ...]]

    @property
    def title(self) -> str:
        """The first line of its page, without the full stop."""
        return self.page.strip().splitlines()[0].rstrip(".")

    @property
    def reference(self) -> str:
        """The first address its page refers to."""
        _, _, references = self.page.partition("## References")
        match = re.search(r"https?://\S+", references)
        return match[0].rstrip(".,)") if match else ""

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the facts it is given."""
        code = self.judge.__code__
        return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


@functools.cache
def check_ids() -> tuple[str, ...]:
    """Ids of all checks, sorted."""
    names = (path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return tuple(sorted(name.replace("_", "-") for name in names))


def automatic_ids() -> tuple[str, ...]:
    """Ids of the checks that judge facts alone; the others are given something by a command."""
    return tuple(
        check_id
        for check_id in check_ids()
        if all(name in GLOSSARY for name in load(check_id).facts)
    )


def load(check_id: str) -> Check:
    """The check of this id. Raises KeyError when there is none."""
    if check_id not in check_ids():
        raise KeyError(check_id)
    return _as_check(import_module(f"torchkit.checks.{check_id.replace('-', '_')}"))


def _as_check(module: ModuleType) -> Check:
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    return Check(name, module.AREA, module.__doc__ or "", module.judge)


def was_asked_for(check_id: str, facts: Facts) -> bool:
    """Whether the check judges the machine itself, or what an option had looked at on this one."""
    check = load(check_id)
    return not any(
        GLOSSARY[name].probe in ASKED_FOR
        and facts[name] is None
        and "None" not in str(check.judge.__annotations__.get(name, ""))
        for name in check.facts
    )


def run_checks(facts: Facts, ids: Iterable[str]) -> tuple[Finding, ...]:
    """Every check of `ids` on these facts, the worst findings first."""
    return worst_first(chain.from_iterable(run_check(load(check_id), facts) for check_id in ids))


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, the worst first, otherwise as they come."""
    return tuple(sorted(findings, key=_how_bad, reverse=True))


def run_check(check: Check, facts: Facts) -> tuple[Finding, ...]:
    """What one check finds. If it breaks, that is the finding, and the others still run."""
    try:
        judged = _judge(check, facts)
        verdicts = judged if isinstance(judged, tuple) else (judged,)
        verdicts = tuple(_for_this_machine(verdict, facts) for verdict in verdicts)
    except Exception as error:  # noqa: BLE001 - a broken check must not take the report with it
        words = f"this check broke: {type(error).__name__}: {error}"
        verdicts = (Verdict(Status.CRASH, words),)
    return tuple(Finding(check.id, check.area, verdict, check.reference) for verdict in verdicts)


def _judge(check: Check, facts: Facts) -> Verdict | tuple[Verdict, ...]:
    arguments = {}
    for name in check.facts:
        value = facts[name]
        takes = str(check.judge.__annotations__.get(name, ""))
        if isinstance(value, Unknown) and "Unknown" not in takes:
            return could_not_look(why_unknown(name, value))
        if value is None and "None" not in takes:
            return does_not_apply(_ABSENT.get(name, f"there is no {name}"))
        arguments[name] = value
    return check.judge(**arguments)


def _for_this_machine(verdict: Verdict, facts: Facts) -> Verdict:
    """The verdict with its fixes as this machine needs them: which torch, and whose pip."""
    if not verdict.fix:
        return verdict
    from torchkit.advice.lines import fitted

    return replace(verdict, fix=fitted(verdict.fix, facts))


_ORDER = (Status.OK, Status.SKIP, Status.INFO, Status.WARN, Status.FAIL, Status.CRASH)


def _how_bad(finding: Finding) -> int:
    return _ORDER.index(finding.status)
