"""Errors of Python programs that use torch, provoked for real, are named with their values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from torchkit.knowledge.problems import problems
from torchkit.logs.problems import Told, told
from torchkit.logs.reader import read_text

pytestmark = pytest.mark.torch

AREAS = {"shape", "dtype", "autograd", "loss", "misc", "api", "amp"}


class Case(NamedTuple):
    """A program, the problem that it has, and what must be said of it."""

    id: str
    program: str
    said: str = ""


CASES = (
    # shape
    Case("matmul-shape-mismatch", "nn.Linear(64, 10)(torch.zeros(2, 92))", "takes 64 features, it is given 92"),
    Case("matmul-shape-mismatch", "torch.bmm(torch.zeros(2, 3, 4), torch.zeros(2, 5, 6))", "4 columns, the right one has 5 rows"),
    Case("matmul-shape-mismatch", "torch.mv(torch.zeros(3, 4), torch.zeros(5))", "4 columns, the right one has 5 rows"),
    Case("broadcast-size-mismatch", "torch.zeros(2, 208) + torch.zeros(2, 416)", "208 in dimension 1, the other has 416"),
    Case("broadcast-size-mismatch", "torch.zeros(2, 3).expand(4, 3)", "4 in dimension 0, the other has 2"),
    Case("broadcast-size-mismatch", "x = torch.zeros(2, 3)\nx += torch.zeros(4, 2, 3)", "[4, 2, 3] is written into a tensor of shape [2, 3]"),
    Case("cat-size-mismatch", "torch.cat([torch.zeros(1, 64, 56, 56), torch.zeros(1, 64, 57, 57)], 1)", "dimension 1, and in another one they have 56 and 57"),
    Case("cat-size-mismatch", "torch.cat([torch.zeros(2, 3), torch.zeros(2, 3, 4)])", "one tensor has 2 dimensions, the other has 3"),
    Case("stack-unequal-size", "next(iter(DataLoader([torch.zeros(3, 8), torch.zeros(3, 9)], batch_size=2)))", "shape [3, 8], another one has [3, 9]"),
    Case("stack-unequal-size", "next(iter(DataLoader([torch.zeros(3, 8), torch.zeros(3, 9)], batch_size=2, num_workers=1)))", ""),
    Case("stack-unequal-size", "next(iter(DataLoader([[1, 2, 3], [1, 2]], batch_size=2)))"),
    Case("conv-channel-mismatch", "nn.Conv2d(3, 8, 3)(torch.zeros(1, 1, 32, 32))", "takes 3 channels, its input [1, 1, 32, 32] has 1"),
    Case("conv-channel-mismatch", "nn.BatchNorm2d(8)(torch.zeros(2, 4, 5, 5))", "takes 8, it is given 4"),
    Case("conv-input-rank", "nn.Conv1d(2, 8, 3)(torch.zeros(2, 2, 4, 9))", "takes 3 dimensions, it is given [2, 2, 4, 9]"),
    Case("conv-input-rank", "nn.BatchNorm2d(8)(torch.zeros(2, 8))", "takes 4D dimensions, it is given 2D"),
    Case("kernel-larger-than-input", "nn.Conv2d(3, 8, 5)(torch.zeros(1, 3, 2, 2))", "2 x 2 (with its padding), the kernel is 5 x 5"),
    Case("kernel-larger-than-input", "nn.MaxPool2d(2)(torch.zeros(1, 3, 1, 1))", "3x1x1 leaves 3x0x0"),
    Case("rnn-input-size", "nn.LSTM(16, 8)(torch.zeros(5, 3, 10))", "takes 16 features in the last dimension, it is given 10"),
    Case("rnn-input-size", "nn.GRU(16, 8)(torch.zeros(5, 3, 16), torch.zeros(1, 4, 8))", "must have the shape (1, 3, 8), it has (1, 4, 8)"),
    Case("reshape-wrong-numel", "torch.zeros(2, 3, 7).reshape(2, 20)", "[2, 20] is asked for, and there are 42 elements"),
    Case("view-non-contiguous", "torch.zeros(2, 3).t().view(6)"),
    # dtype
    Case("float-double-mismatch", "nn.Linear(3, 2)(torch.from_numpy(np.zeros((2, 3))))", "wants one type"),
    Case("float-double-mismatch", "nn.Conv2d(3, 2, 1)(torch.zeros(2, 3, 4, 4).double())", "double meets float"),
    Case("float-double-mismatch", "torch.bmm(torch.zeros(2, 3, 4), torch.zeros(2, 4, 5).double())", "Float meets Double"),
    Case("float-double-mismatch", "nn.LSTM(3, 2)(torch.zeros(2, 3, 3).double())"),
    Case("index-dtype", "torch.zeros(3)[torch.tensor([0.0])]"),
    Case("index-dtype", "nn.Embedding(3, 2)(torch.zeros(2))", "torch.FloatTensor"),
    Case("loss-target-dtype", "F.cross_entropy(torch.zeros(2, 3), torch.zeros(2))", "the targets are Float, the loss wants Long"),
    Case("loss-target-dtype", "F.binary_cross_entropy(torch.zeros(2), torch.zeros(2, dtype=torch.long))", "the targets are Long, the loss wants Float"),
    Case("loss-target-dtype", "nn.BCEWithLogitsLoss()(torch.zeros(2), torch.zeros(2, dtype=torch.long))", "the targets are Long, the loss wants Float"),
    Case("op-not-implemented-for-dtype", "nn.Unfold(2)(torch.zeros(1, 1, 4, 4, dtype=torch.long))", "im2col_out_cpu does not take Long"),
    Case("op-not-implemented-for-dtype", "torch.zeros(3, dtype=torch.long).mean()", "does not take Long"),
    Case("half-on-cpu", "torch.linalg.det(torch.zeros(2, 2).half())", "lu_cpu has no float16 on the CPU"),
    Case("dtype-byte-bool", "m = torch.zeros(3) > 0\nm |= torch.zeros(3).byte()", "the mask is Byte, and Bool is wanted"),
    Case("dtype-byte-bool", "1 - (torch.zeros(3) > 0)"),
    Case("dtype-cast-inplace", "x = torch.zeros(3, dtype=torch.int32)\nx *= 0.5", "the result is Float, and the tensor that it is written to is Int"),
    Case("dtype-cast-inplace", "x = torch.zeros(3, dtype=torch.long)\nx /= 2", "written to is Long"),
    # autograd
    Case("autograd-inplace-modified", "x = torch.zeros(3, requires_grad=True).exp()\nx += 1\nx.sum().backward()", "a tensor of shape [3]"),
    Case("autograd-leaf-inplace", "nn.Linear(2, 2).weight.zero_()"),
    Case("autograd-leaf-inplace", "x = torch.zeros(3, requires_grad=True)\nx[0] = 1"),
    Case("autograd-graph-freed", "h, l = torch.zeros(1, 2), nn.Linear(2, 2)\nfor _ in range(2):\n    h = torch.tanh(l(h))\n    h.sum().backward()"),
    Case("autograd-no-grad-fn", "with torch.no_grad():\n    y = nn.Linear(2, 2)(torch.zeros(1, 2)).sum()\ny.backward()"),
    Case("autograd-no-grad-fn", "torch.zeros(3, dtype=torch.long, requires_grad=True)"),
    Case("autograd-nonscalar-backward", "F.mse_loss(torch.zeros(3, requires_grad=True), torch.ones(3), reduction='none').backward()"),
    Case("numpy-requires-grad", "np.array(nn.Linear(1, 1)(torch.ones(1)))"),
    Case("batchnorm-single-value", "nn.BatchNorm2d(4)(torch.zeros(1, 4, 1, 1))", "its input is [1, 4, 1, 1]"),
    Case("train-eval-mode", "torch.jit.freeze(torch.jit.script(nn.Linear(2, 2)))"),
    # loss
    Case("loss-broadcast-warning", "nn.MSELoss()(torch.zeros(8, 1), torch.zeros(8))", "the predictions are [8, 1], the targets [8]"),
    Case("lr-scheduler-order", "o = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)\ntorch.optim.lr_scheduler.StepLR(o, 1).step()"),
    Case("loss-target-range", "F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 255]))", "the target 255 is no class number"),
    Case("loss-target-range", "F.binary_cross_entropy(torch.tensor([2.0]), torch.tensor([1.0]))", "wants every input between 0 and 1"),
    Case("loss-target-shape", "F.cross_entropy(torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.long))"),
    Case("loss-target-shape", "F.cross_entropy(torch.zeros(2, 3), torch.zeros(4, dtype=torch.long))", "the predictions are [2], the targets [4]"),
    Case("loss-target-shape", "F.binary_cross_entropy_with_logits(torch.zeros(2, 1), torch.zeros(2))", "the predictions are [2, 1], the targets [2]"),
    Case("embedding-index-range", "nn.Embedding(3, 2)(torch.tensor([5]))"),
    Case("embedding-index-range", "torch.gather(torch.zeros(3), 0, torch.tensor([5]))", "index 5 is met where 3 are there"),
    # misc
    Case("scalar-conversion", "torch.zeros(2, 2).item()", "the tensor has 4 numbers, and one is wanted"),
    Case("scalar-conversion", "torch.tensor(1.0)[0]"),
    Case("bool-ambiguous", "nn.CrossEntropyLoss(torch.zeros(2, 3), torch.zeros(2, 3))(torch.zeros(2, 3), torch.zeros(2).long())"),
    Case("list-to-tensor-ragged", "torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0]])", "one list has 3 entries at dimension 1, another one has 2"),
    Case("numpy-negative-stride", "torch.from_numpy(np.arange(3)[::-1])"),
    Case("module-init-order", "class Net(nn.Module):\n    def __init__(self):\n        self.fc = nn.Linear(1, 1)\nNet()"),
    Case("module-init-order", "class Net(nn.Module):\n    def __init__(self):\n        self.n = 1\nNet().eval()"),
    Case("forward-missing", "class Net(nn.Module):\n    def foward(self, x):\n        return x\nNet()(1)", "Net has no method named forward"),
    Case("optimizer-empty", "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.layers = [nn.Linear(1, 1)]\ntorch.optim.Adam(Net().parameters())"),
    # api
    Case("removed-python-api", "from torch._six import string_classes", "no _six any more"),
    Case("removed-python-api", "torch.symeig(torch.eye(2))"),
    Case("removed-python-api", "torch.rfft(torch.zeros(2), 1)", "no rfft any more"),
    Case("api-newer-than-torch", "torch.name_of_a_later_release", "this torch has no name_of_a_later_release"),
    # amp
    Case("amp-gradscaler-misuse", "s, l = torch.amp.GradScaler('cpu'), nn.Linear(2, 2).half()\no = torch.optim.SGD(l.parameters(), 0.1)\ns.scale(l(torch.ones(1, 2).half()).sum()).backward()\ns.unscale_(o)", "float16"),
    Case("amp-gradscaler-misuse", "s, l = torch.amp.GradScaler('cpu'), nn.Linear(2, 2)\no = torch.optim.SGD(l.parameters(), 0.1)\ns.scale(l(torch.ones(1, 2)).sum()).backward()\ns.unscale_(o)\ns.unscale_(o)", "unscale_() is called a second time"),
    Case("amp-gradscaler-misuse", "s, l = torch.amp.GradScaler('cpu'), nn.Linear(2, 2)\no = torch.optim.SGD(l.parameters(), 0.1)\ns.scale(l(torch.ones(1, 2)).sum())\ns.step(o)"),
)  # fmt: skip

CHILD = """
import contextlib, io, json, linecache, sys, traceback, warnings
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

