"""`--nan` names the operation that makes NaN, its line, and the Inf before; and keeps silent else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from planted import BACKWARD, FORWARD, HEALTHY, IMPORTS, Planted, hunt

from torchkit.commands.snoop_nan import report_of
from torchkit.commands.snoop_run import came_in_report
from torchkit.report import Finding, Report

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),  # the scripts' own, and of threads that we end
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "train.py"


def report(source: str, script: Path, *, inf: bool = False) -> Report:
    found, _ = hunt(IMPORTS + source, script, inf=inf)
    assert found is not None
    return report_of(found)


def evidence(finding: Finding, name: str) -> str:
    return next((it.value for it in finding.verdict.evidence if it.name == name), "")


@pytest.mark.parametrize("case", [*FORWARD, *BACKWARD], ids=lambda it: it.name)
def test_the_first_nan_is_told_with_its_line_and_operation(case: Planted, script: Path) -> None:
    found, _ = hunt(case.script, script, inf=case.is_inf)

    assert found is not None
    [finding] = report_of(found).findings
    assert evidence(finding, "expression") == case.marked("«»")
    assert evidence(finding, "line") == str(case.line)
    assert not case.operation or evidence(finding, "operation") == case.operation
    assert not case.function or evidence(finding, "function") == case.function
    assert case.cause in finding.verdict.message
    assert not case.fix or any(case.fix in it for it in finding.verdict.fix)
    earlier = case.marked("⟦⟧")
    if earlier and earlier != case.marked("«»"):
        assert evidence(finding, "earlier Inf").endswith(f"   {earlier}")


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_a_healthy_network(name: str, script: Path) -> None:
    found, error = hunt(IMPORTS + HEALTHY[name], script)

    assert error is None
    assert found is None


def test_the_step_is_counted_by_the_optimizer(script: Path) -> None:
    source = """
w = nn.Parameter(torch.ones(2))
opt = torch.optim.SGD([w], lr=0.1)
for i in range(9):
    opt.zero_grad()
    (torch.log(w.detach() * 0 + 6 - i) * w).sum().backward()
    opt.step()
"""

    said = report(source, script)

    assert said.totals["step"] == 8
    assert "step 8, " in said.headline


def test_no_step_is_told_without_an_optimizer(script: Path) -> None:
    said = report("x = torch.zeros(2)\nx / x\n", script)

    assert "step " not in said.headline
    assert "step" not in said.totals


def test_the_operands_have_the_names_of_the_source(script: Path) -> None:
    said = report("a, b = torch.zeros(2, 3), torch.zeros(3)\nc = (a + 0) / b\n", script)

    [finding] = said.findings
    assert evidence(finding, "operand a + 0").startswith("float32 [2, 3]")
    assert evidence(finding, "operand b").startswith("float32 [3]")
    notes = {it.name: it.source for it in finding.verdict.evidence}
    assert notes["operand b"] == "0 at [0, 0]"


def test_the_layer_inside_of_a_sequential_is_named(script: Path) -> None:
    source = """
net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1))
nn.init.constant_(net[0].bias, float("-inf"))
net(torch.ones(1, 2))
"""

    [finding] = report(source, script).findings

    assert evidence(finding, "module") == "net.1  Softmax(dim=-1)"


def test_memory_that_is_used_again_tells_of_no_earlier_inf(script: Path) -> None:
    source = """
import struct
es = [torch.exp(torch.full((64,), 100.0)) for _ in range(9)]
where = {it.data_ptr() for it in es}
del es
x = torch.frombuffer(bytearray(struct.pack("f", float("inf")) * 64), dtype=torch.float32)
ys = [x.clone() for _ in range(60)]
y = next((it for it in ys if it.data_ptr() in where), ys[0])
y - y
"""

    [finding] = report(source, script).findings

    assert evidence(finding, "expression") == "y - y"
    assert evidence(finding, "earlier Inf") == ""


def test_a_worker_of_a_data_loader_tells_where_its_nan_is_made(script: Path) -> None:
    source = """
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, i):
        x = torch.zeros(2)
        return x / x
for batch in DataLoader(Data(), num_workers=1, multiprocessing_context="fork"):
    pass
"""

    said = report(source, script)

    [finding] = said.findings
    assert evidence(finding, "expression") == "x / x"
    assert evidence(finding, "function") == "Data.__getitem__"


def test_with_no_numbers_of_the_forward_left_over_memory_does_not_grow(script: Path) -> None:
    source = """
w = nn.Parameter(torch.ones(4))
for _ in range(300):
    s = w.masked_fill(w > 0, float("-inf"))
    torch.cat([s, torch.zeros(4)]).softmax(-1).sum().backward()
