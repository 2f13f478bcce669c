"""How Python tells of the calls and lines of chosen functions.

From Python 3.12 on `sys.monitoring` calls us for the chosen functions alone, and every other function
once. Before, every call of a Python function is looked at (`sys.settrace`); a tracer that was there
is told of everything as before, and put back afterwards.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Protocol


class Listener(Protocol):
    """What is told."""

    def may_want(self, code: CodeType) -> bool:
        """Whether calls of this code may ever be followed."""

    def begin(self, frame: FrameType) -> bool:
        """A call begins or goes on; whether it is followed."""

    def line(self, frame: FrameType, number: int) -> None:
        """A line is about to be executed."""

    def pause(self, frame: FrameType) -> None:
        """A generator yields."""

    def end(self, frame: FrameType, returned: Any) -> None:
        """A call returns."""

    def broken(self, frame: FrameType) -> None:
        """A call is left by an exception."""

    def is_done(self, code: CodeType) -> bool:
        """Whether no call of this code is followed, and none will be."""


class Ears(Protocol):
    """A way of listening."""

    def begin(self) -> None:
        """From now on."""

    def end(self) -> None:
        """No longer; what was there before is there again."""


def ears(listener: Listener) -> Ears:
    """The way that this Python has."""
    return Monitoring(listener) if hasattr(sys, "monitoring") else Tracing(listener)


def safely(function: Callable[..., Any], *arguments: Any) -> Any:
    """Nothing of ours may raise inside the user's program."""
    try:
        return function(*arguments)
    except Exception:  # noqa: BLE001 - whatever it is, the user's program goes on
        return None


# --- Python 3.10 and 3.11

_YIELDS = frozenset(
    number
    for name, number in dis.opmap.items()
    if name in ("YIELD_VALUE", "YIELD_FROM", "SEND", "RETURN_GENERATOR")
)
_AWAITS = bytes([dis.opmap["YIELD_FROM"]]) if "YIELD_FROM" in dis.opmap else b"-"
_RETURNS = frozenset([dis.opmap["RETURN_VALUE"]])


class Tracing:
    """By `sys.settrace`."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.before: Any = None
        self.before_threads: Any = None

    def begin(self) -> None:
        """From now on, in this thread and in those that are started."""
        self.before = sys.gettrace()
        self.before_threads = getattr(threading, "gettrace", lambda: None)()
        threading.settrace(self._called)
        sys.settrace(self._called)

    def end(self) -> None:
        """Put back what was there; not where somebody has put another one there since."""
        if sys.gettrace() == self._called:
            sys.settrace(self.before)
        threading.settrace(self.before_threads)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        theirs = self.before(frame, event, argument) if self.before is not None else None
        if event != "call" or not safely(self._wants, frame):
            return theirs
        return self._inside if theirs is None else _Two(self._inside, theirs)

    def _wants(self, frame: FrameType) -> bool:
        return self.listener.may_want(frame.f_code) and self.listener.begin(frame)

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            safely(self.listener.line, frame, frame.f_lineno)
        elif event == "return":
            safely(self._left, frame, argument)
        return self._inside

    def _left(self, frame: FrameType, returned: Any) -> None:
        """Python says "return" of a yield and of an exception, too: the instruction tells."""
        code, at = frame.f_code.co_code, frame.f_lasti
        instruction = code[at] if at >= 0 else -1
        waits = (
            code[at + 2 : at + 3] == _AWAITS
        )  # Python 3.10 stands before what it will go on with
        if instruction in _YIELDS or (at >= 0 and waits):
            self.listener.pause(frame)
        elif instruction in _RETURNS:
            self.listener.end(frame, returned)
        else:
            self.listener.broken(frame)


class _Two:
    """Our tracer of a call, and the one that was there before."""

    def __init__(self, ours: Any, theirs: Any) -> None:
        self.ours = ours
        self.theirs = theirs

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.ours(frame, event, argument)
        if self.theirs is not None:
            self.theirs = self.theirs(frame, event, argument)
        return self


# --- Python 3.12 and later


class Monitoring:
    """By `sys.monitoring`."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.tool: int | None = None
        self.inside: set[CodeType] = set()

    def begin(self) -> None:
        """From now on, in all threads."""
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        free = [number for number in (4, 3, 5, 2, 1, 0) if monitoring.get_tool(number) is None]
        if not free:
            return
        self.tool = free[0]
        monitoring.use_tool_id(self.tool, "torchkit snoop")
        monitoring.restart_events()  # those of a use before are still switched off
        events = monitoring.events
        told = {
            events.PY_START: self._start, events.LINE: self._line, events.PY_YIELD: self._yield,
            events.PY_RETURN: self._return, events.PY_UNWIND: self._unwind,
        }  # fmt: skip
        for event, callback in told.items():
            monitoring.register_callback(self.tool, event, callback)
        monitoring.set_events(self.tool, events.PY_START | events.PY_UNWIND)

    def end(self) -> None:
        """No longer."""
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        if self.tool is None:
            return
        monitoring.set_events(self.tool, 0)
        for code in self.inside:
            monitoring.set_local_events(self.tool, code, 0)
        for event in ("PY_START", "LINE", "PY_YIELD", "PY_RETURN", "PY_UNWIND"):
            monitoring.register_callback(self.tool, getattr(monitoring.events, event), None)
        monitoring.free_tool_id(self.tool)
        self.tool = None

    def _start(self, code: CodeType, _offset: int) -> Any:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        if not safely(self.listener.may_want, code):
            return monitoring.DISABLE
        frame = sys._getframe(1)
        if safely(self.listener.begin, frame) and code not in self.inside:
            events = monitoring.events
            self.inside.add(code)
            local = events.LINE | events.PY_RETURN | events.PY_YIELD
            monitoring.set_local_events(self.tool, code, local)
        return None

    def _line(self, _code: CodeType, number: int) -> None:
        safely(self.listener.line, sys._getframe(1), number)

    def _yield(self, _code: CodeType, _offset: int, _value: Any) -> None:
        safely(self.listener.pause, sys._getframe(1))

    def _return(self, code: CodeType, _offset: int, returned: Any) -> None:
        safely(self.listener.end, sys._getframe(1), returned)
        self._rest(code)

    def _rest(self, code: CodeType) -> None:
        """After the last call that is followed its lines are told no more."""
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        if code in self.inside and safely(self.listener.is_done, code):
            self.inside.discard(code)
            monitoring.set_local_events(self.tool, code, 0)

    def _unwind(self, code: CodeType, _offset: int, _error: Any) -> None:
        if code in self.inside:
            safely(self.listener.broken, sys._getframe(1))
            self._rest(code)
