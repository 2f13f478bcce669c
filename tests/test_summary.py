"""`torchkit summary` from the command line and from Python, on models that are files of a user."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SCHEMA = json.loads(
    (Path(__file__).parent.parent / "torchkit/render/report.schema.json").read_text("utf-8")
)

SOURCE = """
import torch
from torch import nn

print("a line that the user's file prints")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return x + torch.relu(self.bn(self.conv(x)))


class Net(nn.Module):
    def __init__(self, features=16):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*[Block(16) for _ in range(4)])
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.spare = nn.Linear(3, 3)
        self.head = nn.Linear(features, 2)

    def forward(self, x):
        return self.head(self.pool(self.blocks(self.stem(x))).flatten(1))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 8)
        self.rnn = nn.LSTM(8, 16, batch_first=True)
        self.out = nn.Linear(16, 5)

    def forward(self, ids, mask=None):
        return self.out(self.rnn(self.embedding(ids))[0])
"""

BLOCK = 16 * 16 * 9 + 16 + 16 + 16
PARAMS = (1 * 16 * 9 + 16) + 4 * BLOCK + (3 * 3 + 3) + (16 * 2 + 2)
FLOPS = 2 * 16 * 16 * (16 * 9) + 4 * 2 * 16 * 16 * (16 * 16 * 9) + 2 * 16 * 2
"""By hand, for one image of 1x32x32: each weight meets each of the 16x16 positions once."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "net.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return "net.py"


