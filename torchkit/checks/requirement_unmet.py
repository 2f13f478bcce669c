"""A requirement that `--require` states is not met.

## What it looks at
The fact that the requirement names, and its bound. As many parts are compared as the bound
has: `python==3.11` holds for 3.11.7, `gcc<=13` for 13.2.

## Why it matters
A CI job can refuse a machine before it builds or trains on it. A fact that could not be told
counts as unmet: a job that asked must not pass by ignorance.

## What to do
Change the machine, or the requirement.

## References
- https://packaging.python.org/en/latest/specifications/version-specifiers/
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchkit.errors import BadInput
from torchkit.machine.facts import GLOSSARY, Companion, Facts, Gpu, Kind, Unknown
from torchkit.report import Evidence, Verdict, fail, ok
from torchkit.versions import InvalidVersion, Version

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

_EXPRESSION = re.compile(r"^\s*([A-Za-z][\w+-]*)\s*(?:(>=|<=|==|!=|~=|=|>|<)\s*(\S+))?\s*$")

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
    for part in (piece.strip() for piece in expression.split(",")):
        if found and re.match(r"[<>=!~]", part):
            part = found[-1].name + part  # noqa: PLW2901 - the bound continues the last name
            last = found.pop()
            requirement = _parse(part)
            found.append(
                Requirement(
                    f"{last.text},{part[len(last.name) :]}",
                    last.name,
                    last.fact,
                    last.bounds + requirement.bounds,
                )
            )
        else:
            found.append(_parse(part))
    return tuple(found)


def _parse(part: str) -> Requirement:
    match = _EXPRESSION.match(part)
    if match is None:
        raise BadInput(
            f"cannot read the requirement {part!r}",
            hint="write NAME, a comparison and a value, in quotes: --require 'torch>=2.4'",
        )
    name, sign, value = match[1], match[2] or "", match[3] or ""
    sign = "==" if sign == "=" else sign
    fact = _fact_of(name)
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
    near = difflib.get_close_matches(lower, known, n=1)
    raise BadInput(
        f"{name!r} is nothing that can be required",
        hint=f"did you mean {near[0]}?" if near else f"choose from: {', '.join(SHORT_NAMES)}",
    )


_ASKABLE = (Kind.VERSION, Kind.FLAG, Kind.COUNT, Kind.NUMBER, Kind.TEXT)


def _check_value(part: str, name: str, fact: str, sign: str, value: str) -> None:
    if not sign:
        return
    try:
        _wanted(name, fact, value)
    except (ValueError, InvalidVersion):
        kind = "a version" if fact != "gpus" else "a number"
        raise BadInput(
            f"cannot read {value!r} in the requirement {part!r}",
            hint=f"{name} is compared with {_EXAMPLE.get(GLOSSARY[fact].kind, kind)}",
        ) from None


_EXAMPLE = {
    Kind.FLAG: "0 or 1, e.g. cxx11_abi==1",
    Kind.VERSION: "a version, e.g. 2.4",
    Kind.COUNT: "a number, sizes with K, M, G or T: shm_total_bytes>=8G",
    Kind.NUMBER: "a number",
}


def _wanted(name: str, fact: str, value: str) -> Any:
    kind = GLOSSARY[fact].kind
    if name.lower() == "capability":
        return _parts(value)
    if fact == "gpus":
        return int(value)
    if kind is Kind.FLAG:
        if value.lower() not in ("0", "1", "true", "false"):
            raise ValueError(value)
        return value.lower() in ("1", "true")
    if kind in (Kind.COUNT, Kind.NUMBER):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
        if match is None:
            raise ValueError(value)
        return float(match[1]) * _SIZES[match[2].upper()]
    if kind is Kind.TEXT:
        return value
    return Version(value.removesuffix(".*"))


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def judge(requirement: Requirement, facts: Facts) -> Verdict:
    """Whether this machine meets it."""
    found = facts[requirement.fact]
    if isinstance(found, Unknown):
        return _unmet(
            requirement, f"which could not be told: {found.reason}", f"unknown: {found.reason}"
        )
    value = _value(requirement, found)
    if value is None or value == ():
        return _unmet(requirement, "of which there is none", "none")
    if all(_holds(requirement, bound, value) for bound in requirement.bounds):
        return ok(f"{requirement.text} is met: {_shown(value)}")
    return _unmet(requirement, f"found {_shown(value)}", _shown(value))


def _unmet(requirement: Requirement, found: str, evidence: str) -> Verdict:
    return fail(
        f"{requirement.text} is required, {found}",
        evidence=[
            Evidence("found", evidence, requirement.fact),
            Evidence("needed", requirement.text, "--require"),
        ],
        brief=f"{requirement.text} is not met",
    )


def _value(requirement: Requirement, found: Any) -> Any:
    """What is compared: the fact itself, the number of GPUs, the lowest capability."""
    name = requirement.name.lower()
    if requirement.fact == "companions":
        wanted = name.replace("_", "-")
        versions = [
            it.version for it in found or () if isinstance(it, Companion) and it.name == wanted
        ]
        return Version(versions[0]) if versions else None
    if name == "capability":
        told = [gpu.capability for gpu in found or () if isinstance(gpu, Gpu) and gpu.capability]
        return min((_parts(text) for text in told), default=None)
    if requirement.fact == "gpus":
        return len(found or ())
    return found


def _holds(requirement: Requirement, bound: Bound, value: Any) -> bool:
    if not bound.sign:
        return bool(value)
    wanted = _wanted(requirement.name, requirement.fact, bound.value)
    if isinstance(value, Version):
        return _version_holds(bound.sign, value, wanted, exact=not bound.value.endswith(".*"))
    if bound.sign == "~=":
        return bool(value >= wanted)
    return _COMPARE[bound.sign](value, wanted)


def _version_holds(sign: str, value: Version, wanted: Version, *, exact: bool) -> bool:
    """As many parts are compared as `wanted` has; a local tag only where it names one."""
    if sign == "~=":
        prefix = wanted.release[:-1]
        return value >= wanted and value.release[: len(prefix)] == prefix
    if wanted.local is None:
        value = Version(value.public)
    if len(wanted.release) < len(value.release) or not exact:
        value = Version(".".join(str(part) for part in value.release[: len(wanted.release)]))
    return _COMPARE[sign](value, wanted)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ".".join(str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
