"""The user's own line behind an error that has no frame of the user's left: it is in the message.

Dynamo writes it under "from user code", with the tensors as it knows them; a worker of a DataLoader
and a replica of DataParallel under "Original Traceback". The wordings were seen in torch 2.0 to 2.13.
"""

from __future__ import annotations

import ast
import linecache
import math
import re
from collections.abc import Callable
from typing import NamedTuple

from torchkit.tracing.expressions import Place, parts_of
from torchkit.tracing.tensors import Described


class Compiled(NamedTuple):
    """Where it was, what was said there, and the tensors by their names, "" where none fits."""

    error: str
    message: str
    place: Place
    function: str
    tensors: tuple[tuple[str, Described], ...]


_FRAME = re.compile(r'^ *File "([^"\n]+)", line (\d+), in (\S+)\n', re.MULTILINE)
_WITHIN = re.compile(
    r"got (\w+(?:Error|Exception))\((['\"])(.*?)\2\)\n|^(\w+Error): (.*?)\n\n", re.DOTALL
)
_TENSOR = re.compile(r"FakeTensor\(\.\.\.((?:[^()]|\([^()]*\))*)\)")
_CALLED = re.compile(
    r"call_(?:function|method|module) (?:<(?:built-in )?(?:function|method) (\w+)|(\w+)\()"
)


def compiled(message: str, is_users: Callable[[str], bool]) -> Compiled | None:
    """What such a message tells; None for any other."""
    before, found, after = message.partition("from user code:")
    frames = _FRAME.findall(after) if found else []
    if not frames:
        return None
    own = [it for it in frames if is_users(it[0])] or frames
    file, number, function = own[-1]
    within = _WITHIN.search(before)
    called = _CALLED.search(before)
    operation = (called[1] or called[2]) if called else ""
    line = int(number)
    text = linecache.getline(file, line).rstrip("\n")
    node = _node(text.strip(), operation if own[-1] == frames[-1] else "")
    tensors = [
        _described(it) for it in _TENSOR.findall(before[: within.start() if within else None])
    ]
    names = _names(node, operation, len(tensors), is_inner=own[-1] != frames[-1])
    return Compiled(
        error=(within[1] or within[4]) if within else "",
        message=(within[3] or within[5]) if within else "",
        place=_place(file, line, text, node),
        function=function,
        tensors=tuple(zip(names, tensors, strict=True)),
    )


def _place(file: str, line: int, text: str, node: ast.expr | None) -> Place:
    indent = len(text) - len(text.lstrip())
    place = Place(file, line, line, indent, len(text), is_exact=bool(text))
    if node is None:
        return place
    start, end = node.col_offset + indent, (node.end_col_offset or 0) + indent
    return place._replace(column=start, end_column=end)


def _names(node: ast.expr | None, operation: str, count: int, *, is_inner: bool) -> list[str]:
    """The tensors by what is written on the line; of a layer that is called there, by its own."""
    numbered = [f"operand {n}" for n in range(count)]
    if node is None:
        return numbered
    if is_inner and isinstance(node, ast.Call):
        own = ("weight", "bias") if operation == "linear" or operation.startswith("conv") else ()
        layer = ast.unparse(node.func)
        names = [ast.unparse(node.args[0]) if node.args else "", *(f"{layer}.{it}" for it in own)]
        return [*names[:count], *numbered[len(names) :]]
    names = [ast.unparse(it) for it in parts_of(node)]
    return names if len(names) == count else numbered


_MARKED = re.compile(
    r'^ *File "([^"\n]+)", line (\d+), in (\S+)\n(?: +(?!File )([^\n]+)\n(?:( *[~^]+[~^ ]*)\n)?)?',
    re.MULTILINE,
)
_CAUGHT = re.compile(r"Caught (\w+) in (.{1,80}?)\.\nOriginal Traceback")


def elsewhere(message: str, is_users: Callable[[str], bool]) -> Compiled | None:
    """What is told of an exception of a worker or a replica; None for any other message."""
    caught = _CAUGHT.match(message)
    frames = [it for it in _MARKED.findall(message) if is_users(it[0])] if caught else []
    if caught is None or not frames:
        return None
    file, number, function, code, marks = frames[-1]
    line = int(number)
    text = linecache.getline(file, line).rstrip("\n")
    indent = len(text) - len(text.lstrip())
    place = Place(file, line, line, indent, len(text), is_exact=bool(text))
    if marks and code and code.strip() == text.strip():
        shift = len(marks) - len(marks.lstrip()) - 4  # a traceback indents by four
        start = indent + max(0, shift)
        place = place._replace(column=start, end_column=start + len(marks.strip()))
    last = message.rstrip().rpartition(f"\n{caught[1]}: ")[2] or message.rstrip().splitlines()[-1]
    return Compiled(caught[1], last, place, f"{function}, {caught[2]}", ())


_OPERATORS = {
    "add": ast.Add, "iadd": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "truediv": ast.Div,
    "matmul": ast.MatMult, "and_": ast.BitAnd, "or_": ast.BitOr, "xor": ast.BitXor, "pow": ast.Pow,
    "mod": ast.Mod, "floordiv": ast.FloorDiv,
}  # fmt: skip


def _node(line: str, operation: str) -> ast.expr | None:
    """The one node of a line that is this operation, or a call; None where there are several."""
    try:
        tree = ast.parse(line)
    except (SyntaxError, ValueError):
        try:
            tree = ast.parse(f"{line}\n    pass" if line.endswith(":") else line.lstrip("}) "))
        except (SyntaxError, ValueError):
            return None
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) is _OPERATORS.get(operation):
            found.append(node)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name == operation or not operation:
                found.append(node)
    return found[0] if len(found) == 1 else None


def _described(text: str) -> Described:
    sizes = re.search(r"size=\(([^()]*)\)", text)
    dtype = re.search(r"dtype=torch\.(\w+)", text)
    device = re.search(r"device='([^']+)'", text)
    shape = tuple(int(it) for it in re.findall(r"\d+", sizes[1])) if sizes else ()
    return Described(
        dtype=dtype[1] if dtype else "float32",
        shape=shape,
        device=device[1] if device else "cpu",
        requires_grad="requires_grad=True" in text,
        numel=math.prod(shape),
    )
