"""The one door to the outside: files, the environment, programs, limits of this process.

Every probe is handed a `System` and asks nothing else, so a test can hand over an invented
machine: a folder as root, a dictionary as environment, recordings as programs. Nothing here
judges, and nothing raises because something is absent: a value, None for "not there", or
`Unknown` with the reason it could not be told.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

READ_LIMIT_BYTES = 4 * 1024**2
"""More of a text file than this is never read; the longest we need is a package's METADATA."""

NOTICE_AFTER_S = 1.0
"""How long a child may run before the user is told what is being waited for."""

REAP_LIMIT_S = 1.0
"""How long a killed child may take to go; one stuck in the kernel (a wedged driver) is left."""


@dataclass(frozen=True)
class Unknown:
    """Something could not be told, and why."""

    reason: str


class TimedOut(Unknown):
    """A program gave no answer within its limit, and was killed."""


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
        return platform.machine()

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
        descriptor = os.open(self.path(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
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
        except (OSError, RuntimeError):
            return Path(path)
        if self.root == Path("/"):
            return resolved
        root = self.root.resolve()
        return Path("/") / resolved.relative_to(root) if resolved.is_relative_to(root) else resolved

    def file_system(self, path: Path | str) -> os.statvfs_result | Unknown | None:
        """Sizes of the file system a path lies on; None when the path is not there."""
        try:
            return os.statvfs(self.path(path))
        except FileNotFoundError:
            return None
        except (OSError, AttributeError) as error:
            return Unknown(f"cannot ask {path} for its size: {_reason(error)}")

    # --- programs

    def which(self, program: str) -> Path | None:
        """The program that PATH gives, as the machine's own path."""
        if os.sep in program:
            return Path(program) if self._is_program(Path(program)) else None
        for folder in self.environ.get("PATH", os.defpath).split(os.pathsep):
            if folder and self._is_program(Path(folder) / program):
                return Path(folder) / program
        return None

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
    ) -> Answer | Unknown:
        """Run a program with its own process group, and kill all of it after `limit_s` seconds.

        Standard input is empty and messages come in English. `environ` is added to ours. The
        program's path is one of the machine; what an invented root lacks (our own Python, say)
        is taken as it is.
        """
        name = Path(command[0]).name
        try:
            child = subprocess.Popen(
                [str(self._program(Path(command[0]))), *(str(part) for part in command[1:])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**self.environ, "LC_ALL": "C", **(environ or {})},
            )
        except (OSError, ValueError) as error:
            return Unknown(f"cannot run {name}: {_reason(error)}")
        notice = self._notice_later(f"waiting for {name}, at most {limit_s:g} s")
        try:
            stdout, stderr = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self._end(child)
            return TimedOut(f"{name} did not answer within {limit_s:g} s")
        except BaseException:  # Ctrl-C among them: no child stays behind
            self._end(child)
            raise
        finally:
            notice.cancel()
        return Answer(
            child.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")
        )

    def _program(self, path: Path) -> Path:
        if self.root == Path("/") or not path.is_absolute():
            return path
        return self.path(path) if self._is_program(path) else path

    def _notice_later(self, text: str) -> threading.Timer:
        def tell() -> None:
            if self.notices:
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(f"{text}\n")

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
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=REAP_LIMIT_S)


def _reason(error: BaseException) -> str:
    """The operating system's words, without number and path."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
