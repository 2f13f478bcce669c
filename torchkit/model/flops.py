"""Floating-point operations of one operation of torch, from the shapes of its tensors.

One multiply-add counts as 2, as `torch.utils.flop_counter` does. Counted are products: matrix
multiplication, convolution, attention, recurrent layers; elementwise work and biases are not.
Attention is counted dense, whether it is causal or not; of a sparse matrix the values that it
stores. The table is our own, so that it holds from torch 2.0 on and has what torch's registry
lacks (attention and LSTM on the CPU, mv, dot, sparse and quantised products).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

Shape = Sequence[int]
Arguments = Sequence[Any]
Formula = Callable[[Arguments, Any], int]

_WITHOUT_PRODUCTS = ("aten", "prim", "prims", "profiler", "c10d", "_c10d_functional", "inductor")
"""Namespaces in which an operation without a formula multiplies no matrices."""

_UNKNOWN = frozenset(
    {
        "aten::_flash_attention_forward",  # of nested tensors: lengths are values on the device
        "aten::_efficient_attention_forward",
        "aten::_sparse_sparse_matmul",
        "aten::matmul",  # what follows arrives whole of ragged tensors alone
        "aten::einsum",
        "aten::scaled_dot_product_attention",
        "aten::conv1d",
        "aten::conv2d",
        "aten::conv3d",
    }
)

_KNOWN_ELSEWHERE = frozenset(
    {"torchvision::nms", "torchvision::roi_align", "torchvision::roi_pool", "quantized::add",
     "quantized::mul", "quantized::cat", "quantized::batch_norm2d"}
)  # fmt: skip


def flops_of(name: str, args: Arguments, result: Any) -> int | None:
    """FLOPs of an operation such as `aten::addmm`; 0 for one that multiplies no matrices.

    `args` are what it was given, `result` what it gave: tensors or anything with a `shape`. None where nobody can tell: an operation from elsewhere, ragged tensors.
    """
    formula = _FORMULAS.get(name)
    if formula is None:
        namespace = name.split(":", 1)[0]
        is_plain = namespace in _WITHOUT_PRODUCTS and name not in _UNKNOWN
        return 0 if is_plain or name in _KNOWN_ELSEWHERE else None
    try:
        return int(formula(args, result))
    except Exception:  # noqa: BLE001 - ragged and packed tensors each refuse their shape in their own way
        return None


def foreseen(name: str, args: Arguments) -> tuple[int, int]:
    """FLOPs, and bytes of the result, as far as they are known before an operation is run.

    Known of products, convolutions, attention, and of operations that stretch tensors against
    each other; (0, 0) of all others, whose results are about as large as what they are given.
    """
    try:
        if name in _BACKWARD:
            return flops_of(name, args, None) or 0, 0
        if name in _CONVOLUTIONS:
            outputs = _convolution_shape(args)
            flops = flops_of(name, args, _Shaped(outputs)) or 0
            return flops, prod(outputs) * args[0].element_size()
        if name in _PRODUCTS:
            left, right = args[-2:] if name in _ADDING else args[:2]
            count = prod(_shape(left)) // max(_shape(left)[-1], 1) * _shape(right)[-1]
            return flops_of(name, args, None) or 0, count * left.element_size()
        if name in _ATTENTIONS:
            return flops_of(name, args, None) or 0, 0
        return 0, _stretched(args)
    except Exception:  # noqa: BLE001 - what the operation itself will refuse, in its own words
        return 0, 0


class _Shaped:
    """A result that is not there yet."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def _stretched(args: Sequence[Any]) -> int:
    """Bytes of what broadcasting two tensors makes, where that is more than either of them."""
    if len(args) < 2 or not hasattr(args[0], "shape") or not hasattr(args[1], "shape"):
        return 0
    first, second = tuple(args[0].shape), tuple(args[1].shape)
    if first == second or not first or not second:
        return 0
    length = max(len(first), len(second))
    sizes = list(
        zip(
            (1,) * (length - len(first)) + first,
            (1,) * (length - len(second)) + second,
            strict=True,
        )
    )
    if any(a != b and 1 not in (a, b) for a, b in sizes):
        return 0
    count = prod(0 if 0 in (a, b) else max(a, b) for a, b in sizes)
    return int(count * args[0].element_size())


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)


