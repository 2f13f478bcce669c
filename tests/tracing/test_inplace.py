"""`--inplace` names the line that saved and the line that changed; else it keeps silent."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")

from planted_inplace import CASES, IMPORTS, Changed

from torchkit.commands.snoop_inplace import report_of
from torchkit.report import Report
from torchkit.tracing.inplace import Recorder
from torchkit.tracing.run import Ended

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


def said_of(source: str, script: Path, monkeypatch: pytest.MonkeyPatch) -> Report | None:
    script.write_text(source, "utf-8")
    linecache.checkcache(str(script))
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    watch = Recorder()
    with pytest.raises(RuntimeError) as raised, watch:
        exec(compile(source, str(script), "exec", dont_inherit=True), main.__dict__)  # noqa: S102 - the script
    return report_of(Ended(1, raised.value), watch.both)


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
def test_both_lines_are_told(
    case: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = said_of(case.script, tmp_path / "train.py", monkeypatch)

    assert said is not None
    [finding] = said.findings
    told = {it.name: it.value for it in reversed(finding.verdict.evidence)}
    for name, marks in (("saved", "«»"), ("changed", "⟦⟧")):
        line, text = case.marked(marks)
        assert f":{line} " in told[name]
        assert told[name].endswith(f"   {text}")
    assert not case.fix or any(case.fix in it for it in finding.verdict.fix)


def test_nothing_is_told_of_a_change_that_was_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
from torch.utils._python_dispatch import _disable_current_modes
w = torch.ones(3, requires_grad=True)
b = torch.ones(3)
b.mul_(1)
y = w * b
with _disable_current_modes():
    b.add_(1)
y.sum().backward()
"""

    assert said_of(IMPORTS + source, tmp_path / "train.py", monkeypatch) is None


def test_nothing_is_told_of_another_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "w = torch.ones(3, requires_grad=True)\nw += 1\n"

    assert said_of(IMPORTS + source, tmp_path / "train.py", monkeypatch) is None
