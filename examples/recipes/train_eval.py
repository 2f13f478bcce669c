"""python examples/recipes/train_eval.py

train() and eval(): batch norm and dropout do different things in each.

Errors that the wrong mode gives: torchkit explain batchnorm-single-value
"""

import torch
from torch import nn

torch.manual_seed(0)

# Dropout: in training some entries become 0, and the rest are scaled so that the mean stays.
dropout = nn.Dropout(0.5)
ones = torch.ones(10_000)
print("dropout    train", sorted(set(dropout(ones).tolist())), f"mean {dropout(ones).mean():.1f}")
dropout.eval()
print("           eval ", sorted(set(dropout(ones).tolist())))
assert torch.equal(dropout(ones), ones)

# Batch norm: in training mean and deviation are the batch's, and what it has seen is kept;
# in eval they are those it has kept.
norm = nn.BatchNorm1d(1, momentum=0.5)
batch = torch.tensor([[8.0], [12.0]])
print("batch norm train", [round(it, 2) for it in norm(batch).flatten().tolist()])
print("           kept mean", norm.running_mean.item(), "variance", norm.running_var.item())
assert norm.running_mean == 0.5 * 0 + 0.5 * 10
assert norm.running_var == 0.5 * 1 + 0.5 * 8  # of the sample: (2**2 + 2**2) / (2 - 1)
norm.eval()
print("           eval ", [round(it, 2) for it in norm(batch).flatten().tolist()])
assert norm.running_mean == 5  # eval keeps nothing

# So the batch decides in training, and one value has no deviation at all.
print("           eval, a batch of 1 ", round(norm(batch[:1]).item(), 2))
try:
    norm.train()(batch[:1])
except ValueError as error:
    print("           train, a batch of 1", str(error).split(",")[0])

# no_grad() is another matter: it saves memory and leaves the mode as it is. Evaluating wants both.
net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
with torch.no_grad():
    print("no_grad    training is", net.training)
net.eval()
with torch.no_grad():
    assert torch.equal(net(torch.ones(4)), net(torch.ones(4)))
net.train()  # and back, before the next epoch
assert net[1].training  # the mode of a model is that of all its layers
