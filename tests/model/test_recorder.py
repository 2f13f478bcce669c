"""What one watched forward says of awkward models, and that it leaves them as they were."""

from __future__ import annotations

import contextlib
import copy
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - torch first
from torch.nn import functional as F  # noqa: E402, N812
from torch.utils.checkpoint import checkpoint  # noqa: E402

from torchkit.model import recorder as subject  # noqa: E402
from torchkit.model.record import Nested, Other, Record, TensorInfo, tensors_in  # noqa: E402
from torchkit.model.recorder import Budget, OverBudgetError, record  # noqa: E402

pytestmark = pytest.mark.torch


class Net(nn.Module):
    """One layer, and a forward that the test gives."""

    def __init__(self, forward: Any = None, **modules: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        for name, module in modules.items():
            setattr(self, name, module)
        self.body = forward or (lambda self, x: self.fc(x))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(self, *args, **kwargs)


def watched(forward: Any, *args: Any, **modules: nn.Module) -> Record:
    return record(Net(forward, **modules), args or (torch.ones(2, 4),))


def paths(it: Record) -> list[str]:
    return [call.path for call in it.calls]


def activations(it: Record) -> set[int]:
    return {one.storage for one in it.tensors.values() if one.role == "activation"}


FC = 2 * 2 * 4 * 4
"""FLOPs of the layer on two rows."""


# --- calls


def test_a_module_called_three_times_has_three_calls_below_its_caller() -> None:
    result = watched(lambda self, x: self.fc(self.fc(self.fc(x))))

    assert paths(result) == ["", "fc", "fc", "fc"]
    assert [call.parent for call in result.calls] == [None, 0, 0, 0]
    assert result.calls[0].flops == 3 * FC


def test_a_module_that_calls_itself_has_a_call_inside_a_call() -> None:
    result = watched(lambda self, x, depth=2: self(self.fc(x), depth - 1) if depth else x)

    assert paths(result) == ["", "fc", "", "fc", ""]
    assert [call.parent for call in result.calls] == [None, 0, 0, 2, 2]
    assert result.calls[0].flops == 2 * FC


def test_a_forward_that_is_called_directly_is_a_call_too() -> None:
    result = watched(lambda self, x: self.fc.forward(x))

    assert paths(result) == ["", "fc"]
    assert [call.is_direct for call in result.calls] == [False, True]
    assert result.calls[1].flops == FC
    assert isinstance(result.calls[1].outputs, TensorInfo)


def test_hooks_of_the_users_own_still_work_and_stay() -> None:
    seen: list[str] = []
    model = Net()
    model.fc.register_forward_pre_hook(
        lambda _module, args: seen.append("before") or (args[0] + 1,)
    )
    model.fc.register_forward_hook(
        lambda _module, _args, output: seen.append("after") or output * 2
    )

    result = record(model, (torch.zeros(2, 4),))

    assert seen == ["before", "after"]
    assert (len(model.fc._forward_pre_hooks), len(model.fc._forward_hooks)) == (1, 1)
    assert result.failure is None


def test_a_module_made_inside_forward_counts_for_its_maker() -> None:
    result = watched(lambda _, x: nn.Linear(4, 4)(x))

    assert paths(result) == [""]
    assert result.calls[0].flops == FC


def test_a_copy_of_the_model_made_inside_forward_is_not_mistaken_for_it() -> None:
    def forward(self: Any, x: Any) -> Any:
        other = copy.deepcopy(self.fc)
        with torch.no_grad():
            other.weight.zero_()
            other.bias.fill_(7)
        return other(x)

    model = Net(forward)
    found = record(model, (torch.ones(2, 4),))

    assert paths(found) == [""]
    assert found.failure is None


def test_the_weight_of_a_module_used_by_another_one_is_an_operand() -> None:
    result = watched(lambda self, x: F.linear(x, self.fc.weight))

    used = {result.tensors[number].storage for it in result.operations for number in it.inputs}
    weight = next(it for it in result.parameters if it.paths == ("fc.weight",))
    assert paths(result) == [""]
    assert weight.tensor.storage in used


@pytest.mark.parametrize(
    ("kind", "needed"), [(list, "nn.ModuleList"), (tuple, "nn.ModuleList"), (dict, "nn.ModuleDict")]
)
def test_layers_in_a_plain_container_run_and_the_record_says_that_torch_does_not_know_them(
    kind: Any, needed: str
) -> None:
    layers = [nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)]
    model = Net(lambda self, x: self.fc(layers[1](layers[0](x))))
    model.blocks = kind(enumerate(layers) if kind is dict else layers)

    (note,) = record(model, (torch.ones(2, 4),)).notes

    assert note.startswith("2 Linear ran that are not registered")
    assert f"self.blocks is a {kind.__name__}, {needed} is needed" in note


