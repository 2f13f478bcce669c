"""The rows of the table `layers`: what containers, tied weights and shared modules say."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - torch first

from torchkit.model.layers import Layer, layers  # noqa: E402
from torchkit.model.recorder import record  # noqa: E402

pytestmark = pytest.mark.torch


def rows(model: Any, *args: Any) -> dict[str, Layer]:
    return {it.path: it for it in layers(record(model, args))}


class Listed(nn.Module):
    """Containers that are never called themselves, with and without children that are."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"list": nn.ModuleList([nn.Linear(4, 4), nn.Linear(width, 4)])})
        self.spare = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, x: Any) -> Any:
        for layer in self.inner["list"]:
            x = layer(x)
        return x


FC = 2 * 4 * 4
"""FLOPs of one of the layers on one row."""


def test_a_container_whose_children_run_has_run_and_has_their_flops() -> None:
    found = rows(Listed(), torch.ones(1, 4))

    assert [found[path].status for path in ("inner", "inner.list")] == ["ok", "ok"]
    assert [found[path].flops for path in ("inner", "inner.list")] == [2 * FC, 2 * FC]
    assert found["inner.list"].calls == 0
    assert (found["spare"].status, found["spare"].flops) == ("not-run", 0)


def test_a_container_of_the_layer_that_failed_has_failed() -> None:
    found = rows(Listed(5), torch.ones(1, 4))

    status = {path: it.status for path, it in found.items()}
    assert status == {
        "": "failed", "inner": "failed", "inner.list": "failed", "inner.list.0": "ok",
        "inner.list.1": "failed", "spare": "not-run", "spare.0": "not-run",
    }  # fmt: skip


def test_flops_of_a_container_count_a_call_inside_a_call_once() -> None:
    class Wraps(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    fc = nn.Linear(4, 4)
    model = nn.Module()
    model.parts = nn.ModuleList([fc, Wraps(fc)])
    model.forward = model.parts[1].__call__

    found = rows(model, torch.ones(1, 4))

    assert found["parts"].flops == FC
    assert found[""].flops == FC


class Tied(nn.Module):
    """A head whose weight is the embedding's, with a bias of its own, and a module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.first = nn.Linear(4, 4)
        self.again = self.first
        self.head = nn.Linear(4, 10)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Any) -> Any:
        return self.head(self.again(self.first(self.embedding(ids))))


def test_tied_weights_and_shared_modules_name_their_first_use() -> None:
    found = rows(Tied(), torch.zeros(1, 3, dtype=torch.int64))

    assert {path: it.shared_with for path, it in found.items() if it.shared_with} == {
        "head": "embedding",
        "again": "first",
    }
    assert found["head"].tied == ("weight",)
    assert found["again"].tied == ()


def test_own_parameters_add_up_to_the_models_whatever_is_shared() -> None:
    model = Tied()

    found = rows(model, torch.zeros(1, 3, dtype=torch.int64))

    assert sum(it.own_params for it in found.values()) == sum(
        it.numel() for it in model.parameters()
    )
    assert found["head"].params == 4 * 10 + 10
    assert found["head"].own_params == 10
