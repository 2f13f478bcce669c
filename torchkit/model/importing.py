"""Imports a user's file or module as Python itself would, and leaves it importable.

A file is loaded under its own name, never as `__main__`. One with relative imports is loaded as
part of its package; any other as under `python FILE`, with its folder first on `sys.path`.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from torchkit.errors import BadTarget
from torchkit.model.presence import need_torch
from torchkit.model.user_code import as_script, how_to_get_part, is_library, shown


def import_file(written: str) -> ModuleType:
    """The module that a `.py` file is. Raises BadTarget when it is not there or fails."""
    path = _absolute(written)
    _refuse_missing(path, written)
    need_torch()
    root, name = _package_of(path)
    for known, module in list(sys.modules.items()):
        if _file_of(module) == str(path) and known != "__main__":
            return module
    _put_first(root)
    with as_script(str(path), doing=f"importing {shown(path)}"):
        if "." in name or path.stem == "__init__":
            return importlib.import_module(name)
        return _execute(path, _free(name))


def _absolute(written: str) -> Path:
    try:
        return Path(os.path.abspath(Path(written).expanduser()))  # noqa: PTH100 - links stay as named
    except OSError:
        why = "the current folder is not there any more"
    except RuntimeError:
        why = f"there is no user {written.split('/', maxsplit=1)[0][1:]!r}"
    raise BadTarget(f"{written} cannot be found: {why}", hint="name the file by its full path")


def import_module(name: str, target: str) -> ModuleType:
    """The module of that dotted name. Raises BadTarget when there is none or it fails."""
    need_torch()
    _put_first(_here())
    try:
        with as_script(None, doing=f"importing {name}"):
            return importlib.import_module(name)
    except BadTarget as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and _is_part(cause.name, name):
            raise _no_module(name, cause, target) from cause
        raise


def _is_part(missing: str | None, name: str) -> bool:
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _no_module(name: str, cause: ModuleNotFoundError, target: str) -> BadTarget:
    missing = cause.name or name
    package, _, part = missing.rpartition(".")
    what = target.partition(":")[2]
    if package:
        near = difflib.get_close_matches(part, dir(sys.modules.get(package)), 1)
        hint = f"did you mean {package}.{near[0]}:{what}" if near else how_to_get_part(missing)
        return BadTarget(f"{package} has no module {part!r}", hint)
    file = Path(*name.split(".")).with_suffix(".py")
    return BadTarget(
        f"there is no module {missing!r}, neither installed nor in this folder",
        hint=f"a file is named by its path: {file}:{what}",
    )


def _refuse_missing(path: Path, written: str) -> None:
    try:
        if path.is_file():
            return
        is_folder = path.is_dir()
    except (OSError, ValueError):  # no path at all: too long, a null character
        is_folder = False
    if is_folder:
        raise BadTarget(f"{written} is a folder", hint="name a file in it: FOLDER/model.py:Net")
    with contextlib.suppress(OSError, ValueError):
        files = sorted(it.name for it in path.parent.glob("*.py"))
        near = difflib.get_close_matches(path.name, files, 1, 0.5)
        if near:
            raise BadTarget(
                f"there is no file {written}", hint=f"did you mean {shown(path.with_name(near[0]))}"
            )
    raise BadTarget(f"there is no file {written}", hint="write the target as path/to/model.py:NAME")


# --- where on sys.path, under which name


def _package_of(path: Path) -> tuple[Path, str]:
    """The folder for `sys.path`, and the module's name as seen from there."""
    above = _levels(path)
    folder, names = path.resolve().parent, [path.stem]
    if above == 0:
        return folder, path.stem
    while above > 0 or (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder, above = folder.parent, above - 1
    return folder, ".".join(names).removesuffix(".__init__")


def _levels(path: Path) -> int:
    """How many folders up the relative imports of a file reach; 0 where it has none."""
    least = 1 if path.stem == "__init__" else 0
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # the import tells better what is wrong
        return least
    levels = (it.level for it in ast.walk(tree) if isinstance(it, ast.ImportFrom))
    return max(levels, default=0) or least


def _here() -> Path:
    """The current folder; where it was deleted, one that holds nothing."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.devnull)


def _put_first(folder: Path) -> None:
    """This folder first on `sys.path`, then the current one; what others lent its names is forgotten."""
    if not folder.is_dir():
        return
    _forget_namesakes(folder)
    for it in (str(_here()), str(folder)):
        while it in sys.path:
            sys.path.remove(it)
        sys.path.insert(0, it)


def _forget_namesakes(folder: Path) -> None:
    """Forget the user's modules that another folder holds, too: `new/layers.py` is not `old/layers.py`."""
    for name, module in list(sys.modules.items()):
        file = _file_of(module)
        if "." in name or name == "__main__" or file is None or is_library(file):
            continue
        is_here = Path(file).is_relative_to(folder)
        has_namesake = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
        if has_namesake and not is_here:
            for part in [it for it in sys.modules if it == name or it.startswith(f"{name}.")]:
                del sys.modules[part]


def _file_of(module: Any) -> str | None:
    """Its `__file__`, without waking a module that loads its names when asked for them."""
    file = getattr(module, "__dict__", {}).get("__file__")
    return file if isinstance(file, str) else None


def _free(name: str) -> str:
    """A name for `sys.modules` that takes nobody's place: a file may be called random.py."""
    while name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name}_"
    return name


class _Loader(SourceFileLoader):
    """Leaves no `__pycache__` beside the user's file, as `python FILE` leaves none."""

    def set_data(self, *_path_and_data: Any, **_mode: Any) -> None:
        return


def _execute(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    if spec is None or spec.loader is None:
        raise BadTarget(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
