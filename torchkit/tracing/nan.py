"""The first operation, forward or backward, that makes NaN (or Inf) out of numbers.

Every operation's floating results are summed, which is one pass and not finite when any element is
not; only then it is looked at closely. The rules:

- NaN counts where no input had any: what it makes of NaN is not its fault. NaN that came in with
  the data, or was written down, is told when a gradient of it is NaN: on purpose it never gets there.
- Inf does not count by itself (attention masks are full of it); who made it is remembered, since
  `0 * inf` and `inf - inf` are how most NaN are made. With `inf` it counts, but for Inf that the
  user wrote down as a number.
- Results that nobody has written yet (`empty`), and views, are passed over.
- What is changed in place is looked at before.
- torch's own formula of a gradient may make NaN and mask it (that of a norm does): what is made
  there counts when it is given to the next.
- A GradScaler makes gradients overflow on purpose, and skips the step: they count where it cannot
  help, at a scale of 1, or where the script ends so.

A backward operation is told by the forward line whose gradient it is (`graph.py`).
"""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torchkit.tracing.finite import (
    FINE,
    Odd,
    described,
    first_odd,
    floats,
    has_nan_number,
    has_odd_number,
    has_wrapper,
    is_finite,
    look,
    value_at,
)
from torchkit.tracing.graph import Lines, current_node, name_of, number_of, where
from torchkit.tracing.owners import Inside, inside, names_of
from torchkit.tracing.places import Spot
from torchkit.tracing.tensors import Described, describe

MOST_MAKERS = 4_096
"""So many tensors with Inf are remembered before those that are gone are forgotten."""

SKIPPED_STEPS = 5
"""So many backwards in a row, the last of the script among them, show that a GradScaler cannot help."""

_UNWRITTEN = ("aten::empty", "aten::new_empty", "aten::resize", "aten::set_", "aten::_resize")
_BY_NUMBER = ("aten::full", "aten::fill", "aten::masked_fill", "aten::scalar_tensor", "aten::where",
              "aten::new_full", "aten::clamp", "aten::nan_to_num", "aten::constant_pad_nd",
              "aten::index_fill", "aten::lift_fresh")  # fmt: skip
_MOVING = ("aten::detach", "aten::clone", "aten::copy", "aten::_to_copy", "aten::cat", "aten::stack",
           "aten::index", "aten::gather", "aten::lift", "aten::slice", "aten::contiguous",
           "aten::masked_select", "aten::sort", "aten::topk", "aten::isnan", "aten::nan_to_num",
           "aten::new_", "aten::fill", "aten::full", "aten::repeat", "aten::pin_memory",
           "aten::_local_scalar_dense", "aten::scatter", "aten::where", "aten::roll", "aten::flip",
           "aten::unique", "aten::masked_fill", "aten::constant_pad")  # fmt: skip
_SAFE = frozenset(
    f"aten::{it}"
    for it in (
        "relu", "threshold_backward", "max_pool2d_with_indices", "max_pool2d_with_indices_backward",
        "clone", "cat", "stack", "index", "index_select", "gather", "select_backward",
        "slice_backward", "zeros", "ones", "zeros_like", "ones_like", "rand", "randn", "rand_like",
        "randn_like", "arange", "neg", "abs", "sign", "flip", "roll", "repeat", "sigmoid", "tanh",
        "hardtanh", "maximum", "minimum", "sort", "topk", "bernoulli", "new_zeros", "new_ones",
        "constant_pad_nd", "zero_", "scalar_tensor", "_local_scalar_dense",
    )
)  # fmt: skip
"""Of finite numbers these make finite numbers: not looked at before the first Inf or NaN is seen."""
_ONLY_FIRST = ("aten::_scaled_dot_product", "aten::_flash_attention", "aten::_efficient_attention")
"""Beside their result these give numbers for the backward that are not always written."""


