"""`torchkit.snoop` and `torchkit.install_excepthook`: snoop for code that is not run by `torchkit snoop`.

What there is to be said goes to stderr, and the exception goes on as it would.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from torchkit.errors import BadInput
from torchkit.snooping import tell

Function = TypeVar("Function", bound=Callable[..., Any])

_TOLD = "_torchkit_told"
"""Attribute of an exception that has been told of already."""


class Snoop:
    """Watches a block of code, or the calls of a function: see `torchkit.snoop`."""

    def __init__(self, make: Callable[[], _Watch]) -> None:
        self._make = make
        self._open: list[_Watch] = []  # the same one may be entered again within itself

    def __enter__(self) -> Snoop:
        watch = self._make()
        watch.begin()
        self._open.append(watch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.pop().end(kind, error, traceback)

    def __call__(self, function: Function) -> Function:
        """The function, each call of it watched."""
        wrapped: Any
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with Snoop(self._make):
                    return await function(*args, **kwargs)

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with Snoop(self._make):
                    return (yield from function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with Snoop(self._make):
                    return function(*args, **kwargs)

        found: Function = wrapped
        return found


class _Watch:
    """One block, or one call, that is watched."""

    def __init__(self, question: Any, report: Path | None) -> None:
        self.question = question
        self.report = report
        self.watch: AbstractContextManager[Any] = contextlib.nullcontext()

    def begin(self) -> None:
        from torchkit.commands.snoop_run import watch_of

        self.watch = watch_of(self.question)
        self.watch.__enter__()

    def end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.watch.__exit__(kind, error, traceback)
        except BaseException as found:  # what watches may have found something only now
            self._tell(found)
            raise
        self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        with contextlib.suppress(Exception):  # the user's own exception goes on
            tell_of(error, self.question, self.watch, self.report)


def tell_of(
    error: BaseException | None,
    question: Any,
    watch: AbstractContextManager[Any],
    report: Path | None,
) -> None:
    """Say what there is to be said of a block that has ended; of an exception once."""
    from torchkit.commands.snoop_run import (
        Snooped,
        came_in_report,
        told_by,
        trace_of,
        with_trace,
    )
    from torchkit.tracing.run import Ended

    trace = trace_of(question, watch)
    if error is None or isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        said = trace or came_in_report(watch)
        if said is not None:
            tell(Snooped(0, said), report)
        return
    if getattr(error, _TOLD, False):
        return
    with contextlib.suppress(Exception):  # one that takes no attributes
        setattr(error, _TOLD, True)
    told = told_by(Ended(1, error), watch, by_hook=False)
    if told.words_are_all and trace is None:
        return  # Python says it all
    tell(told._replace(report=with_trace(told.report, trace), words=""), report)


def snoop(
    decorated: Function | None = None,
    *,
    function: str | Sequence[str] = (),
    calls: int = 3,
    depth: int = 0,
    nan: bool = False,
    inf: bool = False,
    inplace: bool = False,
    engine: str = "torchkit",
    report: str | Path | None = None,
) -> Any:
    """Watch a block (`with torchkit.snoop():`) or a function (`@torchkit.snoop(nan=True)`).

    When an exception leaves it, stderr says which expression failed, on which tensors, and why;
    the exception goes on. The options are those of the command line: `function` follows matching
    functions line by line, `nan` and `inf` stop at the first operation that makes one, `inplace`
    tells both lines of autograd's in-place error, `report` is a file that is written as well.
    Raises TorchkitError for options that do not go together, or that need a torch which is not there.
    """
    from torchkit.commands.snoop_run import Question, check_options

    globs = (function,) if isinstance(function, str) else tuple(function)
    question = Question(
        functions=globs, calls=calls, depth=depth, nan=nan, inf=inf, inplace=inplace, engine=engine
    )
    check_options(question)
    if decorated is not None and not callable(decorated):
        raise BadInput(
            f"torchkit.snoop was given {type(decorated).__name__} {decorated!r}",
            hint="with torchkit.snoop(): …   or   @torchkit.snoop(function='*.forward')",
        )
    file = Path(report).absolute() if report is not None else None
    found = Snoop(lambda: _Watch(question, file))
    return found(decorated) if decorated is not None else found


# --- whatever goes uncaught


def install_excepthook() -> None:
    """From now on an exception that nobody catches is explained on stderr, after Python's own words.

    In IPython and Jupyter, too; in threads, in DataLoader workers and other children as well. A
    second call changes nothing.
    """
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)
        from torchkit.snooping import follow_children

        follow_children(None)
    _install_in_ipython()


class _Hook:
    """Calls the hook that was there, then explains."""

    def __init__(self, before: Callable[..., Any]) -> None:
        self.before = before

    def __call__(
        self,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        if not _is_ours(error):
            self.before(kind, error, traceback)
        explain(error)


def _is_ours(error: BaseException) -> bool:
    """Whether it is what ends a watched block: the report says it all, the frames are ours."""
    kind = type(error)
    return kind.__module__.startswith("torchkit.tracing.") and kind.__name__.startswith("StopAt")


def explain(error: BaseException) -> None:
    """What there is to be said of an exception, on stderr; nothing where Python says it all."""
    from torchkit.commands.snoop_run import Question

    with contextlib.suppress(Exception):
        tell_of(error, Question(), contextlib.nullcontext(), None)


def _install_in_ipython() -> None:
    """IPython shows exceptions by itself, and never calls `sys.excepthook`."""
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get() if get is not None else None
    if shell is None or getattr(shell, "_torchkit_explains", False):
        return

    def show(
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
        tb_offset: int | None = None,
    ) -> None:
        shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)
        explain(error)

    shell.set_custom_exc((Exception,), show)
    shell._torchkit_explains = True
