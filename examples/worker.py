"""torchkit snoop examples/worker.py: samples that do not fit, in a worker of a DataLoader."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class Sentences(Dataset[Tensor]):
    """Each is turned into features by a table that was made for shorter ones."""

    table = torch.ones(16, 8)

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Tensor:
        sentence = torch.zeros(4, 16 if index < 8 else 17)
        return sentence @ self.table


if __name__ == "__main__":
    for batch in DataLoader(Sentences(), batch_size=4, num_workers=2):
        total = batch.sum()
