# torchkit snoop examples/broken/meta.py
import torch
from torch import nn

with torch.device("meta"):
    net = nn.Linear(4, 2)
x = torch.ones(3, 4)
scores = net(x)
