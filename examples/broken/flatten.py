# torchkit snoop examples/broken/flatten.py
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.fc = nn.Linear(1600, 10)

    def forward(self, x):
        x = self.features(x)
        return self.fc(x.flatten(1))


def train_step(net, images, labels):
    return nn.functional.cross_entropy(net(images), labels)


train_step(Net(), torch.randn(20, 1, 28, 28), torch.randint(0, 10, (20,)))
