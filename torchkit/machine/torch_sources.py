"""What Python itself would stumble over in an installed torch: files gone, cut off, unreadable.

Only the first files that `import torch` reads are looked at, and only one whose size is not the
one its installer recorded is compiled, which runs nothing.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

from torchkit.machine.distributions import Distribution
from torchkit.machine.interpreter import Interpreter
from torchkit.system import System, Unknown

_IMPORTED = (
    "version.py",
    "__init__.py",
    "_utils.py",
    "torch_version.py",
    "types.py",
    "_tensor.py",
    "functional.py",
    "nn/__init__.py",
    "autograd/__init__.py",
    "cuda/__init__.py",
    "utils/__init__.py",
    "optim/__init__.py",
)
"""What `import torch` reads in every release, as against parts that some take out to save room."""


def source_problems(
    system: System, interpreter: Interpreter, folder: Path, distribution: Distribution | None
) -> tuple[str, ...]:
    """Why Python's part of `import torch` would fail, in Python's words; () where it would not."""
    return (
        *_text_problems(system, interpreter, folder, distribution),
        *_modules_missing(system, interpreter, folder),
    )


def _text_problems(
    system: System, interpreter: Interpreter, folder: Path, distribution: Distribution | None
) -> tuple[str, ...]:
    """Why Python's part of `import torch` would fail, in Python's words, as far as files tell."""
    package = folder / "__init__.py"
    if system.is_locked(folder):
        attribute = "AttributeError: module 'torch' has no attribute '__version__'"
        return (f"{attribute} ({folder} may not be read)",)
    size = system.size(package)
    if size is None and system.size(folder / "__init__.pyc"):
        return ()  # compiled to bytecode, the sources taken out; we read no bytecode
    if not size:
        how = "gone" if size is None else "empty"
        return (
            f"AttributeError: module 'torch' has no attribute '__version__' ({package} is {how})",
        )
    record = _record(system, distribution)
    problems = []
    for name in _IMPORTED:
        recorded_bytes = _recorded_size(record, name)
        if system.size(folder / name) is not None:
            problems += _file_problem(system, interpreter, folder / name, recorded_bytes)
        elif name == "version.py" or recorded_bytes is not None:
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            problems.append(f"ModuleNotFoundError: No module named 'torch.{module}'")
    return tuple(problems)


def _record(system: System, distribution: Distribution | None) -> bytes:
    """The installer's list of torch's files with their sizes; empty where there is none."""
    record = system.read_bytes(distribution.metadata / "RECORD") if distribution else None
    return record if isinstance(record, bytes) else b""


def _recorded_size(record: bytes, name: str) -> int | None:
    """Size in bytes of one of torch's Python files as it was installed.

    Searched for as bytes: a regular expression over the 2 MB of a RECORD takes 8 ms.
    """
    start = record.find(b"\ntorch/%s," % name.encode())
    if start < 0:
        return None
    line = record[start + 1 : start + 400].partition(b"\n")[0].strip()
    size = line.rpartition(b",")[2]
    return int(size) if size.isdigit() else None


def _file_problem(
    system: System, interpreter: Interpreter, file: Path, recorded_bytes: int | None
) -> list[str]:
    """A Python file that was cut short or overwritten; one of the recorded size is taken as whole."""
    if system.is_locked(file):
        return [f"PermissionError: [Errno 13] Permission denied: '{file}'"]
    if recorded_bytes is not None and system.size(file) == recorded_bytes:
        return []
    data = system.read_bytes(file) or b""
    if isinstance(data, Unknown):
        return [f"OSError: {data.reason}"]
    try:
        _compile(data, file, interpreter)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return [f"{type(error).__name__}: {reason} ({file})"]
    if file.name == "version.py" and b"__version__" not in data:
        return [f"ImportError: cannot import name '__version__' from 'torch.version' ({file})"]
    if recorded_bytes is not None and len(data) < recorded_bytes and not data.endswith(b"\n"):
        return [f"AttributeError, since {file} is cut off: {len(data)} bytes of {recorded_bytes}"]
    return []


def _compile(data: bytes, file: Path, interpreter: Interpreter) -> None:
    """Raises what Python would; not where it is a newer one, whose syntax ours need not know."""
    if interpreter.version.release[:2] > sys.version_info[:2]:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape is no error, under `-W error` neither
        compile(data, str(file), "exec", dont_inherit=True)


_NEEDED_AT_ONCE = ("typing_extensions",)
"""Modules of other packages that `import torch` cannot do without.

Tried with torch 2.13.0: without filelock, setuptools, sympy, networkx, jinja2, fsspec or numpy
it imports; they are asked for later, or their absence is a warning.
"""


_BROUGHT_ALONG = {
    "torchgen": (
        ("nn/__init__.py", "torch.nn.modules"),
        ("nn/modules/module.py", "torch.utils._python_dispatch"),
        ("utils/_python_dispatch.py", "torchgen"),
    ),
}
"""Modules that torch's own wheel puts beside it, and the chain of files that imports each at once.

torch 2.13.0 imports without functorch.
"""


def _modules_missing(system: System, interpreter: Interpreter, folder: Path) -> tuple[str, ...]:
    """What `pip install --no-deps` leaves out, where torch's own first files import it.

    Also what an interrupted installation of torch itself left out.
    """
    return tuple(
        f"ModuleNotFoundError: No module named '{module}'"
        for module in _NEEDED_AT_ONCE
        if not _is_importable(system, interpreter, module) and _imports(system, folder, module)
    ) + tuple(
        f"ModuleNotFoundError: No module named '{module}'"
        for module, chain in _BROUGHT_ALONG.items()
        if not _is_importable(system, interpreter, module)
        and all(_names(system, folder / file, imported) for file, imported in chain)
    )


def _is_importable(system: System, interpreter: Interpreter, module: str) -> bool:
    """Whether a folder of the path has it. An archive, or its own checkout's import hook, might."""
    names = (module, f"{module}.py", f"{module}.pyc")
    hooks = (f"__editable___{module}_", f"__editable__.{module}-")
    return any(system.exists(entry / name) for entry in interpreter.path for name in names) or any(
        system.size(entry) is not None
        or system.is_locked(entry)
        or any(name.startswith(hooks) for name in system.names_in(entry))
        for entry in interpreter.path
    )


def _imports(system: System, folder: Path, module: str) -> bool:
    """Whether a file that `import torch` reads names the module on a line of its own."""
    return any(_names(system, folder / name, module) for name in _IMPORTED)


def _names(system: System, file: Path, module: str) -> bool:
    line = re.compile(rb"(?m)^(?:from|import)[ \t]+%s\b" % re.escape(module).encode())
    text = system.read_bytes(file)
    return isinstance(text, bytes) and line.search(text) is not None
