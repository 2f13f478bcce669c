"""Scripts that make NaN, and what must be said of each; and how they are run under the hunter."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from torchkit.tracing.nan import Found, Hunter, StopAtFirst

IMPORTS = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


class Planted(NamedTuple):
    """What stands between « and » in the source must be told, what stands between ⟦ and ⟧ as the Inf
    before it. `operation` is that of the one told (a node's name for a gradient), `cause` and `fix`
    must be in what is said, `function` is where."""

    name: str
    source: str
    operation: str
    cause: str = ""
    fix: str = ""
    function: str = "<module>"
    is_inf: bool = False

    @property
    def script(self) -> str:
        """The source as it is run."""
        text = IMPORTS + self.source.lstrip("\n")
        return "".join(it for it in text if it not in "«»⟦⟧")

    def marked(self, marks: str) -> str:
        """What stands between two marks, its lines as one, without the other marks."""
        if marks[0] not in self.source:
            return ""
        inside = self.source.split(marks[0])[1].split(marks[1])[0]
        text = " ".join(line.strip() for line in inside.splitlines())
        return "".join(it for it in text if it not in "«»⟦⟧")

    @property
    def line(self) -> int:
        """The line in which what must be told begins."""
        before = (IMPORTS + self.source.lstrip("\n")).split("«")[0]
        return before.count("\n") + 1


def hunt(
    source: str, path: Path, *, inf: bool = False
) -> tuple[Found | None, BaseException | None]:
    """Run a script as `torchkit snoop --nan` does: what was found, and what it ended with."""
    path.write_text(source, "utf-8")
    linecache.checkcache(str(path))
    main = ModuleType("__main__")
    main.__file__ = str(path)
    before = sys.modules["__main__"]
    sys.modules["__main__"] = main
    watch = Hunter(inf=inf)
    try:
        with watch:
            exec(compile(source, str(path), "exec", dont_inherit=True), main.__dict__)  # noqa: S102
    except StopAtFirst as stop:
        return stop.found, stop
    except BaseException as error:  # noqa: BLE001 - what it ends with is what is looked at
        return watch.found, error
    finally:
        sys.modules["__main__"] = before
    return watch.found, None


FORWARD = (
    Planted("log of 0 times 0", "x = torch.tensor([0.0, 1.0])\nl = ⟦torch.log(x)⟧\ny = «x * l»\n", "mul", "0 * inf", "clamp_min"),
    Planted("log of a negative", "x = torch.tensor([-1.0])\ny = «torch.log(x)»\n", "log", "NaN below", "clamp_min"),
    Planted("0 / 0", "a = torch.zeros(3)\nb = torch.zeros(3)\ny = «a / b» + 1\n", "div", "0 / 0", "1e-12"),
    Planted("inf - inf of exp", "x = torch.full((2,), 100.0)\ne = ⟦torch.exp(x)⟧\ny = «e - e»\n", "sub", "exp overflows", "logsumexp"),
    Planted("inf / inf of exp", "x = torch.tensor([100.0, 1.0])\ndef softmax(x):\n    e = ⟦torch.exp(x)⟧\n    return «e / e.sum()»\nsoftmax(x)\n", "div", "inf / inf", "x.max()", "softmax"),
    Planted("softmax of a masked row", "s = torch.zeros(2, 3)\nm = torch.tensor([[True, True, True], [True, False, False]])\ns = ⟦s.masked_fill(m, float('-inf'))⟧\np = «s.softmax(-1)»\n", "_softmax", "every element of a row", "unmasked"),
    Planted("log_softmax of a masked row", "s = torch.full((1, 3), float('-inf'))\np = «F.log_softmax(s, -1)»\n", "_log_softmax", "every element of a row"),
    Planted("fractional power", "x = torch.tensor([-2.0, 4.0])\ny = «x ** 0.5»\n", "pow", "", "clamp_min"),
    Planted("acos just above 1", "x = torch.tensor([1.0000001, 0.0])\ny = «torch.acos(x)»\n", "acos", "outside of [-1, 1]", "clamp(-1"),
    Planted("std of one sample", "x = torch.ones(1, 4)\nz = (x - x.mean(0)) / «x.std(0)»\n", "std", "one element", "unbiased"),
    Planted("mean of nothing", "x = torch.ones(4)\ny = «x[x > 2].mean()»\n", "mean", "nothing", "empty"),
    Planted("overflow of float16", "x = torch.full((2,), 300.0, dtype=torch.float16)\ny = ⟦x * x⟧\nz = «y - y»\n", "sub", "float16", "bfloat16"),
    Planted("overflow of a cast", "x = torch.full((2,), 1e6)\ny = ⟦x.half()⟧\nz = «y / y»\n", "div", "65504", "bfloat16"),
    Planted("overflow of bfloat16", "x = torch.full((2,), 1e30, dtype=torch.bfloat16)\ny = ⟦x * x⟧\nz = «y - y»\n", "sub", "bfloat16"),
    Planted("float8 has no Inf", "x = torch.full((2,), 1e6)\ny = «x.to(torch.float8_e4m3fnuz)»\n", "_to_copy", "240"),
    Planted("division by a norm of 0", "v = torch.zeros(2, 3)\ndef unit(v):\n    return «v / v.norm(dim=-1, keepdim=True)»\nunit(v)\n", "div", "0 / 0", "1e-12", "unit"),
    Planted("in-place division", "x = torch.zeros(3)\n«x /= torch.zeros(3)»\n", "div_", "0 / 0"),
    Planted("out= of memory with NaN", "o = torch.empty(3).fill_(float('nan'))\na = torch.zeros(3)\n«torch.div(a, a, out=o)»\n", "div", "0 / 0"),
    Planted("in a comprehension", "xs = [torch.ones(2), torch.zeros(2)]\nys = [«x / x» for x in xs]\n", "div", "0 / 0", function=""),
    Planted("in a lambda", "f = lambda a: «a / a»\nf(torch.zeros(2))\n", "div", "0 / 0", function="<lambda>"),
    Planted("in a layer of a Sequential", "class Log(nn.Module):\n    def forward(self, x):\n        return «torch.log(x)»\nnet = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), Log())\nnn.init.constant_(net[0].weight, -1.0)\nnn.init.zeros_(net[0].bias)\nnet(torch.ones(1, 2))\n", "log", "NaN below", function="Log.forward"),
    Planted("in a layer of torch's own", "net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1))\nnn.init.constant_(net[0].bias, float('-inf'))\n«net(torch.ones(1, 2))»\n", "_softmax", "every element"),
    Planted("cross entropy over nothing", "x = torch.randn(2, 3)\nt = torch.full((2,), -100)\nl = «F.cross_entropy(x, t)»\n", "nll_loss_forward", "no targets", "clamp_min(1)"),
    Planted("cross entropy of -inf", "x = torch.full((1, 3), -float('inf'))\nt = torch.tensor([1])\nl = «F.cross_entropy(x, t)»\n", "_log_softmax", "every element"),
    Planted("sum of both infinities", "x = torch.tensor([1e30, -1e30])\ny = ⟦x * 1e30⟧\nz = «y.sum()»\n", "sum", "inf - inf"),
    Planted("matrix product with Inf", "a = torch.full((2, 2), 1e30)\nb = ⟦a @ a⟧\nc = «b @ torch.zeros(2, 2)»\n", "mm", "0 * inf"),
    Planted("complex", "z = torch.zeros(2, dtype=torch.complex64)\ny = «z / z»\n", "div"),
    Planted("sparse", "s = torch.eye(2).to_sparse()\na = s * 1e38\ny = «a * a»\n", "mul", is_inf=True),
    Planted("hypot of a thread", "import threading\ndef work():\n    a = torch.zeros(2)\n    «a / a»\nt = threading.Thread(target=work)\nt.start()\nt.join()\n", "div", "0 / 0", function="work"),
    Planted("caught by the script", "try:\n    x = torch.zeros(2)\n    y = «x / x»\nexcept BaseException:\n    pass\nprint('on it goes')\n", "div", "0 / 0"),
    Planted("ended by the script's own exit", "import sys\ntry:\n    x = torch.zeros(2)\n    y = «x / x»\nexcept BaseException:\n    sys.exit(3)\n", "div", "0 / 0"),
    Planted("Inf itself", "x = torch.full((2,), 100.0)\ny = «torch.exp(x)»\n", "exp", "overflows", is_inf=True),
    Planted("Inf of a division", "x = torch.ones(2)\nm = torch.zeros(2, 2).masked_fill(torch.eye(2) > 0, float('-inf'))\np = m + 1\ny = «x / torch.zeros(2)»\n", "div", "division by 0", is_inf=True),
)  # fmt: skip

_W = "w = nn.Parameter(torch.tensor([0.0, 1.0]))\n"

BACKWARD = (
    Planted("sqrt at 0", _W + "y = «torch.sqrt(w * w)».sum()\ny.backward()\n", "SqrtBackward", "sqrt at 0", "1e-12"),
    Planted("distance to itself", "a = nn.Parameter(torch.ones(3, 2))\ndef dist(a, b):\n    return «torch.sqrt(((a - b) ** 2).sum(-1))»\nd = dist(a, torch.ones(3, 2)).sum()\nfor _ in range(3):\n    k = d * 2\nd.backward()\n", "SqrtBackward", "sqrt at 0", "vector_norm", "dist"),
    Planted("log of the untaken branch", _W + "y = torch.where(w > 0, «torch.log(w)», 0.0).sum()\ny.backward()\n", "LogBackward", "log at 0", "torch.where"),
    Planted("power at 0", _W + "y = («w ** 0.5» * w).sum()\ny.backward()\n", "PowBackward", "at 0", "1e-12"),
    Planted("acos at 1", "w = nn.Parameter(torch.tensor([1.0]))\ny = «torch.acos(w * w)».sum() * 0\ny.backward()\n", "AcosBackward", "acos at 1", "clamp(-1"),
    Planted("logsumexp of nothing but -inf", "w = nn.Parameter(torch.zeros(3))\ns = ⟦w.masked_fill(w == 0, float('-inf'))⟧\ny = «s.logsumexp(0)»\ny.backward()\n", "LogsumexpBackward", "-inf", "unmasked"),
    Planted("svd of equal values", "w = nn.Parameter(torch.eye(2))\nu, s, v = «torch.linalg.svd(w)»\n(u.sum() + v.sum()).backward()\n", "LinalgSvdBackward", "singular values"),
    Planted("exp that overflowed", "w = nn.Parameter(torch.tensor([100.0]))\ny = (1 / ⟦«torch.exp(w)»⟧).sum()\ny.backward()\n", "ExpBackward", "overflow", "logsumexp"),
    Planted("product of a norm", "w = nn.Parameter(torch.zeros(3))\nx = F.normalize(w * 1.0, dim=0)\ny = («torch.sqrt(w.sum())» * w).sum()\ny.backward()\n", "SqrtBackward", "sqrt at 0"),
    Planted("in a Function of the user's", "class Bad(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        ctx.save_for_backward(x)\n        return x * 2\n    @staticmethod\n    def backward(ctx, g):\n        x, = ctx.saved_tensors\n        return «g * 0 / (x * 0)»\nw = nn.Parameter(torch.ones(2))\nBad.apply(w).sum().backward()\n", "div", "0 / 0", function="Bad.backward"),
    Planted("in a hook", _W + "y = w * 2\ny.register_hook(lambda g: «g / (g * 0 + w.detach())» * 0)\ny.sum().backward()\n", "div", "division by 0", function="<lambda>"),
    Planted("checkpointed", "from torch.utils.checkpoint import checkpoint\ndef block(x):\n    return «torch.sqrt(x * 0)» * x\nw = nn.Parameter(torch.ones(2))\ny = checkpoint(block, w, use_reentrant=False).sum()\ny.backward()\n", "SqrtBackward", "sqrt at 0", function="block"),
    Planted("checkpointed and reentrant", "from torch.utils.checkpoint import checkpoint\ndef block(x):\n    return «torch.sqrt(x * 0)» * x\nw = nn.Parameter(torch.ones(2))\ny = checkpoint(block, w, use_reentrant=True).sum()\ny.backward()\n", "SqrtBackward", "sqrt at 0", function="block"),
    Planted("second derivative", "w = nn.Parameter(torch.zeros(2))\ny = («w ** 1.5»).sum()\ng, = torch.autograd.grad(y, w, create_graph=True)\n(g * w).sum().backward()\n", "PowBackward", "at 0"),
    Planted("compiled", "@torch.compile(backend='eager')\ndef f(x):\n    a = x * 2\n    return «a / (a - a)»\nf(torch.zeros(2))\n", "div", "0 / 0", function="f"),
    Planted("after a change of a view", "w = nn.Parameter(torch.ones(3))\nx = w * 1\nx[0] = 0\nk = x.detach() + 1\ny = «torch.sqrt(x)».sum() * 0\ny.backward()\n", "SqrtBackward", "sqrt at 0"),
    Planted("without gradients in between", "w = nn.Parameter(torch.zeros(3))\nwith torch.no_grad():\n    a = w + 1\n    b = torch.sqrt(a)\ny = («torch.sqrt(w)» * w).sum()\nwith torch.no_grad():\n    c = torch.sqrt(a * 2)\ny.backward()\n", "SqrtBackward", "sqrt at 0"),
    Planted("the same function twice", "w = nn.Parameter(torch.zeros(3))\ndef root(x):\n    return «torch.sqrt(x)»\na = root(torch.ones(3) + w)\nb = root(w) * w\n(a.sum() + b.sum()).backward()\n", "SqrtBackward", "sqrt at 0", function="root"),
    Planted("Adam without eps", "w = nn.Parameter(torch.ones(2))\nopt = torch.optim.Adam([w], eps=0.0)\nfor i in range(3):\n    opt.zero_grad()\n    loss = w[0] * 2\n    loss.backward()\n    «opt.step()»\n", "addcdiv_", "eps is 0", "eps=1e-8"),
    Planted("learning rate", "w = nn.Parameter(torch.full((2, 2), 2.0))\nopt = torch.optim.SGD([w], lr=1e6)\nfor i in range(99):\n    h = w @ w\n    loss = «(h * h).sum() - h.sum()»\n    opt.zero_grad()\n    loss.backward()\n    opt.step()\n", "", ""),
    Planted("NaN in the data", "from torch.utils.data import DataLoader\nxs = torch.ones(4, 2)\nxs[3, 1] = float('nan')\nnet = nn.Linear(2, 1)\nfor x in DataLoader(xs, batch_size=2):\n    loss = «net(x)».sum()\n    loss.backward()\n", "addmm", "x had NaN already", "torch.isfinite(x)"),
    Planted("NaN of a constant", "n = torch.nan\nw = nn.Parameter(torch.ones(2))\nloss = («w * n»).sum()\nloss.backward()\n", "mul", "written there as a number"),
    Planted("embedding with NaN", "e = nn.Embedding(4, 2)\nwith torch.no_grad():\n    e.weight[2] = float('nan')\nout = «e(torch.tensor([2, 1]))»\n(out * out).sum().backward()\n", "embedding", "NaN already"),
    Planted("scatter of a ratio", "w = nn.Parameter(torch.zeros(2))\nr = «w / w»\no = torch.zeros(4).scatter(0, torch.tensor([0, 1]), r)\no.sum().backward()\n", "div", "0 / 0"),
    Planted("vmap", "def f(x):\n    return «x / (x - x)»\ntorch.func.vmap(f)(torch.zeros(3, 2))\n", "div", "0 / 0", function="f"),
    Planted("func.grad", "def f(x):\n    return («torch.sqrt(x)» * x).sum()\ng = torch.func.grad(f)(torch.zeros(3))\n", "SqrtBackward", "sqrt at 0", function="f"),
)  # fmt: skip


HEALTHY = {
    "attention with -inf": """
att = nn.MultiheadAttention(8, 2, batch_first=True)
x = torch.randn(2, 5, 8)
mask = torch.triu(torch.full((5, 5), float("-inf")), 1)
pad = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
for _ in range(2):
    y, _ = att(x, x, x, attn_mask=mask)
    z, _ = att(x, x, x, key_padding_mask=pad)
    (y.sum() + z.sum()).backward()
""",
    "causal attention": """
q = torch.randn(2, 2, 5, 8, requires_grad=True)
y = F.scaled_dot_product_attention(q, q, q, is_causal=True)
z = F.scaled_dot_product_attention(q, q, q, attn_mask=torch.ones(5, 5).tril().bool())
from torch.nn.attention import SDPBackend, sdpa_kernel
with sdpa_kernel(SDPBackend.MATH):
    v = F.scaled_dot_product_attention(q, q, q, is_causal=True)
(y.sum() + z.sum() + v.sum()).backward()
""",
    "masked scores by hand": """
s = torch.randn(2, 4, 4, requires_grad=True)
m = torch.ones(4, 4).tril()
p = s.masked_fill(m == 0, float("-inf")).softmax(-1)
r = torch.where(m == 0, torch.tensor(float("-inf")), s).softmax(-1)
t = (s + (1 - m) * torch.finfo(s.dtype).min).softmax(-1)
(p.sum() + r.pow(2).sum() + t.sum()).backward()
""",
    "autocast to bfloat16": """
net = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2))
opt = torch.optim.AdamW(net.parameters())
for _ in range(3):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        l = F.cross_entropy(net(torch.randn(4, 8)).float(), torch.randint(2, (4,)))
    opt.zero_grad()
    l.backward()
    opt.step()