# --- matrices and vectors, dense and sparse


def _mm(args: Arguments, _: Any) -> int:
    """[m, k] @ [k, n]; of a sparse matrix each stored value meets a row or column of the other."""
    (m, k), n = _shape(args[0]), _shape(args[1])[-1]
    if _is_sparse(args[0]):
        return 2 * _stored(args[0]) * n
    if _is_sparse(args[1]):
        return 2 * _stored(args[1]) * m
    return 2 * m * k * n


def _bmm(args: Arguments, _: Any) -> int:
    (b, m, k), (_, _, n) = _shape(args[0]), _shape(args[1])
    if _is_sparse(args[0]):
        return 2 * _stored(args[0]) * n
    return 2 * b * m * k * n


def _grouped_mm(args: Arguments, _: Any) -> int:
    """Rows in groups, each with its own matrix: [m, k] with [g, k, n], and its other layouts."""
    left, right = list(_shape(args[0])), list(_shape(args[1]))
    if len(left) == len(right) == 3:
        return _bmm(args, _)
    return 2 * left[-2] * left[-1] * right[-1]


def _mv(args: Arguments, _: Any) -> int:
    return 2 * (_stored(args[0]) if _is_sparse(args[0]) else prod(_shape(args[0])))


def _dot(args: Arguments, _: Any) -> int:
    return 2 * prod(_shape(args[0]))


def _addr(args: Arguments, _: Any) -> int:
    return 2 * prod(_shape(args[1])) * prod(_shape(args[2]))


def _adding(formula: Formula) -> Formula:
    """The same product, added to a first argument."""
    return lambda args, result: formula(args[1:], result)


def _linear(args: Arguments, result: Any) -> int:
    """input [..., in], weight [out, in]; a packed weight has no shape, so the output is asked.

    Rows of a ragged tensor may differ in number: its elements are counted, not its shape.
    """
    weight = list(getattr(args[1], "shape", ()))
    outputs = weight[0] if len(weight) == 2 else _shape(result)[-1]
    return 2 * int(args[0].numel()) * int(outputs)


def _linear_by_result(args: Arguments, result: Any) -> int:
    return 2 * int(args[0].numel()) * int(_shape(result)[-1])


def _is_sparse(tensor: Any) -> bool:
    return str(getattr(tensor, "layout", "torch.strided")) not in ("torch.strided", "torch._mkldnn")


def _stored(tensor: Any) -> int:
    values = tensor._values() if str(tensor.layout) == "torch.sparse_coo" else tensor.values()
    return int(values.numel())


_BILINEAR = [[1, 3], [0], [1, 2], [2, 3]]
"""How nn.Bilinear calls `_trilinear`: dimensions that each factor lacks, and those summed over
(https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/Linear.cpp, `bilinear`)."""


def _trilinear(args: Arguments, _: Any) -> int:
    """[n, i], weight [o, i, j], [n, j]: torch sums over i, then over j. Of nn.Bilinear alone."""
    if [list(it) for it in args[3:7]] != _BILINEAR:
        raise ValueError("three factors in another order have no agreed count")
    rows, (o, i, j) = _shape(args[0])[0], _shape(args[1])
    return 2 * rows * o * (i * j + j)


# --- convolutions


def _convolution(args: Arguments, result: Any) -> int:
    """input [n, c, ...], weight [out, c / groups, ...]; transposed: [c, out / groups, ...]."""
    is_transposed = bool(args[6]) if len(args) > 6 else False
    inputs, weight = _shape(args[0]), _shape(args[1])
    return _convolved(inputs, weight, _shape(result), is_transposed=is_transposed)


