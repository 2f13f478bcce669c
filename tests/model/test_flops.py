"""FLOPs of single operations, against counts by hand; torch itself runs none of them here."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from torchkit.model.flops import flops_of, foreseen


class T(NamedTuple):
    """As much of a tensor as a formula asks for; a table of `stored` values is sparse."""

    shape: tuple[int, ...]
    stored: int | None = None

    @property
    def layout(self) -> str:
        return "torch.strided" if self.stored is None else "torch.sparse_csr"

    def values(self) -> T:
        return T((self.stored or 0,))

    def numel(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    def element_size(self) -> int:
        return 4


def t(*shape: int) -> T:
    return T(shape)


CONVOLUTION = (t(2, 4, 10, 10), t(6, 2, 3, 3), None, [2], [1], [1], False, [0], 2)
TRANSPOSED = (t(2, 4, 5, 5), t(4, 3, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 2)


@pytest.mark.parametrize(
    ("name", "args", "result", "flops"),
    [
        ("aten::mm", (t(2, 3), t(3, 5)), t(2, 5), 2 * 2 * 3 * 5),
        ("aten::mm", (T((4, 6), 7), t(6, 5)), t(4, 5), 2 * 7 * 5),
        ("aten::mm", (t(5, 4), T((4, 6), 7)), t(5, 6), 2 * 7 * 5),
        ("aten::addmm", (t(5), t(2, 3), t(3, 5)), t(2, 5), 2 * 2 * 3 * 5),
        ("aten::bmm", (t(4, 2, 3), t(4, 3, 5)), t(4, 2, 5), 2 * 4 * 2 * 3 * 5),
        ("aten::baddbmm", (t(1), t(4, 2, 3), t(4, 3, 5)), t(4, 2, 5), 2 * 4 * 2 * 3 * 5),
        ("aten::mv", (t(6, 5), t(5)), t(6), 2 * 6 * 5),
        ("aten::mv", (T((6, 5), 3), t(5)), t(6), 2 * 3),
        ("aten::dot", (t(6), t(6)), t(), 2 * 6),
        ("aten::linear", (t(2, 3, 4), t(5, 4)), t(2, 3, 5), 2 * 2 * 3 * 4 * 5),
        ("aten::convolution", CONVOLUTION, t(2, 6, 5, 5), 2 * 2 * 5 * 5 * 6 * 2 * 9),
        ("aten::convolution", TRANSPOSED, t(2, 6, 10, 10), 2 * 2 * 5 * 5 * 4 * 3 * 4),
        ("aten::mkldnn_rnn_layer", (t(7, 2, 8), t(64, 8), t(64, 16)), None, 2 * 7 * 2 * 64 * 24),
        ("aten::_cudnn_rnn", (t(7, 2, 8), [t(64, 8), t(64, 16), t(64), t(64)]), None, 2 * 7 * 2 * 64 * 24),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", (t(2, 4, 10, 8), t(2, 4, 12, 8), t(2, 4, 12, 6)), None, 2 * 2 * 4 * 10 * 12 * 14),
        ("aten::_scaled_dot_product_efficient_attention", (t(2, 4, 10, 8), t(2, 2, 12, 8), t(2, 2, 12, 8)), None, 2 * 2 * 4 * 10 * 12 * 16),
        ("aten::_grouped_mm", (t(12, 3), t(4, 3, 5)), t(12, 5), 2 * 12 * 3 * 5),
        ("aten::_trilinear", (t(5, 3), t(7, 3, 4), t(5, 4), [1, 3], [0], [1, 2], [2, 3], 1), t(5, 7), 2 * 5 * 7 * (3 * 4 + 4)),
        ("aten::relu", (t(100),), t(100), 0),
    ],
)  # fmt: skip
def test_products_count_two_for_each_multiply_add(
    name: str, args: Any, result: Any, flops: int
) -> None:
    assert flops_of(name, args, result) == flops


@pytest.mark.parametrize(
    "name", ["flash_attn::_flash_attn_forward", "aten::_trilinear", "aten::einsum"]
)
def test_of_a_product_that_is_not_known_nobody_can_tell(name: str) -> None:
    assert flops_of(name, (t(2, 3),), t(2)) is None


def test_a_tensor_that_refuses_its_shape_is_no_error() -> None:
    assert flops_of("aten::mm", (object(), object()), None) is None


@pytest.mark.parametrize(
    ("args", "made"), [(CONVOLUTION, 4 * 2 * 6 * 5 * 5), (TRANSPOSED, 4 * 2 * 6 * 10 * 10)]
)
def test_a_convolution_is_known_before_it_runs(args: Any, made: int) -> None:
    result = T((2, 6, 5, 5)) if args is CONVOLUTION else T((2, 6, 10, 10))

    assert foreseen("aten::convolution", args) == (
        flops_of("aten::convolution", args, result),
        made,
    )


@pytest.mark.parametrize(
    ("first", "second", "made"),
    [((4, 1), (1, 5), 80), ((4,), (4,), 0), ((4, 5), (5,), 80), ((4, 3), (2, 5), 0), ((0, 1), (1, 5), 0)],
)  # fmt: skip
def test_what_stretching_makes_is_known_before_it_runs(
    first: tuple[int, ...], second: tuple[int, ...], made: int
) -> None:
    assert foreseen("aten::add", (T(first), T(second))) == (0, made)


@pytest.mark.torch
@pytest.mark.parametrize(("stride", "padding", "dilation", "extra"), [(1, 0, 1, 0), (3, 2, 2, 1)])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_the_foreseen_size_of_a_convolution_is_torchs(
    stride: int, padding: int, dilation: int, extra: int, is_transposed: bool
) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.ones(4, 3, 3, 2)
    inputs = torch.ones(2, 4 if is_transposed else 3, 13, 11)
    args = (inputs, weight, None, [stride], [padding], [dilation], is_transposed, [extra], 1)

    truth = torch.ops.aten.convolution(*args)

    assert foreseen("aten::convolution", args)[1] == truth.numel() * 4
