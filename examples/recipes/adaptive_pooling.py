"""python examples/recipes/adaptive_pooling.py

Adaptive pooling gives one size whatever the picture's; the (1, 1) that it leaves has to go.

A Linear that gets another number: torchkit summary examples/broken_head.py:Net --input 1,28,28
"""

import torch
from torch import nn

torch.manual_seed(0)
pool = nn.AdaptiveMaxPool2d(1)

for size in ((6, 8), (13, 5)):
    maps = torch.randn(2, 32, *size)
    pooled = pool(maps)
    print("pool   ", list(maps.shape), "->", list(pooled.shape))
    assert pooled.shape == (2, 32, 1, 1)
    assert torch.equal(pooled.flatten(1), maps.amax(dim=(2, 3)))

# nn.Linear works on the last dimension, and that is 1: flatten(1) makes it the channels.
features = pooled.flatten(1)
print("flatten", list(pooled.shape), "->", list(features.shape))
print("Linear ", list(features.shape), "->", list(nn.Linear(32, 10)(features).shape))

# squeeze() would do it too, until a batch of one comes along: it takes that 1 as well.
single = pool(torch.randn(1, 32, 6, 8))
print("squeeze", list(single.shape), "->", list(single.squeeze().shape))
print("flatten", list(single.shape), "->", list(single.flatten(1).shape))
assert single.squeeze().shape == (32,)
assert single.flatten(1).shape == (1, 32)
