# torchkit snoop examples/broken/index.py
import torch

x, i = torch.randn(3, 5), torch.tensor([0, 3])
y = x[0].sum() + x[i].sum()
