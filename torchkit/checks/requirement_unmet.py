"""A requirement that `--require` states is not met.

## What it looks at
The fact that the requirement names, and its bound. As many parts are compared as the bound
has: `python==3.11` holds for 3.11.7, `gcc<=13` for 13.2, `capability==8` for 8.6. `~=2.4` is
2.4 or newer, but not 3. A local tag counts only where the bound names one: `torch==2.13.0+cpu`.

A build between releases counts as the release it leads to: 2.6.0a0+ecf3bae40a in NVIDIA's
containers as 2.6.0, a nightly 2.14.0.dev20260901 as 2.14.0, so that `torch>=2.6` and
`torch>=2.6.0` agree. A bound that itself names a pre-release, `torch>=2.14.0.dev20260815`, is
compared part by part as pip does.

Where no cgroup sets a limit, `memory_limit_bytes` and `cpu_limit` are larger than any bound.
`cpus` is what the process may really use: the smaller of `cpu_count` and `cpu_limit`.
`capability` must hold for every GPU.

## Why it matters
A CI job can refuse a machine before it builds or trains on it. A fact that could not be told
counts as unmet: a job that asked must not pass by ignorance.

## What to do
Change the machine, or the requirement. Quote it, since a shell takes `>` for itself, and
separate several by commas: `--require 'torch>=2.4,<3,gcc<14'`.

## References
- https://packaging.python.org/en/latest/specifications/version-specifiers/
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchkit.knowledge.compat import gpu_capability
from torchkit.machine.facts import Companion, Facts, Gpu, Unknown
from torchkit.report import Evidence, Verdict, fail, ok
from torchkit.requirements import Bound, Requirement, wanted_value
from torchkit.versions import Version, as_version

AREA = "requirement"

UNLIMITED = ("memory_limit_bytes", "cpu_limit")
"""Facts of which "there is none" means that there is no end."""

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class _Found:
    """Something that every bound must hold for: the value, its words, the fact it is from."""

    value: Any
    words: str
    fact: str


def judge(requirement: Requirement, facts: Facts) -> Verdict:
    """Whether this machine meets it."""
    found = _found(requirement, facts)
    if isinstance(found, Unknown):
        return _unmet(
            requirement,
            f"which could not be told: {found.reason}",
            f"unknown: {found.reason}",
            requirement.fact,
        )
    if not found:
        return _unmet(requirement, "of which there is none", "none", requirement.fact)
    for it in found:
        if not all(_holds(requirement, bound, it.value) for bound in requirement.bounds):
            return _unmet(requirement, f"found {it.words}", it.words, it.fact)
    words = dict.fromkeys(it.words for it in found)
    return ok(f"{requirement.text} is met: {', '.join(words)}")


def _unmet(requirement: Requirement, found: str, evidence: str, source: str) -> Verdict:
    return fail(
        f"{requirement.text} is required, {found}",
        evidence=[
            Evidence("found", evidence, source),
            Evidence("needed", requirement.text, "--require"),
        ],
        brief=f"{requirement.text} is not met",
    )


def _found(requirement: Requirement, facts: Facts) -> tuple[_Found, ...] | Unknown:
    """What is compared: the fact itself, or what a name such as `cpus` stands for; () for none."""
    name, fact = requirement.name.lower(), requirement.fact
    if name == "cpus":
        fact = _lower_cpu_fact(facts)
    value = facts[fact]
    if isinstance(value, Unknown):
        return value
    if fact == "companions":
        return _companion(name.replace("_", "-"), value or ())
    if name == "capability":
        return _capabilities(value or ())
    if fact == "gpus":
        return (_Found(len(value or ()), str(len(value or ())), fact),)
    if value is None and fact in UNLIMITED and any(bound.sign for bound in requirement.bounds):
        return (_Found(math.inf, "unlimited", fact),)
    return () if value is None else (_Found(value, _words(value), fact),)


def _lower_cpu_fact(facts: Facts) -> str:
    """The fact with the fewer CPUs; the one that is known where the other is not."""
    told = {
        name: facts[name]
        for name in ("cpu_count", "cpu_limit")
        if isinstance(facts[name], (int, float))
    }
    return min(told, key=lambda name: told[name]) if told else "cpu_count"


def _companion(name: str, companions: tuple[Companion, ...]) -> tuple[_Found, ...] | Unknown:
    texts = [it.version for it in companions if it.name == name]
    if not texts:
        return ()
    version = as_version(texts[0])
    if version is None:
        return Unknown(f"{name} is installed with the version {texts[0]!r}")
    return (_Found(version, texts[0], "companions"),)


def _capabilities(gpus: tuple[Gpu, ...]) -> tuple[_Found, ...] | Unknown:
    """Every GPU's, by its name where nothing told: one that stays unknown leaves all unknown."""
    found = []
    for gpu in gpus:
        text = gpu.capability or gpu_capability(gpu.name)
        version = as_version(text)
        if text is None or version is None:
            return Unknown(f"the compute capability of {gpu.name} is not known")
        found.append(_Found(version, f"{text} ({gpu.name})", "gpus"))
    return tuple(found)


def _holds(requirement: Requirement, bound: Bound, value: Any) -> bool:
    if not bound.sign:
        return bool(value)
    wanted = wanted_value(requirement.name, requirement.fact, bound.value)
    if isinstance(value, Version):
        return _version_holds(bound.sign, value, wanted)
    return _COMPARE[bound.sign](value, wanted)


def _version_holds(sign: str, value: Version, wanted: Version) -> bool:
    if sign != "~=":
        return _COMPARE[sign](_as_named(value, wanted), wanted)
    prefix = wanted.release[:-1]
    release = (*value.release, *[0] * len(prefix))
    return _as_named(value, wanted) >= wanted and release[: len(prefix)] == prefix


def _as_named(value: Version, wanted: Version) -> Version:
    """The part of a version that the bound names: as many numbers, a local tag, a pre-release."""
    if wanted.is_prerelease:
        text = value.public
    else:
        text = ".".join(str(part) for part in value.release[: len(wanted.release)])
        if wanted.post is not None and value.post is not None and value.pre is None:
            text += f".post{value.post}"
    if wanted.local is not None and value.local is not None:
        text += f"+{value.local}"
    return Version(text)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
