"""The most that one step of training takes at a time, beside weights and what an optimizer keeps.

Nothing is run. The recorded forward is gone through again with everything kept that backward will
want, then in reverse: each operation frees what it kept and its own gradient, and makes those of
its inputs. A gradient lives from the last operation that used a tensor back to the one that made
it. Of the loss, one gradient of the model's outputs is counted and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torchkit.model.record import Operation, Record, TensorInfo, tensors_in

_HANDED_ON = frozenset(
    {"aten::add", "aten::add_", "aten::sub", "aten::sub_", "aten::clone", "aten::cat",
     "aten::alias", "aten::detach", "aten::lift_fresh"}
)  # fmt: skip
"""The gradient of the result is that of the inputs, in the same memory."""

_KEEPS_RESULT = frozenset(
    f"aten::{name}{underscore}"
    for name in ("relu", "sigmoid", "tanh", "_softmax", "_log_softmax", "exp", "expm1", "sqrt",
                 "rsqrt", "reciprocal", "tan", "elu", "celu", "selu", "logsumexp", "cumprod",
                 "linalg_vector_norm", "mkldnn_rnn_layer", "scaled_dot_product_attention",
                 "_scaled_dot_product_flash_attention_for_cpu",
                 "_scaled_dot_product_flash_attention",
                 "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention")
    for underscore in ("", "_")
)  # fmt: skip
"""Operations that need their own result for backward.

