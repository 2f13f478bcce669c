"""Operands without a name are worked out without running anything of the script's again."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken import ended, evidence

from torchkit.commands.snoop import report_of

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

COUNTED = """
import torch
from torch import nn
calls = []
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
    def forward(self, x):
        calls.append("forward")
        return self.fc(x)
    def extra_repr(self):
        calls.append("extra_repr")
        return ""
    @property
    def table(self):
        calls.append("table")
        return torch.ones(2)
def made():
    calls.append("made")
    return torch.ones(3)
class Held:
    @property
    def t(self):
        calls.append("t")
        return torch.ones(3)
    def __repr__(self):
        calls.append("repr")
        return ""
net, held = Net(), Held()
x, y = torch.ones(2, 3), torch.ones(5)
"""


def failed(last: str, path: Path) -> tuple[object, list[str]]:
    """The finding on a script that ends so, and what of it was called afterwards."""
    end = ended(COUNTED + last, path)
    assert end.error is not None
    tb = end.error.__traceback__
    while tb is not None and "calls" not in tb.tb_frame.f_globals:
        tb = tb.tb_next
    assert tb is not None
    calls = tb.tb_frame.f_globals["calls"]
    before = len(calls)
    state = torch.get_rng_state()

    finding = report_of(end).findings[0]

    assert torch.equal(state, torch.get_rng_state())
    return finding, calls[before:]


@pytest.mark.parametrize(
    "last",
    [
        "net(x) + y",
        "made() + y",
        "held.t + y",
        "net.table + x",
        "net.fc(made()) + y",
        "torch.dropout(x, 0.5, True) + y",
        "torch.randn(3) + y",
        "torch.bernoulli(x) + y",
        "(lambda a, b: a + b)(x, y)",
        "torch.stack([made(), y])",
        "print(f'{made() + y}')",
        "held @ (x + 1) @ y",
        "net(x).view(7)",
    ],
)
def test_nothing_of_the_users_is_called_again_for(last: str, tmp_path: Path) -> None:
    _, called = failed(last, tmp_path / "script.py")

    assert called == []


@pytest.mark.parametrize(
    ("last", "operand", "text"),
    [
        ("x.t() @ y", "x.t()", "float32 [3, 2] cpu stride (1, 3)"),
        (
            "torch.cat([x[:, 1:], x[:, 1:]]) @ y",
            "torch.cat([x[:, 1:], x[:, 1:]])",
            "float32 [4, 2] cpu",
        ),
        ("x[:, :2].double() + y", "x[:, :2].double()", "float64 [2, 2] cpu"),
        ("x.sum(1) + y", "x.sum(1)", "float32 [2] cpu"),
        ("(x > 0).byte() + y", "(x > 0).byte()", "uint8 [2, 3] cpu"),
        (
            "torch.zeros(4, dtype=torch.int64) + y",
            "torch.zeros(4, dtype=torch.int64)",
            "int64 [4] cpu",
        ),
        ("torch.randn(4) + y", "torch.randn(4)", "float32 [4] cpu"),
        (
            "x.to('meta').t() @ x.to('meta').t()",
            "x.to('meta').t()",
            "float32 [3, 2] meta stride (1, 3)",
        ),
        ("x.max(1).values + y", "x.max(1).values", "float32 [2] cpu"),
        ("x.chunk(3, 1)[0] @ x", "x.chunk(3, 1)[0]", "float32 [2, 1] cpu stride (3, 1)"),
        ("x.new_zeros(4) + y", "x.new_zeros(4)", "float32 [4] cpu"),
        ("x[None, ..., 0] + y", "x[None, ..., 0]", "float32 [1, 2] cpu stride (6, 3)"),
        (
            "torch.nn.functional.pad(x, (0, 1)) + y",
            "torch.nn.functional.pad(x, (0, 1))",
            "float32 [2, 4] cpu",
        ),
    ],
)
def test_an_operand_is_worked_out(last: str, operand: str, text: str, tmp_path: Path) -> None:
    end = ended(COUNTED + last, tmp_path / "script.py")

    finding = report_of(end).findings[0]

    assert text in evidence(finding, f"operand {operand}")
    assert evidence(finding, f"operand {operand}")


def test_numbers_are_told_by_their_names_and_not_where_they_are_written_out(tmp_path: Path) -> None:
    source = f"{COUNTED}heads, size = 2, (3, 4)\nx.view(heads, -1, x.shape[1], size)\n"

    finding = report_of(ended(source, tmp_path / "script.py")).findings[0]

    given = [it.value for it in finding.verdict.evidence if it.name == "given"]
    assert given == ["heads = 2", "x.shape[1] = 3", "size = (3, 4)"]
