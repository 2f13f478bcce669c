"""Follows functions chosen by name, line by line: which tensors each line made or changed.

A tensor is described when it is another object than before, or when its version shows that it was
changed in place: one reduction for each change, none for what stays. Looked at are the locals and the
tensors that `self` keeps itself. How Python tells us of calls and lines is `listening.py`.
"""

from __future__ import annotations

import fnmatch
import inspect
import linecache
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

from torchkit.tracing.listening import Ears, ears
from torchkit.tracing.postmortem import is_users
from torchkit.tracing.tensors import (
    MOST_ELEMENTS,
    Described,
    describe,
    device_failed,
    is_tensor,
    stored_in,
    tensors_within,
    torch_module,
)

MOST_STEPS = 20_000
"""So many changes are kept for the report; all of them are told while they happen."""

_OTHERS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")


class Step(NamedTuple):
    """A tensor that a line made or changed. `change` is `argument`, `new`, `changed`, `in-place` or
    `returned`; `line` 0 for what came with the call. `kind` is the tensor without its values."""

    call: int
    function: str
    file: str
    line: int
    source: str
    name: str
    change: str
    tensor: str
    kind: str


class _Seen(NamedTuple):
    """What identifies a tensor's state: the object, which is not kept alive, and its version."""

    tensor: Any
    version: int


class Call:
    """One call that is followed; `level` is how deep below a function that was named."""

    __slots__ = ("file", "function", "level", "line", "number", "seen")

    def __init__(self, number: int, function: str, file: str, level: int) -> None:
        self.number = number
        self.function = function
        self.file = file
        self.level = level
        self.line = 0
        self.seen: dict[str, _Seen] = {}


