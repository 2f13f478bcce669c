"""More scripts of real life: whole layers, states, masks, loaders."""

from __future__ import annotations

from broken import Case

MORE = [
    Case(
        "a layer of an encoder",
        "matmul-shape-mismatch",
        """
encoder = nn.TransformerEncoderLayer(16, 4, batch_first=True)
x = torch.ones(2, 5, 12)
y = «encoder(x)»
""",
        "x",
        "has 12 features, takes 16",
        "encoder.self_attn was built for 16 features; its input has 12",
        "",
        (("TransformerEncoderLayer(16", "TransformerEncoderLayer(12"),),
    ),
    Case(
        "what an lstm gives to a head",
        "",
        """
lstm, head = nn.LSTM(3, 4), nn.Linear(4, 2)
y = «head(lstm(torch.ones(5, 1, 3)))»
""",
        "lstm(torch.ones(5, 1, 3))[0]",
        "the first of a tuple",
        "head takes a tensor, and is given a tuple",
        "head(lstm(torch.ones(5, 1, 3))[0])",
        (("head(lstm(torch.ones(5, 1, 3)))", "head(lstm(torch.ones(5, 1, 3))[0])"),),
    ),
    Case(
        "scores of a sequence",
        "loss-target-shape",
        """
out, tags = torch.ones(2, 7, 10), torch.zeros(2, 7, dtype=torch.long)
loss = «F.cross_entropy(out, tags)»
""",
        "out",
        "its 10 classes are last",
        "its classes have to be dimension 1",
        "F.cross_entropy(out.transpose(1, 2), tags)",
        (("F.cross_entropy(out, tags)", "F.cross_entropy(out.transpose(1, 2), tags)"),),
    ),
    Case(
        "a mask of another length",
        "",
        """
mask, x = torch.ones(5, dtype=torch.bool), torch.ones(4, 3)
kept = «x[mask]»
""",
        "mask",
        "is [5], x is [4, 3]",
        "mask is [5], and is laid on x, [4, 3]",
        "",
        (("torch.ones(5,", "torch.ones(4,"),),
    ),
    Case(
        "an index without its dimension",
        "",
        """
x, i = torch.ones(4, 3), torch.zeros(4, dtype=torch.long)
picked = «x.gather(1, i)»
""",
        "i",
        "1 dimensions, not 2",
        "i is [4], x is [4, 3]",
        "x.gather(1, i[..., None])",
        (("x.gather(1, i)", "x.gather(1, i[..., None])"),),
    ),
    Case(
        "a picture of numpy",
        "conv-channel-mismatch",
        """
conv, picture = nn.Conv2d(3, 8, 3), torch.ones(32, 32, 3)
out = «conv(picture)»
""",
        "picture",
        "its 3 channels are last",
        "conv takes them first",
        "conv(picture.permute(2, 0, 1))",
        (("conv(picture)", "conv(picture.permute(2, 0, 1))"),),
    ),
    Case(
        "a mask of keys",
        "",
        """
m, q = nn.MultiheadAttention(8, 2, batch_first=True), torch.ones(2, 5, 8)
padding = torch.zeros(2, 6, dtype=torch.bool)
out, _ = «m(q, q, q, key_padding_mask=padding)»
""",
        "padding",
        "6 in dimension 1, must be 5",
        "padding is [2, 6]",
        "",
        (("torch.zeros(2, 6", "torch.zeros(2, 5"),),
    ),
    Case(
        "one block of several in a loop",
        "matmul-shape-mismatch",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 4)])
    def forward(self, x):
        for block in self.blocks:
            x = «block(x)».relu()
        return x
Net()(torch.ones(2, 4))
""",
        "self.blocks.2.weight",
        "takes 4 features, was given 3",
        "self.blocks.2 was built for 4 features; its input has 3",
        "self.blocks[2] = nn.Linear(3, 4)",
        (("nn.Linear(4, 3)", "nn.Linear(4, 4)"),),
    ),
    Case(
        "a norm behind a transposed convolution",
        "",
        """
net = nn.Sequential(nn.ConvTranspose2d(8, 4, 2), nn.BatchNorm2d(8))
out = «net(torch.ones(1, 8, 4, 4))»
""",
        "net.1.weight",
        "for 8 channels, was given 4",
        "net.1 was built for 8 channels; its input has 4",
        "net[1] = nn.BatchNorm2d(4)",
        (("BatchNorm2d(8)", "BatchNorm2d(4)"),),
    ),
    Case(
        "a state for another batch",
        "rnn-input-size",
        """
rnn, x, h = nn.RNN(4, 6, batch_first=True), torch.ones(3, 5, 4), torch.ones(1, 2, 6)
out, h = «rnn(x, h)»
""",
        "h",
        "is [1, 2, 6], must be [1, 3, 6]",
        "h is [1, 2, 6], and has to be [1, 3, 6]",
        "h = torch.zeros(1, 3, 6)",
        (("torch.ones(1, 2, 6)", "torch.ones(1, 3, 6)"),),
    ),
    Case(
        "a product in a compiled function",
        "matmul-shape-mismatch",
        """
@torch.compile(backend="eager")
def step(x, y):
    h = x * 2
    return (h + 1).relu() * («h @ y»).sum()
step(torch.ones(2, 3), torch.ones(4, 5))
""",
        "y",
        "has 4 rows",
        "h has 3 columns, y has 4 rows",
        "",
        (("torch.ones(4, 5)", "torch.ones(3, 5)"),),
    ),
    Case(
        "a dataset in a worker",
        "matmul-shape-mismatch",
        """
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return «torch.ones(2, 3) @ torch.ones(4, 2)»
for batch in DataLoader(Data(), batch_size=2, num_workers=1):
    pass
""",
        "",
        "",
        "",
        "",
        (("torch.ones(4, 2)", "torch.ones(3, 2)"),),
    ),
]
