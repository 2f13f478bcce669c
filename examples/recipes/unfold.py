"""python examples/recipes/unfold.py

A convolution is three steps: unfold into patches, one matmul, fold into a picture.

Why not for whole numbers: torchkit snoop examples/broken/unfold_long.py
"""

import torch
from torch.nn.functional import conv2d, fold, unfold

torch.manual_seed(0)
images = torch.randn(2, 3, 6, 8)
weight = torch.randn(4, 3, 3, 3)  # 4 kernels of 3x3 over 3 channels

# The zeros of `padding` are put around the picture before the kernel slides, so 3x3 with
# padding=1 has as many places as there are pixels: 6 * 8 = 48, each a column of 3 * 3 * 3 = 27.
patches = unfold(images, kernel_size=3, padding=1)
print("unfold  ", list(images.shape), "->", list(patches.shape))
assert patches.shape == (2, 27, 48)
assert patches[0, :9, 0].reshape(3, 3)[0].tolist() == [0, 0, 0]  # the corner looks at padding

columns = weight.reshape(4, 27) @ patches
print("matmul  ", [4, 27], "@", list(patches.shape), "->", list(columns.shape))

maps = fold(columns, output_size=(6, 8), kernel_size=1)  # kernel 1: a reshape
print("fold    ", list(columns.shape), "->", list(maps.shape))
assert torch.allclose(maps, conv2d(images, weight, padding=1), atol=1e-5)
print("conv2d   gives the same")

# fold adds where patches overlap: folding what was unfolded gives each pixel as often as it was in
# a patch. Divide by what becomes of ones.
back = fold(patches, (6, 8), kernel_size=3, padding=1)
times = fold(unfold(torch.ones(1, 1, 6, 8), 3, padding=1), (6, 8), 3, padding=1)
print("times   ", times[0, 0, 0].int().tolist(), "in the first row")
assert torch.allclose(back / times, images, atol=1e-5)

# Whole numbers have no such kernel: make floats of them, or take Tensor.unfold, a view for any dtype.
mask = torch.arange(16).reshape(1, 1, 4, 4)
try:
    unfold(mask, kernel_size=3)
except RuntimeError as error:  # NotImplementedError, which is one
    print("of int64", str(error).split("implemented ")[1])
windows = mask.unfold(2, 3, 1).unfold(3, 3, 1)
print("windows ", list(windows.shape), "the last:", windows[0, 0, 1, 1].tolist())
assert torch.equal(windows.reshape(4, 9).T.float(), unfold(mask.float(), kernel_size=3)[0])
