"""Whether what a forward raised on shapes alone is a fault of the model, or of the simulation.

Sizes that do not fit are refused by the same code on real tensors. Not so what fake tensors cannot
do: torch has no shape rule for some operations, for others one that takes fewer dtypes than the
operation does, and nothing that reads values works. The operation that failed is therefore tried
on real tensors of the same sizes, which take no memory until something is written there.
"""

from __future__ import annotations

import linecache
import re
from typing import Any, NamedTuple

import torch

from torchkit.model.build import blank
from torchkit.model.flops import foreseen
from torchkit.model.tensors import tensors_of

MOST_FLOPS = 60_000_000_000
MOST_BYTES = 1 << 30
"""An operation that takes or makes more is not tried; what is refused does neither."""

_READS_VALUES = {
    "DataDependentOutputException": "its forward reads the values of tensors",
    "DynamicOutputShapeException": "the sizes of its tensors depend on values",
}
"""By the names of torch's exceptions; the same in every version from 2.0 to 2.13."""

_FAKES_OWN = ("torch._subclasses.", "torch.fx.")

_LACKS_DATA = re.compile(r"fake ?tensor|\bmeta\b|subclass|data pointer|symbolic", re.IGNORECASE)
"""What torch says where code outside it reaches for memory that a fake tensor has not."""

_OF_KINDS = re.compile(r"type\b|support|implement|backend|kernel", re.IGNORECASE)
"""What torch says where it refuses a kind of tensor, and not a size."""


class Raised(NamedTuple):
    """An exception of a forward, and the operation that raised it, if one did: on which arguments."""

    error: BaseException
    func: Any = None
    name: str = ""
    args: tuple[Any, ...] = ()
    kwargs: Any = None


class Judged(NamedTuple):
    """Why the exception is no proof against the model, "" where it is; `real` is what a real run raises."""

    doubt: str = ""
    real: Exception | None = None


def reads_values(error: str) -> str:
    """In words, what the forward did, of the name of an exception; "" for any other."""
    return _READS_VALUES.get(error, "")


def judged(raised: Raised) -> Judged:
    """To be called when the simulation is over: fake tensors are exchanged for real ones here."""
    if raised.func is not None:
        return _tried(raised)
    error = raised.error
    name = type(error).__name__
    if reads_values(name) or type(error).__module__.startswith(_FAKES_OWN):
        return Judged(reads_values(name) or _cannot("its forward does"))
    is_torchs = isinstance(error, (RuntimeError, TypeError)) and not _is_raised_in_python(error)
    if is_torchs and _LACKS_DATA.search(str(error)):
        return Judged("its forward reaches for the memory of tensors, which shapes have not")
    return Judged()


def _cannot(what: str) -> str:
    return f"{what} what torch cannot simulate"


def _tried(raised: Raised) -> Judged:
    error = type(raised.error).__name__
    if reads_values(error):
        return Judged(reads_values(error))
    short = raised.name.removeprefix("aten::")
    if error == "UnsupportedOperatorException":
        return Judged(f"torch has no rule for the shapes of {short}")
    by_words = _cannot(f"{short} is") if _OF_KINDS.search(str(raised.error)) else ""
    given = (raised.args, dict(raised.kwargs or {}))
    flops, made = foreseen(raised.name, raised.args)
    if flops > MOST_FLOPS or made > MOST_BYTES:
        return Judged(by_words)
    if any(it.device.type != "cpu" or it.layout != torch.strided for it in tensors_of(given)):
        return Judged(by_words)
    try:
        args, kwargs = _real(given, {})
    except (OSError, ValueError, RuntimeError):  # no address space, or a dtype without a buffer
        return Judged(by_words)
    try:
        with torch.no_grad():
            raised.func(*args, **kwargs)
    except MemoryError:
        return Judged(by_words)
    except Exception as real:  # noqa: BLE001 - whatever a kernel raises, it refuses what it is given
        is_memory = "alloc" in str(real) or "memory" in str(real)
        return Judged(by_words) if is_memory else Judged(real=real)
    return Judged(f"torch's rule for the shapes of {short} refuses what the operation itself takes")


def _real(value: Any, known: dict[int, torch.Tensor]) -> Any:
    """Blank tensors for fake ones, one for each."""
    if isinstance(value, torch.Tensor):
        if id(value) not in known:
            known[id(value)] = blank(value)
        return known[id(value)]
    if isinstance(value, (list, tuple)):
        return type(value)(_real(part, known) for part in value)
    if isinstance(value, dict):
        return {key: _real(part, known) for key, part in value.items()}
    return value


def _is_raised_in_python(error: BaseException) -> bool:
    """By a `raise` or `assert` of somebody's code, and not by torch's compiled part."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if step is None:
        return False
    line = linecache.getline(step.tb_frame.f_code.co_filename, step.tb_lineno)
    return line.lstrip().startswith(("raise", "assert"))
