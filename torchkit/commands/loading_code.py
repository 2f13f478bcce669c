"""Python that loads a checkpoint, line by line, as a user pastes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torchkit.model.renaming import literal

MOST_DROPPED = 12
"""More keys than these are dropped by a rule and not by name."""

_TORCH_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".tar")


def subscript(group: str) -> str:
    return "".join(f"[{literal(part)}]" for part in group.split(".") if part)


def load_line(file: str, group: str) -> str:
    """How the file's state dict is read; "" where that is not a line."""
    if file.endswith(".safetensors"):
        return f"state = safetensors.torch.load_file({literal(file)})"
    if Path(file).suffix in _TORCH_ENDINGS:
        return (
            f'state = torch.load({literal(file)}, map_location="cpu", weights_only=True)'
            f"{subscript(group)}"
        )
    return ""


def drop_lines(names: Sequence[str]) -> list[str]:
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
