# torchkit snoop examples/broken/product.py
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(128, 4)
        self.W = nn.Parameter(torch.randn(10, 4))

    def forward(self, h):
        return torch.relu(h[:, :128] @ self.fc.weight.t()) + (h @ self.W) * 2


Net()(torch.randn(2, 1568))
