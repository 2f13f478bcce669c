# torchkit snoop examples/broken/double.py
import numpy as np
import torch
from torch import nn

net = nn.Linear(4, 2)
x = torch.from_numpy(np.ones((3, 4)))
scores = net(x)
