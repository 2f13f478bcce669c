"""C++ names as a person writes them, of those that the linker writes (`_ZN3c105ErrorC2Ev`).

https://itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling
"""

from __future__ import annotations

import re

_KINDS = {"TV": "vtable of ", "TI": "type information of ", "TS": "type name of "}


def readable(symbol: str) -> str:
    """A C++ name without its arguments: `torch::jit::parseSchemaOrName(…)`.

    What is not plainly a name in namespaces stays as the linker writes it.
    """
    start = re.match(r"_Z(T[VIS])?(NK?)?", symbol)
    if start is None:
        return symbol
    nested = start[2] is not None
    parts, rest = _parts(symbol[start.end() :], is_one=not nested)
    if nested and parts and (special := re.match(r"[CD][0-5]", rest)):
        own = parts[-1].removesuffix("<…>")
        parts.append(own if special[0][0] == "C" else f"~{own}")
        rest = rest[2:]
    if not parts or (nested and not rest.startswith("E")):
        return symbol
    arguments = rest[1:] if nested else rest
    if start[1]:
        return f"{_KINDS[start[1]]}{'::'.join(parts)}" if not arguments else symbol
    if "." in arguments or arguments.startswith("B"):  # a clone of the compiler's, or an ABI's tag
        return symbol
    if arguments and parts[-1].endswith("<…>"):  # a template's function tells what it returns first
        return f"{'::'.join(parts)}(…)"
    call = "" if not arguments else "()" if arguments == "v" else "(…)"
    return f"{'::'.join(parts)}{call}"


def _parts(rest: str, *, is_one: bool) -> tuple[list[str], str]:
    """The names in front, templates with their arguments left out, and what follows them."""
    parts: list[str] = []
    while match := re.match(r"\d+", rest):
        length = int(match[0]) if len(match[0]) < 5 else 0
        name = rest[match.end() : match.end() + length]
        if not length or len(name) < length or name.startswith("_GLOBAL__N"):
            return [], rest
        parts.append(name)
        rest = rest[match.end() + length :]
        if rest.startswith("I"):
            after = _after_arguments(rest)
            if after is None:
                return [], rest
            parts[-1] += "<…>"
            rest = after
        if is_one:
            break
    return parts, rest


_ARGUMENT = re.compile(
    r"(?P<opens>[INJ]|F(?!p))|(?P<name>\d+)|(?P<closes>E)"
    r"|L[a-z]n?\d+E|S(?:[tabsiod]|[0-9A-Z]*_)|T[0-9]*_|D[adhisnufe]|[a-zPRKOV]"
)


def _after_arguments(text: str) -> str | None:
    """What follows the template arguments at the start; None where they are of a rarer kind."""
    at, depth = 0, 0
    while at < len(text):
        match = _ARGUMENT.match(text, at)
        if match is None:
            return None
        at = match.end() + (int(match["name"][:5]) if match["name"] else 0)
        depth += (match["opens"] is not None) - (match["closes"] is not None)
        if depth == 0:
            return text[at:]
    return None
