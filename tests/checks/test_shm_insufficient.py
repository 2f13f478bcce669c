"""Truth: 64 images of float32 are 36.75 MiB; 8 workers at prefetch 2 have 17 such batches alive.

That runs end just where these verdicts turn is in tests/dataset/test_truth.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.checks.shm_insufficient import judge, workers
from torchkit.dataset.predict import Need, Workload, predict
from torchkit.report import Status
from torchkit.units import readable

MIB = 1024**2
IMAGES = 64 * 3 * 224 * 224 * 4
LOAD = Workload((IMAGES,), workers=8, keeps_last=False)


def need(free_bytes: int, load: Workload = LOAD, **more: Any) -> Need:
    return Need(
        load=load,
        prediction=predict(load),
        shm_free_bytes=free_bytes,
        recommended_bytes=1024**3,
        message="RuntimeError: unable to allocate shared memory(shm)",
        **more,
    )


PEAK, BOUND = predict(LOAD).peak_bytes, predict(LOAD).bound_bytes


@pytest.mark.parametrize(
    ("free_bytes", "status"),
    [
        (0, Status.FAIL),
        (64 * MIB, Status.FAIL),
        (PEAK - 4096, Status.FAIL),
        (PEAK, Status.WARN),
        (BOUND - 4096, Status.WARN),
        (BOUND, Status.OK),
    ],
)
def test_the_usual_peak_and_the_bound_are_the_edges(free_bytes: int, status: Status) -> None:
    assert judge(need(free_bytes)).status is status


def test_both_numbers_are_named() -> None:
    verdict = judge(need(64 * MIB))

    assert verdict.message.startswith(
        "8 workers need 624.9 MiB of shared memory, 64 MiB of /dev/shm"
    )
    evidence = {it.name: it.value for it in verdict.evidence}
    assert evidence["usual peak"].startswith("624.9 MiB")
    assert evidence["never above"] == "661.6 MiB"


def test_no_number_of_workers_is_advised_where_none_fits() -> None:
    none = judge(need(64 * MIB)).fix
    some = judge(need(300 * MIB, max_workers=3)).fix
    at_one = judge(need(120 * MIB, max_workers_at_one=1)).fix

    assert "num_workers=0   (no number of workers fits)" in none
    assert any(line.startswith("num_workers=3   (") for line in some)
    assert any(line.startswith("num_workers=1, prefetch_factor=1") for line in at_one)


def test_bytes_in_place_of_floats_are_advised_where_they_fit() -> None:
    assert any("uint8" in line for line in judge(need(64 * MIB, uint8_bytes=19 * MIB)).fix)
    assert not any("uint8" in line for line in judge(need(64 * MIB)).fix)


def test_what_makes_it_hang_is_told() -> None:
    own = judge(need(64 * MIB, hangs_by="it has a collate_fn of its own")).evidence
    torchs = judge(need(64 * MIB)).evidence

    assert any("hangs" in it.value for it in own)
    assert not any("hangs" in it.value for it in torchs)


FORKED = LOAD._replace(keeps_last=True)


def test_where_only_the_usual_peak_fits_later_epochs_fail_and_the_ways_out_come_first() -> None:
    verdict = judge(need(PEAK, FORKED))

    assert verdict.status is Status.WARN
    assert "from the second epoch on it fails: the last batch stays" in verdict.message
    assert [line.split()[0] for line in verdict.fix[:2]] == ["persistent_workers=True", "`del"]


def test_persistent_workers_hear_nothing_of_later_epochs() -> None:
    verdict = judge(need(PEAK, LOAD))

    assert verdict.status is Status.WARN
    assert "epoch" not in verdict.message
    assert not any("persistent_workers" in line for line in verdict.fix)


def test_what_only_a_very_fast_dataset_takes_later_is_no_warning() -> None:
    later = predict(FORKED).later_bound_bytes

    first, all_of_them = judge(need(BOUND, FORKED)), judge(need(later, FORKED))

    assert (first.status, all_of_them.status) == (Status.OK, Status.OK)
    assert "at most" not in first.message
    assert f"at most {readable(later)}" in all_of_them.message


def test_all_batches_that_the_loop_keeps_stay_for_the_next_epoch() -> None:
    kept = FORKED._replace(kept=3)

    verdict = judge(need(predict(kept).peak_bytes, kept))

    assert "from the second epoch on it fails: the last 4 batches stay" in verdict.message


def test_a_run_that_took_more_counts_more() -> None:
    assert judge(need(BOUND, measured_bytes=BOUND + 1)).status is Status.FAIL
    assert judge(need(PEAK, measured_bytes=10)).status is Status.WARN


def test_a_run_that_passed_the_bound_never_fits() -> None:
    verdict = judge(need(10 * BOUND, measured_bytes=3 * BOUND))

    assert verdict.status is Status.WARN
    assert "3.0 times what its batches let expect" in verdict.message


def test_a_run_that_took_all_it_might_never_fits() -> None:
    def of(free: int) -> Status:
        return judge(need(free, measured_bytes=PEAK // 2, more_than_bytes=2 * BOUND)).status

    assert of(2 * BOUND - 1) is Status.FAIL
    assert of(2 * BOUND) is Status.WARN
    assert of(100 * BOUND) is Status.WARN


def test_less_comes_first_where_there_is_no_memory_for_more() -> None:
    beyond = judge(need(64 * MIB, memory_usable_bytes=512 * MIB, memory_limited_by="the limit"))
    within = judge(need(64 * MIB, memory_usable_bytes=2048 * MIB, memory_limited_by="the limit"))

    assert beyond.fix[0].startswith("num_workers=0")
    assert any(it.value == "the limit leaves 512 MiB" for it in beyond.evidence)
    assert within.fix[0].startswith("docker run --shm-size=1g")


def test_without_workers_nothing_is_needed() -> None:
    assert judge(need(0, LOAD._replace(workers=0))).status is Status.OK


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (LOAD._replace(workers=1), "1 worker"),
        (LOAD, "8 workers"),
        (LOAD._replace(loaders=2), "2 loaders of 8 workers"),
        (LOAD._replace(ranks=4), "8 workers on each of 4 ranks"),
    ],
)
def test_who_needs_it(load: Workload, words: str) -> None:
    assert workers(need(0, load)) == words
