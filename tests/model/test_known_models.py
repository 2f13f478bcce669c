"""Well-known models of torchvision, timm and transformers against what others say of them.

Truth: the numbers that the packages publish, torch's own FLOP counter, ordinary hooks. The
packages are the extra `zoo`; without them everything here is skipped: `make zoo` runs it.

Where torch's counter differs: `_grouped_mm` (mixtures of experts) it does not know on the CPU, so
that is added by hand; its attention is counted through the products of the kernel that has no
fusion, since it knows the CPU's fused one not at all.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import known  # noqa: E402 - torch first

from torchkit.model import propagate as subject  # noqa: E402
from torchkit.model.inputs import Inputs  # noqa: E402
from torchkit.model.layers import layers  # noqa: E402
from torchkit.model.record import Record  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),  # the packages' own, of what they will change
]


def run(make: Callable[[], Any], *args: Any, **kwargs: Any) -> Record:
    return subject.propagate(make, lambda _model, _device: Inputs(args, kwargs, ())).record


def params(record: Record) -> int:
    return sum(it.logical_count for it in record.parameters if not it.is_buffer)


@pytest.fixture
def never_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is taken for one that is too dear to compute."""
    monkeypatch.setattr(subject, "CHEAP", subject.Budget(flops=-1, live_bytes=-1))


# --- torchvision


@pytest.mark.parametrize("case", known.VISION, ids=lambda it: it.name)
def test_a_torchvision_model_counts_what_torchvision_publishes(case: known.Vision) -> None:
    models = known.package("torchvision").models
    meta = models.get_model_weights(case.name).DEFAULT.meta
    make = models.get_model_builder(case.name)

    record = run(lambda: make(**case.options), torch.zeros(case.shape))

    assert record.failure is None
    assert params(record) == meta["num_params"]
    assert record.flops / 2e9 == pytest.approx(meta["_ops"], abs=0.001)


@pytest.mark.parametrize("name", known.DETECTION)
def test_a_torchvision_detector_runs_on_a_list_of_pictures(name: str) -> None:
    models = known.package("torchvision").models
    if not known.package("torchvision").extension._has_ops():
        pytest.skip("this torchvision's compiled operators do not fit this torch")
    make = models.get_model_builder(name)

    record = run(lambda: make(weights_backbone=None), [torch.rand(3, 96, 128)])

    assert record.failure is None
    assert params(record) == models.get_model_weights(name).DEFAULT.meta["num_params"]


# --- an ordinary forward, looked at with torch's own means


class Ordinary:
    """What a plain forward of a model shows: FLOPs, calls, shapes, bytes kept for backward."""

    def __init__(self, make: Callable[[], Any], args: tuple[Any, ...], kwargs: Any) -> None:
        model = make().eval()
        self.params = sum(it.numel() for it in model.parameters())
        self.shapes: dict[str, list[int] | None] = {}
        hooks = [
            module.register_forward_hook(self._note(path)) for path, module in model.named_modules()
        ]
        with torch.no_grad():
            model(*args, **kwargs)
        for hook in hooks:
            hook.remove()
        self.flops = _flops(model, args, kwargs)
        self.saved_bytes = _saved_bytes(model, args, kwargs)

    def _note(self, path: str) -> Callable[..., None]:
        def note(_module: Any, _args: Any, output: Any) -> None:
            shape = list(output.shape) if isinstance(output, torch.Tensor) else None
            self.shapes.setdefault(path, shape)

        return note


def _flops(model: Any, args: tuple[Any, ...], kwargs: Any) -> int:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*args, **kwargs)
    return counter.get_total_flops()


def _saved_bytes(model: Any, args: tuple[Any, ...], kwargs: Any) -> int:
    own = {it.untyped_storage()._cdata for it in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda it: it):
        outputs = model(*args, **kwargs)
    del outputs
    return sum(it.nbytes() for it in kept.values())


def assert_rows_are_those(record: Record, truth: Ordinary) -> None:
    rows = {row.path: row for row in layers(record)}
    not_run = {path for path, row in rows.items() if row.status != "ok"}
    assert not not_run & set(truth.shapes)
    assert {path: rows[path].output_shapes for path, shape in truth.shapes.items() if shape} == {
        path: [shape] for path, shape in truth.shapes.items() if shape
    }


_ORDINARY: dict[str, Ordinary] = {}


@pytest.fixture(scope="module", autouse=True)
def _forget_at_the_end() -> Iterator[None]:
    yield
    _ORDINARY.clear()


def ordinary(name: str) -> Ordinary:
    """Of a small transformer; run once for all tests."""
    case = known.SMALL[name]
    if name not in _ORDINARY:
        _ORDINARY[name] = Ordinary(case.make, (), case.inputs())
    return _ORDINARY[name]


def test_optical_flow_through_two_pictures_is_recorded_as_it_runs() -> None:
    make = known.package("torchvision").models.get_model_builder("raft_small")
    pictures = torch.zeros(1, 3, 128, 128), torch.ones(1, 3, 128, 128)
    truth = Ordinary(make, pictures, {})

    record = run(make, *pictures)

    assert record.failure is None
    assert (params(record), record.flops) == (truth.params, truth.flops)
    assert_rows_are_those(record, truth)


