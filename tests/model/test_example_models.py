"""Each example model does what its first line says."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torchkit.model.inputs import Inputs, check, make_inputs, parse  # noqa: E402 - after torch
from torchkit.model.target import find, make  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]


def from_first_line(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Inputs]:
    """The model and the inputs that the example's own command names."""
    monkeypatch.chdir(ROOT)
    docstring = ast.get_docstring(ast.parse((ROOT / "examples" / name).read_text("utf-8"))) or ""
    program, command, target, *options = shlex.split(docstring.splitlines()[0])
    assert (program, command) == ("torchkit", "summary")
    pairs = list(zip(options[::2], options[1::2], strict=True))
    specs = [parse(value) for option, value in pairs if option == "--input"]
    sizes = [int(value) for option, value in pairs if option == "--batch-size"]
    model = make(find(target))
    inputs = make_inputs(specs, batch_size=sizes[0] if sizes else 1)
    check(model, inputs)
    return model.eval(), inputs


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        # stem 32*9 + 64, five blocks of 2 * (32*32*9 + 64), head 32*2 + 2
        ("usnet.py", (20, 2), 352 + 5 * 18_560 + 66),
        # embedding, two layers of two directions with 4 gates and two biases, head
        ("lstm.py", (1, 32, 17), 5000 * 64 + 2 * 4 * 64 * (64 + 64 + 2) + 2 * 4 * 64 * (128 + 64 + 2) + 128 * 17 + 17),
        # two embeddings, four layers (attention, 128 to 2048 and back, two norms), head
        ("transformer.py", (1, 4), 128 * 8512 + 4 * (4 * (128 * 128 + 128) + 2 * 128 * 2048 + 2048 + 128 + 4 * 128) + 4 * 128 + 4),
    ],
)  # fmt: skip
def test_an_example_gives_the_shape_it_promises(
    name: str, shape: tuple[int, ...], parameters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = from_first_line(name, monkeypatch)

    outputs = model(*inputs.args, **inputs.kwargs)

    assert outputs.shape == shape
    assert sum(it.numel() for it in model.parameters()) == parameters


def test_the_broken_example_breaks_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = from_first_line("broken_head.py", monkeypatch)

    with pytest.raises(RuntimeError, match="1x1568 and 1600x10"):
        model(*inputs.args)
