"""Whole or not; how it is read stands in tests/machine/test_libtorch_files.py."""

from __future__ import annotations

from collections.abc import Callable

from torchkit.checks.libtorch_broken import judge
from torchkit.machine.facts import Libtorch
from torchkit.report import WOULD_FAIL_WITH, Finding, Status


def test_what_is_missing_is_said_with_cmakes_words() -> None:
    broken = Libtorch("/opt/libtorch", problem="lib/libc10.so is missing", error="CMake stops")

    (verdict,) = judge((broken,))

    assert verdict.status is Status.FAIL
    assert verdict.message == "/opt/libtorch cannot be used: lib/libc10.so is missing"
    assert (verdict.evidence[0].name, verdict.evidence[0].value) == (WOULD_FAIL_WITH, "CMake stops")


def test_a_whole_one_is_fine() -> None:
    (verdict,) = judge((Libtorch("/opt/libtorch", version="2.8.0+cpu"),))

    assert verdict.status is Status.OK


def test_a_part_that_was_not_read_is_worth_saying() -> None:
    (verdict,) = judge((Libtorch("a.zip", version="2.8.0+cpu", not_read="lib/a.so: encrypted"),))

    assert verdict.status is Status.INFO
    assert "lib/a.so: encrypted" in verdict.message


def test_each_is_judged_and_named() -> None:
    verdicts = judge((Libtorch("/a"), Libtorch("/b", problem="it is no zip")))

    assert [it.status for it in verdicts] == [Status.OK, Status.FAIL]
    assert verdicts[1].message.startswith("/b ")
    assert verdicts[1].brief == "b cannot be used"


def test_the_fix_is_the_download_for_this_machine(finding: Callable[..., Finding]) -> None:
    found = finding(
        "libtorch-broken",
        libtorchs=(Libtorch("/a", problem="it is no zip"),),
        os_system="linux",
        cpu_architecture="x86_64",
        gpus=(),
        glibc_version=None,
    )
    elsewhere = finding(
        "libtorch-broken",
        libtorchs=(Libtorch("/a", problem="it is no zip"),),
        os_system="macos",
        cpu_architecture="aarch64",
        gpus=(),
    )

    assert "download" not in found.verdict.fix[0]  # musl: nothing is published for it
    assert elsewhere.verdict.fix[0].startswith(
        "download instead: https://download.pytorch.org/libtorch/cpu/libtorch-macos-arm64-"
    )


def test_nothing_given_is_nothing_to_judge(finding: Callable[..., Finding]) -> None:
    assert not finding("libtorch-broken", libtorchs=None).verdict.applies


def test_a_folder_in_it_that_is_one_is_named_instead_of_a_download() -> None:
    problem = "it is none itself, there is one in its folder my libtorch"
    above = Libtorch("/opt", problem=problem, error="e", subfolder="/opt/my libtorch")

    (verdict,) = judge((above,))

    assert verdict.fix == ("name it: --libtorch '/opt/my libtorch'",)


def test_the_problem_is_told_once() -> None:
    (verdict,) = judge((Libtorch("/opt/libtorch", problem="it is no zip", error="unzip stops"),))

    assert "it is no zip" in verdict.message
    assert "it is no zip" not in [it.value for it in verdict.evidence]
