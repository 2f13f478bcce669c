"""Requirements as metadata writes them: whether their markers hold, and their plain form.

`packaging` parses all of them, and is slow to import: only for what is not of the usual form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torchkit.machine.interpreter import Interpreter
from torchkit.system import System
from torchkit.versions import as_version


def holds(requirement_marker: str, system: System, interpreter: Interpreter) -> bool:
    """Whether a marker ("python_version < '3.12'") holds for this interpreter, without extras.

    One that cannot be read holds: pip would have refused to install what carries it.
    """
    examined = {
        "extra": "",
        "python_version": interpreter.version.series,
        "python_full_version": str(interpreter.version),
        "sys_platform": system.platform,
        "platform_machine": system.architecture,
    }
    if system.platform in _PLATFORM_SYSTEMS:
        examined["platform_system"] = _PLATFORM_SYSTEMS[system.platform]
    clauses = [_clause_holds(text, examined) for text in re.split(r"\band\b", requirement_marker)]
    if None not in clauses:
        return all(clauses)
    # packaging's parser costs more than all other reading of packages: only where it is needed
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, default_environment

    own = {name: str(value) for name, value in default_environment().items()}
    try:
        return Marker(requirement_marker).evaluate({**own, **examined})
    except (InvalidMarker, UndefinedComparison, RecursionError):
        return True


_PLATFORM_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
"""`platform.system()` by `sys.platform`."""

_CLAUSE = re.compile(r"""\s*(\w+)\s*(==|!=|<=|>=|<|>)\s*(["'])([\w.-]+)\3\s*""")


def _clause_holds(clause: str, examined: Mapping[str, str]) -> bool | None:
    """One comparison of the form that nearly all markers have; None leaves it to packaging."""
    match = _CLAUSE.fullmatch(clause)
    if match is None or match[1] not in examined:
        return None
    name, sign, wanted = match[1], match[2], match[4]
    if not name.startswith("python_"):
        same = examined[name] == wanted
        return {"==": same, "!=": not same}.get(sign)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", wanted):
        return None
    version, bound = as_version(examined[name]), as_version(wanted)
    if version is None or bound is None or version.is_prerelease:
        return None
    return {
        "==": version == bound,
        "!=": version != bound,
        "<=": version <= bound,
        ">=": version >= bound,
        "<": version < bound,
        ">": version > bound,
    }[sign]


_PLAIN_REQUIREMENT = re.compile(
    r"""\s*([A-Za-z0-9][\w.-]*)\s*                                # a name
    (?:\[\s*([\w.-]+(?:\s*,\s*[\w.-]+)*)\s*\]\s*)?              # [extras]
    (\(?)\s*                                                     # versions, also in brackets
    ((?:(?:[<>=!]=|~=|<|>)\s*[\w.*+!-]+\s*(?:,\s*(?=[<>=!~])|(?=$|\))))*)
    (\)?)\s*""",
    re.VERBOSE,
)


def normal_requirement(text: str) -> str:
    """`triton<4,>=3` of "triton (>=3, <4)", as packaging writes it; what is none stays as it is."""
    match = _PLAIN_REQUIREMENT.fullmatch(text)
    if match is not None and bool(match[3]) == bool(match[5]):
        extras = ",".join(sorted(re.findall(r"[\w.-]+", match[2] or "")))
        specifiers = ",".join(sorted("".join(match[4].split()).split(",")))
        return f"{match[1]}{f'[{extras}]' if extras else ''}{specifiers}"
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return str(Requirement(text))
    except (InvalidRequirement, RecursionError):
        return text.strip()