def _plain_convolution(args: Arguments, result: Any) -> int:
    return _convolved(_shape(args[0]), _shape(args[1]), _shape(result), is_transposed=False)


def _convolved(inputs: Shape, weight: Shape, outputs: Shape, *, is_transposed: bool) -> int:
    """Every weight meets every position: of the output, or of the input when transposed."""
    positions = inputs[2:] if is_transposed else outputs[2:]
    return 2 * inputs[0] * prod(positions) * prod(weight)


def _convolution_backward(args: Arguments, _: Any) -> int:
    """grad_output, input, weight, ..., output_mask: as much again for each gradient asked for."""
    is_transposed, asked = bool(args[7]), args[10]
    inputs, weight, outputs = _shape(args[1]), _shape(args[2]), _shape(args[0])
    one = _convolved(inputs, weight, outputs, is_transposed=is_transposed)
    return one * sum(bool(it) for it in asked[:2])


def _convolution_tbc(args: Arguments, result: Any) -> int:
    """input [t, b, in], weight [k, in, out]."""
    return 2 * prod(_shape(result)[:2]) * prod(_shape(args[1]))


def _convolution_shape(args: Sequence[Any]) -> Shape:
    """Of `aten::convolution`: input, weight, bias, stride, padding, dilation, transposed, ..."""
    inputs, weight = _shape(args[0]), _shape(args[1])
    count = len(inputs) - 2
    stride, padding, dilation = (_each(it, count) for it in args[3:6])
    is_transposed, extra, groups = bool(args[6]), _each(args[7], count), args[8]
    sizes = zip(inputs[2:], weight[2:], stride, padding, dilation, extra, strict=True)
    if is_transposed:
        outputs = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in sizes]
        return [inputs[0], weight[1] * groups, *outputs]
    outputs = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in sizes]
    return [inputs[0], weight[0], *outputs]


def _each(value: Sequence[int], count: int) -> list[int]:
    return list(value) * count if len(value) == 1 else list(value)


def _quantized_convolution(args: Arguments, result: Any) -> int:
    """The weight is packed; it can be asked to unpack itself."""
    return _convolved(
        _shape(args[0]), _shape(args[1].unpack()[0]), _shape(result), is_transposed=False
    )


# --- attention and recurrence


def _attention(args: Arguments, _: Any) -> int:
    """query [b, h, t, d], key [b, h', s, d], value [b, h', s, e]: q k^T, then times v.

    With fewer heads in key and value (grouped queries) each is used several times.
    """
    *outer, t, d = _shape(args[0])
    s, e = _shape(args[1])[-2], _shape(args[2])[-1]
    return 2 * prod(outer) * t * s * (d + e)


def _attention_backward(args: Arguments, _: Any) -> int:
    """grad, query, key, value: q k^T once more, and the gradients of v, weights, q and k."""
    *outer, t, d = _shape(args[1])
    s, e = _shape(args[2])[-2], _shape(args[3])[-1]
    return 2 * prod(outer) * t * s * (3 * d + 2 * e)


def _recurrent(args: Arguments, _: Any) -> int:
    """`mkldnn_rnn_layer`: one layer, one direction. input [t, b, i], w0 [g h, i], w1 [g h, h]."""
    t, b = _shape(args[0])[:2]
    return 2 * t * b * (prod(_shape(args[1])) + prod(_shape(args[2])))


def _recurrent_backward(args: Arguments, _: Any) -> int:
    return 2 * _recurrent(args, _)


def _fused_recurrent(args: Arguments, _: Any) -> int:
    """All layers and directions at once: input [..., i], then the weights, biases among them.

    Every weight matrix meets every step of every sequence.
    """
    steps = prod(_shape(args[0])[:-1])
    return 2 * steps * sum(prod(_shape(it)) for it in args[1] if len(_shape(it)) == 2)


