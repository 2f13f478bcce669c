"""Truth: cpp_extension.py's `from pkg_resources import packaging`, tried against setuptools wheels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkit.checks.setuptools_mismatch import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(torch: str, setuptools: str | None, python: str = "3.10.12") -> Verdict:
    return judge(
        torch_version=Version(torch),
        setuptools_version=Version(setuptools) if setuptools else None,
        python_version=Version(python),
    )


@pytest.mark.parametrize(
    ("torch", "setuptools", "status"),
    [
        ("2.1.2", "82.0.0", Status.WARN),
        ("2.1.2", "81.0.0", Status.OK),
        ("2.1.2", "71.0.0", Status.OK),
        ("2.1.2", "70.3.0", Status.WARN),
        ("2.1.2", "70.0.0", Status.WARN),
        ("2.1.2", "69.5.1", Status.OK),
        ("2.2.0", "82.0.0", Status.OK),
        ("1.8.0", "82.0.0", Status.WARN),
        ("1.7.1", "82.0.0", Status.OK),
    ],
)
def test_the_exact_edges(torch: str, setuptools: str, status: Status) -> None:
    assert judged(torch, setuptools).status is status


def test_each_window_has_its_own_error() -> None:
    gone, partial = judged("2.1.2", "82.0.1"), judged("2.1.2", "70.0.0")

    assert gone.evidence[0].value == "ModuleNotFoundError: No module named 'pkg_resources'"
    assert "cannot import name 'packaging'" in partial.evidence[0].value


def test_no_setuptools_matters_from_python_3_12_on() -> None:
    assert judged("2.4.1", None, "3.11.9").status is Status.OK
    assert judged("2.4.1", None, "3.12.0").status is Status.INFO


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    no_torch = finding("setuptools-mismatch", torch_version=None, setuptools_version=None)
    unknown = finding(
        "setuptools-mismatch",
        torch_version=Version("2.1.2"),
        setuptools_version=Unknown("odd version"),
    )

    assert (no_torch.status, no_torch.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