def test_a_list_of_layers_that_are_registered_too_or_do_not_run_is_no_fault() -> None:
    model = Net()
    model.order = [model.fc]
    model.spare = [nn.Linear(4, 4)]

    assert record(model, (torch.ones(2, 4),)).notes == []


def test_another_thread_is_not_seen_and_the_record_says_so() -> None:
    def forward(self: Any, x: Any) -> Any:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(self.fc(x)))
        thread.start()
        thread.join()
        return results[0]

    result = watched(forward)

    assert paths(result) == [""]
    assert any("threads" in note for note in result.notes)


# --- failures


def test_the_innermost_module_that_failed_is_named_with_its_operation_and_tensors() -> None:
    result = watched(None, torch.ones(2, 5))

    failure = result.failure
    assert failure is not None
    assert failure.call is not None
    assert result.calls[failure.call].path == "fc"
    assert failure.operation == "aten::addmm"
    assert (2, 5) in [it.shape for it in failure.operands]
    assert all(call.has_failed for call in result.calls)
    assert subject.__file__ not in failure.traceback


def test_an_error_that_the_model_catches_is_no_failure() -> None:
    def forward(self: Any, x: Any) -> Any:
        try:
            self.fc(x[:, :3])
        except RuntimeError:
            x = x * 2
        return self.other(x)

    result = watched(forward, torch.ones(2, 4), other=nn.Linear(4, 4))

    assert result.failure is None
    assert paths(result) == ["", "fc", "other"]
    assert [call.has_failed for call in result.calls] == [False, True, False]
    assert next(it for it in result.operations if it.name == "aten::mul").call == 0


def test_an_error_after_a_caught_one_is_put_where_it_happened() -> None:
    def forward(self: Any, x: Any) -> Any:
        with contextlib.suppress(RuntimeError):
            self.fc(x[:, :3])
        raise ValueError("no such mode")

    failure = watched(forward).failure

    assert failure is not None
    assert (failure.error, failure.call, failure.operation) == ("ValueError", 0, None)
    assert failure.place is not None
    assert failure.place.file == __file__


def test_ctrl_c_goes_through_and_leaves_no_hook() -> None:
    def forward(self: Any, x: Any) -> Any:
        raise KeyboardInterrupt

    model = Net(forward)

    with pytest.raises(KeyboardInterrupt):
        record(model, (torch.ones(2, 4),))

    assert not model.fc._forward_hooks
    assert "forward" not in model.fc.__dict__


def test_a_model_that_catches_everything_cannot_catch_the_budget() -> None:
    def forward(self: Any, x: Any) -> Any:
        try:
            return self.fc(x)
        except Exception:  # noqa: BLE001 - what such models do
            return x

    with pytest.raises(OverBudgetError):
        record(Net(forward), (torch.ones(2, 4),), budget=Budget(flops=FC - 1, live_bytes=1 << 20))


@pytest.mark.parametrize(
    "forward",
    [
        lambda _, x: x.expand(1 << 20, 2, 4) @ torch.ones(4, 1 << 20),
        lambda *_: torch.zeros(1 << 20, 1) + torch.zeros(1, 1 << 20),
        lambda *_: F.conv2d(torch.zeros(1, 1, 8, 8).expand(1 << 20, 1, 8, 8), torch.zeros(4096, 1, 1, 1)),
    ],
    ids=["matmul", "broadcast", "convolution"],
)  # fmt: skip
def test_an_operation_that_would_not_fit_is_not_begun(forward: Any) -> None:
    with pytest.raises(OverBudgetError):
        record(Net(forward), (torch.ones(2, 4),), budget=Budget(flops=1 << 60, live_bytes=1 << 28))


# --- outputs and inputs of every kind


def test_containers_are_described_and_never_rebuilt() -> None:
    class Odd(list[Any]):
        def __init__(self) -> None:
            super().__init__([torch.ones(2)])

    result = watched(lambda _, x: {"a": [None, (x, 1)], "b": Odd()})

    assert isinstance(result.outputs, Nested)
    assert result.outputs.kind == "dict"
    first = dict(result.outputs.parts)["a"]
    assert isinstance(first, Nested)
    assert first.parts[0][1] == Other("NoneType", "None")
    assert dict(result.outputs.parts)["b"].kind == "Odd"


@pytest.mark.parametrize("value", [None, 3, "text"])
def test_an_output_without_tensors_is_no_failure(value: Any) -> None:
    result = watched(lambda *_: value)

    assert result.failure is None
    assert result.outputs == Other(type(value).__name__, repr(value))


