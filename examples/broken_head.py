"""torchkit summary examples/broken_head.py:Net --input 1,28,28

A model with a mistake: the last layer is built for 1600 features, and is given 32 x 7 x 7 = 1568.
"""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    """Pictures [N, 1, 28, 28] to logits [N, 10], were it not for `head`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(1600, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))
