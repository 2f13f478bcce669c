"""Which Python is examined: ours, or the one `--python` names, asked by one short child."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from torchkit.errors import BadInput
from torchkit.machine import ask_python
from torchkit.system import System, Unknown
from torchkit.versions import Version

PYTHON_LIMIT_S = 10.0
"""How long an interpreter may take to start; a cold network file system needs seconds."""


@dataclass(frozen=True)
class Interpreter:
    """A Python: where it is, what it loads, and where it looks for packages.

    `tag` is the suffix of its compiled modules; `path` its `sys.path` without the folder of the
    running script; `torch` what its import system finds under the name torch.
    """

    executable: Path
    version: Version
    prefix: Path
    tag: str
    free_threaded: bool
    path: tuple[Path, ...]
    torch: Path | None

    @property
    def package_folders(self) -> tuple[Path, ...]:
        """The folders of `path` that can hold packages, each once."""
        return tuple(dict.fromkeys(entry for entry in self.path if entry.suffix != ".zip"))


def own_interpreter() -> Interpreter:
    """The Python that runs torchkit."""
    own_folder = None if getattr(sys.flags, "safe_path", False) else sys.path[0]
    return _from_answer(ask_python.describe(own_folder))


def other_interpreter(system: System, path: str) -> Interpreter:
    """The Python that a user named: an interpreter, an environment's folder, or a name on PATH.

    Raises BadInput when it is not there, does not run, or is older than Python 3.6.
    """
    executable = _executable(system, path)
    script = Path(ask_python.__file__).read_text(encoding="utf-8")
    answer = system.run([executable, "-c", script], limit_s=PYTHON_LIMIT_S)
    if isinstance(answer, Unknown):
        raise BadInput(f"{executable}: {answer.reason}", hint="name a Python interpreter that runs")
    lines = answer.stdout.strip().splitlines()
    try:
        return _from_answer(json.loads(lines[-1]))
    except (IndexError, ValueError, KeyError, TypeError):
        said = (answer.stderr.strip().splitlines() or ["nothing"])[-1]
        raise BadInput(
            f"{executable} did not answer as Python 3.6 or newer would, it said: {said}",
            hint="name a Python interpreter, e.g. --python .venv/bin/python",
        ) from None


def _executable(system: System, path: str) -> Path:
    named = Path(path).expanduser()
    if named.is_dir():
        for inside in ("bin/python", "bin/python3", "python.exe", "Scripts/python.exe"):
            if (named / inside).exists():
                return named / inside
        raise BadInput(
            f"{path} is a folder without bin/python",
            hint="name an interpreter or the folder of an environment",
        )
    found = named if named.exists() else system.which(path)
    if found is None:
        raise BadInput(
            f"{path} is neither a file nor a program on PATH",
            hint="name an interpreter, e.g. --python .venv/bin/python",
        )
    return found if found.is_absolute() else Path.cwd() / found


def _from_answer(answer: dict[str, object]) -> Interpreter:
    path = answer["path"]
    torch = answer["torch"]
    if not isinstance(path, list):
        raise TypeError("path")
    return Interpreter(
        executable=Path(str(answer["executable"])),
        version=Version(str(answer["version"])),
        prefix=Path(str(answer["prefix"])),
        tag=str(answer["tag"]),
        free_threaded=bool(answer["free_threaded"]),
        path=tuple(Path(str(entry)) for entry in path),
        torch=Path(str(torch)) if torch else None,
    )
