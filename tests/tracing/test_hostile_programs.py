"""No exception of ours, and nothing of the user's called, whatever stands in the frames."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from broken import ended

from torchkit.commands.snoop import told_of
from torchkit.render import Format, Style, render
from torchkit.tracing.postmortem import kept

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

HOSTILE = """
import torch, sys
HOSTILE_CALLS = []
class Hostile:
    def __init__(self): object.__setattr__(self, "x", 1)
    def __getattribute__(self, n): HOSTILE_CALLS.append("getattribute "+n); raise RuntimeError("no " + n)
    def __repr__(self): HOSTILE_CALLS.append("repr"); raise RuntimeError
    def __str__(self): HOSTILE_CALLS.append("str"); raise RuntimeError
    def __eq__(self, o): HOSTILE_CALLS.append("eq"); raise RuntimeError
    def __hash__(self): HOSTILE_CALLS.append("hash"); raise RuntimeError
    def __bool__(self): HOSTILE_CALLS.append("bool"); raise RuntimeError
    def __len__(self): HOSTILE_CALLS.append("len"); raise RuntimeError
    def __iter__(self): HOSTILE_CALLS.append("iter"); raise RuntimeError
    def __getitem__(self, k): HOSTILE_CALLS.append("getitem"); raise RuntimeError
    def __index__(self): HOSTILE_CALLS.append("index"); raise RuntimeError
    def __torch_function__(self, *a, **k): HOSTILE_CALLS.append("tf"); raise RuntimeError
class Kind(type):
    def __getattribute__(cls, n): HOSTILE_CALLS.append("meta "+n); raise RuntimeError(n)
    def __instancecheck__(cls, o): HOSTILE_CALLS.append("instancecheck"); raise RuntimeError
class Meta(metaclass=Kind):
    pass
class Klass:
    @property
    def __class__(self): HOSTILE_CALLS.append("class"); raise RuntimeError
    @property
    def shape(self): HOSTILE_CALLS.append("shape"); raise RuntimeError
class D(dict):
    def items(self): HOSTILE_CALLS.append("items"); raise RuntimeError
    def __getitem__(self, k): HOSTILE_CALLS.append("dget"); raise RuntimeError
    def __iter__(self): HOSTILE_CALLS.append("diter"); raise RuntimeError
class L(list):
    def __getitem__(self, k): HOSTILE_CALLS.append("lget"); raise RuntimeError
    def __iter__(self): HOSTILE_CALLS.append("liter"); raise RuntimeError
    def __len__(self): HOSTILE_CALLS.append("llen"); return 3
class S(str):
    def __hash__(self): HOSTILE_CALLS.append("shash"); return 1
    def __eq__(self, o): HOSTILE_CALLS.append("seq"); raise RuntimeError
    def __str__(self): HOSTILE_CALLS.append("sstr"); raise RuntimeError
    def __repr__(self): HOSTILE_CALLS.append("srepr"); raise RuntimeError
class I(int):
    def __repr__(self): HOSTILE_CALLS.append("irepr"); raise RuntimeError
    def __eq__(self, o): HOSTILE_CALLS.append("ieq"); raise RuntimeError
    __hash__ = int.__hash__
class Sub(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, t, a=(), k=None):
        HOSTILE_CALLS.append("sub tf"); return super().__torch_function__(f, t, a, k or {})
class BadSub(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, t, a=(), k=None):
        HOSTILE_CALLS.append("badsub tf"); raise RuntimeError("bad")
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__(); self.fc = torch.nn.Linear(3, 2)
    def extra_repr(self): HOSTILE_CALLS.append("extra_repr"); raise RuntimeError
    def __getattr__(self, n): HOSTILE_CALLS.append("net getattr " + n); return super().__getattr__(n)
    def named_modules(self, *a, **k): HOSTILE_CALLS.append("named_modules"); raise RuntimeError
    def forward(self, x, h): return self.fc(x)
