"""What an exception was about: the expression that failed, its tensors, the layer, the frames."""

from __future__ import annotations

import ast
import builtins
import linecache
import re
import sysconfig
import traceback as tracebacks
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple

from torchkit.advice.forward.facts import Given, Layer
from torchkit.tracing.compiled import Compiled, compiled, elsewhere
from torchkit.tracing.expressions import (
    NOTHING_GIVEN,
    Operand,
    Place,
    given_to,
    has_changed,
    node_at,
    operands_of,
    own_tensors,
    source_of,
    whole,
)
from torchkit.tracing.gradients import returned_by
from torchkit.tracing.layers import called_in, given_of, layer_of, module_of, module_text, paths_of
from torchkit.tracing.run import OURS, without_ours
from torchkit.tracing.tensors import (
    Described,
    aside,
    describe,
    is_tensor,
    note_device_failure,
    stored_in,
    tensors_within,
    torch_module,
)

MOST_FRAMES = 30
MOST_TENSORS = 12
"""So many frames, and tensors of each, are described."""

AROUND = 1
"""So many lines of source before the failing one are shown."""


class Named(NamedTuple):
    """A tensor by the name it has in the source; `note` says what is odd about it."""

    name: str
    tensor: Described
    note: str = ""


class Frame(NamedTuple):
    """A frame of the user's code: where, its line of source, and its tensors."""

    file: str
    line: int
    function: str
    tensors: tuple[Named, ...]
    code: str = ""


class SourceLine(NamedTuple):
    """A line of source; the columns from `start` to `end` are what failed, where they are known."""

    number: int
    text: str
    start: int | None = None
    end: int | None = None


class PostMortem(NamedTuple):
    """All that is told about one exception.

    `plain` are numbers, texts and sizes among what the operation was given, by their names. `module`
    is the failing layer as the innermost frame of the user's names it, `module_path` as the largest
    model does; `layer` is what the rules of `advice.forward` look at. `torch_message` is False
    where torch had no part in it.
    """

    error: str
    message: str
    file: str = ""
    line: int = 0
    function: str = ""
    expression: str = ""
    operands: tuple[Named, ...] = ()
    plain: tuple[tuple[str, str], ...] = ()
    module: str = ""
    module_path: str = ""
    module_type: str = ""
    module_text: str = ""
    layer: Layer | None = None
    given: tuple[Given, ...] = ()
    source: tuple[SourceLine, ...] = ()
    frames: tuple[Frame, ...] = ()
    text: str = ""
    traceback: str = ""
    notes: tuple[str, ...] = ()
    is_torchs: bool = False

    @property
    def title(self) -> str:
        """`RuntimeError: mat1 and mat2 …`, as Python writes it."""
        return f"{self.error}: {self.message}" if self.message else self.error

    @property
    def is_pythons(self) -> bool:
        """Whether it is of a kind that Python raises itself: a key or a name that is not there."""
        return self.error in _PYTHONS or re.search(_OF_LISTS, self.message) is not None


_PYTHONS = (
    "KeyError", "NameError", "UnboundLocalError", "AttributeError", "ImportError",
    "ModuleNotFoundError", "FileNotFoundError", "ZeroDivisionError", "StopIteration", "EOFError",
)  # fmt: skip
_OF_LISTS = r"(?:list|tuple|string|pop) (?:assignment )?(?:index|from)"


class _Step(NamedTuple):
    """One frame of a traceback."""

    frame: FrameType
    instruction: int
    line: int

    @property
    def file(self) -> str:
        return self.frame.f_code.co_filename


def examine(error: BaseException) -> PostMortem:
    """What is to be said about an exception. Raises nothing but KeyboardInterrupt."""
    name = type(error).__name__
    message = _message(error)
    note_device_failure(message)
    bare = PostMortem(name, message, text=_safely(_only, error, f"{name}: {message}"))
    bare = bare._replace(traceback=traceback_of(error), notes=_notes(error))
    torch = torch_module()
    try:
        with aside(torch) if torch is not None else nullcontext():
            return _examined(error, bare)
    except Exception:  # noqa: BLE001 - the user's exception must not be hidden by one of ours
        return bare


