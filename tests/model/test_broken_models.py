"""Truth: each fix is applied to the broken model, and torch runs what comes of it."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from broken_models import MODELS, Broken

from torchkit.advice.forward import explained
from torchkit.checks.forward_fails import FailedForward, judge

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"

LINE_FOR_INIT = re.compile(r"(self|model)[\w.\[\]]*( = nn\.|\.(insert|to)\()")
"""A fix that is put at the end of the model's `__init__`, seen from the model."""

WORDS = re.compile(r"(build|call|give|leave) ")


def built(source: str, folder: Path) -> Any:
    path = folder / f"net{len(list(folder.iterdir()))}.py"
    path.write_text(HEAD + source, "utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Net()


def run(model: Any, options: str) -> tuple[Any, bool]:
    """The record of one forward, and whether a batch was added."""
    from torchkit.model.first_layers import channels_of
    from torchkit.model.inputs import make_inputs, parse
    from torchkit.model.recorder import record
    from torchkit.model.state import in_mode

    parser = argparse.ArgumentParser()
    parser.add_argument("--input", action="append")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--no-batch", action="store_true")
    parser.add_argument("--train", action="store_true")
    asked = parser.parse_args(shlex.split(options))
    inputs = make_inputs(
        [parse(text) for text in asked.input],
        batch_size=asked.batch_size,
        no_batch=asked.no_batch,
        channels=channels_of(model),
    )
    with in_mode(model, train=asked.train):
        return record(model, inputs.args, inputs.kwargs), not asked.no_batch


def failed(case: Broken, folder: Path) -> FailedForward:
    from torchkit.commands.failed_forward import failed_forward

    record, has_batch = run(built(case.source, folder), case.options)
    return failed_forward(record, is_by_option=True, has_batch=has_batch)


def repaired(case: Broken, fix: str, code: str, folder: Path) -> tuple[Any, str]:
    """The model and its options with the fix applied as a user would."""
    if fix.startswith("--input"):
        options = case.options
        for piece in re.findall(r"--input \S+", fix):
            name = re.match(r"--input (\w+=)?", piece)[1] or ""  # type: ignore[index]  # it begins so
            options = re.sub(rf"--input {name}\S+", piece, options, count=1)
        return built(case.source, folder), options
    if fix.startswith("--"):
        return built(case.source, folder), f"{case.options} {fix}"
    if LINE_FOR_INIT.match(fix) and fix != code:
        from torch import nn

        model = built(case.source, folder)
        exec(fix, {"self": model, "model": model, "nn": nn, "torch": torch})  # noqa: S102 - the fix is what is tested
        return model, case.options
    lines = case.source.splitlines(keepends=True)
    (at,) = (number for number, line in enumerate(lines) if line.strip() == code)
    lines[at] = lines[at].replace(code, fix)
    return built("".join(lines), folder), case.options


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_what_is_wrong_is_known_and_each_fix_makes_the_model_run(
    case: Broken, tmp_path: Path
) -> None:
    trouble = failed(case, tmp_path)
    explanation = explained(trouble.trouble)
    verdict = judge(trouble)

    assert explanation is not None
    assert explanation.id == case.id
    assert bool(verdict.fix) == case.is_cured
    for fix in verdict.fix:
        if WORDS.match(fix):
            assert fix in case.words
            continue
        model, options = repaired(case, fix, trouble.trouble.code, tmp_path)
        assert run(model, options)[0].failure is None, fix
    assert set(case.words) <= set(verdict.fix)


@pytest.mark.parametrize("case", [it for it in MODELS if it.by_hand], ids=lambda case: case.name)
def test_what_a_fix_says_in_words_makes_the_model_run_as_well(case: Broken, tmp_path: Path) -> None:
    for old, new in case.by_hand:
        assert old in case.source

        record, _ = run(built(case.source.replace(old, new), tmp_path), case.options)

        assert record.failure is None


UNKNOWN = [
    ("raise ValueError('need 3 classes')", "ValueError"),
    ("assert x.shape[-1] == 32, 'expected 32'", "AssertionError"),
    ("return {}['logits']", "KeyError"),
    ("return torch.einsum('bd,ed->be', x, torch.zeros(4, 9))", "RuntimeError"),
    ("return 1 / 0", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("line", "error"), UNKNOWN)
def test_where_nothing_is_known_nothing_is_claimed(line: str, error: str, tmp_path: Path) -> None:
    source = f"class Net(nn.Module):\n    def forward(self, x):\n        {line}\n"

    verdict = judge(failed(Broken("", "", "--input 8", source), tmp_path))

    assert verdict.fix == ()
    assert verdict.brief.startswith(f"Net raises {error}")
    assert all(item.name != "cause" for item in verdict.evidence)
