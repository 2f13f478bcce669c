"""python examples/recipes/usnet_shapes.py

A model is checked before it is trained: what it takes, and what it gives.

All its layers at once: torchkit summary examples/usnet.py:USNet --input 1,256,256
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from usnet import USNet  # examples/usnet.py

torch.manual_seed(0)
net = USNet(classes=2).eval()
images = torch.randn(2, 1, 256, 256)
with torch.no_grad():
    scores = net(images)
print(list(images.shape), images.dtype, "->", list(scores.shape), scores.dtype)
assert scores.shape == (2, 2)
assert scores.isfinite().all()

# Scores are not probabilities: softmax makes those, and cross_entropy wants the scores.
assert torch.allclose(scores.softmax(dim=1).sum(dim=1), torch.ones(2))

# Each picture for itself: a batch of one gives what it gave among others.
with torch.no_grad():
    assert torch.allclose(net(images[:1]), scores[:1], atol=1e-4)

# Other sizes do as well, since it pools globally; colour pictures do not.
with torch.no_grad():
    print([1, 1, 96, 64], "->", list(net(torch.randn(1, 1, 96, 64)).shape))
try:
    net(torch.randn(1, 3, 256, 256))
except RuntimeError as error:
    print([1, 3, 256, 256], "->", str(error).split("expected ")[1])

print("parameters", sum(it.numel() for it in net.parameters()))
