"""A sequence is longer than the table of positions that a model was built with."""

from __future__ import annotations

from torchkit.advice.forward.arguments import some
from torchkit.advice.forward.facts import Explanation, Given, Table, Trouble
from torchkit.advice.forward.inputs import input_of


def explain(trouble: Trouble) -> Explanation | None:
    """By the sizes: what failed has as many positions as a table in the layer, the input has more."""
    found = _ids(trouble)
    if found is None or found.tensor is None or trouble.layer.is_a("Embedding", "EmbeddingBag"):
        return None
    ids = found.tensor
    length = ids.shape[1]
    sizes = {size for operand in trouble.operands for size in operand.shape}
    sizes -= {1, ids.shape[0]}
    fits = [it for it in trouble.layer.tables if it.rows < length and it.rows in sizes]
    if not fits:
        return None
    table = max(fits, key=lambda it: it.rows)  # smaller ones fit by accident
    return Explanation(
        "positions",
        f"{length} positions, {table.path} has {_count(table)}",
        f"{_told(table)}, and the input is {length} long",
        some(input_of(trouble, ids, (*ids.shape[:1], table.usable, *ids.shape[2:]))),
    )


def _ids(trouble: Trouble) -> Given | None:
    for given in trouble.inputs:
        tensor = given.tensor
        if tensor is not None and tensor.dtype in ("int64", "int32") and len(tensor.shape) == 2:
            return given
    return None


def _count(table: Table) -> str:
    return f"{table.usable}" if table.usable == table.rows else f"{table.rows} rows"


def _told(table: Table) -> str:
    if table.usable == table.rows:
        return f"{table.path} has {table.rows} rows, one for each position"
    return (
        f"{table.path} has {table.rows} rows, and those up to its padding_idx stand for no position: "
        f"{table.usable} are left"
    )
