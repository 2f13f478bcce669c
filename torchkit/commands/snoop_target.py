"""`torchkit snoop model.py:Net --input …`: the forward, and with `--backward` the backward, of a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from torchkit.errors import BadInput, TorchkitError
from torchkit.tracing.run import Ended, status_of
from torchkit.tracing.tensors import is_tensor

if TYPE_CHECKING:
    from torchkit.commands.snoop_run import Question


def run_target(name: str, question: Question, watch: AbstractContextManager[Any]) -> Ended:
    """Make the model, feed it, run it once. Raises BadInput for what cannot be fed."""
    from torchkit.model.devices import device_of
    from torchkit.model.presence import need_torch
    from torchkit.model.target import find, make

    need_torch()
    device = device_of(question.device)
    model = make(find(name)).to(device)
    inputs = _inputs(model, question)
    sys.excepthook = sys.__excepthook__  # not that of the command line's parser
    try:
        with watch:
            out = model(*inputs.args, **inputs.kwargs)
            if question.backward:
                _loss_of(out).backward()
    except TorchkitError:
        raise
    except KeyboardInterrupt as error:
        return Ended(130, error)
    except SystemExit as end:
        return Ended(status_of(end.code), handled=end.__context__)
    except BaseException as error:  # noqa: BLE001 - whatever the model raises is what we are here for
        return Ended(1, error)
    return Ended(0)


def _inputs(model: Any, question: Question) -> Any:
    from torchkit.model.first_layers import channels_of
    from torchkit.model.guess import guesses, no_guess
    from torchkit.model.inputs import check, make_inputs, parse

    given: dict[str, Any] = {
        "batch_size": question.batch_size,
        "no_batch": question.no_batch,
        "dtype": question.dtype,
        "device": question.device,
    }
    specs = [parse(text) for text in question.inputs]
    if specs:
        inputs = make_inputs(specs, channels=channels_of(model), **given)
        check(model, inputs)
        return inputs
    found = guesses(model, **given)
    first = next(iter(found), None)
    if first is None:
        raise no_guess(model)
    return first


def _loss_of(out: Any) -> Any:
    """A number to go backward from: the sum of every floating result that has a gradient."""
    parts = [tensor.sum() for tensor in _tensors(out) if tensor.requires_grad]
    if not parts:
        raise BadInput(
            "--backward: nothing that forward gives has a gradient",
            hint="are all parameters frozen, or is the result detached?",
        )
    return sum(parts[1:], parts[0])


def _tensors(value: Any) -> Iterator[Any]:
    if is_tensor(value):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
