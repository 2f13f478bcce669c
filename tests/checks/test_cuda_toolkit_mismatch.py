"""Truth: torch.utils.cpp_extension refuses another major version, and only warns of a minor one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkit.checks.cuda_toolkit_mismatch import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(nvcc: str, cuda: str, system: str = "linux") -> Verdict:
    return judge(
        nvcc_version=Version(nvcc),
        torch_cuda=Version(cuda),
        cuda_home="/usr/local/cuda",
        os_system=system,
    )


@pytest.mark.parametrize(
    ("nvcc", "cuda", "status"),
    [
        ("11.8.89", "12.0", Status.INFO),
        ("12.0.140", "12.9", Status.OK),
        ("13.0.88", "12.9", Status.INFO),
        ("13.0.88", "13.2", Status.OK),
    ],
)
def test_the_major_version_is_the_edge(nvcc: str, cuda: str, status: Status) -> None:
    assert judged(nvcc, cuda).status is status


def test_it_never_fails_since_torch_itself_uses_no_nvcc() -> None:
    assert judged("10.2.89", "13.0").status is Status.INFO


def test_the_error_and_the_fix_name_both_versions() -> None:
    verdict = judged("11.8.89", "12.4")

    assert "(11.8) mismatches" in verdict.evidence[0].value
    assert "PyTorch (12.4)" in verdict.evidence[0].value
    assert verdict.fix[0].startswith("export CUDA_HOME=/usr/local/cuda-12.4")
    assert "export" not in judged("11.8.89", "12.4", "windows").fix[0]


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    no_nvcc = finding("cuda-toolkit-mismatch", nvcc_version=None, torch_cuda=Version("12.4"))
    cpu = finding("cuda-toolkit-mismatch", nvcc_version=Version("11.8"), torch_cuda=None)
    unknown = finding(
        "cuda-toolkit-mismatch", nvcc_version=Unknown("it hung"), torch_cuda=Version("12.4")
    )

    assert (no_nvcc.status, no_nvcc.verdict.applies) == (Status.SKIP, False)
    assert (cpu.status, cpu.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
