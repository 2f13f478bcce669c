"""Memory that a training step takes, against real steps whose live bytes are counted one by one."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import zoo  # noqa: E402 - torch first
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from torchkit.model.inputs import Inputs  # noqa: E402
from torchkit.model.memory import Memory, lacks_of_training, memory  # noqa: E402
from torchkit.model.propagate import Propagated, propagate  # noqa: E402

pytestmark = pytest.mark.torch

NEEDS_STORAGE_OBJECTS = pytest.mark.skipif(
    not hasattr(torch.Tensor, "untyped_storage") or torch.__version__ < "2.2",
    reason="the Python object of a storage lives as long as the storage since torch 2.1",
)


class LiveBytes(TorchDispatchMode):
    """The truth: counts every storage from the operation that makes it until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, Any] = {}
        self.live = self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler

    def see(self, value: Any) -> None:
        for tensor in tensors(value):
            storage = tensor.untyped_storage()
            known = self.known.get(storage._cdata)
            if known is None or known() is not storage:
                self._add(storage, storage._cdata, storage.nbytes())

    def _add(self, storage: Any, key: int, size: int) -> None:
        def gone(reference: Any) -> None:
            self.live -= size
            if self.known.get(key) is reference:
                del self.known[key]

        self.known[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.see(result)
        return result


def tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from (it for part in value.values() for it in tensors(part))
    elif isinstance(value, (list, tuple)):
        yield from (it for part in value for it in tensors(part))


def peak_of_a_real_step(model: Any, args: Any, kwargs: Any, optimizer: str) -> int:
    """Of the second step, when the optimizer has its state; the gradient of the outputs is ones."""
    model.train()
    trained = [it for it in model.parameters() if it.requires_grad]
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    steps = kind(trained, lr=1e-3, foreach=True)
    with LiveBytes() as live:
        live.see([*model.parameters(), *model.buffers(), args, kwargs])
        for _ in range(2):
            steps.zero_grad()
            live.peak = live.live
            outputs = [it for it in tensors(model(*args, **kwargs)) if it.requires_grad]
            torch.autograd.backward(outputs, [torch.ones_like(it) for it in outputs])
            steps.step()
            del outputs
    return live.peak


def run(make: Any, args: Any, kwargs: Any = None, **options: Any) -> Propagated:
    return propagate(make, lambda _model, _device: Inputs(args, kwargs or {}, ()), **options)


def told(make: Any, args: Any, kwargs: Any = None, *, optimizer: str = "adam") -> Memory:
    return memory(run(make, args, kwargs).record, optimizer=optimizer)


def near(found: int, truth: int) -> bool:
    return abs(found - truth) <= 0.1 * truth


@NEEDS_STORAGE_OBJECTS
@pytest.mark.parametrize(
    "name",
    [
        "TinyCNN", "TinyCNNTraining", "SkipNet", "UNet", "Depthwise", "GroupedStrided", "Dilated",
        "Conv1d", "Conv3d", "TransposedGrouped", "BiLSTM", "GRU", "Cells", "Embeds", "SelfAttention",
        "Encoder", "Decoder", "GroupedQueries", "SmallLlama", "Tied", "SharedModule",
        "CalledThreeTimes", "PacksItself", "Frozen", "BooleanMask",
    ],
)  # fmt: skip
def test_the_peak_of_a_training_step_is_that_of_a_real_one(name: str) -> None:
    case = zoo.CASES[name]
    args, kwargs = case.inputs()

    found = told(case.make, args, kwargs).training_bytes

    assert near(found, peak_of_a_real_step(case.make(), args, kwargs, "adam"))


@NEEDS_STORAGE_OBJECTS
@pytest.mark.parametrize("name", ["SkipNet", "BiLSTM", "Encoder", "GroupedQueries"])
def test_the_peak_of_a_step_of_plain_sgd_is_that_of_a_real_one(name: str) -> None:
    case = zoo.CASES[name]
    args, kwargs = case.inputs()

    found = told(case.make, args, kwargs, optimizer="sgd").training_bytes

    assert near(found, peak_of_a_real_step(case.make(), args, kwargs, "sgd"))


class Dropped(nn.Module):
    """What eval mode does not keep: masks, and what a dropout was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(6))
        self.norm = nn.BatchNorm1d(64)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = self.drop(torch.sin(layer(x)))
        return self.norm(x)


@NEEDS_STORAGE_OBJECTS
def test_a_model_with_dropout_is_reckoned_in_train_mode_though_shown_in_eval_mode() -> None:
    x = torch.randn(512, 64)

    done = run(Dropped, (x,))

    found = memory(done.record)
    trained = memory(run(Dropped, (x,), train=True).record)
    assert done.record.is_training is False
    assert found.activation_bytes == trained.activation_bytes
    assert found.training_bytes == trained.training_bytes
    assert near(found.training_bytes, peak_of_a_real_step(Dropped(), (x,), {}, "adam"))
    assert found.activation_peak_bytes < trained.activation_peak_bytes


@pytest.mark.parametrize("asks", [lambda self: self.training, lambda self: self.inner()])
def test_a_model_that_asks_for_its_mode_is_run_in_both(asks: Any) -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 64)

        def inner(self) -> bool:
            return all(self.training for _ in range(2))

        def forward(self, x: Any) -> Any:
            for _ in range(4 if asks(self) else 1):
                x = self.fc(x).sin()
            return x

    found = told(Asks, (torch.randn(8, 64),))

    assert found.activation_bytes == 4 * 8 * 64 * 4 + 4 * 8 * 64 * 4  # of each step, x and fc(x)


def test_batch_norms_statistics_are_counted_without_a_second_run() -> None:
    x = torch.randn(4, 1, 28, 28)

    done = run(zoo.TinyCNN, (x,))

    trained = memory(run(zoo.TinyCNN, (x,), train=True).record)
    assert done.record.training is None
    assert memory(done.record).activation_bytes == trained.activation_bytes


def test_the_run_in_train_mode_leaves_statistics_mode_and_random_numbers() -> None:
    model = Dropped().eval()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    found = run(model, (torch.randn(16, 64, generator=torch.Generator().manual_seed(1)),))

    assert found.record.training is not None
    assert torch.equal(torch.rand(2), expected)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(it.grad is None for it in model.parameters())


def test_a_forward_that_fails_in_train_mode_is_told_and_eval_mode_counts() -> None:
    done = run(Dropped, (torch.randn(1, 64),))

    assert done.record.failure is None
    assert any("in train mode the forward raises Expected more than 1 value" in it
               for it in done.record.notes)  # fmt: skip
    assert memory(done.record).training_bytes > 0


def test_a_large_model_is_reckoned_in_train_mode_on_shapes_alone() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2048, 200_000, bias=False)
            self.drop = nn.Dropout(0.1)

        def forward(self, x: Any) -> Any:
            return self.drop(self.fc(x)).sin()

    done = run(Wide, (torch.randn(512, 2048),))

    outputs = 512 * 200_000
    assert done.record.propagation == "fake"
    # what the layer was given, what sin was, and the mask, which is in floats on the CPU
    assert memory(done.record).activation_bytes == (512 * 2048 + 2 * outputs) * 4


def test_what_an_lstm_keeps_is_said_to_be_unknown_on_shapes_alone() -> None:
    case = zoo.CASES["BiLSTM"]
    args, kwargs = case.inputs()
    with torch.device("meta"):
        hollow = case.make()

    assert "LSTM" in lacks_of_training(run(hollow, args, kwargs).record)
    assert lacks_of_training(run(case.make, args, kwargs).record) == ""


def test_frozen_parameters_have_neither_gradient_nor_state() -> None:
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    model[0].requires_grad_(False)

    found = told(model, (torch.randn(1, 64),))

    assert found.gradient_bytes == 64 * 64 * 4
    assert found.optimizer_bytes == 2 * 64 * 64 * 4


def test_a_gradient_that_is_handed_on_is_counted_once() -> None:
    """Of `x + y`, the gradients of both are the one of the sum."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Any) -> Any:
            a = x * self.scale
            return a + a.sin()

    size = 1 << 20

    found = told(Sum, (torch.randn(size),))

    # x; a, which sin keeps; the output; its gradient, which is a's as well; what sin adds to that
    assert near(found.training_bytes, 5 * size * 4)


def test_inside_inference_mode_the_same_is_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    expected = told(model, (torch.randn(1, 4),))

    with torch.inference_mode():
        made_inside = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        weight = made_inside[0].weight
        x = torch.randn(1, 4)
        found = [told(model, (x,)), told(made_inside, (x,))]

    assert found == [expected, expected]
    assert made_inside[0].weight is weight


def test_large_inputs_of_a_run_on_shapes_are_never_made() -> None:
    asked: list[str] = []

    def feed(_model: Any, device: str) -> Inputs:
        asked.append(device)
        return Inputs((torch.empty(200_000, 4096, device=device),), {}, ())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = propagate(lambda: nn.Linear(4096, 2), feed)

    assert set(asked) == {"meta"}
    assert done.record.propagation == "fake"
    assert done.record.failure is None
    assert memory(done.record).input_bytes == 200_000 * 4096 * 4