def told(ended: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(ended.stdout)
    jsonschema.validate(report, SCHEMA)
    return report


def test_a_model_is_told_in_a_table_with_its_totals(cli: Callable[..., Any], model: str) -> None:
    ended = cli("summary", f"{model}:Net", "--input", "1,32,32", "--batch-size", "20", "--json")

    report = told(ended)
    assert ended.code == 0
    assert report["totals"]["params"] == PARAMS
    assert report["totals"]["flops"] == 20 * FLOPS
    assert report["totals"]["propagation"] == "real"
    rows = {row["path"]: row for row in report["tables"][0]["rows"]}
    assert rows["stem"]["output_shapes"] == [[20, 16, 16, 16]]
    assert rows["blocks.2.conv"]["own_params"] == 16 * 16 * 9 + 16
    assert rows["spare"]["status"] == "not-run"
    assert rows[""]["params"] == PARAMS


def test_text_folds_equal_blocks_and_what_the_user_prints_goes_to_stderr(
    cli: Callable[..., Any], model: str
) -> None:
    ended = cli("summary", f"{model}:Net", "--input", "1,32,32")

    assert ended.code == 0
    assert ended.stdout.startswith("Net · [1, 1, 32, 32] float32 · eval")
    assert "blocks.0\N{EN DASH}3  Block (x4)" in ended.stdout
    assert "not run" in ended.stdout
    assert "a line that the user's file prints" not in ended.stdout


def test_a_forward_that_fails_names_the_layer_what_it_was_given_and_the_cure(
    cli: Callable[..., Any], model: str
) -> None:
    ended = cli("summary", f"{model}:Net(15)", "--input", "1,32,32", "--json")

    report = told(ended)
    (finding,) = report["findings"]
    assert ended.code == 1
    assert finding["id"] == "forward-fails"
    assert finding["message"].startswith("head (Linear) raises RuntimeError: mat1 and mat2")
    assert {"name": "given", "value": "[1, 16] float32", "source": ""} in finding["evidence"]
    assert finding["fix"] == ["Linear(16, 2)"]
    rows = {row["path"]: row for row in report["tables"][0]["rows"]}
    assert rows["head"]["status"] == "failed"
    assert rows["pool"]["output_shapes"] == [[1, 16, 1, 1]]


def test_without_an_input_one_is_worked_out_and_said(cli: Callable[..., Any], model: str) -> None:
    ended = cli("summary", f"{model}:Tagger", "--json")

    report = told(ended)
    assert ended.code == 0
    assert report["totals"]["params"] == 100 * 8 + 4 * 16 * (8 + 16 + 2) + 16 * 5 + 5
    assert any("mbedding" in note for note in report["totals"]["notes"])


def test_a_guess_that_fails_is_no_fault_of_the_model(cli: Callable[..., Any], model: str) -> None:
    ended = cli("summary", f"{model}:Net(15)")

    assert ended.code == 2
    assert "no input worked out for Net runs" in ended.stderr
    assert "--input" in ended.stderr


def test_keyword_inputs_reach_forward_by_name(cli: Callable[..., Any], model: str) -> None:
    ended = cli(
        "summary", f"{model}:Tagger", "--input", "ids=7:int64", "--input", "mask=7:bool", "--json"
    )

    rows = {row["path"]: row for row in told(ended)["tables"][0]["rows"]}
    assert rows["out"]["output_shapes"] == [[1, 7, 5]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("net.py:Nett", "--input", "1,8,8"), "Net"),
        (("nowhere.py:Net",), "nowhere.py"),
        (("net.py:Block", "--input", "16,8,8"), "width"),
        (("net.py:Net", "--input", "1,x"), "1,x"),
        (("net.py:Net", "--columns", "colour", "--input", "1,8,8"), "colour"),
        (("net.py:Net", "--optimizer", "lion", "--input", "1,8,8"), "lion"),
        (("net.py:Net", "--engine", "keras", "--input", "1,8,8"), "keras"),
        (("net.py:Net", "--input", "1,8,8", "--input", "3"), "forward"),
        (("net.py:Net", "--device", "cuda:7", "--input", "1,8,8"), "cuda"),
        (("no-such-file.pt",), "no-such-file.pt"),
    ],
)
def test_what_cannot_be_used_is_refused_in_two_lines(
    cli: Callable[..., Any], model: str, arguments: tuple[str, ...], word: str
) -> None:
    ended = cli("summary", *arguments)

    assert ended.code == 2
    assert ended.stdout == ""
    lines = [line for line in ended.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
    assert len(lines) == 2
    assert word in " ".join(lines)
    assert "Traceback" not in ended.stderr


def test_columns_and_depth_choose_what_text_shows(cli: Callable[..., Any], model: str) -> None:
    ended = cli(
        "summary", f"{model}:Net", "--input", "1,32,32", "--columns", "params,path", "--depth", "1"
    )

    header = ended.stdout.splitlines()[2].split()
    assert header == ["layer", "params", "path"]
    assert "conv" not in ended.stdout


def test_the_classic_engine_shows_the_packages_own_table(
    cli: Callable[..., Any], model: str
) -> None:
    pytest.importorskip("torchsummary")

    ended = cli("summary", f"{model}:Net", "--input", "1,32,32", "--engine", "torchsummary")

    assert ended.code == 0
    assert "Estimated Total Size (MB)" in ended.stdout
    assert f"Total params: {PARAMS - 12:,}" in ended.stdout  # it misses what does not run


def test_the_classic_engine_says_what_it_cannot_do(cli: Callable[..., Any], model: str) -> None:
    pytest.importorskip("torchsummary")

    ended = cli("summary", f"{model}:Tagger", "--input", "7", "--engine", "torchsummary")

    assert ended.code == 2
    assert "the torchsummary package cannot do this model" in ended.stderr


# --- from Python


def test_from_python_the_arguments_are_those_of_torchsummary(capsys: Any) -> None:
    import torchkit

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    net(torch.zeros(1, 3, 8, 8))

    result = torchkit.summary(net, (3, 8, 8), batch_size=4)

    assert result.totals["params"] == (3 * 8 * 9 + 8) + (8 * 6 * 6 * 2 + 2)
    assert result.layers[1]["output_shapes"] == [[4, 8, 6, 6]]
    assert str(result).startswith("Sequential · [4, 3, 8, 8] float32 · eval")
    assert result.to_dict()["command"] == "summary"
    assert capsys.readouterr().out == ""


def test_from_python_tensors_may_be_given_and_the_model_is_left_as_it_was() -> None:
    import torchkit

    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.random.get_rng_state()

    result = torchkit.summary(net, args=(torch.zeros(2, 4),), train=True)

    assert result.totals["params"] == 4 * 4 + 4 + 4 + 4
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert not net[0]._forward_hooks
    assert not net[0]._forward_pre_hooks


def test_from_python_what_cannot_be_used_is_an_error_of_ours() -> None:
    import torchkit

    with pytest.raises(torchkit.TorchkitError):
        torchkit.summary(torch.nn.Linear(4, 4), (4,), optimizer="lion")


# --- files, and what differs


@pytest.fixture
def weights(model: str, tmp_path: Path) -> Path:
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        import net

        torch.save(net.Net().state_dict(), tmp_path / "weights.pt")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("net", None)
    return tmp_path / "weights.pt"


def test_a_weights_file_is_told_tensor_by_tensor(cli: Callable[..., Any], weights: Path) -> None:
    ended = cli("summary", weights, "--json")

    report = told(ended)
    held = torch.load(weights, weights_only=True)
    assert ended.code == 0
    assert {row["name"]: row["shape"] for row in report["tables"][0]["rows"]} == {
        name: list(value.shape) for name, value in held.items()
    }
    assert report["totals"]["params"] == sum(value.numel() for value in held.values())


def test_a_pickle_that_would_run_something_is_described_and_runs_nothing(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    import os

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path}/sprung",)

    torch.save({"a": torch.zeros(3), "b": Trap()}, tmp_path / "evil.pt")

    ended = cli("summary", tmp_path / "evil.pt", "--json", "--strict")

    (finding,) = (it for it in told(ended)["findings"] if it["id"] == "dangerous-globals")
    assert ended.code == 1
    assert finding["status"] == "warn"
    assert "posix.system" in finding["message"]
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("target", "code", "ids"),
    [("net.py:Net", 0, set()), ("net.py:Net(15)", 1, {"shape-differs"})],
)
def test_a_checkpoint_is_held_against_the_model(
    cli: Callable[..., Any], weights: Path, target: str, code: int, ids: set[str]
) -> None:
    ended = cli("summary", target, "--compare", weights, "--json")

    report = told(ended)
    assert ended.code == code
    assert {it["id"] for it in report["findings"] if it["status"] == "fail"} == ids


def test_two_models_are_held_against_one_another(cli: Callable[..., Any], model: str) -> None:
    ended = cli(
        "summary", "net.py:Net", "--compare", "net.py:Net(features=16)", "--input", "1,32,32"
    )

    assert ended.code == 0
    assert "same" in ended.stdout.splitlines()[0]
