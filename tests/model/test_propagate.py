"""Which way a model is run, what that costs, and that it is as it was afterwards."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - torch first

from torchkit.errors import TorchkitError  # noqa: E402
from torchkit.model import build as building  # noqa: E402
from torchkit.model import propagate as subject  # noqa: E402
from torchkit.model.build import blank, build  # noqa: E402
from torchkit.model.inputs import Inputs  # noqa: E402
from torchkit.model.propagate import Propagated, propagate  # noqa: E402
from torchkit.model.record import tensors_in  # noqa: E402

pytestmark = pytest.mark.torch

LARGE = building.REAL_ELEMENTS + 1


@pytest.fixture
def never_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CHEAP", subject.Budget(flops=-1, live_bytes=-1))


def fed(*args: Any, **kwargs: Any) -> Any:
    return lambda _model, _device: Inputs(args, kwargs, ())


def ran(make: Any, *args: Any, **options: Any) -> Propagated:
    return propagate(make, fed(*(args or (torch.ones(2, 4),))), **options)


class Layer(nn.Module):
    """A layer of any size, built in the ways that people build layers."""

    built = 0

    def __init__(self, rows: int = 4, columns: int = 4) -> None:
        super().__init__()
        type(self).built += 1
        self.weight = nn.Parameter(torch.empty(rows, columns))
        nn.init.xavier_uniform_(self.weight)
        self.bias = nn.Parameter(torch.zeros(rows))

    def forward(self, x: Any) -> Any:
        return nn.functional.linear(x, self.weight, self.bias)


def parametrized(layer: nn.Module) -> nn.Module:
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
    return layer


# --- building


def test_a_small_model_is_built_as_always() -> None:
    torch.manual_seed(0)
    truth = nn.Linear(100, 100).weight
    torch.manual_seed(0)

    built = build(lambda: nn.Linear(100, 100))

    assert built.is_whole
    assert torch.equal(built.model.weight, truth)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(5000, 5000),
        lambda: nn.Linear(5000, 5000).to(torch.bfloat16),
        lambda: nn.Linear(5000, 5000).to("cpu"),
        lambda: nn.Linear(5000, 5000).half().eval().requires_grad_(requires_grad=False),
        lambda: nn.Embedding(5000, 5000, padding_idx=0),
        lambda: nn.LSTM(2000, 2000),
        lambda: nn.MultiheadAttention(2000, 4),
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(1024, 4, batch_first=True), 6),
        lambda: parametrized(nn.Linear(5000, 5000)),
        lambda: Layer(5000, 5000),
        lambda: nn.ParameterList([torch.randn(5000, 5000)]),
    ],
    ids=["linear", "bfloat16", "to-cpu", "half-frozen", "embedding", "lstm", "attention", "encoder", "parametrized", "own", "list"],
)  # fmt: skip
def test_a_large_model_is_built_without_memory_and_counts_the_same(make: Any) -> None:
    truth = make()

    built = build(make)

    assert not built.is_whole
    assert any(it.is_meta for it in built.model.parameters())
    found = {
        name: (it.shape, it.dtype, it.requires_grad) for name, it in built.model.named_parameters()
    }
    assert found == {
        name: (it.shape, it.dtype, it.requires_grad) for name, it in truth.named_parameters()
    }


class ReadsItself(nn.Module):
    """Its constructor needs the values of a large tensor."""

    count = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).count += 1
        self.fc = nn.Linear(1200, 1200)
        self.scale = float(self.fc.weight.abs().max())

    def forward(self, x: Any) -> Any:
        return self.fc(x) * self.scale


def test_a_constructor_that_reads_values_is_run_again_for_real() -> None:
    ReadsItself.count = 0

    found = ran(ReadsItself, torch.ones(2, 1200))

    assert found.record.failure is None
    assert found.model.scale > 0
    assert ReadsItself.count == 2


def test_a_constructor_is_run_once_otherwise() -> None:
    Layer.built = 0

    ran(Layer)
    ran(lambda: Layer(1500, 1000), torch.ones(2, 1000))

    assert Layer.built == 2


def test_a_constructor_that_fails_fails_with_its_own_error() -> None:
    def make() -> nn.Module:
        nn.Linear(2000, 2000)
        raise KeyError("no such size")

    with pytest.raises(KeyError, match="no such size"):
        ran(make)


def test_what_is_far_too_large_is_not_built_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MOST_REAL_ELEMENTS", 1000)

    with pytest.raises(TorchkitError, match=r"1,441,200 elements or more"):
        ran(ReadsItself, torch.ones(2, 1200))


def test_blank_memory_is_zeros_that_can_be_written() -> None:
    tensor = blank(torch.empty(300, 200, dtype=torch.bfloat16, device="meta").t())

    tensor[3, 4] = 5

    assert tensor.shape == (200, 300)
    assert tensor.stride() == (1, 200)
    assert (float(tensor.float().sum()), tensor.dtype) == (5.0, torch.bfloat16)


# --- the way it is run


def test_a_cheap_model_runs_for_real_and_says_so() -> None:
    record = ran(Layer).record

    assert (record.propagation, record.why) == ("real", "small enough to be computed")


def test_a_dear_model_runs_on_shapes_and_says_so() -> None:
    record = ran(lambda: nn.Linear(1 << 14, 1 << 14), torch.ones(4096, 1 << 14)).record

    assert record.propagation == "fake"
    assert "60,000,000,000 FLOPs" in record.why
    assert record.flops == 2 * 4096 * (1 << 28)


def test_run_computes_whatever_it_costs(never_cheap: None) -> None:
    record = ran(Layer, run=True).record

    assert (record.propagation, record.why) == ("real", "asked for with --run")


def test_a_users_model_on_meta_is_run_on_shapes_and_stays_there() -> None:
    model = nn.Sequential(nn.Linear(4, 8, device="meta"), nn.LSTM(8, 8, device="meta"))
    before = dict(model.named_parameters())

    record = ran(model).record

    assert record.propagation == "fake"
    assert record.failure is None
    assert all(before[name] is it for name, it in model.named_parameters())


class Attribute(nn.Module):
    """Holds large tensors that are neither parameters nor buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1200, 1200)
        self.table = torch.ones(300, 1200)
        self.tables = [torch.zeros(300, 1200)]

    def forward(self, x: Any) -> Any:
        return self.fc(x) * self.table[:2] + self.tables[0][:2]


