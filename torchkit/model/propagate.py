"""From a model and its inputs to one Record: computed for real where that is cheap, else on shapes.

A small model runs as it is. Of a large one the weights are never made; what is cheap all the same
runs on blank ones, the rest under fake tensors. A failure that was not seen on a real model is
tried on one where that can be afforded.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn

from torchkit.model.build import (
    MOST_REAL_ELEMENTS,
    Built,
    blank,
    build,
    replaced,
    tensors_held,
)
from torchkit.model.doubts import Raised, judged, reads_values
from torchkit.model.failing import message_of
from torchkit.model.inputs import Inputs, mapped
from torchkit.model.modes import acts_otherwise
from torchkit.model.packed import packed_weights
from torchkit.model.record import Record, tensors_in
from torchkit.model.recorder import Budget, OverBudgetError, record
from torchkit.model.state import in_mode, random_as_before
from torchkit.model.tensors import is_uninitialized, tensors_of

CHEAP = Budget(flops=60_000_000_000, live_bytes=1 << 30)
"""What is computed at once: about a second of CPU time, less than importing fake tensors takes."""

AFFORDABLE = Budget(flops=1_000_000_000_000, live_bytes=4 << 30)
"""What is computed where shapes alone do not tell: some 15 s."""

SLOW_FACTOR = 8
"""So much less is computed in half precision on a CPU, which may have no instructions for it."""

MOST_BLANK_ELEMENTS = 500_000_000

INPUT_SHARE = 4
"""Inputs that take more than this part of what may live at one time are not made at all."""

Feed = Callable[[nn.Module, str], "Inputs | Iterable[Inputs]"]


class Propagated(NamedTuple):
    """A model that was run once. Of `model`, large weights may be blank or have no memory.

    `inputs` are those that were used, where there were several to try.
    """

    model: nn.Module
    record: Record
    inputs: Inputs


def propagate(
    make: Callable[[], nn.Module] | nn.Module,
    feed: Feed,
    *,
    train: bool = False,
    run: bool = False,
    device: str = "cpu",
) -> Propagated:
    """Build the model, run its forward once, and tell what happened.

    `make` is what builds it, or a finished model, which is left as it was. `feed` gives real
    inputs on the device, for each attempt anew; of several the first that works is taken, and
    where none does the first one's failure stands. With `run` nothing is simulated. An exception
    of the constructor goes through; one of forward is in the record.
    """
    with ExitStack() as stack:
        for around in (
            random_as_before(),
            torch.inference_mode(mode=False),
            _without_old_garbage(),
        ):
            stack.enter_context(around)
        subject = _Subject(make, feed, train=train, device=device)
        stack.callback(subject.without_inference_tensors())
        if not run:
            return subject.with_training(subject.as_cheap_as_possible())
        subject.build_whole()
        if subject.has_no_memory():
            found = subject.on_shapes("its weights are on meta, so nothing can be computed")
        else:
            found = subject.for_real("asked for with --run", None)
        return subject.with_training(found)


class _Subject:
    """One model on its way to a record, rebuilt where that is needed."""

    def __init__(
        self,
        make: Callable[[], nn.Module] | nn.Module,
        feed: Feed,
        *,
        train: bool,
        device: str,
    ) -> None:
        self.make = None if isinstance(make, nn.Module) else make
        self.feed = feed
        self.train = train
        self.device = device
        self.notes: list[str] = []
        self.is_blank = False
        if isinstance(make, nn.Module):
            self.take(Built(make, is_whole=True))

    # --- the model

    def take(self, built: Built) -> None:
        self.is_whole = built.is_whole
        self.model, wrapper = _unwrapped(built.model)
        self.notes = [f"seen without its {wrapper} wrapper"] if wrapper else []
        self.is_blank = False
        if self.make is not None and self.device != "cpu" and not self.has_no_memory():
            self.model.to(self.device)

    def build_whole(self) -> None:
        if self.make is not None:
            self.take(Built(self.make(), is_whole=True))

    def without_inference_tensors(self) -> Callable[[], None]:
        """Copies for what was made in inference mode, which backward refuses; gives the way back."""
        if self.make is not None or self.elements() > MOST_REAL_ELEMENTS:
            return lambda: None
        return replaced(self.model, lambda it: it.clone() if it.is_inference() else None)

    def has_no_memory(self) -> bool:
        return any(it.is_meta for it in tensors_held(self.model))

    def elements(self) -> int:
        return sum(prod(it.shape) for it in self.model.parameters() if not is_uninitialized(it))

    def fill(self) -> None:
        """Give blank memory to what was built without, where that is not too much."""
        if self.elements() > MOST_BLANK_ELEMENTS or self.device != "cpu":
            return
        try:
            replaced(self.model, lambda it: blank(it) if it.is_meta else None)
        except (OSError, ValueError, RuntimeError):  # no address space, or a dtype without a buffer
            return
        self.is_blank = True

    # --- the ways to run it

    def as_cheap_as_possible(self) -> Propagated:
        if self.make is not None:
            self.take(build(self.make))
        reason = _reason_for_real(self.model)
        if not self.is_whole and reason and self.elements() <= MOST_REAL_ELEMENTS:
            self.build_whole()
        elif not self.is_whole:
            self.fill()
        if self.has_no_memory():
            why = "it is too large to be computed" if self.make else "its weights are on meta"
            return self.confirmed(self.on_shapes(why))
        if reason:
            return self.for_real(reason, None)
        try:
            budget = _slower(CHEAP, self.model) if self.device == "cpu" else CHEAP
            with _one_thread():
                found = self.for_real("small enough to be computed", budget)
        except OverBudgetError as error:
            return self.confirmed(self.on_shapes(str(error)))
        return self.confirmed(found) if self.is_blank else found

    def for_real(self, why: str, budget: Budget | None) -> Propagated:
        if budget is not None:
            self.refuse_large_inputs(budget)
        with in_mode(self.model, train=self.train):
            found = self.first_that_works(
                lambda inputs: record(self.model, inputs.args, inputs.kwargs, budget=budget),
                self.device,
            )
        return self.told(found, "real", why)

    def on_shapes(self, why: str) -> Propagated:
        from torchkit.model.fake import CannotFakeError

        try:
            with in_mode(self.model, train=self.train):
                found = self.first_that_works(self.fake_record, "meta")
        except CannotFakeError as error:
            return self.for_real(str(error), None)
        return self.told(found, "fake", why)

    def fake_record(self, inputs: Inputs) -> Record:
        from torchkit.model.fake import fake_inputs, faked

        raised: list[Raised] = []
        with faked(self.model, self.device) as mode:
            args = fake_inputs(mode, inputs.args, self.device)
            kwargs = fake_inputs(mode, inputs.kwargs, self.device)
            found = record(self.model, args, kwargs, on_failure=raised.append)
        if found.failure is not None and raised:
            found.failure.doubt, real = judged(raised.pop())
            said = found.failure.message.replace("'FakeTensor' object", "'Tensor' object")
            found.failure.message = said if real is None else message_of(real)
        return found

    # --- what training keeps

    def with_training(self, found: Propagated) -> Propagated:
        """The same forward again in train mode, where that may keep other tensors for backward."""
        first = found.record
        if self.train or first.failure is not None or not acts_otherwise(self.model):
            return found
        with in_mode(self.model, train=True):
            again = self._record_again(found)
        if again is not None and again.failure is None:
            first.training = again
        else:
            why = "a second forward is too much" if again is None else _why_not_trained(again)
            first.notes.append(f"training is reckoned from eval mode: {why}")
        return found

    def _record_again(self, found: Propagated) -> Record | None:
        """None where that would compute too much."""
        from torchkit.model.fake import CannotFakeError

        if found.record.propagation == "real":
            try:
                with _one_thread():
                    return record(self.model, *found.inputs[:2], budget=CHEAP)
            except OverBudgetError:
                if _reason_for_real(self.model):
                    return None
        try:
            again = self.fake_record(found.inputs)
        except CannotFakeError:
            return None
        if again.failure is None or not again.failure.doubt:
            return again
        return self._really_trained(found.inputs) or again

    def _really_trained(self, inputs: Inputs) -> Record | None:
        """On a real model, where shapes alone do not tell; None where that is not to be had."""
        if not self.can_be_real():
            return None
        if self.has_no_memory():
            self.build_whole()
        try:
            self.refuse_large_inputs(AFFORDABLE)
            given = next(it for it in self.inputs(self.device) if it.texts == inputs.texts)
            with in_mode(self.model, train=True):
                return record(self.model, given.args, given.kwargs, budget=AFFORDABLE)
        except OverBudgetError:
            return None

    # --- failures

    def can_be_real(self) -> bool:
        """Whether its weights are in memory, or can be made."""
        is_lost = self.make is None and self.has_no_memory()
        return self.elements() <= MOST_REAL_ELEMENTS and not is_lost

    def confirmed(self, found: Propagated) -> Propagated:
        """A failure that a real model has not shown is tried on one, or said to be seen without."""
        failure = found.record.failure
        builds = found.record.propagation == "fake" and _grew(found.record)
        if failure is None and not builds:
            return found
        why = _why(found.record)
        if self.can_be_real():
            if not self.is_whole:
                self.build_whole()
            try:
                return self.for_real(why, AFFORDABLE)
            except OverBudgetError as error:
                why = f"{why}, and {error}"
        found.record.notes.append(_unconfirmed(found.record, why))
        return found

    # --- inputs and words

    def first_that_works(self, run: Callable[[Inputs], Record], device: str) -> Propagated:
        first: Propagated | None = None
        for inputs in self.inputs(device):
            found = Propagated(self.model, run(inputs), inputs)
            failure = found.record.failure
            if failure is None or failure.doubt:  # another input would meet the same
                return found
            first = first or found
        if first is None:
            raise ValueError("feed gave no inputs")
        return first

    def inputs(self, device: str) -> Iterator[Inputs]:
        given = self.feed(self.model, device)
        for inputs in [given] if isinstance(given, Inputs) else given:
            yield inputs._replace(args=_normal(inputs.args), kwargs=_normal(inputs.kwargs))

    def refuse_large_inputs(self, budget: Budget) -> None:
        """Raises OverBudgetError for inputs that would take much memory, before they are made."""
        first = next(self.inputs("meta"), None)
        given = () if first is None else tensors_of((first.args, first.kwargs))
        most = budget.live_bytes // INPUT_SHARE
        if sum(it.numel() * it.element_size() for it in given if it.is_meta) > most:
            raise OverBudgetError(f"the inputs take more than {most:,} bytes")

    def told(self, found: Propagated, propagation: str, why: str) -> Propagated:
        found.record.propagation = propagation
        found.record.why = why
        found.record.notes[:0] = self.notes
        return found


@contextmanager
def _without_old_garbage() -> Iterator[None]:
    """Garbage is looked for among new objects only: one look at all of torch's takes 0.13 s."""
    if gc.get_freeze_count():  # somebody else's, which is not to be undone
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _normal(value: Any) -> Any:
    """Copies of tensors that were made in inference mode, which backward refuses."""
    if isinstance(value, torch.Tensor):
        return value.clone() if value.is_inference() else value
    return mapped(value, _normal)


