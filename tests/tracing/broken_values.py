"""Scripts that fail by their values, by what autograd kept, or by what a tensor is turned into."""

from __future__ import annotations

from broken import Case

VALUES = [
    Case(
        "an id that the embedding has no row for",
        "embedding-index-range",
        """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
    def forward(self, ids):
        return «self.embed(ids)».mean(1)
Model()(torch.tensor([[1, 5, 10]]))
""",
        "ids",
        "10 is not below 10",
        "ids goes from 1 to 10, self.embed has rows for 0 to 9",
        "self.embed = nn.Embedding(11, 4)",
        (("Embedding(10, 4)", "Embedding(11, 4)"),),
    ),
    Case(
        "a padding of -1",
        "embedding-index-range",
        """
embed = nn.Embedding(10, 4)
ids = torch.tensor([[3, 9, -1]])
out = «embed(ids)»
""",
        "ids",
        "-1 is below 0",
        "ids goes from -1 to 9",
        "",
        (("-1]", "0]"),),
    ),
    Case(
        "an embedding by function",
        "embedding-index-range",
        """
weight = torch.randn(6, 3)
rows = [«F.embedding(ids, weight)» for ids in (torch.tensor([0, 5]), torch.tensor([2, 7]))]
""",
        "ids",
        "7 is not below 6",
        "ids goes from 2 to 7, weight has rows for 0 to 5",
        "",
        (("[2, 7]", "[2, 5]"),),
    ),
    Case(
        "an index out of range",
        "",
        """
x, i = torch.randn(3, 5), torch.tensor([0, 3])
y = x[0].sum() + «x[i]».sum()
""",
        "i",
        "3 is not below 3",
        "i goes from 0 to 3, dimension 0 of x has 3: 0 to 2",
        "",
        (("[0, 3]", "[0, 2]"),),
    ),
    Case(
        "an index of the second dimension",
        "",
        """
scores = torch.randn(4, 5)
rows, columns = torch.arange(4), torch.tensor([1, 2, 5, 0])
picked = «scores[rows, columns]»
""",
        "columns",
        "5 is not below 5",
        "columns goes from 0 to 5, dimension 1 of scores has 5: 0 to 4",
        "",
        (("[1, 2, 5, 0]", "[1, 2, 4, 0]"),),
    ),
    Case(
        "a number out of range",
        "",
        """
batch = torch.randn(4, 2)
for n in range(5):
    print(float(«batch[n]».sum()))
""",
        "batch",
        "4 is not below 4",
        "n is 4, dimension 0 of batch has 4: 0 to 3",
        "",
        (("range(5)", "range(4)"),),
    ),
    Case(
        "gather out of range",
        "",
        """
scores, labels = torch.randn(3, 4), torch.tensor([0, 3, 4])
picked = «scores.gather(1, labels[:, None])»
""",
        "labels[:, None]",
        "4 is not below 4",
        "labels[:, None] has 4 in it, dimension 1 of scores has 4: 0 to 3",
        "",
        (("[0, 3, 4]", "[0, 3, 1]"),),
    ),
    Case(
        "a target for one class more",
        "loss-target-range",
        """
scores, target = torch.randn(4, 10), torch.tensor([1, 3, 10, 2])
loss = «F.cross_entropy(scores, target)»
""",
        "target",
        "must be 0 to 9",
        "target goes from 1 to 10, and there are 10 classes: 0 to 9",
        "F.cross_entropy(scores, target - 1)",
        (("scores, target)\n", "scores, target - 1)\n"),),
    ),
    Case(
        "a target by a criterion",
        "loss-target-range",
        """
net, criterion = nn.Linear(8, 3), nn.CrossEntropyLoss()
def step(x, labels):
    loss = «criterion(net(x), labels)»
    loss.backward()
step(torch.randn(5, 8), torch.tensor([0, 1, 2, 7, 0]))
""",
        "labels",
        "must be 0 to 2",
        "labels goes from 0 to 7, and there are 3 classes: 0 to 2",
        "",
        (("2, 7, 0", "2, 1, 0"),),
    ),
    Case(
        "classes beyond those of one_hot",
        "loss-target-range",
        """
labels = torch.tensor([0, 2, 5])
hot = «F.one_hot(labels, num_classes=5)»
""",
        "labels",
        "must be 0 to 4",
        "labels goes from 0 to 5, and there are 5 classes: 0 to 4",
        "",
        (("num_classes=5", "num_classes=6"),),
    ),
    Case(
        "a target of another batch",
        "loss-target-shape",
        """
scores, target = torch.randn(4, 10), torch.zeros(5, dtype=torch.long)
loss = «F.cross_entropy(scores, target)»
""",
        "target",
        "5 in its batch, scores has 4",
        "scores is a batch of 4, target of 5",
        "",
        (("torch.zeros(5", "torch.zeros(4"),),
    ),
    Case(
        "a target with a dimension too many",
        "loss-target-shape",
        """
scores, target = torch.randn(4, 10), torch.zeros(4, 1, dtype=torch.long)
loss = «F.cross_entropy(scores, target)»
""",
        "target",
        "[4, 1], must be [4]",
        "target is [4, 1]",
        "F.cross_entropy(scores, target.squeeze(1))",
        (("scores, target)\n", "scores, target.squeeze(1))\n"),),
    ),
    Case(
        "chances of another shape than their target",
        "loss-target-shape",
        """
out, target = torch.rand(8, 1), torch.rand(8)
loss = «F.binary_cross_entropy(out, target)»
""",
        "target",
        "[8], out is [8, 1]",
        "out is [8, 1], target is [8]",
        "out.squeeze(1)",
        (("y(out,", "y(out.squeeze(1),"),),
    ),
    Case(
        "a chance above 1",
        "loss-target-range",
        """
logits, target = torch.tensor([0.2, 3.0]), torch.ones(2)
loss = «F.binary_cross_entropy(logits, target)»
""",
        "logits",
        "0.2 to 3",
        "logits goes from 0.2 to 3",
        "F.binary_cross_entropy_with_logits(logits, target)",
        (("entropy(logits", "entropy_with_logits(logits"),),
    ),
    Case(
        "a parameter changed in place",
        "autograd-leaf-inplace",
        """
w = torch.ones(5, requires_grad=True)
«w -= 0.1»
""",
        "w",
        "a leaf that requires grad",
        "w is a leaf that requires grad",
        "with torch.no_grad(): w -= 0.1",
        (("w -= 0.1", "with torch.no_grad(): w -= 0.1"),),
    ),
    Case(
        "an initialisation in place",
        "autograd-leaf-inplace",
        """
layer = nn.Linear(3, 2)
«layer.weight.fill_(0.5)»
""",
        "layer.weight",
        "a leaf that requires grad",
        "layer.weight is a leaf that requires grad",
        "with torch.no_grad(): layer.weight.fill_(0.5)",
        (("layer.weight.fill_(0.5)", "with torch.no_grad(): layer.weight.fill_(0.5)"),),
    ),
    Case(
        "a row of a parameter written to",
        "autograd-leaf-inplace",
        """
w = nn.Parameter(torch.ones(4, 2))
«w[0]» = 0.0
""",
        "w",
        "a leaf that requires grad",
        "w",
        "with torch.no_grad()",
        (("w[0] = 0.0", "with torch.no_grad(): w[0] = 0.0"),),
    ),
    Case(
        "a result of sigmoid changed",
        "autograd-inplace-modified",
        """
w = torch.ones(5, requires_grad=True)
a = torch.sigmoid(w)
a += 1
«a.sum().backward()»
""",
        "",
        "",
        "",
        "torchkit snoop --inplace",
        (("a += 1", "a = a + 1"),),
    ),
    Case(
        "backward twice",
        "autograd-graph-freed",
        """
x = torch.ones(3, requires_grad=True)
loss = (x ** 2).sum()
loss.backward()
«loss.backward()»
""",
        "loss",
        "",
        "",
        "",
        (("loss.backward()\nloss.backward()", "loss.backward()"),),
    ),
    Case(
        "a loss without a graph",
        "autograd-no-grad-fn",
        """
net = nn.Linear(3, 1)
with torch.no_grad():
    loss = net(torch.ones(2, 3)).mean()
«loss.backward()»
""",
        "loss",
        "does not require grad",
        "loss does not require grad",
        "",
        (("with torch.no_grad():\n    loss", "loss"),),
    ),
    Case(
        "backward of several numbers",
        "autograd-nonscalar-backward",
        """
x = torch.ones(4, 2, requires_grad=True)
loss = (x * 2).pow(2)
«loss.backward()»
""",
        "loss",
        "[4, 2], must be one number",
        "loss is [4, 2]",
        "loss.mean().backward()",
        (("loss.backward()", "loss.mean().backward()"),),
    ),
    Case(
        "a custom function that gives a wrong gradient",
        "",
        """
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, grad):
        return «grad.sum(0) * 2»
x = torch.ones(3, 2, requires_grad=True)
y = Double.apply(x).sum()
y.backward()
""",
        "",
        "",
        "",
        "",
        (("grad.sum(0) * 2", "grad * 2"),),
    ),
    Case(
        "within the backward of a custom function",
        "broadcast-size-mismatch",
        """
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(factor)
        return x * 2
    @staticmethod
    def backward(ctx, grad):
        factor, = ctx.saved_tensors
        return «grad * factor», None
x = torch.ones(4, 3, requires_grad=True)
Scale.apply(x, torch.ones(4)).sum().backward()
""",
        "factor",
        "4 in dimension -1, grad has 3",
        "factor lacks the last dimension of grad",
        "grad * factor[..., None]",
        (("torch.ones(4))", "torch.ones(3))"),),
    ),
    Case(
        "a tensor with a gradient to numpy",
        "numpy-requires-grad",
        """
x = torch.ones(3, requires_grad=True)
history = []
history.append(«(x * 2).numpy()»)
""",
        "x * 2",
        "requires grad",
        "x * 2 requires grad",
        "(x * 2).detach().numpy()",
        (("(x * 2).numpy()", "(x * 2).detach().numpy()"),),
    ),
    Case(
        "a tensor with a gradient given to numpy",
        "numpy-requires-grad",
        """
import numpy as np
loss = torch.ones(3, requires_grad=True)
mean = np.mean([1.0]) + «np.asarray(loss)».mean()
""",
        "loss",
        "requires grad",
        "loss requires grad",
        "np.asarray(loss.detach())",
        (("np.asarray(loss)", "np.asarray(loss.detach())"),),
    ),
    Case(
        "a batch of one",
        "batchnorm-single-value",
        """
net = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
out = «net(torch.randn(1, 8))»
""",
        "input of net.1",
        "[1, 4] is one value for each channel",
        "net.1 needs several values for each channel",
        "drop_last=True",
        (("torch.randn(1, 8)", "torch.randn(2, 8)"),),
    ),
    Case(
        "a normalisation of other features",
        "",
        """
norm = nn.BatchNorm2d(16)
x = torch.randn(2, 8, 4, 4)
y = «norm(x)»
""",
        "norm.weight",
        "",
        "norm was built for 16",
        "norm = nn.BatchNorm2d(8)",
        (("BatchNorm2d(16)", "BatchNorm2d(8)"),),
    ),
    Case(
        "a layer norm of other features",
        "",
        """
norm = nn.LayerNorm(16)
x = torch.randn(2, 8)
y = «norm(x)»
""",
        "norm.weight",
        "",
        "norm was built for",
        "norm = nn.LayerNorm(8)",
        (("LayerNorm(16)", "LayerNorm(8)"),),
    ),
    Case(
        "several numbers as one",
        "scalar-conversion",
        """
losses = torch.randn(4)
total = 0.0
total += «losses.item()»
""",
        "losses",
        "4 elements",
        "losses has 4 elements",
        "losses.mean().item()",
        (("losses.item()", "losses.mean().item()"),),
    ),
    Case(
        "several numbers as a float",
        "scalar-conversion",
        """
losses = torch.randn(4)
print(«float(losses)»)
""",
        "losses",
        "4 elements",
        "losses has 4 elements",
        "float(losses.mean())",
        (("float(losses)", "float(losses.mean())"),),
    ),
    Case(
        "several answers to a question",
        "bool-ambiguous",
        """
prediction, label = torch.tensor([1, 2]), torch.tensor([1, 3])
correct = 0
if «prediction == label»:
    correct += 1
""",
        "prediction == label",
        "2 elements",
        "prediction == label has 2 elements",
        "",
        (("if prediction == label:", "if (prediction == label).all():"),),
    ),
    Case(
        "an assertion on several answers",
        "bool-ambiguous",
        """
x = torch.rand(3)
assert «x >= 0», "negative"
""",
        "x >= 0",
        "3 elements",
        "x >= 0 has 3 elements",
        "(x >= 0).all()",
        (("assert x >= 0,", "assert (x >= 0).all(),"),),
    ),
    Case(
        "rows of unequal length",
        "list-to-tensor-ragged",
        """
rows = [[1, 2, 3], [4, 5]]
table = «torch.tensor(rows)»
""",
        "",
        "",
        "",
        "",
        (("[4, 5]]", "[4, 5, 6]]"),),
    ),
    Case(
        "a list of tensors",
        "scalar-conversion",
        """
losses = [torch.randn(2), torch.randn(2)]
all_losses = «torch.tensor(losses)»
""",
        "losses[0]",
        "2 elements",
        "",
        "torch.stack(losses)",
        (("torch.tensor(losses)", "torch.stack(losses)"),),
    ),
    Case(
        "a reversed array",
        "numpy-negative-stride",
        """
import numpy as np
image = np.zeros((4, 4, 3), np.float32)
flipped = «torch.from_numpy(image[:, ::-1])»
""",
        "",
        "",
        "",
        ".copy()",
        (("image[:, ::-1]", "image[:, ::-1].copy()"),),
    ),
    Case(
        "a module before its init",
        "module-init-order",
        """
class Net(nn.Module):
    def __init__(self):
        «self.fc» = nn.Linear(2, 2)
        super().__init__()
Net()
""",
        "",
        "",
        "",
        "super().__init__()",
        (
            ("        self.fc = nn.Linear(2, 2)\n", ""),
            ("super().__init__()\n", "super().__init__()\n        self.fc = nn.Linear(2, 2)\n"),
        ),
    ),
    Case(
        "a forward by another name",
        "forward-missing",
        """
class Net(nn.Module):
    def foward(self, x):
        return x
net = Net()
«net(torch.ones(1))»
""",
        "",
        "",
        "",
        "",
        (("foward", "forward"),),
    ),
    Case(
        "an optimizer without parameters",
        "optimizer-empty",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 2)]
