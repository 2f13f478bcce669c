"""Scripts whose tensors have shapes that do not go together."""

from __future__ import annotations

from broken import Case

SHAPES = [
    Case(
        "a layer after a flatten",
        "matmul-shape-mismatch",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.fc = nn.Linear(1600, 10)
    def forward(self, x):
        x = self.features(x)
        return «self.fc(x.flatten(1))»
def train_step(net, images):
    return net(images).sum()
train_step(Net(), torch.randn(20, 1, 28, 28))
""",
        "self.fc.weight",
        "takes 1600 features, was given 1568",
        "self.fc was built for 1600 features; its input has 1568",
        "self.fc = nn.Linear(1568, 10)",
        (("nn.Linear(1600, 10)", "nn.Linear(1568, 10)"),),
    ),
    Case(
        "a layer inside a Sequential",
        "matmul-shape-mismatch",
        """
net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(784, 64), nn.ReLU()), nn.Linear(60, 2))
out = «net(torch.randn(20, 1, 28, 28))»
""",
        "net.2.weight",
        "takes 60 features, was given 64",
        "net.2 was built for 60 features; its input has 64",
        "net[2] = nn.Linear(64, 2)",
        (("nn.Linear(60, 2)", "nn.Linear(64, 2)"),),
    ),
    Case(
        "a layer of a ModuleList in a comprehension",
        "matmul-shape-mismatch",
        """
class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(16, 4), nn.Linear(12, 4)])
    def forward(self, x):
        return torch.cat([«head(x)» for head in self.heads], 1)