class Follower:
    """A context in which functions whose names match are followed.

    `globs` are matched with the qualified name (`Net.forward`) and the plain one, `calls` is how
    many calls of each function are followed, `depth` how deep the user's functions that they call.
    `tell` is given each step as it happens, `done` each call that is over.
    """

    def __init__(
        self,
        globs: Sequence[str],
        *,
        calls: int,
        depth: int,
        tell: Callable[[Step], None],
        done: Callable[[str, int], None] | None = None,
    ) -> None:
        self.globs = tuple(globs)
        self.calls = calls
        self.depth = depth
        self.tell = tell
        self.done = done or getattr(tell, "done", None)
        self.steps: list[Step] = []
        self.counts: dict[CodeType, int] = {}
        self.wanted: dict[CodeType, bool] = {}
        self.matched: set[str] = set()
        self.active: dict[FrameType, Call] = {}
        self.ears: Ears = ears(self)

    def __enter__(self) -> Follower:
        self.ears.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.ears.end()
        self.active.clear()

    # --- which functions

    def wants(self, code: CodeType) -> bool:
        """Whether the function of this code is one of those that were named."""
        known = self.wanted.get(code)
        if known is None:
            known = self.wanted[code] = self._matches(code)
        return known

    def may_want(self, code: CodeType) -> bool:
        """Whether calls of this code may ever be followed: it is named, or may be called by one."""
        if self.counts.get(code, 0) >= self.calls:
            return not self.is_done(code)
        return self.wants(code) or (self.depth > 0 and _is_function(code))

    def is_done(self, code: CodeType) -> bool:
        """Whether no call of this code is followed, and none will be."""
        if self.counts.get(code, 0) < self.calls:
            return False
        return not any(frame.f_code is code for frame in list(self.active))

    def _matches(self, code: CodeType) -> bool:
        if not _is_function(code):
            return "<module>" in self.globs and code.co_name == "<module>"
        name = getattr(code, "co_qualname", None)
        if name is None:  # Python 3.10 keeps no qualified name: the class of `self` decides
            return any(
                fnmatch.fnmatchcase(code.co_name, it.rpartition(".")[2]) for it in self.globs
            )
        full = str(name).replace("<locals>.", "")
        return any(
            fnmatch.fnmatchcase(full, glob) or fnmatch.fnmatchcase(code.co_name, glob)
            for glob in self.globs
        )

    def begin(self, frame: FrameType) -> bool:
        """A call begins, or goes on after a yield; whether it is followed."""
        if frame in self.active:
            return True
        code = frame.f_code
        if self.counts.get(code, 0) >= self.calls:
            return False
        if self.wants(code) and self._matches_with_owner(frame):
            level = 0
        else:
            above = self._level_above(frame) if self.depth else None
            if above is None or above >= self.depth or not self.may_want(code):
                return False
            level = above + 1
        self.counts[code] = self.counts.get(code, 0) + 1
        name = qualified(frame)
        self.matched.add(name)
        call = Call(self.counts[code], name, code.co_filename, level)
        self.active[frame] = call
        for text, tensor in _tensors(frame):
            if text.startswith("self."):
                call.seen[text] = _seen(tensor)
            else:
                self._note(call, text, "argument", tensor)
        return True

    def _level_above(self, frame: FrameType) -> int | None:
        above = frame.f_back
        while above is not None:
            call = self.active.get(above)
            if call is not None:
                return call.level
            code = above.f_code
            if _is_function(code):
                return None
            above = above.f_back
        return None

    def _matches_with_owner(self, frame: FrameType) -> bool:
        """On Python 3.10, which keeps no qualified name, the class of `self` decides."""
        code = frame.f_code
        if hasattr(code, "co_qualname"):
            return True
        names = [code.co_name]
        owner = frame.f_locals.get("self")
        if owner is not None:
            names += [f"{kind.__name__}.{code.co_name}" for kind in type(owner).__mro__]
        return any(fnmatch.fnmatchcase(name, glob) for name in names for glob in self.globs)

    # --- what happens in them

    def line(self, frame: FrameType, number: int) -> None:
        """A line is about to be executed: the one before has done its work."""
        call = self.active.get(frame)
        if call is None:
            return
        if call.line:
            self._compare(frame, call)
        call.line = number

    def pause(self, frame: FrameType) -> None:
        """A generator yields, or a coroutine waits."""
        call = self.active.get(frame)
        if call is not None:
            self._compare(frame, call)

    def end(self, frame: FrameType, returned: Any) -> None:
        """The call returns."""
        call = self.active.get(frame)
        if call is None:
            return
        try:
            self._compare(frame, call)
            for path, tensor in tensors_within(returned):
                self._note(call, f"return{path}", "returned", tensor)
        finally:
            self._drop(frame, call)

    def broken(self, frame: FrameType) -> None:
        """The call is left by an exception."""
        call = self.active.get(frame)
        if call is None:
            return
        try:
            self._compare(frame, call)
        finally:
            self._drop(frame, call)

    def _drop(self, frame: FrameType, call: Call) -> None:
        del self.active[frame]
        if self.done is not None:
            self.done(call.function, call.number)

    def _compare(self, frame: FrameType, call: Call) -> None:
        there = set()
        for name, tensor in _tensors(frame):
            there.add(name)
            before = call.seen.get(name)
            if before is None:
                change = "new"
            elif before.tensor() is not tensor:
                change = "changed"
            elif before.version != _version(tensor):
                change = "in-place"
            else:
                continue
            self._note(call, name, change, tensor)
        if len(there) < len(call.seen):
            call.seen = {name: it for name, it in call.seen.items() if name in there}

    def _note(self, call: Call, name: str, change: str, tensor: Any) -> None:
        if change != "returned":
            call.seen[name] = _seen(tensor)
        line = call.line if change != "argument" else 0
        source = linecache.getline(call.file, line).strip() if line else ""
        text, kind = _described(tensor)
        step = Step(call.number, call.function, call.file, line, source, name, change, text, kind)
        if len(self.steps) < MOST_STEPS:
            self.steps.append(step)
        self.tell(step)


