"""Exceptions that torch has no part in, that were raised from others, groups, notes, hooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from broken import ended, evidence, report

from torchkit.commands.snoop import told_of
from torchkit.tracing.postmortem import examine

pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

STEP = (
    "import torch\ndef step(a, b):\n    return a @ b\nx, y = torch.ones(2, 3), torch.ones(4, 5)\n"
)

PLAIN = {
    "a key": "settings = {}\ndef rate(it):\n    return it['rate']\nrate(settings)\n",
    "a file": "open('there/is/none')\n",
    "raised from another": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('x') from e\n",
    "raised while handling": "try:\n    {}['a']\nexcept KeyError:\n    [][1]\n",
    "from None": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('x') from None\n",
    "the user's own": "class Odd(Exception):\n    pass\nraise Odd('one', 2)\n",
    "without a message": "raise ValueError\n",
    "an assertion": "assert 1 == 2, 'never'\n",
    "a group": "raise ExceptionGroup('g', [ValueError(1), KeyError('k')])\n",
    "a note": "e = ValueError('x')\ne.add_note('of batch 3')\nraise e\n",
}


def pythons_own(path: Path) -> str:
    """What Python writes about a script."""
    done = subprocess.run(
        [sys.executable, "-I", str(path)], capture_output=True, text=True, check=False
    )
    return done.stderr


@pytest.mark.parametrize("name", PLAIN)
def test_python_says_of_a_plain_exception_what_it_always_says(name: str, tmp_path: Path) -> None:
    if name in ("a group", "a note") and sys.version_info < (3, 11):
        pytest.skip("from Python 3.11 on")
    path = tmp_path / "script.py"
    end = ended(PLAIN[name], path)

    _, words = told_of(end._replace(error=_without_test(end.error)))

    assert words.text == pythons_own(path)
    assert words.is_all


def _without_test(error: BaseException | None) -> BaseException:
    """As if the script had been run by torchkit: its own frames alone."""
    assert error is not None
    seen: BaseException | None = error
    while seen is not None:
        tb = seen.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename.endswith("broken.py"):
            tb = tb.tb_next
        seen.__traceback__ = tb
        seen = seen.__cause__ or seen.__context__
    return error


def test_an_exception_of_torch_says_all_of_it(tmp_path: Path) -> None:
    end = ended(f"{STEP}step(x, y)\n", tmp_path / "script.py")

    report_, words = told_of(end)

    assert words.text == ""
    assert not words.is_all
    assert "Traceback (most recent call last)" in evidence(report_.findings[0], "traceback")


def test_every_frame_of_the_users_is_there_and_one_that_is_repeated_once(tmp_path: Path) -> None:
    source = (
        f"{STEP}def train(n):\n    if n == 0:\n        step(x, y)\n    train(n - 1)\ntrain(2)\n"
    )

    view = report(source, tmp_path / "script.py").views[0]

    assert [str(row["area"]).rpartition(" ")[2] for row in view.rows] == [
        "step", "train", "train", "<module>", "ended",
    ]  # fmt: skip


def test_of_an_exception_raised_from_one_of_torch_that_is_explained(tmp_path: Path) -> None:
    source = (
        f"{STEP}def train():\n    try:\n        step(x, y)\n    except RuntimeError as error:\n"
        "        raise KeyError('step 3') from error\ntrain()\n"
    )

    said = report(source, tmp_path / "script.py")

    assert evidence(said.findings[0], "expression") == "a @ b"
    assert evidence(said.findings[0], "then") == "KeyError: 'step 3'"
    areas = [str(row["area"]).rpartition(" ")[2] for row in said.views[0].rows]
    assert areas == ["step", "train", "<module>", "ended"]


def test_an_exception_while_one_of_torch_is_handled_is_told_by_python_too(tmp_path: Path) -> None:
    source = f"{STEP}try:\n    step(x, y)\nexcept RuntimeError:\n    [][0]\n"

    said, words = told_of(ended(source, tmp_path / "script.py"))

    assert "IndexError: list index out of range" in words.text
    assert not words.is_all
    assert evidence(said.findings[0], "then").startswith("IndexError")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="from Python 3.11 on")
def test_each_of_a_group_is_explained(tmp_path: Path) -> None:
    source = (
        f"{STEP}found = []\nfor other in (y, y[:2], y[:1]):\n    try:\n        step(x, other)\n"
        "    except RuntimeError as error:\n        found.append(error)\n"
        "found.append(KeyError('k'))\nraise ExceptionGroup('workers', found)\n"
    )

    said = report(source, tmp_path / "script.py")

    assert len(said.findings) == 3
    assert said.headline.startswith("ExceptionGroup: workers")
    assert [evidence(it, "beside") for it in said.findings] == ["KeyError: 'k'"] * 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="from Python 3.11 on")
def test_notes_are_told(tmp_path: Path) -> None:
    source = f"{STEP}try:\n    step(x, y)\nexcept RuntimeError as e:\n    e.add_note('batch 3')\n    raise\n"

    said = report(source, tmp_path / "script.py")

    assert evidence(said.findings[0], "note") == "batch 3"


def test_a_hook_of_the_users_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "excepthook", lambda kind, *_: sys.stdout.write(f"mine {kind.__name__}\n")
    )

    _, words = told_of(ended("1 / 0\n", tmp_path / "script.py"))

    assert capsys.readouterr().out == "mine ZeroDivisionError\n"
    assert words.text == ""


def test_a_hook_that_fails_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *_: {}["hook"])

    _, words = told_of(ended("1 / 0\n", tmp_path / "script.py"))

    assert words.text.startswith("Error in sys.excepthook:\n")
    assert "KeyError: 'hook'" in words.text
    assert "ZeroDivisionError" in words.text


def test_an_exception_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    source = "class Odd(Exception):\n    def __str__(self):\n        return 1 / 0\nraise Odd\n"
    end = ended(source, tmp_path / "script.py")
    assert end.error is not None

    seen = examine(end.error)

    assert seen.error == "Odd"
    assert seen.expression == "raise Odd"
    assert "Odd: <exception str() failed>" in seen.traceback