net = Net()
optimizer = «torch.optim.SGD(net.parameters(), lr=0.1)»
""",
        "",
        "",
        "",
        "nn.ModuleList",
        (("[nn.Linear(2, 2)]", "nn.ModuleList([nn.Linear(2, 2)])"),),
    ),
    Case(
        "what this torch does not have",
        "api-newer-than-torch",
        """
x = torch.ones(3)
y = «torch.no_such_function»(x)
""",
        "",
        "",
        "",
        "",
        (("torch.no_such_function(x)", "torch.abs(x)"),),
    ),
    Case(
        "a dimension that is not there",
        "",
        """
x = torch.randn(4, 5)
y = «x.sum(dim=2)»
""",
        "x",
        "2 dimensions",
        "x has 2 dimensions",
        "",
        (("dim=2", "dim=1"),),
    ),
    Case(
        "a permutation of another number of dimensions",
        "",
        """
image = torch.randn(3, 8, 8)
y = «image.permute(0, 2, 3, 1)»
""",
        "image",
        "3 dimensions",
        "image has 3 dimensions",
        "",
        (("permute(0, 2, 3, 1)", "permute(1, 2, 0)"),),
    ),
    Case(
        "an expansion of what is not 1",
        "broadcast-size-mismatch",
        """
position = torch.zeros(1, 16, 8)
y = «position.expand(4, 20, 8)»
""",
        "position",
        "16 in dimension 1",
        "",
        "",
        (("expand(4, 20, 8)", "expand(4, 16, 8)"),),
    ),
    Case(
        "two values from three",
        "exception",
        """
