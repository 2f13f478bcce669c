"""Truth: what a process that gets the batch through a queue has mapped of /dev/shm is in
`test_truth.py`; here sizes are worked out by hand from a tensor's parts.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from torchkit.dataset.sizes import Part, Seen, is_pinned_whole, parts_of  # noqa: E402 - torch first

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),  # torch's own, of its layouts
]


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclasses.dataclass
class Record:
    image: Any


class Pinned(Record):
    def pin_memory(self) -> Pinned:
        return self


class Named(torch.Tensor):  # type: ignore[misc]
    pass


def sizes(batch: Any) -> list[int]:
    return sorted(part.storage_bytes for part in parts_of(batch))


IMAGE = torch.zeros(4, 1000)
ROWS, COLUMNS, VALUES = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2]), torch.zeros(3)
BLOCKS = torch.zeros(3, 2, 2)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (lambda: IMAGE, [16000]),
        (lambda: IMAGE[:1], [16000]),
        (lambda: (IMAGE, IMAGE[1], [IMAGE.view(-1)]), [16000]),
        (lambda: {"a": IMAGE, "b": torch.tensor(3), "c": "text", "d": 5, "e": None}, [8, 16000]),
        (lambda: Pair(IMAGE, [1, 2]), [16000]),
        (lambda: Record(IMAGE), [16000]),
        (lambda: torch.zeros(0, 5), []),
        (lambda: torch.zeros(1, 20).expand(8, 20), [80]),
        (lambda: torch.zeros(7, dtype=torch.bfloat16), [14]),
        (lambda: torch.zeros(7, dtype=torch.complex128).conj(), [112]),
        (lambda: torch.zeros(3, requires_grad=True), [12]),
        (lambda: torch.nn.Parameter(torch.zeros(3)), [12]),
        (lambda: torch.zeros(7).as_subclass(Named), [28]),
        (IMAGE.untyped_storage, [16000]),
        (lambda: torch.zeros(3, device="meta"), []),
        (lambda: torch.eye(5).to_sparse(), [20, 80]),
        (lambda: torch.sparse_csr_tensor(ROWS, COLUMNS, VALUES), [12, 24, 32]),
        (lambda: torch.sparse_csc_tensor(ROWS, COLUMNS, VALUES), [12, 24, 32]),
        (lambda: torch.sparse_bsr_tensor(ROWS, COLUMNS, BLOCKS), [24, 32, 48]),
        (
            lambda: torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 2), torch.zeros(2, 2)]),
            [24, 40],
        ),
        (
            lambda: torch.nested.nested_tensor([torch.zeros(3, 5), torch.zeros(2, 5)]),
            [16, 32, 32, 100],
        ),
        (IMAGE.numpy, []),
        (lambda: "text", []),
    ],
)
def test_every_storage_counts_once_and_whole(batch: Callable[[], Any], expected: list[int]) -> None:
    assert sizes(batch()) == expected


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_more_than_its_values(layout: Any) -> None:
    nested = torch.nested.nested_tensor([torch.zeros(3, 5), torch.zeros(2, 5)], layout=layout)

    assert sum(sizes(nested)) > 25 * 4
    assert 25 * 4 in sizes(nested)


def test_what_is_used_of_a_storage_is_told_beside_it() -> None:
    (part,) = parts_of((IMAGE[:1], IMAGE[3:]))

    assert isinstance(part, Part)
    assert (part.storage_bytes, part.used_bytes) == (16000, 8000)
    assert part.text == "float32 [1, 1000]"


def test_looking_shares_nothing() -> None:
    batch = torch.zeros(5)

    parts_of(batch)

    assert not batch.is_shared()
    assert [part.is_shared for part in parts_of(batch)] == [False]
    assert [part.is_shared for part in parts_of(torch.zeros(5).share_memory_())] == [True]


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.zeros(3, requires_grad=True) * 2, "non-leaf tensor"),
        (lambda: 0, "pickle"),
        ((one for one in "abc"), "pickle"),
        (threading.Lock(), "pickle"),
    ],
)
def test_what_cannot_be_sent_raises_as_in_a_worker(batch: Any, words: str) -> None:
    with pytest.raises(Exception, match=words):
        parts_of(batch)


def test_a_storage_that_somebody_keeps_is_alive_when_the_batch_is_gone() -> None:
    kept = torch.zeros(10)
    batch: Any = [kept[:5], torch.zeros(3)]
    seen = Seen(batch)

    del batch

    assert seen.alive() == {kept.untyped_storage().data_ptr()}


def test_a_batch_in_a_ring_is_not_kept() -> None:
    ring: list[Any] = [torch.zeros(3)]
    ring.append(ring)
    seen = Seen(ring)

    del ring

    assert seen.alive() == set()


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"a": [IMAGE, (IMAGE[0],)], "b": "text"}, True),
        (Pair(IMAGE, 5), True),
        (Record(IMAGE), False),
        (Pinned(IMAGE), True),
        ({"a": Record(None)}, True),
    ],
)
def test_pin_memory_does_not_look_into_other_classes(batch: Any, expected: bool) -> None:
    assert is_pinned_whole(batch) is expected
