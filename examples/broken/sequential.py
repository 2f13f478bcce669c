# torchkit snoop examples/broken/sequential.py
import torch
from torch import nn

net = nn.Sequential(nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(60, 10))
scores = net(torch.randn(2, 32, 7, 7))