«a, b» = torch.arange(6).chunk(3)
""",
        "",
        "",
        "torch.arange(6).chunk(3) gives 3, and there are 2 names",
        "",
        (("a, b =", "a, b, c ="),),
    ),
    Case(
        "an awaited step",
        "broadcast-size-mismatch",
        """
import asyncio
async def forward(x, w):
    return «x + w»
async def main():
    await asyncio.gather(forward(torch.ones(2), torch.ones(2)))
    return await forward(torch.ones(2), torch.ones(3))
asyncio.run(main())
""",
        "w",
        "3 in dimension 0, x has 2",
        "x and w differ in dimension 0: 2 and 3",
        "",
        (("torch.ones(3)", "torch.ones(2)"),),
    ),
    Case(
        "a generator of batches",
        "broadcast-size-mismatch",
        """
def batches(mean):
    for size in (3, 3, 4):
        yield «torch.zeros(size) - mean»
total = sum(x.sum() for x in batches(torch.ones(3)))
""",
        "mean",
        "3 in dimension 0",
        "",
        "",
        (("(3, 3, 4)", "(3, 3, 3)"),),
    ),
    Case(
        "a dictionary within a class of data",
        "broadcast-size-mismatch",
        """
from dataclasses import dataclass
@dataclass
class Batch:
    data: dict
batch = Batch({"images": torch.ones(2, 3), "mask": torch.ones(2, 4)})
out = [«batch.data["images"] * batch.data["mask"]»]
""",
        "batch.data['mask']",
        "4 in dimension 1, batch.data['images'] has 3",
        "",
        "",
        (("torch.ones(2, 4)", "torch.ones(2, 3)"),),
    ),
    Case(
        "a hook",
        "broadcast-size-mismatch",
        """
net = nn.Linear(4, 2)
bias = torch.ones(3)
def add(module, args, out):
    return «out + bias»
net.register_forward_hook(add)
net(torch.ones(5, 4))
""",
        "bias",
        "3 in dimension -1, out has 2",
        "out and bias differ in dimension -1: 2 and 3",
        "",
        (("torch.ones(3)", "torch.ones(2)"),),
    ),
    Case(
        "a step given to map",
        "matmul-shape-mismatch",
        """
weight = torch.randn(4, 4)
def project(x):
    return «x @ weight»
out = list(map(project, [torch.randn(2, 4), torch.randn(2, 5)]))
""",
        "weight",
        "has 4 rows",
        "x has 5 columns, weight has 4 rows",
        "",
        (("torch.randn(2, 5)", "torch.randn(2, 4)"),),
    ),
]
