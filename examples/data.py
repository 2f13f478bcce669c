"""torchkit shm-check examples/data.py:images --batch-size 64 --workers 8

Datasets to judge with `torchkit shm-check`: how much shared memory their DataLoader workers take.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

SAMPLES = 4096


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Pictures of [3, 224, 224] with a class each; `ms` milliseconds as if each was decoded.

    `dtype=torch.uint8` sends a quarter of the bytes: the model's first step makes floats of them.
    """

    def __init__(self, ms: float = 5.0, dtype: torch.dtype = torch.float32) -> None:
        self.ms = ms
        self.dtype = dtype

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        time.sleep(self.ms / 1000)
        return torch.full((3, 224, 224), index % 256, dtype=self.dtype), index % 10


images = Images()  # as if from files
fast_images = Images(ms=0)  # as if from memory: workers run ahead of the training
small_images = Images(dtype=torch.uint8)


class Sentences(Dataset[torch.Tensor]):
    """Token ids of any length from 16 to 512: a batch is as long as its longest."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        length = 16 + (index * 7919) % 497
        return torch.arange(length)


def padded(sentences: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """All as long as the longest, and where there are words."""
    ids = pad_sequence(sentences, batch_first=True)
    lengths = torch.tensor([len(it) for it in sentences])
    return {"ids": ids, "mask": torch.arange(ids.shape[1]) < lengths[:, None]}


def sentences() -> DataLoader[Any]:
    """As a training makes it, with its own collate."""
    return DataLoader(Sentences(), batch_size=32, num_workers=2, collate_fn=padded)


def first_half(samples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """A crop of the stacked pictures: a view, which takes the whole of them along."""
    pictures = torch.stack([picture for picture, _ in samples])
    return pictures[..., :112], torch.tensor([label for _, label in samples])


def cropped() -> DataLoader[Any]:
    """`pictures[..., :112].clone()` in its collate would halve what is sent."""
    return DataLoader(fast_images, batch_size=16, num_workers=2, collate_fn=first_half)
