"""python examples/cpp/custom_op.py examples/cpp/build

Calls the operator of custom_op.cpp: the library is loaded, and torch.ops has it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

torch.ops.load_library(Path(sys.argv[1]) / "libcustom_op.so")
x = torch.tensor([-2.0, 3.0], requires_grad=True)

y = torch.ops.examples.leaky(x, slope=0.1)
y.sum().backward()

print("leaky:", y.tolist(), "gradient:", x.grad.tolist())
print("default slope:", torch.ops.examples.leaky(x.detach()).tolist())
assert torch.equal(y, torch.nn.functional.leaky_relu(x, 0.1))
