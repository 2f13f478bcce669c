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

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchkit.errors import BadInput
from torchkit.knowledge.compat import gpu_capability
from torchkit.machine.facts import GLOSSARY, Companion, Facts, Gpu, Kind, Unknown
from torchkit.report import Evidence, Verdict, fail, ok
from torchkit.versions import Version, as_version

AREA = "requirement"

SHORT_NAMES = {
    "torch": "torch_version",
    "cuda": "torch_cuda",
    "driver": "driver_version",
    "cxx11_abi": "torch_cxx11_abi",
    "cxx11abi": "torch_cxx11_abi",
    "python": "python_version",
    "gcc": "gcc_version",
    "g++": "gcc_version",
    "clang": "clang_version",
    "cmake": "cmake_version",
    "nvcc": "nvcc_version",
    "glibc": "glibc_version",
    "glibcxx": "libstdcxx_glibcxx",
    "numpy": "numpy_version",
    "setuptools": "setuptools_version",
    "triton": "triton_version",
    "gpu": "gpus",
    "gpus": "gpus",
    "capability": "gpus",
    "shm": "shm_total_bytes",
    "cpus": "cpu_count",
}

COMPANION_NAMES = ("torchvision", "torchaudio", "torchtext", "torchao", "torchcodec", "xformers")

MEANT = {
    **dict.fromkeys(("sm", "arch", "compute", "compute_capability", "cc"), "capability"),
    **dict.fromkeys(("memory", "ram"), "memory_total_bytes"),
    **dict.fromkeys(("cpu", "cores"), "cpus"),
}
"""What people write for a name that their word does not resemble."""

UNLIMITED = ("memory_limit_bytes", "cpu_limit")
"""Facts of which "there is none" means that there is no end."""

_EXPRESSION = re.compile(r"\s*([A-Za-z][\w+-]*)\s*(?:(>=|<=|==|!=|~=|=|>|<)\s*(\S.*?))?\s*")

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}

_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(frozen=True)
class Bound:
    """One comparison, `>= 2.4`; "" stands for "is there"."""

    sign: str
    value: str


@dataclass(frozen=True)
class Requirement:
    """`torch>=2.4,<3`: the name as written, the fact behind it, every bound."""

    text: str
    name: str
    fact: str
    bounds: tuple[Bound, ...]


def parse_requirements(expression: str) -> tuple[Requirement, ...]:
    """`torch>=2.4,<3,gcc<14` as two requirements; a bound without a name belongs to the last one.

    Raises BadInput naming the part that cannot be read, or the name that is no fact.
    """
    found: list[Requirement] = []
    parts = [piece.strip() for piece in expression.split(",")]
    if len(parts) > 1 and not all(parts):
        raise BadInput(
            f"a comma in {expression!r} has no requirement before or after it",
            hint="separate requirements by one comma: --require 'torch>=2.4,<3,gcc<14'",
        )
    for part in parts:
        if found and re.match(r"[<>=!~]", part):
            last = found.pop()
            bounds = _parse(last.name + part, expression).bounds
            found.append(
                Requirement(f"{last.text},{part}", last.name, last.fact, last.bounds + bounds)
            )
        else:
            found.append(_parse(part, expression))
    return tuple(found)


def _parse(part: str, expression: str) -> Requirement:
    match = _EXPRESSION.fullmatch(part)
    if match is None:
        where = "" if part == expression.strip() else f" in {expression!r}"
        raise BadInput(
            f"cannot read the requirement {part!r}{where}",
            hint="write NAME, a comparison and a value, in quotes: --require 'torch>=2.4'",
        )
    name, sign, value = match[1], match[2] or "", match[3] or ""
    fact = _fact_of(name)
    _check_sign(part, name, fact, sign, value)
    sign = "==" if sign == "=" else sign
    _check_value(part, name, fact, sign, value)
    return Requirement(part, name, fact, (Bound(sign, value),))


