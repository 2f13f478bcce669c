"""Exceptions in children of the script: DataLoader workers, processes, pools, `torch.multiprocessing`.

What is seen where the exception is raised goes to the parent as plain data: upon the exception or
the wrapper in which it travels, or in a private folder where only text does. A child that tells
nobody, as `multiprocessing.Process`, says it itself. Nothing is imported before the script does.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from torchkit.tracing.imports import Waiting
from torchkit.tracing.stand_in import lend_pkg_resources, take_back_pkg_resources

MOST_EXAMINED = 4
"""So many exceptions of one process are examined: a script may live on with thousands."""

THREAD = "thread "
"""Begins the name of what is a thread and no process."""

_KEPT = "_torchkit_seen"
"""Attribute of an exception, or of the wrapper that it travels in."""

ROOT = str(Path(__file__).resolve().parent.parent.parent)


class FromChild(NamedTuple):
    """What was seen of an exception in another process or thread, and which: `DataLoader worker 0`."""

    process: str
    seen: Any
    rank: str = ""


class Workers:
    """Follows the script's children. `tell(error, process)` says what there is to be said.

    `arguments` are what `torchkit.snooping.begin_child` is given in a child that starts anew.
    """

    def __init__(
        self,
        tell: Callable[[BaseException, str], None],
        *,
        arguments: Mapping[str, str] | None = None,
        folder: str = "",
    ) -> None:
        self.tell = tell
        self.arguments = dict(arguments or {})
        self.folder = folder
        self.left = MOST_EXAMINED
        self.process = os.getpid()

    def install(self) -> None:
        """Wait for the modules that start children, or that bring their exceptions back."""
        Waiting(
            {
                "threading": self._threads,
                "multiprocessing.process": self._processes,
                "multiprocessing.spawn": self._spawn,
                "multiprocessing.pool": self._pool,
                "concurrent.futures.process": self._futures,
                "torch._utils": self._wrapper,
                "torch.multiprocessing.spawn": self._torch_spawn,
                "torchsnooper": take_back_pkg_resources,
            },
            {"torchsnooper": lend_pkg_resources},
        ).install()

    def look(self, error: object, process: str) -> bytes:
        """What is seen of an exception, as bytes; none where it cannot be told."""
        if not isinstance(error, Exception) or isinstance(error, StopIteration) or self.left <= 0:
            return b""
        self.left -= 1
        try:
            from torchkit.tracing.postmortem import examine
            from torchkit.tracing.shadowing import at_home

            with at_home():
                known = found_in(error)
                if known is None:
                    known = FromChild(process, examine(error), os.environ.get("RANK", ""))
                return pickle.dumps(known)
        except Exception:  # noqa: BLE001 - the script's exception must reach its parent
            return b""

    def say(self, error: Exception, process: str) -> None:
        """Have it told here."""
        if self.left <= 0:
            return
        self.left -= 1
        try:
            self.tell(error, process)
        except Exception:  # noqa: BLE001 - the script's exception goes on as it would
            return

    # --- threads

    def _threads(self, module: ModuleType) -> None:
        default = module.excepthook

        def excepthook(args: Any, /) -> None:
            name = getattr(args.thread, "name", "") or "unnamed"
            if isinstance(args.exc_value, Exception) and self.left > 0:
                self.say(args.exc_value, f"{THREAD}{name}")
            else:
                default(args)

        module.excepthook = excepthook  # type: ignore[attr-defined, unused-ignore]

    # --- multiprocessing

    def _processes(self, module: ModuleType) -> None:
        begin = module.BaseProcess._bootstrap

        @functools.wraps(begin)
        def _bootstrap(process: Any, *args: Any, **kwargs: Any) -> Any:
            run = process.run

            def watched() -> None:
                try:
                    run()
                except Exception as error:
                    self.say(error, str(process.name))
                    raise
                except BaseException as error:
                    if hasattr(error, "found"):  # what `--nan` found is told by the parent
                        raise SystemExit(1) from None
                    raise

            process.run = watched
            return begin(process, *args, **kwargs)

        module.BaseProcess._bootstrap = _bootstrap

    def _spawn(self, module: ModuleType) -> None:
        prepare = module.get_preparation_data

        @functools.wraps(prepare)
        def get_preparation_data(*args: Any, **kwargs: Any) -> Any:
            data = prepare(*args, **kwargs)
            if isinstance(data, dict):
                data["torchkit"] = _Beginning({**self.arguments, "folder": self.folder})
            return data

        module.get_preparation_data = get_preparation_data  # type: ignore[attr-defined, unused-ignore]

    def _pool(self, module: ModuleType) -> None:
        self._carry_on(module.ExceptionWithTraceback)

    def _futures(self, module: ModuleType) -> None:
        self._carry_on(module._ExceptionWithTraceback)

    def _carry_on(self, carrier: Any) -> None:
        """An exception that is pickled with its attributes carries what was seen."""
        make = carrier.__init__

        @functools.wraps(make)
        def __init__(it: Any, exc: Any, tb: Any) -> None:  # noqa: N807 - it stands in for one
            seen = self.look(exc, _process_name()) if exc.__traceback__ is not None else b""
            make(it, exc, tb)
            if seen:
                exc.__dict__[_KEPT] = seen

        carrier.__init__ = __init__

    # --- torch

    def _wrapper(self, module: ModuleType) -> None:
        """`torch._utils.ExceptionWrapper`: DataLoader workers, pinning, DataParallel."""
        wrapper = getattr(module, "ExceptionWrapper", None)  # seen in torch 1.2 to 2.13
        if wrapper is None:
            return
        make = wrapper.__init__

        @functools.wraps(make)
        def __init__(it: Any, exc_info: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - same
            exc_info = exc_info or sys.exc_info()
            make(it, exc_info, *args, **kwargs)
            seen = self.look(exc_info[1], str(it.where).removeprefix("in ").replace(" process", ""))
            if seen:
                setattr(it, _KEPT, seen)

        wrapper.__init__ = __init__

    def _torch_spawn(self, module: ModuleType) -> None:
        """Only the text of a traceback goes to the parent: what was seen goes to a private folder."""
        if not hasattr(module, "_wrap") or not hasattr(module, "start_processes"):
            return
        wrap, start = module._wrap, module.start_processes  # seen in torch 1.4 to 2.13

        @functools.wraps(start)
        def start_processes(*args: Any, **kwargs: Any) -> Any:
            self._make_folder()
            return start(*args, **kwargs)

        @functools.wraps(wrap)
        def _wrap(fn: Any, i: int, *args: Any) -> Any:
            @functools.wraps(fn)
            def watched(*given: Any) -> Any:
                try:
                    return fn(*given)
                except Exception as error:
                    self._leave(self.look(error, f"process {i}"))
                    raise

            return wrap(watched, i, *args)

        context = module.ProcessContext
        wait = context.join

        @functools.wraps(wait)
        def join(*args: Any, **kwargs: Any) -> Any:
            try:
                return wait(*args, **kwargs)
            except Exception as error:
                self._take_up(error)
                raise

        context.join = join
        module._wrap = _wrap  # type: ignore[attr-defined, unused-ignore]
        module.start_processes = start_processes  # type: ignore[attr-defined, unused-ignore]

    def _make_folder(self) -> None:
        if self.folder:
            return
        import atexit
        import shutil
        import tempfile

        try:
            self.folder = tempfile.mkdtemp(prefix="torchkit-")
        except OSError:  # nowhere to write: the parent tells what it can
            return

        def remove() -> None:
            if os.getpid() == self.process:
                shutil.rmtree(self.folder, ignore_errors=True)

        atexit.register(remove)

    def _leave(self, seen: bytes) -> None:
        if seen and self.folder:
            try:
                Path(self.folder, str(os.getpid())).write_bytes(seen)
            except OSError:  # the parent tells what it can
                return

    def _take_up(self, error: Exception) -> None:
        # of torch.multiprocessing's ProcessException; `pid` in torch 2.0
        process = getattr(error, "error_pid", getattr(error, "pid", None))
        if self.folder and isinstance(process, int):
            try:
                error.__dict__[_KEPT] = Path(self.folder, str(process)).read_bytes()
            except OSError:
                return


class _Beginning:
    """Unpickled in a child, it has the child followed as well; where that cannot be, nothing."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        code = (
            "import sys\n"
            f"sys.path.insert(0, {ROOT!r})\n"
            "try:\n"
            "    from torchkit.snooping import begin_child\n"
            "except ImportError:\n"
            "    begin_child = lambda **_: None\n"
            "finally:\n"
            f"    sys.path.remove({ROOT!r})\n"
            f"begin_child(**{dict(self.arguments)!r})\n"
        )
        return exec, (code, {})