@pytest.mark.parametrize("is_dear", [False, True])
def test_tensors_in_plain_attributes_follow(is_dear: bool, request: pytest.FixtureRequest) -> None:
    if is_dear:
        request.getfixturevalue("never_cheap")

    record = ran(Attribute, torch.ones(2, 1200)).record

    assert record.failure is None
    assert record.propagation == ("fake" if is_dear else "real")


# --- failures


def test_a_failure_on_shapes_is_shown_by_a_real_run(never_cheap: None) -> None:
    record = ran(Layer, torch.ones(2, 5)).record

    assert record.failure is not None
    assert record.propagation == "real"
    assert "shapes alone ended in RuntimeError" in record.why


def test_a_misfit_on_shapes_that_cannot_be_shown_is_said_to_be_seen_without() -> None:
    record = ran(nn.Linear(4, 4, device="meta"), torch.ones(2, 5)).record

    assert record.failure is not None
    assert record.propagation == "fake"
    assert record.failure.doubt == ""
    assert "seen on shapes alone: its weights are on meta" in record.notes


class NeedsItsValues(nn.Module):
    """Fails on blank weights, and on none else."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1200, 1200)

    def forward(self, x: Any) -> Any:
        if not self.fc.weight.any():
            raise ValueError("not initialised")
        return self.fc(x)


def test_a_failure_of_blank_weights_is_none_of_the_model() -> None:
    record = ran(NeedsItsValues, torch.ones(2, 1200)).record

    assert record.failure is None
    assert record.propagation == "real"
    assert "ValueError: not initialised" in record.why


# --- inputs


def test_the_first_inputs_that_work_are_taken() -> None:
    guesses = [Inputs((torch.ones(2, size),), {}, (f"{size}",)) for size in (3, 4, 5)]

    found = propagate(Layer, lambda *_: iter(guesses))

    assert found.inputs.texts == ("4",)
    assert found.record.failure is None


def test_where_none_work_the_first_failure_stands() -> None:
    guesses = [Inputs((torch.ones(2, size),), {}, (f"{size}",)) for size in (3, 5)]

    found = propagate(Layer, lambda *_: iter(guesses))

    assert found.inputs.texts == ("3",)
    assert found.record.failure is not None


# --- train, eval, and as before


def test_eval_is_the_default_and_train_is_for_the_run_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4))
    model[1].eval()
    before = copy.deepcopy(model.state_dict())

    resting, training = ran(model).record, ran(model, train=True).record

    assert (resting.is_training, training.is_training) == (False, True)
    assert [it.training for it in model] == [True, False, True]
    assert all(torch.equal(before[name], it) for name, it in model.state_dict().items())


@pytest.mark.parametrize("is_dear", [False, True])
def test_a_live_model_is_as_it_was(is_dear: bool, request: pytest.FixtureRequest) -> None:
    if is_dear:
        request.getfixturevalue("never_cheap")
    model = nn.Sequential(nn.LSTM(4, 4), Pick(), nn.Linear(4, 4), nn.Linear(4, 4, bias=False))
    model[3].weight = model[2].weight
    tensors = [id(it) for it in (*model.parameters(), *model.buffers(), *model[0]._flat_weights)]
    random = torch.get_rng_state()

    record = ran(model).record

    assert record.propagation == ("fake" if is_dear else "real")
    assert tensors == [
        id(it) for it in (*model.parameters(), *model.buffers(), *model[0]._flat_weights)
    ]
    assert model[3].weight is model[2].weight
    assert torch.equal(torch.get_rng_state(), random)
    assert model(torch.ones(2, 4)).shape == (2, 4)


class Pick(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[0]


@pytest.mark.parametrize("is_dear", [False, True])
def test_ctrl_c_leaves_a_live_model_as_it_was(
    is_dear: bool, request: pytest.FixtureRequest
) -> None:
    if is_dear:
        request.getfixturevalue("never_cheap")

    class Stops(nn.Linear):
        def forward(self, x: Any) -> Any:
            super().forward(x)
            raise KeyboardInterrupt

    model = Stops(4, 4).train()
    weight = model.weight

    with pytest.raises(KeyboardInterrupt):
        ran(model)

    assert model.weight is weight
    assert model.training
    assert not model._forward_hooks


def test_wrappers_are_taken_off() -> None:
    found = ran(nn.DataParallel(Layer()))

    assert type(found.model) is Layer
    assert found.record.notes == ["seen without its DataParallel wrapper"]


@pytest.mark.skipif(not hasattr(getattr(torch, "compiler", None), "set_stance"), reason="since 2.6")
@pytest.mark.filterwarnings("ignore")  # torch's own, when its compiler is imported
def test_a_compiled_model_is_seen_as_it_was_written() -> None:
    found = ran(torch.compile(Layer()))

    assert type(found.model) is Layer
    assert found.record.flops == 2 * 2 * 4 * 4


# --- cost


def test_a_small_model_imports_no_compiler() -> None:
    program = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "from torch import nn\n"
        "from torchkit.model.inputs import Inputs\n"
        "from torchkit.model.propagate import propagate\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.parts = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3))\n"
        "    def forward(self, x): return self.parts(x).softmax(1)\n"
        "propagate(Net, lambda *_: Inputs((torch.ones(1, 1, 8, 8),), {}, ()))\n"
        "print(sorted({'torch._dynamo', 'sympy', 'torch._inductor', 'numpy.testing'} & (set(sys.modules) - before)))\n"
    )
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=root, capture_output=True, text=True, check=True
    )  # fmt: skip

    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not hasattr(getattr(torch, "compiler", None), "set_stance"), reason="since 2.6")
@pytest.mark.filterwarnings("ignore")  # torch's own, when its compiler is imported
def test_a_compiled_layer_inside_a_model_is_seen_as_it_was_written() -> None:
    found = ran(nn.Sequential(torch.compile(Layer()), nn.Linear(4, 4)))

    assert found.record.failure is None
    assert found.record.flops == 2 * (2 * 2 * 4 * 4)


# --- failures that only the simulation has


def grouped(a: Any, b: Any, **more: Any) -> Any:
    if not hasattr(torch, "_grouped_mm"):
        pytest.skip("this torch has no grouped product")
    return torch._grouped_mm(a, b, **more)


class Grouped(nn.Module):
    """Mixtures of experts multiply each token by the weights of its own expert."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 16, 24))
        self.product = forward

    def forward(self, x: Any) -> Any:
        return self.product(x, self.weight)


