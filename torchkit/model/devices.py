"""`--device`: which one is meant, and whether this torch has it."""

from __future__ import annotations

import torch

from torchkit.errors import BadInput


def device_of(text: str) -> torch.device:
    """Raises BadInput, with the reason, for a device that cannot be used here."""
    try:
        device = torch.device(text)
    except RuntimeError:
        raise BadInput(f"{text!r} is no device", hint="--device cpu, cuda, cuda:0 or mps") from None
    if device.type == "cuda":
        _refuse_cuda(device)
    elif device.type == "mps":
        _refuse_mps()
    elif device.type not in ("cpu", "meta"):
        _refuse_unusable(device)
    return device


def _refuse_cuda(device: torch.device) -> None:
    if torch.version.cuda is None and torch.version.hip is None:
        raise BadInput(
            f"--device {device}: torch {torch.__version__} is built for the CPU only",
            hint="--device cpu; `torchkit env` names a build for this machine's GPU",
        )
    if not torch.cuda.is_available():
        raise BadInput(
            f"--device {device}: torch {torch.__version__} finds no GPU that it can use",
            hint="--device cpu; `torchkit env` says why",
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise BadInput(
            f"--device {device}: there {'is' if count == 1 else 'are'} {count},"
            f" the last one is cuda:{count - 1}",
            hint="--device cuda:0",
        )


def _refuse_mps() -> None:
    if not torch.backends.mps.is_built():
        raise BadInput(
            f"--device mps: torch {torch.__version__} is built without it", hint="--device cpu"
        )
    if not torch.backends.mps.is_available():
        raise BadInput("--device mps: this Mac's system or processor has none", hint="--device cpu")


def _refuse_unusable(device: torch.device) -> None:
    try:
        torch.empty(1, device=device)
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
        ImportError,
        AttributeError,
    ) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"--device {device} cannot be used: {text}", hint="--device cpu") from None
