"""What is said of broken scripts: the expression that failed, the odd operand, cause and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken import Case, ended, evidence, marked, report
from broken_kinds import KINDS
from broken_more import MORE
from broken_shapes import SHAPES
from broken_values import VALUES

pytest.importorskip("torch")

CASES = [*SHAPES, *KINDS, *VALUES, *MORE]

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),  # the scripts' own
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "train.py"


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
def test_what_is_said_of(case: Case, script: Path) -> None:
    finding = report(case.script, script).findings[0]

    assert evidence(finding, "expression") == case.expression
    notes = marked(finding)
    if case.culprit:
        assert case.culprit in notes
        assert len(notes) <= 2
        assert case.note in notes[case.culprit]
    assert case.cause in finding.verdict.message
    assert any(case.fix in it for it in finding.verdict.fix) or not case.fix
    assert finding.id == case.id or not case.id


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
def test_repaired_it_runs(case: Case, script: Path) -> None:
    end = ended(case.repaired, script)

    assert end.error is None


_PASTED = [
    it
    for it in CASES
    if it.fix and it.expression in it.script and any(it.fix == new for _, new in it.repair)
]


@pytest.mark.parametrize("case", _PASTED, ids=lambda it: it.name)
def test_the_fix_can_be_pasted_for(case: Case, script: Path) -> None:
    finding = report(case.script, script).findings[0]
    fix = next(it for it in finding.verdict.fix if case.fix in it)

    end = ended(case.script.replace(case.expression, fix, 1), script)

    assert end.error is None


def test_there_are_enough_fixes_that_can_be_pasted() -> None:
    assert len(_PASTED) >= 20
