"""python examples/recipes/strides.py

A transposition moves no number: it swaps strides. What that means for `view` and `reshape`.

A view that fails: torchkit snoop examples/broken/view.py
"""

import torch

x = torch.arange(6).reshape(2, 3)
t = x.T

# Entry [i, j] lies at i * stride[0] + j * stride[1] in the storage, which is flat.
print("x  ", x.tolist(), "strides", x.stride())
print("x.T", t.tolist(), "strides", t.stride())
print("storage of both", x.untyped_storage().nbytes(), "bytes at one address")
assert x.stride() == (3, 1)
assert t.stride() == (1, 3)
assert t.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()

t[0, 1] = 30  # so a change of one is a change of both
print("x  ", x.tolist(), "after x.T[0, 1] = 30")
assert x[1, 0] == 30

# `view` never copies, so it wants strides that allow the new shape: not here.
try:
    t.view(6)
except RuntimeError as error:
    print("view(6)   ", str(error).split(" (")[0])

# `reshape` is a view where one is possible, and a copy else.
flat = t.reshape(6)
print("reshape(6)", flat.tolist(), "a copy:", flat.data_ptr() != t.data_ptr())
assert flat.data_ptr() != t.data_ptr()
assert x.reshape(6).data_ptr() == x.data_ptr()

# `contiguous` is that copy said aloud. It has the shape of x.T and its own strides.
print("contiguous", t.contiguous().stride())
assert torch.equal(t.contiguous().view(6), flat)

# Mind that x.view(3, 2) and x.T have one shape and are not the same.
print("view(3, 2)", x.view(3, 2).tolist())
assert not torch.equal(x.view(3, 2), t)
