"""The scripts in examples/broken: what the first screen of a user's says."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken import evidence, marked, report

pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

SAID = {
    "flatten.py": ("self.fc(x.flatten(1))", "self.fc.weight", "self.fc = nn.Linear(1568, 10)"),
    "sequential.py": ("net(torch.randn(2, 32, 7, 7))", "net.3.weight", "net[3] = nn.Linear(64, 10)"),
    "product.py": ("h @ self.W", "self.W", ""),
    "broadcast.py": ("a - b.t()", "b.t()", ""),
    "view.py": ("q.view(2, -1)", "q", "q.reshape(2, -1)"),
    "double.py": ("net(x)", "x", "net(x.float())"),
    "bool_byte.py": ("m ^= y.byte()", "y.byte()", "m ^= y.bool()"),
    "unfold_long.py": (
        "nn.functional.unfold(mask, kernel_size=k)", "mask",
        "nn.functional.unfold(mask.float(), kernel_size=k)",
    ),
    "meta.py": ("net(x)", "x", ""),
    "constant.py": ("self.fc(x) + self.scale", "self.scale", 'self.register_buffer("scale", …)'),
    "embedding.py": ("self.embed(ids)", "ids", "self.embed = nn.Embedding(11, 4)"),
    "index.py": ("x[i]", "i", ""),
    "target.py": ("nn.functional.cross_entropy(scores, target)", "target", "nn.functional.cross_entropy(scores, target - 1)"),
    "leaf.py": ("w -= 0.1", "w", "with torch.no_grad(): w -= 0.1"),
    "inplace.py": ("loss.backward()", "", "torchkit snoop --inplace"),
    "collate.py": ("torch.stack(batch, 0)", "batch[2]", "image.convert('RGB')"),
    "old_random_split.py": (
        "random_split(range(10), [8, 2], generator=torch.Generator().manual_seed(0))", "",
        "pip install -U torch",
    ),
    "chain.py": ("queries @ keys", "keys", "queries @ keys.transpose(-2, -1)"),
    "no_torch.py": ("settings[\"learning_rate\"]", "", ""),
}  # fmt: skip
ELSEWHERE = {"shared_memory.py"}
"""Needs a /dev/shm of its own: tests/examples/test_broken_recipes.py."""


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of(name: str, tmp_path: Path) -> None:
    expression, culprit, fix = SAID[name]
    source = (EXAMPLES / "broken" / name).read_text("utf-8")

    finding = report(source, tmp_path / name).findings[0]

    assert evidence(finding, "expression") == expression
    assert not culprit or culprit in marked(finding)
    assert not fix or any(fix in it for it in finding.verdict.fix)


def test_every_example_is_said_of_and_listed() -> None:
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    names = {it.name for it in (EXAMPLES / "broken").glob("*.py")}

    assert names == set(SAID) | ELSEWHERE
    assert [it for it in sorted(names) if f"(broken/{it})" not in readme] == []


@pytest.mark.parametrize("name", SAID)
def test_the_first_line_is_the_command_that_shows(name: str) -> None:
    first = (EXAMPLES / "broken" / name).read_text("utf-8").splitlines()[0]

    assert first == f"# torchkit snoop examples/broken/{name}"
