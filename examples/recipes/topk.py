"""python examples/recipes/topk.py

`topk`: the k largest along a dimension, and where they were.
"""

import torch

scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])

values, places = scores.topk(2, dim=1)
print("values ", [[round(it, 1) for it in row] for row in values.tolist()])
print("places ", places.tolist())
assert places.tolist() == [[1, 2], [0, 2]]
assert places.dtype == torch.int64

smallest = scores.topk(1, dim=1, largest=False)
print("smallest", smallest.indices.flatten().tolist())
assert torch.equal(smallest.values, scores.min(dim=1, keepdim=True).values)

# Top-k accuracy: is the label among the k best?
labels = torch.tensor([2, 1])
hits = (places == labels[:, None]).any(dim=1)
print("top-2 accuracy", hits.float().mean().item())
assert hits.tolist() == [True, False]
