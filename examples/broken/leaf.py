# torchkit snoop examples/broken/leaf.py
import torch

w = torch.ones(5, requires_grad=True)
w -= 0.1
