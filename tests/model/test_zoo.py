"""The one run against truth from outside: hand counts, ordinary hooks, the profiler, torchsummary."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import zoo  # noqa: E402

from torchkit.model import propagate as subject  # noqa: E402 - torch first
from torchkit.model.inputs import Inputs  # noqa: E402
from torchkit.model.record import Record, tensors_in  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings(
        "ignore"
    ),  # torch's own, of quantisation, scripts and nested tensors
]


def run(name: str, **options: Any) -> Record:
    case = zoo.CASES[name]
    fed = lambda _model, _device: Inputs(*case.inputs(), ())  # noqa: E731
    return subject.propagate(case.make, fed, train=case.train, **options).record


@pytest.fixture
def never_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is taken for one that is too dear to compute."""
    monkeypatch.setattr(subject, "CHEAP", subject.Budget(flops=-1, live_bytes=-1))


def params(record: Record) -> int:
    return sum(it.logical_count for it in record.parameters if not it.is_buffer)


def test_the_zoo_has_at_least_forty_models() -> None:
    assert len(zoo.CASES) >= 40


@pytest.mark.parametrize("name", zoo.SMALL)
def test_a_small_model_is_computed_and_counts_as_by_hand(name: str) -> None:
    record = run(name)

    assert record.failure is None
    assert record.propagation == "real"
    assert (params(record), record.flops) == (zoo.CASES[name].params, zoo.CASES[name].flops)


@pytest.mark.parametrize("name", zoo.SMALL)
def test_shapes_alone_count_as_by_hand_or_a_real_run_steps_in(name: str, never_cheap: None) -> None:
    record = run(name)

    assert record.failure is None
    assert record.propagation == ("real" if zoo.CASES[name].needs_values else "fake")
    assert record.why
    assert (params(record), record.flops) == (zoo.CASES[name].params, zoo.CASES[name].flops)


@pytest.mark.parametrize(
    ("name", "propagation"), [("Resnet50", "real"), ("VitB16", "real"), ("Gpt2", "fake"), ("Llama70b", "fake")]
)  # fmt: skip
def test_a_well_known_model_counts_as_published(name: str, propagation: str) -> None:
    record = run(name)

    assert record.propagation == propagation
    assert (params(record), record.flops) == (zoo.CASES[name].params, zoo.CASES[name].flops)


# --- memory


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Attention layer by layer; before torch 2.3 gradients alone had that effect."""
    switch = getattr(getattr(torch.backends, "mha", None), "set_fastpath_enabled", lambda _: None)
    switch(False)
    try:
        yield
    finally:
        switch(True)


@contextmanager
def kept(model: Any) -> Iterator[dict[int, Any]]:
    """What backward really keeps, by ordinary hooks that hold on to it."""
    own = {it.untyped_storage()._cdata for it in (*model.parameters(), *model.buffers())}
    storages: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda it: it):
        yield storages


DENSE = [name for name in zoo.SMALL if name not in ("scripted", "quantised", "SparseProduct")]


@pytest.mark.parametrize("name", DENSE)
def test_bytes_saved_for_backward_are_those_of_an_ordinary_run(name: str) -> None:
    case = zoo.CASES[name]
    model = case.make().train(case.train)
    args, kwargs = case.inputs()
    if name in ("Lazy", "BuiltByTheFirstForward"):
        model(*args, **kwargs)
    with kept(model) as storages, without_fast_path():
        model(*args, **kwargs)

    record = run(name)

    assert sum(record.saved.values()) == sum(it.nbytes() for it in storages.values())


OTHER_KERNELS = ("BiLSTM", "GRU", "ProjectedLSTM", "RNN", "Bag", "InnerGradient")
"""Step by step, or with other helpers, where they are not computed."""

SAME_KERNELS = [it for it in DENSE if not zoo.CASES[it].needs_values and it not in OTHER_KERNELS]


@pytest.mark.parametrize("name", SAME_KERNELS)
def test_shapes_alone_know_the_bytes_saved_for_backward(name: str, never_cheap: None) -> None:
    fake = run(name)

    real = run(name, run=True)
    assert (fake.propagation, real.propagation) == ("fake", "real")
    assert sum(fake.saved.values()) == sum(real.saved.values())


def peak_by_profiler(model: Any, args: Any, folder: Path) -> int:
    """The most memory in use during an ordinary forward, above what was in use before it."""
    with torch.no_grad():
        model(*args)  # what is made once is made
        with torch.profiler.profile(profile_memory=True) as profile:
            model(*args)
    profile.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    memory = [it for it in events if it["name"] == "[memory]"]
    memory.sort(key=lambda it: it["ts"])
    level = peak = 0
    for event in memory:
        level += event["args"]["Bytes"]
        peak = max(peak, level)
    return peak


@pytest.mark.parametrize(
    "name", ["TinyCNN", "GRU", "Embeds", "SelfAttention", "Encoder", "SmallLlama", "Resnet50"]
)  # fmt: skip
def test_the_peak_of_activations_is_what_the_profiler_measures(name: str, tmp_path: Path) -> None:
    """On models whose kernels need no scratch memory; that of others is theirs, not the model's."""
    case = zoo.CASES[name]
    if "Attention" in name and not hasattr(torch.backends, "mha"):
        pytest.skip("before torch 2.3 the profiler sees the fast path, which cannot be left")
    with without_fast_path():
        truth = peak_by_profiler(case.make().eval(), case.inputs()[0], tmp_path)

    record = run(name)

    assert record.peak_bytes == pytest.approx(truth, rel=0.1)


