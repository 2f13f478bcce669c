"""Runs a script or module as `python` does: `__main__`, argv, `sys.path`, exit status, signals.

What of ours is left for the script to see: more modules are loaded (none that its own folder has,
see `shadowing.py`), and some frames of ours stand below its own.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from torchkit.errors import BadInput
from torchkit.tracing.shadowing import give_way


class Ended(NamedTuple):
    """How a script ended: its status, and the exception that nobody caught.

    `handled` is the exception that the script was handling when it called `sys.exit`. `source` is
    the file of the script and what stood in it, which may have been changed or deleted since.
    """

    status: int
    error: BaseException | None = None
    handled: BaseException | None = None
    source: tuple[str, bytes] | None = None

    @property
    def traceback(self) -> TracebackType | None:
        """Of the exception, without the frames of ours."""
        return without_ours(self.error.__traceback__) if self.error is not None else None


OURS = str(Path(__file__).resolve().parent.parent)


def without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the script's own first frame on."""
    first = traceback
    while first is not None and _is_ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return first or traceback


def _is_ours(file: str) -> bool:
    return file.startswith(OURS) or file.startswith("<frozen runpy") or file.endswith("runpy.py")


# --- a script, a folder, an archive, standard input


def run_script(
    path: str, arguments: Sequence[str], watch: AbstractContextManager[Any] | None = None
) -> Ended:
    """Run a file, `-` for standard input, or a folder or archive with a `__main__.py`.

    Raises BadInput where there is none.
    """
    if path == "-":
        return _run_stdin(arguments, watch)
    script = Path(path)
    if not script.exists():
        raise BadInput(f"there is no script {path}", hint="torchkit snoop train.py ARGUMENTS…")
    if _holds_main(path):
        return _run_place(path, arguments, watch)
    try:
        source = script.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {(error.strerror or '').lower()}", hint="") from None
    file = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - as Python: "./x.py" keeps its dot
    loader: Any = importlib.machinery.SourceFileLoader("__main__", file)
    if script.suffix == ".pyc":
        loader = importlib.machinery.SourcelessFileLoader("__main__", file)
    main = _new_main(loader, file)
    _begin([path, *arguments], os.path.dirname(os.path.realpath(path)))  # noqa: PTH120 - a text, as Python's

    def code() -> types.CodeType:
        if script.suffix == ".pyc":
            compiled: types.CodeType = loader.get_code("__main__")
            return compiled
        return compile(source, file, "exec", dont_inherit=True)

    return _execute(code, main, watch)._replace(source=(file, source))


def _run_stdin(arguments: Sequence[str], watch: AbstractContextManager[Any] | None) -> Ended:
    source = sys.stdin.buffer.read()
    main = _new_main(importlib.machinery.BuiltinImporter, None)
    _begin(["-", *arguments], "")
    ended = _execute(lambda: compile(source, "<stdin>", "exec", dont_inherit=True), main, watch)
    return ended._replace(source=("<stdin>", source))


def _holds_main(path: str) -> bool:
    """Whether Python would import `__main__` from it: a folder, or an archive whatever its name."""
    if Path(path).is_dir():
        return True
    import zipimport

    try:
        zipimport.zipimporter(path)
    except zipimport.ZipImportError:
        return False
    return True


def _run_place(
    path: str, arguments: Sequence[str], watch: AbstractContextManager[Any] | None
) -> Ended:
    place = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - a text, as Python's
    _new_main(None, None)
    _begin([path, *arguments], place if sys.version_info >= (3, 9) else path, always=True)
    return _guarded(lambda: _as_main("__main__", alter_argv=False), watch)


def _execute(
    code: Callable[[], types.CodeType],
    main: types.ModuleType,
    watch: AbstractContextManager[Any] | None,
) -> Ended:
    try:
        compiled = code()
    except Exception as error:  # noqa: BLE001 - what Python itself says of source it cannot read
        error.__traceback__ = None
        return Ended(1, error)
    return _guarded(lambda: exec(compiled, main.__dict__), watch)  # noqa: S102 - what is asked for