""",
    "GradScaler that overflows at first": """
net = nn.Linear(8, 2)
opt = torch.optim.SGD(net.parameters(), 1e-6)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 126)
for _ in range(40):
    x = torch.randn(4, 8)
    h = net(x)
    l = ((h * 1e2) ** 2).mean()
    opt.zero_grad()
    scaler.scale(l).backward()
    scaler.step(opt)
    scaler.update()
assert scaler.get_scale() < 2.0 ** 126
""",
    "dropout": """
net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Dropout1d(0.5), nn.AlphaDropout(0.3))
net(torch.randn(4, 8)).sum().backward()
""",
    "embedding with padding": """
e = nn.Embedding(10, 4, padding_idx=0)
b = nn.EmbeddingBag(10, 4, mode="max")
x = torch.tensor([[0, 0, 3], [1, 2, 0]])
(e(x).sum() + b(x).sum()).backward()
""",
    "memory that nobody has written": """
for n in range(30):
    junk = torch.full((999,), float("nan"))
    del junk
    a = torch.empty(999)
    a.zero_()
    b = torch.empty(999).normal_()
    c = torch.empty_like(a)
    torch.add(a, b, out=c)
    d = torch.empty(999)
    d[:] = a
    e = a.new_empty(999).copy_(b)
    f = torch.empty(999).uniform_(0, 1)
    g = torch.nn.init.xavier_uniform_(torch.empty(9, 111))
    h = torch.empty(999).bernoulli_(0.5).mul_(a)
