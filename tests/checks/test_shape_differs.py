"""Whole models are held against torch's `load_state_dict` in tests/commands; here are the words."""

from __future__ import annotations

from torchkit.checks.shape_differs import DifferingShapes, ShapePair, judge
from torchkit.report import WOULD_FAIL_WITH, Status

ERROR = "Error(s) in loading state_dict for Net:\n\tsize mismatch for fc.weight: …"
PAIR = ShapePair("fc.weight", (10, 512), (1000, 512))


def test_another_shape_fails_with_both_shapes_and_torchs_own_error() -> None:
    verdict = judge(DifferingShapes("Net", "w.pt", (PAIR,), 4, ERROR))

    assert verdict.status is Status.FAIL
    assert "fc.weight is [10, 512] in Net and [1000, 512] in the file" in verdict.message
    assert (verdict.evidence[0].name, verdict.evidence[0].value) == (WOULD_FAIL_WITH, ERROR)


def test_equal_shapes_are_fine() -> None:
    assert judge(DifferingShapes("Net", "w.pt", (), 4, "")).status is Status.OK


def test_the_code_to_paste_is_the_fix() -> None:
    code = ('state.pop("fc.weight")',)

    assert judge(DifferingShapes("Net", "w.pt", (PAIR,), 4, ERROR, code)).fix[0] == code[0]
