"""Truth: what torch's own init_process_group says when a rank never comes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from torchkit.checks.rank_missing import Missing, judge
from torchkit.report import WOULD_FAIL_WITH, Status

MISSING = Missing("rank 1", 1, 1, 2, 60.0, ("files in /shared/torchkit-ranks-1",))


def test_missing_ranks_are_named_with_the_time_they_were_given() -> None:
    verdict = judge(MISSING)

    assert verdict.status is Status.FAIL
    assert verdict.message == "rank 1 did not answer within 60 s; 1 of 2 ranks did"
    assert ("asked through", "files in /shared/torchkit-ranks-1") in [
        (item.name, item.value) for item in verdict.evidence
    ]


def test_a_run_that_was_ended_is_not_said_to_have_taken_its_time() -> None:
    verdict = judge(MISSING._replace(stopped="the launcher ended this run (SIGTERM)"))

    assert "before the launcher ended this run" in verdict.message
    assert "60 s" not in verdict.message
    assert "launcher's own message" in verdict.fix[0]


def test_a_folder_is_advised_only_where_there_was_none() -> None:
    ways = ("torch.distributed at node0:29500",)

    assert "TORCHKIT_RANKS_DIR" not in " ".join(judge(MISSING).fix)
    assert "TORCHKIT_RANKS_DIR" in " ".join(judge(MISSING._replace(ways=ways)).fix)


def test_a_rank_that_could_not_look_is_quoted() -> None:
    verdict = judge(MISSING._replace(error="libtorch.zip is not there"))

    assert verdict.message == "rank 1 could not look: libtorch.zip is not there"


def test_what_keeps_rank_0_from_being_reached_is_not_told_as_the_others_fault() -> None:
    trouble = "DistNetworkError: The server socket has failed to listen. name: EADDRINUSE"

    taken = judge(MISSING._replace(trouble=trouble))
    unknown = judge(MISSING._replace(trouble="the store was not reached within 20 s"))

    assert taken.brief == f"rank 0 cannot be reached: {trouble}"
    assert "MASTER_PORT=" in taken.fix[0]
    assert trouble in [it.value for it in taken.evidence if it.name == WOULD_FAIL_WITH]
    assert unknown.fix[0].startswith("set MASTER_ADDR")


@pytest.mark.torch
@pytest.mark.parametrize("lacks", ["MASTER_ADDR", "MASTER_PORT"])
def test_a_variable_that_is_not_set_is_missed_in_torchs_own_words(lacks: str) -> None:
    environ = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    del environ[lacks]
    script = "import torch.distributed as it; it.init_process_group('gloo')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ,
    )
    if "No module named 'torch'" in done.stderr:
        pytest.skip("needs torch")

    verdict = judge(MISSING._replace(lacks=lacks))

    (quoted,) = (it.value for it in verdict.evidence if it.name == WOULD_FAIL_WITH)
    assert quoted in done.stderr
    assert lacks in verdict.fix[0]


@pytest.mark.torch
def test_the_error_that_is_quoted_is_torchs_own() -> None:
    script = """
import datetime, torch.distributed as it
limit = datetime.timedelta(seconds=1)
it.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=2, timeout=limit)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    if "No module named 'torch'" in done.stderr:
        pytest.skip("needs torch")

    quoted = next(it.value for it in judge(MISSING).evidence if it.name == WOULD_FAIL_WITH)

    assert quoted.replace("1801", "2") in done.stderr
