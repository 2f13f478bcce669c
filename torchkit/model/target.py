"""From the text "model.py:Net(10, width=64)" to the `nn.Module` that it names.

Running a TARGET runs the user's code.
"""

from __future__ import annotations

import difflib
import inspect
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from torchkit.errors import BadTarget
from torchkit.model.importing import import_file, import_module
from torchkit.model.signatures import needed, short
from torchkit.model.target_text import WEIGHTS, Arguments, Target, parse_target
from torchkit.model.user_code import as_script, output_to_stderr

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Arguments", "Found", "candidates", "find", "make", "names_a_file", "output_to_stderr"]

_AT_MOST = 8
"""So many names are listed in a message."""


class Found(NamedTuple):
    """What a TARGET names, not yet called. `name` is dotted, `where` as in the TARGET.

    `arguments` are None where the TARGET has no parentheses.
    """

    object: Any
    name: str
    file: str | None
    where: str = ""
    arguments: Arguments | None = None


def names_a_file(text: str) -> bool:
    """Whether this is a file or folder on disk, and no TARGET: `weights.pt`, `model.safetensors`."""
    try:
        if Path(text).expanduser().exists():
            return not text.endswith(".py")
    except (OSError, ValueError, RuntimeError):  # too long, a null character, no such ~user
        return False
    return text.lower().endswith(WEIGHTS) and ".py:" not in text


# --- the object


def find(text: str) -> Found:
    """Import the file or module and look the name up. The user's code runs.

    Raises BadTarget for everything a user can put right, TorchkitError where torch is not there.
    """
    target = parse_target(text)
    is_file = target.where.endswith(".py")
    module = import_file(target.where) if is_file else import_module(target.where, text)
    if not target.names:
        raise _choose(module, target.where)
    file = getattr(module, "__file__", None)
    found = _look_up(module, target, file)
    return Found(found, ".".join(target.names), file, target.where, target.arguments)


def _look_up(module: ModuleType, target: Target, file: str | None) -> Any:
    found: Any = module
    for position, name in enumerate(target.names):
        inside = ".".join((target.where, *target.names[:position]))
        with as_script(file, doing=f"looking for {name} in {inside}"):
            there = _attribute(found, name)
        if there is None:
            raise _not_there(found, name, inside, target)
        found = there[0]
    return found


def _attribute(holder: Any, name: str) -> tuple[Any] | None:
    """The attribute in a tuple; None where there is none. A module's own `__getattr__` may raise."""
    try:
        return (getattr(holder, name),)
    except AttributeError:
        return None


def _not_there(holder: Any, name: str, inside: str, target: Target) -> BadTarget:
    known = candidates(holder)
    near = difflib.get_close_matches(name, [*known, *map(str, dir(holder))], 1, 0.6)
    if near:
        prefix = ".".join((*target.names[: target.names.index(name)], near[0]))
        hint = f"did you mean {target.where}:{prefix}"
    else:
        hint = f"write the target as {target.where}:NAME"
    is_package = hasattr(holder, "__path__")  # what it offers may be defined anywhere
    defines = "" if is_package and not known else f"; it defines {_listed(known)}"
    return BadTarget(f"{inside} has no {name!r}{defines}", hint)


def _choose(module: ModuleType, where: str) -> BadTarget:
    """A file without a name: which targets there are."""
    known = candidates(module)
    modules = [name for name in known if _is_module(getattr(module, name, None))] or known
    ready = [name for name in modules if _is_ready(getattr(module, name, None))] or modules
    targets = [f"{where}:{name}" for name in ready[:_AT_MOST]]
    message = f"{where} is a whole file; it defines {_listed(known)}"
    if not targets:
        return BadTarget(message, hint="name a file that defines a torch.nn.Module")
    one = "" if len(targets) == 1 else "one of "
    return BadTarget(message, hint=f"write the target as {one}{', '.join(targets)}")


def candidates(holder: Any) -> list[str]:
    """Names in a module or class that may give a model: modules first, then functions.

    What a file defines itself; where it defines nothing, what it imports.
    """
    names = [name for name in vars(holder) if not name.startswith("_")] if _has(holder) else []
    home = getattr(holder, "__name__", None)
    own = [name for name in names if getattr(vars(holder)[name], "__module__", home) == home]
    usable = [name for name in own or names if _is_usable(vars(holder)[name])]
    return sorted(usable, key=lambda name: not _is_module(vars(holder)[name]))


def _has(holder: Any) -> bool:
    return isinstance(holder, (ModuleType, type))


def _is_usable(value: Any) -> bool:
    return _is_module(value) or inspect.isfunction(value) or inspect.isclass(value)


def _is_module(value: Any) -> bool:
    """A class that is an nn.Module, or an instance of one."""
    from torch import nn

    return isinstance(value, nn.Module) or (inspect.isclass(value) and issubclass(value, nn.Module))


