"""python examples/recipes/creation.py

New tensors: filled with one value, counting, uniform and normal random numbers.
"""

import torch

torch.manual_seed(0)

filled = torch.full((2, 3), 0.5)
print("full          ", filled.tolist())
assert filled.shape == (2, 3)

# The dtype is the fill value's. An old torch made float32 of whole numbers too.
print("full of 7     ", torch.full((2,), 7).dtype)
print("full of 7.0   ", torch.full((2,), 7.0).dtype)
assert torch.full((2,), 7).dtype == torch.int64

print("arange        ", torch.arange(2, 10, 3).tolist())
print("linspace      ", torch.linspace(0, 1, 5).tolist())
assert torch.arange(2, 10, 3).tolist() == [2, 5, 8]  # without the end
assert torch.linspace(0, 1, 5)[-1] == 1  # with the end

# `rand` is the uniform one, `randn` (n for normal) the normal one.
uniform, normal = torch.rand(100_000), torch.randn(100_000)
print(f"rand           from {uniform.min():.1f} to {uniform.max():.1f}, mean {uniform.mean():.1f}")
print(f"randn          {(normal.abs() < 1).float().mean():.0%} lie within -1 and 1")
assert uniform.min() >= 0
assert uniform.max() < 1
assert normal.min() < -3
assert normal.max() > 3

# `…_like` takes shape, dtype and device from another tensor.
print("zeros_like    ", torch.zeros_like(filled).tolist())
assert torch.zeros_like(filled).dtype == filled.dtype
