"""What a model of transformers or timm takes, by the configuration that it carries."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from torchkit.model.first_layers import LENGTH, Shape

SAMPLES = 16000
"""Of a sound, one second of what speech models are trained on."""


class Configured(NamedTuple):
    """Inputs by keyword, and how they were come to."""

    shapes: tuple[tuple[str, Shape], ...]
    how: str


def configured(model: nn.Module, accepted: set[str]) -> Configured | None:
    """What a transformers model takes, by its configuration."""
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "model_type"):
        return None
    main = str(getattr(model, "main_input_name", "input_ids"))
    text, vision = (getattr(config, name, config) for name in ("text_config", "vision_config"))
    length = _whole(text, "max_position_embeddings", "n_positions") or LENGTH
    ids = Shape((min(LENGTH, length),), is_integer=True)
    shapes: list[tuple[str, Shape]] = []
    if main == "pixel_values" or ("pixel_values" in accepted and vision is not config):
        shapes.append(("pixel_values", Shape(_pixels(vision))))
    if main == "input_features":
        bins = _whole(config, "num_mel_bins") or 80
        frames = 2 * (_whole(config, "max_source_positions") or 1500)
        shapes.append(("input_features", Shape((bins, frames))))
    if main == "input_values":
        shapes.append(("input_values", Shape((SAMPLES,))))
    if "input_ids" in accepted and (main == "input_ids" or text is not config):
        shapes.append(("input_ids", ids))
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in accepted:
        shapes.append(("decoder_input_ids", ids))
    shapes = [it for it in shapes if it[0] in accepted]
    if not shapes:
        return None
    return Configured(
        tuple(shapes),
        f"{', '.join(it[0] for it in shapes)}, by the {config.model_type} configuration",
    )


def _pixels(config: Any) -> tuple[int, ...]:
    channels = _whole(config, "num_channels") or 3
    size = getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return channels, int(height), int(width)


def _whole(config: Any, *names: str) -> int | None:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def picture_config(model: nn.Module) -> tuple[int, ...] | None:
    """timm's `default_cfg["input_size"]`."""
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        size = (
            config.get("input_size")
            if isinstance(config, dict)
            else getattr(config, "input_size", None)
        )
        if isinstance(size, (tuple, list)) and size and all(isinstance(it, int) for it in size):
            return tuple(size)
    return None
