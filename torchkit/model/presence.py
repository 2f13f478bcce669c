"""Whether torch is here to run a model with."""

from __future__ import annotations

from torchkit.errors import BadInput


def need_torch() -> None:
    """Raises BadInput, with its reason, where torch cannot be imported."""
    try:
        import torch  # noqa: F401 - whether it can be imported at all
    except (ImportError, OSError, RuntimeError) as error:
        raise BadInput(
            f"this runs the model, and torch cannot be imported: {error}",
            hint="torchkit env says why and what to do; weights files need no torch",
        ) from None
