"""Layers as the line of Python that builds them, with some of their settings changed."""

from __future__ import annotations

from collections.abc import Sequence

from torchkit.advice.forward.facts import Layer, Setting

_CONVOLUTION = (
    ("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1), ("groups", 1),
    ("padding_mode", "zeros"),
)  # fmt: skip
_NORM = (("eps", 1e-5), ("momentum", 0.1), ("affine", True), ("track_running_stats", True))
_RECURRENT = (
    ("num_layers", 1), ("nonlinearity", "tanh"), ("bias", True), ("batch_first", False),
    ("dropout", 0.0), ("bidirectional", False), ("proj_size", 0),
)  # fmt: skip

_Named = tuple[tuple[str, Setting], ...]

_ARGUMENTS: dict[str, tuple[tuple[str, ...], _Named]] = {
    "Linear": (("in_features", "out_features"), ()),
    "Bilinear": (("in1_features", "in2_features", "out_features"), ()),
    **{
        f"Conv{kind}{dimensions}d": (("in_channels", "out_channels", "kernel_size"), _CONVOLUTION)
        for kind in ("", "Transpose")
        for dimensions in (1, 2, 3)
    },
    **{f"BatchNorm{it}d": (("num_features",), _NORM) for it in (1, 2, 3)},
    "SyncBatchNorm": (("num_features",), _NORM),
    **{
        f"InstanceNorm{it}d": (
            ("num_features",),
            (("eps", 1e-5), ("momentum", 0.1), ("affine", False), ("track_running_stats", False)),
        )
        for it in (1, 2, 3)
    },
    "LayerNorm": (("normalized_shape",), (("eps", 1e-5), ("elementwise_affine", True))),
    "RMSNorm": (("normalized_shape",), (("eps", None), ("elementwise_affine", True))),
    "GroupNorm": (("num_groups", "num_channels"), (("eps", 1e-5), ("affine", True))),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (("input_size", "hidden_size"), _RECURRENT)),
    **dict.fromkeys(("LSTMCell", "GRUCell"), (("input_size", "hidden_size"), (("bias", True),))),
    "RNNCell": (("input_size", "hidden_size"), (("bias", True), ("nonlinearity", "tanh"))),
    "Embedding": (("num_embeddings", "embedding_dim"), (("padding_idx", None),)),
    "EmbeddingBag": (("num_embeddings", "embedding_dim"), (("mode", "mean"),)),
    "MultiheadAttention": (
        ("embed_dim", "num_heads"),
        (("dropout", 0.0), ("kdim", None), ("vdim", None), ("batch_first", False)),
    ),
    "PReLU": (("num_parameters",), ()),
}
"""Arguments by position, and by keyword with their defaults, as torch.nn has them."""

_ALWAYS_BIAS = ("Linear", "Bilinear", "Conv")


def built_as(layer: Layer, *, kind: str = "", **changes: Setting) -> str:
    """`self.net[1] = nn.Linear(64, 2)`: put at the end of the model's `__init__` it is a cure.

    Of a class that is not torch's own, whose arguments are not known, the change in words.
    """
    kind = kind or next((it for it in layer.kinds if it in _ARGUMENTS), "")
    own = layer.kinds[0] if layer.kinds else ""
    if kind not in _ARGUMENTS or layer.type != own or own not in _ARGUMENTS:
        wanted = " and ".join(f"{name}={value}" for name, value in changes.items())
        return f"build {layer.path or layer.type} with {wanted}"
    return f"{place(layer.path)} = nn.{kind}({', '.join(_arguments(layer, kind, changes))})"


def place(path: str) -> str:
    """Where a layer is, seen from the model: `self.net[1].conv`."""
    text = "self" if path and not path[0].isdigit() else "model"
    for part in path.split(".") if path else []:
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text


def inserted(layer: Layer, *modules: str) -> tuple[str, ...]:
    """The line that puts a module in front of a layer of a Sequential; empty where it is in none."""
    holder, _, last = layer.path.rpartition(".")
    if layer.holder != "Sequential" or not last.isdigit():
        return ()
    return tuple(f"{place(holder)}.insert({last}, {module})" for module in modules)


def _arguments(layer: Layer, kind: str, changes: dict[str, Setting]) -> list[str]:
    positional, named = _ARGUMENTS[kind]
    settings = {**layer.settings, **changes}
    texts = [_value(settings.get(name)) for name in positional]
    if "kernel_size" in positional:
        texts[2] = f"kernel_size={texts[2]}"
    texts += [
        f"{name}={_value(settings[name])}"
        for name, default in named
        if name in settings
        and _plain(settings[name]) != default
        and not (name in ("kdim", "vdim") and settings[name] == settings.get("embed_dim"))
    ]
    has_bias = any(name == "bias" for name, _ in layer.parameters)
    if kind.startswith(_ALWAYS_BIAS) and not has_bias:
        texts.append("bias=False")
    return texts


def _plain(value: Setting) -> Setting:
    """One number for a tuple of equal ones, as people write it."""
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[0]
    return value


def _value(value: Setting) -> str:
    return repr(_plain(value))


def counted(number: int, what: str) -> str:
    """`1 channel`, `3 channels`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(sizes: Sequence[int]) -> str:
    """`8x8`, as people speak of a picture's size."""
    return "x".join(map(str, sizes))
