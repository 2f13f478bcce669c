"""Record -> bytes: what inference takes at its peak, and what a step of training does.

Counted is what the tensors themselves take, as `torch.cuda.memory_allocated` would: no workspaces
of libraries, no fragments of the allocator, no CUDA context. What activation checkpointing makes
again during backward is not counted either.
"""

from __future__ import annotations

from typing import NamedTuple

from torchkit.model.record import Record, tensors_in
from torchkit.model.training import step_peak

OPTIMIZER_COPIES = {"none": 0, "sgd": 0, "adam": 2}
"""State kept for each trainable parameter: plain SGD none, Adam two moments
(https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html)."""

SCRATCH_COPIES = {"none": 0, "sgd": 0, "adam": 1}
"""Made anew at each step for all trainable parameters at once: Adam's square roots
(torch/optim/adam.py `_multi_tensor_adam`, what torch runs on a GPU)."""

_STATISTIC_BYTES = 4
"""Of a batch norm's mean or variance, which are float32 also where the layer is not."""


class Memory(NamedTuple):
    """All in bytes.

    `inference_peak_bytes` is everything that is there at the fullest moment without gradients:
    parameters, buffers, inputs and activations (`activation_peak_bytes` alone). `activation_bytes`
    is what backward needs kept in train mode, beside parameters. `training_bytes` is the fullest
    moment of a step that is not the first: parameters, buffers, inputs, the optimizer's state, and
    what forward, backward or the optimizer has at most beside these.
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
    input_bytes = sum(inputs.values())
    state = OPTIMIZER_COPIES[optimizer] * trainable
    training = record.training or record
    step = step_peak(training)
    statistics = 0 if training.is_training else _statistics(training)
    in_optimizer = step.held_bytes + (1 + SCRATCH_COPIES[optimizer]) * trainable
    resident = params + buffers + input_bytes
    return Memory(
        param_bytes=params,
        buffer_bytes=buffers,
        input_bytes=input_bytes,
        activation_bytes=sum(training.saved.values()) + statistics,
        activation_peak_bytes=record.peak_bytes,
        gradient_bytes=trainable,
        optimizer_bytes=state,
        inference_peak_bytes=resident + record.peak_bytes,
        training_bytes=resident + state + max(step.peak_bytes + statistics, in_optimizer),
    )


def lacks_of_training(record: Record) -> str:
    """Why a training step takes more than was reckoned; "" where all of it is known.

    On shapes alone torch takes an LSTM apart, while on a CPU oneDNN runs it whole, and keeps some
    16 numbers per step and hidden unit for backward (measured with torch 2.13), and cuDNN on a GPU.
    """
    training = record.training or record
    has_lstm = any(it.calls and it.type == "LSTM" for it in training.modules)
    if training.propagation != "fake" or not has_lstm:
        return ""
    return (
        "what an LSTM keeps for backward cannot be told from shapes: training takes more, "
        "often several times as much; --run measures it"
    )


def _statistics(record: Record) -> int:
    """What batch norms keep in train mode beside their inputs: mean and variance of the batch."""
    channels = {
        path.rpartition(".")[0]: it.tensor.shape[0]
        for it in record.parameters
        for path in it.paths
        if path.rpartition(".")[2] == "running_mean"
    }
    calls = sum(
        2 * channels[module.path] * len(module.calls)
        for module in record.modules
        if "BatchNorm" in module.type and module.path in channels
    )
    return calls * _STATISTIC_BYTES


def _bytes_of_storages(record: Record, *, buffers: bool) -> int:
    """Memory that several parameters share (tied weights, views of one buffer) counts once."""
    storages = {
        it.tensor.storage: it.tensor.storage_bytes
        for it in record.parameters
        if it.is_buffer is buffers
    }
    return sum(storages.values())
