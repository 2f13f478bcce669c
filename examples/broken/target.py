# torchkit snoop examples/broken/target.py
import torch
from torch import nn

scores, target = torch.randn(4, 10), torch.tensor([1, 3, 10, 2])
loss = nn.functional.cross_entropy(scores, target)
