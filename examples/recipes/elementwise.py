"""python examples/recipes/elementwise.py

`clamp`, `reciprocal` and `log1p`: one function for every entry.
"""

import torch

x = torch.tensor([-2.0, -0.5, 0.5, 4.0])

print("clamp(-1, 1)  ", x.clamp(-1, 1).tolist())
print("clamp(min=0)  ", x.clamp(min=0).tolist())  # one side only: this one is a ReLU
assert torch.equal(x.clamp(min=0), torch.relu(x))

print("reciprocal    ", x.reciprocal().tolist())
assert torch.equal(x.reciprocal(), 1 / x)
print("1 / 0         ", torch.zeros(1).reciprocal().item())  # no error: inf

# Whole numbers give floats; numpy's reciprocal leaves them whole, so that 1 / 2 is 0 there.
print("of int64      ", torch.tensor([2, 4]).reciprocal().tolist())

# log1p(x) is log(1 + x), right for small x also, where 1 + x has lost the digits of x.
tiny = torch.tensor(1e-8)
print(f"log(1 + 1e-8)  {(1 + tiny).log().item():.1e}")
print(f"log1p(1e-8)    {tiny.log1p().item():.1e}")
assert (1 + tiny).log() == 0
assert tiny.log1p() == tiny
