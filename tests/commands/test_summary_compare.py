"""Would `load_state_dict` work? The judge is torch's own, verdict and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.commands.compare_keys import compare_with_file
from torchkit.model.keys import Key, module_paths, state_keys, unsaved_buffers
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
