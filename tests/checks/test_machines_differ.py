"""Truth: what NCCL, torch and Python really say when machines of one job differ.

NCCL's words stand in initTransportsRank of its src/init.cc; torch's were read off a CPU build's
`init_process_group("nccl")`, which one test repeats where there is such a build.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from torchkit.checks.machines_differ import Difference, Side, is_worth_a_finding, judge, reference
from torchkit.machine.facts import GLOSSARY
from torchkit.report import WOULD_FAIL_WITH, Status, Verdict
from torchkit.versions import Version

GIB = 1024**3


def difference(fact: str, usual: Any, odd: Any, **changes: Any) -> Difference:
    """Seven machines with the usual value, one with another."""
    sides = (Side(usual, str(usual), "node0-6", 7), Side(odd, str(odd), "node7", 1))
    return Difference(fact, sides, **{"is_usual": True, **changes})


def would_fail_with(verdict: Verdict) -> list[str]:
    return [item.value for item in verdict.evidence if item.name == WOULD_FAIL_WITH]


def test_a_difference_is_told_with_both_values_what_it_means_and_what_to_do() -> None:
    found = difference("driver_version", Version("550.90.07"), Version("535.54.03"))

    verdict = judge(found)

    assert verdict.status is Status.WARN
    assert verdict.message == "driver 535.54.03 on node7, 550.90.07 on node0-6"
    told = {item.name: item.value for item in verdict.evidence}
    assert told["means"]
    assert verdict.fix == ("bring the NVIDIA driver of node7 to 550.90.07",)


@pytest.mark.parametrize(
    ("fact", "one", "other", "matters"),
    [
        ("driver_version", Version("550.90.07"), Version("550.54.15"), False),
        ("driver_version", Version("550.90.07"), Version("535.54.03"), True),
        ("driver_version", Version("550.90.07"), None, True),
        ("python_version", Version("3.11.9"), Version("3.11.7"), False),
        ("python_version", Version("3.11.9"), Version("3.12.0"), True),
        ("numpy_version", Version("1.26.4"), Version("1.24.0"), False),
        ("numpy_version", Version("1.26.4"), Version("2.0.0"), True),
        ("shm_total_bytes", 64 * GIB, 33 * GIB, False),
        ("shm_total_bytes", 64 * GIB, 32 * GIB, True),
        ("nvcc_version", Version("12.4.1"), Version("12.4.0"), False),
        ("nvcc_version", Version("12.4"), Version("12.6"), True),
        ("torch_version", Version("2.6.0+cu124"), Version("2.6.0+cpu"), True),
        ("cmake_version", Version("3.20"), Version("4.0"), False),
    ],
)
def test_versions_and_sizes_matter_from_where_they_change_something(
    fact: str, one: Any, other: Any, matters: bool
) -> None:
    assert is_worth_a_finding(difference(fact, one, other)) is matters
    assert is_worth_a_finding(difference(fact, other, one)) is matters


def test_a_fact_that_means_nothing_is_only_told() -> None:
    verdict = judge(difference("cmake_version", Version("3.20"), Version("4.0")))

    assert verdict.status is Status.INFO
    assert verdict.fix == ()


def test_two_nccl_break_a_job_and_are_a_warning_elsewhere() -> None:
    facts = ("nvidia_packages", "2.30.7", "2.28.3")

    job = judge(difference(*facts, item="nvidia-nccl", is_one_job=True))
    apart = judge(difference(*facts, item="nvidia-nccl"))

    assert job.status is Status.FAIL
    assert would_fail_with(job) == ["Mismatched NCCL version detected"]
    assert apart.status is Status.WARN


def test_nccl_compares_three_numbers_of_its_version() -> None:
    found = difference(
        "nvidia_packages", "2.30.7", "2.30.7.post1", item="nvidia-nccl", is_one_job=True
    )

    assert judge(found).status is Status.WARN


def test_no_nccl_package_is_no_other_nccl() -> None:
    """conda's torch, and many others, bring it inside their own libraries."""
    found = difference("nvidia_packages", "2.30.7", None, item="nvidia-nccl", is_one_job=True)

    assert judge(found).status is Status.WARN


def test_a_rank_without_torch_fails_as_python_says() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import torch"],
        capture_output=True,
        text=True,
        check=False,
    )

    verdict = judge(difference("torch_version", Version("2.6.0"), None, is_one_job=True))

    assert verdict.status is Status.FAIL
    assert would_fail_with(verdict) == [done.stderr.splitlines()[-1]]


def test_two_releases_of_torch_are_no_certain_failure() -> None:
    """2.13 and 2.14 were seen to reduce, gather and train together over gloo."""
    found = difference("torch_version", Version("2.14.1"), Version("2.13.0"), is_one_job=True)

    assert judge(found).status is Status.WARN


