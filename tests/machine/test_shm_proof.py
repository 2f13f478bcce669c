"""What the child that takes shared memory is asked for, and what its words mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from torchkit.machine.shm_proof import KEPT_FREE, OF_MEMORY, Proof, prove
from torchkit.system import Answer, System, Unknown

MIB = 1024**2


class Told(System):
    """A machine whose child gives this answer; it keeps what the child was asked."""

    def __init__(self, answer: Answer | Unknown) -> None:
        super().__init__(environ={})
        self.answer = answer
        self.asked: list[int] = []

    def run(self, command: Sequence[str | Path], **_: Any) -> Answer | Unknown:
        self.asked.append(int(command[4]))
        return self.answer


def test_all_of_it_is_taken_where_that_is_safe() -> None:
    system = Told(Answer(0, f"{10 * MIB}\n", ""))

    assert prove(system, 10 * MIB, free_bytes=64 * MIB, left_bytes=None) == Proof(10 * MIB)
    assert system.asked == [10 * MIB]


@pytest.mark.parametrize(
    ("free", "left", "most"),
    [
        (64 * MIB, None, int(64 * MIB * (1 - KEPT_FREE)) + 1),
        (64 * MIB, 32 * MIB, int(32 * MIB * OF_MEMORY)),
        (64 * MIB, 1024 * MIB, int(64 * MIB * (1 - KEPT_FREE)) + 1),
    ],
)
def test_neither_the_folder_nor_memory_is_ever_filled(
    free: int, left: int | None, most: int
) -> None:
    system = Told(Answer(0, "1\n", ""))

    prove(system, 64 * MIB, free_bytes=free, left_bytes=left)

    assert system.asked[0] <= most < free


def test_nothing_is_taken_where_nothing_is_left() -> None:
    system = Told(Answer(0, "", ""))

    assert prove(system, MIB, free_bytes=MIB, left_bytes=0).bytes == 0
    assert system.asked == []


@pytest.mark.parametrize(
    ("answer", "is_refused", "words"),
    [
        (Answer(0, "4096 ENOSPC No space left on device\n", ""), True, "no space left on device"),
        (Answer(0, "4096\n", ""), True, "others took"),
        (Answer(0, "0 EACCES Permission denied\n", ""), False, "permission denied"),
        (Answer(-9, "", ""), False, "died of signal 9"),
        (Answer(1, "", "Traceback\nImportError: no\n"), False, "ImportError: no"),
        (Unknown("it did not answer within 60 s"), False, "did not answer"),
    ],
)
def test_only_missing_space_is_a_refusal(
    answer: Answer | Unknown, is_refused: bool, words: str
) -> None:
    proof = prove(Told(answer), MIB, free_bytes=64 * MIB, left_bytes=None)

    assert proof.is_refused is is_refused
    assert words in proof.reason