""",
    "top-k with -inf": """
x = torch.randn(2, 10, requires_grad=True)
v, _ = x.topk(3)
y = x.masked_fill(x < v[:, -1:], float("-inf"))
p = y.softmax(-1)
n = torch.multinomial(p, 1)
p.gather(1, n).log().sum().backward()
""",
    "beam search": """
scores = torch.full((2, 4), float("-inf"))
scores[:, 0] = 0
for _ in range(4):
    logp = torch.randn(2, 4, 7).log_softmax(-1)
    total = scores[:, :, None] + logp
    total[:, :, 0] = float("-inf")
    scores, at = total.flatten(1).topk(4)
best = scores.max(-1)
""",
    "batch norm, train and eval": """
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
net(torch.randn(2, 3, 8, 8)).sum().backward()
net.eval()
net(torch.randn(1, 3, 8, 8)).sum().backward()
i = nn.InstanceNorm2d(3)(torch.zeros(2, 3, 4, 4))
g = nn.GroupNorm(1, 3)(torch.zeros(2, 3, 4, 4))
""",
    "packed sequences": """
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
for kind in (nn.LSTM, nn.GRU, nn.RNN):
    rnn = kind(4, 5, batch_first=True, bidirectional=True)
    x = torch.randn(3, 6, 4)
    y, _ = rnn(pack_padded_sequence(x, torch.tensor([6, 3, 1]), batch_first=True))
    y, _ = pad_packed_sequence(y, batch_first=True, padding_value=float("-inf"))
    y.masked_fill(y == float("-inf"), 0).sum().backward()
