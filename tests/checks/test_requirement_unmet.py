"""Truth: what people mean by `python==3.11` or `gcc<14` of a version with more parts."""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.checks.requirement_unmet import judge
from torchkit.errors import BadInput
from torchkit.machine.facts import Companion, Facts, Gpu, Unknown
from torchkit.report import Status, Verdict
from torchkit.requirements import parse_requirements
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
    "cpu_limit": None,
    "memory_limit_bytes": None,
    "companions": (Companion("xformers", "0.0.28"), Companion("torchvision", "0.21.0+cu124")),
    "os_system": "linux",
    "os_name": "Debian GNU/Linux 12 (bookworm)",
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
        "torch==2.6.*",
        "torch==2.6+cu124",
        "torch!=2.6.0+cpu",
        "torch!=2.6+cpu",
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
        "os_system!=windows",
        "os_name==Debian GNU/Linux 12 (bookworm)",
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
        "torch==2.6+cpu",
        "torch!=2.6.0+cu124",
        "torch!=2.6",
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
        "os_name==Debian",
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


@pytest.mark.parametrize(
    ("expression", "status"),
    [
        ("capability==8", Status.OK),
        ("capability==8.0", Status.OK),
        ("capability==8.*", Status.OK),
        ("capability<=8", Status.OK),
        ("capability>=8", Status.OK),
        ("capability~=8.0", Status.OK),
        ("capability!=9", Status.OK),
        ("capability>8", Status.FAIL),
        ("capability!=8", Status.FAIL),
        ("capability<8", Status.FAIL),
        ("capability==8.6", Status.FAIL),
        ("capability>=80", Status.FAIL),
    ],
)
def test_a_capability_is_compared_in_as_many_parts_as_the_bound_has(
    expression: str, status: Status
) -> None:
    assert judged(expression, gpus=(Gpu("A100", "8.0"),)).status is status


def test_a_compatible_capability_ends_before_the_next_major() -> None:
    assert judged("capability~=8.0", gpus=(Gpu("L4", "8.9"),)).status is Status.OK
    assert judged("capability~=8.0", gpus=(Gpu("H100", "9.0"),)).status is Status.FAIL
    assert judged("capability~=8.0", gpus=(Gpu("T4", "7.5"),)).status is Status.FAIL


@pytest.mark.parametrize("expression", ["capability>=8.0", "capability<=7.5", "capability==8"])
def test_a_capability_must_hold_for_every_gpu(expression: str) -> None:
    gpus = (Gpu("A100", "8.0"), Gpu("T4", "7.5"))

    verdict = judged(expression, gpus=gpus)

    assert verdict.status is Status.FAIL
    assert ("found 8.0 (A100)" if "<" in expression else "found 7.5 (T4)") in verdict.message


def test_a_gpu_whose_capability_is_not_known_meets_none() -> None:
    gpus = (Gpu("A100", "8.0"), Gpu("a GPU that does not tell"))

    verdict = judged("capability>=8.0", gpus=gpus)

    assert verdict.status is Status.FAIL
    assert "the compute capability of a GPU that does not tell is not known" in verdict.message
    assert judged("gpu>=2", gpus=gpus).status is Status.OK


def test_a_gpu_that_tells_no_capability_is_known_by_its_name() -> None:
    """NVIDIA lists the A100 as 8.0 and the T4 as 7.5: https://developer.nvidia.com/cuda-gpus."""
    gpus = (Gpu("NVIDIA A100-SXM4-80GB"), Gpu("Tesla T4"))

    assert judged("capability>=7.5", gpus=gpus).status is Status.OK
    assert judged("capability>=8.0", gpus=gpus).status is Status.FAIL


@pytest.mark.parametrize("version", ["2.6.0a0+ecf3bae40a.nv25.01", "2.6.0.dev20241112+cu124"])
@pytest.mark.parametrize(
    ("bound", "status"),
    [
        (">=2.6", Status.OK),
        (">=2.6.0", Status.OK),
        ("==2.6", Status.OK),
        ("==2.6.0", Status.OK),
        ("<=2.6.0", Status.OK),
        ("~=2.6.0", Status.OK),
        (">2.5.1", Status.OK),
        ("<2.6", Status.FAIL),
        ("<2.6.0", Status.FAIL),
        (">2.6.0", Status.FAIL),
        ("!=2.6.0", Status.FAIL),
        (">=2.6.1", Status.FAIL),
        (">=2.6.0.post1", Status.FAIL),
    ],
)
def test_a_build_between_releases_counts_as_the_release_it_leads_to(
    version: str, bound: str, status: Status
) -> None:
    assert judged(f"torch{bound}", torch_version=Version(version)).status is status


