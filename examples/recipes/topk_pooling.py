"""python examples/recipes/topk_pooling.py

Global pooling between maximum and mean: of every channel the mean of its k largest pixels.
"""

import torch


def topk_pool(maps: torch.Tensor, k: int) -> torch.Tensor:
    """[N, C, H, W] to [N, C]."""
    return maps.flatten(2).topk(k, dim=2).values.mean(dim=2)


maps = torch.arange(24.0).reshape(1, 2, 3, 4)  # channels of 0..11 and 12..23
pooled = topk_pool(maps, k=4)
print("k=4 ", pooled.tolist())
assert pooled.tolist() == [[9.5, 21.5]]

# k=1 is the global maximum, k=H*W the global mean.
print("k=1 ", topk_pool(maps, 1).tolist())
print("k=12", topk_pool(maps, 12).tolist())
assert torch.equal(topk_pool(maps, 1), maps.amax(dim=(2, 3)))
assert torch.equal(topk_pool(maps, 12), maps.mean(dim=(2, 3)))

# The places that topk gives, put into gather, take the same pixels of another tensor: here of
# weights, or of the features, where one map says which places count.
pixels = maps.flatten(2)
places = pixels.topk(4, dim=2).indices
print("places", places.tolist())
assert torch.equal(pixels.gather(2, places).mean(dim=2), pooled)

best = pixels.mean(dim=1, keepdim=True).topk(4, dim=2).indices  # [N, 1, k]: one choice ...
chosen = pixels.gather(
    2, best.expand(-1, 2, -1)
)  # ... for both channels: gather broadcasts nothing
assert torch.equal(chosen.mean(dim=2), pooled)