class Maker(NamedTuple):
    """An operation that made something: its name, where in the user's code, and of which node.

    `spot` is None in code that is not the user's. `is_gradient` says that it is part of torch's own
    formula of a gradient: then the spot is the forward line whose gradient it is (`is_forward`), or
    the call of the backward where that line is not known. `saved` is what the node had
    kept of the forward, `is_singular` whether that holds the value where the gradient is not finite
    (None: not known), `by_hand` tells a number that the user wrote down. `dtype` is that of the Inf
    that it made, "" for NaN.
    """

    operation: str
    spot: Spot | None
    node: str = ""
    is_gradient: bool = False
    is_forward: bool = False
    saved: tuple[tuple[str, Described], ...] = ()
    by_hand: bool = False
    inputs: tuple[Described, ...] = ()
    dtype: str = ""
    is_singular: bool | None = None

    @property
    def is_backward(self) -> bool:
        """Whether it computes a gradient."""
        return bool(self.node)


class Found(NamedTuple):
    """The first NaN or Inf: who made it, from what; and who made the Inf that it came from.

    `names` are those of the inputs in the source, "" where they have none. `values` are the inputs'
    elements where the first NaN stands (`at`), for operations element by element. `was_there`
    says that no operation made it: `maker` is the first that was given it. `step` counts the steps
    of the optimizer, this one too; None before its first.
    """

    what: str
    maker: Maker
    inputs: tuple[Described, ...]
    output: Described
    earlier_inf: Maker | None
    operations: int
    names: tuple[str, ...] = ()
    at: tuple[int, ...] | None = None
    values: tuple[float | None, ...] = ()
    inside: Inside = Inside()
    was_there: bool = False
    step: int | None = None
    backwards: int = 0
    scaled: bool = False


class StopAtFirst(BaseException):
    """Ends the script where the first one was made."""

    def __init__(self, found: Found) -> None:
        super().__init__(f"first {found.what}")
        self.found = found


class _Kind(NamedTuple):
    """What is known of an operation by its schema: `writes` are the names or numbers of arguments
    that it changes, `fills` of those that it writes without reading."""

    name: str
    passes: bool
    writes: tuple[tuple[int, str], ...]
    fills: tuple[tuple[int, str], ...]
    only_first: bool
    is_safe: bool


_kinds: dict[Any, _Kind] = {}


def _kind_of(func: Any) -> _Kind:
    kind = _kinds.get(func)
    if kind is None:
        schema = func._schema
        writes: list[tuple[int, str]] = []
        fills: list[tuple[int, str]] = []
        for number, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                (fills if argument.is_out else writes).append((number, argument.name))
        passes = schema.name.startswith(_UNWRITTEN) or bool(getattr(func, "is_view", False))
        only_first = schema.name.startswith(_ONLY_FIRST)
        kind = _Kind(
            schema.name, passes, tuple(writes), tuple(fills), only_first, schema.name in _SAFE
        )
        _kinds[func] = kind
    return kind


class _Given(NamedTuple):
    """The first operation that was given NaN, none having been made."""

    maker: Maker
    inputs: tuple[Described, ...]
    names: tuple[str, ...]
    output: Described
    inside: Inside


class _Suspect(NamedTuple):
    """NaN made in torch's own formula of a gradient: what would be told, and which node it is of."""

    found: Found
    node: int | str | None


class _ByStorage:
    """Something known of tensors' memory, as long as that is the same memory."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, Any]] = {}  # by storage, with a weak reference to it

    def of(self, tensor: Any) -> Any:
        """What is known of a tensor's memory; None for nothing."""
        if not self.known:
            return None
        storage = _storage(tensor)
        known = self.known.get(storage._cdata) if storage is not None else None
        if known is None or known[0].expired():
            return None
        return known[1]

    def remember(self, tensor: Any, what: Any) -> None:
        """This is known from now on."""
        storage = _storage(tensor)
        if storage is None:
            return
        if len(self.known) >= MOST_MAKERS:
            self.known = {key: it for key, it in self.known.items() if not it[0].expired()}
            if len(self.known) >= MOST_MAKERS:
                self.known.clear()
        self.known[storage._cdata] = (_weak(storage), what)


