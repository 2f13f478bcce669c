"""Record -> bytes: what inference takes at its peak, and what a step of training keeps.

Counted is what the tensors themselves take, as `torch.cuda.memory_allocated` would: no workspaces
of libraries, no fragments of the allocator, no CUDA context.
"""

from __future__ import annotations

from typing import NamedTuple

from torchkit.model.record import Record, tensors_in

OPTIMIZER_COPIES = {"none": 0, "sgd": 0, "adam": 2}
"""State kept for each trainable parameter: plain SGD none, Adam two moments
(https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html)."""


class Memory(NamedTuple):
    """All in bytes.

    `inference_peak_bytes` is everything that is there at the fullest moment without gradients:
    parameters, buffers, inputs and activations (`activation_peak_bytes` alone). `activation_bytes`
    is what backward needs kept, beside parameters. `training_bytes` adds parameters, buffers,
    inputs, one gradient for each trainable parameter and the optimizer's state.
    """

    param_bytes: int
    buffer_bytes: int
    input_bytes: int
    activation_bytes: int
    activation_peak_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    inference_peak_bytes: int
    training_bytes: int


def memory(record: Record, *, optimizer: str = "adam") -> Memory:
    """What this forward takes, and a training step with this optimizer: none, sgd or adam."""
    params = _bytes_of_storages(record, buffers=False)
    buffers = _bytes_of_storages(record, buffers=True)
    inputs = {
        tensor.storage: tensor.storage_bytes
        for value in (record.inputs, record.keywords)
        for tensor in tensors_in(value)
    }
    trainable = sum(it.tensor.bytes for it in record.parameters if it.is_trainable)
    kept = sum(size for storage, size in record.saved.items() if storage not in inputs)
    input_bytes = sum(inputs.values())
    state = OPTIMIZER_COPIES[optimizer] * trainable
    gradients = 0 if optimizer == "none" else trainable
    resident = params + buffers + input_bytes
    return Memory(
        param_bytes=params,
        buffer_bytes=buffers,
        input_bytes=input_bytes,
        activation_bytes=sum(record.saved.values()),
        activation_peak_bytes=record.peak_bytes,
        gradient_bytes=gradients,
        optimizer_bytes=state,
        inference_peak_bytes=resident + record.peak_bytes,
        training_bytes=resident + gradients + state + kept,
    )


def _bytes_of_storages(record: Record, *, buffers: bool) -> int:
    """Memory that several parameters share (tied weights, views of one buffer) counts once."""
    storages = {
        it.tensor.storage: it.tensor.storage_bytes
        for it in record.parameters
        if it.is_buffer is buffers
    }
    return sum(storages.values())