h, k, d, l, s, i = Hostile(), Klass(), D(a=torch.ones(2)), L([torch.ones(2)]), S("a"), I(1)
d2 = {S("a"): torch.ones(3), I(4): torch.ones(1)}
sub = torch.ones(3).as_subclass(Sub); bad = torch.ones(3).as_subclass(BadSub)
a, b = torch.ones(3), torch.ones(4)
"""

LAST = [
    "HOSTILE_CALLS.clear(); a + b",
    "HOSTILE_CALLS.clear(); torch.add(a, b, alpha=h)",
    "HOSTILE_CALLS.clear(); torch.cat([a, h, b])",
    "HOSTILE_CALLS.clear(); torch.zeros(h) + a",
    "HOSTILE_CALLS.clear(); f = lambda *z: a + b; f(h, k, d, l, s, i, Meta, sub, bad)",
    "HOSTILE_CALLS.clear(); torch.add(h.x, a)",
    "HOSTILE_CALLS.clear(); a[k]",
    "HOSTILE_CALLS.clear(); d['a'] + a",
    "HOSTILE_CALLS.clear(); l[0] + a",
    "HOSTILE_CALLS.clear(); d2['a'] + b",
    "HOSTILE_CALLS.clear(); sub + b",
    "HOSTILE_CALLS.clear(); bad + b",
    "HOSTILE_CALLS.clear(); Meta.x + a",
    "HOSTILE_CALLS.clear(); k.shape + a",
    "net = Net(); HOSTILE_CALLS.clear(); net(torch.ones(1, 4), h)",
    "HOSTILE_CALLS.clear(); torch.ones(s, i) + b",
    "HOSTILE_CALLS.clear(); a.view(i, h)",
    "HOSTILE_CALLS.clear(); raise type('E', (Exception,), {'__str__': lambda self: 1/0, '__repr__': lambda self: 1/0})()",
    "HOSTILE_CALLS.clear(); raise type('E', (Exception,), {'__getattribute__': lambda self, n: 1/0})('x')",
    "e = ValueError('x'); e.__cause__ = e; raise e",
    "e, f = ValueError('x'), KeyError('y'); e.__cause__ = f; f.__context__ = e; raise e",
    "def r(): r()\nr()",
    "raise SystemError",
    "exec('a + b')",
    "exec(compile('def g():\\n return a + b\\ng()', '<x>', 'exec'))",
    "eval('a + b')",
    "torch.func.vmap(lambda x: x + b)(torch.ones(2, 3))",
    "torch.func.grad(lambda x: (x + b).sum())(a)",
    "sp = torch.eye(3).to_sparse(); sp @ torch.ones(4, 2)",
    "m = torch.empty(10**12, 5, device='meta'); m + torch.empty(3, device='meta')",
    "c = torch.ones(3, dtype=torch.complex64); c + torch.ones(4)",
    "f8 = torch.ones(3).to(torch.float8_e4m3fn); f8 + f8[:2]",
    "from torch.utils.checkpoint import checkpoint\ncheckpoint(lambda x: x + b, a, use_reentrant=False)",
    "t = torch.ones(4); t.untyped_storage().resize_(0); t + a",
    "it = iter([a, b]); sum(it)",
    "class M(torch.overrides.TorchFunctionMode):\n  def __torch_function__(self, f, t, ar=(), k=None):\n    HOSTILE_CALLS.append('mode ' + str(f)); return f(*ar, **(k or {}))\nM().__enter__(); HOSTILE_CALLS.clear(); a * 2 + b * 2",
    "lin = torch.nn.LazyLinear(3); lin(a); lin(b)",
    "p = torch.nn.parameter.UninitializedParameter(); p + a",
    "open(__file__, 'w').write('# ' * 400); a + b",
    "open(__file__, 'a').write('\\n# more'); a + b",
    "torch.ones(3).backward()",
    "int('x' * 100000)",
    "raise ValueError('\\udcff\\x00\\x1b[31m')",
    "x = torch.nn.utils.rnn.pack_sequence([a]); x + b",
    "del a; a + b",
    "torch.Tensor.foo = lambda self: HOSTILE_CALLS.append('foo') or self; HOSTILE_CALLS.clear(); a.foo() + b",
    "import functools; f = functools.partial(torch.add, a); f(b)",
    "(lambda: (yield a + b))().__next__()",
    "match a + b:\n  case _: pass",
    "x = [y + b for y in (a,)]",
    "async def f(): return a + b\nf().send(None)",
    "torch.ones(3, names=('n',)) + torch.ones(3, names=('m',))",
    "a.__dict__['z'] = h; a + b",
    "class P:\n  @property\n  def t(self): HOSTILE_CALLS.append('prop'); return a\np = P(); HOSTILE_CALLS.clear(); p.t + b",
    "def mk(): HOSTILE_CALLS.append('mk'); return a\nHOSTILE_CALLS.clear(); mk() + b",
]


def calls_of(error: BaseException) -> list[str]:
    """What the script has noted of its own methods being called."""
    tb = kept(error, "__traceback__")
    while tb is not None:
        if "HOSTILE_CALLS" in tb.tb_frame.f_globals:
            found: list[str] = tb.tb_frame.f_globals["HOSTILE_CALLS"]
            return found
        tb = tb.tb_next
    return []


@pytest.mark.parametrize("last", LAST)
def test_nothing_of_ours_goes_wrong_and_nothing_of_theirs_is_called(
    last: str, tmp_path: Path
) -> None:
    end = ended(f"{HOSTILE}{last}\n", tmp_path / "script.py")
    assert end.error is not None
    before = len(calls_of(end.error))
    state = torch.get_rng_state()

    report, _ = told_of(end)
    for format in Format:
        render(report, format, style=Style(width=80, colour=False, unicode=True))
    if "TorchFunctionMode" in last:
        torch.overrides._pop_mode()

    assert calls_of(end.error)[before:] == []
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="from Python 3.11 on")
def test_a_group_of_hostile_exceptions_is_told(tmp_path: Path) -> None:
    source = (
        f"{HOSTILE}raise ExceptionGroup('g', [ExceptionGroup('h', [ValueError(1), KeyError(h)])])\n"
    )
    end = ended(source, tmp_path / "script.py")

    report, words = told_of(end)

    assert report.headline == "ExceptionGroup: g (1 sub-exception)"
    assert "ExceptionGroup: h (2 sub-exceptions)" in words.text


def test_a_storage_that_was_given_back_is_not_read(tmp_path: Path) -> None:
    source = f"{HOSTILE}t = torch.ones(3)\nt.untyped_storage().resize_(0)\nt + b\n"

    report, _ = told_of(ended(source, tmp_path / "script.py"))

    operands = [it for it in report.findings[0].verdict.evidence if it.name == "operand t"]
    assert [it.value for it in operands] == ["float32 [3] cpu"]
