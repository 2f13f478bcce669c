"""A line of the user's code with one thing changed in it, or None where that is not certain."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable


def wrapped(code: str, path: str, suffix: str, position: int = 0) -> str | None:
    """The line with `suffix` behind an argument of the one call of the layer: `fc(x.flatten(1))`."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        calls = [it for it in ast.walk(tree) if isinstance(it, ast.Call) and _names(it.func, path)]
        if len(calls) != 1 or len(calls[0].args) <= position:
            return None
        argument = calls[0].args[position]
        return None if isinstance(argument, ast.Starred) else (argument, _behind(argument, suffix))

    return _changed(code, change)


def wrapped_around(code: str, path: str, suffix: str, position: int = 0) -> str | None:
    """The same with `suffix` behind the call as well: `norm(x.transpose(1, 2)).transpose(1, 2)`."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        calls = [it for it in ast.walk(tree) if isinstance(it, ast.Call) and _names(it.func, path)]
        return (calls[0], f"{{}}{suffix}") if len(calls) == 1 else None

    line = wrapped(code, path, suffix, position)
    return None if line is None else _changed(line, change)


def meets_its_input(code: str, path: str) -> bool:
    """Whether what a layer gives is added to what it was given, or the like: `x + self.f(x)`."""
    tree = _tree(code)
    if tree is None:
        return False
    for node in ast.walk(tree):
        sides = (node.left, node.right) if isinstance(node, ast.BinOp) else ()
        for one, other in (sides, sides[::-1]) if sides else ():
            names = {it.id for it in ast.walk(other) if isinstance(it, ast.Name)} - {"self"}
            for call in ast.walk(one):
                if isinstance(call, ast.Call) and _names(call.func, path):
                    given = {
                        it.id
                        for part in call.args
                        for it in ast.walk(part)
                        if isinstance(it, ast.Name)
                    }
                    if names & (given - {"self"}):
                        return True
    return False


def argument_wrapped(code: str, function: str, position: int, suffix: str) -> str | None:
    """The line with `suffix` behind an argument of a function: `F.linear(x.float(), w)`."""
    return wrapped(code, function, suffix, position)


def repeated(code: str, path: str, times: int) -> str | None:
    """The line with the layer's one argument given several times: `attention(x, x, x)`."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        calls = [it for it in ast.walk(tree) if isinstance(it, ast.Call) and _names(it.func, path)]
        if len(calls) != 1 or len(calls[0].args) != 1 or not isinstance(calls[0].args[0], ast.Name):
            return None
        return calls[0].args[0], ", ".join(["{}"] * times)

    return _changed(code, change)


def operand_wrapped(code: str, position: int, suffix: str) -> str | None:
    """The line with `suffix` behind one side of its one product: `q @ k.transpose(-2, -1)`."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        found = [sides for it in ast.walk(tree) if (sides := _sides(it))]
        if len(found) != 1:
            return None
        side = found[0][position]
        return side, _behind(side, suffix)

    return _changed(code, change)


def method_replaced(code: str, methods: tuple[str, ...], call: str) -> str | None:
    """The line with the one call of a method, arguments and all, replaced: `x.flatten(1)`."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        found = [
            it
            for it in ast.walk(tree)
            if isinstance(it, ast.Call)
            and isinstance(it.func, ast.Attribute)
            and it.func.attr in methods
        ]
        if len(found) != 1:
            return None
        function = found[0].func
        assert isinstance(function, ast.Attribute)  # noqa: S101 - asked above
        if isinstance(function.value, ast.Name) and function.value.id in ("torch", "F", "np"):
            return None
        return found[0], f"{ast.unparse(function.value)}{call}"

    return _changed(code, change)


def method_renamed(code: str, method: str, other: str) -> str | None:
    """The line with another method of the same arguments: `x.reshape(…)` for `x.view(…)`."""
    if code.count(f".{method}(") != 1:
        return None
    return code.strip().replace(f".{method}(", f".{other}(")


def method_arguments(code: str, methods: tuple[str, ...]) -> tuple[str, ...] | None:
    """The arguments of the one call of a method, as they are written."""
    tree = _tree(code)
    found = [
        it
        for it in (ast.walk(tree) if tree is not None else ())
        if isinstance(it, ast.Call)
        and isinstance(it.func, ast.Attribute)
        and it.func.attr in methods
    ]
    return tuple(ast.unparse(it) for it in found[0].args) if len(found) == 1 else None


