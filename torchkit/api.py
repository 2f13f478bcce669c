"""What Python users call: functions that take live objects and return results that print themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchkit.model.inputs import Inputs
    from torchkit.report import Report


def summary(
    model: Any,
    input_size: Sequence[Any] | None = None,
    batch_size: int = 1,
    device: str | None = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    train: bool = False,
    depth: int = 3,
    columns: str = "",
    optimizer: str = "adam",
    run: bool = False,
) -> Summary:
    """Layers, shapes, parameters, FLOPs and memory of a model; prints nothing.

    As torchsummary, `input_size` is the shape of one input without its batch dimension, or a list
    of such shapes; or give tensors in `args` and `kwargs`. `device` is the model's own unless
    given. Raises TorchkitError for what cannot be used.
    """
    from torchkit.commands.summary import Question, check_options, report_of
    from torchkit.commands.summary_run import refuse_wrong_guess
    from torchkit.model.guess import guesses
    from torchkit.model.inputs import Inputs, Spec, check, make_inputs
    from torchkit.model.propagate import propagate

    question = Question(
        target=type(model).__name__, batch_size=batch_size, depth=depth, columns=columns,
        train=train, run=run, optimizer=optimizer, device=device or device_of(model),
    )  # fmt: skip
    check_options(question)
    specs = [Spec(None, tuple(shape), None, None) for shape in _shapes(input_size)]

    def feed(module: Any, where: str) -> Inputs | Iterable[Inputs]:
        if args is not None or kwargs is not None:
            inputs = Inputs(tuple(args or ()), dict(kwargs or {}), ())
        elif specs:
            inputs = make_inputs(specs, batch_size=batch_size, device=where)
        else:
            return guesses(module, batch_size=batch_size, device=where)
        check(module, inputs)
        return inputs

    done = propagate(model, feed, train=train, run=run, device=question.device)
    refuse_wrong_guess(done)
    return Summary(report_of(done.record, question))


def _shapes(input_size: Sequence[Any] | None) -> Iterator[Sequence[int]]:
    """`(1, 28, 28)` is one shape, `[(1, 28, 28), (10,)]` are two."""
    if input_size is None:
        return
    if all(isinstance(size, int) for size in input_size):
        yield list(input_size)
    else:
        yield from input_size


def device_of(model: Any) -> str:
    """Where the model's first parameter lies: `cpu`, `cuda:0`; a meta model is run on the CPU."""
    first = next(iter(model.parameters()), None)
    device = "cpu" if first is None else str(first.device)
    return "cpu" if device == "meta" else device


class Summary:
    """What `torchkit.summary` gives: printed, it is the table."""

    def __init__(self, report: Report) -> None:
        self.report = report

    @property
    def totals(self) -> Mapping[str, Any]:
        """Counts and bytes by name, as in JSON."""
        return self.report.totals

    @property
    def layers(self) -> list[Mapping[str, Any]]:
        """A row for each module, as in JSON."""
        return list(self.report.tables[0].rows)

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
