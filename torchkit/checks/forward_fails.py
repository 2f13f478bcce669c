"""The model's forward raises an exception.

## What it looks at
The exception of one forward: which module raised it, what it was built for, the tensors it was
given and where these come from. The words of the exception are shown, and not relied on.

## Why it matters
PyTorch names shapes, and not which layer nor which tensors they belong to.

## What to do
Make the layer fit what comes before it, or give the model the input it was built for. Each fix that
is shown is a cure of its own: a line in place of the one that failed, a line for the end of the
model's `__init__`, or an option. Where several are shown, which one is right is for you to say.
A warning, and no failure, is what a model too large to be computed met on shapes alone, where that
may be the simulation's fault: torch has no rule for the shapes of some operations.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torchkit.report import Evidence, Verdict, fail, warn

if TYPE_CHECKING:  # every check is loaded at every `torchkit env`, and few forwards fail
    from torchkit.advice.forward.facts import Given, Trouble

AREA = "model"

MOST_OPERANDS = 4


class FailedForward(NamedTuple):
    """The trouble, where in the user's code it was met, and the exceptions behind it.

    `doubt`: why it is no proof that the model is broken; `weights` is what these take, in words.
    """

    trouble: Trouble
    place: str = ""
    causes: tuple[tuple[str, str], ...] = ()
    doubt: str = ""
    weights: str = ""


def judge(failed: FailedForward) -> Verdict:
    from torchkit.advice.forward import explained

    trouble = failed.trouble
    layer = trouble.layer
    found = None if failed.doubt else explained(trouble)
    where = f"{layer.path} ({layer.type})" if layer.path else trouble.model
    raised = f"raises {_told(trouble.error, trouble.message)}"
    evidence = []
    if failed.place:
        evidence.append(Evidence("at", trouble.code or failed.place, failed.place))
    evidence += [Evidence("raised from", _told(*cause)) for cause in failed.causes]
    if trouble.given:
        evidence.append(Evidence("given", ", ".join(map(_given, trouble.given))))
    if layer.parameters:
        held = ", ".join(f"{name} {tensor}" for name, tensor in layer.parameters)
        evidence.append(Evidence("has", held))
    if trouble.operands and not (found and layer.kinds):
        operands = [str(it) for it in trouble.operands[:MOST_OPERANDS]]
        evidence.append(Evidence(f"torch.{trouble.operation}", " and ".join(operands)))
    if failed.doubt:
        evidence.append(Evidence("no proof", failed.doubt))
        return warn(
            f"{where} cannot be followed on shapes alone, which is not confirmed: it {raised}",
            evidence=evidence,
            fix=[f"--run builds the model in memory, {failed.weights}, and runs it"],
            brief=f"{where} cannot be followed on shapes alone",
        )
    if found is not None and found.cause:
        evidence.append(Evidence("cause", found.cause))
    return fail(
        f"{where} {raised}",
        evidence=evidence,
        fix=found.fixes if found is not None else (),
        brief=f"{where} fails: {found.brief}" if found is not None else f"{where} {raised}",
    )


def _told(error: str, message: str) -> str:
    words = " ".join(message.split())
    return f"{error}: {words}" if words else f"{error}, which has no message"


def _given(given: Given) -> str:
    name = f"{given.keyword}=" if given.keyword else ""
    if given.tensor is not None:
        source = f" ({given.tensor.source})" if given.tensor.source else ""
        return f"{name}{given.tensor}{source}"
    parts = ", ".join(str(tensor) for _, tensor in given.parts)
    return f"{name}{given.type}({parts})" if parts else f"{name}{given.type}"
