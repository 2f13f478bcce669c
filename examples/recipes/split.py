"""python examples/recipes/split.py

A dataset split at random, the same way every time, and written to list files with progress.

"unexpected keyword argument 'generator'": torchkit snoop examples/broken/old_random_split.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import random_split

pictures = [
    f"picture{number:02}.png" for number in range(20)
]  # anything with a length and an index


def split(seed: int) -> list:
    """A generator of its own, so that no other random number changes the split."""
    generator = torch.Generator().manual_seed(seed)
    return random_split(pictures, [16, 4], generator=generator)  # or [0.8, 0.2]


train, test = split(seed=0)
print("sizes", len(train), len(test))
print("test ", list(test))
assert sorted([*train, *test]) == pictures
assert list(split(seed=0)[1]) == list(test)
assert list(split(seed=1)[1]) != list(test)

# The split, written down, can be looked at and outlives a change of the folder. Progress goes to
# stderr: what is printed stays clean.
progress = Console(stderr=True)
with TemporaryDirectory() as folder:
    for name, part in {"train": train, "test": test}.items():
        path = Path(folder, f"{name}.txt")
        with path.open("w", encoding="utf-8") as lines:
            for picture in track(part, description=name, console=progress):
                lines.write(f"{picture}\n")
        print(path.name, "has", len(path.read_text("utf-8").splitlines()), "lines")

    assert Path(folder, "test.txt").read_text("utf-8").split() == list(test)
