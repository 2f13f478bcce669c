"""Functions chosen by name are followed line by line: tensors made, changed, changed in place, returned.

A stand-in for torch is enough, so that this is tested on every Python, whichever way it tells of lines.
"""

from __future__ import annotations

import asyncio
import io
import linecache
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchkit.commands.snoop_lines import Teller, trace_table
from torchkit.tracing.lines import Follower, Step


class Tensor:
    """As much of a tensor as is looked at."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._version = 0

    def __add__(self, other: object) -> Tensor:
        return Tensor(self.size)

    def __iadd__(self, other: object) -> Tensor:
        self._version += 1
        return self


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module: Any = types.ModuleType("torch")
    module.Tensor = Tensor
    module.nn = types.SimpleNamespace(Module=type("Module", (), {}), Parameter=Tensor)
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setattr("torchkit.tracing.lines._described", lambda it: (f"[{it.size}]",) * 2)
    return module


Run = Callable[..., list[tuple[str, int, int, str, str]]]


@pytest.fixture
def follow(tmp_path: Path) -> Run:
    """Run a script with functions followed; of each step function, call, line, name and change."""

    def run(
        source: str, *globs: str, calls: int = 3, depth: int = 0, tell: Any = None
    ) -> list[tuple[str, int, int, str, str]]:
        file = tmp_path / "train.py"
        file.write_text(source, "utf-8")
        linecache.checkcache(str(file))
        steps: list[Step] = []
        watch = Follower(globs, calls=calls, depth=depth, tell=tell or steps.append)
        names = {"Tensor": Tensor, "__name__": "__main__", "asyncio": asyncio}
        code = compile(source, str(file), "exec", dont_inherit=True)
        with watch:
            exec(code, names)  # noqa: S102 - the script
        assert not watch.active
        return [(it.function, it.call, it.line, it.name, it.change) for it in watch.steps]

    return run


def test_each_kind_of_change_is_told_at_its_line(follow: Run) -> None:
    source = """
def step(x):
    y = x + 1
    y = y + 1
    y += 1
    n = 3
    return y
step(Tensor())
"""

    assert follow(source, "step") == [
        ("step", 1, 0, "x", "argument"),
        ("step", 1, 3, "y", "new"),
        ("step", 1, 4, "y", "changed"),
        ("step", 1, 5, "y", "in-place"),
        ("step", 1, 7, "return", "returned"),
    ]


def test_what_a_line_makes_of_an_attribute_of_self_is_told(follow: Run) -> None:
    source = """
class Net:
    def __init__(self):
        self.h = Tensor()
    def forward(self):
        self.h = Tensor(2)
        self.k = self.h
        self.h += 1
Net().forward()
"""

    assert follow(source, "Net.forward") == [
        ("Net.forward", 1, 6, "self.h", "changed"),
        ("Net.forward", 1, 7, "self.k", "new"),
        ("Net.forward", 1, 8, "self.h", "in-place"),
        ("Net.forward", 1, 8, "self.k", "in-place"),
    ]


def test_a_generator_is_one_call(follow: Run) -> None:
    source = """
def batches(n):
    for i in range(n):
        x = Tensor()
        yield x
list(batches(3))
"""

    assert follow(source, "batches") == [
        ("batches", 1, 4, "x", "new"),
        ("batches", 1, 4, "x", "changed"),
        ("batches", 1, 4, "x", "changed"),
    ]


def test_an_async_function_is_one_call(follow: Run) -> None:
    source = """
async def load():
    x = Tensor()
    await asyncio.sleep(0)
    x = Tensor()
    return x
async def main():
    await asyncio.gather(load(), load())
asyncio.run(main())
"""

    seen = follow(source, "load")

    assert sorted(it for it in seen if it[1] == 1) == [
        ("load", 1, 3, "x", "new"),
        ("load", 1, 5, "x", "changed"),
        ("load", 1, 6, "return", "returned"),
    ]
    assert len([it for it in seen if it[1] == 2]) == 3


def test_calls_of_a_recursion_are_told_apart(follow: Run) -> None:
    source = """
def down(n):
    x = Tensor(n)
    if n:
        down(n - 1)
    x += 1
down(2)
"""

    seen = follow(source, "down")

    assert [(call, change) for _, call, _, _, change in seen] == [
        (1, "new"), (2, "new"), (3, "new"), (3, "in-place"), (2, "in-place"), (1, "in-place"),
    ]  # fmt: skip


def test_an_exception_in_the_middle_ends_a_call(follow: Run) -> None:
    source = """
def bad(n):
    x = Tensor()
    y = 1 / n
    return x