def _offsets(count: int, groups: int = 4) -> Any:
    return torch.full((groups,), count, dtype=torch.int32)


@pytest.mark.parametrize(
    ("shape", "product"),
    [
        ((6, 16), lambda x, w: grouped(x, w, offs=_offsets(6))),
        ((4, 6, 16), grouped),
        ((24, 8), lambda x, w: grouped(w.transpose(1, 2), x[:16], offs=_offsets(8))),
        ((8, 16), lambda x, w: grouped(x, w[0], offs=_offsets(16))),
    ],
)
def test_a_grouped_product_has_the_same_shape_without_computing(
    shape: tuple[int, ...], product: Any, request: pytest.FixtureRequest
) -> None:
    real = ran(lambda: Grouped(product), torch.ones(shape)).record
    request.getfixturevalue("never_cheap")

    record = ran(lambda: Grouped(product), torch.ones(shape)).record

    assert real.failure is None, real.failure
    assert record.failure is None, record.failure
    assert (real.propagation, record.propagation) == ("real", "fake")
    assert _shapes(record) == _shapes(real)


def _shapes(record: Any) -> list[Any]:
    return [(it.shape, it.dtype) for it in tensors_in(record.outputs)]


class OnMeta(nn.Module):
    """Too large to be had in memory."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4, device="meta")
        self.todo = forward

    def forward(self, x: Any) -> Any:
        return self.todo(self.fc(x))


def failure_of(forward: Any) -> Any:
    record = ran(OnMeta(forward), torch.ones(2, 4)).record
    assert record.propagation == "fake"
    assert record.failure is not None
    return record.failure


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x.detach().numpy(),
        lambda x: torch.nonzero(x)[0] + x.tolist()[0][0],
    ],
)
def test_what_a_simulation_cannot_do_is_no_proof_against_the_model(forward: Any) -> None:
    assert failure_of(forward).doubt


def test_an_operation_without_a_rule_for_shapes_is_no_proof_against_the_model() -> None:
    library = torch.library.Library("torchkit_without_a_rule", "DEF")
    library.define("double(Tensor x) -> Tensor")
    library.impl("double", lambda x: x * 2, "CPU")

    failure = failure_of(torch.ops.torchkit_without_a_rule.double)

    assert failure.doubt == "torch has no rule for the shapes of torchkit_without_a_rule::double"


def _refuse(x: Any) -> None:
    raise RuntimeError(f"{x.shape[1]} is not what this takes")


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x.reshape(3, 7),
        lambda x: x @ torch.ones(3, 3),
        lambda x: torch.cat([x, x[:1]], 1),
        nn.BatchNorm1d(5),
        nn.LSTM(5, 5),
        lambda x: x.no_such_thing(),
        _refuse,
    ],
)
def test_what_real_tensors_do_not_do_either_is_proof(forward: Any) -> None:
    failure = failure_of(forward)

    assert failure.doubt == ""
    with pytest.raises(Exception) as met:  # noqa: PT011 - each raises its own
        forward(torch.ones(2, 4))
    assert failure.message == str(met.value)


class Drops(nn.Module):
    """Layers left out by chance, in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            if not self.training or torch.rand([]) < 2:
                x = layer(x)
        return x


def test_train_mode_that_reads_values_is_run_for_real(never_cheap: None) -> None:
    record = ran(Drops, torch.ones(2, 8)).record

    assert record.propagation == "fake"
    assert record.training is not None
    assert not any("training" in note for note in record.notes)


def test_train_mode_that_cannot_be_followed_is_no_failure_of_the_model() -> None:
    record = ran(Drops().to("meta"), torch.ones(2, 8)).record

    note = next(it for it in record.notes if "training" in it)
    assert note.endswith(
        "cannot be followed on shapes alone, its forward reads the values of tensors"
    )


def test_a_batch_of_one_that_cannot_be_trained_says_what_helps() -> None:
    record = ran(lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Dropout()), torch.ones(1, 4)).record

    assert any("--batch-size 2" in note for note in record.notes)
