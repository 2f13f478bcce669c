"""The operands of every call of torch, kept until it has gone well: those of the one that fails are
exact, also where the source has no name for them.

It also finds what torch lets pass: numbers and a tensor without memory (`meta`) in one operation,
whose result on the CPU is what happened to be in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from torchkit.tracing.graph import tensors_in
from torchkit.tracing.owners import names_of
from torchkit.tracing.places import Spot, here
from torchkit.tracing.tensors import Described, describe

_MAY_MIX = frozenset((
    "to", "type_as", "copy_", "set_", "__set__", "__get__", "__delete__", "expand_as", "view_as",
    "reshape_as", "resize_as_", "is_same_size", "size", "dim", "__repr__", "__format__", "backward",
    "swap_tensors", "register_hook", "__len__", "zeros_like", "ones_like", "empty_like",
    "rand_like", "randn_like", "full_like", "new_tensor", "new_empty", "new_zeros", "new_ones",
    "new_full", "is_set_to", "pin_memory", "result_type", "can_cast",
))  # fmt: skip
"""What may be given tensors of two devices: it reads no numbers of the one without memory."""


class Called(NamedTuple):
    """A call: the function of torch, the user's line, its tensors and their names in the source."""

    function: str
    spot: Spot | None
    operands: tuple[Described, ...]
    names: tuple[str, ...]


class StopAtMixed(BaseException):
    """Ends the script where tensors of two devices are mixed, and torch says nothing."""

    def __init__(self, called: Called) -> None:
        super().__init__("tensors of two devices in one operation")
        self.called = called


class Exact(TorchFunctionMode):  # type: ignore[no-untyped-call, unused-ignore]
    """A context that knows what the call that failed was given. Raises StopAtMixed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.failed: tuple[BaseException, Called] | None = None
        self.mixed: Called | None = None

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call, unused-ignore]
        if self.mixed is not None and not isinstance(error, StopAtMixed):
            raise StopAtMixed(self.mixed)

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        try:
            out = func(*args, **kwargs)
        except Exception as error:
            if self.failed is None or self.failed[0] is not error:
                self.failed = (error, _called(func, args, kwargs))
            raise
        if isinstance(out, torch.Tensor) and not out.is_meta and self.mixed is None:
            self._check(func, args, kwargs)
        return out

    def _check(self, func: Any, args: Any, kwargs: Any) -> None:
        given = args if not kwargs else (*args, *kwargs.values())
        for value in given:
            if isinstance(value, torch.Tensor):
                if value.is_meta:
                    break
            elif type(value) in (list, tuple) and any(it.is_meta for it in tensors_in(value)):
                break
        else:
            return
        found = list(tensors_in((args, kwargs)))
        if all(it.is_meta for it in found) or getattr(func, "__name__", "") in _MAY_MIX:
            return
        self.mixed = _called(func, args, kwargs)
        raise StopAtMixed(self.mixed)

    def operands_of(self, error: BaseException) -> Called | None:
        """What the call was given that raised this exception; None where it was none of torch's."""
        if self.failed is None or self.failed[0] is not error:
            return None
        return self.failed[1]


def _called(func: Any, args: Any, kwargs: Any) -> Called:
    spot = here()
    tensors = list(tensors_in((args, kwargs)))[:16]
    names = names_of(tensors, sys._getframe(1), spot)
    name = str(getattr(func, "__name__", "") or func)
    return Called(name, spot, tuple(describe(it) for it in tensors), names)