@pytest.mark.parametrize(
    "layer", [nn.GRU(4, 6, batch_first=True), nn.RNN(4, 6, batch_first=True)], ids=["GRU", "RNN"]
)
def test_what_torch_itself_transposes_in_place_has_the_shape_it_is_given_out_with(
    layer: nn.Module,
) -> None:
    x = torch.ones(3, 5, 4)
    truth = [tuple(it.shape) for it in layer(x)]

    result = record(layer, (x,))

    assert [it.shape for it in tensors_in(result.outputs)] == truth


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.transpose_(0, 1),
        lambda y: y.unsqueeze_(1),
        lambda y: y.resize_(8, 8),
        lambda y: y.set_(torch.zeros(5, 3)),
    ],
    ids=["transpose_", "unsqueeze_", "resize_", "set_"],
)
def test_a_tensor_changed_in_place_is_described_anew_and_its_memory_is_let_go(change: Any) -> None:
    def forward(self: Any, x: Any) -> Any:
        with torch.no_grad():
            made.append(change(self.fc(x) + 1).shape)
        return self.fc(x + 1)

    def given(self: Any, x: Any) -> Any:
        with torch.no_grad():
            return change(self.fc(x) + 1)

    made: list[Any] = []
    plain = watched(lambda self, x: self.fc(x + 1))

    result = watched(forward)
    outputs = watched(given).outputs

    assert isinstance(outputs, TensorInfo)
    assert outputs.shape == tuple(made[0])
    assert sum(it not in result.freed_at for it in activations(result)) == sum(
        it not in plain.freed_at for it in activations(plain)
    )


def test_a_model_that_gives_its_input_back_gives_the_same_tensor() -> None:
    result = watched(lambda _, x: x)

    assert isinstance(result.inputs, Nested)
    assert result.outputs == result.inputs.parts[0][1]


def test_a_container_that_holds_itself_ends() -> None:
    def forward(self: Any, x: Any) -> Any:
        loop: list[Any] = [x]
        loop.append(loop)
        return loop

    assert watched(forward).failure is None


def test_a_generator_is_not_run_and_the_record_says_so() -> None:
    result = watched(lambda self, x: (self.fc(x) for _ in range(3)))

    assert result.failure is None
    assert any("generator" in note for note in result.notes)


@pytest.mark.skipif(not hasattr(torch, "jagged"), reason="ragged tensors came with torch 2.1")
def test_ragged_sparse_and_complex_tensors_are_described() -> None:
    def forward(self: Any, x: Any) -> Any:
        ragged = torch.nested.nested_tensor(
            [torch.ones(2, 4), torch.ones(3, 4)], layout=torch.jagged
        )
        return [self.fc(ragged), x.to_sparse(), torch.view_as_complex(x.view(2, 2, 2))]

    result = watched(forward)

    assert result.failure is None
    assert isinstance(result.outputs, Nested)
    ragged, sparse, number = (part for _, part in result.outputs.parts)
    assert isinstance(ragged, TensorInfo)
    assert ragged.shape == (2, -1, 4)
    assert isinstance(sparse, TensorInfo)
    assert sparse.bytes == 8 * (2 * 8 + 4)
    assert isinstance(number, TensorInfo)
    assert number.dtype == "complex64"
    assert result.flops == 2 * 5 * 4 * 4


# --- modes inside forward


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_operations_are_seen_without_gradients(mode: Any) -> None:
    def forward(self: Any, x: Any) -> Any:
        with mode():
            return self.fc(x)

    result = watched(forward)

    assert result.flops == FC
    assert result.saved == {}


def test_a_model_is_seen_from_inside_inference_mode() -> None:
    with torch.inference_mode():
        result = watched(None, torch.ones(2, 4))

    assert result.failure is None
    assert result.flops == FC


def test_a_model_that_runs_backward_inside_forward_is_seen_whole() -> None:
    def forward(self: Any, x: Any) -> Any:
        self.fc(x).square().sum().backward()
        return x

    model = Net(forward)
    result = record(model, (torch.ones(2, 4),))

    assert result.failure is None
    assert result.flops == FC + FC  # the weight's gradient; the input asks for none
    assert model.fc.weight.grad is None


def test_a_gradient_penalty_is_seen_whole() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(self.fc(x).tanh().sum(), x, create_graph=True)
        return gradient.square().sum()

    result = watched(forward)

    assert result.failure is None
    assert result.flops == 2 * FC


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpoint_is_run_once_and_keeps_less(use_reentrant: bool) -> None:
    def plain(self: Any, x: Any) -> Any:
        return self.fc(self.fc(x.requires_grad_()).tanh()).tanh()

    def saving(self: Any, x: Any) -> Any:
        return checkpoint(
            lambda it: plain(self, it), x.requires_grad_(), use_reentrant=use_reentrant
        )

    result = watched(saving)

    assert result.flops == 2 * FC
    assert sum(result.saved.values()) < sum(watched(plain).saved.values())


