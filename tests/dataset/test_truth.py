"""Our prediction against DataLoaders that really run, each in a /dev/shm of a given size.

Truth: whether the training loop came to its end, and what statvfs of another process saw. The
loops are slow or fast by order and not by the clock (`configurations.py`), so that what is seen is
the same on a busy machine.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from asking import PAGE, PLENTY, Case, Truth, case_of, looking
from configurations import ALL

from torchkit.dataset.measure import run_loader

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def cases(truth: Truth, request: pytest.FixtureRequest) -> dict[str, Case]:
    """All that this run of the tests asks for, side by side."""
    wanted = {
        item.callspec.params.get("name")
        for item in request.session.items
        if getattr(item, "module", None) is request.module and hasattr(item, "callspec")
    }
    names = [name for name in ALL if name in wanted]
    looks = truth.run([looking(name) for name in names])
    found = {name: case_of(answer, ALL[name]) for name, answer in zip(names, looks, strict=True)}
    jobs = [
        (name, what, {"do": "train", "name": name, "size": size})
        for name, case in found.items()
        for what, size in (
            ("plenty", PLENTY), ("just enough", case.need + case.spare), ("a page less", case.need - PAGE)
        )
        if what == "plenty" or not case.configuration.is_dear
    ]  # fmt: skip
    for (name, what, _), answer in zip(jobs, truth.run([job for *_, job in jobs]), strict=True):
        found[name].seen[what] = answer
    return found


# --- how large it is, by order


SLOW = [name for name, it in ALL.items() if it.is_slow]
FAST = [name for name, it in ALL.items() if not it.is_slow]


@pytest.mark.parametrize("name", SLOW)
def test_a_loop_that_is_slower_than_its_workers_takes_what_we_say(
    name: str, cases: dict[str, Case]
) -> None:
    case = cases[name]
    peak = case.seen["plenty"]["peak"]

    assert case.seen["plenty"]["outcome"] == "works", case.seen["plenty"]
    assert peak <= case.need + case.spare
    if case.configuration.is_exact:
        assert peak >= case.need
    assert peak <= case.predicted.later_bound_bytes


@pytest.mark.parametrize("name", [name for name in SLOW if not ALL[name].is_dear])
def test_it_runs_in_just_that_and_in_no_page_less(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]

    assert case.seen["just enough"]["outcome"] == "works", case.seen["just enough"]
    if case.configuration.is_exact:
        expected = "hangs" if case.configuration.hangs else "fails"
        assert case.seen["a page less"]["outcome"] == expected, case.seen["a page less"]


@pytest.mark.parametrize("name", [name for name in SLOW if ALL[name].epochs == 1])
def test_the_verdict_turns_where_the_loader_does(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]
    usual, bound = case.predicted.peak_bytes, case.predicted.bound_bytes

    assert case.fits(usual - PAGE) == "no"
    assert case.fits(usual) == ("tight" if bound > usual else "yes")
    assert case.fits(bound) == "yes"


@pytest.mark.parametrize("name", FAST)
def test_a_dataset_that_is_faster_than_freeing_stays_below_the_bound(
    name: str, cases: dict[str, Case]
) -> None:
    case = cases[name]

    assert case.predicted.peak_bytes <= case.seen["plenty"]["peak"]
    assert case.seen["plenty"]["peak"] <= case.predicted.later_bound_bytes


@pytest.mark.parametrize("name", [name for name in FAST if ALL[name].fetches_ahead])
def test_the_bound_is_reached_and_not_passed(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]

    assert case.need <= case.seen["plenty"]["peak"] <= case.need + case.spare
    assert case.seen["just enough"]["outcome"] == "works"
    assert case.seen["a page less"]["outcome"] in ("fails", "hangs")
    if case.configuration.epochs == 1:
        assert case.fits(case.need) == "yes"
        assert case.fits(case.need - PAGE) == "tight"


# --- with --measure


MEASURED = [
    "one worker", "two workers", "three workers, prefetch 3", "labels", "dict", "many tensors",
    "own collate", "a slice of more", "to numpy", "views of the dataset", "file_system", "stream",
    "short epoch", "one kept", "three kept", "views, none stacked", "views of what is shared",
    "tensors that the dataset keeps", "spawn, a dataset of tensors",
]  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_a_measuring_run_sees_the_peak_of_a_training(
    name: str, cases: dict[str, Case], truth: Truth
) -> None:
    """A batch takes 12 ms here: of several runs on a busy machine the least is the usual one."""
    case = cases[name]
    order = {
        **looking(name)["order"],
        "do": "run",
        "kept": case.configuration.hold,
        "batch_s": 0.012,
    }
    job = {"do": "trial", "order": order, "size": PLENTY}

    peaks: list[int] = []
    while len(peaks) < 4 and case.seen["plenty"]["peak"] not in peaks:
        (answer,) = truth.run([job])
        assert any(it.get("stage") == "run-end" for it in answer["answers"]), answer
        peaks.append(answer["peak"])

    assert min(peaks) == case.seen["plenty"]["peak"]
    assert max(peaks) <= case.predicted.bound_bytes


@pytest.mark.parametrize("name", ["labels", "views of what is shared"])
def test_what_measure_tells_is_what_is_seen(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]
    target = looking(name)["order"]["target"]

    found = run_loader(
        target, {}, case.planned.load, case.look,
        shm_usable_bytes=PLENTY, memory_usable_bytes=PLENTY,
    )  # fmt: skip

    assert found.is_private
    assert found.trouble == ""
    assert found.peak_bytes is not None
    assert case.seen["plenty"]["peak"] <= found.peak_bytes <= case.predicted.bound_bytes