def _safely(function: Callable[[BaseException], str], error: BaseException, other: str) -> str:
    try:
        return function(error)
    except Exception:  # noqa: BLE001 - an exception of the user's that cannot be printed
        return other


def _only(error: BaseException) -> str:
    return "".join(tracebacks.format_exception_only(type(error), error))


def kept(error: BaseException, name: str) -> Any:
    """What Python keeps with an exception, whatever its class makes of attributes."""
    return getattr(BaseException, name).__get__(error)


def traceback_of(error: BaseException) -> str:
    """What Python itself prints, without the frames of ours: causes, groups and notes among it."""
    first = without_ours(kept(error, "__traceback__"))
    if first is not None and first.tb_frame.f_code.co_filename.startswith(OURS):
        first = None  # a script that could not even be compiled
    elif _calls_a_model(kept(error, "__traceback__"), first):
        while first is not None and not is_users(first.tb_frame.f_code.co_filename):
            first = first.tb_next
    try:
        told = tracebacks.TracebackException(type(error), error, first, compact=True)
        return "".join(told.format())
    except Exception:  # noqa: BLE001 - an exception of the user's that cannot be looked at
        lines = ["Traceback (most recent call last):\n", *tracebacks.format_tb(first)]
        return "".join([*lines, f"{type(error).__name__}: <exception str() failed>\n"])


def _calls_a_model(traceback: TracebackType | None, first: TracebackType | None) -> bool:
    """Whether the last frame of ours before the first that is not called a model's forward or backward."""
    last = ""
    while traceback is not None and traceback is not first:
        last = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return Path(last).name == "snoop_target.py"


def _notes(error: BaseException) -> tuple[str, ...]:
    """What was added by `add_note`."""
    try:
        notes = object.__getattribute__(error, "__notes__")
    except AttributeError:
        return ()
    return tuple(it for it in notes if type(it) is str) if type(notes) is list else ()


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception of the user's whose __str__ fails
        return ""


class Link(NamedTuple):
    """An exception that another one was raised from or while handling, or one of a group."""

    error: BaseException
    how: str


MOST_LINKED = 8


def linked(error: BaseException) -> list[Link]:
    """The exceptions behind an exception, as Python tells them: the first that happened first.

    `how` of each: "raised" of the last one, "cause" where the next was raised from it, "context"
    where the next was raised while it was handled, "in a group" of the members of a group, and
    "of a group" of one that ends the program.
    """
    found: list[Link] = []
    _link(error, "raised", found, set())
    return found


def _link(error: BaseException, how: str, found: list[Link], seen: set[int]) -> None:
    if id(error) in seen or len(found) >= MOST_LINKED:
        return
    seen.add(id(error))
    cause, context = kept(error, "__cause__"), kept(error, "__context__")
    if cause is not None:
        _link(cause, "cause", found, seen)
    elif context is not None and not kept(error, "__suppress_context__"):
        _link(context, "context", found, seen)
    members = _members(error)
    for member in members:
        _link(member, "in a group", found, seen)
    found.append(Link(error, "of a group" if members and how == "raised" else how))


def _members(error: BaseException) -> tuple[BaseException, ...]:
    group = getattr(builtins, "BaseExceptionGroup", None)  # from Python 3.11 on
    if group is None or not issubclass(type(error), group):
        return ()
    return tuple(group.exceptions.__get__(error))