def test_an_autograd_function_of_the_users_own_is_seen() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(_ctx: Any, gradient: Any) -> Any:
            return gradient * 2

    result = watched(lambda self, x: Twice.apply(self.fc(x)))

    assert result.failure is None
    assert sum(result.saved.values()) == 2 * (2 * 4 * 4)


def test_attention_on_the_fast_path_shows_its_layers() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()

    result = watched(lambda self, x: self.layer(x[None]), torch.ones(2, 4), layer=layer)

    assert "layer.linear1" in paths(result)
    mha = getattr(torch.backends, "mha", None)  # since 2.3
    assert mha is None or mha.get_fastpath_enabled()


# --- memory


def test_the_peak_counts_views_once_and_frees_what_is_dropped() -> None:
    def forward(self: Any, x: Any) -> Any:
        for _ in range(5):
            x = (x + 1).view(-1).view(2, 4)
        return x

    assert watched(forward).peak_bytes == 2 * (2 * 4 * 4)


def test_constants_of_the_model_are_no_activations() -> None:
    table = torch.ones(1000)

    result = watched(lambda _, x: x.sum() + table[0])

    assert result.peak_bytes < 100
    assert "constant" in {it.role for it in result.tensors.values()}


# --- as it was


class Messy(nn.Module):
    """Changes everything that a forward can change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.weight = nn.Parameter(torch.ones(4))
        self.register_buffer("steps", torch.zeros(()))
        self.table = torch.zeros(3)
        self.seen: list[int] = []
        self.cache: Any = None

    def forward(self, x: Any, fail: bool = False) -> Any:
        self.norm(x)
        self.steps += 1
        self.weight.data.mul_(2)
        self.table[0] = 5
        self.seen.append(1)
        self.cache = x
        self.extra = 3
        x.add_(1)
        random.random()  # noqa: S311 - nothing is secret here
        torch.rand(3)
        (self.weight * x).sum().backward()
        if fail:
            raise ValueError("broken")
        return F.dropout(x)


@pytest.mark.parametrize("fail", [False, True])
def test_a_model_that_changes_everything_is_as_it_was(fail: bool) -> None:
    model, x = Messy().train(), torch.randn(5, 4)
    before, given = copy.deepcopy(model), x.clone()
    state, python = torch.get_rng_state(), random.getstate()

    result = record(model, (x, fail))

    assert (result.failure is not None) == fail
    assert model.state_dict().keys() == before.state_dict().keys()
    for name, tensor in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert torch.equal(model.table, before.table)
    assert torch.equal(x, given)
    assert (model.seen, model.cache, hasattr(model, "extra")) == ([], None, False)
    assert model.weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert model.training
    assert not any("forward" in module.__dict__ for module in model.modules())


# --- older torch, whose newer names are not there


@pytest.fixture
def old_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for home, name in ((torch.backends, "mha"), (torch, "compiler")):  # torch itself needs these
        hidden = {"mha": "set_fastpath_enabled", "compiler": "set_stance"}[name]
        if hasattr(home, name):
            monkeypatch.delattr(getattr(home, name), hidden, raising=False)
    monkeypatch.delattr(subject._Watch, "_should_skip_dynamo", raising=False)
    return


def test_a_run_needs_none_of_the_newer_names(old_torch: None) -> None:
    result = watched(
        lambda self, x: self.attention(self.fc(x), x, x)[0], attention=nn.MultiheadAttention(4, 2)
    )

    assert result.failure is None
    assert result.flops == FC + 2 * (4 * 2 * 4 * 4 + 2 * 2 * 2 * 4)


# --- what is written


def test_a_weight_that_a_batch_norm_reads_is_not_kept_and_written_back() -> None:
    """As weight standardisation does it: written to, a blank weight would take memory."""

    def forward(self: Any, x: Any) -> Any:
        weight = self.fc.weight
        plain = nn.functional.batch_norm(weight[None], None, None, training=True)
        return x @ plain[0]

    layer = nn.Linear(4, 4)
    before = layer.weight._version

    watched(forward, torch.ones(2, 4), fc=layer)

    assert layer.weight._version == before


def test_questions_for_a_device_are_no_operations() -> None:
    it = watched(lambda self, x: self.fc(x).to(x.device), torch.ones(2, 4), fc=nn.Linear(4, 4))

    assert not any(operation.name.startswith("prim::") for operation in it.operations)
