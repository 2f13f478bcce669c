"""`torchkit summary TARGET --compare OTHER`: two models, a model and a checkpoint, or two files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torchkit.commands.compare_files import compare_files
from torchkit.commands.compare_keys import compare_with_file
from torchkit.commands.compare_layers import compare_models
from torchkit.commands.loading_code import Origin
from torchkit.commands.summary import Question, report_of
from torchkit.commands.summary_files import findings_on
from torchkit.commands.summary_run import built, propagated, refuse_wrong_guess
from torchkit.errors import BadInput
from torchkit.model.files import read
from torchkit.model.files.harmless import refused
from torchkit.model.keys import (
    holds_uninitialised,
    keys_of,
    module_paths,
    state_keys,
    tensorless_keys,
    unsaved_buffers,
)
from torchkit.model.layers import layers
from torchkit.model.presence import need_torch
from torchkit.model.target import names_a_file
from torchkit.report import Finding, Json, Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torchkit.model.layers import Layer


def compared(question: Question) -> Report:
    """What differs between the target and what `--compare` names. Raises TorchkitError."""
    other = question.compare or ""
    ours, theirs = names_a_file(question.target), names_a_file(other)
    if ours and theirs:
        files = (Path(question.target), Path(other))
        one, two = (read(path) for path in files)
        return compare_files(
            keys_of(one.entries),
            keys_of(two.entries),
            names=(files[0].name, files[1].name),
            findings=[
                *findings_on(one, question.target),
                *(findings_on(two, other) if question.target != other else ()),
            ],
        )
    need_torch()
    if ours or theirs:
        file, target = (question.target, other) if ours else (other, question.target)
        return _model_and_file(target, file)
    ours_run, theirs_run = _run(question), _run(question._replace(target=other))
    return compare_models(
        ours_run.layers,
        theirs_run.layers,
        names=(question.target, other),
        totals=(ours_run.totals, theirs_run.totals),
        failures=(ours_run.failure, theirs_run.failure),
    )


def _model_and_file(target: str, file: str) -> Report:
    contents = read(Path(file))
    is_lazy = not contents.entries and holds_uninitialised(contents)
    if not (contents.entries or contents.damage or is_lazy):
        raise BadInput(
            f"{file} holds no tensors",
            hint=f"torchkit summary {shlex.quote(file)} says what it holds",
        )
    if contents.format == "tensors" and not any(it.group for it in contents.entries):
        raise BadInput(
            f"{file} holds tensors in no dictionary, and load_state_dict takes a dictionary",
            hint="save it as torch.save(model.state_dict(), file)",
        )
    findings = findings_on(contents)
    if not contents.entries and not is_lazy:  # nothing to compare: only what is wrong with the file
        brief = findings[0].verdict.brief
        return Report("summary", findings=tuple(findings), headline=f"{Path(file).name} is {brief}")
    model = built(target)
    from torchkit.model.own_loading import own_loading

    return compare_with_file(
        state_keys(model),
        keys_of(contents.entries),
        model=type(model).__name__,
        file=Path(file).name,
        modules=module_paths(model),
        unsaved=unsaved_buffers(model),
        versions=contents.versions,
        origin=Origin(
            file,
            contents.format,
            refused(contents.globals),
            bool(contents.dangerous),
            contents.models,
        ),
        findings=findings,
        tensorless=tensorless_keys(contents),
        ask=lambda given, versions: own_loading(model, given, versions),
    )


class _Run(NamedTuple):
    """What a model's forward showed; `failure` where it raised."""

    layers: Sequence[Layer]
    totals: Mapping[str, Json]
    failure: Finding | None


def _run(question: Question) -> _Run:
    done = propagated(question)
    refuse_wrong_guess(done)
    report = report_of(done.record, question)
    failure = report.findings[0] if done.record.failure is not None else None
    return _Run(layers(done.record), report.totals, failure)