Both lists: https://github.com/pytorch/pytorch/blob/main/tools/autograd/derivatives.yaml
"""


class StepPeak(NamedTuple):
    """In bytes: at the fullest moment of forward and backward, gradients of parameters included.

    `held_bytes` is what is still there when the optimizer begins: the outputs.
    """

    peak_bytes: int
    held_bytes: int


def step_peak(record: Record) -> StepPeak:
    """Activations, their gradients, and the gradients of parameters together."""
    step = _Step(record)
    return StepPeak(max(step.forward(), step.backward()), step.held)


class _Step:
    """One forward as storages: what made each, how large it is, how long it stays."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.operations = record.operations
        self.size: dict[int, int] = {}
        self.made_by: dict[int, int] = {}
        self.has_gradient: set[int] = set()  # not what frozen layers make
        self.trainable = {it.tensor.storage for it in record.parameters if it.is_trainable}
        resident = {it.tensor.storage for it in record.parameters}
        for value in (record.inputs, record.keywords):
            resident.update(it.storage for it in tensors_in(value))
        self.held = 0
        for operation in self.operations:
            passes_on = operation.is_differentiable or any(
                it.storage in self.has_gradient for it in self.infos(operation.inputs)
            )
            for info in self.infos(operation.outputs):
                if info.storage in resident:
                    continue
                if passes_on and _can_have_gradient(info):
                    self.has_gradient.add(info.storage)
                if info.storage in self.made_by:
                    continue
                self.made_by[info.storage] = operation.number
                self.size[info.storage] = info.storage_bytes
                if info.role == "activation" and info.storage not in record.freed_at:
                    self.held += info.storage_bytes
        self.kept = {it: size for it, size in record.saved.items() if it not in resident}
        self.kept_by = {it: self._kept_by(it) for it in self.kept}
        self.same: dict[int, int] = {}  # storage -> one that has the same gradient
        self._find_same()

    def infos(self, numbers: Iterable[int]) -> Iterator[TensorInfo]:
        return (self.record.tensors[number] for number in numbers)

    def _kept_by(self, storage: int) -> int:
        """The first operation that needs it: the last one its result, or the one to come."""
        done = self.record.saved_at.get(storage, 0)
        if self.made_by.get(storage) != done - 1:
            return done
        is_taken = done < len(self.operations) and any(
            it.storage == storage for it in self.infos(self.operations[done].inputs)
        )
        return done - 1 if not is_taken or self.operations[done - 1].name in _KEEPS_RESULT else done

    # --- forward

    def forward(self) -> int:
        """The most that is in use or kept at one time."""
        changes = [0] * (len(self.operations) + 2)
        for storage, size in {**self.size, **self.kept}.items():
            start = self.made_by.get(storage, self.kept_by.get(storage, 0))
            changes[start] += size
            end = self.record.freed_at.get(storage)
            if storage not in self.kept and end is not None:
                changes[max(end, start + 1)] -= size
        peak = live = 0
        for change in changes:
            live += change
            peak = max(peak, live)
        return peak

    # --- backward

    def backward(self) -> int:
        """The most that is kept, and taken by gradients, at one time."""
        kept = self._kept_until_the_end_of_forward()
        gradients = self._of_outputs()
        ends = self._ends()
        live = peak = self.held + sum(map(sum, kept.values())) + sum(gradients.values())
        met: set[int] = set()
        for operation in reversed(self.operations):
            passing = 0
            for info in self.infos(operation.inputs) if operation.is_differentiable else ():
                stays, passes = self._made_for(info, operation, gradients, met)
                live += stays
                passing += passes
            peak = max(peak, live + passing)
            live -= sum(kept.get(operation.number, ()))
            live -= sum(gradients.pop(root, 0) for root in ends.get(operation.number, ()))
        return peak

    def _kept_until_the_end_of_forward(self) -> dict[int, list[int]]:
        """Bytes by the operation whose backward is the last that needs them; outputs stay."""
        kept: dict[int, list[int]] = {}
        for storage, size in self.kept.items():
            is_held = storage in self.made_by and storage not in self.record.freed_at
            if not is_held or self._is_workspace(storage):
                kept.setdefault(self.kept_by[storage], []).append(size)
        return kept

    def _is_workspace(self, storage: int) -> bool:
        made = self.operations[self.made_by[storage]].outputs
        return any(it.storage == storage and it.role != "activation" for it in self.infos(made))

    def _of_outputs(self) -> dict[int, int]:
        outputs = self.record.outputs
        return {
            self._root(info.storage): self.size[info.storage]
            for info in (tensors_in(outputs) if outputs is not None else ())
            if info.storage in self.has_gradient
        }

    def _made_for(
        self, info: TensorInfo, operation: Operation, gradients: dict[int, int], met: set[int]
    ) -> tuple[int, int]:
        """Bytes that the gradient of an input takes: those that stay, those soon added to others.

        A parameter that is used again has another gradient, and for a moment the sum of both.
        """
        storage = info.storage
        results = [it for it in self.infos(operation.outputs) if it.storage == storage]
        if storage in self.trainable:
            if results:  # a view
                return 0, 0
            is_first = storage not in met
            met.add(storage)
            return (info.storage_bytes, 0) if is_first else (0, 2 * info.storage_bytes)
        if storage not in self.has_gradient:
            return 0, 0
        if results:  # a view has no gradient of its own, what is changed in place has another one
            is_changed = any(it.number == info.number for it in results)
            is_another = is_changed and operation.name not in _HANDED_ON
            return 0, self.size[storage] if is_another else 0
        root = self._root(storage)
        if root in gradients:
            return 0, 0 if operation.name in _HANDED_ON else self.size[storage]
        gradients[root] = self.size[storage]
        return self.size[storage], 0

    # --- gradients that are one

    def _root(self, storage: int) -> int:
        while storage in self.same:
            storage = self.same[storage]
        return storage

    def _find_same(self) -> None:
        for operation in self.operations:
            if not operation.is_differentiable or operation.name not in _HANDED_ON:
                continue
            for output in self.infos(operation.outputs):
                for info in self.infos(operation.inputs):
                    size = self.size.get(info.storage)
                    one, other = self._root(info.storage), self._root(output.storage)
                    if one != other and size is not None and size == self.size.get(output.storage):
                        self.same[one] = other

    def _ends(self) -> dict[int, list[int]]:
        """By operation, the gradients that no operation before it needs."""
        earliest: dict[int, int] = {}
        for storage, number in self.made_by.items():
            root = self._root(storage)
            earliest[root] = min(earliest.get(root, number), number)
        ends: dict[int, list[int]] = {}
        for root, number in earliest.items():
            ends.setdefault(number, []).append(root)
        return ends


def _can_have_gradient(info: TensorInfo) -> bool:
    return info.dtype.startswith(("float", "bfloat", "complex"))