def _examined(error: BaseException, bare: PostMortem) -> PostMortem:
    steps = list(_steps(without_ours(kept(error, "__traceback__"))))
    users = [step for step in steps if is_users(step.file)]
    if not users:
        return _of_gradient(_without_users(bare, steps), steps)
    here = next((it for it in reversed(users) if _has_source(it)), users[-1])
    inner = steps[steps.index(users[-1]) + 1 :]
    node, place = node_at(here.frame, here.instruction, here.line)
    seen = bare._replace(
        file=here.file,
        line=place.line if place.is_exact else here.line,
        function=qualified(here.frame),
        expression=source_of(place) if not has_changed(here.frame.f_code) else "",
        source=tuple(_source(place, here.frame)) if not has_changed(here.frame.f_code) else (),
        frames=tuple(_frame(step) for step in reversed(users[-MOST_FRAMES:])),
        is_torchs=_has_torch(inner, error),
    )
    behind = compiled(seen.message, is_users) or elsewhere(seen.message, is_users)
    if behind is not None:
        return _of_compiled(seen, behind)
    try:
        return _of_gradient(_with_operands(seen, node, here, users, inner), steps)
    except Exception:  # noqa: BLE001 - better the place alone than nothing
        return seen


def _without_users(bare: PostMortem, steps: list[_Step]) -> PostMortem:
    """In a worker of a DataLoader no frame is the user's, but the samples are at hand."""
    samples = next(filter(None, (_samples(it) for it in reversed(steps))), [])
    operands = tuple(named(it) for it in samples[:MOST_TENSORS])
    return bare._replace(operands=operands, is_torchs=bool(operands))


def _samples(step: _Step) -> list[Operand]:
    """The tensors that torch's own collating puts into one batch; seen in torch 2.0 to 2.13."""
    if "/torch/utils/data/" not in step.file.replace("\\", "/"):
        return []
    batch: Any = step.frame.f_locals.get("batch")
    if step.frame.f_code.co_name != "collate_tensor_fn" or type(batch) not in (list, tuple):
        return []
    if not all(is_tensor(it) for it in batch):
        return []
    return [Operand(f"batch[{number}]", it) for number, it in enumerate(batch)]


def _of_gradient(seen: PostMortem, steps: list[_Step]) -> PostMortem:
    """With the line of the user's own `backward` that gave a gradient of a wrong shape."""
    found = returned_by(seen.message, [it.frame for it in steps])
    if found is None or not is_users(found.code.co_filename):
        return seen
    file, line = found.code.co_filename, found.line
    place = Place(file, line, line, 0, 0, is_exact=False)
    return seen._replace(
        file=file,
        line=line,
        function=found.function,
        expression=found.expression,
        operands=(),
        source=tuple(_lines_at(place, linecache.getlines(file))),
        is_torchs=True,
    )


def _with_operands(
    seen: PostMortem, node: ast.AST | None, here: _Step, users: list[_Step], inner: list[_Step]
) -> PostMortem:
    callee = inner[0].frame if inner and _is_torchs(inner[0].file) else None
    given = given_to(node, here.frame, callee) if node is not None else NOTHING_GIVEN
    operands = given.operands
    module = module_of([it.frame for it in inner])
    called = called_in([it.frame for it in inner], module)
    ranges = "between 0 and 1" in seen.message
    paths = paths_of(module, [it.frame for it in users]) if module is not None else ("", "")
    if _TRUTH in seen.message and node is not None and not inner:
        operands = whole(node, here.frame) or operands
    exact = [] if module is not None and called is None else _inner_operands(inner, module)
    if module is not None and called is not None:
        exact = _of_layer(module, called, exact)
    if exact and (module is not None or not operands):
        operands = _merged(operands, exact, module, paths[0])
    return seen._replace(
        operands=tuple(
            named(operand, ranges=ranges) for operand in _distinct(operands)[:MOST_TENSORS]
        ),
        plain=tuple((name, _shown(value)) for name, value in given.plain),
        module=paths[0],
        module_path=paths[1],
        module_type=type(module).__name__ if module is not None else "",
        module_text=module_text(module),
        layer=layer_of(module, paths[0]) if module is not None else None,
        given=given_of(called) if called is not None else (),
        is_torchs=seen.is_torchs or bool(operands),
    )


def _of_compiled(seen: PostMortem, behind: Compiled) -> PostMortem:
    """With the line that was compiled in place of the one that called it."""
    place = behind.place
    file = place.file
    line = linecache.getline(file, place.line).strip()
    return seen._replace(
        error=behind.error or seen.error,
        message=behind.message or seen.message,
        text=f"{behind.error}: {behind.message}" if behind.tensors else seen.text,
        file=file,
        line=place.line,
        function=behind.function,
        expression=source_of(place),
        operands=tuple(Named(name, it) for name, it in behind.tensors),
        source=tuple(_lines_at(place, linecache.getlines(file))),
        frames=(Frame(file, place.line, behind.function, (), line), *seen.frames),
        is_torchs=True,
    )


