"""Tensors of different dtypes, or on different devices, meet in one operation."""

from __future__ import annotations

from torchkit.advice.forward.arguments import changed, is_input, some
from torchkit.advice.forward.building import place
from torchkit.advice.forward.code import (
    argument_wrapped,
    method_arguments,
    method_replaced,
    operand_wrapped,
)
from torchkit.advice.forward.facts import Explanation, Tensor, Trouble
from torchkit.advice.forward.inputs import input_of

_CASTS = {"float32": ".float()", "float64": ".double()", "float16": ".half()"}

_MIXES = (
    "Linear", "Bilinear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d",
    "ConvTranspose3d", "LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell", "LayerNorm",
    "GroupNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "MultiheadAttention", "RMSNorm",
    "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
)  # fmt: skip
"""Layers whose input has to be of their weights' dtype."""

_PRODUCTS = ("mm", "bmm", "matmul", "addmm", "baddbmm", "mv", "dot")


def cast(dtype: str) -> str:
    """What turns a tensor into one of this dtype: `.float()`."""
    return _CASTS.get(dtype, f".to(torch.{dtype})")


def explain_dtypes(trouble: Trouble) -> Explanation | None:
    layer, given = trouble.layer, trouble.first
    weights = [it for _, it in layer.parameters if it.is_floating]
    if layer.is_a(*_MIXES) and weights and given is not None:
        met = {it.dtype for it in trouble.operands}
        if given.dtype == weights[0].dtype or len(met) == 1:  # autocast has made them one
            return None
        return _of_layer(trouble, given, weights[0])
    kinds = {it.dtype for it in trouble.operands}
    if trouble.operation in _PRODUCTS and len(kinds) > 1:
        return _of_product(trouble)
    return None


def _of_layer(trouble: Trouble, given: Tensor, weight: Tensor) -> Explanation:
    layer, wanted = trouble.layer, weight.dtype
    option = input_of(trouble, given, given.shape, wanted) if is_input(trouble) else ""
    is_complex = given.dtype.startswith("complex") and not wanted.startswith("complex")
    lines = () if is_complex else changed(trouble, cast(wanted))  # real part or absolute value?
    whole: tuple[str, ...] = ()
    if given.is_floating and not is_complex and not lines and not option and not layer.has_worked:
        whole = (f"{place(layer.path)}.to(torch.{given.dtype})",)
    return Explanation(
        "dtypes-differ",
        f"its weights are {wanted}, it is given {given.dtype}",
        f"{list(given.shape)} is {given.dtype}, the weights are {wanted}; torch converts neither",
        some(option, *lines, *whole),
    )


def _of_product(trouble: Trouble) -> Explanation:
    one, other = trouble.operands[-2:]
    fixes: tuple[str, ...] = ()
    if not trouble.is_library:
        at = 0 if other.role == "parameter" or not one.is_floating else 1
        odd, wanted = (one, other.dtype) if at == 0 else (other, one.dtype)
        lines = [
            operand_wrapped(trouble.code, at, cast(wanted)),
            argument_wrapped(trouble.code, "linear", at, cast(wanted)),
        ]
        option = input_of(trouble, odd, odd.shape, wanted)
        fixes = some(option, *(it or "" for it in lines))
    return Explanation(
        "dtypes-differ",
        f"{trouble.operation} of {one.dtype} and {other.dtype}",
        f"{told(one)} and {told(other)} have to be of one dtype",
        fixes,
    )


def explain_devices(trouble: Trouble) -> Explanation | None:
    tensors = [*trouble.tensors(), *(it for _, it in trouble.layer.parameters), *trouble.operands]
    sized = [it for it in tensors if it.shape]  # a number is taken on every device
    first = {it.device: it for it in reversed(sized)}
    if len(first) < 2:
        return None
    one, other = list(first.values())[:2]
    return Explanation(
        "devices-differ",
        f"tensors on {one.device} and {other.device} meet",
        f"{told(one)} is on {one.device}, {told(other)} on {other.device}",
    )


def explain_no_cuda(trouble: Trouble) -> Explanation | None:
    """The code asks for a GPU by name on a machine that has none."""
    if "cuda" not in trouble.code.lower() or trouble.is_library:
        return None
    if not any(word in trouble.message.lower() for word in ("cuda", "nvidia")):
        return None
    here = ".to(next(self.parameters()).device)"
    line = None
    if ".cuda(" in trouble.code:
        line = method_replaced(trouble.code, ("cuda",), here)
    elif "cuda" in " ".join(method_arguments(trouble.code, ("to",)) or ()):
        line = method_replaced(trouble.code, ("to",), here)
    return Explanation(
        "no-cuda",
        "its code asks for a GPU, and torch can use none here",
        "a device named in forward works on no other machine",
        some(line or ""),
    )


def told(tensor: Tensor) -> str:
    """A tensor with where it comes from: `[1, 8] float32 (output of encoder)`."""
    words = tensor.name or tensor.source
    return f"{list(tensor.shape)} {tensor.dtype}" + (f" ({words})" if words else "")
