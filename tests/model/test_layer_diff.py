"""Truth: models that were changed by hand in one known place."""

from __future__ import annotations

import time
from typing import Any

import pytest

from torchkit.model.layer_diff import Match, align
from torchkit.model.layers import Layer, layers

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.torch


class Block(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.act = nn.ReLU()
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Any) -> Any:
        return x + self.down(self.act(self.up(self.norm(x))))


class Net(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, *, blocks: int = 3, classes: int = 5, act: Any = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.act = act()
        self.head = nn.Linear(8, classes)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.act(x))


class Wrapper(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, inside: Any) -> None:
        super().__init__()
        self.backbone = inside
        self.top = nn.Linear(5, 2)

    def forward(self, x: Any) -> Any:
        return self.top(self.backbone(x))


def layers_of(model: Any) -> list[Layer]:
    from torchkit.model.recorder import record

    return layers(record(model.eval(), (torch.ones(2, 4),), {}))


def told(one: Any, other: Any) -> list[tuple[str, str | None, str | None, tuple[str, ...]]]:
    """Status, both paths and what changed, of the rows that are the reason of a difference."""
    return [
        (
            it.status,
            None if it.one is None else it.one.path,
            None if it.other is None else it.other.path,
            it.own,
        )
        for it in align(layers_of(one), layers_of(other))
        if it.own or (it.status in ("added", "removed") and not it.is_inside)
    ]


def test_equal_models_have_no_differences() -> None:
    rows = align(layers_of(Net()), layers_of(Net()))

    assert {it.status for it in rows} == {"same"}
    assert len(rows) == 20


def test_another_head_is_the_one_layer_that_changed() -> None:
    found = told(Net(), Net(classes=9))

    assert found == [
        ("changed", "head", "head", ("sizes", "output", "params", "trainable", "FLOPs"))
    ]


def test_more_blocks_are_added_whole_and_the_list_itself_is_not_blamed() -> None:
    found = told(Net(), Net(blocks=5))

    assert found == [("added", None, "blocks.3", ()), ("added", None, "blocks.4", ())]
    assert [it[0] for it in told(Net(blocks=5), Net())] == ["removed", "removed"]


def test_another_activation_changes_its_type_alone() -> None:
    assert told(Net(), Net(act=nn.GELU)) == [("changed", "act", "act", ("type",))]


def test_a_layer_put_in_front_does_not_make_the_others_differ() -> None:
    before = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    after = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

    rows = align(layers_of(before), layers_of(after))

    assert told(before, after) == [("added", None, "0", ())]
    shifted = [(it.one.path, it.other.path) for it in rows if it.one and it.other and it.one.path]
    assert shifted == [("0", "1"), ("1", "2"), ("2", "3")]


def test_a_model_inside_another_one_has_moved_as_a_whole() -> None:
    found = told(Net(), Wrapper(Net()))

    assert found == [
        ("added", None, "", ()),
        ("changed", "", "backbone", ("path",)),
        ("added", None, "top", ()),
    ]


def test_layers_that_moved_under_another_module_are_found_there() -> None:
    found = told(Net(), Wrapper(Net(classes=5, blocks=2)))

    moved = {(one, other) for status, one, other, _ in found if status == "changed" and one}
    assert {("stem", "backbone.stem"), ("head", "backbone.head")} <= moved


def test_a_layer_that_got_a_shell_has_moved_into_it() -> None:
    one, other = Net(), Net()
    other.head = nn.Sequential(nn.Dropout(), other.head)

    found = told(one, other)

    assert ("changed", "head", "head.1", ("path",)) in found
    assert ("added", None, "head.0", ()) in found


def test_every_layer_has_exactly_one_row() -> None:
    one, other = layers_of(Net(act=nn.GELU)), layers_of(Wrapper(Net(blocks=4, classes=5)))

    rows: list[Match] = align(one, other)

    assert sorted(it.one.path for it in rows if it.one) == sorted(it.path for it in one)
    assert sorted(it.other.path for it in rows if it.other) == sorted(it.path for it in other)


def test_a_model_without_rows_is_removed_or_added() -> None:
    some = layers_of(nn.Linear(4, 2))

    assert [it.status for it in align(some, [])] == ["removed"]
    assert [it.status for it in align([], some)] == ["added"]


@pytest.mark.parametrize("change", ["same", "one more", "all others"])
def test_ten_thousand_layers_take_seconds_at_most(change: str) -> None:
    one = layers_of(Net())[:1]
    block = layers_of(nn.Linear(4, 2))[0].row() | {"depth": 1}
    size = 10_000
    ours = one + [Layer(**(block | {"path": f"b{n % 9}.{n}"})) for n in range(size)]
    changed = {"own_params": 3} if change == "all others" else {}
    more = change == "one more"
    theirs = one + [
        Layer(**(block | changed | {"path": f"b{n % 9}.{n + more}"})) for n in range(size)
    ]
    start = time.process_time()

    align(ours, theirs)

    assert time.process_time() - start < 5
