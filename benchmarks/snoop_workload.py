"""The training step that snoop's overhead is measured on: a small CNN, and a step of many lines.

Small tensors and many operations: what a watcher costs for each line and each operation shows most.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody names it
from torch import nn


class Net(nn.Module):
    """Four layers, for images of 3x16x16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of [N, 3, 16, 16]."""
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def train_step(
    net: Net, opt: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float, float]:
    """Loss, accuracy and the norm of the gradient of one step with mixup."""
    net.train()
    batch = images.size(0)
    lam = float(torch.rand(()))
    order = torch.randperm(batch)
    mean = images.mean(dim=(0, 2, 3), keepdim=True)
    std = images.std(dim=(0, 2, 3), keepdim=True)
    images = (images - mean) / (std + 1e-6)
    other = images[order]
    mixed = lam * images + (1 - lam) * other
    labels_b = labels[order]
    logits = net(mixed)
    loss_a = F.cross_entropy(logits, labels)
    loss_b = F.cross_entropy(logits, labels_b)
    loss = lam * loss_a + (1 - lam) * loss_b
    l2 = torch.zeros(())
    for parameter in net.parameters():
        l2 = l2 + parameter.pow(2).sum()
    total = loss + 1e-4 * l2
    opt.zero_grad()
    total.backward()
    squares = torch.zeros(())
    for parameter in net.parameters():
        if parameter.grad is not None:
            squares = squares + parameter.grad.pow(2).sum()
    norm = squares.sqrt()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    opt.step()
    with torch.no_grad():
        predicted = logits.argmax(1)
        right = (predicted == labels).float()
        accuracy = right.mean()
    return float(total.detach()), float(accuracy), float(norm.detach())


def train(steps: int) -> float:
    """Train for so many steps; the last loss."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = Net()
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    images = torch.randn(16, 3, 16, 16)
    labels = torch.randint(10, (16,))
    loss = 0.0
    for _ in range(steps):
        loss, _, _ = train_step(net, opt, images, labels)
    return loss


if __name__ == "__main__":
    import sys

    print(train(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
