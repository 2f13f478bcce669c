"""The expression that failed, and its operands: found in the source, never run a second time.

Names, attributes and items are looked up without calling anything of the user's; what a call would
give is worked out on tensors without memory, and only where the call is one of torch's own.
"""

from __future__ import annotations

import ast
import functools
import linecache
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType, MemberDescriptorType, TracebackType
from typing import Any, NamedTuple

from torchkit.tracing.tensors import aside, is_tensor, stored_in, torch_module

NOTHING = object()
"""What could not be worked out without running the user's code."""


class Place(NamedTuple):
    """A stretch of source: lines count from 1, columns in characters from 0."""

    file: str
    line: int
    end_line: int
    column: int
    end_column: int
    is_exact: bool


class Operand(NamedTuple):
    """A part of the failing expression that is, or gives, a tensor: its source and its value.

    `is_worked_out` says that the value is a tensor without memory, as the call would give.
    """

    text: str
    value: Any
    is_worked_out: bool = False


class Given(NamedTuple):
    """What an operation is given: its tensors, and the numbers, texts and sizes that have names."""

    operands: list[Operand]
    plain: list[tuple[str, object]]


NOTHING_GIVEN = Given([], [])


def place_of(code: CodeType, last_instruction: int, line: int) -> Place:
    """Where in the source an instruction stands."""
    file = code.co_filename
    positions = getattr(code, "co_positions", None)
    if positions is not None and last_instruction >= 0:
        wanted = list(positions())[last_instruction // 2 : last_instruction // 2 + 1]
        if wanted and None not in wanted[0]:
            first, last, left, right = wanted[0]
            start = _characters(file, first, left)
            end = _characters(file, last, right)
            return Place(file, first, last, start, end, is_exact=True)
    return Place(file, line, line, 0, 0, is_exact=False)


def _characters(file: str, line: int, offset: int) -> int:
    """Columns are counted in bytes of UTF-8 by the compiler."""
    text = linecache.getline(file, line)
    return len(text.encode("utf-8")[:offset].decode("utf-8", "replace"))


def node_at(frame: FrameType, last_instruction: int, line: int) -> tuple[ast.AST | None, Place]:
    """The syntax node of an instruction, and its place; no node where the source is not to be had."""
    place = place_of(frame.f_code, last_instruction, line)
    lines = linecache.getlines(place.file, frame.f_globals)
    if not lines or has_changed(frame.f_code):
        return None, place._replace(is_exact=False)
    if not place.is_exact:
        return _by_executing(frame, last_instruction, place)
    return node_of(place)


_STARTED = time.time()


def has_changed(code: CodeType) -> bool:
    """Whether the lines of a file are others now than those that were compiled."""
    file = code.co_filename
    try:
        written = Path(file).stat().st_mtime
        if written < _STARTED:
            return False
        tree = _compiled(file, written)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return not any(it == code for it in _codes(tree))


@functools.lru_cache(maxsize=8)
def _compiled(file: str, _written: float) -> CodeType:
    linecache.checkcache(file)
    return compile("".join(linecache.getlines(file)), file, "exec", dont_inherit=True)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for it in code.co_consts:
        if isinstance(it, CodeType):
            yield from _codes(it)


def node_of(place: Place) -> tuple[ast.AST | None, Place]:
    """The syntax node of an exact place; None where the source cannot be parsed."""
    source = "".join(linecache.getlines(place.file))
    try:
        tree = _parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, place
    node = _node_in(tree, place)
    if node is None:
        return None, place
    narrow = narrowed(node)
    return narrow, _place_of_node(narrow, place.file)


@functools.lru_cache(maxsize=8)
def _parsed(source: str) -> ast.Module:
    """The tree, each node knowing the statement or loop that it is a target of."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.AnnAssign)):
            targets = [node.target]
        for target in targets:
            for part in ast.walk(target):
                part.torchkit_assigned = node  # type: ignore[attr-defined]
    return tree


def narrowed(node: ast.AST) -> ast.AST:
    """The part of a statement that its failing instruction is about: what a loop goes through."""
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return node.iter
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return node.items[0].context_expr
    if isinstance(node, (ast.If, ast.While, ast.Assert, ast.IfExp)):
        return node.test
    if isinstance(node, (ast.Return, ast.Expr)) and node.value is not None:
        return narrowed(node.value)
    if isinstance(node, ast.Await):
        return narrowed(node.value)
    return node


def _place_of_node(node: ast.AST, file: str) -> Place:
    first, last = int(node.lineno), int(node.end_lineno or node.lineno)  # type: ignore[attr-defined]
    return Place(
        file,
        first,
        last,
        _characters(file, first, node.col_offset),  # type: ignore[attr-defined]
        _characters(file, last, node.end_col_offset or 0),  # type: ignore[attr-defined]
        is_exact=True,
    )


def _by_executing(
    frame: FrameType, last_instruction: int, place: Place
) -> tuple[ast.AST | None, Place]:
    """On Python 3.10 the compiler tells no columns: the package `executing` works them out."""
    try:
        import executing  # type: ignore[import-not-found, unused-ignore]  # only there below 3.11

        at = TracebackType(None, frame, last_instruction, place.line)
        found = executing.Source.executing(at)
        node = found.node or _part_of_statement(found.statements)
    except Exception:  # noqa: BLE001 - it gives up on unusual code in unusual ways
        return None, place
    if node is None or not hasattr(node, "end_col_offset"):
        return None, place
    narrow = narrowed(node)
    return narrow, _place_of_node(narrow, place.file)


def _part_of_statement(statements: Any) -> ast.AST | None:
    """What the one statement of a line is about, where it is a loop, a condition or the like."""
    for statement in statements if statements and len(statements) == 1 else ():
        part = narrowed(statement)
        return part if part is not statement and not isinstance(statement, ast.Expr) else None
    return None


def _node_in(tree: ast.AST, place: Place) -> ast.AST | None:
    """The node that covers exactly this place; of several the innermost expression.

    From Python 3.11 on a call of a method that stands on a line of its own begins, for the
    compiler, at the name of the method.
    """
    found = called = None
    for node in ast.walk(tree):
        if not isinstance(node, (ast.expr, ast.stmt)) or node.end_lineno != place.end_line:
            continue
        end = _characters(place.file, node.end_lineno, node.end_col_offset or 0)
        if end != place.end_column:
            continue
        start = _characters(place.file, node.lineno, node.col_offset)
        if (node.lineno, start) == (place.line, place.column):
            found = node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func
            at = _characters(place.file, name.end_lineno or 0, name.end_col_offset or 0)
            if (name.end_lineno, at - len(name.attr)) == (place.line, place.column):
                called = node
    return found or called


def source_of(place: Place) -> str:
    """The text of a place, its lines as one."""
    lines = [
        linecache.getline(place.file, number) for number in range(place.line, place.end_line + 1)
    ]
    if not lines or not any(lines):
        return ""
    if not place.is_exact:
        return lines[0].strip()
    if len(lines) == 1:
        return lines[0][place.column : place.end_column]
    middle = [lines[0][place.column :], *lines[1:-1], lines[-1][: place.end_column]]
    return " ".join(line.strip() for line in middle)


# --- the operands


MOST_OPERANDS = 40


def operands_of(node: ast.AST, frame: FrameType) -> list[Operand]:
    """Tensors that the node's operation is given, in the order they are written."""
    return given_to(node, frame).operands


def given_to(node: ast.AST, frame: FrameType, callee: FrameType | None = None) -> Given:
    """What the node's operation is given, in the order it is written.

    `callee` is the frame of torch's own that a call led to: it knows what it was given.
    """
    names = Names(frame.f_locals, frame.f_globals)
    received = _received(node, callee) if isinstance(node, ast.Call) and callee is not None else {}
    operands: list[Operand] = []
    plain: list[tuple[str, object]] = []
    for part in parts_of(node):
        value = received.get(id(part), NOTHING)
        if value is NOTHING:
            value = names.look_up(part)
        worked_out = False
        if value is NOTHING:
            value = _worked_out(part, names)
            worked_out = value is not NOTHING
        if value is NOTHING:
            continue
        if isinstance(part, (ast.Name, ast.Attribute, ast.Subscript)) and _is_plain(value):
            plain.append((_text(part), value))
        for operand in _tensors_of(part, value):
            if len(operands) < MOST_OPERANDS:
                operands.append(operand._replace(is_worked_out=worked_out))
    return Given(operands, plain)


def whole(node: ast.AST, frame: FrameType) -> list[Operand]:
    """The tensor that a node itself gives, of which a truth value was asked."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return whole(node.operand, frame)
    if isinstance(node, ast.BoolOp):
        return [operand for part in node.values for operand in whole(part, frame)]
    if isinstance(node, ast.Compare) and len(node.ops) > 1:
        node = ast.Compare(node.left, node.ops[:1], node.comparators[:1])
    if isinstance(node, ast.Call):
        return [it for part in parts_of(node)[1:] for it in whole(part, frame)]
    names = Names(frame.f_locals, frame.f_globals)
    value = names.look_up(node)
    is_worked_out = value is NOTHING
    if is_worked_out:
        value = _worked_out(node, names)
    return [Operand(_text(node), value, is_worked_out)] if is_tensor(value) else []


def _received(call: ast.Call, callee: FrameType) -> dict[int, Any]:
    """What the function that was called has in its parameters, by the nodes of the arguments."""
    code = callee.f_code
    local = callee.f_locals
    named_so = getattr(call.func, "attr", None) or getattr(call.func, "id", "")
    if code.co_name not in (named_so, "_call_impl", "_wrapped_call_impl"):
        return {}  # something else stands between: a decorator, numpy
    names = list(code.co_varnames[: code.co_argcount])
    rest = code.co_argcount + code.co_kwonlyargcount
    has_rest, has_names = bool(code.co_flags & 0x04), bool(code.co_flags & 0x08)
    more = local.get(code.co_varnames[rest], ()) if has_rest else ()
    named = local.get(code.co_varnames[rest + has_rest], {}) if has_names else {}
    found: dict[int, Any] = {}
    if names[:1] == ["self"]:
        names = names[1:]
        if isinstance(call.func, ast.Attribute) and is_tensor(local.get("self")):
            found[id(call.func.value)] = local["self"]
    elif names[:1] == ["cls"]:
        names = names[1:]
    if any(isinstance(it, ast.Starred) for it in call.args):
        return found
    values = [local.get(name, NOTHING) for name in names]
    if len(call.args) > len(names) and type(more) is tuple:
        values += list(more)
    for argument, value in zip(call.args, values, strict=False):
        _note(found, argument, value)
    for keyword in call.keywords:
        if keyword.arg is not None:
            in_rest = named.get(keyword.arg, NOTHING) if type(named) is dict else NOTHING
            _note(found, keyword.value, local.get(keyword.arg, in_rest))
    return found


def _note(found: dict[int, Any], node: ast.AST, value: Any) -> None:
    """Keep a value where it may be a tensor; of a list that is written out, each of its items."""
    if is_tensor(value):
        found[id(node)] = value
    elif isinstance(node, (ast.List, ast.Tuple)) and type(value) in (list, tuple):
        if len(value) == len(node.elts):
            for part, it in zip(node.elts, value, strict=True):
                _note(found, part, it)
    elif type(value) in (list, tuple) and any(map(is_tensor, value)):
        found[id(node)] = value


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return 0 < len(value) <= 8 and all(type(it) is int for it in value)
    return type(value) in (int, float, bool, str)


def _tensors_of(part: ast.AST, value: Any) -> Iterator[Operand]:
    from torchkit.tracing.tensors import tensors_within

    text = _text(part)
    if _is_module(value):
        for name, tensor in own_tensors(value):
            yield Operand(f"{text}.{name}", tensor)
        return
    for path, tensor in tensors_within(value, most=MOST_OPERANDS):
        yield Operand(f"{text}{path}", tensor)


def _is_module(value: Any) -> bool:
    torch = torch_module()
    nn = getattr(torch, "nn", None)
    return nn is not None and issubclass(type(value), nn.Module)


def own_tensors(module: Any) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers of a module itself, without asking it."""
    for holder in ("_parameters", "_buffers"):
        for name, tensor in stored_in(module).get(holder, {}).items():
            if is_tensor(tensor):
                yield name, tensor


def children_of(module: Any) -> dict[str, Any]:
    """The modules that a module holds, without asking it."""
    found = stored_in(module).get("_modules", {})
    return found if isinstance(found, dict) else {}


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 80 else f"{text[:77]}…"


def parts_of(node: ast.AST) -> list[ast.AST]:
    """The nodes whose values an operation is given."""
    assigned = _assigned(node)
    if assigned is not None:
        value = getattr(assigned, "value", None) or getattr(assigned, "iter", None)
        own = [node] if not isinstance(node, (ast.Tuple, ast.List, ast.Name)) else []
        if isinstance(node, ast.Attribute):
            own = [node.value]
        elif isinstance(node, ast.Subscript):
            own = [node, node.value]
        return [*own, *_spread(value)] if value is not None else own
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Subscript):
        return [node.value, *_indices(node.slice)]
    if isinstance(node, ast.Call):
        given = [part for argument in node.args for part in _spread(_unstarred(argument))]
        given += [part for keyword in node.keywords for part in _spread(keyword.value)]
        return [*_owner(node.func), *given]
    if isinstance(node, ast.AugAssign):
        return [node.target, node.value]
    if isinstance(node, ast.Assign):
        return [*(_unstarred(target) for target in node.targets), node.value]
    return _only_part(node)