_TRUTH = "Boolean value of Tensor"


def _shown(value: object) -> str:
    return repr(value) if not isinstance(value, str) or len(value) < 60 else f"{value[:56]!r}…"


def _has_source(step: _Step) -> bool:
    return bool(linecache.getline(step.file, step.line))


def _has_torch(inner: list[_Step], error: BaseException) -> bool:
    """Whether it was raised in torch's own Python, or is of a class of torch's."""
    home = str(type(error).__module__)
    return home.partition(".")[0] == "torch" or any(_is_torchs(step.file) for step in inner)


def _distinct(operands: list[Operand]) -> list[Operand]:
    """Each name once."""
    return list({operand.text: operand for operand in operands}.values())


def _steps(traceback: TracebackType | None) -> Iterator[_Step]:
    while traceback is not None:
        yield _Step(traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
        traceback = traceback.tb_next


def qualified(frame: FrameType) -> str:
    """`Net.forward`; the class of `self` on Python 3.10, which keeps no qualified name."""
    code = frame.f_code
    name = getattr(code, "co_qualname", None)
    if name is not None:
        return str(name).replace("<locals>.", "")
    owner = frame.f_locals.get("self")
    return f"{type(owner).__name__}.{code.co_name}" if owner is not None else code.co_name


_LIBRARIES = tuple(
    {
        str(Path(sysconfig.get_path(name)).resolve())
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)


def is_users(file: str) -> bool:
    """Whether a file is the user's own code: none of Python's, none that is installed."""
    if file.startswith("<") or file.startswith(OURS):
        return file.startswith(("<ipython", "<stdin", "<string"))
    if "site-packages" in file or "dist-packages" in file:
        return False
    return not file.startswith(_LIBRARIES)


# --- inside torch's own Python


def _is_torchs(file: str) -> bool:
    return "/torch/" in file.replace("\\", "/") and not is_users(file)


_TELLING = ("/torch/nn/", "/torch/functional.py", "/torch/_tensor.py", "/torch/utils/data/")
"""Files whose own operands mean something to a user; below them are those of every operation."""


def _inner_operands(steps: list[_Step], module: Any) -> list[Operand]:
    """What the innermost function of torch's own Python was given, where it says so by its source."""
    for step in reversed(steps):
        if not any(part in step.file.replace("\\", "/") for part in _TELLING):
            continue
        if module is not None and step.frame.f_locals.get("self") is not module:
            continue
        node, _ = node_at(step.frame, step.instruction, step.line)
        found = operands_of(node, step.frame) if node is not None else []
        if found:
            return found
    return []


def _of_layer(module: Any, called: tuple[Any, Any], exact: list[Operand]) -> list[Operand]:
    """What a layer was given, then its own tensors that took part (where it says) or all of them."""
    args, kwargs = called
    given = [
        Operand(f"{_GIVEN}{path}", tensor)
        for number, value in enumerate(args)
        for path, tensor in tensors_within(value)
        for path in [f"{number}{path}"]
    ]
    given += [
        Operand(f"{_GIVEN}{name}{path}", tensor)
        for name, value in kwargs.items()
        for path, tensor in tensors_within(value)
    ]
    own = {id(tensor): name for name, tensor in own_tensors(module)}
    taking_part = [id(it.value) for it in exact if id(it.value) in own]
    names = [own[number] for number in taking_part] or list(own.values())
    by_name = dict(own_tensors(module))
    names = list(dict.fromkeys(names))
    telling = [
        name
        for name in names
        if "weight" in name or _kind_of(by_name[name]) != _kind_of(by_name[names[0]])
    ]
    return given + [Operand(f"self.{name}", by_name[name]) for name in telling[:MOST_OWN]]


def _kind_of(tensor: Any) -> tuple[str, str]:
    return str(tensor.dtype), str(tensor.device)


MOST_OWN = 3
"""So many of a layer's own tensors are named: an LSTM has dozens that are alike."""


_GIVEN = "the input "
"""Begins the name of what a layer was given, until the user's own name for it is found."""


def _merged(outer: list[Operand], inner: list[Operand], module: Any, path: str) -> list[Operand]:
    """The operands by the names of the user's own source where they are the same tensors."""
    known: dict[int, str] = {}
    for operand in outer:
        known.setdefault(id(operand.value), operand.text)
    own = {id(tensor): name for name, tensor in own_tensors(module)} if module is not None else {}
    names: list[Operand] = []
    for operand in inner:
        if id(operand.value) in own:
            text = f"{path or type(module).__name__}.{own[id(operand.value)]}"
        else:
            text = known.get(id(operand.value)) or _worked_out_name(operand, outer)
        if not text and operand.text.startswith(_GIVEN):
            number = operand.text.removeprefix(_GIVEN)
            which = "input" if number.startswith("0") else f"argument {number}"
            text = f"{which} of {path or type(module).__name__}"
        names.append(operand._replace(text=text or operand.text))
    return names


def _worked_out_name(operand: Operand, outer: list[Operand]) -> str:
    """The source of an operand that is no name: the one that was worked out to the same shape."""
    alike = [
        it.text
        for it in outer
        if it.is_worked_out
        and tuple(it.value.shape) == tuple(operand.value.shape)
        and it.value.dtype == operand.value.dtype
    ]
    return alike[0] if len(alike) == 1 else ""


# --- what is shown


def named(operand: Operand, *, ranges: bool = False) -> Named:
    """An operand as plain data."""
    seen = describe(operand.value, values=not operand.is_worked_out, ranges=ranges)
    device = getattr(operand.value, "_torchkit_device", None)
    return Named(operand.text, seen._replace(device=device) if device is not None else seen)


def _source(place: Place, frame: FrameType) -> Iterator[SourceLine]:
    return _lines_at(place, linecache.getlines(place.file, frame.f_globals))


def _lines_at(place: Place, lines: list[str]) -> Iterator[SourceLine]:
    first = max(1, place.line - AROUND)
    for number in range(first, min(place.end_line, place.line + 8) + 1):
        if number > len(lines):
            return
        text = lines[number - 1].rstrip("\n")
        if number < place.line:
            if text.strip():
                yield SourceLine(number, text)
            continue
        if not place.is_exact:
            yield SourceLine(number, text)
            continue
        indent = len(text) - len(text.lstrip())
        start = place.column if number == place.line else indent
        end = place.end_column if number == place.end_line else len(text.rstrip())
        yield SourceLine(number, text, start, end)


def _frame(step: _Step) -> Frame:
    code = "" if has_changed(step.frame.f_code) else linecache.getline(step.file, step.line).strip()
    try:
        return Frame(step.file, step.line, qualified(step.frame), _tensors_of(step), code)
    except Exception:  # noqa: BLE001 - a frame whose objects cannot be looked at
        return Frame(step.file, step.line, step.frame.f_code.co_name, (), code)


def _tensors_of(step: _Step) -> tuple[Named, ...]:
    found: list[Named] = []
    for name, value in list(step.frame.f_locals.items()):
        if name.startswith("__") or _is_library(value):
            continue
        found += [
            Named(f"{name}{path}", describe(tensor)) for path, tensor in tensors_within(value)
        ]
        if name == "self" and not found:
            found += _own_tensors(value)
        if len(found) >= MOST_TENSORS:
            break
    return tuple(found[:MOST_TENSORS])


def _is_library(value: object) -> bool:
    return issubclass(type(value), ModuleType)


def _own_tensors(value: Any) -> list[Named]:
    """Tensors that an object of the user's keeps itself, beside those of modules."""
    return [
        Named(f"self.{name}", describe(tensor))
        for name, tensor in list(stored_in(value).items())
        if is_tensor(tensor)
    ][:4]
