"""Truth: what torch's own `load_state_dict` does with real models and state dicts."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from torchkit.model.keys import (
    Key,
    compare_keys,
    error_text,
    module_paths,
    state_keys,
    unsaved_buffers,
)
from torchkit.model.rename_search import find_renaming

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.torch


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """Convolution, norm, a list of layers, a layer without keys, a head."""

    def __init__(
        self, classes: int = 10, *, norm: str = "bn1", blocks: int = 3, width: int = 8
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        setattr(self, norm, nn.BatchNorm2d(width))
        self.relu = nn.ReLU()
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.fc = nn.Linear(width, classes)


class Tied(nn.Module):  # type: ignore[misc,name-defined]
    """A head that is the embedding, and a buffer that is not saved."""

    def __init__(self, *, persistent: bool = False) -> None:
        super().__init__()
        self.wte = nn.Embedding(7, 4)
        self.register_buffer("position_ids", torch.arange(5), persistent=persistent)
        self.lm_head = nn.Linear(4, 7, bias=False)
        self.lm_head.weight = self.wte.weight


class WithState(nn.Module):  # type: ignore[misc,name-defined]
    """Saves something that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def given_of(state: Mapping[str, Any]) -> list[Key]:
    """The keys of a state dict, as a file tells them: tensors alone."""
    return [
        Key(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    ]


def without(state: Any, *parts: str) -> Any:
    """The state dict with its versions, and without keys that have one of these parts."""
    for name in [it for it in state if any(part in it for part in parts)]:
        del state[name]
    return state


def with_prefix(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def renamed(state: Mapping[str, Any], *pairs: tuple[str, str]) -> dict[str, Any]:
    changed = {}
    for name, value in state.items():
        for old, new in pairs:
            name = name.replace(old, new)  # noqa: PLW2901 - step by step
        changed[name] = value
    return changed


def transformer(layers: int = 2) -> Any:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def old_versions(state: Any) -> Any:
    """As torch 0.4.0 wrote it: version 1 of the norms, without their counter."""
    without(state, "num_batches_tracked")
    for versions in state._metadata.values():
        versions["version"] = 1
    return state


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "itself": (Net, lambda: Net().state_dict()),
    "another number of classes": (Net, lambda: Net(1000).state_dict()),
    "wider": (Net, lambda: Net(width=16).state_dict()),
    "fewer blocks": (Net, lambda: Net(blocks=1).state_dict()),
    "more blocks": (Net, lambda: Net(blocks=5).state_dict()),
    "a norm of another name": (Net, lambda: Net(norm="norm1").state_dict()),
    "DataParallel": (Net, lambda: nn.DataParallel(Net()).state_dict()),
    "into DataParallel": (lambda: nn.DataParallel(Net()), lambda: Net().state_dict()),
    "empty": (Net, dict),
    "keys under a module without keys": (
        Net,
        lambda: {**Net().state_dict(), "relu.weight": torch.ones(1), "zzz": torch.ones(1)},
    ),
    "strange keys before, between and deep": (
        Net,
        lambda: {
            "fc.deep.er": torch.ones(1),
            "blocks.9.weight": torch.ones(1),
            **Net().state_dict(),
            "blocks.1.scale": torch.ones(1),
            "conv": torch.ones(1),
            "x.y.z": torch.ones(1),
        },
    ),
    "a key that is a beginning of another": (
        Net,
        lambda: {**Net().state_dict(), "fc.weight_g": torch.ones(1)},
    ),
    "no counter, versions kept": (Net, lambda: without(Net().state_dict(), "num_batches")),
    "no counter, versions lost": (Net, lambda: dict(without(Net().state_dict(), "num_batches"))),
    "no counter, of torch 0.4.0": (Net, lambda: old_versions(Net().state_dict())),
    "no running statistics": (Net, lambda: dict(without(Net().state_dict(), "running_mean"))),
    "a bias too many": (
        lambda: nn.Linear(3, 3, bias=False),
        lambda: nn.Linear(3, 3).state_dict(),
    ),
    "a bias too few": (nn.Linear, lambda: nn.Linear(3, 3, bias=False).state_dict()),
    "half precision": (Net, lambda: Net().half().state_dict()),
    "one number for a scalar": (
        lambda: nn.BatchNorm1d(3),
        lambda: {**nn.BatchNorm1d(3).state_dict(), "num_batches_tracked": torch.zeros(1).long()},
    ),
    "a scalar for one number": (nn.PReLU, lambda: {"weight": torch.tensor(0.25)}),
    "tied, all keys": (Tied, lambda: Tied().state_dict()),
    "tied, saved once": (Tied, lambda: without(Tied().state_dict(), "lm_head")),
    "a buffer that is not saved any more": (Tied, lambda: Tied(persistent=True).state_dict()),
    "lazy": (lambda: nn.LazyLinear(4), lambda: nn.Linear(3, 4).state_dict()),
    "extra state": (WithState, lambda: WithState().state_dict()),
    "extra state that nobody takes": (
        lambda: nn.Linear(2, 2),
        lambda: {
            "zzz": torch.ones(1),
            **nn.Linear(2, 2).state_dict(),
            "_extra_state": torch.ones(1),
        },
    ),
    "LSTM of two directions": (
        lambda: nn.LSTM(3, 4, bidirectional=True),
        lambda: nn.LSTM(3, 4).state_dict(),
    ),
    "transformer, more layers": (transformer, lambda: transformer(3).state_dict()),
    "transformer, other keys": (
        transformer,
        lambda: renamed(transformer().state_dict(), ("layers.", "layer."), ("norm1", "ln_1")),
    ),
    "a shared module under two names": (
        lambda: nn.ModuleDict({"a": (one := nn.Linear(2, 2)), "b": one}),
        lambda: {"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2)},
    ),
}
PAIRS["a bias too few"] = (lambda: nn.Linear(3, 3), PAIRS["a bias too few"][1])


@pytest.mark.parametrize("pair", PAIRS)
def test_torch_says_to_the_letter_what_was_said(pair: str) -> None:
    make_model, make_state = PAIRS[pair]
    model, state = make_model(), make_state()
    metadata = getattr(state, "_metadata", None)
    versions = None
    if metadata is not None:
        versions = {path: it.get("version") for path, it in metadata.items()}

    found = compare_keys(
        state_keys(model), given_of(state), modules=module_paths(model), versions=versions
    )

    try:
        model.load_state_dict(state)
        truth = ""
    except RuntimeError as error:
        truth = str(error)
    assert error_text(type(model).__name__, found) == truth
    assert found.is_loadable == (truth == "")


def test_without_strict_only_shapes_are_told() -> None:
    model, state = Net(), without(Net(1000).state_dict(), "conv")
    with pytest.raises(RuntimeError) as raised:
        model.load_state_dict(state, strict=False)

    found = compare_keys(state_keys(model), given_of(state))

    assert error_text("Net", found, strict=False) == str(raised.value)


def test_shared_tensors_and_unsaved_buffers_are_known() -> None:
    model = Tied()

    keys = {key.name: key for key in state_keys(model)}

    assert keys["lm_head.weight"].shared_with == "wte.weight"
    assert keys["wte.weight"].shared_with is None
    assert unsaved_buffers(model) == ("position_ids",)


def test_lazy_and_meta_models_have_keys() -> None:
    with torch.device("meta"):
        model = Net()

    assert state_keys(model) == state_keys(Net())
    assert [key.shape for key in state_keys(nn.LazyLinear(4))] == [None, None]


def test_another_dtype_is_converted() -> None:
    found = compare_keys(state_keys(Net()), given_of(Net().half().state_dict()))

    assert {pair.given.dtype for pair in found.converted} == {"float16"}
    assert "bn1.num_batches_tracked" not in {pair.name for pair in found.converted}


# --- renaming: the code that is given is run, and torch takes what it makes


class Attention(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, names: tuple[str, str, str] = ("q_proj", "k_proj", "v_proj")) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, nn.Linear(8, 8))
        self.out = nn.Linear(8, 8)


def attentions(*names: str) -> Any:
    return nn.ModuleList(Attention(names or ("q_proj", "k_proj", "v_proj")) for _ in range(3))


class Detector(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Net()
        self.head = nn.Linear(8, 4)


RENAMED: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "DataParallel": (
        Net,
        lambda: nn.DataParallel(Net()).state_dict(),
        "removing the prefix module. from every key",
    ),
    "torch.compile": (
        Net,
        lambda: with_prefix("_orig_mod.", Net().state_dict()),
        "removing the prefix _orig_mod. from every key",
    ),
    "several prefixes": (
        Net,
        lambda: with_prefix("state_dict.module._orig_mod.", Net().state_dict()),
        "removing the prefix state_dict.module._orig_mod. from every key",
    ),
    "a part of it compiled": (
        Net,
        lambda: renamed(Net().state_dict(), ("blocks.", "blocks._orig_mod.")),
        "removing _orig_mod. from every key",
    ),
    "Lightning with a loss": (
        Net,
        lambda: {**with_prefix("model.", Net().state_dict()), "loss.weight": torch.ones(3)},
        "removing the prefix model. from the keys under model.",
    ),
    "the backbone of a detector": (
        Net,
        lambda: Detector().state_dict(),
        "removing the prefix backbone. from the keys under backbone.",
    ),
    "into DataParallel": (
        lambda: nn.DataParallel(Net()),
        lambda: Net().state_dict(),
        "adding the prefix module. to every key",
    ),
    "one prefix for another": (
        lambda: nn.ModuleDict({"encoder": Net()}),
        lambda: with_prefix("net.body.", Net().state_dict()),
        "replacing the prefix net.body. by encoder. in every key",
    ),
    "layer for layers": (
        transformer,
        lambda: renamed(transformer().state_dict(), ("layers.", "layer.")),
        "replacing the prefix layer. by layers. in every key",
    ),
    "gamma and beta": (
        lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.LayerNorm(4)),
        lambda: {
            "0.gamma": torch.ones(4),
            "0.beta": torch.zeros(4),
            "1.weight": torch.ones(4, 4),
            "1.bias": torch.ones(4),
            "2.gamma": torch.ones(4),
            "2.beta": torch.zeros(4),
        },
        "renaming gamma to weight, then renaming beta to bias",
    ),
    "norms of another name": (
        transformer,
        lambda: renamed(transformer().state_dict(), ("norm1", "ln_1"), ("norm2", "ln_2")),
        "renaming ln_1 to norm1, then renaming ln_2 to norm2",
    ),
    "query, key and value by their order": (
        attentions,
        lambda: attentions("query", "key", "value").state_dict(),
        "renaming query to q_proj, then renaming key to k_proj, then renaming value to v_proj",
    ),
    "a head of another name": (
        Net,
        lambda: renamed(Net().state_dict(), ("fc.", "classifier.")),
        "renaming classifier to fc",
    ),
    "a layer that moved one on": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4)),
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(8, 4)).state_dict(),
        "renaming 2 keys",
    ),
}


