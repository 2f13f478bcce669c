# torchkit snoop examples/broken/unfold_long.py
import torch
from torch import nn

mask, k = torch.zeros(1, 1, 8, 8, dtype=torch.long), 3
patches = nn.functional.unfold(mask, kernel_size=k)
