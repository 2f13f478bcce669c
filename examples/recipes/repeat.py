"""python examples/recipes/repeat.py

`repeat` reads its numbers from right to left: the last is for the last dimension.
"""

import torch

x = torch.tensor([1, 2, 3])

print("repeat(2)         ", x.repeat(2).tolist())
print(
    "repeat(2, 1)      ", x.repeat(2, 1).tolist()
)  # more numbers than dimensions: new ones in front
print("repeat(4, 2, 1)   ", list(x.repeat(4, 2, 1).shape))
assert x.repeat(2).shape == (6,)
assert x.repeat(2, 1).shape == (2, 3)
assert x.repeat(4, 2, 1).shape == (4, 2, 3)

# Each size is multiplied by its number.
y = torch.zeros(5, 3)
print("[5, 3] by (2, 4)  ", list(y.repeat(2, 4).shape))
assert y.repeat(2, 4).shape == (5 * 2, 3 * 4)

# numpy names it tile; numpy's repeat is this one.
print("repeat_interleave ", x.repeat_interleave(2).tolist())
assert torch.equal(x.tile(2), x.repeat(2))

# `repeat` copies. `expand` shows the same memory again, where that is enough.
wide = x.expand(1000, 3)
print("expand            ", list(wide.shape), "strides", wide.stride())
assert wide.data_ptr() == x.data_ptr()
assert x.repeat(1000, 1).data_ptr() != x.data_ptr()
