"""Logs that have no problem of torch: trainings that went well, other tools, other libraries.

Those of Python, numpy, pytest, compilers, cmake, cargo, pip and git are what these programs printed;
the others are written after what such programs print.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from torchkit.logs.problems import told
from torchkit.logs.reader import read_log

CLEAN = sorted((Path(__file__).parent / "clean").glob("*.log"))

FEWEST = 60


def test_there_are_enough_of_them() -> None:
    assert len(CLEAN) >= FEWEST


@pytest.mark.parametrize("path", CLEAN, ids=lambda path: path.stem)
def test_no_problem_is_seen_where_there_is_none(path: Path) -> None:
    with path.open("rb") as stream:
        found = told(read_log(stream))

    assert [(met.problem.id, met.text) for met in (*found.problems, *found.symptoms)] == []