def _process_name() -> str:
    processes = sys.modules.get("multiprocessing.process")
    return str(processes.current_process().name) if processes is not None else "a child"


# --- in the parent


def examined(error: BaseException) -> Any:
    """What is to be said about an exception, as seen where it was raised: here, or in a child."""
    from torchkit.tracing.postmortem import examine, traceback_of

    here = examine(error)
    found = found_in(error)
    if found is None:
        return here
    rank = f", rank {found.rank}" if found.rank and found.rank != os.environ.get("RANK") else ""
    there = {(it.file, it.line) for it in found.seen.frames}
    return found.seen._replace(
        frames=(
            *found.seen.frames,
            *(it for it in here.frames if (it.file, it.line) not in there),
        ),
        notes=(f"raised in {found.process}{rank}", *found.seen.notes),
        traceback=traceback_of(error),
    )


def is_text_alone(error: BaseException) -> bool:
    """Whether it only carries the text of another process's traceback, of one that is told itself."""
    return type(error).__name__ in ("RemoteTraceback", "_RemoteTraceback")


def found_in(error: BaseException) -> FromChild | None:
    """What another process saw of an exception; None where it is of this one."""
    for kept in _kept(error):
        found = _unpacked(kept)
        if found is not None:
            return found
    return None


def _unpacked(kept: bytes) -> FromChild | None:
    try:
        found = pickle.loads(kept)  # noqa: S301 - written by our own child, to us alone
    except Exception:  # noqa: BLE001 - then it is told as any other
        return None
    return found if isinstance(found, FromChild) else None


def _kept(error: BaseException) -> Iterator[bytes]:
    from torchkit.tracing.postmortem import kept as kept_by
    from torchkit.tracing.tensors import stored_in

    upon = stored_in(error).get(_KEPT)
    if isinstance(upon, bytes):
        yield upon
    for wrapper in _reraised(kept_by(error, "__traceback__")):
        within = stored_in(wrapper).get(_KEPT)
        if isinstance(within, bytes):
            yield within


def _reraised(traceback: TracebackType | None) -> Iterator[object]:
    """The wrapper that an exception was taken out of, where it was raised again last."""
    last = None
    while traceback is not None:
        last, traceback = traceback, traceback.tb_next
    if last is not None and last.tb_frame.f_code.co_name == "reraise":
        yield last.tb_frame.f_locals.get("self")