def _is_function(code: CodeType) -> bool:
    """Whether it is of a function of the user's: no comprehension, no class body, nothing made by
    `exec`."""
    if code.co_name in _OTHERS or not code.co_flags & inspect.CO_OPTIMIZED:
        return False
    return is_users(code.co_filename) and not code.co_filename.startswith("<string")


def qualified(frame: FrameType) -> str:
    """`Net.forward`; on Python 3.10 with the class of `self`."""
    code = frame.f_code
    name = getattr(code, "co_qualname", None)
    if name is not None:
        return str(name).replace("<locals>.", "")
    owner = frame.f_locals.get("self")
    return f"{type(owner).__name__}.{code.co_name}" if owner is not None else code.co_name


def _tensors(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """Tensors in the locals of a frame, those in lists, tuples and dicts among them, and of `self`."""
    torch = torch_module()
    if torch is None:
        return
    tensor, module = torch.Tensor, torch.nn.Module
    for name, value in list(frame.f_locals.items()):
        kind = type(value)
        if kind in _BARE:
            continue
        if issubclass(kind, tensor):
            yield name, value
        elif name == "self":
            yield from _kept(value)
        elif not name.startswith("__") and not issubclass(kind, module):
            for path, it in tensors_within(value, most=8):
                yield f"{name}{path}", it


_BARE = (int, float, bool, str, bytes, type(None), range, type, FunctionType, BuiltinFunctionType)
"""Of these nothing is looked through."""


def _kept(owner: Any) -> Iterator[tuple[str, Any]]:
    """The tensors that an object keeps itself: attributes, buffers and parameters of a module."""
    stored = stored_in(owner)
    for holder in (stored, stored.get("_buffers"), stored.get("_parameters")):
        if type(holder) is dict:
            for name, value in list(holder.items()):
                if type(name) is str and is_tensor(value):
                    yield f"self.{name}", value


def _seen(tensor: Any) -> _Seen:
    return _Seen(weakref.ref(tensor), _version(tensor))


def _version(tensor: Any) -> int:
    try:
        return int(tensor._version)
    except Exception:  # noqa: BLE001 - inference tensors keep none
        return 0


def _described(tensor: Any) -> tuple[str, str]:
    """A tensor with its values, and without: what a loop's repetitions have in common."""
    seen = _finite(tensor)
    if seen is not None:
        return seen.text, seen.text
    seen = describe(tensor)
    plain = seen._replace(low=None, high=None)
    odd = plain._replace(nans=int(bool(seen.nans)), infs=int(bool(seen.infs)))
    return seen.text, odd.text


def _finite(tensor: Any) -> Described | None:
    """A plain floating tensor without NaN and Inf, by one sum; None for all others."""
    torch = torch_module()
    try:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or _is_watched(torch):
            return None
        dtype = tensor.dtype
        if not dtype.is_floating_point or tensor.layout is not torch.strided or tensor.is_meta:
            return None
        if not 0 < tensor.numel() <= MOST_ELEMENTS or device_failed():
            return None
        with torch.no_grad():
            narrow = dtype in (torch.float16, torch.bfloat16)
            total = tensor.sum(dtype=torch.float32) if narrow else tensor.sum()
            if not math.isfinite(total.item()):
                return None
    except Exception:  # noqa: BLE001 - no sum of this kind of tensor
        return None
    return Described(
        str(dtype).removeprefix("torch."),
        tuple(tensor.shape),
        str(tensor.device),
        None if tensor.is_contiguous() else tuple(tensor.stride()),
        tensor.requires_grad,
    )


def _is_watched(torch: Any) -> bool:
    """Whether a mode or a transform of the user's would see what we do; seen in 2.0 to 2.15."""
    core = torch._C
    stack = core._len_torch_dispatch_stack() + core._len_torch_function_stack()
    return bool(stack) or core._functorch.peek_interpreter_stack() is not None
