"""`torchkit snoop model.py:Net --input …`: the forward and backward of a model, without a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from running import SNOOP, Ran, ran

pytest.importorskip("torch")

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, features=1600):
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(4)
        self.fc = nn.Linear(features, 10)

    def forward(self, x):
        x = self.pool(self.conv(x))
        return self.fc(x.flatten(1))


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad @ (3 * x ** 2)


class Cubed(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return Cube.apply(x * self.scale)


class Hooked(Cubed):
    def forward(self, x):
        y = x * self.scale
        y.register_hook(lambda grad: grad + torch.ones(7))
        return y.sum()


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad[:, :2]


class Half(Cubed):
    def forward(self, x):
        return Halved.apply(x * self.scale)


class Changed(Cubed):
    def forward(self, x):
        print("forward")
        y = torch.sigmoid(x * self.scale)
        y += 1
        return y


class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit("no more")


class Frozen(nn.Module):
    def forward(self, x):
        return x.detach()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL, "utf-8")
    return tmp_path


def told(folder: Path, *arguments: str) -> tuple[Ran, dict[str, Any]]:
    """How it ended, and the first finding with its evidence by name."""
    end = ran(SNOOP, ["--report", "r.json", *arguments], folder)
    data = json.loads((folder / "r.json").read_text("utf-8"))
    finding = data["findings"][0]
    return end, {**finding, **{it["name"]: it["value"] for it in finding["evidence"]}}


def test_a_forward_that_breaks_is_told_with_its_line_and_cure(folder: Path) -> None:
    end, finding = told(folder, "model.py:Net", "--input", "1,28,28", "--batch-size", "20")

    assert (end.status, end.stdout) == (1, b"")
    assert finding["expression"] == "self.fc(x.flatten(1))"
    assert finding["operand x.flatten(1)"].startswith("float32 [20, 1568] cpu")
    assert "self.fc = nn.Linear(1568, 10)" in finding["fix"][0]


def test_arguments_of_the_target_reach_it_and_a_model_that_works_says_nothing(folder: Path) -> None:
    end = ran(SNOOP, ["model.py:Net(1568)", "--input", "1,28,28", "--backward"], folder)

    assert end == Ran(0, b"", b"")


def test_a_backward_of_ones_own_is_told_by_its_own_line(folder: Path) -> None:
    end, finding = told(folder, "model.py:Cubed", "--input", "4", "--backward", "--batch-size", "3")

    assert end.status == 1
    assert finding["function"].endswith("backward")
    assert finding["expression"] == "grad @ (3 * x ** 2)"
    assert finding["operand grad"].startswith("float32 [3, 4]")


def test_a_hook_is_told_by_its_own_line(folder: Path) -> None:
    end, finding = told(folder, "model.py:Hooked", "--input", "4", "--backward")

    assert end.status == 1
    assert finding["expression"] == "grad + torch.ones(7)"


def test_a_gradient_of_a_wrong_shape_is_told_by_the_line_that_returns_it(folder: Path) -> None:
    end, finding = told(folder, "model.py:Half", "--input", "4", "--backward")

    line = 1 + MODEL[: MODEL.index("return grad[:, :2]")].count("\n")
    assert end.status == 1
    assert (finding["file"], finding["line"]) == ("model.py", str(line))
    assert (finding["function"], finding["expression"]) == ("Halved.backward", "grad[:, :2]")
    assert finding["exception"].startswith("RuntimeError: Function HalvedBackward")
    assert b"snoop_target" not in end.stderr


def test_a_change_in_place_names_the_command_that_tells_both_lines(folder: Path) -> None:
    end, finding = told(folder, "model.py:Changed", "--input", "4", "--backward")

    command = "torchkit snoop --inplace --report r.json model.py:Changed --input 4 --backward"
    assert (end.status, end.stdout) == (1, b"forward\n"), "the model ran once"
    assert finding["id"] == "autograd-inplace-modified"
    assert command in end.stderr.decode()


def test_that_command_tells_both_lines(folder: Path) -> None:
    _, finding = told(folder, "--inplace", "model.py:Changed", "--input", "4", "--backward")

    assert (finding["id"], finding["expression"]) == ("inplace-modified", "y += 1")


def test_no_frame_of_ours_is_before_the_models_own(folder: Path) -> None:
    (folder / "model.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def forward(self, x):\n        raise KeyError('mine')\n",
        "utf-8",
    )

    end = ran(SNOOP, ["model.py:Net", "--input", "4"], folder)

    words = end.stderr.decode().splitlines()
    assert words[0] == "Traceback (most recent call last):"
    assert "model.py" in words[1]
    assert "KeyError: 'mine'" in words


def test_a_forward_alone_is_not_a_backward(folder: Path) -> None:
    end = ran(SNOOP, ["model.py:Cubed", "--input", "4"], folder)

    assert end == Ran(0, b"", b"")


def test_a_model_that_leaves_has_its_own_status(folder: Path) -> None:
    end = ran(SNOOP, ["model.py:Leaves", "--input", "4"], folder)

    assert end == Ran(1, b"", b"no more\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.py:Frozen", "--input", "4", "--backward"], b"nothing that forward gives"),
        (["model.py:Absent", "--input", "4"], b"Absent"),
        (["model.py:Net", "again", "--input", "4"], b"one argument too many"),
        (["model.py", "--input", "4"], None),
        (["--input", "4", "model.py"], b"for a model such as"),
    ],
)
def test_what_cannot_be_run_is_bad_usage(
    arguments: list[str], words: bytes | None, folder: Path
) -> None:
    end = ran(SNOOP, arguments, folder)

    if words is None:  # what follows a script is the script's
        assert end.status == 0
    else:
        assert (end.status, end.stderr[:6]) == (2, b"error:")
        assert words in end.stderr


def test_nan_is_hunted_in_a_model(folder: Path) -> None:
    (folder / "model.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def forward(self, x):\n        x = x * 0\n        return x / x\n",
        "utf-8",
    )

    end, finding = told(folder, "--nan", "model.py:Net", "--input", "4")

    assert (end.status, finding["id"]) == (1, "first-nan")
    assert finding["expression"] == "x / x"
