"""Two models beside each other, and two files: what is read, and what programs read."""

from __future__ import annotations

from typing import Any

from torchkit.commands.compare_files import compare_files
from torchkit.commands.compare_layers import compare_models
from torchkit.commands.key_folding import fold, told
from torchkit.model.keys import Key
from torchkit.model.layers import Layer
from torchkit.render import Options, Style
from torchkit.render.text import render
from torchkit.report import Report


def layer(path: str, kind: str = "Linear", **changes: Any) -> Layer:
    given: dict[str, Any] = {
        "path": path, "type": kind, "description": f"{kind} 4→4" if path else kind,
        "depth": path.count(".") + bool(path), "input_shapes": [[1, 4]], "output_shapes": [[1, 4]],
        "params": 20, "own_params": 20 if path else 0, "trainable_params": 20, "buffers": 0,
        "flops": 32, "calls": 1, "shared_with": None, "status": "ok",
    }  # fmt: skip
    return Layer(**(given | changes))


def model(count: int, **changes: Any) -> list[Layer]:
    """A model of so many equal layers in a list."""
    root = layer("", "Net", params=20 * count, trainable_params=20 * count, flops=32 * count)
    return [root, *(layer(str(number), **changes) for number in range(count))]


def totals(count: int) -> dict[str, Any]:
    return {
        "params": 20 * count,
        "flops": 32 * count,
        "param_bytes": 80 * count,
        "propagation": "real",
    }


def compared(one: int, other: int) -> Report:
    return compare_models(
        model(one), model(other), names=("small", "large"), totals=(totals(one), totals(other))
    )


def as_text(report: Report, width: int | None = 80) -> str:
    return render(report, Options(style=Style(width=width)))


def test_equal_models_are_one_line() -> None:
    report = compared(3, 3)

    assert as_text(report).strip() == (
        "no difference: small and large have the same 4 layers, 60 parameters"
    )
    assert report.tables[0].rows == ()


def test_differences_are_no_fault() -> None:
    report = compared(2, 5)

    assert (report.status, report.exit_code(strict=True), report.findings) == ("ok", 0, ())


def test_what_was_added_is_folded_and_both_totals_stand_beside_each_other() -> None:
    report = compared(2, 5)

    lines = [line.split() for line in as_text(report, None).splitlines()]
    assert report.headline.startswith("small → large: 3 layers added · parameters +60 (+150 %)")
    assert [
        "2\N{EN DASH}4",
        "(x3)",
        "added",
        "Linear",
        "4→4",
        "·",
        "[1,",
        "4]",
        "·",
        "20",
        "params",
    ] in lines
    assert ["parameters", "40", "100", "+60", "+150", "%"] in lines


def test_a_row_has_both_sides_and_totals_have_the_difference() -> None:
    one, other = model(1), model(1, description="Linear 4→9", output_shapes=[[1, 9]])

    report = compare_models(one, other, names=("a", "b"), totals=(totals(1), totals(2)))

    (row,) = report.tables[0].rows
    assert (row["path"], row["other_path"], row["status"]) == ("0", "0", "changed")
    assert row["what"] == ["sizes", "output"]
    assert (row["output_shapes"], row["other_output_shapes"]) == ([[1, 4]], [[1, 9]])
    assert report.totals["difference"] == {"params": 20, "flops": 32, "param_bytes": 80}


def test_no_line_is_wider_than_the_terminal() -> None:
    report = compared(2, 40)

    for width in (80, 200):
        assert max(map(len, as_text(report, width).splitlines())) <= width


# --- two files


def key(name: str, *shape: int, dtype: str = "float32", group: str = "") -> Key:
    return Key(name, shape, dtype, group=group)


ONE = (key("a.weight", 4, 4), key("a.bias", 4), key("b.weight", 2, 4), key("b.bias", 2))


def test_equal_files_are_told_so() -> None:
    report = compare_files(ONE, ONE, names=("x.pt", "y.pt"))

    assert report.headline == "the same 4 tensors by name, shape and dtype"


def test_tensors_added_removed_and_changed_are_rows() -> None:
    other = (
        key("a.weight", 4, 4, dtype="float16"),
        key("a.bias", 4),
        key("b.weight", 3, 4),
        key("c", 1),
    )

    report = compare_files(ONE, other, names=("x.pt", "y.pt"))

    assert {row["key"]: row["status"] for row in report.tables[0].rows} == {
        "b.bias": "removed",
        "c": "added",
        "b.weight": "shape-differs",
        "a.weight": "dtype-differs",
    }
    assert report.headline == (
        "1 tensor is the same, 1 only in x.pt, 1 only in y.pt, 1 of another shape, 1 of another dtype"
    )
    assert report.exit_code(strict=True) == 0


def test_files_that_differ_in_a_prefix_are_the_same_tensors() -> None:
    other = tuple(it._replace(name=f"module.{it.name}") for it in ONE)

    report = compare_files(ONE, other, names=("x.pt", "y.pt"))

    assert report.headline == (
        "the same 4 tensors by name, shape and dtype after removing the prefix module. from every "
        "key of y.pt"
    )
    assert {row["status"] for row in report.tables[0].rows} == {"renamed"}


def test_a_norms_counter_that_is_in_one_file_alone_is_a_difference() -> None:
    one = (*ONE, key("n.running_mean", 4), key("n.num_batches_tracked", dtype="int64"))

    report = compare_files(one, one[:-1], names=("x.pt", "y.pt"))

    assert [row["status"] for row in report.tables[0].rows] == ["removed"]


def test_two_files_of_one_name_are_told_apart() -> None:
    report = compare_files(ONE, ONE[:2], names=("w.pt", "w.pt"))

    assert report.views[0].columns[-2:] == ("w.pt (1)", "w.pt (2)")


# --- folding


def test_names_that_differ_in_numbers_or_their_last_part_are_one() -> None:
    names = [f"layers.{n}.attn.{last}" for n in range(12) for last in ("weight", "bias")]

    assert told(names, most=5) == "layers.0\N{EN DASH}11.attn.{weight, bias}"
    assert told(["a.0.b", "a.2.b"], most=5) == "a.{0, 2}.b"
    assert told(["x", "y.z", "y.w.v"], most=2) == "x, y.z, and 1 more"


def test_what_is_unlike_is_not_folded() -> None:
    folded = fold([("a.0.w", (4,)), ("a.1.w", (4,)), ("a.2.w", (9,))])

    assert [(it.label, it.size) for it in folded] == [("a.0\N{EN DASH}1.w", 2), ("a.2.w", 1)]
