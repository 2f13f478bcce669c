"""What a class, function or `forward` takes, read without calling it."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def signature_of(model: nn.Module) -> inspect.Signature | None:
    """What `forward` takes, the model behind a wrapper asked; None where it does not say."""
    inner = getattr(model, "_orig_mod", model)  # torch.compile's, since 2.0
    schema = getattr(inner.forward, "schema", None)  # a scripted one's
    if schema is not None:
        return inspect.Signature([_scripted(argument) for argument in schema.arguments[1:]])
    try:
        return inspect.signature(inner.forward)
    except (ValueError, TypeError):
        return None


def _scripted(argument: Any) -> inspect.Parameter:
    has_default = argument.has_default_value()
    return inspect.Parameter(
        argument.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=argument.default_value if has_default else inspect.Parameter.empty,
    )


def needed(signature: inspect.Signature) -> list[inspect.Parameter]:
    """The arguments without a default."""
    return [
        it
        for it in signature.parameters.values()
        if it.default is it.empty and it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD)
    ]


def short(signature: inspect.Signature) -> str:
    """A signature on one line, without the result's type and without quotes around types."""
    text = str(signature.replace(return_annotation=inspect.Signature.empty))
    return re.sub(r"(: )'([^']*)'", r"\1\2", re.sub(r"\s+", " ", text))
