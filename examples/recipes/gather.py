"""python examples/recipes/gather.py

`gather` takes along one dimension, at places that differ from row to row.

An index that is out of range: torchkit snoop examples/broken/index.py
"""

import torch

x = torch.tensor([[10, 11, 12], [20, 21, 22]])

# out[i][j] = x[i][index[i][j]] for dim=1, and x[index[i][j]][j] for dim=0
index = torch.tensor([[2, 0], [1, 1]])
print("dim=1", x.gather(1, index).tolist())
print("dim=0", x.gather(0, torch.tensor([[0, 1, 0]])).tolist())
assert x.gather(1, index).tolist() == [[12, 10], [21, 21]]
assert x.gather(0, torch.tensor([[0, 1, 0]])).tolist() == [[10, 21, 12]]

# Rule 1: the result has the shape of the index.
assert x.gather(1, index).shape == index.shape

# Rule 2: the index has as many dimensions as x. One for each row is [N, 1], then squeezed.
labels = torch.tensor([2, 0])
print("one for each row", x.gather(1, labels[:, None]).squeeze(1).tolist())
assert x.gather(1, labels[:, None]).squeeze(1).tolist() == [12, 20]

# Rule 3: nothing is broadcast. Where the index is smaller than x in another dimension, the rest of
# x is left out; larger it must not be.
print("only the first row", x.gather(1, torch.tensor([[0, 1, 2, 0]])).tolist())
for name, wrong in {
    "3 rows of 2": torch.zeros(3, 1, dtype=torch.int64),
    "1 dimension of 2": labels,
    "place 3 of 0..2": torch.tensor([[3], [0]]),
    "float32": torch.zeros(2, 1),
}.items():
    try:
        x.gather(1, wrong)
    except (RuntimeError, IndexError):
        print("refused:", name)
    else:
        raise AssertionError(name)

# With topk or argsort it is a sort; take_along_dim is gather with broadcasting.
order = x.argsort(dim=1, descending=True)
assert torch.equal(x.gather(1, order), x.sort(dim=1, descending=True).values)
assert torch.equal(torch.take_along_dim(x, torch.tensor([[2]]), dim=1), x[:, 2:])
