# torchkit snoop examples/broken/constant.py
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(4)
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x) + self.scale


net = Net().to("meta")
net(torch.ones(2, 4, device="meta"))
