"""A training step that `snoop.py` measures: 4 layers, batch 16x3x16x16, SGD, one thread.

    python benchmarks/train_step.py STEPS [anomaly|torchsnooper]

Writes the CPU seconds that the steps took, after three to warm up.
"""

from __future__ import annotations

import contextlib
import sys
import time

import torch
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, stride=2)
        self.fc = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.conv3(x))
        return self.fc(x.flatten(1))


def train_step(
    net: Net, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """A step as people write them: mixup, two losses, weight decay by hand, clipping, accuracy."""
    mean = images.mean(dim=(0, 2, 3), keepdim=True)
    std = images.std(dim=(0, 2, 3), keepdim=True)
    images = (images - mean) / (std + 1e-5)
    order = torch.randperm(images.shape[0])
    weight = 0.7
    mixed = weight * images + (1 - weight) * images[order]
    logits = net(mixed)
    first = nn.functional.cross_entropy(logits, labels)
    second = nn.functional.cross_entropy(logits, labels[order])
    loss = weight * first + (1 - weight) * second
    penalty = torch.zeros(())
    for parameter in net.parameters():
        penalty = penalty + parameter.pow(2).sum()
    loss = loss + 1e-4 * penalty
    optimizer.zero_grad()
    loss.backward()
    norm = torch.zeros(())
    for parameter in net.parameters():
        grad = parameter.grad
        if grad is not None:
            norm = norm + grad.pow(2).sum()
    norm = norm.sqrt()
    scale = torch.clamp(5.0 / (norm + 1e-6), max=1.0)
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(scale)
    optimizer.step()
    with torch.no_grad():
        guess = logits.argmax(dim=1)
        right = guess == labels
        accuracy = right.float().mean()
    return loss.detach(), accuracy


def main() -> None:
    steps = int(sys.argv[1])
    way = sys.argv[2] if len(sys.argv) > 2 else ""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    images, labels = torch.randn(16, 3, 16, 16), torch.randint(0, 10, (16,))
    step = train_step
    if way == "torchsnooper":
        sys.path.insert(0, __file__.rpartition("/")[0] + "/..")
        from torchkit.tracing.classic import import_torchsnooper

        step = import_torchsnooper().snoop()(train_step)
    watch = torch.autograd.detect_anomaly() if way == "anomaly" else contextlib.nullcontext()
    with watch:
        for _ in range(3):
            step(net, optimizer, images, labels)
        began = time.process_time()
        for _ in range(steps):
            step(net, optimizer, images, labels)
        print(time.process_time() - began)


if __name__ == "__main__":
    main()
