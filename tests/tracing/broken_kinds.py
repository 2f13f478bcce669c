"""Scripts whose tensors are of dtypes or on devices that do not go together."""

from __future__ import annotations

from broken import Case

KINDS = [
    Case(
        "an input that numpy made",
        "float-double-mismatch",
        """
import numpy as np
net = nn.Linear(4, 2)
x = torch.from_numpy(np.ones((3, 4)))
y = «net(x)»
""",
        "x",
        "is float64, not float32",
        "x is float64, net.weight is float32",
        "net(x.float())",
        (("net(x)", "net(x.float())"),),
    ),
    Case(
        "a product of two dtypes",
        "float-double-mismatch",
        """
a, b = torch.ones(2, 3, dtype=torch.float64), torch.ones(3, 2)
c = «torch.mm(a, b)»
""",
        "a",
        "is float64, not float32",
        "a is float64, b is float32",
        "torch.mm(a.float(), b)",
        (("torch.mm(a, b)", "torch.mm(a.float(), b)"),),
    ),
    Case(
        "a convolution of doubles",
        "float-double-mismatch",
        """
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
image = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
out = «net(image)»
""",
        "image",
        "is float64, not float32",
        "image is float64, net.0.weight is float32",
        "net(image.float())",
        (("net(image)", "net(image.float())"),),
    ),
    Case(
        "integers given to a layer",
        "float-double-mismatch",
        """
fc = nn.Linear(4, 2)
ages = torch.arange(8).view(2, 4)
out = «fc(ages)»
""",
        "ages",
        "is int64, not float32",
        "ages is int64, fc.weight is float32",
        "fc(ages.float())",
        (("fc(ages)", "fc(ages.float())"),),
    ),
    Case(
        "a half of an lstm",
        "float-double-mismatch",
        """
lstm = nn.LSTM(4, 3)
x = torch.zeros(5, 2, 4, dtype=torch.float64)
out, _ = «lstm(x)»
""",
        "x",
        "is float64, the others are float32",
        "x is float64",
        "lstm(x.float())",
        (("lstm(x)", "lstm(x.float())"),),
    ),
    Case(
        "an attention of three dtypes",
        "float-double-mismatch",
        """
q = torch.zeros(1, 2, 4, 8)
k = v = torch.zeros(1, 2, 4, 8, dtype=torch.bfloat16)
out = «F.scaled_dot_product_attention(q, k, v)»
""",
        "q",
        "is float32, the others are bfloat16",
        "",
        "",
        (("k = v = torch.zeros(1, 2, 4, 8, dtype=torch.bfloat16)", "k = v = q"),),
    ),
    Case(
        "a float as index",
        "index-dtype",
        """
table = torch.arange(12.0).view(4, 3)
picked = table[0].sum() + «table[torch.tensor([0.0, 2.0])]».sum()
""",
        "torch.tensor([0.0, 2.0])",
        "is float32",
        "",
        "",
        (("[0.0, 2.0]", "[0, 2]"),),
    ),
    Case(
        "a named float as index",
        "index-dtype",
        """
table, order = torch.arange(12.0).view(4, 3), torch.linspace(0, 3, 4)
picked = «table[order]»
""",
        "order",
        "is float32",
        "order is float32; an index is int64 or bool",
        "table[order.long()]",
        (("table[order]", "table[order.long()]"),),
    ),
    Case(
        "a float for an embedding",
        "index-dtype",
        """
emb = nn.Embedding(10, 4)
ids = torch.ones(2, 3)
out = «emb(ids)»
""",
        "ids",
        "is float32",
        "ids is float32; an index is int64 or int32",
        "emb(ids.long())",
        (("emb(ids)", "emb(ids.long())"),),
    ),
    Case(
        "a float for gather",
        "index-dtype",
        """
scores, labels = torch.randn(4, 5), torch.zeros(4, 1)
picked = «scores.gather(1, labels)»
""",
        "labels",
        "is float32",
        "labels is float32; an index is int64",
        "scores.gather(1, labels.long())",
        (("gather(1, labels)", "gather(1, labels.long())"),),
    ),
    Case(
        "a float target of a classification",
        "loss-target-dtype",
        """
scores, target = torch.randn(4, 10, requires_grad=True), torch.zeros(4)
loss = «F.cross_entropy(scores, target)»
""",
        "target",
        "is float32",
        "target is float32; ",
        "F.cross_entropy(scores, target.long())",
        (("scores, target)\n", "scores, target.long())\n"),),
    ),
    Case(
        "an integer target of a yes or no",
        "loss-target-dtype",
        """
criterion = nn.BCELoss()
chances, target = torch.rand(4), torch.ones(4, dtype=torch.long)
loss = «criterion(chances, target)»
""",
        "target",
        "is int64",
        "target is int64, chances is float32",
        "criterion(chances, target.float())",
        (("criterion(chances, target)", "criterion(chances, target.float())"),),
    ),
    Case(
        "unfold of integers",
        "op-not-implemented-for-dtype",
        """
mask, k = torch.zeros(1, 1, 8, 8, dtype=torch.long), 3
patches = «F.unfold(mask, kernel_size=k)»
""",
        "mask",
        "is int64",
        "mask is int64",
        "F.unfold(mask.float(), kernel_size=k)",
        (("unfold(mask,", "unfold(mask.float(),"),),
    ),
    Case(
        "softmax of integers",
        "op-not-implemented-for-dtype",
        """
votes = torch.tensor([3, 1, 2])
shares = «votes.softmax(0)»
""",
        "votes",
        "is int64",
        "votes is int64",
        "votes.float().softmax(0)",
        (("votes.softmax", "votes.float().softmax"),),
    ),
    Case(
        "the mean of integers",
        "op-not-implemented-for-dtype",
        """
counts = torch.arange(6)
print(f"mean {«counts.mean()»:.2f}")
""",
        "counts",
        "is int64",
        "counts is int64",
        "counts.float().mean()",
        (("counts.mean()", "counts.float().mean()"),),
    ),
    Case(
        "bool and byte in place",
        "dtype-byte-bool",
        """
x, y = torch.randn(4), torch.ones(4)
m = x > 0
«m ^= y.byte()»
""",
        "y.byte()",
        "is uint8",
        "y.byte() is uint8, m is bool",
        "m ^= y.bool()",
        (("y.byte()", "y.bool()"),),
    ),
    Case(
        "a fraction written into integers",
        "dtype-cast-inplace",
        """
counts = torch.ones(4, dtype=torch.int32)
«counts *= 0.5»
""",
        "counts",
        "is int32",
        "counts is int32",
        "counts = counts * 0.5",
        (("counts *= 0.5", "counts = counts * 0.5"),),
    ),
    Case(
        "a mean added to a count",
        "dtype-cast-inplace",
        """
total, batch = torch.tensor(0), torch.rand(8)
total = total + 1
«total.add_(batch.mean())»
""",
        "total",
        "is int64",
        "total is int64, batch.mean() is float32",
        "",
        (("torch.tensor(0)", "torch.tensor(0.0)"),),
    ),
    Case(
        "the negative of a mask",
        "dtype-byte-bool",
        """
mask = torch.tensor([True, False])
rest = «1 - mask»
""",
        "mask",
        "is bool",
        "",
        "~mask",
        (("1 - mask", "~mask"),),
    ),
    Case(
        "bits of floats",
        "op-not-implemented-for-dtype",
        """
a, b = torch.ones(3), torch.ones(3, dtype=torch.bool)
both = «a & b»
""",
        "a",
        "is float32",
        "a is float32",
        "",
        (("a & b", "a.bool() & b"),),
    ),
    Case(
        "a masked fill with a mask of bytes",
        "dtype-byte-bool",
        """
scores = torch.randn(2, 3)
mask = torch.tensor([[1, 0, 1]], dtype=torch.int64)
scores = «scores.masked_fill(mask, 0.0)»
""",
        "mask",
        "is int64",
        "mask is int64",
        "scores.masked_fill(mask.bool(), 0.0)",
        (("(mask, 0.0)", "(mask.bool(), 0.0)"),),
    ),
    Case(
        "a layer left on meta",
        "device-mismatch",
        """
with torch.device("meta"):
    fc = nn.Linear(4, 2)
x = torch.ones(3, 4)
y = «fc(x)»
""",
        "x",
        "is on cpu, not meta",
        "x is on cpu, fc.weight is on meta",
        "",
        (("y = fc(x)", "y = fc.to_empty(device='cpu')(x)"),),
    ),
    Case(
        "a sum over two devices",
        "device-mismatch",
        """
a, b = torch.ones(3), torch.ones(3, device="meta")
c = (a * 2).sum() + («a + b»).sum()
""",
        "b",
        "is on meta, not cpu",
        "a is on cpu, b is on meta",
        "",
        ((', device="meta"', ""),),
    ),
    Case(
        "a join over two devices",
        "device-mismatch",
        """
parts = [torch.ones(2), torch.ones(2), torch.ones(2, device="meta")]
whole = «torch.cat(parts)»
""",
        "parts[2]",
        "is on meta, the others are on cpu",
        "parts[2] is on meta",
        "",
        ((', device="meta"', ""),),
    ),
    Case(
        "a constant that is no buffer",
        "device-mismatch",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(4)
        self.fc = nn.Linear(4, 4)
    def forward(self, x):
        return «self.fc(x) + self.scale»
net = Net().to("meta")
net(torch.ones(2, 4, device="meta"))
""",
        "self.scale",
        "is on cpu",
        "self.scale is on cpu",
        'self.register_buffer("scale", …)',
        (("self.scale = torch.ones(4)", 'self.register_buffer("scale", torch.ones(4))'),),
    ),
]