def _assigned(node: ast.AST) -> ast.AST | None:
    """The statement or loop that a node is a target of; None where it is none."""
    if not isinstance(getattr(node, "ctx", None), ast.Store):
        return None
    known: ast.AST | None = getattr(node, "torchkit_assigned", None)
    parent = getattr(node, "parent", None)  # `executing` keeps it
    while known is None and parent is not None:
        if isinstance(parent, (ast.Assign, ast.AnnAssign, ast.For, ast.AsyncFor)):
            known = parent
        parent = getattr(parent, "parent", None)
    return known


def _spread(node: ast.AST) -> list[ast.AST]:
    """The parts of a list or tuple that is written out; else the node itself."""
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        return [part for it in node.elts for part in _spread(_unstarred(it))]
    return [node]


def _only_part(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.IfExp):
        return [node.test]
    if isinstance(node, ast.comprehension):
        return [node.iter]
    if isinstance(node, ast.BoolOp):
        return list(node.values)
    if isinstance(node, ast.JoinedStr):
        return [it.value for it in node.values if isinstance(it, ast.FormattedValue)]
    if isinstance(node, (ast.UnaryOp, ast.FormattedValue)):
        return [node.operand if isinstance(node, ast.UnaryOp) else node.value]
    if isinstance(node, ast.Attribute):
        return [node.value]
    return [node] if isinstance(node, (ast.Name, ast.NamedExpr)) else []


