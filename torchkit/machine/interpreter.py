"""Which Python is examined: ours, or the one `--python` names, asked by one short child."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from torchkit.errors import BadInput
from torchkit.machine import ask_python
from torchkit.system import System, Unknown
from torchkit.versions import Version

PYTHON_LIMIT_S = 10.0
"""How long an interpreter may take to start; a cold network file system needs seconds."""

SAID_LENGTH = 200
"""How much of what a program says instead is repeated, in characters."""

TELLING_LENGTH = 20
"""A line of our script as long as this, in characters, is nothing a program says by itself."""

QUOTES = " '\"$\\"
"""What a program puts around an argument that it repeats."""


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
    return _from_answer(ask_python.describe(_script_folder(System())))


def _script_folder(system: System) -> str | None:
    """What Python itself put in front of `sys.path`: the script's folder, under `-m` the current one.

    None when the first entry is another: an entry of PYTHONPATH, say, under `-I` or in a notebook.
    """
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    first = sys.path[0] if sys.path else None
    if getattr(sys.flags, "safe_path", False) or not script or not isinstance(first, str):
        return None
    folders = [Path(script).parent, system.resolve(script).parent]
    if getattr(main, "__spec__", None) is not None:
        here = system.working_folder()
        folders += [here] if here is not None else []
    return first if Path(first) in folders else None


def other_interpreter(system: System, path: str) -> Interpreter:
    """The Python that a user named: an interpreter, an environment's folder, or a name on PATH.

    Raises BadInput when it is not there, does not run, or is older than Python 3.6.
    """
    executable = _executable(system, path)
    script = Path(ask_python.__file__).read_text(encoding="utf-8")
    answer = system.run([executable, "-c", script], limit_s=PYTHON_LIMIT_S)
    if isinstance(answer, Unknown):
        raise BadInput(f"{executable}: {answer.reason}", hint="name a Python interpreter that runs")
    # sitecustomize and exit handlers may print before and after it
    lines = [line for line in answer.stdout.splitlines() if line.startswith('{"version": ')]
    try:
        return _from_answer(json.loads(lines[-1]))
    except (IndexError, ValueError, KeyError, TypeError):
        said = _own_words(f"{answer.stderr}\n{answer.stdout}", script)[:SAID_LENGTH]
        raise BadInput(
            f"{executable} did not answer as Python 3.6 or newer would, it said: {said}",
            hint="name a Python interpreter, e.g. --python .venv/bin/python",
        ) from None


def _own_words(said: str, script: str) -> str:
    """The last line of what a program said, without our script, which many repeat in their error."""
    ours = {line.strip() for line in script.splitlines()}
    telling = [line for line in ours if len(line) >= TELLING_LENGTH]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    repeated = [line for line in lines if any(it in line for it in telling)]
    own = [line for line in lines if line not in ours and line not in repeated]
    if own:
        return own[-1].lstrip("\"': ")
    if not repeated:
        return "nothing"
    start = min(repeated[0].index(it) for it in telling if it in repeated[0])
    end = re.search(r"""['"]: ([^'"]+)$""", lines[-1])
    return f"{repeated[0][:start].rstrip(QUOTES)} …{f': {end[1]}' if end else ''}".strip()


def _executable(system: System, path: str) -> Path:
    named = Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for ~nobody
    here = system.working_folder() or Path()
    folder = here / named
    if path and system.is_folder(folder):
        for inside in ("bin/python", "bin/python3", "python.exe", "Scripts/python.exe"):
            if system.size(folder / inside) is not None:
                return folder / inside
    is_bare = named.name == path
    on_path = system.which(path) if is_bare and path else None
    if on_path is not None:
        return here / on_path
    if system.size(folder) is not None:
        return folder
    if path and system.is_folder(folder):
        raise BadInput(
            f"{path} is a folder without bin/python",
            hint="name an interpreter or the folder of an environment",
        )
    raise BadInput(
        f"{path or repr(path)} is neither a file nor a program on PATH",
        hint="name an interpreter, e.g. --python .venv/bin/python",
    )


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