def attributes(code: str) -> tuple[str, ...]:
    """The names of all attributes that a line asks for."""
    tree = _tree(code)
    if tree is None:
        return ()
    return tuple(dict.fromkeys(it.attr for it in ast.walk(tree) if isinstance(it, ast.Attribute)))


# --- pieces


def _changed(code: str, change: Callable[[ast.AST], tuple[ast.expr, str] | None]) -> str | None:
    """One expression of the line replaced; `{}` in the text stands for the expression itself."""
    line = textwrap.dedent(code).strip()
    tree = _tree(line)
    found = change(tree) if tree is not None else None
    if found is None:
        return None
    node, text = found
    raw = line.encode()
    end = node.end_col_offset
    if node.lineno != 1 or node.end_lineno != 1 or end is None:
        return None
    old = raw[node.col_offset : end].decode()
    return (raw[: node.col_offset] + text.replace("{}", old).encode() + raw[end:]).decode()


def _tree(code: str) -> ast.AST | None:
    """Of one line alone, which may open a block."""
    line = textwrap.dedent(code).strip()
    for text in (line, f"{line}\n    pass"):
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            continue
    return None


def _names(function: ast.expr, path: str) -> bool:
    """Whether it is the layer of this path, by the last part: `self.fc` or `self.layers[2]`."""
    last = path.rpartition(".")[2]
    if last.isdigit():
        return (
            isinstance(function, ast.Subscript)
            and isinstance(function.slice, ast.Constant)
            and str(function.slice.value) == last
        )
    return isinstance(function, ast.Attribute) and function.attr == last


def _sides(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return node.left, node.right
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    if node.func.attr not in ("matmul", "bmm", "mm"):
        return None
    if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch":
        return (node.args[0], node.args[1]) if len(node.args) == 2 else None
    return (node.func.value, node.args[0]) if len(node.args) == 1 else None


def _behind(node: ast.expr, suffix: str) -> str:
    plain = isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return f"{{}}{suffix}" if plain else f"({{}}){suffix}"


def call_indexed(code: str, path: str) -> str | None:
    """The line with `[0]` behind the one call of the layer, where that is an argument."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        inner = {
            id(it)
            for outer in ast.walk(tree)
            if isinstance(outer, ast.Call)
            for it in (
                *outer.args,
                outer.func.value if isinstance(outer.func, ast.Attribute) else outer,
            )
        }
        calls = [it for it in ast.walk(tree) if isinstance(it, ast.Call) and _names(it.func, path)]
        if len(calls) != 1 or id(calls[0]) not in inner:
            return None
        return calls[0], "{}[0]"

    return _changed(code, change)


def attribute_indexed(code: str, name: str) -> str | None:
    """The line with `[0]` before the one use of an attribute: `x[0].relu()`."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        found = [
            it
            for it in ast.walk(tree)
            if isinstance(it, ast.Attribute) and it.attr == name and isinstance(it.value, ast.Name)
        ]
        return (found[0].value, "{}[0]") if len(found) == 1 else None

    return _changed(code, change)


def attribute_renamed(code: str, name: str, other: str) -> str | None:
    """The line with the one `self.name` under another name."""

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        found = [it for it in ast.walk(tree) if isinstance(it, ast.Attribute) and it.attr == name]
        if len(found) != 1:
            return None
        return found[0], f"{ast.unparse(found[0].value)}.{other}"

    return _changed(code, change)


def side_wrapped(code: str, position: int, suffix: str) -> str | None:
    """The line with `suffix` behind one side of its one sum, difference, product or quotient.

    `OTHER` in the suffix stands for the other side, which has to be a name then.
    """

    def change(tree: ast.AST) -> tuple[ast.expr, str] | None:
        kinds = (ast.Add, ast.Sub, ast.Mult, ast.Div)
        found = [
            it for it in ast.walk(tree) if isinstance(it, ast.BinOp) and isinstance(it.op, kinds)
        ]
        if len(found) != 1:
            return None
        sides = (found[0].left, found[0].right)
        side, other = sides[position], sides[1 - position]
        if "OTHER" in suffix and not isinstance(other, ast.Name):
            return None
        return side, _behind(side, suffix.replace("OTHER", ast.unparse(other)))

    return _changed(code, change)