@pytest.mark.parametrize(
    ("version", "bound", "status"),
    [
        ("2.14.0.dev20260901+cpu", ">=2.14.0.dev20260815", Status.OK),
        ("2.14.0.dev20260801+cpu", ">=2.14.0.dev20260815", Status.FAIL),
        ("2.14.0", ">=2.14.0.dev20260815", Status.OK),
        ("2.6.0a0+ecf3bae40a.nv25.01", ">=2.6.0rc1", Status.FAIL),
        ("2.6.0rc1", "==2.6rc1", Status.OK),
        ("2.6.1", "==2.6rc1", Status.FAIL),
        ("2.6.0a0+ecf3bae40a", "==2.6.0a0+ecf3bae40a", Status.OK),
        ("2.6.0.post1", "==2.6.0", Status.OK),
        ("2.6.0.post2", ">=2.6.0.post1", Status.OK),
        ("2.6.0", ">=2.6.0.post1", Status.FAIL),
        ("3", "~=3.0.1", Status.FAIL),
        ("3", "~=3.0", Status.OK),
    ],
)
def test_a_bound_that_names_a_pre_or_post_release_is_compared_with_it(
    version: str, bound: str, status: Status
) -> None:
    assert judged(f"torch{bound}", torch_version=Version(version)).status is status


@pytest.mark.parametrize("fact", ["memory_limit_bytes", "cpu_limit"])
def test_no_limit_is_more_than_any_bound(fact: str) -> None:
    for sign, status in {
        ">=": Status.OK,
        ">": Status.OK,
        "!=": Status.OK,
        "<=": Status.FAIL,
        "<": Status.FAIL,
        "==": Status.FAIL,
        "": Status.FAIL,  # "is there a limit"
    }.items():
        assert judged(f"{fact}{sign}{'8G' if sign else ''}").status is status, sign


def test_a_limit_is_compared_as_it_is() -> None:
    limits = {"memory_limit_bytes": 4 * GIB, "cpu_limit": 1.5}

    assert judged("memory_limit_bytes>=4G", **limits).status is Status.OK
    assert judged("memory_limit_bytes>=8G", **limits).status is Status.FAIL
    assert judged("cpu_limit>=2", **limits).message == "cpu_limit>=2 is required, found 1.5"


@pytest.mark.parametrize(
    ("count", "limit", "usable"),
    [
        (16, None, 16),
        (16, 2.0, 2),
        (2, 8.0, 2),
        (16, Unknown("cgroups cannot be read"), 16),
        (Unknown("not told"), 4.0, 4),
    ],
)
def test_cpus_are_those_the_process_may_really_use(count: Any, limit: Any, usable: int) -> None:
    facts = {"cpu_count": count, "cpu_limit": limit}

    assert judged(f"cpus>={usable}", **facts).status is Status.OK
    assert judged(f"cpus>{usable}", **facts).status is Status.FAIL
    assert f"found {usable}" in judged(f"cpus>{usable}", **facts).message


def test_cpus_that_nothing_tells_are_not_met() -> None:
    verdict = judged("cpus>=1", cpu_count=Unknown("not told"), cpu_limit=None)

    assert verdict.status is Status.FAIL
    assert "not told" in verdict.message


def test_a_companion_of_no_readable_version_is_not_met() -> None:
    verdict = judged("torchvision>=0.21", companions=(Companion("torchvision", "head"),))

    assert verdict.status is Status.FAIL
    assert "'head'" in verdict.message


def test_several_requirements_in_one_expression_are_judged_one_by_one() -> None:
    parsed = parse_requirements("torch>=2.4, <3, os_name==Debian GNU/Linux 12, gcc<14")

    assert [it.text for it in parsed] == [
        "torch>=2.4,<3",
        "os_name==Debian GNU/Linux 12",
        "gcc<14",
    ]


@pytest.mark.parametrize("expression", ["torch>=2.4,", ",torch>=2.4", "torch>=2.4,,gcc<14", ","])
def test_a_comma_too_many_is_refused_with_the_whole_expression(expression: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_requirements(expression)

    assert repr(expression) in raised.value.message
    assert "comma" in raised.value.message


@pytest.mark.parametrize("sign", ["===", "=>", "=<", ">>", "<>", "!==", "~"])
def test_a_comparison_that_there_is_not_is_named(sign: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_requirements(f"torch{sign}2.6")

    assert f"torch{sign}2.6" in raised.value.message
    assert "torch>=2.4" in raised.value.hint


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
        ("sm>=80", "did you mean capability"),
        ("capability>=sm_80", "8.0"),
        ("torch>=2.4 gcc<14", "a version"),
        ("torch>=2.4,3", "--require"),
        ("torch~=2", "torch~=2.0"),
        ("cpus~=16", "cpus>=16"),
        ("os_system>=linux", "== or !="),
        ("torch>=2.6.0+cu124", "torch>=2.6.0"),
        ("torch==2.6rc1.*", "a version"),
    ],
)
def test_an_expression_that_cannot_be_read_says_how_to_write_it(
    expression: str, words: str
) -> None:
    with pytest.raises(BadInput) as raised:
        parse_requirements(expression)

    assert words in raised.value.hint
