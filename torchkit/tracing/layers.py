"""The layer that an exception came from, as the rules of `advice.forward` look at it.

Read from what a module keeps, without calling a method of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from torchkit.advice.forward.facts import Given, Layer, Setting, Tensor
from torchkit.tracing.expressions import children_of, own_tensors
from torchkit.tracing.tensors import describe, is_tensor, stored_in, tensors_within, torch_module

MOST_MODULES = 20_000

LONGEST = 8
"""A tuple of so many sizes is a setting; longer ones are data."""


def module_of(frames: Sequence[FrameType]) -> Any:
    """The innermost module whose forward is among these frames; none of TorchScript's, which hides."""
    nn = getattr(torch_module(), "nn", None)
    if nn is None:
        return None
    for frame in reversed(frames):
        owner = frame.f_locals.get("self")
        if issubclass(type(owner), nn.Module):
            return None if type(owner).__module__.startswith("torch.jit") else owner
    return None


def called_in(frames: Sequence[FrameType], module: Any) -> tuple[Any, Any] | None:
    """What a module was called with: its arguments by position and by keyword."""
    for frame in frames:
        local = frame.f_locals
        if frame.f_code.co_name not in ("_wrapped_call_impl", "_call_impl"):
            continue
        if local.get("self") is not module:
            continue
        args, kwargs = local.get("args"), local.get("kwargs")
        if type(args) is tuple and type(kwargs) is dict:
            return args, kwargs
    return None


def paths_of(module: Any, frames: Sequence[FrameType]) -> tuple[str, str]:
    """Where a module lies for the innermost of the user's frames that holds it, and for the model.

    `self.fc` and `net.blocks.3.fc`; "" where no frame holds it.
    """
    near = whole = alone = ""
    for frame in reversed(frames):
        local = dict(frame.f_locals)
        others = frame.f_globals.items() if frame.f_locals is not frame.f_globals else ()
        for name, value in [*local.items(), *others]:
            if not _is_module(value) or name.startswith("_"):
                continue
            if value is module:
                alone = alone or name
                continue
            path = _path_in(value, module)
            if path is None:
                continue
            found = f"{name}.{path}"
            near = near or found
            if len(found) > len(whole) and name != "self":
                whole = found
    return near or alone, whole or near or alone


def _is_module(value: Any) -> bool:
    nn = getattr(torch_module(), "nn", None)
    return nn is not None and issubclass(type(value), nn.Module)


def _path_in(root: Any, module: Any) -> str | None:
    """Where a module lies in another one; None where it does not."""
    waiting: list[tuple[str, Any]] = [("", root)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_MODULES:
        path, holder = waiting.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for name, child in children_of(holder).items():
            if child is module:
                return f"{path}{name}"
            if child is not None:
                waiting.append((f"{path}{name}.", child))
    return None


def module_text(module: Any) -> str:
    """`Linear(in_features=60, out_features=2, bias=True)` of torch's own layers; else its class."""
    kind = type(module)
    if module is None:
        return ""
    if not kind.__module__.startswith("torch.nn.") or children_of(module):
        return kind.__name__
    try:
        text = repr(module)
    except Exception:  # noqa: BLE001 - a layer that was taken apart
        return kind.__name__
    return text if "\n" not in text else kind.__name__


def layer_of(module: Any, path: str) -> Layer:
    """A module as plain data; `path` is from the model on: `net.2` gives "2"."""
    root, _, inside = path.partition(".")
    holders = ("Sequential",) if inside.rpartition(".")[2].isdigit() else ()
    return Layer(
        path=inside,
        type=type(module).__name__,
        kinds=tuple(
            it.__name__
            for it in type(module).__mro__
            if it.__module__.startswith("torch.nn.") and it.__name__ != "Module"
        ),
        settings=_settings_of(module),
        parameters=tuple(
            (name, _tensor(tensor, role="parameter", name=f"{path}.{name}"))
            for name, tensor in own_tensors(module)
            if name in stored_in(module).get("_parameters", {})
        ),
        children=tuple(children_of(module)),
        holders=tuple((root, it) for it in holders),
    )


def _settings_of(module: Any) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for name, value in stored_in(module).items():
        if type(name) is str and not name.startswith("_"):
            if type(value) in (bool, int, float, str) or value is None:
                found[name] = value
            elif type(value) in (tuple, list) and _are_sizes(value):
                found[name] = tuple(value)
    return found


def _are_sizes(values: Sequence[object]) -> bool:
    return len(values) <= LONGEST and all(type(it) is int for it in values)


def given_of(called: tuple[Any, Mapping[str, Any]]) -> tuple[Given, ...]:
    """The arguments of a call as plain data."""
    args, kwargs = called
    values = [*(("", it) for it in args), *kwargs.items()]
    return tuple(Given(name, _kind(value), tuple(_parts(value))) for name, value in values)


def _kind(value: Any) -> str:
    return "Tensor" if is_tensor(value) else type(value).__name__


def _parts(value: Any) -> Iterator[tuple[str, Tensor]]:
    for path, tensor in tensors_within(value):
        yield path, _tensor(tensor)


def _tensor(tensor: Any, *, role: str = "activation", name: str = "") -> Tensor:
    seen = describe(tensor, values=role == "activation")
    whole = isinstance(seen.low, int) and isinstance(seen.high, int)
    return Tensor(
        shape=seen.shape,
        dtype=seen.dtype,
        device=seen.device,
        number=id(tensor),
        storage=id(tensor),
        role=role,
        name=name,
        lowest=int(seen.low) if whole and seen.low is not None else None,
        highest=int(seen.high) if whole and seen.high is not None else None,
    )
