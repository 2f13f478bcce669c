"""Truth: arithmetic by hand from the rules in torch's sources, and runs noted with their numbers."""

from __future__ import annotations

import pytest

from torchkit.dataset.predict import (
    Limits,
    Workload,
    batch_bytes,
    in_pages,
    largest_batch,
    most_workers,
    predict,
)
from torchkit.units import readable

PAGE = 4096
MIB = 1024**2
IMAGES = 64 * 3 * 224 * 224 * 4
"""64 images of float32: 36.75 MiB."""


def test_eight_workers_with_64_images_each_need_625_and_at_most_662_mib() -> None:
    taken = predict(Workload((IMAGES,), workers=8))

    assert taken.peak_bytes == 17 * IMAGES + 32 * PAGE
    assert taken.bound_bytes == 18 * IMAGES + 32 * PAGE
    assert f"{taken.peak_bytes / MIB:.0f}" == "625"
    assert f"{taken.bound_bytes / MIB:.0f}" == "662"
    assert readable(taken.batch_bytes) == "36.8 MiB"


def test_dockers_64_mib_hold_no_worker_with_64_float_images_and_one_with_uint8() -> None:
    floats = predict(Workload((IMAGES,), workers=1, prefetch=1))
    bytes_ = predict(Workload((IMAGES // 4,), workers=1, prefetch=1))

    assert readable(floats.peak_bytes) == "73.5 MiB"
    assert floats.peak_bytes > 64 * MIB > bytes_.bound_bytes
    assert readable(bytes_.peak_bytes) == "18.4 MiB"
    assert most_workers(Workload((IMAGES,), workers=8), Limits(64 * MIB)) == 0


@pytest.mark.parametrize(
    ("workers", "prefetch", "samples", "held", "measured_mb"),
    [
        (1, 1, 16, 1, 19.313), (2, 2, 16, 1, 48.226), (4, 2, 8, 1, 43.434), (2, 4, 8, 1, 43.409),
        (3, 3, 8, 1, 48.239), (1, 1, 16, 2, 28.946),
    ],
)  # fmt: skip
def test_runs_of_torch_2_13_took_that(
    workers: int, prefetch: int, samples: int, held: int, measured_mb: float
) -> None:
    taken = predict(Workload((samples * 3 * 224 * 224 * 4,), workers=workers, prefetch=prefetch))

    bytes_ = taken.peak_bytes if held == 1 else taken.bound_bytes
    assert bytes_ / 1e6 == pytest.approx(measured_mb, abs=0.001)


def test_without_workers_nothing_is_taken() -> None:
    taken = predict(Workload((IMAGES,), workers=0))

    assert set(taken) == {0}
    assert taken.open_files == 0


@pytest.mark.parametrize(("size", "pages"), [(0, 0), (1, 1), (4096, 1), (4097, 2), (8192, 2)])
def test_a_file_takes_whole_pages(size: int, pages: int) -> None:
    assert in_pages(size, PAGE) == pages * PAGE
    assert in_pages(size, 65536) == (65536 if size else 0)


def test_file_system_sharing_has_a_header_that_may_cost_a_page() -> None:
    for strategy, pages in (("file_descriptor", 2), ("file_system", 3)):
        assert batch_bytes((4096, 4096 - 64), strategy=strategy, page_bytes=PAGE) == pages * PAGE


def test_an_empty_tensor_takes_nothing() -> None:
    assert batch_bytes((0, 5), strategy="file_descriptor", page_bytes=PAGE) == PAGE
    assert predict(Workload((0,), workers=1)).inodes == 3 + 8 + 1


def test_an_epoch_has_no_more_batches_than_it_has() -> None:
    few = predict(Workload((PAGE,), workers=4, batches=3))

    assert few.peak_bytes == few.bound_bytes == 3 * PAGE + 20 * PAGE


def test_the_last_batch_of_a_short_epoch_may_be_shorter() -> None:
    short = Workload((8 * PAGE,), workers=4, batches=3, last=(PAGE,))
    long = short._replace(batches=30)

    assert predict(short).peak_bytes == (8 + 8 + 1 + 20) * PAGE
    assert predict(long) == predict(long._replace(last=None))


def test_batches_that_the_loop_keeps_are_added() -> None:
    none = predict(Workload((PAGE,), workers=2))
    three = predict(Workload((PAGE,), workers=2, kept=3))

    assert three.peak_bytes - none.peak_bytes == 3 * PAGE
    assert three.main_files - none.main_files == 3


def test_later_epochs_keep_what_the_loop_held_when_workers_were_forked() -> None:
    forked = predict(Workload((PAGE,), workers=2, kept=2))
    others = predict(Workload((PAGE,), workers=2, kept=2, keeps_last=False))

    assert forked.later_bound_bytes - forked.bound_bytes == 3 * PAGE + 14 * PAGE
    assert others.later_bound_bytes == others.bound_bytes


def test_pinned_batches_do_not_wait_in_shared_memory() -> None:
    taken = predict(Workload((PAGE,), workers=2, pins=True))

    assert taken.peak_bytes == taken.bound_bytes == taken.later_bound_bytes == (4 + 14) * PAGE


def test_views_of_one_tensor_cost_it_once_for_each_worker_that_sends() -> None:
    views = Workload((), workers=4, resident=(100 * PAGE,))

    assert predict(views).peak_bytes == (400 + 20) * PAGE
    assert predict(views._replace(batches=2)).peak_bytes == (200 + 20) * PAGE
    assert predict(views).batch_bytes == 0


def test_what_the_loader_shares_itself_counts_once() -> None:
    taken = predict(Workload((PAGE,), workers=4, once=(100 * PAGE,)))

    assert taken.peak_bytes == (9 + 100 + 20) * PAGE


def test_batches_that_a_dataset_keeps_add_up() -> None:
    kept = Workload((PAGE,), workers=2, stays=True, batches=100)

    assert predict(kept).peak_bytes == predict(kept).bound_bytes == (100 + 14) * PAGE
    assert predict(kept._replace(stays=False)).peak_bytes == (5 + 14) * PAGE


def test_loaders_and_ranks_multiply_bytes_and_inodes_and_ranks_no_open_files() -> None:
    one = predict(Workload((PAGE, PAGE), workers=2))
    many = predict(Workload((PAGE, PAGE), workers=2, loaders=2, ranks=4))

    assert many.peak_bytes == 8 * one.peak_bytes
    assert many.inodes == 8 * one.inodes
    assert predict(Workload((PAGE, PAGE), workers=2, ranks=4)).open_files == one.open_files
    assert many.open_files > one.open_files


def test_file_system_needs_no_open_file_for_a_tensor() -> None:
    many = Workload((PAGE,) * 500, workers=2)

    assert predict(many).open_files > 1024
    assert predict(many._replace(strategy="file_system")).open_files < 40


@pytest.mark.parametrize(
    ("workers", "prefetch", "tensors", "seen_in_a_worker", "seen_in_main"),
    [(2, 2, 50, 167, 166), (4, 2, 50, 168, 273), (2, 4, 50, 267, 215), (8, 2, 1, 44, 49)],
)
def test_runs_had_so_many_files_open(
    workers: int, prefetch: int, tensors: int, seen_in_a_worker: int, seen_in_main: int
) -> None:
    taken = predict(Workload((28,) * tensors, workers=workers, prefetch=prefetch, batches=9))

    assert seen_in_a_worker <= taken.worker_files_bound
    assert taken.main_files <= seen_in_main <= taken.main_files_bound


@pytest.mark.parametrize("usable", [10 * MIB, 100 * MIB, 1024 * MIB, 1024 * MIB + 1])
def test_the_most_workers_fit_and_one_more_does_not(usable: int) -> None:
    load = Workload((MIB,), workers=1)

    most = most_workers(load, Limits(usable))

    assert predict(load._replace(workers=most)).bound_bytes <= usable
    assert predict(load._replace(workers=most + 1)).bound_bytes > usable


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 2), (8, 2), (16, 4)])
def test_the_largest_batch_fits_and_one_sample_more_does_not(workers: int, prefetch: int) -> None:
    sample, usable = 3 * 224 * 224 * 4, 64 * MIB

    most = largest_batch(sample, usable, workers=workers, prefetch=prefetch, page_bytes=PAGE)

    fitting = Workload((most * sample,), workers=workers, prefetch=prefetch)
    failing = fitting._replace(storages=((most + 1) * sample,))
    assert predict(fitting).bound_bytes <= usable < predict(failing).bound_bytes