@contextmanager
def _one_thread() -> Iterator[None]:
    """For what is soon done: threads that wait for each other take more time than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _unwrapped(model: nn.Module) -> tuple[nn.Module, str | None]:
    """Without what torch.compile and data parallelism put around it."""
    name = None
    while True:
        inner = None
        if type(model).__name__ == "OptimizedModule":
            inner, name = getattr(model, "_orig_mod", None), "torch.compile"
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner, name = model.module, type(model).__name__
        if not isinstance(inner, nn.Module):
            return model, name
        model = inner


def _reason_for_real(model: nn.Module) -> str | None:
    """Why shapes alone cannot be propagated through it; None if they can."""
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            return "TorchScript does not take fake tensors"
        if packed_weights(module):
            return "quantised weights have no fake kind"
    for tensor in (*model.parameters(), *model.buffers()):
        if is_uninitialized(tensor):
            return "lazy modules take their sizes from a real run"
        if tensor.layout != torch.strided or tensor.is_quantized:
            return f"a {str(tensor.layout).removeprefix('torch.')} parameter has no fake kind"
    return None


def _slower(budget: Budget, model: nn.Module) -> Budget:
    first = next(model.parameters(), None)
    if first is None or first.dtype == torch.float32:
        return budget
    return Budget(flops=budget.flops // SLOW_FACTOR, live_bytes=budget.live_bytes)


def _grew(found: Record) -> bool:
    return any(note.startswith("the first forward builds layers") for note in found.notes)


def _unconfirmed(found: Record, why: str) -> str:
    if found.propagation == "real":
        return f"a run on blank weights failed, which is no proof that the model does: {why}"
    if found.failure is not None and found.failure.doubt:
        return "what comes after the layer that stopped is not known: sizes and FLOPs end there"
    return f"seen on shapes alone: {found.why}"


def _why_not_trained(again: Record) -> str:
    """In words, what ended a forward in train mode."""
    failure = again.failure
    if failure is None:
        return ""
    if failure.doubt:
        return f"train mode cannot be followed on shapes alone, {failure.doubt}"
    line = (failure.message.strip() or failure.error).splitlines()[0]
    text = f"in train mode the forward raises {line[:200]}"
    first = next((it for it in (*tensors_in(again.inputs), *tensors_in(again.keywords))), None)
    if first is not None and first.shape[:1] == (1,) and "_BatchNorm" in failure.kinds:
        text += "; with --batch-size 2 it has more than one"
    return text


def _why(found: Record) -> str:
    """In words, what stopped a run that was not real."""
    failure = found.failure
    if failure is None:
        return "the first forward builds layers"
    known = reads_values(failure.error)
    if known:
        return known
    line = failure.message.strip().splitlines()[0] if failure.message.strip() else ""
    return f"shapes alone ended in {failure.error}: {line[:200]}"
