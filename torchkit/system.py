"""The one door to the outside: files, the environment, programs, limits of this process.

Every probe is handed a `System` and asks nothing else, so a test can hand over an invented
machine: a folder as root, a dictionary as environment, recordings as programs. Nothing here
judges, and nothing raises because something is absent: a value, None for "not there", or
`Unknown` with the reason it could not be told.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

READ_LIMIT_BYTES = 4 * 1024**2
"""More of a text file than this is never read; the longest we need is a package's METADATA."""

OUTPUT_LIMIT_BYTES = 4 * 1024**2
"""A program that writes more than this is killed: what we ask for has some lines."""

LINGER_S = 0.2
"""How long a program's pipe is waited for after its end; something it started may hold it open."""

NOTICE_AFTER_S = 1.0
"""How long a child may run before the user is told what is being waited for."""

NOTICE_EVERY_S = 10.0
"""How often the user is told that it still runs."""

REAP_LIMIT_S = 1.0
"""How long a killed child may take to go; one stuck in the kernel (a wedged driver) is left."""


_READ_ONLY = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO opens at once
    | getattr(os, "O_NOCTTY", 0)  # a terminal does not become ours
    | getattr(os, "O_BINARY", 0)  # Windows would end the file at a Ctrl-Z
)


@dataclass(frozen=True)
class Unknown:
    """Something could not be told, and why."""

    reason: str


@dataclass(frozen=True)
class TimedOut(Unknown):
    """A program gave no answer within its limit, and was killed; `stderr` is what it wrote there."""

    stderr: str = field(default="", compare=False)


@dataclass(frozen=True)
class Answer:
    """What a program said. A negative `status` is the signal it died of."""

    status: int
    stdout: str
    stderr: str