for n in (0, 1):
    try:
        bad(n)
    except ZeroDivisionError:
        pass
"""

    assert follow(source, "bad") == [
        ("bad", 1, 3, "x", "new"),
        ("bad", 2, 3, "x", "new"),
        ("bad", 2, 5, "return", "returned"),
    ]


def test_only_the_first_calls_are_followed(follow: Run) -> None:
    source = "def f():\n    x = Tensor()\nfor _ in range(9):\n    f()\n"

    assert [it[1] for it in follow(source, "f", calls=2)] == [1, 2]


def test_functions_that_are_called_are_followed_as_deep_as_was_said(follow: Run) -> None:
    source = """
def a():
    x = Tensor()
    b()
def b():
    x = Tensor()
    c()
def c():
    x = Tensor()
c()
a()
"""

    assert {it[0] for it in follow(source, "a")} == {"a"}
    assert {it[0] for it in follow(source, "a", depth=1)} == {"a", "b"}
    assert {it[0] for it in follow(source, "a", depth=2)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.forward", {"Outer.Inner.forward", "Outer.forward"}),
        ("Outer.Inner.*", {"Outer.Inner.forward"}),
        ("forward", {"Outer.Inner.forward", "Outer.forward"}),
        ("made.inner", {"made.inner"}),
        ("wrapped", {"wrapped"}),
        ("nothing", set()),
    ],
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 keeps no qualified names")
def test_names_are_matched_whole_or_by_their_end(
    follow: Run, glob: str, expected: set[str]
) -> None:
    source = """
import functools
class Outer:
    class Inner:
        def forward(self):
            x = Tensor()
    def forward(self):
        x = Tensor()
def made():
    def inner():
        x = Tensor()
    return inner
def deco(f):
    @functools.wraps(f)
    def around(*a):
        return f(*a)
    return around
@deco
def wrapped():
    x = Tensor()
Outer.Inner().forward(), Outer().forward(), made()(), wrapped()
"""

    assert {it[0] for it in follow(source, glob)} == expected


def test_a_thread_that_is_started_is_followed(follow: Run) -> None:
    source = """
import threading
def work():
    x = Tensor()
t = threading.Thread(target=work)
t.start()
t.join()
"""

    assert follow(source, "work") == [("work", 1, 4, "x", "new")]


def test_a_tracer_that_was_there_is_there_again_and_hears_everything(follow: Run) -> None:
    heard: list[str] = []

    def theirs(frame: types.FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_name == "f":
            heard.append(event)
        return theirs

    before = sys.gettrace()
    sys.settrace(theirs)
    try:
        seen = follow("def f():\n    x = Tensor()\nf()\n", "f")
        after = sys.gettrace()
    finally:
        sys.settrace(before)

    assert seen == [("f", 1, 2, "x", "new")]
    assert after is theirs
    assert heard == ["call", "line", "return"]
    assert threading._trace_hook is None  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="from Python 3.12 on")
def test_no_tool_of_sys_monitoring_is_kept(follow: Run) -> None:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    before = [monitoring.get_tool(number) for number in range(6)]

    first = follow("def f():\n    x = Tensor()\nf()\n", "f")
    again = follow("def f():\n    x = Tensor()\nf()\n", "f")

    assert [monitoring.get_tool(number) for number in range(6)] == before
    assert first == again


def test_a_tensor_is_not_kept_alive_by_being_followed(follow: Run) -> None:
    source = """
import gc, weakref
def f():
    x = Tensor()
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None
f()
"""

    assert follow(source, "f") == [("f", 1, 4, "x", "new")]


def test_a_loop_is_told_once_with_how_often_it_went(
    follow: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = """
def f(n):
    total = Tensor()
    for i in range(n):
        k = Tensor(3)
        total = total + k
    return total
f(200)
f(200)
"""
    stream = io.StringIO()

    follow(source, "f", tell=Teller(stream, 80))

    text = stream.getvalue()
    assert text.count("k = Tensor(3)") == 1
    assert "lines 5 to 6 x 200, same shapes" in text
    assert "f  call 2: the same shapes as before" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_has_a_row_for_what_is_alike(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("def f():\n    for i in range(7):\n        k = Tensor(3)\nf()\n", "utf-8")
    watch = Follower(["f"], calls=3, depth=0, tell=lambda _: None)
    with watch:
        exec(compile(file.read_text("utf-8"), str(file), "exec"), {"Tensor": Tensor})  # noqa: S102 - the script

    rows = trace_table(watch).rows

    assert [(row["change"], row["times"]) for row in rows] == [("new", 1), ("changed", 6)]
    assert rows[0]["source"] == "k = Tensor(3)"
    assert "kind" not in rows[0]