class Hunt:
    """What is known of the whole run, whichever thread is looking."""

    def __init__(self, *, inf: bool) -> None:
        self.inf = inf
        self.count = 0
        self.backwards = 0
        self.was_backward = False
        self.is_all_finite = True
        self.lines = Lines()
        self.makers = _ByStorage()
        self.suspects = _ByStorage()
        self.scalers: list[Any] = []
        self.given: _Given | None = None
        self.found: Found | None = None
        self.pending: Found | None = None  # in gradients that a GradScaler has scaled
        self.pending_at: list[int] = []  # the backwards that it was met in
        self.steps: dict[int, int] = {}
        self.process = os.getpid()
        self.children: Path | None = None  # where processes that were forked leave what they find

    def step(self) -> int | None:
        """The step of the optimizer that is under way."""
        return max(self.steps.values()) + 1 if self.steps else None


class Hunter(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Watches every operation of this thread, and of those that are started from then on.

    Raises StopAtFirst from the operation that is to blame; once more at the end, where the script
    has caught it.
    """

    def __init__(self, *, inf: bool = False, hunt: Hunt | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.is_first = hunt is None
        self.hunt = hunt or Hunt(inf=inf)
        self.undo: list[Callable[[], None]] = []

    @property
    def found(self) -> Found | None:
        """What was found, also where the script has caught our exception."""
        return self.hunt.found

    @property
    def came_in(self) -> Found | None:
        """The first operation that was given NaN, where none made any of numbers."""
        hunt = self.hunt
        if hunt.given is None or hunt.found is not None or hunt.process != os.getpid():
            return None
        return _as_found(hunt.given, hunt)

    def __enter__(self) -> Hunter:
        super().__enter__()  # type: ignore[no-untyped-call, unused-ignore]
        if self.is_first:
            self.undo = [_watch_threads(self.hunt), _count_steps(self.hunt)]
            self.hunt.children = Path(tempfile.mkdtemp(prefix="torchkit-snoop-"))
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call, unused-ignore]
        if not self.is_first or self.hunt.process != os.getpid():
            return
        for undo in self.undo:
            undo()
        hunt = self.hunt
        of_children = _of_children(hunt)
        hunt.found = hunt.found or of_children
        if hunt.found is None and error is None:
            hunt.found = _left(hunt.suspects)
        if hunt.found is None and _cannot_be_helped(hunt):
            hunt.found = hunt.pending
        if hunt.found is not None and not isinstance(error, StopAtFirst):
            raise StopAtFirst(hunt.found)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        hunt = self.hunt
        if hunt.found is not None:
            return func(*args, **kwargs)
        if has_wrapper(types):  # it does its work with plain tensors, which come here in their turn
            return NotImplemented
        hunt.count += 1
        kind = _kinds.get(func) or _kind_of(func)
        hunt.lines.note(kind.name, args, kwargs)
        if (current_node() is not None) != hunt.was_backward:
            hunt.was_backward = not hunt.was_backward
            hunt.backwards += hunt.was_backward
        if hunt.suspects.known:
            self._confirm(args, kwargs)
        if kind.is_safe and hunt.is_all_finite:
            return func(*args, **kwargs)
        if kind.writes:
            return self._changing(func, kind, args, kwargs)
        out = func(*args, **kwargs)
        if kind.passes:
            return out
        results = out[:1] if kind.only_first and isinstance(out, tuple) else out
        for tensor in floats(results):
            if not is_finite(tensor):
                self._look(kind, tensor, args, kwargs, {})
        return out

    def _changing(self, func: Any, kind: _Kind, args: Any, kwargs: Any) -> Any:
        """An operation that changes what it is given."""
        written = _written(kind.writes, args, kwargs)
        before = {id(it): FINE if is_finite(it) else look(it) for it in written}
        out = func(*args, **kwargs)
        if kind.passes:
            return out
        results = [it for it in floats(out) if id(it) not in before]
        for tensor in (*results, *written):
            if not is_finite(tensor):
                self._look(kind, tensor, args, kwargs, before)
        return out

    # --- a result that is not finite

    def _look(
        self, kind: _Kind, tensor: Any, args: Any, kwargs: Any, before: Mapping[int, Odd]
    ) -> None:
        hunt = self.hunt
        if hunt.found is not None:
            return
        odd = look(tensor)
        hunt.is_all_finite = False
        filled = {id(it) for it in _written(kind.fills, args, kwargs)}
        inputs = [it for it in floats((args, kwargs)) if id(it) not in filled]
        was = [before.get(id(it)) or look(it) for it in inputs]
        by_hand = kind.name.startswith(_BY_NUMBER) or has_odd_number((args, kwargs))
        earlier = self._earlier(inputs, was)
        is_given = any(it.nan for it in was) or has_nan_number((args, kwargs))
        if odd.nan and not is_given:
            self._made(self._seen("NaN", kind, tensor, inputs, earlier, before), tensor)
        elif odd.nan and (suspect := self._suspect(inputs, was)) is not None:
            hunt.suspects.remember(tensor, suspect)
        elif odd.nan and not kind.name.startswith(_MOVING) and not kind.writes:
            self._meet(kind, tensor, inputs, was)
        if not odd.inf:
            return
        if earlier is None and not any(it.inf for it in was):
            dtype = str(tensor.dtype).removeprefix("torch.")
            earlier = self._maker(kind, inputs)._replace(by_hand=by_hand, dtype=dtype)
            if hunt.inf and not by_hand:
                self._stop(self._seen("Inf", kind, tensor, inputs, None, before))
        if earlier is not None:
            hunt.makers.remember(tensor, earlier)

    def _made(self, found: Found, tensor: Any) -> None:
        """An operation made NaN: the end, but for torch's own formula of a gradient."""
        if found.maker.is_gradient:
            self.hunt.suspects.remember(tensor, _Suspect(found, _which(current_node())))
        else:
            self._stop(found)

    def _suspect(self, inputs: Sequence[Any], was: Sequence[Odd]) -> _Suspect | None:
        known = (self.hunt.suspects.of(it) for it, odd in zip(inputs, was, strict=True) if odd.nan)
        return next((it for it in known if it is not None), None)

    def _confirm(self, args: Any, kwargs: Any) -> None:
        """NaN that is given to another node, or to what comes after, has left its formula."""
        which = _which(current_node())
        for tensor in floats((args, kwargs)):
            suspect = self.hunt.suspects.of(tensor)
            if suspect is not None and suspect.node != which and look(tensor).nan:
                self._stop(suspect.found)

    def _earlier(self, inputs: Sequence[Any], was: Sequence[Odd]) -> Maker | None:
        """Who made the Inf that is among the inputs; one that was computed before one by hand."""
        known = [self.hunt.makers.of(it) for it, odd in zip(inputs, was, strict=True) if odd.inf]
        makers = [it for it in known if it is not None]
        return next((it for it in makers if not it.by_hand), makers[0] if makers else None)

    def _maker(self, kind: _Kind, inputs: Sequence[Any] = ()) -> Maker:
        node = current_node()
        now = where()
        name = kind.name.removeprefix("aten::")
        given = tuple(described(it) for it in list(inputs)[:4])
        if node is None:
            return Maker(name, now.spot, inputs=given)
        if now.is_in_backward:
            return Maker(name, now.spot, name_of(node), inputs=given)
        spot = self.hunt.lines.of_node(node)
        saved = _saved(node)
        told = spot or now.spot
        of = name_of(node)
        return Maker(
            name, told, of, True, spot is not None, saved, inputs=given,
            is_singular=_is_singular(node, of),
        )  # fmt: skip

    def _seen(
        self,
        what: str,
        kind: _Kind,
        tensor: Any,
        inputs: Sequence[Any],
        earlier: Maker | None,
        before: Mapping[int, Odd],
    ) -> Found:
        hunt = self.hunt
        maker = self._maker(kind)
        live = maker.spot is not None and not maker.is_gradient
        index = first_odd(tensor, nan=what == "NaN")
        shape = tuple(tensor.shape)
        values = tuple(
            value_at(it, index, shape) if index is not None and id(it) not in before else None
            for it in inputs
        )
        frame = sys._getframe(2)
        return Found(
            what,
            maker,
            tuple(described(it) if id(it) not in before else _unread(it) for it in inputs),
            described(tensor),
            earlier,
            hunt.count,
            names_of(inputs, frame, maker.spot) if live else (),
            index,
            values,
            inside(frame),
            step=hunt.step(),
            backwards=hunt.backwards,
        )

    def _meet(self, kind: _Kind, tensor: Any, inputs: Sequence[Any], was: Sequence[Odd]) -> None:
        """NaN that was there before: kept where it is met first, and told in the backward."""
        hunt = self.hunt
        node = current_node()
        if hunt.given is None and node is None and hunt.pending is None:
            maker = self._maker(kind)
            with_nan = [it for it, odd in zip(inputs, was, strict=True) if odd.nan]
            hunt.given = _Given(
                maker,
                tuple(described(it) for it in with_nan),
                names_of(with_nan, sys._getframe(2), maker.spot),
                described(tensor),
                inside(sys._getframe(2)),
            )
        if node is None or hunt.given is None:
            return
        self._stop(_as_found(hunt.given, hunt)._replace(step=hunt.step()))

    def _stop(self, found: Found) -> None:
        hunt = self.hunt
        if found.maker.is_backward and found.what == "NaN" and (scale := _scale(hunt)) is not None:
            hunt.pending = hunt.pending or found._replace(scaled=True)
            if hunt.pending_at[-1:] != [hunt.backwards]:
                hunt.pending_at.append(hunt.backwards)
            if scale > 1:
                return
            found = hunt.pending
        hunt.found = found
        if hunt.process != os.getpid() and hunt.children is not None:
            file = hunt.children / str(time.time_ns())
            file.write_bytes(pickle.dumps(found))
        raise StopAtFirst(found)


def _as_found(given: _Given, hunt: Hunt) -> Found:
    return Found(
        "NaN", given.maker, given.inputs, given.output, None, hunt.count, given.names,
        inside=given.inside, was_there=True, backwards=hunt.backwards,
    )  # fmt: skip


def _unread(tensor: Any) -> Described:
    """Of what was changed in place since: what it was like before, which is not its values."""
    return describe(tensor, values=False)


def _which(node: Any) -> int | str | None:
    """What tells a node from the others: its number; its name where torch gives none."""
    if node is None:
        return None
    number = number_of(node)
    return name_of(node) if number is None else number


def _written(places: Sequence[tuple[int, str]], args: Any, kwargs: Any) -> list[Any]:
    """The floating tensors at these places of the arguments."""
    found: list[Any] = []
    for number, name in places:
        value = args[number] if number < len(args) else kwargs.get(name)
        found += floats(value)
    return found


def _saved(node: Any) -> tuple[tuple[str, Described], ...]:
    """What a node has kept of the forward."""
    found = []
    for name in ("self", "other", "result", "exponent", "input"):
        try:
            value = getattr(node, f"_raw_saved_{name}", None) and getattr(node, f"_saved_{name}")
        except (RuntimeError, AttributeError):
            continue
        found += [(name, described(it)) for it in floats(value)]
    return tuple(found)


_SINGULAR: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "Sqrt": ("result", lambda it: it == 0),
    "Rsqrt": ("result", torch.isinf),
    "Reciprocal": ("result", torch.isinf),
    "Log": ("self", lambda it: it <= 0),
    "Log2": ("self", lambda it: it <= 0),
    "Log10": ("self", lambda it: it <= 0),
    "Log1P": ("self", lambda it: it <= -1),
    "Div": ("other", lambda it: it == 0),
    "Pow": ("self", lambda it: it <= 0),
    "Acos": ("self", lambda it: it.abs() >= 1),
    "Asin": ("self", lambda it: it.abs() >= 1),
    "Atanh": ("self", lambda it: it.abs() >= 1),
}
"""By node: which tensor it keeps of the forward, and where the gradient is not finite."""


