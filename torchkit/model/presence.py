"""Whether torch is here to run the user's code with."""

from __future__ import annotations

import sys

from torchkit.errors import BadInput


def need_torch() -> None:
    """Raises BadInput, with its reason, where torch cannot be imported.

    Called before the user's folder is on the path, so that nothing in it stands in torch's way.
    """
    try:
        import torch  # noqa: F401 - whether it can be imported at all
    except ModuleNotFoundError as error:
        hint = "torchkit env says why and what to do"
        if error.name == "torch":
            hint = f"install torch for {sys.executable}; torchkit env names the build that fits"
        raise _cannot(error, hint) from None
    except (ImportError, OSError, RuntimeError) as error:
        raise _cannot(error, "torchkit env says why and what to do") from None


def _cannot(error: Exception, hint: str) -> BadInput:
    return BadInput(f"torch cannot be imported: {error}", hint=hint)