# --- torchsummary's own table, where that package works

PLAIN = ["SkipNet", "UNet", "Depthwise", "GroupedStrided", "Dilated", "Conv1d", "Conv3d", "TransposedGrouped", "LinearOn4d", "Frozen"]  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_parameters_and_shapes_are_torchsummarys(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torchsummary = pytest.importorskip("torchsummary")
    case = zoo.CASES[name]
    (first,), _ = case.inputs()

    torchsummary.summary(case.make(), tuple(first.shape[1:]), device="cpu")

    table = capsys.readouterr().out
    total = re.search(r"Total params: ([\d,]+)", table)
    shapes = [
        [int(size) for size in re.findall(r"-?\d+", text)[1:]]
        for text in re.findall(r"-\d+\s+(\[[-\d, ]+\])", table)
    ]
    record = run(name)
    leaves = _leaves(record)
    assert total is not None
    assert params(record) == int(total[1].replace(",", ""))
    assert [shape for shape in leaves if shape in shapes] == leaves


def _leaves(record: Record) -> list[list[int]]:
    """Output shapes, without the batch, of the calls that call nothing."""
    parents = {call.parent for call in record.calls}
    return [
        list(tensor.shape[1:])
        for call in record.calls
        if call.number not in parents and call.outputs is not None
        for tensor in tensors_in(call.outputs)
    ]


# --- time and memory, each in a process of its own

MEASURE = """
import sys, time
import torch
before_all = set(sys.modules)
def peak():  # not ru_maxrss, which a child has from its parent
    lines = open("/proc/self/status").read().splitlines()
    return next(int(it.split()[1]) / 1024 for it in lines if it.startswith("VmHWM"))
before, memory = time.process_time(), peak()
sys.path.insert(0, "tests/model")
import zoo
from torchkit.model.inputs import Inputs
from torchkit.model.propagate import propagate
case = zoo.CASES[sys.argv[1]]
propagate(case.make, lambda model, device: Inputs(*case.inputs(), ()))
print(time.process_time() - before, peak() - memory, peak(), "sympy" in set(sys.modules) - before_all)
"""


def measured(name: str) -> tuple[float, float, float, bool]:
    root = Path(__file__).parents[2]
    program = [sys.executable, "-W", "ignore", "-c", MEASURE, name]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=True)
    seconds, above, whole, has_sympy = done.stdout.split()
    return float(seconds), float(above), float(whole), has_sympy == "True"


def test_seventy_billion_parameters_take_seconds_and_less_than_500_mb() -> None:
    seconds, _, whole, _ = measured("Llama70b")

    assert seconds < 8
    assert whole < 500


def test_a_model_of_a_hundred_megabytes_is_computed_without_them() -> None:
    _, above, _, has_sympy = measured("Resnet50")

    assert above < 100  # its weights alone are 102 MB
    assert not has_sympy