def _new_main(loader: Any, file: str | None) -> types.ModuleType:
    """The `__main__` that Python has before the first line of a script."""
    main = types.ModuleType("__main__")
    names: dict[str, Any] = {"__loader__": loader, "__builtins__": sys.modules["builtins"]}
    if "__annotations__" in sys.modules["__main__"].__dict__ or sys.version_info < (3, 14):
        names["__annotations__"] = {}
    if file is not None:
        names |= {"__file__": file, "__cached__": None}
    main.__dict__.update(names)
    sys.modules["__main__"] = main
    return main


# --- a module


def run_module(
    name: str, arguments: Sequence[str], watch: AbstractContextManager[Any] | None = None
) -> Ended:
    """Run a module as `python -m` does. Raises BadInput where there is none of this name."""
    import importlib.util

    _new_main(None, None)
    _begin(["-m", *arguments], str(Path.cwd()))
    try:
        found = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise BadInput(
            f"there is no module {name}", hint="torchkit snoop -m PACKAGE.MODULE ARGUMENTS…"
        )
    return _guarded(lambda: _as_main(name, alter_argv=True), watch)


def _as_main(name: str, *, alter_argv: bool) -> None:
    """What `python -m` calls; seen in Python 3.10 to 3.14."""
    import runpy

    run: Callable[..., object] | None = getattr(runpy, "_run_module_as_main", None)
    if run is not None:
        run(name, alter_argv)
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)


# --- around the script's first and last line


def _begin(argv: list[str], folder: str, *, always: bool = False) -> None:
    """`sys.argv`, and what Python itself puts first on `sys.path`; of ours nothing is kept there."""
    is_ours = sys.path[:1] and sys.path[0] in _first_places()
    sys.argv = argv
    if getattr(sys.flags, "safe_path", False) and not always:
        return
    if is_ours and not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder
    else:
        sys.path.insert(0, folder)
    give_way(folder)


def _first_places() -> tuple[str, ...]:
    """What Python puts first on `sys.path` when it starts us."""
    started = sys.argv[0] if sys.argv else ""
    return (
        "",
        str(Path.cwd()),
        str(Path(started).parent),
        str(Path(started).resolve().parent),
    )


def _guarded(execute: Callable[[], object], watch: AbstractContextManager[Any] | None) -> Ended:
    """Run it, with the signals as Python has them, and what watches it around it alone."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    sys.excepthook = sys.__excepthook__  # not that of the command line's parser
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth() + _DEEPER)
    try:
        with watch or nullcontext():
            execute()
    except SystemExit as end:
        return Ended(status_of(end.code), handled=end.__context__)
    except KeyboardInterrupt as error:
        _end_by_interrupt()
        return Ended(130, error)
    except BaseException as error:  # noqa: BLE001 - what nobody caught is what we are here for
        _keep_as_last(error)
        return Ended(1, error)
    return Ended(0)


_DEEPER = 8
"""Calls from C count as well, so a script may go as deep as without us, and not a step less."""


def _depth() -> int:
    depth = 0
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        depth += 1
        frame = frame.f_back
    return depth


def _keep_as_last(error: BaseException) -> None:
    """As Python does, for what runs at exit."""
    sys.last_type, sys.last_value = type(error), error
    sys.last_traceback = without_ours(error.__traceback__)
    if sys.version_info >= (3, 12):
        sys.last_exc = error


def _end_by_interrupt() -> None:
    """Python ends itself by SIGINT after a Ctrl-C, last of all: whoever started it can tell."""
    process = os.getpid()

    def end() -> None:
        if os.getpid() != process:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(process, signal.SIGINT)

    _LAST.append(end)


_LAST: list[Callable[[], None]] = []
"""Called when all that the script registered for its end has been."""


def _call_last() -> None:
    for function in _LAST:
        function()


atexit.register(_call_last)


def status_of(code: object) -> int:
    """The exit status of a SystemExit: its text goes to stderr."""
    if code is None:
        return 0
    if isinstance(code, int):
        is_long = -(2**63) <= code < 2**63
        return code & 0xFF if is_long else 0xFF
    with suppress(Exception):
        sys.stderr.write(f"{code}\n")
    return 1
