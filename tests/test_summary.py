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


class Flat(nn.Module):  # takes pictures of 19x21
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4 * 17 * 19, 2)

    def forward(self, x):
        return self.head(self.conv(x).flatten(1))
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
    assert finding["fix"] == ["self.head = nn.Linear(16, 2)"]
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
    ended = cli("summary", f"{model}:Flat")

    assert ended.code == 2
    assert "no input worked out for Flat runs" in ended.stderr
    assert "--input" in ended.stderr


def test_what_fails_on_any_guess_is_shown_with_the_layer(
    cli: Callable[..., Any], model: str
) -> None:
    ended = cli("summary", f"{model}:Net(15)")

    assert ended.code == 1
    assert "head (Linear) fails: it takes 15 features, and is given 16" in ended.stdout
    assert "(guessed)" in ended.stdout


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


def test_from_python_the_batch_size_that_torchsummary_has_by_default_is_one_sample() -> None:
    import torchkit

    result = torchkit.summary(torch.nn.Linear(4, 2), (4,), batch_size=-1)

    assert result.layers[0]["output_shapes"] == [[1, 2]]


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
    assert report["totals"]["elements"] == sum(value.numel() for value in held.values())


def test_data_that_tensors_have_in_common_is_counted_once_in_every_row(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    base = torch.arange(20.0)
    torch.save({"a": {"x": base, "tied": base, "turned": base.view(4, 5).t()}, "b": base[2:6]},
               tmp_path / "views.pt")  # fmt: skip
    torch.save(base, tmp_path / "bare.pt")

    report = told(cli("summary", tmp_path / "views.pt", "--json"))
    text = cli("summary", tmp_path / "views.pt").stdout
    bare = cli("summary", tmp_path / "bare.pt").stdout

    assert report["totals"]["elements"] == 20
    assert [row["shared_with"] for row in report["tables"][0]["rows"]] == [
        None, "a.x", "a.x", "a.x",
    ]  # fmt: skip
    (whole,) = (line for line in text.splitlines() if line.strip().startswith("views.pt  "))
    assert whole.split()[-3:] == ["20", "80", "bytes"]
    (row,) = (line for line in bare.splitlines() if line.strip().startswith("bare.pt  "))
    assert row.split()[-3:] == ["20", "80", "bytes"]


def test_a_file_without_tensors_is_not_said_to_be_fine(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    torch.save({"epoch": 3}, tmp_path / "empty.pt")

    ended = cli("summary", tmp_path / "empty.pt")

    assert ended.code == 0
    assert "no tensors in it" in ended.stdout
    assert "2 checks fine" not in ended.stdout


def test_comparing_with_a_file_tells_what_is_wrong_with_the_file(
    cli: Callable[..., Any], weights: Path, tmp_path: Path
) -> None:
    import os

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path}/sprung",)

    torch.save({"model": torch.load(weights), "trap": Trap()}, tmp_path / "evil.pt")
    (tmp_path / "cut.pt").write_bytes(weights.read_bytes()[:-4000])

    evil = told(cli("summary", "net.py:Net", "--compare", tmp_path / "evil.pt", "--json"))
    cut = told(cli("summary", "net.py:Net", "--compare", tmp_path / "cut.pt", "--json"))
    both = told(cli("summary", tmp_path / "evil.pt", "--compare", tmp_path / "cut.pt", "--json"))

    statuses = [
        {it["id"]: it["status"] for it in report["findings"] if it["status"] in ("warn", "fail")}
        for report in (evil, cut, both)
    ]
    assert statuses[0] == {"dangerous-globals": "warn"}
    assert statuses[1] == {"file-damaged": "fail"}
    assert statuses[2] == {"dangerous-globals": "warn", "file-damaged": "fail"}
    assert cut["totals"]["loads"] is False
    assert not (tmp_path / "sprung").exists()


def test_a_model_whose_forward_fails_is_told_when_it_is_compared(
    cli: Callable[..., Any], model: str
) -> None:
    ended = cli(
        "summary", "net.py:Net", "--compare", "net.py:Net(15)", "--input", "1,32,32", "--json"
    )

    report = told(ended)
    (finding,) = report["findings"]
    assert ended.code == 1
    assert (finding["id"], finding["status"]) == ("forward-fails", "fail")
    assert finding["message"].startswith("net.py:Net(15): ")
    assert report["totals"]["difference"]["params"] == -2
    assert "flops" not in report["totals"]["difference"]
    assert "flops" not in report["tables"][0]["columns"]


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


# --- the first line, columns, options


def test_a_guessed_input_is_said_in_the_first_line(cli: Callable[..., Any], model: str) -> None:
    ended = cli("summary", f"{model}:Tagger")

    assert ended.code == 0
    assert ended.stdout.startswith("Tagger · [1, 16] int64 (guessed) · eval")


def test_columns_that_were_asked_for_are_shown_though_nothing_stands_in_them(
    cli: Callable[..., Any], model: str
) -> None:
    ended = cli("summary", f"{model}:Tagger", "--columns", "own_params,buffers,shared_with")

    header = [it.strip() for it in ended.stdout.splitlines()[2].split("  ") if it.strip()]
    assert header == ["layer", "own params", "buffers", "shared with"]


def test_columns_are_known_by_their_names_in_json(cli: Callable[..., Any], model: str) -> None:
    columns = "input_shapes,output_shapes,own_params,trainable_params,flops,status"
    ended = cli("summary", f"{model}:Net", "--input", "1,32,32", "--columns", columns)

    assert ended.code == 0
    header = [it.strip() for it in ended.stdout.splitlines()[2].split("  ") if it.strip()]
    assert header == ["layer", "input", "output", "own params", "trainable", "FLOPs", "status"]


def test_what_has_more_inside_is_marked_and_the_depth_that_shows_it_is_named(
    cli: Callable[..., Any], model: str
) -> None:
    asked = ("summary", f"{model}:Net", "--input", "1,32,32")

    assert "--depth 2 shows all" in cli(*asked, "--depth", "1").stdout
    assert "shows all" not in cli(*asked, "--depth", "2").stdout


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--batch-size", "0"], "--batch-size 0 is no batch"),
        (["--depth", "-1"], "--depth -1 is no depth"),
        (["--no-batch", "--batch-size", "3"], "--no-batch and --batch-size 3 contradict"),
        (
            ["--dtype", "float16", "--input", "1,32,32:float32"],
            "--dtype is for inputs that name none",
        ),
        (["--input", "@batch.pt", "--batch-size", "3"], "--batch-size is for shapes"),
        (["--engine", "torchsummary", "--depth", "2"], "--depth has no effect"),
        (["--engine", "torchsummary", "--optimizer", "sgd"], "--optimizer has no effect"),
        (["--compare", "net.py:Tagger", "--columns", "type"], "--columns has no effect"),
        (["--compare", "weights.pt", "--train"], "--train is for a model that is run"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(
    cli: Callable[..., Any], model: str, options: list[str], error: str
) -> None:
    (Path.cwd() / "weights.pt").touch()

    ended = cli("summary", f"{model}:Net", *options)

    assert ended.code == 2
    assert ended.stderr.startswith(f"error: {error}")
    assert "hint:" in ended.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--input", "4"), ("--batch-size", "4"), ("--device", "cuda"), ("--columns", "type")],
)
def test_options_of_a_run_are_refused_for_a_weights_file(
    cli: Callable[..., Any], weights: Path, option: str, value: str
) -> None:
    ended = cli("summary", weights, option, value)

    assert ended.code == 2
    assert f"{option} is for" in ended.stderr


BROKEN = """
import sys

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.pool(x))


class Exits(nn.Module):
    def forward(self, x):
        sys.exit(3)


class Interrupted(nn.Module):
    def forward(self, x):
        raise KeyboardInterrupt


class Wrapped(nn.Module):
    def forward(self, x):
        try:
            return {}["logits"]
        except KeyError as error:
            raise ValueError("no logits") from error


class Example(Net):
    example_input_array = torch.zeros(1, 16, 8, 8)
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    return "broken.py"


def test_the_first_line_has_layer_trouble_and_input_and_the_exception_stands_once(
    cli: Callable[..., Any], broken: str
) -> None:
    ended = cli("summary", f"{broken}:Net", "--input", "16,8,8")

    first = ended.stdout.splitlines()[0]
    assert ended.code == 1
    assert first.startswith(
        "Net · fc (Linear) fails: [1, 16, 1, 1] was not flattened to 16 features"
    )
    assert "[1, 16, 8, 8] float32" in first
    assert ended.stdout.count("mat1 and mat2") == 1
    assert "fix    return self.fc(self.pool(x).flatten(1))" in ended.stdout
    assert "would fail" not in ended.stdout


def test_a_forward_that_exits_is_reported_as_a_failure(
    cli: Callable[..., Any], broken: str
) -> None:
    ended = cli("summary", f"{broken}:Exits", "--input", "8", "--json")

    report = told(ended)
    assert ended.code == 1
    assert report["findings"][0]["message"] == "Exits raises SystemExit: 3"
    assert report["headline"].startswith("Exits fails: it ends the program with sys.exit(3)")


def test_ctrl_c_during_forward_stays_one(cli: Callable[..., Any], broken: str) -> None:
    assert cli("summary", f"{broken}:Interrupted", "--input", "8").code == 130


def test_what_an_exception_was_raised_from_is_told(cli: Callable[..., Any], broken: str) -> None:
    ended = cli("summary", f"{broken}:Wrapped", "--input", "8", "--json")

    evidence = {it["name"]: it["value"] for it in told(ended)["findings"][0]["evidence"]}
    assert evidence["raised from"] == "KeyError: 'logits'"


def test_the_authors_own_example_that_fails_is_a_fault_of_the_model(
    cli: Callable[..., Any], broken: str
) -> None:
    ended = cli("summary", f"{broken}:Example", "--json")

    report = told(ended)
    assert ended.code == 1
    assert report["findings"][0]["id"] == "forward-fails"
    assert "[1, 16, 8, 8] float32" in report["headline"]


UNKNOWN_ON_SHAPES = """
import torch
from torch import nn

LIBRARY = torch.library.Library("summary_without_a_rule", "DEF")
LIBRARY.define("double(Tensor x) -> Tensor")
LIBRARY.impl("double", lambda x: x * 2, "CPU")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.large = nn.Linear(30_000, 20_000)  # more than is ever built

    def forward(self, x):
        return torch.ops.summary_without_a_rule.double(self.first(x))
"""


@pytest.mark.parametrize("options", [("--input", "8"), ()])
def test_what_shapes_alone_do_not_tell_is_a_warning_and_no_fault(
    options: tuple[str, ...], cli: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    name = f"without_a_rule_{len(options)}"  # a name is given once in a process
    file.write_text(UNKNOWN_ON_SHAPES.replace("summary_without_a_rule", name))

    ended = cli("summary", f"{file}:Net", *options, "--json")

    report = told(ended)
    (finding,) = report["findings"]
    rows = {row["path"]: row["status"] for row in report["tables"][0]["rows"]}
    assert ended.code == 0
    assert finding["status"] == "warn"
    assert finding["fix"] == ["--run builds the model in memory, 2.2 GiB, and runs it"]
    assert rows == {"": "stopped", "first": "ok", "large": "not-run"}


def test_a_long_table_is_folded_further_unless_a_depth_is_asked_for(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "block = lambda n: nn.Sequential(nn.Sequential(nn.Linear(n, n + 1)), nn.ReLU())\n"
        "Net = lambda: nn.Sequential(*map(block, range(4, 40)))\n"
    )

    short, whole = (
        cli("summary", f"{file}:Net", "--input", "4", *more) for more in ((), ("--depth", "3"))
    )

    assert len(short.stdout.splitlines()) < 60
    assert "--depth 3 shows all" in short.stdout
    assert len(whole.stdout.splitlines()) > 140