def _fact_of(name: str) -> str:
    lower = name.lower()
    if lower in SHORT_NAMES:
        return SHORT_NAMES[lower]
    if lower in GLOSSARY and GLOSSARY[lower].kind in _ASKABLE:
        return lower
    if lower.replace("_", "-") in COMPANION_NAMES:
        return "companions"
    known = [
        *SHORT_NAMES,
        *COMPANION_NAMES,
        *(it.name for it in GLOSSARY.values() if it.kind in _ASKABLE),
    ]
    near = [MEANT[lower]] if lower in MEANT else difflib.get_close_matches(lower, known, n=1)
    raise BadInput(
        f"{name!r} is nothing that can be required",
        hint=f"did you mean {near[0]}?" if near else f"choose from: {', '.join(SHORT_NAMES)}",
    )


_ASKABLE = (Kind.VERSION, Kind.FLAG, Kind.COUNT, Kind.NUMBER, Kind.TEXT)


def _check_sign(part: str, name: str, fact: str, sign: str, value: str) -> None:
    """Raises BadInput for a comparison that there is not, or that says nothing of this fact."""
    written = sign + re.sub(r"[^<>=!~].*", "", value)
    choices = "==, !=, >=, <=, >, < or ~="
    if written not in ("", "=", "~=", *_COMPARE):
        raise BadInput(
            f"{written!r} in the requirement {part!r} is no comparison",
            hint=f"compare with {choices}, e.g. torch>=2.4",
        )
    if GLOSSARY[fact].kind is Kind.TEXT and sign not in ("", "=", "==", "!="):
        raise BadInput(
            f"{name} is a text, which has no order: {part!r}",
            hint="compare it with == or !=",
        )
    if sign != "~=":
        return
    if not _is_version(name, fact):
        raise BadInput(
            f"~= compares versions, and {name} is none: {part!r}", hint=f"write {name}>={value}"
        )
    if "." not in value:
        raise BadInput(
            f"~= needs a version of two parts or more: {part!r}",
            hint=f"write {name}~={value}.0, or {name}>={value}",
        )


def _is_version(name: str, fact: str) -> bool:
    return (
        name.lower() == "capability" or fact == "companions" or GLOSSARY[fact].kind is Kind.VERSION
    )


def _check_value(part: str, name: str, fact: str, sign: str, value: str) -> None:
    if not sign:
        return
    try:
        wanted = _wanted(name, fact, value)
    except ValueError:  # InvalidVersion is one
        kind = GLOSSARY[fact].kind
        example = "a version, e.g. 2.4" if _is_version(name, fact) else "a number"
        example = "a number, e.g. 8.0" if name.lower() == "capability" else example
        raise BadInput(
            f"cannot read {value!r} in the requirement {part!r}",
            hint=f"{name} is compared with {_EXAMPLE.get(kind, example)}",
        ) from None
    if isinstance(wanted, Version) and wanted.local is not None and sign not in ("==", "!="):
        raise BadInput(
            f"a local tag such as +{wanted.local} has no order: {part!r}",
            hint=f"write {name}{sign}{wanted.public}, or compare with == or !=",
        )


_EXAMPLE = {
    Kind.FLAG: "0 or 1, e.g. cxx11_abi==1",
    Kind.COUNT: "a number, sizes with K, M, G or T: shm_total_bytes>=8G",
    Kind.NUMBER: "a number",
}


def _wanted(name: str, fact: str, value: str) -> Any:
    """The bound's value as it is compared. Raises ValueError where it is none."""
    kind = GLOSSARY[fact].kind
    if _is_version(name, fact):
        wanted = Version(value.removesuffix(".*"))
        is_plain = not (wanted.is_prerelease or wanted.is_postrelease or wanted.local)
        if value.endswith(".*") and not is_plain:
            raise ValueError(value)
        return wanted
    if fact == "gpus":
        return int(value)
    if kind is Kind.FLAG:
        if value.lower() not in ("0", "1", "true", "false"):
            raise ValueError(value)
        return value.lower() in ("1", "true")
    if kind is Kind.TEXT:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
    if match is None:
        raise ValueError(value)
    return float(match[1]) * _SIZES[match[2].upper()]


# --- the judgement


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
    wanted = _wanted(requirement.name, requirement.fact, bound.value)
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
