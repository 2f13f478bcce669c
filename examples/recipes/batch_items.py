"""python examples/recipes/batch_items.py

A dataset whose items are batches already: the loader must not make batches of them once more.

Items that cannot be stacked: torchkit snoop examples/broken/collate.py
"""

import torch
from torch.utils.data import DataLoader, Dataset


class Volumes(Dataset):
    """Item i is a scan: its slices [slices, 1, 8, 8], and the number of the scan."""

    slices = (4, 2, 3)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple:
        return torch.full((self.slices[index], 1, 8, 8), float(index)), index


def only(items: list) -> tuple:
    """The one item of the list; a function with a name, which workers can be sent."""
    return items[0]


def shapes(loader: DataLoader) -> list:
    return [list(slices.shape) for slices, _ in loader]


print("as it is        ", shapes(DataLoader(Volumes())))  # a dimension too many

print("collate_fn=only ", shapes(DataLoader(Volumes(), collate_fn=only)))  # as it is often done

loader = DataLoader(Volumes(), batch_size=None)  # better: it says that there is nothing to collate
print("batch_size=None ", shapes(loader))
assert shapes(loader) == [[4, 1, 8, 8], [2, 1, 8, 8], [3, 1, 8, 8]]
assert [scan for _, scan in loader] == [0, 1, 2]


def joined(items: list) -> tuple:
    """Several scans as one batch: cat, where stack would want equal sizes."""
    return torch.cat([slices for slices, _ in items]), [scan for _, scan in items]


pairs = DataLoader(Volumes(), batch_size=2, collate_fn=joined)
print("two, joined     ", shapes(pairs))
assert shapes(pairs) == [[6, 1, 8, 8], [3, 1, 8, 8]]
