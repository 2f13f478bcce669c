"""Checkpoints that load_state_dict treats by more than names and shapes. The judge is torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchkit.commands.summary import Question
from torchkit.commands.summary_compare import compared
from torchkit.errors import BadInput
from torchkit.report import Report, Status

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

MODELS = """
from torch import nn


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(4, 4)


class Hooked(Plain):
    def __init__(self):
        super().__init__()
        self._register_load_state_dict_pre_hook(rename)


def rename(state, *_):
    for key in [it for it in state if it.startswith("old.")]:
        state["l." + key[4:]] = state.pop(key)


class Legacy(Plain):
    def _load_from_state_dict(self, state, *rest):
        rename(state)
        super()._load_from_state_dict(state, *rest)


class Values(Plain):
    def _load_from_state_dict(self, state, *rest):
        if state["l.bias"].sum().item() < 1e9:
            super()._load_from_state_dict(state, *rest)


class Extra(Plain):
    def get_extra_state(self):
        return {"v": 1}

    def set_extra_state(self, state):
        pass


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.LazyLinear(4)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
"""


def plain(prefix: str = "l.") -> dict[str, Any]:
    return {prefix + key: it for key, it in torch.nn.Linear(4, 4).state_dict().items()}


def old_weight_norm() -> dict[str, Any]:
    weight = torch.nn.Linear(4, 4).weight.detach()
    return {
        "l.bias": torch.ones(4),
        "l.weight_g": weight.norm(dim=1, keepdim=True),
        "l.weight_v": weight,
    }


CASES: dict[str, tuple[str, Callable[[], Any]]] = {
    "a number beside the tensors": ("Plain", lambda: {**plain(), "epoch": 3}),
    "a dictionary beside the tensors": ("Plain", lambda: {**plain(), "args": {"lr": 1}}),
    "an extra state that is missing": ("Extra", plain),
    "an extra state": ("Extra", lambda: {**plain(), "_extra_state": {"v": 1}}),
    "an extra state that nobody takes": ("Plain", lambda: {**plain(), "_extra_state": {"v": 1}}),
    "a hook that renames": ("Hooked", lambda: plain("old.")),
    "a hook that has nothing to do": ("Hooked", plain),
    "a hook that does not know the keys": ("Hooked", lambda: plain("new.")),
    "a method that renames": ("Legacy", lambda: plain("old.")),
    "lazy": ("Lazy", plain),
    "lazy on both sides": ("Lazy", lambda: torch.nn.ModuleDict({"l": torch.nn.LazyLinear(4)}).state_dict()),
    "an old weight norm": ("Normed", old_weight_norm),
    "weights before the weight norm": ("Normed", plain),
}  # fmt: skip


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models_that_load.py"
    path.write_text(MODELS)
    return path


def report_on(models: Path, name: str, saved: Any) -> Report:
    file = models.with_name("weights.pt")
    torch.save(saved, file)
    return compared(Question(f"{models}:{name}", compare=str(file)))


def loads(name: str, state: Any) -> bool:
    names: dict[str, Any] = {"__name__": "models"}
    exec(MODELS, names)  # noqa: S102 - the models of this file
    try:
        names[name]().load_state_dict(copy.copy(state))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_that_of_the_models_own_load_state_dict(case: str, models: Path) -> None:
    name, make = CASES[case]
    saved = make()

    report = report_on(models, name, saved)

    assert report.totals["loads"] is loads(name, saved)
    assert bool(report.of(Status.FAIL)) is not report.totals["loads"]
    assert report.headline.startswith("load_state_dict would ")


def test_code_that_needs_the_values_is_not_predicted(models: Path) -> None:
    report = report_on(models, "Values", plain())

    assert report.headline == ("not predicted: the model has loading code of its own (Values)")
    assert report.totals["loads"] is None
    assert not report.of(Status.FAIL)


def test_nobody_is_told_to_drop_weights_that_have_another_form(models: Path) -> None:
    report = report_on(models, "Normed", plain())

    fixes = [fix for it in report.of(Status.FAIL) for fix in it.verdict.fix]
    assert not any("pop" in fix or "strict=False" in fix for fix in fixes)
    assert "in another form" in report.headline


def test_a_list_of_tensors_is_no_state_dict(models: Path) -> None:
    with pytest.raises(BadInput, match="takes a dictionary"):
        report_on(models, "Plain", list(plain().values()))
