"""Truth: what torch's own DataLoader says of itself, and the batches it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torchkit.dataset.loading import (  # noqa: E402 - torch first
    Wish,
    changed,
    loader_of,
    settings_of,
)
from torchkit.dataset.predict import DEFAULT_WORKERS  # noqa: E402
from torchkit.errors import BadTarget  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # few CPUs here
]

SOURCE = '''
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

class Images(Dataset):
    def __init__(self, number=10): self.number = number
    def __len__(self): return self.number
    def __getitem__(self, index): return torch.full((3,), float(index))

class Stream(IterableDataset):
    def __len__(self): return 10
    def __iter__(self): return iter(torch.arange(10.0))

class Endless(IterableDataset):
    def __iter__(self): return iter(torch.arange(10.0))

class Own(DataLoader):
    """A class of the user's own, which makes more of each batch."""
    def __init__(self, folder): super().__init__(Images(), batch_size=5, num_workers=3)
    def __iter__(self): return (("more", batch) for batch in super().__iter__())

def collate(samples): return torch.stack(samples) + 100
def init(number): pass

images = Images()
tensors = torch.utils.data.TensorDataset(torch.zeros(10, 3))
samples = [torch.zeros(3)] * 10
stream, endless = Stream(), Endless()
full = DataLoader(
    images, batch_size=4, num_workers=3, prefetch_factor=5, persistent_workers=True, timeout=7,
    collate_fn=collate, worker_init_fn=init, drop_last=True,
)
no_workers = DataLoader(images, batch_size=4)
by_sampler = DataLoader(images, batch_sampler=BatchSampler(SequentialSampler(images), 3, False), num_workers=1)
alone = DataLoader(images, batch_size=None, num_workers=1)
streamed = DataLoader(stream, batch_size=4, num_workers=2)
spawned = DataLoader(images, num_workers=1, multiprocessing_context="spawn")
own = Own("folder")
def make(number=20, batch=2): return DataLoader(Images(number), batch_size=batch, num_workers=1)
def pair(): return make(), make(40)
def named(): return {"config": 5, "train": make(), "val": make(40)}
def with_model(): return torch.nn.Linear(2, 2), make()
def dataset(number): return Images(number)
def nothing(): return None
def raises(): raise RuntimeError("no data here")
model = torch.nn.Linear(2, 2)
text, number = "text", 5
'''


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    file = tmp_path_factory.mktemp("loading") / "some_data.py"
    Path(file).write_text(SOURCE, encoding="utf-8")

    def of(name: str, **wish: Any) -> Any:
        return loader_of(f"{file}:{name}", Wish(**wish))[0]

    return of


@pytest.fixture(scope="module")
def of_several(load: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What is said of those that are left out."""
    file = tmp_path_factory.mktemp("several") / "some_data.py"
    Path(file).write_text(SOURCE, encoding="utf-8")
    return lambda name: loader_of(f"{file}:{name}", Wish())[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pair", "the first of 2"),
        ("named", "'train', the first of 2"),
        ("with_model", ""),
        ("make", ""),
        ("images", ""),
    ],
)
def test_that_others_are_left_out_is_told(
    name: str, words: str, of_several: Callable[[str], str]
) -> None:
    assert of_several(name) == words


@pytest.mark.parametrize(
    "name", ["images", "Images", "tensors", "samples", "dataset(10)", "Images(10)"]
)
def test_a_dataset_gets_two_workers_and_what_is_asked_for(
    name: str, load: Callable[..., Any]
) -> None:
    plain, asked = load(name), load(name, batch_size=5, workers=4, prefetch=3)

    assert (plain.num_workers, plain.batch_size, plain.prefetch_factor) == (DEFAULT_WORKERS, 1, 2)
    assert (asked.num_workers, asked.batch_size, asked.prefetch_factor) == (4, 5, 3)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "name", ["full", "no_workers", "by_sampler", "alone", "streamed", "spawned", "own"]
)
def test_a_loader_is_taken_as_it_is(name: str, load: Callable[..., Any]) -> None:
    loader = load(name)

    settings = settings_of(loader)

    assert settings["workers"] == loader.num_workers
    assert settings["prefetch"] == (loader.prefetch_factor or 2)
    assert settings["persistent_workers"] == loader.persistent_workers


def test_what_is_not_asked_for_stays(load: Callable[..., Any]) -> None:
    loader = load("full", workers=6)

    assert (loader.num_workers, loader.prefetch_factor, loader.batch_size) == (6, 5, 4)
    assert (loader.persistent_workers, loader.timeout, loader.drop_last) == (True, 7, True)
    assert loader.collate_fn([torch.zeros(1)]).item() == 100
    assert len(loader) == 2


def test_another_batch_size_keeps_all_else(load: Callable[..., Any]) -> None:
    loader = load("full", batch_size=2, prefetch=1)

    assert (loader.num_workers, loader.prefetch_factor, loader.batch_size) == (3, 1, 2)
    assert (loader.persistent_workers, loader.timeout, loader.drop_last) == (True, 7, True)
    assert next(iter(changed(loader, workers=0))).tolist() == [[100.0] * 3, [101.0] * 3]


def test_workers_for_a_loader_without_any(load: Callable[..., Any]) -> None:
    settings = settings_of(load("no_workers", workers=2))

    assert (settings["workers"], settings["prefetch"], settings["batches"]) == (2, 2, 3)


@pytest.mark.parametrize(
    ("name", "size"), [("full", 4), ("by_sampler", 3), ("alone", None), ("streamed", 4), ("own", 5)]
)
def test_batches_come_without_workers_as_they_would_with_them(
    name: str, size: int | None, load: Callable[..., Any]
) -> None:
    loader = load(name)

    batch = next(iter(changed(loader, workers=0)))

    if name == "own":
        more, batch = batch
        assert more == "more"
    assert batch.shape == torch.Size(
        [3] if size is None else [size] if name == "streamed" else [size, 3]
    )
    assert loader.num_workers > 0


def test_a_batch_sampler_has_the_last_word(load: Callable[..., Any]) -> None:
    settings = settings_of(load("by_sampler", workers=2))

    assert (settings["batch_size"], settings["batches"], settings["last_size"]) == (3, 4, 1)
    with pytest.raises(BadTarget, match="batch_sampler"):
        load("by_sampler", batch_size=8)


def test_single_samples_are_collated_when_a_batch_size_is_asked_for(
    load: Callable[..., Any],
) -> None:
    loader = load("alone", batch_size=4)

    assert next(iter(changed(loader, workers=0))).shape == torch.Size([4, 3])
    assert settings_of(loader)["own_collate"] is False
    assert settings_of(load("alone"))["own_collate"] is True


@pytest.mark.parametrize(
    ("name", "wish", "batches", "last"),
    [
        ("images", {"batch_size": 4}, 3, 2),
        ("images", {"batch_size": 5}, 2, None),
        ("full", {}, 2, None),
        ("streamed", {}, 6, None),  # each of 2 workers may go through all
        ("endless", {}, None, None),
    ],
)
def test_how_long_an_epoch_is(
    name: str, wish: dict[str, int], batches: int | None, last: int | None, load: Callable[..., Any]
) -> None:
    settings = settings_of(load(name, **wish))

    assert (settings["batches"], settings["last_size"]) == (batches, last)


def test_how_workers_start_is_told(load: Callable[..., Any]) -> None:
    assert settings_of(load("spawned"))["start_method"] == "spawn"
    assert settings_of(load("spawned", workers=3))["start_method"] == "spawn"


@pytest.mark.parametrize(
    "name", ["make", "make()", "make(20, batch=2)", "pair", "named", "with_model"]
)
def test_the_first_loader_that_a_function_returns(name: str, load: Callable[..., Any]) -> None:
    loader = load(name)

    assert len(loader.dataset) == 20
    assert loader.batch_size == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model", "a model; a Dataset"),
        ("text", "is needed"),
        ("number", "is needed"),
        ("nothing", "gives nothing"),
        ("dataset", "number"),
        ("raises", "no data here"),
        ("imagess", "imagess"),
        ("Images(1, 2, 3)", "Images"),
    ],
)
def test_what_is_no_data_is_refused(name: str, words: str, load: Callable[..., Any]) -> None:
    with pytest.raises(BadTarget, match=words):
        load(name)
