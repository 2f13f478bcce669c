"""Python that loads a checkpoint, line by line, as a user pastes it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from torchkit.model.renaming import literal

MOST_DROPPED = 12
"""More keys than these are dropped by a rule and not by name."""

_FORMATS = {
    ".safetensors": "safetensors", ".pt": "state dict", ".pth": "state dict", ".bin": "state dict",
    ".ckpt": "state dict", ".tar": "state dict",
}  # fmt: skip
"""What a file usually holds that ends so."""

_LOADERS = {
    "safetensors": "safetensors.torch.load_file({file})",
    "pickled model": 'torch.load({file}, map_location="cpu", weights_only=False).state_dict()'
    "  # runs the code in it",
    "TorchScript": 'torch.jit.load({file}, map_location="cpu").state_dict()',
    "pt2": "torch.export.load({file}).state_dict",
}
_PICKLED = ("state dict", "checkpoint", "tensors", "pickle")
"""By the formats of `torchkit.model.files.Contents`; what torch cannot read has none."""

MOST_NAMED = 3
"""So many of the names that are refused stand in a comment."""


class Origin(NamedTuple):
    """A file, and how its state dict is got from it.

    `format` is that of `torchkit.model.files.Contents`, "" where it is not known. `refused` are the
    names in its pickle that torch.load with weights_only=True would not take; `is_dangerous` where
    one of these would run something. `models` are the groups that are pickled modules.
    """

    path: str
    format: str = ""
    refused: Sequence[str] = ()
    is_dangerous: bool = False
    models: Collection[str] = ()


def subscript(keys: Sequence[str | int]) -> str:
    """`["model"]`, for the part of a checkpoint that is the state dict."""
    return "".join(f"[{literal(key) if isinstance(key, str) else key}]" for key in keys)


def load_line(origin: Origin, group: str, keys: Sequence[str | int]) -> str:
    """How the file's state dict is read; "" where that is not a line, or no advice to give."""
    ending = next((it for it in _FORMATS if origin.path.endswith(it)), "")
    format = origin.format or _FORMATS.get(ending, "")
    is_model = group in origin.models and format in _PICKLED
    if origin.is_dangerous:
        return "state = ...  # from a copy that you trust: unpickling this one would run code"
    if format in _PICKLED:
        safe = not (is_model or origin.refused)
        loader = f'torch.load({{file}}, map_location="cpu", weights_only={safe})'
    else:
        loader = _LOADERS.get(format, "")
    if not loader:
        return ""
    line = f"state = {loader.replace('{file}', literal(origin.path))}{subscript(keys)}"
    if is_model:
        return f"{line}.state_dict()  # runs the code in it"
    if origin.refused and format in _PICKLED:
        return f"{line}  # weights_only=True refuses {_listed(origin.refused)}"
    return line


def _listed(names: Sequence[str]) -> str:
    """The names for a comment: they are the file's, and must not end it."""
    plain = [re.sub(r"[^\w.]", "?", name)[:60] for name in names]
    more = f" and {len(plain) - MOST_NAMED} more" if len(plain) > MOST_NAMED else ""
    return ", ".join(plain[:MOST_NAMED]) + more


def drop_lines(names: Sequence[str]) -> list[str]:
    """Lines that take these keys out of `state`; of many, by the rule that the others fit."""
    if not names:
        return []
    if len(names) == 1:
        return [f"state.pop({literal(names[0])})"]
    if len(names) <= MOST_DROPPED:
        return [f"for k in [{', '.join(map(literal, names))}]: state.pop(k)"]
    return [
        "own = model.state_dict()",
        "state = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}",
    ]