def _is_singular(node: Any, name: str) -> bool | None:
    """Whether a node has kept a value where its gradient is not finite; None where that is not known."""
    kept, where_not_finite = _SINGULAR.get(name.removesuffix("Backward"), ("", None))
    if where_not_finite is None:
        return None
    exponent = _kept(node, "exponent")
    if isinstance(exponent, (int, float)) and exponent >= 1 and float(exponent).is_integer():
        return False
    value = _kept(node, kept)
    if not isinstance(value, torch.Tensor):
        return None
    try:
        return bool(where_not_finite(value.detach()).any())
    except (RuntimeError, TypeError, NotImplementedError):  # fake or complex numbers
        return None


def _kept(node: Any, name: str) -> Any:
    try:
        return getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # freed, or changed in place since
        return None


def _storage(tensor: Any) -> Any:
    try:
        return tensor.untyped_storage()
    except (RuntimeError, NotImplementedError, AttributeError):
        return None


def _weak(storage: Any) -> Any:
    from torch.multiprocessing.reductions import StorageWeakRef

    return StorageWeakRef(storage)  # type: ignore[no-untyped-call, unused-ignore]


# --- the script's own training loop


def _scale(hunt: Hunt) -> float | None:
    """The largest scale of the GradScalers that are at work; None where there is none."""
    scale = _largest(hunt.scalers)
    if scale is None or scale <= 1:
        places = (torch.cuda.amp, getattr(torch, "amp", None))
        found = [getattr(it, "GradScaler", None) for it in places]
        kinds = tuple(it for it in found if isinstance(it, type))
        hunt.scalers = [it for it in gc.get_objects() if issubclass(type(it), kinds)]
        scale = _largest(hunt.scalers)
    return scale


