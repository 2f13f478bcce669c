"""python examples/recipes/feature_maps.py

What a layer in the middle gives, kept by a forward hook, without a change to the model.

The names and shapes of all layers: torchkit summary examples/usnet.py:USNet
"""

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 8, 3, padding=1),
).eval()
maps = {}


def keep(name: str):
    """A hook that keeps the output: detached from the graph, and copied, since a ReLU may follow
    that works in place."""

    def hook(_layer: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        maps[name] = output.detach().clone()

    return hook


hooks = [net.get_submodule(name).register_forward_hook(keep(name)) for name in ("0", "3")]
image = torch.randn(1, 1, 8, 8)
net(image)  # not net.forward(image): that calls no hooks
for hook in hooks:
    hook.remove()  # or every later forward would keep its maps too

for name, kept in maps.items():
    print(name, list(kept.shape), "below 0:", bool((kept < 0).any()))
assert maps["0"].shape == (1, 4, 8, 8)
assert torch.equal(maps["0"], net[0](image))  # before the ReLU, which would leave nothing below 0

maps.clear()
net(image)
print("kept after remove()", len(maps))
assert not maps