Heads()(torch.randn(2, 16))
""",
        "self.heads.1.weight",
        "takes 12 features, was given 16",
        "self.heads.1 was built for 12 features; its input has 16",
        "self.heads[1] = nn.Linear(16, 4)",
        (("nn.Linear(12, 4)", "nn.Linear(16, 4)"),),
    ),
    Case(
        "one product of several on a line",
        "matmul-shape-mismatch",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(128, 10)
        self.W = nn.Parameter(torch.randn(10, 4))
    def forward(self, h):
        return torch.relu(h[:, :128] @ self.fc.weight.t()) + (h[:, :10] @ self.W).sum() + («h @ self.W») * 2
Net()(torch.randn(2, 1568))
""",
        "self.W",
        "has 10 rows",
        "h has 1568 columns, self.W has 10 rows",
        "",
        (("(h @ self.W) * 2", "(h[:, :10] @ self.W).sum() * 2"),),
    ),
    Case(
        "a product with a factor that lies the other way",
        "matmul-shape-mismatch",
        """
queries, keys = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
scores = «queries @ keys» / 8**0.5
""",
        "keys",
        "has 7 rows",
        "queries has 8 columns, keys has 7 rows",
        "queries @ keys.transpose(-2, -1)",
        (("queries @ keys", "queries @ keys.transpose(-2, -1)"),),
    ),
    Case(
        "a product of expressions without names",
        "matmul-shape-mismatch",
        """
a, b = torch.randn(3, 4), torch.randn(5, 6)
y = «torch.mm(a * 2, b.t())»
""",
        "b.t()",
        "has 6 rows",
        "a * 2 has 4 columns, b.t() has 6 rows",
        "",
        (("b.t()", "b.t()[:4]"),),
    ),
    Case(
        "a layer in a lambda under no_grad",
        "matmul-shape-mismatch",
        """
fc = nn.Linear(8, 2)
step = lambda x: «fc(x)».argmax(1)
with torch.no_grad():
    step(torch.randn(3, 9))
""",
        "fc.weight",
        "takes 8 features, was given 9",
        "fc was built for 8 features; its input has 9",
        "fc = nn.Linear(9, 2)",
        (("nn.Linear(8, 2)", "nn.Linear(9, 2)"),),
    ),
    Case(
        "an input that was not flattened",
        "matmul-shape-mismatch",
        """
net = nn.Linear(784, 10)
images = torch.randn(4, 1, 28, 28)
scores = «net(images)»
""",
        "net.weight",
        "takes 784 features, was given 28",
        "in its last dimension, and 784 when it is flattened",
        "net(images.flatten(1))",
        (("net(images)", "net(images.flatten(1))"),),
    ),
    Case(
        "an einsum",
        "matmul-shape-mismatch",
        """
q, k = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 6, 7)
scores = «torch.einsum("bhid,bhjd->bhij", q, k)»
""",
        "k",
        "d is 7",
        "d is 8 in q and 7 in k",
        "",
        (("6, 7)", "6, 8)"),),
    ),
    Case(
        "a functional call over several lines",
        "matmul-shape-mismatch",
        """
x, weight = torch.randn(2, 6), torch.randn(5, 3)
y = «F.linear(
    x,
    weight,
    bias=None,
)»
""",
        "weight",
        "takes 3 features, was given 6",
        "weight takes 3 features; x has 6",
        "",
        (("torch.randn(5, 3)", "torch.randn(5, 6)"),),
    ),
    Case(
        "a difference of names",
        "broadcast-size-mismatch",
        """
a, b = torch.randn(3, 4), torch.randn(4, 4)
c = a + a.abs() - a; loss = (a.sum(), «a - b.t()»)[1].sum()
""",
        "b.t()",
        "4 in dimension 0, a has 3",
        "a and b.t() differ in dimension 0: 3 and 4",
        "",
        (("b.t()", "b.t()[:3]"),),
    ),
    Case(
        "a mask that lacks its last dimension",
        "broadcast-size-mismatch",
        """
scores, mask = torch.randn(2, 5, 8), torch.ones(2, 5)
masked = «scores * mask»
""",
        "mask",
        "5 in dimension -1, scores has 8",
        "mask lacks the last dimension of scores",
        "scores * mask[..., None]",
        (("scores * mask", "scores * mask[..., None]"),),
    ),
    Case(
        "an augmented assignment",
        "broadcast-size-mismatch",
        """
total = torch.zeros(10)
for batch in (torch.ones(10), torch.ones(7)):
    «total += batch»
""",
        "batch",
        "7 in dimension 0, total has 10",
        "total and batch differ in dimension 0: 10 and 7",
        "",
        (("torch.ones(7)", "torch.ones(10)"),),
    ),
    Case(
        "a slice that is assigned to",
        "broadcast-size-mismatch",
        """
table = torch.zeros(4, 6)
row = torch.arange(5.0)
«table[1:3, :]» = row
""",
        "row",
        "5 in dimension -1, table[1:3, :] has 6",
        "table[1:3, :] and row differ in dimension -1: 6 and 5",
        "",
        (("arange(5.0)", "arange(6.0)"),),
    ),
    Case(
        "an assignment within an f-string",
        "broadcast-size-mismatch",
        """
prediction, target = torch.randn(8, 3), torch.randn(8, 4)
print(f"loss {(«prediction - target»).pow(2).mean():.3f}")
""",
        "target",
        "4 in dimension 1, prediction has 3",
        "prediction and target differ in dimension 1: 3 and 4",
        "",
        (("randn(8, 4)", "randn(8, 3)"),),
    ),
    Case(
        "a walrus",
        "broadcast-size-mismatch",
        """
a, b = torch.ones(3), torch.ones(2)
if (total := «a + b»).sum() > 1:
    print(total)
""",
        "b",
        "2 in dimension 0, a has 3",
        "a and b differ in dimension 0: 3 and 2",
        "",
        (("torch.ones(2)", "torch.ones(3)"),),
    ),
    Case(
        "a comparison in a decorated function",
        "broadcast-size-mismatch",
        """
import functools
def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper
@logged
def accuracy(scores, labels):
    return («scores.argmax(1) == labels»).float().mean()
accuracy(torch.randn(8, 10), torch.zeros(6, dtype=torch.long))
""",
        "labels",
        "6 in dimension 0, scores.argmax(1) has 8",
        "scores.argmax(1) and labels differ in dimension 0: 8 and 6",
        "",
        (("torch.zeros(6", "torch.zeros(8"),),
    ),
    Case(
        "a skip connection of an odd size",
        "cat-size-mismatch",
        """
class Up(nn.Module):
    def forward(self, x, skip):
        x = F.interpolate(x, scale_factor=2)
        return «torch.cat([x, skip], dim=1)»
Up()(torch.randn(1, 8, 12, 12), torch.randn(1, 4, 25, 25))
""",
        "skip",
        "25 in dimension 2, x has 24",
        "x and skip differ in dimensions 2 and 3: 24x24 and 25x25",
        "",
        (("scale_factor=2", "size=skip.shape[2:]"),),
    ),
    Case(
        "a list that is joined",
        "cat-size-mismatch",
        """
rows = [torch.randn(2, 3) for _ in range(4)]
rows[2] = torch.randn(2, 5)
out = «torch.cat(rows)»
""",
        "rows[2]",
        "5 in dimension 1",
        "rows[0] and rows[2] differ in dimension 1: 3 and 5",
        "torch.cat(rows, dim=1)",
        (("torch.cat(rows)", "torch.cat(rows, dim=1)"),),
    ),
    Case(
        "a collate function",
        "stack-unequal-size",
        """
from torch.utils.data import DataLoader
images = [torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), torch.zeros(1, 8, 8)]
def collate(batch):
    return «torch.stack(batch, 0)»
for batch in DataLoader(images, batch_size=3, collate_fn=collate):
    pass
""",
        "batch[2]",
        "[1, 8, 8], the others [3, 8, 8]",
        "batch[2] is [1, 8, 8], the others are [3, 8, 8]",
        "",
        (("torch.zeros(1, 8, 8)", "torch.zeros(3, 8, 8)"),),
    ),
    Case(
        "the default collate function",
        "stack-unequal-size",
        """
from torch.utils.data import DataLoader
class Lengths(torch.utils.data.Dataset):
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return torch.zeros(4 + index // 2)
loader = DataLoader(Lengths(), batch_size=3)
for batch in «loader»:
    pass
""",
        "batch[2]",
        "[5], the others [4]",
        "batch[2] is [5], the others are [4]",
        "collate_fn",
        (("index // 2", "0"),),
    ),
    Case(
        "a grey picture for a colour convolution",
        "conv-channel-mismatch",
        """
stem = nn.Conv2d(3, 16, 3)
image = torch.randn(1, 1, 32, 32)
out = «stem(image)»
""",
        "stem.weight",
        "takes 3 channels, was given 1",
        "stem was built for 3 channels; its input has 1",
        "stem = nn.Conv2d(1, 16, kernel_size=3)",
        (("nn.Conv2d(3,", "nn.Conv2d(1,"),),
    ),
    Case(
        "channels last",
        "conv-channel-mismatch",
        """
stem = nn.Conv2d(3, 16, 3)
image = torch.randn(1, 32, 32, 3)
out = «stem(image)»
""",
        "image",
        "its 3 channels are last",
        "image is [1, 32, 32, 3]: its 3 channels are last",
        "image.permute(0, 3, 1, 2)",
        (("stem(image)", "stem(image.permute(0, 3, 1, 2))"),),
    ),
    Case(
        "a convolution called by function",
        "conv-channel-mismatch",
        """
x, kernel = torch.randn(2, 4, 9, 9), torch.randn(8, 3, 3, 3)
out = «F.conv2d(x, kernel)»
""",
        "kernel",
        "takes 3 channels, was given 4",
        "kernel takes 3 channels; x has 4",
        "",
        (("torch.randn(8, 3, 3, 3)", "torch.randn(8, 4, 3, 3)"),),
    ),
    Case(
        "a batch without its channels",
        "conv-input-rank",
        """
conv = nn.Conv1d(1, 4, 3)
signals = torch.randn(2, 1, 4, 9)
out = «conv(signals)»
""",
        "signals",
        "4 dimensions, takes 2 or 3",
        "takes 2 or 3 dimensions; signals has 4",
        "",
        (("randn(2, 1, 4, 9)", "randn(2, 1, 9)"),),
    ),
    Case(
        "a picture that became too small",
        "kernel-larger-than-input",
        """
net = nn.Sequential(nn.MaxPool2d(4), nn.MaxPool2d(4), nn.Conv2d(3, 4, 5))
out = «net(torch.randn(1, 3, 32, 32))»
""",
        "net.2.weight",
        "a kernel of 5x5 for 2x2",
        "net.2 has a kernel of 5x5; its input is 2x2",
        "",
        (("nn.MaxPool2d(4), nn.MaxPool2d(4)", "nn.MaxPool2d(2)"),),
    ),
    Case(
        "a pooling with nothing left",
        "kernel-larger-than-input",
        """
pool = nn.MaxPool2d(8)
x = torch.randn(1, 3, 4, 4)
y = «pool(x)»
""",
        "x",
        "4x4, the kernel 8x8",
        "pool has a kernel of 8x8; its input is 4x4",
        "",
        (("MaxPool2d(8)", "MaxPool2d(4)"),),
    ),
    Case(
        "a recurrent layer of another width",
        "rnn-input-size",
        """
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(16, 32, batch_first=True)
    def forward(self, x):
        out, (h, c) = «self.lstm(x)»
        return out
Tagger()(torch.randn(4, 7, 10))
""",
        "x",
        "10 features, takes 16",
        "self.lstm was built for 16 features; its input has 10",
        "self.lstm = nn.LSTM(10, 32, batch_first=True)",
        (("nn.LSTM(16", "nn.LSTM(10"),),
    ),
    Case(
        "a hidden state of another batch",
        "rnn-input-size",
        """
gru = nn.GRU(8, 6)
x, hidden = torch.randn(5, 3, 8), torch.zeros(1, 2, 6)
out, hidden = «gru(x, hidden)»
""",
        "hidden",
        "[1, 2, 6], must be [1, 3, 6]",
        "hidden is [1, 2, 6], and has to be [1, 3, 6]",
        "",
        (("torch.zeros(1, 2, 6)", "torch.zeros(1, 3, 6)"),),
    ),
    Case(
        "an attention mask of another size",
        "broadcast-size-mismatch",
        """
q = k = v = torch.randn(2, 4, 6, 8)
mask = torch.ones(2, 1, 6, 5, dtype=torch.bool)
out = «F.scaled_dot_product_attention(q, k, v, attn_mask=mask)»
""",
        "mask",
        "5 in dimension 3",
        "",
        "",
        (("6, 5, dtype", "6, 6, dtype"),),
    ),
    Case(
        "an attention layer of another width",
        "matmul-shape-mismatch",
        """
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
    def forward(self, x):
        return «self.attention(x, x, x, need_weights=False)»[0]
Block()(torch.randn(2, 5, 12))
""",
        "x",
        "12 features, takes 16",
        "self.attention was built for 16 features; its input has 12",
        "",
        (("MultiheadAttention(16", "MultiheadAttention(12"),),
    ),
    Case(
        "a view of another number of elements",
        "reshape-wrong-numel",
        """
x = torch.randn(2, 32, 7, 7)
flat = «x.view(2, 1600)».relu()
""",
        "x",
        "3136 elements, 2x1600 are 3200",
        "x has 3136 elements, [2, 1600] are 3200",
        "x.flatten(1)",
        (("x.view(2, 1600)", "x.flatten(1)"),),
    ),
    Case(
        "a reshape with -1",
        "reshape-wrong-numel",
        """
tokens = torch.arange(50)
batches = «tokens.reshape(-1, 8)»
""",
        "tokens",
        "50 elements, no multiple of 8",
        "tokens has 50 elements, which is no multiple of 8",
        "",
        (("arange(50)", "arange(48)"),),
    ),
    Case(
        "a view of what was transposed",
        "view-non-contiguous",
        """
class Attention(nn.Module):
    def forward(self, q):
        q = q.transpose(1, 2)
        return «q.view(2, -1)»
Attention()(torch.randn(2, 5, 4, 5))
""",
        "q",
        "not contiguous",
        "q is not contiguous",
        "q.reshape(2, -1)",
        (("q.view(2, -1)", "q.reshape(2, -1)"),),
    ),
    Case(
        "a view at the end of a chain",
        "view-non-contiguous",
        """
x = torch.randn(2, 3, 4)
y = («x
    .permute(2, 1, 0)
    .view(4, -1)»)
""",
        "x.permute(2, 1, 0)",
        "not contiguous",
        "x.permute(2, 1, 0) is not contiguous",
        ".reshape(4, -1)",
        ((".view(4, -1)", ".reshape(4, -1)"),),
    ),
    Case(
        "a view of the top k",
        "view-non-contiguous",
        """
correct = torch.rand(64, 5).t() > 0.5
correct_k = «correct[:3].view(-1)».float().sum(0)
""",
        "correct[:3]",
        "not contiguous",
        "correct[:3] is not contiguous",
        "correct[:3].reshape(-1)",
        (("correct[:3].view(-1)", "correct[:3].reshape(-1)"),),
    ),
]
