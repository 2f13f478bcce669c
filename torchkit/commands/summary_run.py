"""Answers `torchkit summary`: finds the target, feeds it, runs it once, or reads a file.

The only file of `commands/` that leads to torch; `summary.py` turns what comes back into a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchkit.commands.summary import Question, check_options, report_of
from torchkit.commands.summary_options import refuse_idle_options
from torchkit.errors import BadInput
from torchkit.model.presence import need_torch
from torchkit.model.target import find, make, names_a_file, output_to_stderr
from torchkit.report import Report

if TYPE_CHECKING:
    from torchkit.model.inputs import Inputs
    from torchkit.model.propagate import Propagated

ENGINES = ("torchkit", "torchsummary")


def run(question: Question) -> Report:
    """The report on a TARGET or a file. Raises TorchkitError for what cannot be used."""
    check_options(question)
    if question.engine not in ENGINES:
        raise BadInput(
            f"--engine {question.engine!r} is not known", hint=f"choose {' or '.join(ENGINES)}"
        )
    refuse_idle_options(question)
    if question.compare is not None:
        from torchkit.commands.summary_compare import compared

        return compared(question)
    if names_a_file(question.target):
        return _of_file(Path(question.target), question)
    need_torch()
    if question.engine == "torchsummary":
        from torchkit.commands.summary_classic import classic_report

        return classic_report(question)
    done = propagated(question)
    refuse_wrong_guess(done)
    return report_of(done.record, question, title=done.record.type, guessed=done.inputs.guessed)


def _of_file(path: Path, question: Question) -> Report:
    from torchkit.commands.summary_files import file_report

    return file_report(path, question)


def refuse_wrong_guess(done: Propagated) -> None:
    """An input that we made up and that fails says nothing about the model. Raises BadInput.

    Unless its first layers took it, and what failed behind them has nothing to do with the sizes
    that were made up.
    """
    failure = done.record.failure
    if failure is None or failure.doubt or not done.inputs.guessed:
        return
    from torchkit.commands.wrong_guess import fails_all_the_same
    from torchkit.model.guess import OWN_EXAMPLE, no_guess

    if done.inputs.guessed == OWN_EXAMPLE or fails_all_the_same(done.record):
        return

    given = ", ".join(done.inputs.texts)
    raise no_guess(done.model, [f"{given} raises {failure.error}: {failure.message}"])


def built(target: str) -> Any:
    """The model that the target names, not run; large weights have no memory."""
    from torchkit.model.build import build

    with output_to_stderr():
        found = find(target)
        return build(lambda: make(found)).model


def propagated(question: Question) -> Propagated:
    """The target, run once. Raises TorchkitError."""
    from torchkit.model.devices import device_of
    from torchkit.model.inputs import parse
    from torchkit.model.propagate import propagate

    device_of(question.device)
    specs = [parse(text) for text in question.inputs]
    with output_to_stderr():
        found = find(question.target)
        return propagate(
            lambda: make(found),
            lambda model, device: _inputs(model, device, specs, question),
            train=question.train,
            run=question.run,
            device=question.device,
        )


def _inputs(
    model: Any, device: str, specs: Sequence[Any], question: Question
) -> Inputs | Iterable[Inputs]:
    from torchkit.model.first_layers import channels_of
    from torchkit.model.guess import guesses
    from torchkit.model.inputs import check, make_inputs

    given: dict[str, Any] = {
        "batch_size": question.batch_size,
        "no_batch": question.no_batch,
        "dtype": question.dtype,
        "device": device,
    }
    if not specs:
        return guesses(model, **given)
    inputs = make_inputs(specs, channels=channels_of(model), **given)
    check(model, inputs)
    return inputs
