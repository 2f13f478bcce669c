"""Every recipe runs as it is written, and prints what it teaches: tests/golden/recipes."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {it.stem: it for it in sorted((ROOT / "examples" / "recipes").glob("*.py"))}
MAP = (ROOT / "examples" / "README.md").read_text("utf-8")

NEEDS = {"tensorboard_scalars": "tensorboard"}
"""Recipes that want a package which torchkit does not."""

SAYS = {
    "meshgrid": "api-newer-than-torch",
    "adaptive_pooling": "head (Linear) fails: it takes 1600 features, and is given 1568",
    "first_layer": "conv-channel-mismatch",
    "optimizers": "lr-scheduler-order",
    "feature_maps": "AdaptiveMaxPool2d",
    "train_eval": "batchnorm-single-value",
    "usnet_shapes": "93,218",
}
"""What the command of a recipe's docstring must say, where it runs no file of examples/broken."""

RUN_THEM = """
import contextlib, io, json, runpy, sys, traceback, warnings
import torch

warnings.simplefilter("error")
printed = {}
for path in sys.argv[1:]:
    torch.seed()  # what a recipe forgets to seed prints another text each time
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(path, run_name="__main__")
    except BaseException:
        text.write(traceback.format_exc())
    printed[path] = text.getvalue()
print(json.dumps(printed))
"""


def is_missing(name: str) -> bool:
    return name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each recipe prints: all in one process, since torch takes longer to load than they run."""
    paths = [str(path) for name, path in RECIPES.items() if not is_missing(name)]
    done = subprocess.run(
        [sys.executable, "-c", RUN_THEM, *paths],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    return {Path(path).stem: text for path, text in json.loads(done.stdout).items()}


def docstring(name: str) -> list[str]:
    return (ast.get_docstring(ast.parse(RECIPES[name].read_text("utf-8"))) or "").splitlines()


def command(name: str) -> str:
    """The torchkit command that the docstring of a recipe names; "" for none."""
    found = [line.partition(": torchkit ")[2] for line in docstring(name)]
    return next((it for it in found if it), "")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_prints_what_it_teaches(
    name: str, printed: dict[str, str], golden: Callable[[str, str], None]
) -> None:
    if is_missing(name):
        pytest.skip(f"{name}.py needs {NEEDS[name]}, which is not installed")

    assert "Traceback (most recent call last)" not in printed[name], printed[name]
    golden(f"recipes/{name}.txt", printed[name])


def test_no_text_is_left_of_a_recipe_that_is_gone() -> None:
    texts = {it.stem for it in (ROOT / "tests" / "golden" / "recipes").glob("*.txt")}

    assert texts == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_line_runs_it_and_the_map_lists_it(name: str) -> None:
    assert docstring(name)[0] == f"python examples/recipes/{name}.py"
    assert f"(recipes/{name}.py)" in MAP


@pytest.mark.parametrize("name", [it for it in RECIPES if command(it)])
def test_the_command_of_a_recipe_is_in_the_map(name: str) -> None:
    row = next(line for line in MAP.splitlines() if f"(recipes/{name}.py)" in line)

    assert f"`torchkit {command(name)}`" in row


@pytest.mark.parametrize("name", [it for it in RECIPES if command(it)])
def test_the_command_of_a_recipe_names_what_it_says(
    name: str, cli: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    subcommand, target, *options = shlex.split(command(name))

    if (
        subcommand == "snoop"
    ):  # what it says: test_broken_recipes.py and tests/tracing/test_examples_broken.py
        assert Path(target).parent == Path("examples/broken")
        assert Path(target).is_file()
        return
    ended = cli(subcommand, target, *options)

    assert SAYS[name] in ended.stdout, ended