""",
    "NaN on purpose": """
x = torch.full((3, 3), float("nan"))
x[0] = torch.arange(3.0)
a = torch.nan_to_num(x)
b = x.nanmean()
c = x[~x.isnan()].mean()
d = torch.nanmedian(x)
e = x.nansum() + torch.nanquantile(x, 0.5)
f = torch.tensor([1.0, float("nan")])
g = torch.where(f.isnan(), torch.zeros(2), f)
w = torch.ones(2, requires_grad=True)
(w * g).sum().backward()
""",
    "sparse, complex and quantised": """
s = torch.eye(4).to_sparse()
y = torch.sparse.mm(s, torch.randn(4, 2))
c = s.to_dense().to_sparse_csr() @ torch.randn(4, 2)
z = torch.fft.fft(torch.randn(8))
w = (z * z.conj()).real.sqrt()
z = torch.view_as_complex(torch.randn(4, 2, requires_grad=True))
z.abs().sum().backward()
""",
    "vision transformer's layer": """
layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
x = torch.randn(2, 5, 8)
net(x, src_key_padding_mask=torch.tensor([[False] * 5, [False] * 4 + [True]])).sum().backward()
net.eval()
with torch.no_grad():
    net(x, src_key_padding_mask=torch.tensor([[False] * 5, [False] * 4 + [True]]))
