"""Truth: what people mean by `python==3.11` or `gcc<14` of a version with more parts."""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.checks.requirement_unmet import judge, parse_requirements
from torchkit.errors import BadInput
from torchkit.machine.facts import Companion, Facts, Gpu, Unknown
from torchkit.report import Status, Verdict
from torchkit.versions import Version

GIB = 1024**3

MACHINE: dict[str, Any] = {
    "torch_version": Version("2.6.0+cu124"),
    "torch_cuda": Version("12.4"),
    "torch_cxx11_abi": False,
    "python_version": Version("3.11.7"),
    "driver_version": Version("550.54.15"),
    "gcc_version": Version("13.3.0"),
    "clang_version": None,
    "cmake_version": Unknown("cmake did not answer within 5 s"),
    "gpus": (Gpu("A100", "8.0", 80 * GIB), Gpu("T4", "7.5", 16 * GIB)),
    "shm_total_bytes": 8 * GIB,
    "cpu_count": 16,
    "companions": (Companion("xformers", "0.0.28"), Companion("torchvision", "0.21.0+cu124")),
    "os_system": "linux",
}


def judged(expression: str, **changes: Any) -> Verdict:
    (requirement,) = parse_requirements(expression)
    return judge(requirement, Facts(MACHINE | changes))


@pytest.mark.parametrize(
    "expression",
    [
        "torch>=2.6",
        "torch==2.6",
        "torch==2.6.0+cu124",
        "torch!=2.5",
        "torch>2.5",
        "torch<2.7",
        "torch~=2.4",
        "torch~=2.6",
        "cpus~=16",
        "torch==2.6.*",
        "torch<=2.6",
        "torch>=2.4,<3",
        "python==3.11",
        "python=3.11.7",
        "gcc<14",
        "gcc<=13",
        "cuda>=12.1",
        "driver>=550",
        "cxx11_abi==0",
        "cxx11_abi!=1",
        "gpu",
        "gpu>=2",
        "gpu<3",
        "capability>=7.5",
        "shm>=8G",
        "shm>=8GiB",
        "cpus>=16",
        "torchvision>=0.21",
        "os_system==linux",
        "torch_version>=2.6",
    ],
)
def test_a_requirement_that_holds(expression: str) -> None:
    assert judged(expression).status is Status.OK


@pytest.mark.parametrize(
    "expression",
    [
        "torch>=2.6.1",
        "torch==2.60",
        "torch==2.6.0+cpu",
        "torch>2.6",
        "torch<2.6",
        "torch~=2.7",
        "torch>=2.4,<2.6",
        "python==3.1",
        "gcc<13",
        "driver>=550.54.16",
        "cxx11_abi==1",
        "gpu>=3",
        "capability>=8.0",
        "shm>=9G",
        "torchaudio>=2.0",
        "clang>=14",
        "clang",
        "os_system==windows",
    ],
)
def test_a_requirement_that_does_not_hold(expression: str) -> None:
    verdict = judged(expression)

    assert verdict.status is Status.FAIL
    assert verdict.message.startswith(f"{expression} is required, ")


def test_the_message_has_what_was_found_and_what_is_needed() -> None:
    verdict = judged("driver>=580")

    assert verdict.message == "driver>=580 is required, found 550.54.15"
    assert verdict.brief == "driver>=580 is not met"


def test_what_could_not_be_told_is_not_met() -> None:
    verdict = judged("cmake>=3.18")

    assert verdict.status is Status.FAIL
    assert "cmake did not answer within 5 s" in verdict.message


def test_no_gpu_at_all_meets_no_requirement_of_one() -> None:
    assert judged("gpu>=1", gpus=()).status is Status.FAIL
    assert judged("capability>=7.0", gpus=()).status is Status.FAIL


def test_a_gpu_that_tells_no_capability_does_not_count_for_one() -> None:
    gpus = (Gpu("A100", "8.0"), Gpu("a GPU that does not tell"))

    assert judged("capability>=8.0", gpus=gpus).status is Status.OK
    assert judged("gpu>=2", gpus=gpus).status is Status.OK


def test_several_requirements_in_one_expression_are_judged_one_by_one() -> None:
    parsed = parse_requirements("torch>=2.4,<3,gcc<14")

    assert [it.text for it in parsed] == ["torch>=2.4,<3", "gcc<14"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("tourch>=2", "did you mean torch"),
        ("torch>=two", "2.4"),
        ("torch>>2", "2.4"),
        ("", "--require"),
        ("gpu>=many", "a number"),
        ("cxx11_abi==maybe", "0 or 1"),
        ("shm>=8Q", "G"),
    ],
)
def test_an_expression_that_cannot_be_read_says_how_to_write_it(
    expression: str, words: str
) -> None:
    with pytest.raises(BadInput) as raised:
        parse_requirements(expression)

    assert words in raised.value.hint
