# torchkit snoop examples/broken/broadcast.py
import torch

a, b = torch.randn(3, 4), torch.randn(4, 4)
difference = a - b.t()
