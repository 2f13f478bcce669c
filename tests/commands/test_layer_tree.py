"""The tree of layers: folded where neighbours are equal, and every number of it adds up."""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.commands.layer_tree import COLUMNS, deepest, layer_view, quantity, tree
from torchkit.model.layers import Layer


def layer(path: str, type_name: str = "Linear", **changes: Any) -> Layer:
    given: dict[str, Any] = {
        "path": path, "type": type_name, "description": type_name, "depth": path.count(".") + 1,
        "input_shapes": [[1, 4]], "output_shapes": [[1, 4]], "params": 20, "own_params": 20,
        "trainable_params": 20, "buffers": 0, "flops": 32, "calls": 1, "shared_with": None,
        "status": "ok",
    }  # fmt: skip
    return Layer(**(given | changes))


def block(path: str, **changes: Any) -> list[Layer]:
    return [
        layer(path, "Block", params=40, own_params=0, flops=64),
        layer(f"{path}.a"),
        layer(f"{path}.b", **changes),
    ]


def net(*parts: list[Layer]) -> list[Layer]:
    inside = [one for part in parts for one in part]
    total = sum(one.params for one in inside if one.depth == 1)
    return [layer("", "Net", params=total, own_params=0), *inside]


def rows(layers: list[Layer], depth: int = 9) -> list[dict[str, Any]]:
    return [dict(row) for row in layer_view(tree(layers), depth=depth, columns=COLUMNS).rows]


def labels(layers: list[Layer], depth: int = 9) -> list[str]:
    return [row["layer"] for row in rows(layers, depth)]


def test_a_tree_is_drawn_by_path() -> None:
    assert labels(net([layer("stem", "Sequential"), layer("stem.0"), layer("stem.1", "ReLU")])) == [
        "Net",
        "└─ stem",
        "   ├─ 0",
        "   └─ 1",
    ]


def test_equal_neighbours_are_folded_and_their_numbers_added() -> None:
    blocks = [one for number in range(4) for one in block(f"layers.{number}")]
    container = layer("layers", "ModuleList", params=160, own_params=0)

    found = rows(net([container, *blocks], [layer("head", params=5)]))

    assert [row["layer"] for row in found] == [
        "Net",
        "├─ layers.0\N{EN DASH}3",
        "│  ├─ a",
        "│  └─ b",
        "└─ head",
    ]
    assert found[1]["type"] == "Block (x4)"
    assert found[1]["params"] == "160"
    assert found[2]["params"] == "80"
    assert found[2]["type"] == "Linear (x4)"


def test_what_differs_in_one_number_is_not_folded() -> None:
    unequal = [*block("layers.0"), *block("layers.1", params=21), *block("layers.2")]

    assert labels(net([layer("layers", "ModuleList"), *unequal]), depth=2) == [
        "Net",
        "└─ layers",
        "   ├─ 0 …",
        "   ├─ 1 …",
        "   └─ 2 …",
    ]


def test_a_gap_in_the_numbers_is_not_folded() -> None:
    gap = [layer("layers", "ModuleDict"), layer("layers.0"), layer("layers.2")]

    assert labels(net(gap)) == ["Net", "└─ layers", "   ├─ 0", "   └─ 2"]


def test_nothing_is_shown_below_the_depth_and_what_has_more_inside_is_marked() -> None:
    layers = net(block("a"), block("b"), [layer("c")])

    assert labels(layers, depth=1) == ["Net", "├─ a …", "├─ b …", "└─ c"]
    assert labels(layers, depth=0) == ["Net …"]
    assert "…" not in "".join(labels(layers, depth=2))
    assert deepest(tree(layers)) == 2


def test_the_way_to_the_layer_that_failed_is_shown_below_the_depth() -> None:
    failed = {"status": "failed", "output_shapes": []}
    layers = net(
        [
            layer("a", **failed),
            layer("a.b", **failed),
            layer("a.b.fine"),
            layer("a.b.bad", **failed),
        ],
        block("c"),
    )

    found = rows(layers, depth=1)

    assert [row["layer"] for row in found] == [
        "Net",
        "├─ a",
        "│  └─ b …",
        "│     └─ bad",
        "└─ c …",
    ]
    assert found[3]["output"] == "FAILED"


def test_a_tied_weight_is_marked_and_stands_in_the_row_of_its_first_use() -> None:
    tied = {"shared_with": "embedding", "tied": ("weight",)}
    found = rows(
        [
            layer("", "Net", params=25, own_params=0),
            layer("embedding"),
            layer("head", own_params=5, params=25, **tied),
            layer("other", own_params=0, **tied),
        ]
    )

    assert [row["type"] for row in found[2:]] == 2 * ["Linear (weight of embedding)"]
    assert [row["params"] for row in found] == ["25", "20", "5", ""]
    assert found[2]["output"] == "[1, 4]"


def test_a_path_that_only_begins_alike_is_no_child() -> None:
    assert labels(net([layer("conv"), layer("conv1"), layer("conv1.x")])) == [
        "Net",
        "├─ conv",
        "└─ conv1",
        "   └─ x",
    ]


def test_reuse_failure_and_what_never_ran_are_marked() -> None:
    found = rows(
        net(
            [layer("head", calls=3)],
            [layer("tied", shared_with="head", calls=0, output_shapes=[], status="not-run")],
            [layer("unused", status="not-run", output_shapes=[], calls=0)],
            [layer("bad", status="failed", output_shapes=[])],
        )
    )

    assert found[1]["type"] == "Linear (3 calls)"
    assert found[2]["type"] == "Linear (is head)"
    assert found[3]["output"] == "not run"
    assert found[4]["output"] == "FAILED"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (7, "7"),
        (999, "999"),
        (1_000, "1 k"),
        (1_280, "1.28 k"),
        (999_499, "999 k"),
        (999_999, "1 M"),
        (9_100_000_000, "9.1 G"),
        (456_000_000, "456 M"),
        (17_600_000_000_000, "17.6 T"),
        (3_200_000_000_000_000_000, "3200 P"),
    ],
)
def test_quantities_have_three_digits_and_a_unit(count: int, text: str) -> None:
    assert quantity(count) == text
