"""Truth: the variables that torchrun, srun, mpirun and mpiexec set for their processes."""

from __future__ import annotations

import pytest

from torchkit.errors import BadInput
from torchkit.machine.launch import launch_of

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


def test_torchrun_says_who_this_is_and_hosts_the_store() -> None:
    launch = launch_of(TORCHRUN)

    assert (launch.rank, launch.world_size) == (3, 4)
    assert launch.address == ("node0", 29500)
    assert launch.has_agent
    assert not launch.is_one_host


@pytest.mark.parametrize(
    ("environ", "rank", "size"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, 1, 2),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, 5, 8),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, 2, 3),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, 0, 1),
        ({"RANK": "1", "WORLD_SIZE": "2", "PMI_RANK": "7", "PMI_SIZE": "9"}, 1, 2),
    ],
)
def test_other_launchers_say_so_by_other_names(
    environ: dict[str, str], rank: int, size: int
) -> None:
    launch = launch_of(environ)

    assert (launch.rank, launch.world_size) == (rank, size)
    assert launch.address is None


@pytest.mark.parametrize(
    "changes",
    [
        {"LOCAL_WORLD_SIZE": "4"},
        {"MASTER_ADDR": "localhost"},
        {"MASTER_ADDR": "127.0.0.1"},
        {"MASTER_ADDR": "::1"},
    ],
)
def test_ranks_are_on_one_host_when_all_are_local_or_meet_at_the_loopback(
    changes: dict[str, str],
) -> None:
    assert launch_of({**TORCHRUN, **changes}).is_one_host


def test_ranks_of_one_run_agree_on_a_key_that_other_runs_do_not_have() -> None:
    one = launch_of(TORCHRUN).key

    assert launch_of({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}).key == one
    assert launch_of({**TORCHRUN, "MASTER_PORT": "29501"}).key != one
    assert launch_of({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"}).key != one


def test_a_rank_that_may_look_longer_is_waited_for_longer_unless_a_limit_is_set() -> None:
    set_ = {**TORCHRUN, "TORCHKIT_RANKS_TIMEOUT_S": "9"}

    assert launch_of(TORCHRUN, looking_s=120).limit_s == launch_of(TORCHRUN).limit_s + 120
    assert launch_of(set_, looking_s=120).limit_s == 9


def test_what_torch_would_miss_is_known_where_a_launcher_sets_torchs_own_variables() -> None:
    ranks = {"RANK": "0", "WORLD_SIZE": "2"}

    assert launch_of(ranks).lacks == "MASTER_ADDR"
    assert launch_of({**ranks, "MASTER_ADDR": "a"}).lacks == "MASTER_PORT"
    assert launch_of(TORCHRUN).lacks == ""
    assert launch_of({"PMI_RANK": "0", "PMI_SIZE": "2"}).lacks == ""


def test_only_a_number_or_an_address_of_its_own_tells_a_run_from_others() -> None:
    ranks = {"RANK": "0", "WORLD_SIZE": "2"}

    assert not launch_of(ranks).has_key
    assert launch_of({**ranks, "SLURM_JOB_ID": "7"}).has_key
    assert launch_of(TORCHRUN).has_key


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "RANK and WORLD_SIZE are not set"),
        ({"RANK": "0"}, "are not set"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, "are not set"),  # sbatch, before any srun
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x'"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK is '-1'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "ranks go from 0 to 1"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"RANK": "0", "WORLD_SIZE": "9" * 30}, "WORLD_SIZE is"),
        ({**TORCHRUN, "MASTER_PORT": "http"}, "MASTER_PORT is 'http'"),
        ({**TORCHRUN, "MASTER_PORT": "99999"}, "MASTER_PORT is"),
        ({**TORCHRUN, "TORCHKIT_RANKS_TIMEOUT_S": "soon"}, "expected seconds"),
        ({**TORCHRUN, "TORCHKIT_RANKS_TIMEOUT_S": "nan"}, "expected seconds"),
        ({**TORCHRUN, "TORCHKIT_RANKS_TIMEOUT_S": "-1"}, "expected seconds"),
    ],
)
def test_what_says_nothing_of_use_is_refused(environ: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput) as raised:
        launch_of(environ)

    assert words in raised.value.message
    assert raised.value.hint