def _largest(scalers: Sequence[Any]) -> float | None:
    own = [vars(it) for it in scalers]
    scales = [it.get("_scale") for it in own if it.get("_enabled")]
    return max((float(it) for it in scales if isinstance(it, torch.Tensor)), default=None)


def _cannot_be_helped(hunt: Hunt) -> bool:
    last = hunt.pending_at[-SKIPPED_STEPS:]
    return len(last) == SKIPPED_STEPS and last == list(
        range(hunt.backwards - SKIPPED_STEPS + 1, hunt.backwards + 1)
    )


def _of_children(hunt: Hunt) -> Found | None:
    """What a process that was forked has found first, as a worker of a DataLoader."""
    if hunt.children is None:
        return None
    try:
        files = sorted(hunt.children.iterdir())
        found: Found | None = pickle.loads(files[0].read_bytes()) if files else None  # noqa: S301 - our own
    except (OSError, ValueError, EOFError, pickle.UnpicklingError):
        found = None
    shutil.rmtree(hunt.children, ignore_errors=True)
    return found


def _left(suspects: _ByStorage) -> Found | None:
    """A suspect whose NaN is still there at the end, though nothing was done with it any more."""
    for reference, suspect in list(suspects.known.values()):
        try:
            storage = torch.UntypedStorage._new_with_weak_ptr(reference.cdata)  # 2.0 to 2.15
            if storage is None or suspect.found.scaled:
                continue
            dtype = getattr(torch, suspect.found.output.dtype)
            if look(torch.empty(0, dtype=dtype, device=storage.device).set_(storage)).nan:
                found: Found = suspect.found
                return found
        except (RuntimeError, AttributeError, TypeError):
            continue
    return None


