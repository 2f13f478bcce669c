"""Python that loads a checkpoint, line by line, as a user pastes it."""

from __future__ import annotations

from collections.abc import Sequence

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
_LOADERS |= dict.fromkeys(
    ("state dict", "checkpoint", "tensors", "pickle"),
    'torch.load({file}, map_location="cpu", weights_only=True)',
)
"""By the formats of `torchkit.model.files.Contents`; what torch cannot read has none."""


def subscript(group: str) -> str:
    """`["model"]`, for the part of a checkpoint that is the state dict."""
    return f"[{literal(group)}]" if group else ""


def load_line(path: str, group: str, format: str) -> str:
    """How the file's state dict is read; "" where that is not a line. `format` may be unknown: ""."""
    ending = next((it for it in _FORMATS if path.endswith(it)), "")
    loader = _LOADERS.get(format or _FORMATS.get(ending, ""), "")
    if not loader:
        return ""
    return f"state = {loader.replace('{file}', literal(path))}{subscript(group)}"


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