@pytest.mark.parametrize("case", RENAMED)
def test_the_code_of_a_renaming_makes_a_state_that_torch_takes(case: str) -> None:
    make_model, make_state, words = RENAMED[case]
    model, state = make_model(), make_state()
    with pytest.raises(RuntimeError, match=r"Missing key\(s\)"):
        model.load_state_dict(state)

    found = find_renaming(state_keys(model), given_of(state))

    assert found is not None
    assert found.words == words
    names: dict[str, Any] = {"state": state}
    exec("\n".join(found.code()), names)  # noqa: S102 - it is what a user would paste
    assert [key.name for key in found.apply(given_of(state))] == list(names["state"])
    model.load_state_dict(names["state"])


NOT_RENAMED: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "another model": (Net, lambda: transformer().state_dict()),
    "a single layer": (Net, lambda: nn.Linear(3, 3).state_dict()),
    "only some layers": (Net, lambda: without(Net().state_dict(), "blocks", "fc")),
    "one more layer of equal shape": (
        lambda: nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)}),
        lambda: nn.ModuleDict({"a": nn.Linear(4, 4)}).state_dict(),
    ),
    "two tensors for two of equal shape, in a file that sorts": (
        lambda: nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in ("b", "p", "o")}),
        lambda: {f"{name}.weight": torch.ones(4, 4) for name in ("b", "x", "y")},
    ),
    "two layers for two of equal shape, in a file that sorts": (
        lambda: nn.ModuleDict({"in": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)}),
        lambda: OrderedDict(
            sorted(
                nn.ModuleDict({"in": nn.Linear(4, 4), "x": nn.Linear(4, 4), "y": nn.Linear(4, 4)})
                .state_dict()
                .items()
            )
        ),
    ),
}


