"""`torchkit.snoop` and `torchkit.install_excepthook` tell on stderr, and let the exception go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import PYTHON, Ran, ran

import torchkit

pytest.importorskip("torch")

BROKEN = """
import torch, torchkit

def step():
    a = torch.ones(2, 3)
    b = torch.ones(4, 5)
    return a @ b
"""


def run(source: str, folder: Path) -> Ran:
    (folder / "script.py").write_text(BROKEN + source, "utf-8")
    return ran(PYTHON, ["script.py"], folder)


def test_a_block_that_raises_is_explained_and_raises(tmp_path: Path) -> None:
    end = run(
        """
try:
    with torchkit.snoop(report="r.json"):
        step()
except RuntimeError as error:
    print("raised", str(error)[:4])
""",
        tmp_path,
    )

    assert (end.status, end.stdout) == (0, b"raised mat1\n")
    assert b"script.py:7 in step" in end.stderr
    assert b"a has 3 columns, b has 4 rows" in end.stderr
    assert b"Traceback" not in end.stderr
    assert (tmp_path / "r.json").exists()


def test_a_block_inside_a_block_is_told_once(tmp_path: Path) -> None:
    end = run(
        """
torchkit.install_excepthook()
with torchkit.snoop():
    with torchkit.snoop():
        step()
""",
        tmp_path,
    )

    assert end.status == 1
    assert end.stderr.count(b"a has 3 columns") == 1
    assert end.stderr.count(b"Traceback (most recent call last)") == 1


def test_what_ends_well_or_ends_itself_says_nothing(tmp_path: Path) -> None:
    end = run(
        """
import sys
with torchkit.snoop():
    print(torch.ones(2).sum())
@torchkit.snoop
def fine(x, *, y=1):
    "Doc."
    return x + y
print(fine(1, y=2), fine.__name__, fine.__doc__)
try:
    with torchkit.snoop():
        {}["x"]
except KeyError:
    print("key")
with torchkit.snoop():
    sys.exit(4)
""",
        tmp_path,
    )

    assert end == Ran(4, b"tensor(2.)\n3 fine Doc.\nkey\n", b"")


def test_coroutines_generators_and_threads_may_be_watched(tmp_path: Path) -> None:
    end = run(
        """
import asyncio, inspect, threading
@torchkit.snoop()
async def later():
    await asyncio.sleep(0)
    return step()
@torchkit.snoop()
def one_by_one():
    got = yield 1
    print("got", got)
    step()
print(inspect.iscoroutinefunction(later), inspect.isgeneratorfunction(one_by_one))
for call in (lambda: asyncio.run(later()), lambda: generate()):
    def generate():
        them = one_by_one()
        print(next(them))
        them.send("sent")
    try:
        call()
    except RuntimeError:
        print("raised")
@torchkit.snoop()
def many(number):
    if number:
        return many(number - 1)
    return 1
threads = [threading.Thread(target=many, args=(20,)) for _ in range(8)]
[it.start() for it in threads]
[it.join() for it in threads]
""",
        tmp_path,
    )

    assert end.stdout == b"True True\nraised\n1\ngot sent\nraised\n"
    assert end.stderr.count(b"a has 3 columns") == 2


def test_functions_are_followed_and_nan_is_hunted(tmp_path: Path) -> None:
    end = run(
        """
class Net(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        return y + 1
@torchkit.snoop(function="*.forward")
def follow():
    return Net()(torch.ones(2))
follow()
@torchkit.snoop(nan=True)
def hunt():
    x = torch.zeros(3)
    return x / x
hunt()
""",
        tmp_path,
    )

    assert end.status == 1
    assert b"Net.forward  call 1" in end.stderr
    assert b"traced Net.forward" in end.stderr
    assert b"first-nan: 0 / 0 is NaN" in end.stderr


def test_whatever_goes_uncaught_is_told_after_pythons_own_words(tmp_path: Path) -> None:
    end = run(
        """
import sys
sys.excepthook = lambda *args: print("hook before", args[0].__name__)
torchkit.install_excepthook()
torchkit.install_excepthook()
step()
""",
        tmp_path,
    )

    assert (end.status, end.stdout) == (1, b"hook before RuntimeError\n")
    assert end.stderr.count(b"a has 3 columns") == 1


def test_a_worker_is_told_of_under_the_hook(tmp_path: Path) -> None:
    end = run(
        """
from torch.utils.data import DataLoader
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return step()
if __name__ == "__main__":
    torchkit.install_excepthook()
    next(iter(DataLoader(Data(), num_workers=1)))
""",
        tmp_path,
    )

    assert end.status == 1
    assert b"raised in DataLoader worker 0" in end.stderr
    assert b"a has 3 columns, b has 4 rows" in end.stderr


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(torchkit.TorchkitError, match="are both given"):
        torchkit.snoop(nan=True, inplace=True)
    with pytest.raises(torchkit.TorchkitError, match="is not known"):
        torchkit.snoop(engine="fast")
    with pytest.raises(torchkit.TorchkitError, match="was given"):
        torchkit.snoop(3)  # type: ignore[type-var]


def test_the_names_cost_nothing_until_they_are_used() -> None:
    script = "import sys, torchkit; torchkit.snoop; print('torch' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        cwd=Path(torchkit.__file__).parent.parent,
    )  # fmt: skip

    assert done.stdout == "False\n"


class Shell:
    """What of IPython is asked for; it shows exceptions itself."""

    def __init__(self) -> None:
        self.handlers: list[object] = []
        self.shown: list[object] = []

    def set_custom_exc(self, kinds: tuple[type, ...], handler: object) -> None:
        self.handlers.append((kinds, handler))

    def showtraceback(self, told: object, tb_offset: int | None = None) -> None:
        self.shown.append((told, tb_offset))


def test_in_a_notebook_an_exception_is_shown_by_it_and_then_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from torchkit import live_snoop

    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", type("M", (), {"get_ipython": lambda: shell}))
    live_snoop._install_in_ipython()
    live_snoop._install_in_ipython()
    ((kinds, handler),) = shell.handlers
    a, b = torch.ones(2, 3), torch.ones(4, 5)

    try:
        a @ b
    except RuntimeError as error:
        handler(shell, type(error), error, error.__traceback__, tb_offset=1)

    assert kinds == (Exception,)
    assert len(shell.shown) == 1
    assert "a has 3 columns, b has 4 rows" in capsys.readouterr().err
