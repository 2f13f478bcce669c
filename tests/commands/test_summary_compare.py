"""Would `load_state_dict` work? The judge is torch's own, verdict and text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchkit.commands.compare_keys import compare_with_file
from torchkit.commands.loading_code import Origin
from torchkit.model.files import read
from torchkit.model.files.harmless import refused
from torchkit.model.keys import Key, keys_of, module_paths, state_keys, unsaved_buffers
from torchkit.report import WOULD_FAIL_WITH, Report, Status

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def net(width: int = 4, classes: int = 2) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(3, width), nn.BatchNorm1d(width), nn.Sequential(nn.Linear(width, classes))
    )


def renamed(change: Callable[[str], str]) -> dict[str, Any]:
    return {change(key): value for key, value in net().state_dict().items()}


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in net().state_dict().items() if key not in names}


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "the same": lambda: dict(net().state_dict()),
    "another width": lambda: dict(net(width=5).state_dict()),
    "another head": lambda: dict(net(classes=9).state_dict()),
    "one missing": lambda: without("0.bias"),
    "a layer missing": lambda: without("2.0.weight", "2.0.bias"),
    "one more": lambda: {**net().state_dict(), "extra": torch.zeros(2)},
    "DataParallel": lambda: renamed("module.{}".format),
    "torch.compile": lambda: renamed("_orig_mod.{}".format),
    "a wrapper": lambda: renamed("backbone.{}".format),
    "two prefixes": lambda: renamed("model.module.{}".format),
    "nothing in common": lambda: {"a": torch.zeros(1), "b": torch.zeros(2)},
    "missing and more": lambda: {**without("1.weight"), "extra": torch.zeros(2)},
    "another dtype": lambda: {k: v.half() if v.is_floating_point() else v for k, v in net().state_dict().items()},
    "no counter": lambda: without("1.num_batches_tracked"),
    "a vector for a matrix": lambda: {**net().state_dict(), "0.weight": torch.zeros(12)},
    "a scalar for a vector": lambda: {**net().state_dict(), "0.bias": torch.zeros(())},
}  # fmt: skip


def report_on(state: dict[str, Any]) -> Report:
    model = net()
    entries = [
        Key(key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in state.items()
    ]
    return compare_with_file(
        state_keys(model), entries, model="Sequential", file="weights.pt",
        modules=module_paths(model), unsaved=unsaved_buffers(model),
    )  # fmt: skip


def truth(state: dict[str, Any]) -> str | None:
    try:
        net().load_state_dict(state)
    except RuntimeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_that_of_load_state_dict(name: str) -> None:
    state = CASES[name]()

    report = report_on(state)

    said = truth(state)
    assert bool(report.of(Status.FAIL)) is (said is not None)
    assert report.headline.startswith("load_state_dict would ")
    for finding in report.of(Status.FAIL):
        (quoted,) = (it.value for it in finding.verdict.evidence if it.name == WOULD_FAIL_WITH)
        for line in quoted.partition(", … and ")[0].splitlines():
            assert line.strip().rstrip(".") in str(said)


@pytest.mark.parametrize("name", ["DataParallel", "torch.compile", "a wrapper", "two prefixes"])
def test_the_renaming_that_is_advised_makes_it_work(name: str) -> None:
    state = CASES[name]()

    (fix,) = {
        fix for it in report_on(state).of(Status.FAIL) for fix in it.verdict.fix[:1] if "{" in fix
    }

    names: dict[str, Any] = {"state": state, "model": net(), "torch": torch}
    lines = [line for line in fix.splitlines() if line.startswith("state = {")]
    exec("\n".join(lines), names)  # noqa: S102 - the line that users are given to paste
    assert truth(names["state"]) is None


# --- files: what is written by torch.save is read, and the code that is advised is run


class Tied(torch.nn.Module):  # type: ignore[misc,name-defined]
    """A head that is the embedding, and a buffer that is not saved any more."""

    def __init__(self, *, is_old: bool = False) -> None:
        super().__init__()
        self.wte = torch.nn.Embedding(7, 4)
        self.register_buffer("ids", torch.arange(5), persistent=is_old)
        self.lm_head = torch.nn.Linear(4, 7, bias=False)
        self.lm_head.weight = self.wte.weight


def tied_once() -> dict[str, Any]:
    return {"wte.weight": torch.ones(7, 4)}


def checkpoint() -> dict[str, Any]:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    parallel = torch.nn.DataParallel(model)
    return {"epoch": 3, "optimizer": optimizer.state_dict(), "net": parallel.state_dict()}


FILES: dict[str, tuple[Callable[[], Any], Callable[[], Any], tuple[str, ...]]] = {
    "a checkpoint of DataParallel beside its optimizer": (net, checkpoint, ()),
    "tied weights that were saved once": (Tied, tied_once, ()),
    "a buffer that is not saved any more": (Tied, lambda: Tied(is_old=True).state_dict(), ()),
    "another head": (net, lambda: net(classes=9).state_dict(), ("2.0.weight", "2.0.bias")),
    "another head, of DataParallel": (
        net,
        lambda: torch.nn.DataParallel(net(classes=9)).state_dict(),
        ("2.0.weight", "2.0.bias"),
    ),
    "a layer that is missing, one too many": (
        net,
        lambda: {**without("0.bias"), "extra.weight": torch.ones(3)},
        ("0.bias",),
    ),
    "twenty keys too many": (
        net,
        lambda: {**net().state_dict(), **{f"more.{n}": torch.ones(n) for n in range(1, 21)}},
        (),
    ),
    "a whole model": (net, lambda: net(classes=9), ("2.0.weight", "2.0.bias")),
    "two deep, of DataParallel": (
        net,
        lambda: {"state": {"net.params": torch.nn.DataParallel(net()).state_dict(), "step": 1}},
        (),
    ),
    "in a list": (net, lambda: {"models": [torch.nn.DataParallel(net()).state_dict()]}, ()),
    "a pickled model in a checkpoint": (
        net,
        lambda: {"epoch": 1, "model": net(classes=9), "ema": None},
        ("2.0.weight", "2.0.bias"),
    ),
    "beside a value that weights_only refuses": (
        net,
        lambda: {
            "args": argparse.Namespace(lr=1),
            "net": torch.nn.DataParallel(net()).state_dict(),
        },
        (),
    ),
}


def report_on_file(model: Any, path: Path) -> Report:
    contents = read(path)
    return compare_with_file(
        state_keys(model), keys_of(contents.entries), model=type(model).__name__, file=path.name,
        modules=module_paths(model), unsaved=unsaved_buffers(model), versions=contents.versions,
        origin=Origin(
            str(path), contents.format, refused(contents.globals), bool(contents.dangerous),
            contents.models,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_the_advised_code_loads_all_that_the_file_has(case: str, tmp_path: Path) -> None:
    make_model, make_saved, untouched = FILES[case]
    path = tmp_path / "weights.pt"
    torch.save(make_saved(), path)
    model = make_model()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, -7.0)

    report = report_on_file(model, path)

    (code,) = {fix for it in report.of(Status.FAIL) for fix in it.verdict.fix}
    exec(code, {"torch": torch, "model": model})  # noqa: S102 - it is what a user would paste
    left = [name for name, it in model.named_parameters() if bool((it == -7.0).all())]
    assert tuple(left) == untouched
    assert all(f"as initialised, to be trained: {name[:3]}" in code for name in untouched[:1])


def without_counters(**changes: Any) -> Any:
    """A state dict that torch wrote, its versions kept."""
    state = net().state_dict()
    for name in [name for name in state if "num_batches" in name]:
        del state[name]
    for name, value in changes.items():
        setattr(state, name, value)
    return state


VERSIONED: dict[str, Callable[[], Any]] = {
    "versions kept": without_counters,
    "versions lost": lambda: dict(without_counters()),
    "old versions": lambda: without_counters(_metadata={"": {"version": 1}, "1": {"version": 1}}),
}


@pytest.mark.parametrize("is_legacy", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("name", VERSIONED)
def test_the_versions_in_a_file_decide_what_torch_fills_in(
    name: str, depth: int, is_legacy: bool, tmp_path: Path
) -> None:
    saved: Any = VERSIONED[name]()
    for level in range(depth):
        saved = {f"level{level}": saved, "other": 1}
    path = tmp_path / "weights.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=not is_legacy)
    loaded = torch.load(path, weights_only=True)
    for level in reversed(range(depth)):
        loaded = loaded[f"level{level}"]

    report = report_on_file(net(), path)

    assert bool(report.of(Status.FAIL)) is (truth(loaded) is not None)


def test_an_optimizers_state_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.pt"
    torch.save(checkpoint()["optimizer"], path)

    report = report_on_file(net(), path)

    assert "optimizer's state" in report.headline
    assert read(path).parameters == 0


def test_the_right_part_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    torch.save({"ema": {"x": torch.ones(1)}, "state_dict": net().state_dict()}, path)

    report = report_on_file(net(), path)

    assert (
        report.headline
        == 'load_state_dict would work: all 9 keys of the file\'s ["state_dict"] match'
    )
    assert report.totals["group"] == "state_dict"
    assert report.exit_code() == 0


def test_an_adapter_and_packed_weights_are_told_from_a_damaged_checkpoint() -> None:
    lora = {f"base_model.model.0.lora_{it}.weight": torch.ones(2, 3) for it in "AB"}
    packed = {f"0.{it}": torch.ones(2).int() for it in ("qweight", "qzeros", "scales", "g_idx")}

    told = [report_on(state) for state in (lora, packed, {"a.b": torch.ones(9)})]

    assert "holds an adapter (LoRA)" in told[0].headline
    assert "packed by GPTQ or AWQ" in told[1].headline
    assert "another model" in told[2].headline
    assert not any(
        "load_state_dict(" in fix for it in told for f in it.findings for fix in f.verdict.fix
    )


def test_the_table_tells_every_key_that_differs_and_text_folds_them() -> None:
    state = {**without("0.bias"), **{f"deep.{n}.weight": torch.ones(2) for n in range(50)}}

    report = report_on(state)

    rows = {row["key"]: row for row in report.tables[0].rows}
    assert rows["0.bias"]["status"] == "missing"
    assert sum(row["status"] == "unexpected" for row in rows.values()) == 50
    assert [row["key"] for row in report.views[0].rows] == [
        "0.bias",
        "deep.0\N{EN DASH}49.weight (x50)",
    ]


def test_another_dtype_is_no_fault_and_is_told() -> None:
    report = report_on(CASES["another dtype"]())

    assert report.status == "ok"
    assert {"area": "dtypes", "value": "8 tensors are float16 in the file and float32 in the model: "
            "load_state_dict converts"} in report.views[-1].rows  # fmt: skip
