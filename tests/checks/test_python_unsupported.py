"""Truth: the default index: 3.12 from 2.2.0 on, 3.13 from 2.5.0, 3.8 to 2.4.1, 3.14t from 2.9.0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.python_unsupported import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(python: str, torch: str | None, *, free: bool = False, manager: Any = "pip") -> Verdict:
    return judge(
        python_version=Version(python),
        torch_version=Version(torch) if torch else None,
        python_free_threaded=free,
        torch_manager=manager,
        glibc_version=Version("2.36"),
        os_system="linux",
    )


@pytest.mark.parametrize(
    ("python", "torch", "is_offered"),
    [
        ("3.13.0", "2.5.0", True),
        ("3.13.0", "2.4.1", False),
        ("3.8.18", "2.4.1", True),
        ("3.8.18", "2.5.0", False),
        ("3.12.4", "2.4.1", True),
        ("3.14.0", "2.9.0", True),
        ("3.14.0", "2.8.0", False),
    ],
)
def test_the_exact_edges_of_the_official_wheels(python: str, torch: str, is_offered: bool) -> None:
    assert (judged(python, torch).status is not Status.WARN) is is_offered


def test_python_3_9_is_not_python_3_90() -> None:
    assert judged("3.90.0", "2.5.0").status is Status.WARN


@pytest.mark.parametrize(("torch", "status"), [("2.9.0", Status.INFO), ("2.8.0", Status.WARN)])
def test_a_free_threaded_python_needs_its_own_wheel(torch: str, status: Status) -> None:
    assert judged("3.14.0", torch, free=True).status is status


def test_a_free_threaded_python_without_any_wheel_is_told_an_ordinary_one() -> None:
    verdict = judged("3.12.4", "2.5.0", free=True)

    assert verdict.status is Status.WARN
    assert "make an environment with Python" in verdict.fix[0]


def test_torch_compile_refuses_new_pythons_longer() -> None:
    verdict = judged("3.12.4", "2.3.1")

    assert verdict.status is Status.INFO
    assert "Python 3.12+ not yet supported for torch.compile" in verdict.evidence[0].value
    assert judged("3.12.4", "2.4.0").status is Status.OK


def test_what_conda_built_is_not_measured_by_official_wheels() -> None:
    assert judged("3.13.0", "2.4.1", manager="conda").status is Status.OK


def test_a_python_without_any_torch_fails_before_the_installation() -> None:
    verdict = judged("3.16.0", None)

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == "ERROR: No matching distribution found for torch"


def test_a_python_whose_newest_torch_is_an_older_one_is_told_so() -> None:
    verdict = judged("3.8.18", None)

    assert verdict.status is Status.INFO
    assert "2.4.1" in verdict.message


def test_a_build_between_releases_is_not_guessed_about() -> None:
    verdict = judged("3.12.4", "2.16.0.dev20261120")

    assert verdict.status is Status.SKIP
    assert verdict.applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    unknown = finding("python-unsupported", python_version=Unknown("it does not start"))
    alone = finding(
        "python-unsupported", python_version=Version("3.11.7"), torch_version=Version("2.13.0")
    )

    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.OK
