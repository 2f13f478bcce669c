"""torchkit summary examples/transformer.py:Classifier --input ids=128:int64 --input mask=128:bool

A text classifier whose inputs have names: ids of tokens, and which of them count.
"""

from __future__ import annotations

import torch
from torch import nn


class Classifier(nn.Module):
    """`ids` [N, T] and `mask` [N, T] to logits [N, classes]; T is at most `longest`."""

    def __init__(
        self, tokens: int = 8000, classes: int = 4, width: int = 128, longest: int = 512
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.places = nn.Embedding(longest, width)
        layer = nn.TransformerEncoderLayer(width, nhead=4, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, *, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.places(places)
        x = self.encoder(x, src_key_padding_mask=~mask)
        counts = mask.unsqueeze(-1).to(x.dtype)
        mean = (x * counts).sum(1) / counts.sum(1).clamp(min=1)
        return self.head(mean)