@pytest.mark.parametrize("case", NOT_RENAMED)
def test_nothing_is_renamed_where_it_is_not_certain(case: str) -> None:
    make_model, make_state = NOT_RENAMED[case]

    assert find_renaming(state_keys(make_model()), given_of(make_state())) is None


def test_a_prefix_is_found_though_the_head_differs() -> None:
    model, state = Net(), with_prefix("module.", Net(1000).state_dict())

    found = find_renaming(state_keys(model), given_of(state))

    assert found is not None
    left = compare_keys(state_keys(model), found.apply(given_of(state)))
    assert [pair.name for pair in left.differing] == ["fc.weight", "fc.bias"]
    assert left.missing == left.unexpected == ()


def test_names_from_a_file_stay_text_in_the_code() -> None:
    prefix = '"); raise SystemExit(7); ("\n.'
    state = with_prefix(prefix, Net().state_dict())

    found = find_renaming(state_keys(Net()), given_of(state))

    assert found is not None
    names: dict[str, Any] = {"state": state}
    exec("\n".join(found.code()), names)  # noqa: S102 - it is what a user would paste
    Net().load_state_dict(names["state"])


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"module.{name}",
        lambda name: name.replace("layers.", "layers.module."),
        lambda name: name.replace("q.", "query.").replace("k.", "key.").replace("v.", "value."),
        lambda name: f"other.{name.replace('.', '_')}",
    ],
)
def test_ten_thousand_keys_take_seconds_at_most(change: Callable[[str], str]) -> None:
    parts = ("q", "k", "v", "o", "up", "down", "norm1", "norm2")
    model = [
        Key(f"layers.{layer}.{part}.{last}", (64, 64) if last == "weight" else (64,), "float32")
        for layer in range(640)
        for part in parts
        for last in ("weight", "bias")
    ]
    file = [key._replace(name=change(key.name)) for key in model]
    start = time.process_time()

    find_renaming(model, file)
    compare_keys(model, file)

    assert time.process_time() - start < 5
