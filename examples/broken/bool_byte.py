# torchkit snoop examples/broken/bool_byte.py
import torch

x, y = torch.randn(4), torch.ones(4)
m = (x > 0) ^ y.byte()
m = x > 0
m ^= y.byte()
