"""Whole models are held against torch's `load_state_dict` in tests/commands; here are the words."""

from __future__ import annotations

from typing import Any

from torchkit.checks.keys_missing import MissingKeys, judge
from torchkit.report import WOULD_FAIL_WITH, Status

ERROR = 'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "a.bias".'


def missing(**changes: Any) -> MissingKeys:
    given: dict[str, Any] = {
        "model": "Net", "file": "w.pt", "number": 1, "total": 4, "names": "a.bias", "error": ERROR,
    }  # fmt: skip
    return MissingKeys(**(given | changes))


def test_missing_keys_fail_with_torchs_own_error() -> None:
    verdict = judge(missing())

    assert verdict.status is Status.FAIL
    assert verdict.message == "1 of 4 keys of Net is not in w.pt: a.bias"
    assert (verdict.evidence[0].name, verdict.evidence[0].value) == (WOULD_FAIL_WITH, ERROR)


def test_a_file_that_has_all_keys_is_fine() -> None:
    assert judge(missing(number=0)).status is Status.OK


def test_keys_that_only_have_other_names_come_with_the_code_that_renames_them() -> None:
    code = ('state = {key.removeprefix("module."): it for key, it in state.items()}',)

    verdict = judge(
        missing(number=4, renaming="removing the prefix module. from every key", code=code)
    )

    assert verdict.fix == code
    assert any("after removing the prefix module." in it.value for it in verdict.evidence)