# --- transformers


@pytest.mark.parametrize("name", known.SMALL)
def test_a_small_transformer_is_recorded_as_it_runs(name: str) -> None:
    known.package("transformers")
    case = known.SMALL[name]
    truth = ordinary(name)

    record = run(case.make, **case.inputs())

    assert record.failure is None
    assert record.propagation == "real"
    assert (params(record), record.flops) == (truth.params, truth.flops + case.expert_flops)
    assert sum(record.saved.values()) == truth.saved_bytes
    assert_rows_are_those(record, truth)


READS_VALUES = ("big-bird", "longformer")
"""BigBird's first forward builds layers; Longformer asks whether there is a global token."""

OTHER_MASK = ("bart", "conditional-detr", "detr", "m2m100", "marian", "pegasus")
"""transformers leaves out a mask that hides nothing, which it cannot know of shapes alone."""


@pytest.mark.parametrize("name", known.SMALL)
def test_shapes_alone_tell_the_same_of_a_small_transformer(name: str, never_cheap: None) -> None:
    known.package("transformers")
    case = known.SMALL[name]
    truth = ordinary(name)

    record = run(case.make, **case.inputs())

    assert record.failure is None
    assert record.propagation == ("real" if name in READS_VALUES else "fake")
    assert (params(record), record.flops) == (truth.params, truth.flops + case.expert_flops)
    assert sum(record.saved.values()) == pytest.approx(
        truth.saved_bytes, rel=0.02 if name in OTHER_MASK else 0
    )
    assert_rows_are_those(record, truth)


# --- timm


@pytest.mark.parametrize("name", known.TIMM)
def test_a_timm_model_is_recorded_as_it_runs(name: str) -> None:
    timm = known.package("timm")
    make = lambda: timm.create_model(name)  # noqa: E731
    picture = torch.zeros(1, *make().default_cfg["input_size"])
    truth = Ordinary(make, (picture,), {})

    record = run(make, picture)

    assert record.failure is None
    assert (params(record), record.flops) == (truth.params, truth.flops)
    assert sum(record.saved.values()) == truth.saved_bytes
    assert_rows_are_those(record, truth)


# --- as a user meets them: a factory, no input given

USERS_FILE = """
    import sys
    sys.path.insert(0, {here!r})
    import known

    def hub(name):
        return known.PUBLISHED[name].make()

    def vision(name, **options):
        return known.package("torchvision").models.get_model_builder(name)(**options)

    def timm(name):
        return known.package("timm").create_model(name)
"""


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.py"
    path.write_text(textwrap.dedent(USERS_FILE).format(here=str(Path(__file__).parent)))
    return path


@pytest.mark.parametrize("name", known.PUBLISHED)
def test_a_published_transformer_needs_no_input_and_has_its_published_parameters(
    name: str, cli: Any, users_file: Path
) -> None:
    known.package("transformers")

    ended = cli("summary", f"{users_file}:hub({name!r})")

    assert ended.code == 0, ended.stderr
    assert f"{known.PUBLISHED[name].params:,} (" in ended.stdout
    assert len(ended.stdout.splitlines()) < 60


TO = "\N{EN DASH}"

FOLDED = {
    "bert-base-uncased": f"encoder.layer.0{TO}11 BertLayer (x12)",
    "gpt2": f"h.0{TO}11 GPT2Block (x12)",
    "llama-2-7b": f"layers.0{TO}31 LlamaDecoderLayer (x32)",
    "mamba-130m": f"layers.0{TO}23 MambaBlock (x24)",
    "t5-small": f"1{TO}5 T5Block (x5)",
}


@pytest.mark.parametrize("name", FOLDED)
def test_equal_blocks_are_one_row(name: str, cli: Any, users_file: Path) -> None:
    known.package("transformers")

    ended = cli("summary", f"{users_file}:hub({name!r})", "--depth", "3")

    rows = [
        " ".join(line.replace("\N{HORIZONTAL ELLIPSIS}", " ").split())
        for line in ended.stdout.splitlines()
    ]
    assert any(FOLDED[name] in row for row in rows), ended.stdout


@pytest.mark.parametrize(
    ("target", "package", "size"),
    [
        ("vision('resnet50')", "torchvision", 224),
        ("vision('vit_b_16')", "torchvision", 224),
        ("vision('vit_b_16', image_size=384)", "torchvision", 384),
        ("vision('googlenet', init_weights=False)", "torchvision", 224),
        ("timm('nfnet_f0')", "timm", 192),
        ("timm('mobilevit_s')", "timm", 256),
    ],
)
def test_the_size_of_a_picture_is_found(
    target: str, package: str, size: int, cli: Any, users_file: Path
) -> None:
    known.package(package)

    ended = cli("summary", f"{users_file}:{target}")

    assert ended.code == 0, ended.stderr
    assert f"[1, 3, {size}, {size}]" in ended.stdout.splitlines()[0]
