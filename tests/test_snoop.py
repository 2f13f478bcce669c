"""`torchkit snoop` as people use it: the report on stderr, in files, and what cannot be asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parent.parent

TRAIN = '''
import sys
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.fc = nn.Linear(1600, 10)

    def forward(self, x):
        """Holds <b> & "quotes"."""
        x = self.features(x)
        return self.fc(x.flatten(1))


def train_step(net, images, labels):
    return nn.functional.cross_entropy(net(images), labels)


print("its own output", sys.argv[1:])
torch.manual_seed(0)
images, labels = torch.randn(20, 1, 28, 28), torch.randint(0, 10, (20,))
train_step(Net(), images, labels)
'''


def snoop(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torchkit", "snoop", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN, "utf-8")
    return tmp_path


def test_a_script_that_breaks_is_explained_on_stderr_alone(folder: Path) -> None:
    done = snoop(folder, "train.py", "--epochs", "1", "--nan")

    assert (done.returncode, done.stdout) == (1, "its own output ['--epochs', '1', '--nan']\n")
    lines = done.stderr.splitlines()
    assert lines[0] == (
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (20x1568 and 1600x10)"
    )
    assert "train.py:16 in Net.forward" in lines
    assert "  16 │         return self.fc(x.flatten(1))" in lines
    assert any(re.match(r" +fix +self\.fc = nn\.Linear\(1568, 10\)$", line) for line in lines)
    assert "Traceback" not in done.stderr


def test_the_report_is_json_for_programs(folder: Path) -> None:
    snoop(folder, "--report", "r.json", "train.py")

    data = json.loads((folder / "r.json").read_text("utf-8"))
    schema = json.loads((ROOT / "torchkit" / "render" / "report.schema.json").read_text("utf-8"))
    jsonschema.validate(data, schema)
    (finding,) = data["findings"]
    evidence = {it["name"]: it["value"] for it in finding["evidence"]}
    assert (data["command"], data["exit_code"], finding["id"]) == (
        "snoop", 1, "matmul-shape-mismatch",
    )  # fmt: skip
    assert evidence["expression"] == "self.fc(x.flatten(1))"
    assert (evidence["file"], evidence["line"]) == ("train.py", "16")
    frames = {(row["function"], row["name"]) for row in data["tables"][0]["rows"]}
    assert ("Net.forward", "x") in frames
    assert ("train_step", "labels") in frames


def test_the_page_shows_the_source_with_the_tensors_beside_it(folder: Path) -> None:
    snoop(folder, "--report", "r.html", "train.py")

    page = (folder / "r.html").read_text("utf-8")
    assert "<mark>self.fc(x.flatten(1))</mark>" in page
    line = next(it for it in re.findall("<tr.*?</tr>", page) if "x = self.features(x)" in it)
    assert "<b>x</b> <span>float32 [20, 32, 7, 7] cpu grad</span>" in line
    assert "Holds &lt;b&gt; &amp; &quot;quotes&quot;." in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="(?!https://docs\.pytorch\.org)', page)
    assert "<script" not in page


def test_the_page_of_a_trace_shows_each_line_and_what_it_made(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN.replace("1600", "1568"), "utf-8")

    done = snoop(folder, "-f", "Net.forward", "--report", "r.html", "train.py")

    page = (folder / "r.html").read_text("utf-8")
    line = next(it for it in re.findall("<tr.*?</tr>", page) if "x = self.features(x)" in it)
    assert done.returncode == 0
    assert "float32 [20, 32, 7, 7] cpu grad" in line


def test_text_and_markdown_can_be_kept(folder: Path) -> None:
    snoop(folder, "--report", "r.txt", "train.py")
    snoop(folder, "--report", "r.md", "train.py")

    assert (folder / "r.txt").read_text("utf-8").startswith("RuntimeError: mat1 and mat2")
    assert (folder / "r.md").read_text("utf-8").startswith("**torchkit snoop**")


def test_a_report_that_cannot_be_written_is_said_and_the_exception_is_told(folder: Path) -> None:
    done = snoop(folder, "--report", "absent/r.json", "train.py")

    assert "mat1 and mat2" in done.stderr
    assert "error: cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_is_written_where_it_was_asked_for_though_the_script_moves(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "train.py").write_text(f"import os\nos.chdir('there')\n{TRAIN}", "utf-8")

    snoop(folder, "--report", "r.json", "train.py")

    assert (folder / "r.json").exists()


def test_a_script_that_works_leaves_no_report_and_no_word(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN.replace("1600", "1568"), "utf-8")

    done = snoop(folder, "--report", "r.json", "train.py")

    assert (done.returncode, done.stderr) == (0, "")
    assert not (folder / "r.json").exists()


def test_what_a_script_handles_before_it_leaves_is_explained_where_torch_had_a_part(
    folder: Path,
) -> None:
    ending = "try:\n    train_step(Net(), images, labels)\nexcept RuntimeError as error:\n    sys.exit(3)"
    (folder / "train.py").write_text(
        TRAIN.replace("train_step(Net(), images, labels)\n", ending), "utf-8"
    )

    done = snoop(folder, "train.py")

    assert done.returncode == 3
    assert "fix" in done.stderr
    assert "self.fc = nn.Linear(1568, 10)" in done.stderr


def test_cuda_calls_wait_where_that_is_asked(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import os\nprint(os.environ.get('CUDA_LAUNCH_BLOCKING'))", "utf-8"
    )

    assert snoop(folder, "--cuda-sync", "train.py").stdout == "1\n"
    assert snoop(folder, "train.py", CUDA_LAUNCH_BLOCKING="0").stdout == "0\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is nothing to run"),
        (["--nan", "--inplace", "train.py"], "are both given"),
        (["--engine", "fast", "train.py"], "is not known"),
        (["--engine", "torchsnooper", "train.py"], "traces functions, and none is named"),
        (["--calls", "0", "-f", "x", "train.py"], "1 or more"),
        (["--backward", "train.py"], "for a model such as"),
        (["--no-such", "train.py"], "no such option"),
    ],
)
def test_what_cannot_be_asked_is_said_in_two_lines(
    arguments: list[str], words: str, folder: Path
) -> None:
    done = snoop(folder, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_nothing_of_torch_is_loaded_for_a_script_that_has_none(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import sys\nprint([it for it in ('torch', 'numpy', 'rich', 'importlib.metadata',"
        " 'multiprocessing', 'asyncio') if it in sys.modules])",
        "utf-8",
    )

    assert snoop(folder, "train.py").stdout == "[]\n"
