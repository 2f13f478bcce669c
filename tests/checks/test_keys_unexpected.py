"""Whole models are held against torch's `load_state_dict` in tests/commands; here are the words."""

from __future__ import annotations

from typing import Any

from torchkit.checks.keys_unexpected import UnexpectedKeys, judge
from torchkit.report import WOULD_FAIL_WITH, Status

ERROR = 'Error(s) in loading state_dict for Net:\n\tUnexpected key(s) in state_dict: "extra".'


def unexpected(**changes: Any) -> UnexpectedKeys:
    given: dict[str, Any] = {
        "model": "Net", "file": "w.pt", "number": 1, "total": 5, "names": "extra", "error": ERROR,
    }  # fmt: skip
    return UnexpectedKeys(**(given | changes))


def test_unexpected_keys_fail_with_torchs_own_error() -> None:
    verdict = judge(unexpected())

    assert verdict.status is Status.FAIL
    assert "extra" in verdict.message
    assert (verdict.evidence[0].name, verdict.evidence[0].value) == (WOULD_FAIL_WITH, ERROR)


def test_a_file_without_other_keys_is_fine() -> None:
    assert judge(unexpected(number=0)).status is Status.OK


def test_where_the_missing_ones_have_other_names_it_is_told_there() -> None:
    assert judge(unexpected(is_renamed=True)).part_of == "keys-missing"