def _is_ready(value: Any) -> bool:
    """Whether it is made without arguments."""
    try:
        return not callable(value) or not needed(inspect.signature(value))
    except (ValueError, TypeError):
        return False


def _listed(names: list[str]) -> str:
    if not names:
        return "no class and no function"
    more = f" and {len(names) - _AT_MOST} more" if len(names) > _AT_MOST else ""
    return ", ".join(names[:_AT_MOST]) + more


# --- the model


def make(found: Found) -> nn.Module:
    """The instance itself, or what the class or function returns. The user's code runs.

    A tuple, list or dict that holds one module, as (model, config), gives that one.
    Raises BadTarget.
    """
    from torch import nn

    title = f"{found.where}:{found.name}"
    if isinstance(found.object, nn.Module):
        if found.arguments is not None:
            raise BadTarget(
                f"{title} is a ready {type(found.object).__name__} and takes no arguments",
                hint=f"write the target as {title}",
            )
        return found.object
    return _the_module(call(found, wanted="torch.nn.Module"), title)


def call(found: Found, *, wanted: str) -> Any:
    """What the class or function returns. The user's code runs. Raises BadTarget."""
    if not callable(found.object):
        raise BadTarget(
            f"{found.where}:{found.name} is {_kind(found.object)}; a class, a function or"
            f" a {wanted} is needed",
            hint=f"write the target as {found.where}:NAME",
        )
    args, kwargs, text = found.arguments or Arguments((), {}, "()")
    _refuse_arguments(found, args, kwargs)
    with as_script(found.file, doing=f"making {found.name}{text}"):
        return found.object(*args, **kwargs)


def _the_module(made: Any, title: str) -> nn.Module:
    from torch import nn

    if isinstance(made, nn.Module):
        if not hasattr(made, "_parameters"):
            raise BadTarget(
                f"{type(made).__name__}.__init__ does not call super().__init__()",
                hint="make that its first line",
            )
        return made
    parts: list[Any] = []
    if isinstance(made, dict):
        parts = list(made.values())
    elif isinstance(made, (tuple, list)):
        parts = list(made)
    modules = [it for it in parts if isinstance(it, nn.Module)]
    if len({id(it) for it in modules}) == 1:
        return modules[0]
    kinds = ", ".join(_kind(it) for it in parts[:_AT_MOST])
    gives = f"{_kind(made)} of {kinds}" if parts else _kind(made)
    if hasattr(made, "module") and type(made).__name__ == "ExportedProgram":
        hint = "return program.module() instead of the exported program"
    elif len(modules) > 1:
        hint = "write a function that returns the one to look at, and name that"
    else:
        hint = "name a class or function that gives the torch.nn.Module itself"
    raise BadTarget(f"{title} gives {gives}, no torch.nn.Module", hint)


def _kind(value: Any) -> str:
    """What a value is, in words: "the class Net", "a dict", "None"."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _refuse_arguments(found: Found, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Arguments that do not fit are said with the signature, before the user's code runs."""
    try:
        signature = inspect.signature(found.object)
    except (ValueError, TypeError):  # built in; the call will tell
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise BadTarget(
            f"{found.where}:{found.name} cannot be called: {error}; it is {found.name}{short(signature)}",
            hint=_example(found, signature),
        ) from None


_VALUES = {
    "int": "10", "float": "0.5", "bool": "True", "str": "'name'", "list": "[64, 64]",
    "Sequence": "[64, 64]", "Iterable": "[64, 64]", "tuple": "(64, 64)", "dict": "{}", "": "10",
}  # fmt: skip
"""An example of an argument by its annotation; without one, a number is likeliest."""


def _example(found: Found, signature: inspect.Signature) -> str:
    """A target to paste, its values examples."""
    missing = needed(signature)
    values = [_VALUES.get(_annotation(it)) for it in missing]
    if None in values:
        return (
            "write a function without arguments that returns the model, and name that:"
            f" {found.where if found.where.endswith('.py') else 'model.py'}:FUNCTION"
        )
    written = ", ".join(
        f"{value}" if it.kind is it.POSITIONAL_ONLY else f"{it.name}={value}"
        for it, value in zip(missing, values, strict=True)
    )
    call = f"({written})" if written else ""
    return f"write the target as, for example, {shlex.quote(f'{found.where}:{found.name}{call}')}"


def _annotation(parameter: inspect.Parameter) -> str:
    """The first plain name of an annotation: `int` of `int | None`, `list` of `list[int]`."""
    if parameter.annotation is parameter.empty:
        return ""
    annotation = parameter.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    name = re.match(r"(?:typing\.|collections\.abc\.)?(?:Optional\[)?(\w*)", text)
    found = name[1] if name else text
    return {"List": "list", "Tuple": "tuple", "Dict": "dict"}.get(found, found)