texts = []
for number, program in enumerate(json.load(sys.stdin)):
    name = f"/home/user/train{number}.py"
    lines = [line + "\\n" for line in program.split("\\n")]
    linecache.cache[name] = (len(program), None, lines, name)
    written = io.StringIO()
    with contextlib.redirect_stderr(written), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            exec(compile(program, name, "exec"), {
                "np": np, "torch": torch, "F": F, "nn": nn, "DataLoader": DataLoader,
                "__name__": "train",
            })
        except Exception:
            traceback.print_exc()
    texts.append(written.getvalue())
print("TEXTS" + json.dumps(texts))
"""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """What torch says to each of the programs, all run in one child."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([case.program for case in CASES]),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: list[str] = json.loads(done.stdout.rpartition("TEXTS")[2])
    return found


def explained(text: str) -> Told:
    return told(read_text(text))


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n}-{CASES[n].id}")
def test_what_torch_raises_is_named_first_with_its_values(number: int, texts: list[str]) -> None:
    case = CASES[number]

    found = explained(texts[number])

    assert [met.problem.id for met in found.problems[:1]] == [case.id], texts[number]
    assert case.said in found.problems[0].cause
    assert all("{" not in text for text in found.problems[0].fix)


def test_every_problem_of_these_areas_is_provoked() -> None:
    expected = {problem.id for problem in problems().values() if problem.area in AREAS}

    assert {case.id for case in CASES} == expected


