"""Truth: https://github.com/pytorch/pytorch/issues/107302 (NumPy 2 from torch 2.3 on)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkit.checks.numpy_mismatch import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status
from torchkit.versions import Version


@pytest.mark.parametrize(
    ("torch", "numpy", "system", "status"),
    [
        ("2.0.1", "2.2.6", "linux", Status.FAIL),
        ("2.2.2", "2.0.0", "linux", Status.FAIL),
        ("2.2.2", "1.26.4", "linux", Status.OK),
        ("2.3.0", "2.0.0", "linux", Status.OK),
        ("2.3.0+cu121", "2.0.0", "linux", Status.OK),
        ("2.4.0", "2.0.0", "windows", Status.FAIL),
        ("2.4.1", "2.0.0", "windows", Status.OK),
    ],
)
def test_numpy_2_needs_torch_2_3_and_on_windows_2_4_1(
    torch: str, numpy: str, system: str, status: Status
) -> None:
    verdict = judge(torch_version=Version(torch), numpy_version=Version(numpy), os_system=system)

    assert verdict.status is status


def test_the_quoted_error_and_the_cure() -> None:
    verdict = judge(
        torch_version=Version("2.0.1"), numpy_version=Version("2.2.6"), os_system="linux"
    )

    assert verdict.evidence[0].value == "RuntimeError: Numpy is not available"
    assert verdict.fix == ("pip install 'numpy<2'",)


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    absent = finding("numpy-mismatch", torch_version=Version("2.0.1"), numpy_version=None)
    unknown = finding(
        "numpy-mismatch", torch_version=Version("2.0.1"), numpy_version=Unknown("odd version")
    )

    assert (absent.status, absent.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
