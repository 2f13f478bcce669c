"""What is odd about the operands of a failed operation, and what that says beyond the message.

Pure: from descriptions of tensors to words. A judge is one kind of trouble: it looks at the message
and at the operands, marks the odd one and says the cause with their names and numbers, and gives
what to paste. Where a judge is not certain, it says nothing.
"""

from __future__ import annotations

from torchkit.tracing.judging import Judge, Reason, of_layer
from torchkit.tracing.postmortem import PostMortem
from torchkit.tracing.reasons_kinds import JUDGES as _OF_KINDS
from torchkit.tracing.reasons_layers import JUDGES as _OF_LAYERS
from torchkit.tracing.reasons_shapes import JUDGES as _OF_SHAPES
from torchkit.tracing.reasons_values import JUDGES as _OF_VALUES

_JUDGES: tuple[Judge, ...] = (*_OF_KINDS, *_OF_LAYERS, *_OF_VALUES, *_OF_SHAPES)
"""In this order: a layer knows more than the shapes of its operands."""


def reason(seen: PostMortem) -> Reason:
    """The operands with the odd one marked, and what follows from them."""
    for judge in _JUDGES:
        found = judge(seen)
        if found is not None:
            return found._replace(fix=tuple(dict.fromkeys(it for it in found.fix if it)))
    return of_layer(seen) or Reason(seen.operands)