def _quantized_recurrent(gates: int) -> Formula:
    """input [t, b, i], hidden state(s) [layers * directions, b, h], packed weights, ..."""

    def formula(args: Arguments, _: Any) -> int:
        state = args[1][0] if isinstance(args[1], (list, tuple)) else args[1]
        hidden, layers, directions = _shape(state)[-1], int(args[4]), 2 if args[7] else 1
        first = _shape(args[0])[-1] + hidden
        later = (directions * hidden + hidden) * (layers - 1)
        steps = prod(_shape(args[0])[:-1])
        return 2 * steps * gates * hidden * directions * (first + later)

    return formula


_CONVOLUTIONS: dict[str, Formula] = {
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
}

_ADDING: dict[str, Formula] = {
    "aten::addmm": _adding(_mm),
    "aten::_addmm_activation": _adding(_mm),
    "aten::addbmm": _adding(_bmm),
    "aten::baddbmm": _adding(_bmm),
    "aten::_sparse_addmm": _adding(_mm),
}

_PRODUCTS: dict[str, Formula] = {
    "aten::mm": _mm,
    "aten::bmm": _bmm,
    "aten::_sparse_mm": _mm,
    "aten::_scaled_mm": _mm,
    "aten::_int_mm": _mm,
    **_ADDING,
}

_ATTENTIONS: dict[str, Formula] = {
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::_scaled_dot_product_attention_math_for_mps": _attention,
}

_BACKWARD: dict[str, Formula] = {
    "aten::convolution_backward": _convolution_backward,
    "aten::convolution_backward_overrideable": _convolution_backward,
    "aten::mkldnn_rnn_layer_backward": _recurrent_backward,
    "aten::_scaled_dot_product_flash_attention_backward": _attention_backward,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "aten::_scaled_dot_product_efficient_attention_backward": _attention_backward,
    "aten::_scaled_dot_product_cudnn_attention_backward": _attention_backward,
}

_FORMULAS: dict[str, Formula] = {
    **_PRODUCTS,
    **_CONVOLUTIONS,
    **_ATTENTIONS,
    **_BACKWARD,
    "aten::_grouped_mm": _grouped_mm,
    "aten::_scaled_grouped_mm": _grouped_mm,
    "aten::mv": _mv,
    "aten::_trilinear": _trilinear,
    "aten::addmv": _adding(_mv),
    "aten::dot": _dot,
    "aten::vdot": _dot,
    "aten::addr": _addr,
    "aten::linear": _linear,
    "aten::mkldnn_linear": _linear,
    "mkldnn::_linear_pointwise": _linear,
    "aten::_weight_int8pack_mm": _linear_by_result,
    "aten::_weight_int4pack_mm": _linear_by_result,
    "quantized::linear": _linear_by_result,
    "quantized::linear_relu": _linear_by_result,
    "quantized::linear_dynamic": _linear_by_result,
    "quantized::linear_relu_dynamic": _linear_by_result,
    "quantized::linear_dynamic_fp16": _linear_by_result,
    "quantized::conv1d": _quantized_convolution,
    "quantized::conv2d": _quantized_convolution,
    "quantized::conv3d": _quantized_convolution,
    "quantized::conv2d_relu": _quantized_convolution,
    "aten::mkldnn_convolution": _plain_convolution,
    "mkldnn::_convolution_pointwise": _plain_convolution,
    "aten::cudnn_convolution": _plain_convolution,
    "aten::_slow_conv2d_forward": _plain_convolution,
    "aten::conv_tbc": _convolution_tbc,
    "torchvision::deform_conv2d": _plain_convolution,
    "aten::mkldnn_rnn_layer": _recurrent,
    "aten::_cudnn_rnn": _fused_recurrent,
    "aten::miopen_rnn": _fused_recurrent,
    "aten::quantized_lstm": _quantized_recurrent(4),
    "aten::quantized_gru": _quantized_recurrent(3),
}
