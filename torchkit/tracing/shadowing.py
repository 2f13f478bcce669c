"""A script's own modules come before ours of the same name, as they would without us.

What we have loaded before the script, of the standard library and of packages, would hide a
`random.py` or `rich/` beside the script. It gives way before the first line, and is back while
ours works.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import BuiltinImporter, FrozenImporter
from types import ModuleType

_AT_START = frozenset({
    "_collections_abc", "_sitebuiltins", "abc", "codecs", "encodings", "genericpath", "io", "os",
    "posixpath", "ntpath", "site", "stat", "sys", "zipimport", "sitecustomize", "usercustomize",
    "__main__", "torchkit",
})  # fmt: skip
"""What Python has loaded before any script, on every version, and ours."""

_aside: dict[str, ModuleType] = {}
_path: list[str] = []


def give_way(folder: str) -> None:
    """Forget modules that the folder, which is first on `sys.path` now, has as well."""
    _path[:] = sys.path[1:]
    for name in _modules_of(folder or "."):
        module = sys.modules.get(name)
        if module is None or name in _AT_START or _is_builtin(module):
            continue
        for other in [it for it in sys.modules if it == name or it.startswith(f"{name}.")]:
            _aside[other] = sys.modules.pop(other)


def _modules_of(folder: str) -> set[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # an archive, or gone
        return set()
    loaded = {name for name in sys.modules if "." not in name}
    names = {entry.name.partition(".")[0] for entry in entries if entry.name.endswith(".py")}
    folders = (entry for entry in entries if entry.name in loaded and entry.is_dir())
    packages = {it.name for it in folders if os.path.isfile(os.path.join(it.path, "__init__.py"))}  # noqa: PTH113, PTH118 - before the script, without more of pathlib
    return (names & loaded) | packages


def _is_builtin(module: ModuleType) -> bool:
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return loader is BuiltinImporter or loader is FrozenImporter


@contextmanager
def at_home() -> Iterator[None]:
    """While ours works: the modules that gave way are back, and the script's folders come last."""
    theirs = {name: sys.modules[name] for name in _aside if name in sys.modules}
    path = list(sys.path)
    sys.modules.update(_aside)
    if _path:
        sys.path[:] = [*_path, *(place for place in path if place not in _path)]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in _aside:
            if name in theirs:
                sys.modules[name] = theirs[name]
            else:
                sys.modules.pop(name, None)