with torch.inference_mode():
    net(x)
""",
    "optimizers": """
for make in (torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad, torch.optim.RMSprop,
             torch.optim.Adadelta, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam,
             torch.optim.Rprop, torch.optim.ASGD):
    for foreach in (False, True):
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        opt = make(net.parameters(), foreach=foreach)
        for _ in range(3):
            opt.zero_grad()
            (net(torch.randn(3, 4)) * 0).sum().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
opt = torch.optim.Adam(net.parameters(), fused=True)
opt.step()
""",
    "losses": """
x = torch.randn(4, 3, requires_grad=True)
t = torch.tensor([0, 1, -100, 2])
p = torch.sigmoid(x)
l = F.cross_entropy(x, t) + F.binary_cross_entropy(p, (p > 0.5).float())
l = l + F.kl_div(x.log_softmax(-1), torch.tensor([[0.0, 0.5, 0.5]]).expand(4, 3), reduction="batchmean")
l = l + F.huber_loss(x, x.detach()) + F.ctc_loss(
    torch.randn(9, 4, 5).log_softmax(-1), torch.randint(1, 5, (4, 3)), torch.full((4,), 9),
    torch.full((4,), 3))
l = l + F.gaussian_nll_loss(x, x.detach(), p) + F.cosine_similarity(x, x * 0).sum()
l.backward()
""",
    "distributions": """
from torch import distributions as D
n = D.Normal(torch.zeros(2), torch.ones(2, requires_grad=True))
c = D.Categorical(logits=torch.tensor([0.0, float("-inf")]))
u = D.Uniform(0.0, 1.0).log_prob(torch.tensor([0.5]))
k = D.kl_divergence(n, D.Normal(0.0, 2.0)).sum()
(n.log_prob(n.rsample()).sum() + k).backward()
c.sample(), c.entropy(), D.Beta(2.0, 3.0).sample(), D.Dirichlet(torch.ones(3)).rsample()
""",
    "printing": """
x = torch.tensor([1.0, float("nan"), float("inf")])
str(x), repr(torch.randn(3)), str(torch.full((2, 2), float("-inf")))
float(x.max()), x.tolist(), bool(torch.isfinite(x).all())
""",
    "an address used twice": """
for n in range(50):
    m = torch.full((77,), float("-inf"))
    s = (m + n).softmax if False else None
    del m
    e = torch.exp(torch.full((77,), 100.0))
    del e
    a = torch.randn(77)
    b = (a - a).sum()
""",
}  # fmt: skip
"""Scripts of which nothing must be said."""
