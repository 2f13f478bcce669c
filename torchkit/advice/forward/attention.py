"""An attention layer is given other widths, too few arguments, or the batch in another place."""

from __future__ import annotations

from torchkit.advice.forward.arguments import is_input, rebuilt, some
from torchkit.advice.forward.building import built_as, counted
from torchkit.advice.forward.code import repeated
from torchkit.advice.forward.facts import Explanation, Given, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of

_NAMES = ("query", "key", "value")


def explain(trouble: Trouble) -> Explanation | None:
    layer = trouble.layer
    if layer.is_a("Transformer"):
        return _transformer(trouble)
    if not layer.is_a("MultiheadAttention"):
        return None
    by_name = _by_name(trouble.given)
    missing = [it for it in _NAMES if it not in by_name]
    if missing:
        line = repeated(trouble.code, layer.path, 3) if not trouble.is_library else None
        return Explanation(
            "attention-arguments",
            f"{' and '.join(missing)} missing",
            "it takes query, key and value; for self-attention these are the same tensor",
            some(line or ""),
        )
    query, key, value = (by_name[it] for it in _NAMES)
    width = layer.number("embed_dim")
    if query.shape[-1:] != (width,):
        return _width(trouble, query, width)
    for role, name, tensor in (("key", "kdim", key), ("value", "vdim", value)):
        wanted = layer.number(name) or width
        if tensor.shape[-1:] != (wanted,):
            return Explanation(
                "attention-width",
                f"its {role} has {tensor.shape[-1]} features, it takes {wanted}",
                f"{list(tensor.shape)} ends in {tensor.shape[-1]}; {name} is {wanted}",
                ()
                if _outer(trouble)
                else rebuilt(layer, built_as(layer, kdim=key.shape[-1], vdim=value.shape[-1])),
            )
    return _batch(trouble, query, key) or _mask(trouble, query, key)


def _by_name(given: tuple[Given, ...]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for number, argument in enumerate(given):
        name = argument.keyword or (_NAMES[number] if number < 3 else "")
        if argument.tensor is not None and name in _NAMES:
            found[name] = argument.tensor
    return found


def _width(trouble: Trouble, query: Tensor, width: int) -> Explanation:
    layer, has = trouble.layer, query.shape[-1] if query.shape else 0
    heads = layer.number("num_heads")
    outer = _outer(trouble)
    option = input_of(trouble, query, (*query.shape[:-1], width)) if is_input(trouble) else ""
    fits = bool(heads) and has % heads == 0
    if outer:
        other = f"build {outer} with d_model={has}" if fits else ""
    else:
        other = next(iter(rebuilt(layer, built_as(layer, embed_dim=has, kdim=None, vdim=None))), "")
        other = other if fits else ""
    return Explanation(
        "attention-width",
        f"it takes {counted(width, 'feature')}, and is given {has}",
        f"the last dimension of {list(query.shape)} is {has}, it was built for {width}",
        some(option, other),
    )


def _batch(trouble: Trouble, query: Tensor, key: Tensor) -> Explanation | None:
    layer = trouble.layer
    if len(query.shape) != 3 or len(key.shape) != 3:
        return None
    at = 0 if layer.settings.get("batch_first") else 1
    if query.shape[at] == key.shape[at]:
        return None
    fixes: tuple[str, ...] = ()
    if query.shape[1 - at] == key.shape[1 - at]:
        outer = _outer(trouble)
        text = f"build {outer} with batch_first={at == 1}" if outer else ""
        fixes = rebuilt(layer, text or built_as(layer, batch_first=at == 1))
    return Explanation(
        "attention-batch",
        f"query has a batch of {query.shape[at]}, key one of {key.shape[at]}",
        f"dimension {at} is the batch of {list(query.shape)} and {list(key.shape)}, "
        f"since batch_first is {at == 0}",
        fixes,
    )


def _transformer(trouble: Trouble) -> Explanation | None:
    """Source and target have the batch first, and it was built for the length first."""
    layer = trouble.layer
    shapes = [it.tensor.shape for it in trouble.given if it.tensor is not None][:2]
    if len(shapes) < 2 or any(len(it) != 3 for it in shapes) or layer.settings.get("batch_first"):
        return None
    one, other = shapes
    if one[1] == other[1] or one[0] != other[0] or one[2] != other[2]:
        return None
    return Explanation(
        "attention-batch",
        f"its source has a batch of {one[1]}, its target one of {other[1]}",
        f"dimension 1 is the batch of {list(one)} and {list(other)}, since batch_first is False",
        rebuilt(layer, f"build {layer.path} with batch_first=True" if layer.path else ""),
    )


def _mask(trouble: Trouble, query: Tensor, key: Tensor) -> Explanation | None:
    """A mask fits once the batch is first, and does not as it is."""
    layer = trouble.layer
    if layer.settings.get("batch_first") or len(query.shape) != 3 or len(key.shape) != 3:
        return None
    named = {it.keyword: it.tensor.shape for it in trouble.given if it.tensor is not None}
    padding, mask = named.get("key_padding_mask"), named.get("attn_mask")
    ways = [
        (padding in (None, (batch, length)) and mask in (None, (width, length)))
        for batch, width, length in (
            (query.shape[1], query.shape[0], key.shape[0]),
            (query.shape[0], query.shape[1], key.shape[1]),
        )
    ]
    if ways != [False, True]:
        return None
    found = padding if padding is not None else mask
    outer = _outer(trouble)
    text = f"build {outer} with batch_first=True" if outer else built_as(layer, batch_first=True)
    return Explanation(
        "attention-batch",
        f"its mask of {list(found or ())} is for the batch first, which {list(query.shape)} is not read as",
        f"dimension 0 of {list(query.shape)} is read as the length, since batch_first is False; "
        f"with the batch first, the mask of {list(found or ())} fits",
        rebuilt(layer, text),
    )


def _outer(trouble: Trouble) -> str:
    """The outermost of torch's transformers that it is part of, which is what the user builds."""
    around = reversed(trouble.layer.holders)
    return next((path for path, kind in around if kind.startswith("Transformer") and path), "")