@pytest.mark.torch
def test_a_cpu_build_among_cuda_builds_fails_as_torch_says() -> None:
    script = """
import os, torch
assert torch.version.cuda is None
os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
store = torch.distributed.HashStore()
torch.distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    if "AssertionError" in done.stderr or "No module named 'torch'" in done.stderr:
        pytest.skip("needs a CPU build of torch")

    verdict = judge(difference("torch_build", "cuda", "cpu", is_one_job=True))

    assert verdict.status is Status.FAIL
    (error,) = would_fail_with(verdict)
    assert error in done.stderr


def test_of_two_machines_the_one_that_is_not_to_be_like_comes_first() -> None:
    sides = (Side(Version("2.6"), "2.6", "saved"), Side(Version("2.5"), "2.5", "this machine"))

    verdict = judge(Difference("torch_version", sides))

    assert verdict.message == "torch 2.5 on this machine, 2.6 on saved"
    assert verdict.fix == ("choose one torch, and install it on all of them",)


def test_without_a_usual_value_the_lower_is_to_rise_and_never_the_higher_to_fall() -> None:
    sides = (
        Side(Version("470.57.02"), "470.57.02", "old"),
        Side(Version("580.82"), "580.82", "new"),
    )

    for order in (sides, sides[::-1]):
        (fix,) = judge(Difference("driver_version", order)).fix

        assert "old" in fix
        assert "470.57.02" not in fix


def test_only_machines_that_differ_so_far_that_it_matters_are_to_change() -> None:
    numpy = tuple(
        Side(Version(version), version, name, size)
        for version, name, size in (
            ("2.4.6", "most", 5),
            ("2.3.4", "near", 1),
            ("1.26.4", "far", 1),
        )
    )
    shm = tuple(
        Side(gib * GIB, f"{gib} GiB", name, size)
        for gib, name, size in ((32, "most", 5), (256, "large", 1), (1, "small", 1))
    )

    (of_numpy,) = judge(Difference("numpy_version", numpy, is_usual=True)).fix
    (of_shm,) = judge(Difference("shm_total_bytes", shm, is_usual=True)).fix

    assert of_numpy == "install numpy 2.4.6 on far too"
    assert of_shm == "give small as much, 32 GiB: docker run --shm-size"


def test_more_than_most_have_is_not_to_be_made_less() -> None:
    (of_shm,) = judge(difference("shm_total_bytes", 32 * GIB, 256 * GIB)).fix
    (of_driver,) = judge(difference("driver_version", Version("550.9"), Version("580.82"))).fix

    assert "node0-6" in of_shm
    assert "node7" not in of_shm
    assert of_driver == "bring the NVIDIA driver of node0-6 to 580.82 or newer"


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_is_built_for_all_is_built_where_glibc_is_the_oldest(is_reversed: bool) -> None:
    sides = (Side(Version("2.28"), "2.28", "old"), Side(Version("2.35"), "2.35", "new"))

    (fix,) = judge(Difference("glibc_version", sides[::-1] if is_reversed else sides)).fix

    assert fix.startswith("build on old, where glibc is the oldest (2.28)")


def test_a_machine_without_a_gpu_needs_no_driver_and_no_torch_for_cuda() -> None:
    usual = Side(Version("580.82"), "580.82", "nodes", 2)
    odd = Side(None, "none", "laptop", has_gpu=False)
    torches = (
        Side(Version("2.14.1+cu130"), "2.14.1+cu130", "nodes", 3),
        Side(Version("2.14.1+cpu"), "2.14.1+cpu", "laptop", has_gpu=False),
        Side(Version("2.6.0+cu124"), "2.6.0+cu124", "old"),
    )

    (fix,) = judge(Difference("torch_version", torches, is_usual=True)).fix

    assert not is_worth_a_finding(Difference("driver_version", (usual, odd), is_usual=True))
    assert is_worth_a_finding(Difference("driver_version", (usual, odd._replace(has_gpu=True))))
    assert fix == "install torch 2.14.1+cu130 on old too"


def test_a_page_is_named_only_for_what_it_is_about() -> None:
    nccl = difference("nvidia_packages", "2.30.7", "2.28.3", item="nvidia-nccl")
    glibc = difference("glibc_version", Version("2.35"), Version("2.28"))

    assert reference(nccl, "the page") == "the page"
    assert reference(glibc, "the page") == ""


def test_many_values_are_counted() -> None:
    sides = tuple(Side(Version(f"2.{n}"), f"2.{n}", f"node{n}") for n in range(9))

    verdict = judge(Difference("torch_version", sides))

    assert verdict.message == "torch 2.0 on node0, 2.1 on node1, and 7 other values"
    assert verdict.fix == ("choose one torch, and install it on all of them",)


def test_every_meaning_is_of_a_fact() -> None:
    from torchkit.knowledge.meanings import meanings

    assert set(meanings()) <= set(GLOSSARY)
    assert {cause for it in meanings().values() for cause in it.follows} <= set(GLOSSARY)
