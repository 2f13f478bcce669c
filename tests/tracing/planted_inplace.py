"""Scripts whose backward fails because of a change in place, and the two lines that must be told."""

from __future__ import annotations

from typing import NamedTuple

IMPORTS = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


class Changed(NamedTuple):
    """What stands between « and » saved the tensor, what stands between ⟦ and ⟧ changed it."""

    name: str
    source: str
    fix: str = ""

    @property
    def script(self) -> str:
        """The source as it is run."""
        return "".join(it for it in IMPORTS + self.source if it not in "«»⟦⟧")

    def marked(self, marks: str) -> tuple[int, str]:
        """The line and the text of what stands between two marks."""
        before, _, rest = (IMPORTS + self.source).partition(marks[0])
        text = rest.partition(marks[1])[0]
        return before.count("\n") + 1, "".join(it for it in text if it not in "«»⟦⟧")


CASES = (
    Changed("added to", "w = torch.ones(5, requires_grad=True)\na = «torch.sigmoid(w)»\n⟦a += 1⟧\na.sum().backward()\n", "a = a + 1"),
    Changed("relu_", "w = torch.ones(5, requires_grad=True)\na = «torch.sigmoid(w)»\nb = ⟦a.relu_()⟧\nb.sum().backward()\n", "a = a.relu()"),
    Changed("masked_fill_", "w = torch.ones(5, requires_grad=True)\na = «w.exp()»\n⟦a.masked_fill_(a > 9, 0.0)⟧\na.sum().backward()\n", "a = a.masked_fill("),
    Changed("an item is set", "w = torch.ones(5, requires_grad=True)\na = «torch.tanh(w)»\n⟦a[0]⟧ = 0\na.sum().backward()\n", "clone()"),
    Changed("step between two backwards", "d = nn.Linear(2, 2)\ng = nn.Linear(2, 2)\nod = torch.optim.SGD(d.parameters(), 0.1)\nfake = g(torch.ones(1, 2))\nout = «d(fake)»\nl1 = out.mean()\nl2 = (out * 2).sum()\nl1.backward(retain_graph=True)\n⟦od.step()⟧\nl2.backward()\n", "before the optimizer's step()"),
    Changed("a buffer", "class Norm(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.register_buffer('mean', torch.zeros(3))\n    def forward(self, x):\n        y = «x * self.mean»\n        ⟦self.mean.add_(1)⟧\n        return y\nm = Norm()\nm(torch.ones(3, requires_grad=True)).sum().backward()\n", "self.mean = self.mean.add(1)"),
    Changed("a view of what was saved", "w = torch.ones(4, 4, requires_grad=True)\na = «w.exp()»\nrow = a[1]\n⟦row.mul_(2)⟧\na.sum().backward()\n"),
    Changed("a weight without gradients", "net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))\ny = «net(torch.ones(1, 2))»\nwith torch.no_grad():\n    for p in net.parameters():\n        ⟦p.mul_(0.9)⟧\ny.sum().backward()\n"),
    Changed("in a loop", "w = torch.ones(3, requires_grad=True)\nh = torch.zeros(3)\ntotal = 0\nstate = torch.ones(3)\nfor t in range(3):\n    total = total + («w * state»).sum()\n    ⟦state += 1⟧\ntotal.backward()\n", "state = state + 1"),
    Changed("in a layer of a module", "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.act = nn.ReLU(inplace=True)\n    def forward(self, x):\n        h = «torch.sigmoid(x)»\n        k = ⟦self.act(h)⟧\n        return h * k\nNet()(torch.ones(3, requires_grad=True)).sum().backward()\n", "inplace=True"),
    Changed("in another function", "def spoil(x):\n    ⟦x.zero_()⟧\ndef make(w):\n    return «w ** 2»\nw = torch.ones(3, requires_grad=True)\nv = w * 1\ny = make(v)\nspoil(v.detach())\ny.sum().backward()\n"),
    Changed("a Function of the user's", "class Square(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        y = «x * x»\n        ctx.save_for_backward(y)\n        return y\n    @staticmethod\n    def backward(ctx, g):\n        y, = ctx.saved_tensors\n        return g * y\nw = torch.ones(3, requires_grad=True)\ny = Square.apply(w)\n⟦y.add_(1)⟧\ny.sum().backward()\n"),
    Changed("out= of another operation", "w = torch.ones(3, requires_grad=True)\nb = torch.ones(3)\ny = «w * b»\n⟦torch.add(b, 1, out=b)⟧\ny.sum().backward()\n"),
    Changed("copied over", "w = torch.ones(3, requires_grad=True)\nb = torch.ones(3)\ny = «w * b»\n⟦b.copy_(torch.zeros(3))⟧\nb.add_(1)\ny.sum().backward()\n"),
)  # fmt: skip