class System:
    """This machine, as probes see it. Paths are absolute paths of that machine."""

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        environ: Mapping[str, str] | None = None,
        notices: bool = False,
    ) -> None:
        self.root = root
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.notices = notices

    # --- what kind of machine

    @property
    def platform(self) -> str:
        """`linux`, `darwin` or `win32`, as `sys.platform` has it."""
        return sys.platform

    @property
    def architecture(self) -> str:
        """`x86_64`, `aarch64`, `arm64`, `AMD64`: as the kernel calls it."""
        if hasattr(os, "uname"):
            return os.uname().machine
        # not platform.machine(), which asks WMI from Python 3.12 on, and that can take its time
        environ = self.environ
        return environ.get("PROCESSOR_ARCHITEW6432") or environ.get("PROCESSOR_ARCHITECTURE", "")

    @property
    def release(self) -> str:
        """The kernel's release: `6.1.0-18-amd64`, `23.5.0`, or `10.0.22631` on Windows."""
        if hasattr(os, "uname"):
            return os.uname().release
        told: tuple[int, ...] = getattr(sys, "getwindowsversion", tuple)()[:3]
        return ".".join(str(part) for part in told)

    def libc(self) -> str | None:
        """`glibc 2.36`, or None where the C library is not glibc."""
        try:
            return os.confstr("CS_GNU_LIBC_VERSION")
        except (AttributeError, ValueError, OSError):
            return None

    def cpu_count(self) -> int | Unknown:
        """CPUs this process may run on (its affinity mask, not its quota)."""
        try:
            return len(os.sched_getaffinity(0))
        except (AttributeError, OSError):
            return os.cpu_count() or Unknown("the operating system does not tell")

    def memory_bytes(self) -> int | Unknown:
        """The machine's memory in bytes, as the C library tells it: on Linux and macOS."""
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):
            return Unknown("the operating system does not tell")

    def working_folder(self) -> Path | None:
        """The current folder; None when it was deleted under us."""
        try:
            return Path.cwd()
        except OSError:
            return None

    # --- files

    def path(self, path: Path | str) -> Path:
        """Where a path of the machine lies for us."""
        path = Path(path)
        if self.root == Path("/"):
            return path
        return self.root / path.relative_to("/") if path.is_absolute() else self.root / path

    def read_text(self, path: Path | str) -> str | Unknown | None:
        """A text file's content, undecodable bytes replaced; None when it is not there."""
        data = self.read_bytes(path)
        return data.decode("utf-8", "replace") if isinstance(data, bytes) else data

    def read_bytes(self, path: Path | str) -> bytes | Unknown | None:
        """At most `READ_LIMIT_BYTES` of a regular file; None when it is not there."""
        try:
            with self.open(path) as file:
                return file.read(READ_LIMIT_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            return Unknown(f"cannot read {path}: {_reason(error)}")

    @contextlib.contextmanager
    def open(self, path: Path | str) -> Iterator[BinaryIO]:
        """A regular file, opened for reading bytes. Raises OSError; never waits on a FIFO."""
        descriptor = os.open(self.path(path), _READ_ONLY)
        try:
            file = os.fdopen(descriptor, "rb")
        except OSError:  # a folder, whose descriptor Python leaves open
            os.close(descriptor)
            raise
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(None, "not a regular file")
            yield file

    def size(self, path: Path | str) -> int | None:
        """A regular file's size in bytes; None when there is no such file."""
        try:
            status = os.stat(self.path(path))  # noqa: PTH116 - a third of the time of Path.stat
        except (OSError, ValueError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def exists(self, path: Path | str) -> bool:
        """Whether something is at this path that we may see."""
        try:
            return self.path(path).exists()
        except (OSError, ValueError):
            return False

    def is_folder(self, path: Path | str) -> bool:
        """Whether a folder is at this path."""
        try:
            return self.path(path).is_dir()
        except (OSError, ValueError):
            return False

    def is_locked(self, path: Path | str) -> bool:
        """Whether something is at this path that we may not read (a folder: not look into)."""
        here = self.path(path)
        needed = os.R_OK | os.X_OK if self.is_folder(path) else os.R_OK
        return self.exists(path) and not os.access(here, needed)

    def is_writable(self, folder: Path | str) -> bool:
        """Whether we may make files in this folder, as far as its permissions say."""
        try:
            return os.access(self.path(folder), os.W_OK | os.X_OK)
        except (OSError, ValueError):
            return False

    def names_in(self, folder: Path | str) -> tuple[str, ...]:
        """Names of the entries of a folder, sorted; none when it cannot be listed."""
        try:
            return tuple(sorted(os.listdir(self.path(folder))))  # noqa: PTH208 - names are enough
        except (OSError, ValueError):
            return ()

    def resolve(self, path: Path | str) -> Path:
        """The path with symbolic links followed, as far as they lead."""
        try:
            resolved = self.path(path).resolve()
        except (OSError, RuntimeError, ValueError):  # a loop, or a NUL in the name
            return Path(path)
        if self.root == Path("/"):
            return resolved
        root = self.root.resolve()
        return Path("/") / resolved.relative_to(root) if resolved.is_relative_to(root) else resolved

    def file_system(self, path: Path | str) -> os.statvfs_result | Unknown | None:
        """Sizes of the file system a path lies on; None when the path is not there."""
        try:
            return os.statvfs(self.path(path))
        except (FileNotFoundError, ValueError):
            return None
        except (OSError, AttributeError) as error:
            return Unknown(f"cannot ask {path} for its size: {_reason(error)}")

    # --- programs

    def which(self, program: str) -> Path | None:
        """The program that PATH gives, as the machine's own path."""
        if os.sep in program or (os.altsep and os.altsep in program):
            return self._with_suffix(Path(program))
        for folder in self.environ.get("PATH", os.defpath).split(os.pathsep):
            found = self._with_suffix(Path(folder) / program) if folder else None
            if found is not None:
                return found
        return None

    def _with_suffix(self, path: Path) -> Path | None:
        """The program of this name; on Windows that may be path.exe, which a name leaves out."""
        if self.platform == "win32":
            for suffix in self.environ.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").lower().split(";"):
                if suffix and self._is_program(path.with_name(path.name + suffix)):
                    return path.with_name(path.name + suffix)
        return path if self._is_program(path) else None

    def _is_program(self, path: Path) -> bool:
        here = self.path(path)
        try:
            return here.is_file() and os.access(here, os.X_OK)
        except OSError:
            return False

    def run(
        self,
        command: Sequence[str | Path],
        *,
        limit_s: float,
        environ: Mapping[str, str] | None = None,
        called: str | None = None,
        tail_bytes: int | None = None,
        head_bytes: int | None = None,
        folder: Path | None = None,
    ) -> Answer | Unknown:
        """Run a program with its own process group, and kill all of it after `limit_s` seconds.

        What it left in its group goes when it ends. Standard input is empty and messages come in
        English. `environ` is added to ours. The program's path is one of the machine; what an
        invented root lacks (our own Python, say) is taken as it is. `called` is its name where we
        speak of it. With `tail_bytes` it may write as much as it likes, and the last so many
        bytes of each output are kept; with `head_bytes` the first. `folder` is where it works, our own current one by default;
        a relative path of a program leads from there.
        """
        name = called or Path(command[0]).name
        try:
            child = subprocess.Popen(
                [str(self._program(Path(command[0]))), *(str(part) for part in command[1:])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**self.environ, "LC_ALL": "C", **(environ or {})},
                cwd=folder,
            )
        except (OSError, ValueError) as error:
            return Unknown(f"cannot run {name}: {_reason(error)}")
        notice = self._notice_later(f"waiting for {name}, at most {limit_s:g} s")
        try:
            stdout, stderr = _collect(child, limit_s, head_bytes, tail_bytes)
        except subprocess.TimeoutExpired as late:
            self._end(child)
            said = (late.stderr or b"").decode("utf-8", "replace")
            return TimedOut(f"{name} did not answer within {limit_s:g} s", said)
        except _TooMuchError:
            self._end(child)
            return Unknown(f"{name} wrote more than {OUTPUT_LIMIT_BYTES // 1024**2} MiB")
        except BaseException:  # Ctrl-C among them: no child stays behind
            self._end(child)
            raise
        finally:
            notice.cancel()
        return Answer(
            child.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")
        )

    @contextlib.contextmanager
    def noticing(self, text: str) -> Iterator[None]:
        """Tells the user what takes so long, where the block runs for more than a second."""
        notice = self._notice_later(text)
        try:
            yield
        finally:
            notice.cancel()

    def _program(self, path: Path) -> Path:
        if self.root == Path("/") or not path.is_absolute():
            return path
        return self.path(path) if self._is_program(path) else path

    def _notice_later(self, text: str) -> threading.Timer:
        begun = time.monotonic()

        def say(words: str) -> None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{words}\n")

        def tell() -> None:
            say(text)
            while not timer.finished.wait(NOTICE_EVERY_S):
                say(f"{text} ({time.monotonic() - begun:.0f} s so far)")

        timer = threading.Timer(NOTICE_AFTER_S, tell)
        timer.daemon = True
        if self.notices:
            timer.start()
        return timer

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
        _close_pipes(child)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=REAP_LIMIT_S)


class _TooMuchError(Exception):
    """A program writes without end."""


def _collect(
    child: subprocess.Popen[bytes],
    limit_s: float,
    head_bytes: int | None,
    tail_bytes: int | None,
) -> tuple[bytes, bytes]:
    """What a child writes until it ends. Raises subprocess.TimeoutExpired and _TooMuchError."""
    if os.name != "posix":  # selectors knows no pipes there
        return child.communicate(timeout=limit_s)
    deadline = time.monotonic() + limit_s
    pipes = (pipe.fileno() for pipe in (child.stdout, child.stderr) if pipe is not None)
    written = {pipe: bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in written:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise subprocess.TimeoutExpired(child.args, limit_s, *map(bytes, written.values()))
            ready = selector.select(min(left_s, LINGER_S))
            if not ready and child.poll() is not None:
                System._end(child)  # what it left behind goes too
                break
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                written[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                elif head_bytes is not None:
                    del written[key.fd][head_bytes:]
                elif tail_bytes is not None:
                    del written[key.fd][:-tail_bytes]
                elif len(written[key.fd]) > OUTPUT_LIMIT_BYTES:
                    raise _TooMuchError
    child.wait(timeout=max(deadline - time.monotonic(), 0))
    System._end(child)  # and what it left behind without holding its pipes
    stdout, stderr = written.values()
    return bytes(stdout), bytes(stderr)


def _close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _reason(error: BaseException) -> str:
    """The operating system's words, without number and path."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
