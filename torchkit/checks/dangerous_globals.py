"""Unpickling the file would run code.

## What it looks at
The names that a pickle in the file would import, and whether it would call them. They are read out
of the file; nothing is imported, called or built.

Harmless names are those that only make tensors, containers and numbers of what the file gives them.
All others are told: functions that the pickle calls and anything of Python's own library, such as
`posix.system`; and the classes of a model that was saved whole.

## Why it matters
A pickle is a program. `torch.load(file, weights_only=False)`, `pickle.load` and `joblib.load` run
it: whoever made the file decides what happens on this machine. `torch.load` refuses such names by
default since torch 2.6.

A model that was saved whole (`torch.save(model)`) names its own classes. These are not malicious,
but loading it imports and runs their code, and breaks as soon as a class moves.

## What to do
Do not load a file that would call something you do not expect, and get the weights as
`.safetensors` or as a state dict, from someone you trust. Save a model of your own as
`torch.save(model.state_dict(), file)`.

## References
- https://docs.pytorch.org/docs/stable/notes/serialization.html#weights-only
- https://docs.python.org/3/library/pickle.html
"""

from __future__ import annotations

from typing import Protocol

from torchkit.report import Evidence, Verdict, ok, warn

AREA = "file"

MOST_NAMES = 5
"""So many are named in a line; the evidence has all."""

MOST_EVIDENCE = 50


class Pickled(Protocol):
    """What is asked of a file's contents."""

    @property
    def globals(self) -> tuple[str, ...]: ...
    @property
    def dangerous(self) -> tuple[str, ...]: ...
    @property
    def code(self) -> tuple[str, ...]: ...


def judge(contents: Pickled) -> Verdict:
    if contents.dangerous:
        return _would_call(contents.dangerous)
    if contents.code:
        return _needs_code(contents.code)
    if contents.globals:
        return ok("unpickling it makes tensors and containers, and runs nothing else")
    return ok("there is no pickle in it to run anything")


def _would_call(names: tuple[str, ...]) -> Verdict:
    return warn(
        f"unpickling this would run {_listed(names)}",
        evidence=[Evidence("would run", name, "pickle") for name in names[:MOST_EVIDENCE]],
        fix=[
            "load it with torch.load(file, weights_only=True), which refuses these names, or not "
            "at all",
            "get the weights as .safetensors or as a state dict from someone you trust",
        ],
        brief=f"unpickling it would run {_listed(names)}",
    )


def _needs_code(names: tuple[str, ...]) -> Verdict:
    return warn(
        f"unpickling this would import and run the code of {_listed(names)}",
        evidence=[Evidence("needs the code of", name, "pickle") for name in names[:MOST_EVIDENCE]],
        fix=[
            "if the file is yours, save the weights alone: torch.save(model.state_dict(), file)",
            "load it with torch.load(file, weights_only=False) only if you trust who made it",
        ],
        brief=f"loading it needs the code of {_listed(names)}",
    )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(name[:100] for name in names[:MOST_NAMES])
    rest = len(names) - MOST_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown
