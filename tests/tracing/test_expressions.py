"""The expression that failed, on every version of Python: nothing here needs torch."""

from __future__ import annotations

import linecache
from pathlib import Path
from types import TracebackType

import pytest

from torchkit.tracing.expressions import node_at, source_of

# what stands between « and » is what fails
SOURCES = {
    "one of several divisions": "a = 0\nb = 2 / 1 + «3 / a» + 4 / 2\n",
    "a call in a comprehension": "rows = [«int(text)» for text in ('1', '2', 'x')]\n",
    "a lambda": "half = lambda n: «n / 0»\nhalf(2)\n",
    "an f-string": "x = {}\nprint(f\"a {1 + 1} {«x['b']»:>3}\")\n",
    "a walrus": "if (n := «int('x')») > 1:\n    pass\n",
    "an augmented assignment": "n, zero = 1, 0\n«n //= zero»\n",
    "an item": "table = {'a': [1, 2]}\ny = table['a'][0] + «table['a'][5]»\n",
    "an attribute": "n = 5\ny = n.real + «n.imaginary»\n",
    "a call over several lines": "value = «int(\n    'x',\n    base=10,\n)»\n",
    "a method at the end of a chain": "text = («'a b'\n    .upper()\n    .index('z')»)\n",
    "a method in the middle of a chain": "text = («'a b'\n    .index('z')»\n    .bit_length())\n",
    "a comparison": "ok = 1 < 2 and «1 < 'a'»\n",
    "a generator": "def halves():\n    for n in (1, 0):\n        yield «2 / n»\nlist(halves())\n",
    "what a loop goes through": "for n in «5»:\n    pass\n",
    "an unary operator": "x = 'a'\ny = «-x»\n",
    "a slice": "n = 5\ny = «n[1:2]»\n",
    "a keyword": "y = dict(a=1, b=«[][0]»)\n",
    "letters of two bytes": "größe = 'ä'\nß = ('ü', «größe / 2»)\n",
    "a tab": "if True:\n\ty = «1 / 0»\n",
    "a nested function": (
        "def outer():\n    def inner(n):\n        return [1 % 1, «n % 0»]\n    return inner(3)\nouter()\n"
    ),
    "a method of a class": (
        "class Net:\n    def forward(self, x):\n        return «self.scale» * x\nNet().forward(1)\n"
    ),
    "a coroutine": (
        "async def step(n):\n    return «n / 0»\nasync def main():\n    return await step(1)\n"
        "try:\n    main().send(None)\nexcept StopIteration:\n    pass\n"
    ),
}


def _failed(source: str, path: Path) -> TracebackType:
    path.write_text(source, "utf-8")
    linecache.checkcache(str(path))
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), {"__name__": "__main__"})  # noqa: S102
    except Exception as error:  # noqa: BLE001 - what the source raises
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is not None:
            return last
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("name", SOURCES)
def test_the_failing_expression_is_found_in(name: str, tmp_path: Path) -> None:
    marked = SOURCES[name]
    last = _failed(marked.replace("«", "").replace("»", ""), tmp_path / "script.py")

    _, place = node_at(last.tb_frame, last.tb_lasti, last.tb_lineno)

    inside = marked.split("«")[1].split("»")[0]
    assert source_of(place) == " ".join(line.strip() for line in inside.splitlines())


def test_the_source_of_a_file_that_was_changed_since_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    last = _failed("x = 1\ny = x / 0\n", path)
    path.write_text("something = 'else'\nand_another = 1\n", "utf-8")
    linecache.clearcache()

    node, place = node_at(last.tb_frame, last.tb_lasti, last.tb_lineno)

    assert node is None
    assert not place.is_exact


def test_a_file_that_was_only_added_to_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    last = _failed("def f(x):\n    return x / 0\nf(1)\n", path)
    path.write_text("def f(x):\n    return x / 0\nf(1)\n# and more\n", "utf-8")
    linecache.clearcache()

    _, place = node_at(last.tb_frame, last.tb_lasti, last.tb_lineno)

    assert source_of(place) == "x / 0"


def test_a_text_that_was_executed_has_no_source() -> None:
    try:
        exec("1 / 0", {})  # noqa: S102 - what is looked at
    except ZeroDivisionError as error:
        last = error.__traceback__
    assert last is not None
    assert last.tb_next is not None
    last = last.tb_next

    node, place = node_at(last.tb_frame, last.tb_lasti, last.tb_lineno)

    assert node is None
    assert source_of(place) == ""
