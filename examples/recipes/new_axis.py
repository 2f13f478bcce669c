"""python examples/recipes/new_axis.py

A new dimension of size 1: `None` in an index is `unsqueeze`.

Shapes that do not broadcast: torchkit snoop examples/broken/broadcast.py
"""

import torch

x = torch.arange(3)

print("x[None]    ", list(x[None].shape))
print("x[:, None] ", list(x[:, None].shape))
assert torch.equal(x[None], x.unsqueeze(0))
assert torch.equal(x[:, None], x.unsqueeze(1))

# `...` stands for all the dimensions between.
image = torch.zeros(3, 6, 8)
print("a batch of 1", list(image[None].shape), "and a last dimension", list(image[..., None].shape))
assert image[..., None].shape == image.unsqueeze(-1).shape == (3, 6, 8, 1)

# What it is for: [3, 1] and [1, 4] broadcast to [3, 4], each with each.
table = x[:, None] * torch.arange(4)[None]
print("each with each", table.tolist())
assert table.shape == (3, 4)
assert table[2, 3] == 6

# It is a view: no number is copied.
assert x[:, None].data_ptr() == x.data_ptr()
