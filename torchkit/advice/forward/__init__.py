"""Why a forward raised, and what makes it run: pure functions of what was recorded.

One file is one kind of trouble. A rule looks at the failing layer, its sizes and what it was
given, or at the failing operation and its operands, not at the words of an exception, which differ
between versions of torch. Where a rule is not certain it gives several cures or none.
"""

from __future__ import annotations

from torchkit.advice.forward import (
    activation,
    attention,
    containers,
    convolution,
    embedding,
    ending,
    image_size,
    kinds,
    linear,
    missing,
    normalisation,
    operands,
    positions,
    recurrent,
    views,
)
from torchkit.advice.forward.facts import Explanation, Trouble

_RULES = (
    ending.explain,
    containers.explain,
    kinds.explain_no_cuda,
    missing.explain,
    embedding.explain,
    linear.explain,
    convolution.explain,
    normalisation.explain,
    recurrent.explain,
    attention.explain,
    activation.explain,
    kinds.explain_devices,
    kinds.explain_dtypes,
    image_size.explain,
    positions.explain,
    views.explain,
    operands.explain,
)


def explained(trouble: Trouble) -> Explanation | None:
    """What the first rule that knows this trouble says; None where none does."""
    for rule in _RULES:
        found = rule(trouble)
        if found is not None:
            return found._replace(fixes=_best(found.fixes))
    return None


def _best(fixes: tuple[str, ...]) -> tuple[str, ...]:
    """Without what is said in words, where something can be pasted."""
    return tuple(it for it in fixes if not it.startswith("call ")) or fixes
