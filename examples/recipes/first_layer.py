"""python examples/recipes/first_layer.py

A network for colour pictures made one for grey pictures: its first layer replaced, its weights kept.

The layer that was not replaced: torchkit explain conv-channel-mismatch
"""

import torch
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    """The ends of a resnet18, whose first layer has this name and these sizes too.

    With torchvision: `resnet18(weights="DEFAULT")`, which was `pretrained=True` once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.avgpool(x).flatten(1))


net = Net().eval()
grey = torch.randn(2, 1, 32, 32)
colour = grey.expand(-1, 3, -1, -1)
before = net(colour)

old = net.conv1
net.conv1 = nn.Conv2d(
    1, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
)
with (
    torch.no_grad()
):  # red = green = blue in a grey picture, so the sum of their weights does as before
    net.conv1.weight.copy_(old.weight.sum(dim=1, keepdim=True))

print("before", list(old.weight.shape), "takes", list(colour.shape))
print("after ", list(net.conv1.weight.shape), "takes", list(grey.shape))
assert torch.allclose(net(grey), before, atol=1e-5)
print("the scores are the same")

# An optimizer holds the parameters it was made with: make it afterwards.
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
assert any(it is net.conv1.weight for it in optimizer.param_groups[0]["params"])

# The last layer, for other classes.
net.fc = nn.Linear(net.fc.in_features, 2)
print("scores", list(net(grey).shape))
assert net(grey).shape == (2, 2)
