"""python examples/recipes/products.py

The matrix product `@` of a whole batch, and the element-wise product `*`.

Sizes that do not fit: torchkit snoop examples/broken/product.py
"""

import torch

batch = torch.arange(12.0).reshape(2, 2, 3)  # two matrices of 2x3
other = torch.arange(12.0).reshape(2, 3, 2)  # two matrices of 3x2

# The last two dimensions are the matrices, all before them are the batch.
product = batch @ other  # the same as torch.matmul(batch, other)
print("matmul        ", list(batch.shape), "@", list(other.shape), "=", list(product.shape))
assert torch.equal(product, torch.stack([batch[0] @ other[0], batch[1] @ other[1]]))

# A batch that one side lacks is broadcast: one matrix for all.
shared = batch @ other[0]
print("one for all   ", list(batch.shape), "@", list(other[0].shape), "=", list(shared.shape))
assert torch.equal(shared[1], batch[1] @ other[0])

# `*` multiplies entry by entry: equal shapes, or shapes that broadcast, and no sum.
square = batch * batch
print("element-wise  ", list(batch.shape), "*", list(batch.shape), "=", list(square.shape))
assert square[1, 1, 2] == batch[1, 1, 2] ** 2

# The two are related: an entry of `@` is the sum over an element-wise product.
row, column = batch[1, 0], other[1, :, 1]
print("row * column  ", (row * column).tolist(), "with the sum", (row * column).sum().item())
assert (row * column).sum() == product[1, 0, 1]
