"""`--exact` knows the failing call's operands, and finds devices that are mixed without an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import PYTHON, ran

pytest.importorskip("torch")

from torchkit.commands.snoop_exact import report_on_mixed
from torchkit.tracing.exact import Exact, StopAtMixed

pytestmark = pytest.mark.torch

import torch  # noqa: E402


def test_a_product_with_a_tensor_without_memory_is_found() -> None:
    weight = torch.empty(4, 4, device="meta")
    x = torch.ones(3, 4)

    with pytest.raises(StopAtMixed) as raised, Exact():
        x @ weight

    [finding] = report_on_mixed(raised.value.called).findings
    told = {it.name: it.value for it in finding.verdict.evidence}
    assert finding.id == "mixed-devices"
    assert told["expression"] == "x @ weight"
    assert told["operand weight"] == "float32 [4, 4] meta"
    assert told["operand x"] == "float32 [3, 4] cpu"
    assert any("torch.empty_like(weight, device='cpu')" in it for it in finding.verdict.fix)


@pytest.mark.parametrize("what", ["copy", "like", "module", "shape"])
def test_moving_between_devices_is_no_mixture(what: str) -> None:
    x, weight = torch.ones(2, 2), torch.empty(2, 2, device="meta")

    with Exact() as watch:
        if what == "copy":
            weight.copy_(x)
        elif what == "like":
            torch.zeros_like(weight, device="cpu")
            weight.new_ones(2, device="cpu")
        elif what == "module":
            net = torch.nn.Linear(2, 2, device="meta").to_empty(device="cpu")
            net.load_state_dict(torch.nn.Linear(2, 2).state_dict())
        else:
            x.reshape(weight.shape).expand_as(weight)

    assert watch.mixed is None


def test_the_operands_of_the_call_that_failed_are_kept() -> None:
    def pick() -> torch.Tensor:
        return torch.ones(3, 5)

    watch = Exact()
    with pytest.raises(RuntimeError) as raised, watch:
        pick() @ torch.ones(3, 4)

    called = watch.operands_of(raised.value)
    assert called is not None
    assert called.names == ("pick()", "torch.ones(3, 4)")
    assert [it.shape for it in called.operands] == [(3, 5), (3, 4)]


def test_an_error_that_was_handled_before_is_another_one() -> None:
    watch = Exact()
    with watch:
        try:
            torch.ones(2) @ torch.ones(3)
        except RuntimeError:
            other = ValueError("the script's own")

    assert watch.operands_of(other) is None


def test_the_command_tells_what_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import torch\n\n\ndef pick():\n    return torch.ones(3, 5)\n\n\n"
        "pick() @ torch.ones(3, 4)\n",
        "utf-8",
    )

    done = ran([*PYTHON, "-m", "torchkit", "snoop", "--exact"], ["train.py"], tmp_path)

    assert done.status == 1
    assert b"pick()" in done.stderr
    assert b"float32 [3, 5] cpu" in done.stderr
