"""What Python users call: functions that take live objects and return results that print themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchkit.model.inputs import Inputs
    from torchkit.report import Finding, Report


def summary(
    model: Any,
    input_size: Any = None,
    batch_size: int = 1,
    device: str | None = None,
    *,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    train: bool = False,
    depth: int = 3,
    columns: str | Sequence[str] = "",
    optimizer: str = "adam",
    run: bool = False,
) -> Summary:
    """Layers, shapes, parameters, FLOPs and memory of a model; prints nothing.

    As torchsummary, `input_size` is the shape of one input without its batch dimension, or a list
    of such shapes, and a `batch_size` of -1 is one sample; a tensor, or several, is taken as it is, as in `args` and `kwargs`. `device` is
    the model's own unless given. Raises TorchkitError for what cannot be used.
    """
    from torchkit.commands.summary import Question, check_options, report_of
    from torchkit.commands.summary_run import refuse_wrong_guess
    from torchkit.model.guess import guesses
    from torchkit.model.inputs import check, make_inputs
    from torchkit.model.live import device_of, given, names_of, need_count, need_model
    from torchkit.model.propagate import propagate

    model = need_model(model)
    inputs, specs = given(input_size, args, kwargs)
    is_any = isinstance(batch_size, int) and batch_size == -1  # torchsummary's default
    batch_size = 1 if is_any else need_count("batch_size", batch_size)
    question = Question(
        target=type(model).__name__, batch_size=batch_size, depth=need_count("depth", depth),
        columns=names_of(columns),
        train=train, run=run, optimizer=str(optimizer), device=device_of(model, device),
    )  # fmt: skip
    check_options(question)

    def feed(module: Any, where: str) -> Inputs | Iterable[Inputs]:
        found = inputs
        if found is None and not specs:
            return guesses(module, batch_size=batch_size, device=where)
        if found is None:
            found = make_inputs(specs, batch_size=batch_size, device=where)
        check(module, found)
        return found

    done = propagate(model, feed, train=train, run=run, device=question.device)
    refuse_wrong_guess(done)
    return Summary(report_of(done.record, question, guessed=done.inputs.guessed))


def shm_check(
    data: Any = None,
    *,
    sample: str | Sequence[str] = (),
    batch_size: int | None = None,
    workers: int | None = None,
    prefetch: int | None = None,
    pin_memory: bool = False,
    loaders: int = 1,
    ranks: int = 1,
    hold: int = 0,
    strategy: str | None = None,
    need: str | None = None,
) -> ShmCheck:
    """Whether DataLoader workers will run out of shared memory; prints nothing.

    `data` is a DataLoader, or a Dataset with the options that it would be given. Some of its batches
    are made here, without workers; random generators are as before afterwards, while a dataset that
    can be gone through only once loses what was looked at. Else `sample` is the shape of one sample,
    as "3,224,224:uint8", or several of them; without either it is the machine that is looked at.
    The options are those of the command line. Raises TorchkitError for what cannot be used.
    """
    from torchkit.commands.shm_check import run, run_live
    from torchkit.commands.shm_workload import Question, check_options
    from torchkit.system import System

    question = Question(
        target=None if data is None else type(data).__name__,
        samples=(sample,) if isinstance(sample, str) else tuple(sample),
        batch_size=batch_size, workers=workers, prefetch=prefetch, pin_memory=pin_memory,
        loaders=loaders, ranks=ranks, hold=hold, strategy=strategy, need=need,
    )  # fmt: skip
    check_options(question)
    if data is None:
        return ShmCheck(run(question, System()))
    from torchkit.dataset.live import look
    from torchkit.dataset.loading import Wish

    wish = Wish(batch_size, workers, prefetch, pin_memory)
    return ShmCheck(run_live(question, look(data, wish), System()))


def explain(error: str | BaseException, *, no_env: bool = False) -> Result:
    """What an error means, why it happened on this machine, what to do; prints nothing.

    `error` is the text of a log, or an exception. With `no_env` the machine is left out of it.
    Raises TorchkitError for what is neither.
    """
    from torchkit.commands.explain import explained
    from torchkit.errors import TorchkitError
    from torchkit.system import System

    if isinstance(error, BaseException):
        import traceback

        error = "".join(traceback.format_exception(error))
    if not isinstance(error, str):
        raise TorchkitError(
            f"explain takes a text or an exception, this is {type(error).__name__}",
            hint="torchkit.explain(open('train.log').read())",
        )
    return Result(explained(error, None if no_env else System()))


class Result:
    """What a function here gives: printed, it is the text of the command line."""

    def __init__(self, report: Report) -> None:
        self.report = report

    @property
    def totals(self) -> Mapping[str, Any]:
        """Counts and bytes by name, as in JSON."""
        return self.report.totals

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the worst first."""
        return self.report.findings

    def to_dict(self) -> dict[str, Any]:
        """The JSON of the command line."""
        data: dict[str, Any] = self.report.to_dict()
        return data

    def __str__(self) -> str:
        from torchkit.render import Format, Style, render

        style = Style(width=None, colour=False, unicode=True)
        return render(self.report, Format.TEXT, style=style).rstrip("\n")

    def __repr__(self) -> str:
        return str(self)


class Summary(Result):
    """What `torchkit.summary` gives: printed, it is the table."""

    @property
    def layers(self) -> list[Mapping[str, Any]]:
        """A row for each module, as in JSON."""
        return list(self.report.tables[0].rows)


class ShmCheck(Result):
    """What `torchkit.shm_check` gives: `totals["fits"]` is the answer."""
