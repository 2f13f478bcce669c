"""The language of `--require`: `torch>=2.4,<3` as names, facts and bounds.

What can be asked for and how it is written; whether it holds is judged by
`checks/requirement_unmet.py`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from torchkit.errors import BadInput
from torchkit.machine.facts import GLOSSARY, Kind
from torchkit.versions import Version

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

SIGNS = (">=", "<=", ">", "<", "==", "!=")
"""Comparisons of a bound; `~=` stands for two of them, and `=` for `==`."""

_EXPRESSION = re.compile(r"\s*([A-Za-z][\w+-]*)\s*(?:(>=|<=|==|!=|~=|=|>|<)\s*(\S.*?))?\s*")

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
    if written not in ("", "=", "~=", *SIGNS):
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
        wanted = wanted_value(name, fact, value)
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


def wanted_value(name: str, fact: str, value: str) -> Any:
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
