# torchkit snoop examples/broken/view.py
import torch


def heads(q):
    q = q.transpose(1, 2)
    return q.view(2, -1)


heads(torch.randn(2, 5, 4, 5))
