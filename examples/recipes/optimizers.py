"""python examples/recipes/optimizers.py

SGD and Adam, and the order: optimizer.step() for every batch, then scheduler.step() once an epoch.

The warning about that order: torchkit explain lr-scheduler-order
"""

import warnings

import torch
from torch import nn

# What one step does to a parameter of 1 with a gradient of 4.
for name, optimizer_class in {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}.items():
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = optimizer_class([weight], lr=0.1)
    (4 * weight).backward()
    optimizer.step()
    print(f"{name:5} 1.0 -> {weight.item():.1f}")
# SGD goes lr * gradient; Adam about lr, whatever the gradient's size: so each wants its own rate.

# A training: y = 3x, learnt from four points.
torch.manual_seed(0)
x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
net = nn.Linear(1, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.5)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
rates = []
for _epoch in range(6):
    rates.append(scheduler.get_last_lr()[0])
    for _batch in range(10):
        optimizer.zero_grad()  # gradients add up else
        loss = nn.functional.mse_loss(net(x), 3 * x)
        loss.backward()
        optimizer.step()
    scheduler.step()
print("rates", rates)
print(f"y = {net.weight.item():.2f} x")
assert rates == [0.2, 0.2, 0.1, 0.1, 0.05, 0.05]
assert loss < 1e-6

# The other way round, which was right before torch 1.1, loses the first rate. torch warns.
optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    scheduler.step()
    optimizer.step()
print("warns", str(caught[0].message).split(". ")[0])
assert "`lr_scheduler.step()` before `optimizer.step()`" in str(caught[0].message)