"""
    from torchkit.tracing.nan import Hunter

    script.write_text(IMPORTS + source, "utf-8")
    with Hunter() as watch:
        exec(compile(script.read_text("utf-8"), str(script), "exec"), {})  # noqa: S102 - the script

    assert len(watch.hunt.makers.known) <= 4096
    assert {len(it.spots) for it in watch.hunt.lines.threads.values()} != {0}


# --- training that diverges


_DIVERGING = """
torch.manual_seed(0)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e6)
for i in range(60):
    x = torch.randn(8, 4)
    loss = (net(x) - x.sum(1, keepdim=True)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


def test_numbers_that_have_grown_are_not_taken_for_0(script: Path) -> None:
    [finding] = report(_DIVERGING, script).findings

    assert "the numbers have grown to 2e+38" in finding.verdict.message
    assert "at 0" not in finding.verdict.message
    [fix] = finding.verdict.fix
    assert "a smaller learning rate" in fix
    assert "clip_grad_norm_" in fix


@pytest.mark.parametrize(
    ("forward", "value", "singular"),
    [
        ("torch.sqrt(w)", "0.0", "sqrt at 0"),
        ("torch.sqrt(w)", "1e-30", ""),
        ("torch.log(w)", "0.0", "log at 0"),
        ("torch.log(w)", "1e-40", ""),
        ("1 / w", "0.0", "1 / x at 0"),
        ("1 / w", "1e-30", ""),
        ("torch.ones(1) / w", "0.0", "division by 0"),
        ("torch.ones(1) / w", "1e-30", ""),
        ("w ** 0.5", "0.0", "x ** p at 0"),
    ],
)
def test_a_gradient_is_said_to_be_infinite_at_0_only_where_a_0_is(
    forward: str, value: str, singular: str, script: Path
) -> None:
    source = f"""
w = nn.Parameter(torch.tensor([{value}]))
y = {forward}
((y * 1e30).clamp(-1e30, 1e30) * 0).sum().backward(retain_graph=True)
y.backward(torch.full((1,), 1e30))
(w.grad * 0).sum()
"""

    found, _ = hunt(IMPORTS + source, script)

    message = report_of(found).findings[0].verdict.message if found is not None else ""
    assert singular in message
    assert singular or (" at 0" not in message and "by 0 is" not in message)


def test_a_gradient_that_overflows_beside_0_is_not_said_to_be_of_0(script: Path) -> None:
    source = """
w = nn.Parameter(torch.tensor([1e-25]))
(torch.ones(1) / w).backward()
(w.grad * 0).sum()
"""

    [finding] = report(source, script).findings

    assert "gradient of div goes beyond float32" in finding.verdict.message
    assert "by 0" not in finding.verdict.message.replace("multiplied by 0", "")


def test_the_fix_of_a_reciprocal_changes_the_divisor(script: Path) -> None:
    [finding] = report("w = torch.zeros(1)\nr = 1 / w\nr - r\n", script).findings

    assert finding.verdict.fix == ("1 / (w + 1e-12)",)


# --- an Inf of half precision


def test_an_inf_of_half_precision_names_float16_wherever_its_nan_is_made(script: Path) -> None:
    source = """
h = torch.full((2, 8), 2.0).half()
def scale(h):
    return (h * 60000).float()
z = scale(h)
z - z
"""

    [finding] = report(source, script).findings

    assert "mul goes beyond float16, which ends at 65504" in finding.verdict.message
    assert finding.verdict.fix == ("bfloat16 in place of float16, or h.float() before",)


def test_a_division_that_overflows_is_not_one_by_0(script: Path) -> None:
    source = "x, y = torch.full((2,), 1e30), torch.full((2,), 1e-30)\nz = x / y\nz - z\n"

    [finding] = report(source, script).findings

    assert "the division goes beyond float32" in finding.verdict.message


# --- NaN that no operation made


_NAN_IN_DATA = """
data = torch.ones(6, 3)
data[2, 1] = torch.tensor([float("nan")])[0]
net = nn.Linear(3, 1)
for b in data.split(2):
    net(b).mean().item()
"""


def watched(source: str, script: Path) -> Report | None:
    from torchkit.tracing.nan import Hunter

    script.write_text(IMPORTS + source, "utf-8")
    with Hunter() as watch:
        exec(compile(script.read_text("utf-8"), str(script), "exec"), {})  # noqa: S102 - the script
    return came_in_report(watch)


def test_nan_that_came_in_with_the_data_is_a_note(script: Path) -> None:
    said = watched(_NAN_IN_DATA, script)

    assert said is not None
    [finding] = said.findings
    assert finding.verdict.status.value == "info"
    message = "no operation made NaN of numbers; NaN came in with `b` at "
    assert finding.verdict.message.startswith(message)
    assert finding.verdict.message.endswith("train.py:9")
    assert finding.verdict.fix == ("look at it before: assert torch.isfinite(b).all()",)


@pytest.mark.parametrize(
    "use", ["data.nanmean()", "data[~data.isnan()].sum()", "data.nan_to_num() * 2"]
)
def test_nan_in_the_data_that_is_taken_out_is_not_told(use: str, script: Path) -> None:
    said = watched(
        f"data = torch.frombuffer(bytearray(b'\\xff' * 4 + b'\\0' * 4), dtype=torch.float32)\n{use}\n",
        script,
    )

    assert said is None


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
    )  # fmt: skip


def test_a_script_keeps_its_exit_status_beside_the_note(script: Path) -> None:
    script.write_text(f"{IMPORTS}{_NAN_IN_DATA}raise SystemExit(3)\n", "utf-8")

    ended = python("-m", "torchkit", "snoop", "--nan", script.name, folder=script.parent)

    assert ended.returncode == 3
    assert "no operation made NaN of numbers; NaN came in with `b` at train.py:9" in ended.stderr


# --- in a script of its own


def test_after_the_report_no_traceback_goes_through_our_frames(script: Path) -> None:
    source = """
import torch, torchkit
torchkit.install_excepthook()
with torchkit.snoop(nan=True):
    torch.zeros(2) / torch.zeros(2)
"""
    script.write_text(source, "utf-8")

    ended = python(script.name, folder=script.parent)

    assert ended.returncode == 1
    assert ended.stderr.count("first NaN: div at ") == 1
    assert "0 / 0 is NaN" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "StopAtFirst" not in ended.stderr
