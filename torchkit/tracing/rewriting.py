"""The failing expression written otherwise, as a fix to paste in its place. Pure."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchkit.tracing.postmortem import PostMortem


def rewritten(expression: str, part: str, template: str) -> str:
    """The expression with one part of it put into a template: `{}.float()`. "" where it is not there.

    The part is named as `ast.unparse` writes it; the first that fits is taken.
    """
    node = _found(expression, part)
    if node is None:
        return ""
    return _put(expression, node, template.format(_inside(expression, node)))


def called_otherwise(expression: str, method: str, other: str) -> str:
    """The expression with its outermost call of one method made one of another one."""
    tree = _parsed(expression)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func
            if name.attr == method and name.end_col_offset is not None:
                raw = expression.encode()
                start = name.end_col_offset - len(method)
                return (raw[:start] + other.encode() + raw[name.end_col_offset :]).decode()
    return ""


def with_argument(expression: str, text: str) -> str:
    """The call with one argument more at its end."""
    tree = _parsed(expression)
    call = tree.body[0].value if tree is not None and _is_one_expression(tree) else None  # type: ignore[attr-defined]
    if not isinstance(call, ast.Call) or not expression.endswith(")"):
        return ""
    before = expression[:-1].rstrip().rstrip(",")
    return f"{before}, {text})" if call.args or call.keywords else f"{before}{text})"


def function_of(expression: str) -> str:
    """The last name of what the expression calls: `linear` of `F.linear(x, w)`; "" for no call."""
    tree = _parsed(expression)
    if tree is None or not _is_one_expression(tree):
        return ""
    call = tree.body[0].value  # type: ignore[attr-defined]
    if not isinstance(call, ast.Call):
        return ""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def owner_of(expression: str) -> str:
    """What the method is called on, as `ast.unparse` writes it: `x` of `x.view(2)`."""
    tree = _parsed(expression)
    call = tree.body[0].value if tree is not None and _is_one_expression(tree) else None  # type: ignore[attr-defined]
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        return ast.unparse(call.func.value)
    return ""


def text_in(expression: str) -> str:
    """The first text that is written out in the expression: the equation of an einsum."""
    tree = _parsed(expression)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
    return ""


def in_place_as_new(expression: str) -> str:
    """`x = x * 0.5` of `x *= 0.5`; "" where it is none of these."""
    tree = _parsed(expression)
    node = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    if not isinstance(node, ast.AugAssign):
        return ""
    value = ast.BinOp(_loaded(node.target), node.op, node.value)
    return f"{ast.unparse(node.target)} = {ast.unparse(ast.fix_missing_locations(value))}"


def _loaded(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body


def cast_in(seen: PostMortem, operand: str, cast: str) -> str:
    """The expression with one operand cast: `net(x.float())`."""
    return rewritten(seen.expression, operand, "{}" + cast)


def _parsed(expression: str) -> ast.Module | None:
    try:
        return ast.parse(expression)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _is_one_expression(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)


def _found(expression: str, part: str) -> ast.expr | None:
    tree = _parsed(expression)
    for node in ast.walk(tree) if tree is not None else ():
        if not isinstance(node, ast.expr) or not node.lineno == node.end_lineno == 1:
            continue
        if ast.unparse(node) == part:
            return node
    return None


def _inside(expression: str, node: ast.expr) -> str:
    raw = expression.encode()[node.col_offset : node.end_col_offset].decode()
    atoms = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.List, ast.Tuple)
    return raw if isinstance(node, atoms) or raw.startswith("(") else f"({raw})"


def _put(expression: str, node: ast.expr, text: str) -> str:
    raw = expression.encode()
    start, end = node.col_offset, node.end_col_offset or node.col_offset
    before, after = raw[:start].decode(), raw[end:].decode()
    if before.endswith("(") and after.startswith(")") and text.startswith("("):
        return (
            f"{before[:-1]}{text}{after[1:]}"
            if before[:-1].strip() == ""
            else before + text + after
        )
    return f"{before}{text}{after}"
