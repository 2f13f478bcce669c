"""Truth: the last words of DataLoaders of torch 2.13 that were made to fail."""

from __future__ import annotations

import pytest

from torchkit.checks.loader_fails import FailedRun, judge
from torchkit.report import WOULD_FAIL_WITH, Status

OF_SHARED_MEMORY = (
    "RuntimeError: unable to allocate shared memory(shm) for file </torch_17139_1050715640_0>: No space left on device (28)",
    "RuntimeError: unable to open shared memory object </torch_27176_878623964_0> in read-write mode: No space left on device (28)",
    "RuntimeError: DataLoader worker (pid 30480) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.",
    "OSError: [Errno 28] No space left on device",
)
OTHERS = (
    "RuntimeError: DataLoader worker (pid 30911) is killed by signal: Killed.",
    "RuntimeError: DataLoader worker (pid(s) 29066) exited unexpectedly",
    "RuntimeError: DataLoader worker (pid 7) is killed by signal: Segmentation fault.",
    "no batch came within 60 s",
)


@pytest.mark.parametrize("words", OF_SHARED_MEMORY)
def test_words_of_shared_memory_are_known(words: str) -> None:
    assert FailedRun(words, 2).check_id == "shm-insufficient"


@pytest.mark.parametrize("words", OTHERS)
def test_other_words_are_not_taken_for_it(words: str) -> None:
    assert FailedRun(words, 2).check_id == "loader-fails"


def test_words_of_other_limits_are_told_by_their_checks() -> None:
    size = "RuntimeError: unable to resize file </torch_14773_1_0> to the right size: File too large (27)"
    files = (
        "RuntimeError: unable to open shared memory object </torch_1_2_3> in read-write mode:"
        " Too many open files (24)"
    )

    assert FailedRun(size, 2).check_id == "file-size-limit"
    assert FailedRun(files, 2).check_id == "fd-limit"


def test_the_last_words_are_quoted() -> None:
    verdict = judge(FailedRun(OTHERS[1], 1))

    assert verdict.status is Status.FAIL
    assert verdict.message == "the DataLoader failed when it was run with 1 worker"
    assert [(it.name, it.value) for it in verdict.evidence] == [(WOULD_FAIL_WITH, OTHERS[1])]


def test_against_a_hang_there_is_a_timeout() -> None:
    hung = judge(FailedRun(OTHERS[3], 2, hangs=True))
    failed = judge(FailedRun(OTHERS[1], 2))

    assert "hung" in hung.message
    assert any(it.startswith("timeout=") for it in hung.fix)
    assert not any(it.startswith("timeout=") for it in failed.fix)


def test_who_was_killed_may_have_passed_the_memory_limit() -> None:
    assert any("dmesg" in it for it in judge(FailedRun(OTHERS[0], 2)).fix)
