# torchkit snoop examples/broken/inplace.py
import torch

w = torch.ones(5, requires_grad=True)
a = torch.sigmoid(w)
b = a * 2
a += 1
loss = (a + b).sum()
loss.backward()
