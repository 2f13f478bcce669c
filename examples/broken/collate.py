# torchkit snoop examples/broken/collate.py
import torch
from torch.utils.data import DataLoader

images = [torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), torch.zeros(1, 8, 8)]


def collate(batch):
    return torch.stack(batch, 0)


for _ in DataLoader(images, batch_size=3, collate_fn=collate):
    pass
