"""The text of a TARGET, taken apart: "model.py:outer.Inner(10, width=64)". Runs nothing.

Arguments are Python literals and nothing else.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from torchkit.errors import BadTarget

FORMS = "a target is path/to/model.py:Net, package.module:Net or 'model.py:Net(10, width=64)'"

WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".pt2", ".safetensors", ".gguf", ".onnx", ".json")
"""Endings of files that are no Python, also where no such file is there."""


class Arguments(NamedTuple):
    """The literals of "Net(10, width=64)", and how they were written."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    text: str


class Target(NamedTuple):
    """`where` is a .py file or a dotted module; `names` lead to the object, none for all of it."""

    where: str
    names: tuple[str, ...]
    arguments: Arguments | None


def parse_target(text: str) -> Target:
    """Raises BadTarget for what is none of the forms."""
    split = re.match(r"(.+?\.py)::?(.*)", text, re.S) or re.match(r"([^:()]+)::?(.*)", text, re.S)
    if split is None:
        if text.endswith(".py"):
            return Target(text, (), None)
        raise _no_name(text)
    where, what = split[1], split[2].strip()
    is_module = all(it.isidentifier() for it in where.split("."))
    is_odd = not is_module or where.endswith(".ipynb")
    if not where.endswith((".py", *WEIGHTS)) and is_odd:
        raise _no_module_name(where, what, text)
    if where.lower().endswith(WEIGHTS):
        raise BadTarget(
            f"{where} is a file of weights, and has no {what!r} in it",
            hint=f"torchkit summary {shlex.quote(where)}",
        )
    if not what:
        return Target(where, (), None)
    return Target(where, *_parse_name(what, where))


def _no_name(text: str) -> BadTarget:
    module, _, name = text.rpartition(".")
    if module and all(it.isidentifier() for it in text.split(".")):
        return BadTarget(
            f"{text} names no class or function: there is no colon in it",
            hint=f"write the target as {module}:{name}",
        )
    if not text.strip():
        return BadTarget("the target is empty", hint=FORMS)
    return BadTarget(f"{text} is no target, and no file of that name is there", hint=FORMS)


def _no_module_name(where: str, what: str, text: str) -> BadTarget:
    if where.endswith(".ipynb"):
        return BadTarget(
            f"{where} is a notebook, which cannot be imported",
            hint=f"jupyter nbconvert --to script {shlex.quote(where)}",
        )
    if Path(f"{where}.py").expanduser().is_file():
        return BadTarget(
            f"{where} lacks its ending", hint=f"write the target as {where}.py:{what or 'NAME'}"
        )
    return BadTarget(f"{text} names neither a .py file nor a module", hint=FORMS)


def _parse_name(what: str, where: str) -> tuple[tuple[str, ...], Arguments | None]:
    try:
        node = ast.parse(what, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadTarget(f"{what!r} is no name, nor a name with arguments", hint=FORMS) from None
    arguments = None
    if isinstance(node, ast.Call):
        arguments = _literals(node, what, where)
        node = node.func
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise BadTarget(f"{what!r} is no dotted name", hint=FORMS)
    return (node.id, *names), arguments


def _literals(call: ast.Call, what: str, where: str) -> Arguments:
    def literal(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            text = ast.get_source_segment(what, node) or what
            raise BadTarget(
                f"{text!r} in {what!r} is no Python literal, as 10, 0.5, 'relu', [64, 128] or None are",
                hint=f"write a function without arguments that returns the model,"
                f" and name that: {where}:FUNCTION",
            ) from None

    if any(keyword.arg is None for keyword in call.keywords):
        raise BadTarget(f"{what!r} has ** in it", hint=FORMS)
    return Arguments(
        args=tuple(literal(it) for it in call.args),
        kwargs={str(it.arg): literal(it.value) for it in call.keywords},
        text=what[len(ast.get_source_segment(what, call.func) or "") :].strip(),
    )
