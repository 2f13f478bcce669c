"""torchkit summary examples/lstm.py:Tagger --input 32:int64

Names the part of speech of every word: ids of words [N, T] to logits [N, T, tags].
"""

from __future__ import annotations

import torch
from torch import nn


class Tagger(nn.Module):
    """Embedding, a bidirectional LSTM of two layers, and one Linear for every word."""

    def __init__(self, words: int = 5000, tags: int = 17, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, tags)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(self.embedding(words))
        return self.head(states)
