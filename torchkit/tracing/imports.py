"""Does something to a module right after it was imported, and imports nothing by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Wish = Callable[[ModuleType], None]


class Waiting:
    """A finder on `sys.meta_path` that finds by the others, and is told when the module is there.

    `before` are called when the import begins, `after` when the module has been executed; neither
    may raise.
    """

    def __init__(
        self, after: Mapping[str, Wish], before: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        self.after = dict(after)
        self.before = dict(before or {})

    def install(self) -> None:
        """Wait from now on; what is imported already is seen to at once."""
        for name in [it for it in self.after if it in sys.modules]:
            self.after.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that is waited for; None for all others."""
        if name not in self.after and name not in self.before:
            return None
        before, after = self.before.pop(name, None), self.after.pop(name, None)
        if before is not None:
            before()
        spec = self._by_others(name, path, target)
        if spec is not None and after is not None:
            _then(spec.loader, after)
        return spec

    def _by_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is self:
                continue
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                return spec
        return None


def _then(loader: Any, after: Wish) -> None:
    """Have it called once this loader, which is of one module alone, has executed that module."""
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        return

    def executed(module: ModuleType) -> None:
        try:
            execute(module)
        finally:
            del loader.exec_module
        after(module)

    try:
        loader.exec_module = executed
    except AttributeError:  # a loader that is no ordinary object
        return