def _owner(function: ast.AST) -> list[ast.AST]:
    """`x` of `x.view(…)`, and the module itself of `self.fc(…)`."""
    if isinstance(function, ast.Attribute):
        return (
            [function.value, function]
            if not isinstance(function.value, ast.Call)
            else [function.value]
        )
    return [function]


def _unstarred(node: ast.AST) -> ast.AST:
    return node.value if isinstance(node, ast.Starred) else node


def _indices(index: ast.AST) -> list[ast.AST]:
    if isinstance(index, ast.Tuple):
        return [part for item in index.elts for part in _indices(item)]
    return [] if isinstance(index, (ast.Slice, ast.Constant)) else [index]


class Names:
    """What names, attributes and items mean in a frame, looked up without running any code."""

    def __init__(self, local: Mapping[str, Any], glob: Mapping[str, Any]) -> None:
        self.local = local
        self.globals = glob

    def look_up(self, node: ast.AST) -> Any:
        """The value of a node; NOTHING where it would take running something."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.look_up(node.value)
            return NOTHING if owner is NOTHING else attribute(owner, node.attr)
        if isinstance(node, ast.Subscript):
            owner, key = self.look_up(node.value), self.look_up(node.slice)
            return NOTHING if NOTHING in (id_of(owner), id_of(key)) else item(owner, key)
        if isinstance(node, (ast.Tuple, ast.List)):
            values = [self.look_up(part) for part in node.elts]
            return NOTHING if any(value is NOTHING for value in values) else values
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.look_up(node.operand)
            return -value if type(value) in (int, float) else NOTHING
        if isinstance(node, ast.NamedExpr):
            return self.look_up(node.target)
        return NOTHING

    def _name(self, name: str) -> Any:
        if name in self.local:
            return self.local[name]
        if name in self.globals:
            return self.globals[name]
        builtins = self.globals.get("__builtins__", {})
        table = builtins if isinstance(builtins, dict) else vars(builtins)
        return table.get(name, NOTHING)


def id_of(value: Any) -> Any:
    """The value itself where it is NOTHING, None else: `==` of a tensor would compute."""
    return NOTHING if value is NOTHING else None


def attribute(owner: Any, name: str) -> Any:
    """An attribute that is stored, not computed; NOTHING else."""
    if is_tensor(owner):
        return _of_tensor(owner, name)
    if _is_module(owner):
        for holder in ("_parameters", "_buffers", "_modules"):
            table = stored_in(owner).get(holder, {})
            if isinstance(table, dict) and name in table:
                return table[name]
    stored = stored_in(owner)
    is_class = issubclass(type(owner), type)
    if not is_class and name in stored:
        return stored[name]
    kind = owner if is_class else type(owner)
    for base in type.__dict__["__mro__"].__get__(kind):
        table = type.__dict__["__dict__"].__get__(base)
        if name in table:
            return _of_class(owner, table[name], is_class=is_class)
    return NOTHING


def _of_class(owner: Any, value: Any, *, is_class: bool) -> Any:
    """What an attribute of a class gives for one of its instances, where that runs nothing."""
    if type(value) is staticmethod:
        return value.__func__
    if type(value) is MemberDescriptorType and not is_class:  # a slot
        try:
            return value.__get__(owner)
        except AttributeError:
            return NOTHING
    number = getattr(value, "__reduce__", None) if type(value).__name__ == "_tuplegetter" else None
    if number is not None and not is_class:  # a field of a named tuple
        return tuple.__getitem__(owner, number()[1][0])
    if is_class and type(value) in (property, classmethod):
        return NOTHING
    return value if is_class or not hasattr(type(value), "__get__") else NOTHING


_READ_OF_TENSORS = ("T", "mT", "grad", "data", "shape", "dtype", "device", "real", "imag", "ndim")


def _of_tensor(tensor: Any, name: str) -> Any:
    if name not in _READ_OF_TENSORS:
        return NOTHING
    torch = torch_module()
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return NOTHING  # a subclass may compute it in the user's own way
    try:
        with aside(torch):
            return getattr(tensor, name)
    except Exception:  # noqa: BLE001 - the failing thing itself, perhaps
        return NOTHING


def item(owner: Any, key: Any) -> Any:
    """An item of a plain list, tuple, dict or module list; NOTHING else."""
    if type(key) not in (int, str):
        return NOTHING
    for kind in (list, tuple, dict):
        if issubclass(type(owner), kind):
            try:
                return kind.__getitem__(owner, key)
            except Exception:  # noqa: BLE001 - no such item, or keys that cannot be compared
                return NOTHING
    if _is_module(owner):
        table = children_of(owner)
        values = list(table.values())
        if type(key) is str:
            return table.get(key, NOTHING)
        return values[key] if -len(values) <= key < len(values) else NOTHING
    return NOTHING


# --- what a call of torch's would give, on tensors without memory


def _worked_out(node: ast.AST, names: Names) -> Any:
    """The value of an expression of torch's own functions and operators; NOTHING else."""
    try:
        from torchkit.tracing.fake import work_out
    except ImportError:
        return NOTHING
    try:
        return work_out(node, names)
    except Exception:  # noqa: BLE001 - the operation may be what fails
        return NOTHING