def _count_steps(hunt: Hunt) -> Callable[[], None]:
    """Count the steps of each optimizer, by torch's own hook for it."""
    from torch.optim import optimizer as home

    register = getattr(home, "register_optimizer_step_post_hook", None)  # seen in 2.0 to 2.15
    if register is None:
        return lambda: None

    def after(optimizer: Any, _args: Any, _kwargs: Any) -> None:
        hunt.steps[id(optimizer)] = hunt.steps.get(id(optimizer), 0) + 1

    handle = register(after)
    return handle.remove  # type: ignore[no-any-return, unused-ignore]


def _watch_threads(hunt: Hunt) -> Callable[[], None]:
    """Modes are of one thread: have each that is started from now on watched, too."""
    name = "_bootstrap_inner"  # of CPython, seen in 3.10 to 3.14
    original = threading.Thread.__dict__.get(name)
    if original is None:
        return lambda: None

    def begin(thread: Any) -> None:
        told = getattr(thread, "_invoke_excepthook", None)

        def tell(*args: Any) -> None:
            if told is not None and not isinstance(sys.exc_info()[1], StopAtFirst):
                told(*args)

        thread._invoke_excepthook = tell  # the report tells of ours
        with Hunter(hunt=hunt):
            original(thread)

    setattr(threading.Thread, name, begin)

    def undo() -> None:
        if threading.Thread.__dict__.get(name) is begin:
            setattr(threading.Thread, name, original)

    return undo
