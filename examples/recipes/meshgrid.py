"""python examples/recipes/meshgrid.py

`meshgrid` gives the coordinates of every point of a grid; say `indexing=`.

Older than torch 1.10: torchkit explain "TypeError: meshgrid() got an unexpected keyword argument 'indexing'"
"""

import torch

rows, columns = torch.arange(3), torch.arange(2)

# "ij": the first argument runs down the rows, as in matrices and pictures of [H, W].
i, j = torch.meshgrid(rows, columns, indexing="ij")
print("ij", list(i.shape), i.tolist(), j.tolist())
assert i.shape == (3, 2)
assert i[2, 1] == 2
assert j[2, 1] == 1

# "xy": the first argument runs along the columns, as numpy and plots have it.
x, y = torch.meshgrid(rows, columns, indexing="xy")
print("xy", list(x.shape), x.tolist(), y.tolist())
assert torch.equal(x, i.T)
assert torch.equal(y, j.T)

# Without `indexing=` it is "ij" today, with a warning that this may change.
points = torch.stack((i, j), dim=-1).reshape(-1, 2)
print("points", points.tolist())
assert torch.equal(points, torch.cartesian_prod(rows, columns))
