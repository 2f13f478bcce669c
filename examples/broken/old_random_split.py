# torchkit snoop examples/broken/old_random_split.py
import torch
from torch.utils.data import Subset


def random_split(dataset, lengths):
    """torch's own before 1.6, in short: no `generator`. It is here so that every torch shows it."""
    places = torch.randperm(len(dataset)).split(lengths)
    return [Subset(dataset, it.tolist()) for it in places]


# Where torch has to stay old: torch.manual_seed(0) before, and no generator.
train, test = random_split(range(10), [8, 2], generator=torch.Generator().manual_seed(0))
