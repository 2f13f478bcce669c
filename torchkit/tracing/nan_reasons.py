"""Why an operation makes NaN or Inf, and what is written instead: by its name and its numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torchkit.tracing.tensors import Described


class Why(NamedTuple):
    """The cause in a sentence, and what to write instead. `is_of_inf` says that the Inf it was given
    is to blame, so that the cure is where that was made."""

    cause: str
    fix: tuple[str, ...] = ()
    is_of_inf: bool = False


class Numbers(NamedTuple):
    """What an operation was given: its inputs, and of each the element where the first NaN stands.

    `saved` is what a gradient's node has kept of the forward; `is_singular` whether that holds the
    value where the gradient is not finite, as 0 for sqrt; None where that is not known."""

    inputs: Sequence[Described] = ()
    values: Sequence[float | None] = ()
    result: Described | None = None
    optimizer: str = ""
    eps: float | None = None
    saved: Sequence[Described] = ()
    is_singular: bool | None = None

    @property
    def largest(self) -> float:
        """The greatest magnitude among the finite numbers that are known."""
        known = (end for it in (*self.inputs, *self.saved) for end in (it.low, it.high))
        return max((abs(it) for it in known if it is not None), default=0)

    @property
    def has_inf(self) -> bool:
        """Whether Inf was among the inputs."""
        return any(it.infs for it in self.inputs)

    def known(self, count: int) -> list[float] | None:
        """The elements of the first inputs, where all of them are known."""
        values = list(self.values[:count])
        if len(values) < count or any(it is None for it in values):
            return None
        return [it for it in values if it is not None]


_AWAY_FROM_0 = "x.clamp_min(1e-12)"
_ATTEND = "leave at least one element of each row unmasked"
_SHRINK = (
    "a smaller learning rate, or torch.nn.utils.clip_grad_norm_(parameters, 1.0) before step()"
)

_DOMAIN = {
    "sqrt": Why("the square root of a negative number is NaN", ("torch.sqrt(x.clamp_min(0))",)),
    "rsqrt": Why("1 / sqrt(x) is infinite at 0 and NaN below", ("torch.rsqrt(x.clamp_min(1e-12))",)),
    "log": Why("log is -inf at 0 and NaN below", (f"torch.log({_AWAY_FROM_0}), or F.log_softmax for probabilities",)),
    "log2": Why("log2 is -inf at 0 and NaN below", (f"torch.log2({_AWAY_FROM_0})",)),
    "log10": Why("log10 is -inf at 0 and NaN below", (f"torch.log10({_AWAY_FROM_0})",)),
    "log1p": Why("log1p is -inf at -1 and NaN below", ("torch.log1p(x.clamp_min(-1 + 1e-7))",)),
    "acos": Why("acos is NaN outside of [-1, 1]", ("torch.acos(x.clamp(-1 + 1e-7, 1 - 1e-7))",)),
    "asin": Why("asin is NaN outside of [-1, 1]", ("torch.asin(x.clamp(-1 + 1e-7, 1 - 1e-7))",)),
    "acosh": Why("acosh is NaN below 1", ("torch.acosh(x.clamp_min(1 + 1e-7))",)),
    "atanh": Why("atanh is infinite at 1 and NaN beyond", ("torch.atanh(x.clamp(-1 + 1e-7, 1 - 1e-7))",)),
    "logit": Why("logit is infinite at 0 and 1 and NaN beyond", ("torch.logit(x, eps=1e-6)",)),
    "erfinv": Why("erfinv is infinite at 1 and NaN beyond", ("torch.erfinv(x.clamp(-1 + 1e-7, 1 - 1e-7))",)),
    "reciprocal": Why("1 / 0 is infinite", ("1 / (x + 1e-12)",)),
    "exp": Why("exp overflows above 88.7 in float32 and above 11.1 in float16", ("torch.exp(x - x.max()), or torch.logsumexp for its logarithm",)),
    "expm1": Why("expm1 overflows above 88.7 in float32", ("torch.expm1(x.clamp_max(80))",)),
    "std": Why("the standard deviation of one element is NaN", ("x.std(unbiased=False), or more elements",)),
    "var": Why("the variance of one element is NaN", ("x.var(unbiased=False), or more elements",)),
    "std_mean": Why("the standard deviation of one element is NaN", ("unbiased=False, or more elements",)),
    "var_mean": Why("the variance of one element is NaN", ("unbiased=False, or more elements",)),
    "mean": Why("the mean of nothing is NaN", ("check that the tensor is not empty",)),
    "nll_loss_forward": Why("the mean over no targets at all is NaN: each is ignore_index, or has weight 0", ("loss = F.cross_entropy(x, target, reduction='sum') / (target != ignore_index).sum().clamp_min(1)",)),
    "nll_loss2d_forward": Why("the mean over no targets at all is NaN: each is ignore_index, or has weight 0", ("loss = F.cross_entropy(x, target, reduction='sum') / (target != ignore_index).sum().clamp_min(1)",)),
    "_ctc_loss": Why("a target is longer than its input", ("torch.nn.CTCLoss(zero_infinity=True)",)),
    "fmod": Why("the remainder of a division by 0 is NaN", ("check the divisor for 0",)),
    "remainder": Why("the remainder of a division by 0 is NaN", ("check the divisor for 0",)),
    "renorm": Why("a norm is not finite", ()),
}  # fmt: skip
"""Functions that are not defined, or infinite, for some finite numbers."""

_SOFTMAX = ("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax",
            "_masked_softmax", "_softmax_backward_data")  # fmt: skip
_DIVISIONS = ("div", "true_divide", "divide", "floor_divide")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "matmul", "dot", "mv", "addmv", "convolution",
             "_scaled_mm", "linear", "mkldnn_linear", "_convolution")  # fmt: skip
_SUMS = ("sum", "mean", "cumsum", "logcumsumexp", "logsumexp", "nansum", "_foreach_norm",
         "linalg_vector_norm", "norm", "var", "std")  # fmt: skip
_CASTS = ("_to_copy", "copy", "to")


def why_forward(operation: str, numbers: Numbers) -> Why:
    """Of an operation that is executed where it stands."""
    name = operation.split(".", maxsplit=1)[0].removeprefix("_foreach_").rstrip("_")
    if numbers.optimizer:
        return _in_optimizer(name, numbers)
    makes_inf = numbers.result is not None and not numbers.result.nans
    if name in _CASTS:
        return _cast(numbers)
    if name in _DIVISIONS or name in ("addcdiv",):
        return _division(numbers, makes_inf=makes_inf)
    if name == "mul" and not makes_inf:
        return Why("0 * inf is NaN", is_of_inf=True)
    if name in ("add", "sub", "rsub", "lerp", "addcmul") and not makes_inf:
        what = "inf - inf" if "sub" in name else "inf + -inf"
        return Why(f"{what} is NaN", is_of_inf=True)
    if name == "pow":
        return _power(numbers)
    if name in _SOFTMAX:
        return _softmax(numbers)
    if numbers.has_inf and name in (*_PRODUCTS, *_SUMS):
        what = "0 * inf, or inf - inf," if name in _PRODUCTS else "inf - inf"
        return Why(f"{what} is NaN", is_of_inf=True)
    known = _DOMAIN.get(name)
    if known is not None and not (numbers.has_inf and name in ("exp", "mean", "var", "std")):
        return known
    if numbers.has_inf:
        return Why(f"{name} of Inf is NaN", is_of_inf=True)
    if makes_inf:
        return _overflow(name, numbers)
    return Why(f"{name} of these numbers is NaN")


def _division(numbers: Numbers, *, makes_inf: bool) -> Why:
    if makes_inf and _is_never_0(numbers.inputs[1:2]):
        return _overflow("the division", numbers)
    if makes_inf:
        return Why("a division by 0 is infinite", ("x / (y + 1e-12), or y.clamp_min(1e-12) below",))
    two = numbers.known(2)
    if two is not None and not any(map(math.isfinite, two)):
        return Why("inf / inf is NaN", is_of_inf=True)
    if two == [0, 0] or not numbers.has_inf:
        return Why(
            "0 / 0 is NaN",
            ("x / (y + 1e-12), or x / y.clamp_min(1e-12) where y is no less than 0",),
        )
    return Why("0 / 0 and inf / inf are NaN", ("x / (y + 1e-12)",), is_of_inf=True)


def _is_never_0(divisor: Sequence[Described]) -> bool:
    return any(
        it.low is not None and it.high is not None and it.low * it.high > 0 for it in divisor
    )


def _power(numbers: Numbers) -> Why:
    first = next(iter(numbers.values), None)
    if first is not None and first < 0 and math.isfinite(first):
        return Why(
            "a negative number to a fractional power is NaN",
            ("x.clamp_min(1e-12) ** p, or x.sign() * x.abs() ** p",),
        )
    if first == 0:
        return Why("0 to a negative power is infinite", ("(x + 1e-12) ** p",))
    if numbers.has_inf:
        return Why("a power of Inf", is_of_inf=True)
    if numbers.result is not None and not numbers.result.nans:
        return _overflow("the power", numbers)
    return Why(
        "a negative number to a fractional power is NaN, and 0 to a negative one infinite",
        ("x.clamp_min(1e-12) ** p",),
    )


def _softmax(numbers: Numbers) -> Why:
    given = next(iter(numbers.inputs), None)
    first = next(iter(numbers.values), None)
    if first == math.inf:
        return Why("softmax of a row with +inf is NaN", is_of_inf=True)
    if given is not None and given.infs and (first is None or first == -math.inf):
        return Why("every element of a row is -inf: nothing is left to attend to", (_ATTEND,))
    return Why("softmax of a row with +inf, or with nothing but -inf, is NaN", (_ATTEND,))


def _cast(numbers: Numbers) -> Why:
    dtype = numbers.result.dtype if numbers.result is not None else "float16"
    ends = _ENDS.get(dtype)
    reach = f": {dtype} ends at {ends}" if ends else ""
    fix = "bfloat16 in place of float16, or smaller values" if dtype == "float16" else (
        "divide by the tensor's own scale first: x / x.abs().max() * torch.finfo(dtype).max"
    )  # fmt: skip
    return Why(f"a value is too large for the other dtype{reach}", (fix,))


_ENDS = {
    "float16": "65504", "float8_e4m3fn": "448", "float8_e5m2": "57344", "float8_e4m3fnuz": "240",
    "float8_e5m2fnuz": "57344", "float32": "3.4e38", "bfloat16": "3.4e38",
}  # fmt: skip
"""The largest number of each dtype, by torch.finfo."""


def _overflow(name: str, numbers: Numbers) -> Why:
    dtype = numbers.result.dtype if numbers.result is not None else "float32"
    if dtype == "float16":
        return Why(
            f"{name} goes beyond float16, which ends at 65504",
            ("bfloat16 in place of float16, or x.float() before",),
        )
    grown = f": {_grown(numbers)}" if numbers.largest > 1e6 else ""
    return Why(f"{name} goes beyond {dtype}{grown}", (_SHRINK,))


def _grown(numbers: Numbers) -> str:
    return f"the numbers have grown to {numbers.largest:.1g}"


def _in_optimizer(name: str, numbers: Numbers) -> Why:
    if numbers.eps == 0 and name in ("addcdiv", "div"):
        return Why(
            f"{numbers.optimizer} divides 0 by 0: a gradient has always been 0, and its eps is 0",
            (f"torch.optim.{numbers.optimizer}(parameters, eps=1e-8)",),
        )
    if numbers.has_inf:
        return Why(f"the gradient that {numbers.optimizer} was given is not finite", is_of_inf=True)
    return Why(f"the step of {numbers.optimizer} goes beyond {_dtype(numbers)}", (_SHRINK,))


def _dtype(numbers: Numbers) -> str:
    return numbers.result.dtype if numbers.result is not None else "float32"


# --- of a gradient


_INFINITE = {
    "Sqrt": Why("the gradient of sqrt at 0 is infinite", ("torch.sqrt(x + 1e-12), or torch.linalg.vector_norm(difference, dim=-1) for a distance",)),
    "Rsqrt": Why("the gradient of 1 / sqrt(x) at 0 is infinite", ("torch.rsqrt(x + 1e-12)",)),
    "Log": Why("the gradient of log at 0 is infinite", (f"torch.log({_AWAY_FROM_0})",)),
    "Log2": Why("the gradient of log2 at 0 is infinite", (f"torch.log2({_AWAY_FROM_0})",)),
    "Log10": Why("the gradient of log10 at 0 is infinite", (f"torch.log10({_AWAY_FROM_0})",)),
    "Log1P": Why("the gradient of log1p at -1 is infinite", ("torch.log1p(x.clamp_min(-1 + 1e-7))",)),
    "Div": Why("the gradient of a division by 0 is infinite", ("x / (y + 1e-12)",)),
    "Reciprocal": Why("the gradient of 1 / x at 0 is infinite", ("1 / (x + 1e-12)",)),
    "Pow": Why("the gradient of x ** p at 0 is infinite for p < 1", ("(x + 1e-12) ** p",)),
    "Acos": Why("the gradient of acos at 1 and -1 is infinite", ("torch.acos(x.clamp(-1 + 1e-6, 1 - 1e-6))",)),
    "Asin": Why("the gradient of asin at 1 and -1 is infinite", ("torch.asin(x.clamp(-1 + 1e-6, 1 - 1e-6))",)),
    "Atanh": Why("the gradient of atanh at 1 and -1 is infinite", ("torch.atanh(x.clamp(-1 + 1e-6, 1 - 1e-6))",)),
    "Norm": Why("the gradient of a norm at 0 is 0 / 0", ("torch.sqrt((x ** 2).sum(-1) + 1e-12)",)),
    "LinalgVectorNorm": Why("the gradient of this norm at 0 is not defined", ("torch.sqrt((x ** 2).sum(-1) + 1e-12)",)),
    "Std": Why("the gradient of std is 0 / 0 where all elements are equal", ("torch.sqrt(x.var() + 1e-12)",)),
    "Exp": Why("exp has overflowed in the forward", ("torch.exp(x - x.max()), or torch.logsumexp for its logarithm",)),
    "Atan2": Why("the gradient of atan2 at (0, 0) is 0 / 0", ("torch.atan2(y, x + 1e-12)",)),
    "Prod": Why("the gradient of a product with 0 divides by it", ("torch.exp(torch.log(x + 1e-12).sum())",)),
    "LinalgSvd": Why("the gradient of svd is infinite where singular values are equal or 0", ("torch.linalg.svdvals(x), whose gradient needs no differences",)),
    "LinalgEigh": Why("the gradient of eigh is infinite where eigenvalues are equal", ("torch.linalg.eigvalsh(x), whose gradient needs no differences",)),
    "BinaryCrossEntropy": Why("the logarithm of a probability of exactly 0 or 1", ("F.binary_cross_entropy_with_logits, without the sigmoid before",)),
    "Logsumexp": Why("logsumexp of nothing but -inf: its gradient is exp(-inf - -inf)", (_ATTEND,)),
    "LogSoftmax": Why("softmax of a row with +inf, or with nothing but -inf", (_ATTEND,)),
    "Softmax": Why("softmax of a row with +inf, or with nothing but -inf", (_ATTEND,)),
}  # fmt: skip

_BRANCH = (
    "where torch.where takes the other branch its gradient is 0: make the input safe before, "
    "not only the result, as in torch.log(torch.where(ok, x, 1))"
)


def why_backward(node: str, numbers: Numbers) -> Why:
    """Of the gradient of an operation; `node` is `SqrtBackward`."""
    name = node.removesuffix("Backward")
    known = _INFINITE.get(name)
    if not (numbers.has_inf or numbers.is_singular or name in _SATURATING):
        if numbers.largest > _DIVERGED:
            return Why(_grown(numbers), (_SHRINK,))
        if numbers.is_singular is False:
            beyond = _overflow(f"the gradient of {name.lower()}", numbers)
            if known is not None and name != "Pow" and numbers.largest <= 1e6:
                return beyond._replace(fix=known.fix)
            return beyond
    if known is None or numbers.is_singular is False:
        if numbers.has_inf:
            what = "0 * inf is NaN" if name in ("Mul", "Mm", "Addmm", "Bmm", "Pow") else ""
            return Why(what or f"the gradient of {name} of Inf is NaN", is_of_inf=True)
        return Why(f"the gradient of {name} is not finite here")
    makes_nan = numbers.result is not None and bool(numbers.result.nans)
    if makes_nan and 0 in numbers.values and name in _TIMES_0:
        cause = known.cause.removesuffix(" is infinite")
        return Why(f"{known.cause}, and 0 times that is NaN" if cause != known.cause else known.cause, (*known.fix, _BRANCH))  # fmt: skip
    if not makes_nan and known.cause.endswith("is infinite"):
        return Why(f"{known.cause}, and 0 * inf is NaN", known.fix)
    return known


_DIVERGED = 1e30
"""Numbers that have grown so far overflow at the next product: training has diverged."""

_SATURATING = ("Exp", "Logsumexp", "LogSoftmax", "Softmax")
"""What these keep is huge, or masked with the least number, without training having diverged."""

_TIMES_0 = ("Sqrt", "Log", "Log2", "Log10", "Log1P", "Div", "Reciprocal", "Pow", "Acos", "Asin",
            "Atanh", "Rsqrt")  # fmt: skip


def why(operation: str, node: str, numbers: Numbers, *, is_gradient: bool) -> Why:
    """The cause and cure of an operation that made NaN or Inf."""
    if node and is_gradient:
        return why_backward(node, numbers)
    return why_forward(operation, numbers)
