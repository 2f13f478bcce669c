# torchkit snoop examples/broken/embedding.py
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)

    def forward(self, ids):
        return self.embed(ids).mean(1)


Model()(torch.tensor([[1, 5, 10]]))
