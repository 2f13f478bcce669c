"""A cure is for the tensor it names: nothing is offered to paste that does not fit the user's line."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

pytest.importorskip("torch")

from broken import IMPORTS, ended, marked, report

from torchkit.commands.snoop import fits, report_of
from torchkit.report import Finding
from torchkit.tracing.postmortem import PostMortem

pytestmark = pytest.mark.filterwarnings("ignore")  # the scripts' own


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "learn it.py"


def told(source: str, script: Path) -> Finding:
    return report(IMPORTS + source, script).findings[0]


@pytest.mark.parametrize("loss", ["nn.BCELoss()(p, t)", "F.binary_cross_entropy(p, t)"])
def test_a_target_of_bytes_is_scaled_and_never_put_through_a_sigmoid(
    loss: str, script: Path
) -> None:
    source = f"p, t = torch.rand(4), torch.tensor([0.0, 3.0, 255.0, 9.0])\nl = {loss}\n"

    fixes = told(source, script).verdict.fix

    assert fixes == (loss.replace(", t)", ", t / 255)"),)
    assert ended(IMPORTS + source.replace(loss, fixes[0]), script).error is None


def test_a_target_below_zero_is_to_be_normalised(script: Path) -> None:
    source = "p, t = torch.rand(4), torch.tensor([-1.0, 1.0, 1.0, -1.0])\nl = nn.BCELoss()(p, t)\n"

    assert told(source, script).verdict.fix == ("normalise t into 0..1 where it is made",)


def test_scores_given_as_chances_get_a_sigmoid(script: Path) -> None:
    source = "s, t = torch.tensor([-3.0, 4.0]), torch.rand(2)\nl = F.binary_cross_entropy(s, t)\n"

    assert "F.binary_cross_entropy(s.sigmoid(), t)" in told(source, script).verdict.fix


CHANGED = "w = torch.ones(3, requires_grad=True)\na = w.exp()\na += 1\na.sum().backward()\n"


def test_the_run_that_names_the_change_is_of_the_users_own_command(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = ended(IMPORTS + CHANGED, script)
    monkeypatch.setattr(sys, "argv", ["learn it.py", "--lr", "0.1"])
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))

    fix = report_of(ending).findings[0].verdict.fix[0]

    assert fix.startswith("torchkit snoop --inplace 'learn it.py' --lr 0.1  ")


def test_without_a_script_the_command_has_a_placeholder(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = ended(IMPORTS + CHANGED, script)
    monkeypatch.setattr(sys, "argv", [""])
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))

    assert "--inplace SCRIPT  " in report_of(ending).findings[0].verdict.fix[0]


def test_patches_that_leave_a_rest_are_said_by_their_sizes(script: Path) -> None:
    source = "x, p = torch.ones(2, 3, 30, 30), 4\ny = x.reshape(2, 3, 30 // p, p, 30 // p, p)\n"

    finding = told(source, script)

    assert marked(finding) == {"x": "30 is not divisible by 4"}
    assert finding.verdict.fix == ()


def test_inside_an_attention_layer_nothing_is_flattened(script: Path) -> None:
    source = (
        "attn = nn.MultiheadAttention(32, 4)\nx, mem = torch.ones(2, 5, 32), torch.ones(2, 7, 32)\n"
        "pad = torch.zeros(2, 7, dtype=torch.bool)\nattn(x, mem, mem, key_padding_mask=pad)\n"
    )

    assert not any("flatten" in it for it in told(source, script).verdict.fix)


@pytest.mark.parametrize(
    ("source", "line", "fix"),
    [
        (
            "bank, i, z = torch.zeros(9, 2), torch.arange(3), torch.ones(3, 2).bfloat16()\n",
            "bank[i] = z",
            "bank[i] = z.to(bank.dtype)",
        ),
        (
            "q = torch.ones(2, 3, 8, dtype=torch.complex64)\nw = torch.ones(4, 3, 3)\n",
            "F.conv1d(q, w)",
            "F.conv1d(q.abs(), w)",
        ),
        ("m = torch.ones(2, 4)\n", "F.one_hot(m, 3)", "F.one_hot(m.long(), 3)"),
        (
            "q, a = nn.Linear(4, 2), torch.zeros(5).long()\ns = torch.ones(5, 4)\n",
            "q(s).gather(1, a)",
            "q(s).gather(1, a.unsqueeze(1))",
        ),
        (
            "net = nn.Linear(4, 2)\ns = torch.ones(5, 4)\n",
            "net(s).numpy()",
            "net(s).detach().numpy()",
        ),
    ],
)
def test_the_cure_is_of_the_users_names_and_works(
    source: str, line: str, fix: str, script: Path
) -> None:
    fixes = told(f"{source}{line}\n", script).verdict.fix

    assert fixes[0] == fix
    assert ended(f"{IMPORTS}{source}{fix}\n", script).error is None


def test_what_was_worked_out_and_added_is_said_by_its_source(script: Path) -> None:
    finding = told(
        "f = nn.Identity()\no, v = torch.ones(2, 16), torch.ones(2, 32)\no += f(v)\n", script
    )

    assert finding.verdict.message == "o and f(v) differ in dimension 1: 16 and 32"
    assert finding.verdict.fix == ()


@pytest.mark.parametrize(
    ("fix", "is_pasted"),
    [
        ("index = index.long()", False),
        ("x = x.flatten(1)", False),
        ("python train.py --debug", False),
        ("h = h.contiguous()", True),
        ("with torch.no_grad(): around code that only evaluates", True),
    ],
)
def test_a_line_of_the_catalogue_is_kept_where_it_names_what_the_user_names(
    fix: str, is_pasted: bool
) -> None:
    seen = PostMortem("RuntimeError", "", expression="self.x(h)")

    assert fits(seen, fix) is is_pasted
