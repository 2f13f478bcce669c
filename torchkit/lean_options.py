"""Option values read without pydantic, which typer loads to turn "a.json" into a path.

typer 0.29 builds a pydantic adapter for every option, even for one that is not given; loading
pydantic costs 75 ms of CPU and 18 MiB, a third of all `torchkit env` takes. Our options are
texts, numbers, paths, names from a list, and lists of these, so a few lines serve. The hook is private to
typer (`_runtime_param`, seen in 0.29.2): where it is missing, typer's own way is taken.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup


class LeanCommand(TyperCommand):
    """A command whose options are turned into values by us."""

    def get_params(self, ctx: Any) -> Any:
        """The options, `--help` among them, with our converters in place."""
        return _with_converters(super().get_params(ctx))


class LeanGroup(TyperGroup):
    """The same for the options before the subcommand."""

    def get_params(self, ctx: Any) -> Any:
        """As `LeanCommand.get_params`."""
        return _with_converters(super().get_params(ctx))


def _with_converters(parameters: Any) -> Any:
    for parameter in parameters:
        annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        if hasattr(parameter, "_runtime_param") and _is_ours(annotation):
            parameter._runtime_param = _Converter(annotation)
    return parameters


def _kind(annotation: Any) -> type:
    """The type of one value: `str` of `list[str] | None`."""
    for part in get_args(annotation):
        if part is not type(None):
            return _kind(part)
    return annotation if isinstance(annotation, type) else object


def _is_ours(annotation: Any) -> bool:
    return issubclass(_kind(annotation), (bool, str, Path, Enum, int, float))


_BOOLS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


class _Converter:
    """What typer calls a runtime parameter: its one method turns text into a value."""

    def __init__(self, annotation: Any) -> None:
        self._kind = _kind(annotation)

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """None stays None; an option that is repeated, or an argument that takes many, gives a list.

        Raises typer.BadParameter.
        """
        takes_many = param.multiple or param.nargs == -1
        if value is None:
            return () if takes_many else None
        if takes_many:
            return [self._one(item, param, ctx) for item in value]
        return self._one(value, param, ctx)

    def _one(self, text: Any, param: Any, ctx: Any) -> Any:
        if isinstance(text, self._kind):
            return text
        if self._kind is bool:  # from a variable of the environment; bool("false") is True
            if str(text).lower() not in _BOOLS:
                raise typer.BadParameter(
                    f"{text!r} is neither true nor false", ctx=ctx, param=param
                )
            return _BOOLS[str(text).lower()]
        try:
            return self._kind(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is not {self._wanted()}", ctx=ctx, param=param
            ) from None

    def _wanted(self) -> str:
        if issubclass(self._kind, Enum):
            return f"one of {', '.join(str(item.value) for item in self._kind)}"
        return "a whole number" if self._kind is int else "a number"
