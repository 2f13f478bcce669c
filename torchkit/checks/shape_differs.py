"""A tensor of the checkpoint has another shape than the model's.

## What it looks at
Keys that the model's `state_dict()` and the checkpoint both have (`torchkit summary model.py:Net
--compare checkpoint.pt`), after a renaming where one was found: their shapes.

## Why it matters
`load_state_dict` raises `size mismatch`, and so it does with `strict=False`: that only allows for
keys that are missing or unexpected.

## What to do
Build the model with the sizes of the checkpoint (`num_classes`, `vocab_size`, `width`). Where a
new head is wanted, drop the old one's keys and train it.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok

AREA = "weights"

MOST_TOLD = 3
"""More shapes than these are counted."""


class ShapePair(NamedTuple):
    """A key and its shape in the model and in the file."""

    name: str
    model: tuple[int, ...]
    file: tuple[int, ...]


class DifferingShapes(NamedTuple):
    """Those of `total` keys that both `model`, a class, and `file` have whose shapes differ.

    `error` is what torch raises; `code` is what to paste.
    """

    model: str
    file: str
    pairs: tuple[ShapePair, ...]
    total: int
    error: str
    code: tuple[str, ...] = ()


def judge(differing: DifferingShapes) -> Verdict:
    pairs = differing.pairs
    if not pairs:
        return ok(f"all {differing.total} keys that both have are of one shape")
    told = [
        f"{it.name} is {list(it.model)} in {differing.model} and {list(it.file)} in the file"
        for it in pairs
    ]
    more = len(told) - MOST_TOLD
    words = "; ".join(told if more <= 0 else [*told[:MOST_TOLD], f"and {more} more"])
    evidence = [Evidence(WOULD_FAIL_WITH, differing.error)]
    cause = _cause(pairs)
    if cause:
        evidence.append(Evidence("cause", cause))
    return fail(
        words,
        evidence=evidence,
        fix=["\n".join(differing.code)] if differing.code else [],
        brief=f"{len(pairs)} shapes differ"
        if len(pairs) > 1
        else f"the shape of {pairs[0].name} differs",
    )


def _cause(pairs: Sequence[ShapePair]) -> str:
    """One size that differs and explains all: classes of a head, words of a vocabulary."""
    sizes = {
        tuple((a, b) for a, b in zip(it.model, it.file, strict=True) if a != b)
        for it in pairs
        if len(it.model) == len(it.file)
    }
    if len(sizes) != 1 or any(len(it.model) != len(it.file) for it in pairs):
        return ""
    (changed,) = sizes
    if len(set(changed)) != 1:
        return ""
    where = {
        place
        for it in pairs
        for place, (a, b) in enumerate(zip(it.model, it.file, strict=True))
        if a != b
    }
    ours, theirs = changed[0]
    holders = {it.name.rpartition(".")[0] for it in pairs}
    if where == {0} and len(holders) == 1:
        holder = next(iter(holders)) or "the model"
        return (
            f"the first size of {holder} is {ours} in the model and {theirs} in the file: another "
            "number of classes, words or channels"
        )
    return f"a size that is {ours} in the model is {theirs} in the file, everywhere"
