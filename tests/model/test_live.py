"""What `torchkit.summary` takes from Python, and how it refuses the rest: never with torch's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import torchkit

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def linear() -> Any:
    return torch.nn.Linear(4, 2)


class Tagger(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 4)

    def forward(self, ids: Any) -> Any:
        return self.embedding(ids)


TAKEN: dict[str, tuple[Callable[[], Any], list[list[int]]]] = {
    "a shape": (lambda: torchkit.summary(linear(), (4,)), [[1, 4]]),
    "a size": (lambda: torchkit.summary(linear(), torch.Size([4])), [[1, 4]]),
    "one number": (lambda: torchkit.summary(linear(), 4), [[1, 4]]),
    "a tensor": (lambda: torchkit.summary(linear(), torch.zeros(3, 4)), [[3, 4]]),
    "a tensor as args": (lambda: torchkit.summary(linear(), args=torch.zeros(3, 4)), [[3, 4]]),
    "tensors in a list": (
        lambda: torchkit.summary(torch.nn.Bilinear(3, 4, 2), [torch.zeros(2, 3), torch.zeros(2, 4)]),
        [[2, 3], [2, 4]],
    ),
    "a tensor by name": (
        lambda: torchkit.summary(Tagger(), kwargs={"ids": torch.zeros(2, 5, dtype=torch.long)}),
        [[2, 5]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_shapes_and_tensors_are_taken_as_people_give_them(name: str) -> None:
    call, shapes = TAKEN[name]

    assert call().layers[0]["input_shapes"] == shapes


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a class": (lambda: torchkit.summary(torch.nn.Linear, (4,)), "Linear is a class"),
    "a number": (lambda: torchkit.summary(3, (4,)), "a torch.nn.Module is needed"),
    "a target's text": (lambda: torchkit.summary("model.py:Net"), "is a text"),
    "a function": (lambda: torchkit.summary(linear, (4,)), "a torch.nn.Module is needed"),
    "a state dict": (lambda: torchkit.summary(linear().state_dict()), "a torch.nn.Module is needed"),
    "a text as shape": (lambda: torchkit.summary(linear(), "4"), "is no shape"),
    "a float in a shape": (lambda: torchkit.summary(linear(), (4.0,)), "is no shape"),
    "a negative size": (lambda: torchkit.summary(linear(), (-1,)), "is no shape"),
    "more than torch counts": (lambda: torchkit.summary(linear(), (2**70, 4)), "more elements"),
    "a dictionary as shape": (lambda: torchkit.summary(Tagger(), {"ids": 3}), "is no shape"),
    "a number as args": (lambda: torchkit.summary(linear(), args=3), "args is an int"),
    "a number as kwargs": (lambda: torchkit.summary(linear(), kwargs=3), "kwargs is an int"),
    "a shape and tensors": (
        lambda: torchkit.summary(linear(), (4,), args=(torch.zeros(1, 4),)),
        "both a shape and tensors",
    ),
    "a text as batch size": (
        lambda: torchkit.summary(linear(), (4,), batch_size="3"),  # type: ignore[arg-type]
        "batch_size is a str",
    ),
    "a device that is none": (lambda: torchkit.summary(linear(), (4,), device="x"), "no device"),
    "columns that are none": (lambda: torchkit.summary(linear(), (4,), columns=3), "columns is"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_what_to_do(name: str) -> None:
    call, words = REFUSED[name]

    with pytest.raises(torchkit.TorchkitError) as raised:
        call()

    assert words in raised.value.message
    assert raised.value.hint


def test_inference_mode_changes_no_number() -> None:
    outside = torchkit.summary(linear(), (4,), batch_size=3)

    with torch.inference_mode():
        inside = torchkit.summary(linear(), torch.zeros(3, 4))

    assert inside.totals["activation_bytes"] == outside.totals["activation_bytes"] > 0
