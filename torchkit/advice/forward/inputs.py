"""What the model is to be given instead: as the option of the command line, or in words."""

from __future__ import annotations

from collections.abc import Sequence

from torchkit.advice.forward.facts import Tensor, Trouble


def input_of(trouble: Trouble, tensor: Tensor, shape: Sequence[int], dtype: str = "") -> str:
    """The fix that gives the model another input; `shape` has the batch, as `tensor` has it.

    Empty where the tensor is none of the model's inputs.
    """
    given = trouble.input_of(tensor)
    if given is None:
        return ""
    dtype = dtype or tensor.dtype
    if not trouble.is_by_option:
        return f"give the model an input of {list(shape)} {dtype}"
    sizes = list(shape[1:] if trouble.has_batch else shape)
    name = f"{given.keyword}=" if given.keyword else ""
    kind = "" if dtype == "float32" else f":{dtype}"
    text = ",".join(map(str, sizes)) if sizes else "scalar"
    return f"--input {name}{text}{kind}"


def only_input(trouble: Trouble) -> Tensor | None:
    """The model's input, where it has one."""
    return trouble.inputs[0].tensor if len(trouble.inputs) == 1 else None
