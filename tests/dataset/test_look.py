"""What is said of datasets after a look at some of their batches, without a child or workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, Dataset, IterableDataset  # noqa: E402 - torch first

from torchkit.commands.shm_workload import Planned, Question, from_look, need_of  # noqa: E402
from torchkit.dataset.live import look  # noqa: E402
from torchkit.dataset.loading import Wish  # noqa: E402
from torchkit.dataset.look import Batch  # noqa: E402
from torchkit.dataset.measure import Measured  # noqa: E402
from torchkit.dataset.predict import Need, Workload, predict  # noqa: E402
from torchkit.errors import BadInput, TorchkitError  # noqa: E402
from torchkit.machine.facts import Facts  # noqa: E402

pytestmark = pytest.mark.torch

MIB = 1024**2


class Made(Dataset):  # type: ignore[misc]
    """Each sample is what `make` makes of its index."""

    def __init__(self, make: Callable[[int], Any], length: int = 64) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def planned(data: Any, **wish: Any) -> Planned:
    return from_look(Question(target="data"), look(data, Wish(**wish)))


def need(plan: Planned, free_bytes: int, **facts: Any) -> Need:
    size = {"shm_total_bytes": free_bytes, "shm_free_bytes": free_bytes}
    return need_of(plan, Facts({"shm_state": "writable", **size, **facts}))


def refused(data: Any, **wish: Any) -> TorchkitError:
    with pytest.raises(TorchkitError) as raised:
        look(data, Wish(**wish))
    return raised.value


# --- what is left out of the judgement


def loaders() -> tuple[Any, Any]:
    small, large = (Made(lambda _, size=size: torch.zeros(size)) for size in (1024, 10_240))
    return DataLoader(small, num_workers=2), DataLoader(large, num_workers=2)


@pytest.mark.parametrize("several", [tuple, list, lambda it: dict(zip("ab", it, strict=True))])
def test_of_several_loaders_the_first_is_looked_at_and_that_is_told(several: Any) -> None:
    plan = planned(several(loaders()))

    assert plan.load.storages == (4096,)
    assert any("the first of 2; the others were left out" in note for note in plan.notes)


@dataclasses.dataclass
class Record:
    image: Any


def test_pin_memory_that_does_not_reach_a_batch_is_told() -> None:
    def in_record(samples: list[Any]) -> Record:
        return Record(torch.stack(samples))

    data = Made(lambda _: torch.zeros(3))

    own = planned(DataLoader(data, num_workers=2, collate_fn=in_record, pin_memory=True))
    torchs = planned(DataLoader(data, num_workers=2, pin_memory=True))

    assert any("does not look into a batch of the class Record" in note for note in own.notes)
    assert not any("does not look into" in note for note in torchs.notes)


@pytest.mark.parametrize(("length", "may_come"), [(6, False), (64, True)])
def test_a_larger_batch_may_come_only_where_not_all_were_seen(length: int, may_come: bool) -> None:
    plan = planned(Made(lambda index: torch.zeros(1000 + 1000 * (index % 3)), length))

    (note,) = (note for note in plan.notes if note.startswith("batches vary"))

    assert ("a larger one may come" in note) is may_come


# --- what would be smaller


def test_only_floats_shrink_and_only_where_they_are_the_most() -> None:
    tokens = planned(Made(lambda _: (torch.tensor(0.5), torch.zeros(200_000, dtype=torch.int64))))
    images = planned(Made(lambda _: (torch.zeros(200_000), torch.zeros(1000, dtype=torch.int64))))
    as_bytes = Workload((200_000, 8000), workers=2, batches=64)

    assert need(tokens, 100 * MIB).uint8_bytes is None
    assert need(images, 100 * MIB).uint8_bytes == predict(as_bytes).peak_bytes


@pytest.mark.parametrize(
    ("facts", "limit"),
    [
        ({"shm_inodes_free": 61}, "inodes_bound"),
        ({"open_files_limit": 60}, "open_files"),
        ({"file_size_limit_bytes": 399}, ""),
        ({}, "bound_bytes"),
    ],
)
def test_no_more_workers_are_advised_than_every_limit_holds(
    facts: dict[str, int], limit: str
) -> None:
    plan = planned(Made(lambda _: torch.zeros(100)))

    most = need(plan, MIB, **facts).max_workers

    if not limit:
        assert most == 0
        return
    within = facts.get("shm_inodes_free") or facts.get("open_files_limit") or MIB
    fitting, one_more = (predict(plan.load._replace(workers=it)) for it in (most, most + 1))
    assert getattr(fitting, limit) <= within < getattr(one_more, limit)


# --- what hangs


@pytest.mark.parametrize(
    ("make", "hangs"),
    [
        (lambda index: (torch.zeros(5), index), True),
        (lambda _: {"x": torch.zeros(5), "y": 0.5}, True),
        (lambda _: torch.zeros(5), False),
    ],
)
def test_a_number_s_tensor_is_what_a_loader_may_wait_for_for_ever(
    make: Callable[[int], Any], hangs: bool
) -> None:
    """That it does is in test_truth.py: a page less, and the loop with labels hangs."""
    plan = planned(Made(make), batch_size=4)

    assert ("number" in plan.hangs_by) is hangs


# --- hints


def test_a_tensor_with_a_history_is_to_be_detached() -> None:
    weight = torch.ones(3, requires_grad=True)

    assert "detach()" in refused(Made(lambda _: weight * 2)).hint


def test_a_stop_iteration_of_a_sample_is_not_the_end() -> None:
    def stops(index: int) -> Any:
        raise StopIteration("mine")

    error = refused(Made(stops))

    assert "making batch 0 of Made raises StopIteration: mine at " in error.message
    assert "IndexError" in error.hint


def test_a_stream_may_end_by_stop_iteration() -> None:
    class Stream(IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return iter([torch.zeros(3), torch.zeros(3)])

    assert planned(DataLoader(Stream(), batch_size=None, num_workers=1)).load.storages == (12,)


def test_a_dataset_needs_a_length() -> None:
    class Bare(Dataset):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            return torch.zeros(3)

    assert "give the dataset a __len__" in refused(Bare()).hint


def test_a_missing_package_is_to_be_installed() -> None:
    def imports(index: int) -> Any:
        import skimage_of_nobody  # type: ignore[import-not-found]  # noqa: F401

    assert "skimage_of_nobody" in refused(Made(imports)).hint


def test_places_in_other_peoples_packages_are_not_named() -> None:
    error = refused(Made(lambda index: torch.zeros(index + 1)), batch_size=4)

    assert "stack expects each tensor to be equal size" in error.message
    assert "site-packages" not in error.message


# --- what a run showed


def test_a_run_of_one_loader_is_reckoned_up_to_all_loaders_and_ranks() -> None:
    load = Workload((MIB,), workers=2, loaders=2, ranks=3)
    single = load._replace(loaders=1, ranks=1)
    measured = Measured(2, 2, peak_bytes=predict(single).peak_bytes)

    assert measured.scaled_to(load, measured.peak_bytes) == predict(load).peak_bytes
    assert measured.scaled_to(single, measured.peak_bytes) == measured.peak_bytes


def test_a_larger_batch_of_the_run_is_planned_with() -> None:
    seen = look(Made(lambda _: torch.zeros(1000)), Wish())
    larger = Batch((40_000,), (), 40_000, 0.0, ("float32 [1, 10000]",), (True,))

    grown, same = seen.with_larger(larger), seen.with_larger(seen.batches[0])

    assert from_look(Question(target="data"), grown).load.storages == (40_000,)
    assert same == seen


def test_a_tuple_without_loaders_is_refused() -> None:
    with pytest.raises(BadInput, match="a DataLoader or a Dataset is needed"):
        look({"train": Path()}, Wish())
