"""An embedding is given ids that it has no row for, or numbers that are no ids."""

from __future__ import annotations

from torchkit.advice.forward.arguments import changed, is_input, rebuilt, some
from torchkit.advice.forward.building import built_as
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of, only_input


def explain(trouble: Trouble) -> Explanation | None:
    layer, ids = trouble.layer, trouble.first
    if not layer.is_a("Embedding", "EmbeddingBag") or ids is None:
        return None
    if ids.dtype not in ("int64", "int32"):
        return _no_ids(trouble, ids)
    looked_up = next((it for it in trouble.operands if it.highest is not None), ids)
    rows = layer.number("num_embeddings")
    if looked_up.highest is None or looked_up.lowest is None:
        return None
    if looked_up.lowest >= 0 and looked_up.highest < rows:
        return None
    return _out_of_range(trouble, ids, rows, looked_up.lowest, looked_up.highest)


def _no_ids(trouble: Trouble, ids: Tensor) -> Explanation:
    rows = trouble.layer.number("num_embeddings")
    cause = f"{list(ids.shape)} is {ids.dtype}; rows are looked up by int64 or int32"
    if ids.is_floating and not is_input(trouble) and ids.shape[-1:] == (rows,):
        cause += f", and the last dimension has one number for each of its {rows} rows"
        fixes = changed(trouble, ".argmax(-1)")
    else:
        option = input_of(trouble, ids, ids.shape, "int64") if is_input(trouble) else ""
        fixes = some(option) or changed(trouble, ".long()")
    return Explanation("ids-dtype", f"it takes ids, and is given {ids.dtype}", cause, fixes)


def _out_of_range(
    trouble: Trouble, ids: Tensor, rows: int, lowest: int, highest: int
) -> Explanation:
    cause = f"its ids go from {lowest} to {highest}, it has rows for 0 to {rows - 1}"
    if lowest < 0:
        return Explanation("ids-range", f"id {lowest} is negative, rows begin at 0", cause)
    layer = trouble.layer
    larger = rebuilt(layer, built_as(layer, num_embeddings=highest + 1))
    if trouble.is_library:  # a vocabulary that somebody else has chosen
        larger = ()
    length = ids.shape[-1] if ids.shape else 0
    own = only_input(trouble)
    brief = f"id {highest} is out of range, it has {rows} rows"
    if own is not None and not is_input(trouble) and highest + 1 == length in own.shape[1:]:
        at = own.shape.index(length, 1)
        shorter = (*own.shape[:at], rows, *own.shape[at + 1 :])
        return Explanation(
            "ids-range",
            f"{length} positions, it has rows for {rows}",
            f"{cause}; it looks up positions, and the input is {length} long",
            some(input_of(trouble, own, shorter), *larger),
        )
    return Explanation("ids-range", brief, cause, larger)