def test_a_training_run_that_goes_well_has_no_problem(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import torch\n"
        "from torch import nn\n"
        "model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)\n"
        "for epoch in range(3):\n"
        "    loss = nn.CrossEntropyLoss()(model(torch.randn(16, 4)), torch.randint(0, 3, (16,)))\n"
        "    optimizer.zero_grad()\n"
        "    loss.backward()\n"
        "    optimizer.step()\n"
        "    schedule.step()\n"
        "    print(f'epoch {epoch}: training error {loss.item():.3f}, target 0.1, expected below 2')\n"
        "print(model)\n"
    )

    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )

    assert explained(done.stdout + done.stderr).problems == ()


def test_a_number_at_the_end_of_a_message_is_not_joined_with_the_next_line() -> None:
    text = "IndexError: index 15 is out of bounds for dimension 0 with size 13\n100%|####| 8/8\n"

    found = explained(text)

    assert found.problems[0].cause == "index 15 is met where 13 are there"


def test_a_message_pasted_without_the_name_of_its_exception_is_recognised() -> None:
    found = explained("index out of range in self")

    assert [met.problem.id for met in found.problems] == ["embedding-index-range"]


def test_a_warning_is_told_after_the_error_that_follows_it(texts: list[str]) -> None:
    by_id = {case.id: text for case, text in zip(CASES, texts, strict=True)}

    found = explained(by_id["lr-scheduler-order"] + by_id["module-init-order"])

    assert [met.problem.id for met in found.problems] == ["module-init-order", "lr-scheduler-order"]
