"""`torchkit summary TARGET --compare OTHER`: two models, a model and a checkpoint, or two files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torchkit.commands.compare_files import compare_files
from torchkit.commands.compare_keys import compare_with_file
from torchkit.commands.compare_layers import compare_models
from torchkit.commands.summary import Question, report_of
from torchkit.commands.summary_run import built, propagated, refuse_wrong_guess
from torchkit.errors import BadInput
from torchkit.model.files import read
from torchkit.model.keys import Key, keys_of, module_paths, state_keys, unsaved_buffers
from torchkit.model.layers import layers
from torchkit.model.presence import need_torch
from torchkit.model.target import names_a_file
from torchkit.report import Json, Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torchkit.model.layers import Layer


def compared(question: Question) -> Report:
    """What differs between the target and what `--compare` names. Raises TorchkitError."""
    other = question.compare or ""
    ours, theirs = names_a_file(question.target), names_a_file(other)
    if ours and theirs:
        names = (Path(question.target).name, Path(other).name)
        return compare_files(_keys(question.target), _keys(other), names=names)
    need_torch()
    if ours or theirs:
        file, target = (question.target, other) if ours else (other, question.target)
        return _model_and_file(target, file)
    one, its = _layers_and_totals(question)
    two, their = _layers_and_totals(question._replace(target=other))
    return compare_models(one, two, names=(question.target, other), totals=(its, their))


def _keys(file: str) -> tuple[Key, ...]:
    return keys_of(read(Path(file)).entries)


def _model_and_file(target: str, file: str) -> Report:
    contents = read(Path(file))
    if not contents.entries:
        raise BadInput(f"{file} holds no tensors", hint="torchkit summary says what it holds")
    model = built(target)
    return compare_with_file(
        state_keys(model),
        keys_of(contents.entries),
        model=type(model).__name__,
        file=Path(file).name,
        modules=module_paths(model),
        unsaved=unsaved_buffers(model),
        path=file,
        format=contents.format,
    )


def _layers_and_totals(question: Question) -> tuple[Sequence[Layer], Mapping[str, Json]]:
    done = propagated(question)
    refuse_wrong_guess(done)
    return layers(done.record), report_of(done.record, question).totals
