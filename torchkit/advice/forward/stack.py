"""How large a picture has to be for the layers that come behind one, where that can be told."""

from __future__ import annotations

import re

from torchkit.advice.forward.facts import Later, Layer

MOST = 512
"""So much larger than the least sizes are tried."""

_SHRINKS = re.compile(r"^(Conv|MaxPool|AvgPool)([123])d$")
_OTHER = re.compile(r"^(?!Adaptive).*(Conv|Pool|Linear|Upsample|Unfold|Pad)")

Step = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Kernel, stride, padding and dilation."""


def least_for_all(layer: Layer, code: str, least: tuple[int, ...]) -> tuple[int, ...] | None:
    """The least sizes, from `least` on, that a layer and all that is behind it take.

    None where what is behind cannot be told: outside of its Sequential nothing says the order.
    """
    its_own = 0 if layer.kinds else 1
    if _without_call(code, layer.path).count("pool") > its_own:
        return None
    holder = layer.path.rpartition(".")[0]
    inside = [
        it
        for it in layer.later
        if layer.holder == "Sequential" and it.path.rpartition(".")[0] == holder
    ]
    if any(_OTHER.match(it.type) for it in layer.later if it not in inside):
        return None
    if not inside:
        return least
    steps: list[Step] = []
    own = _step_of(layer)
    for it in inside:
        if it.type.startswith("Adaptive"):
            break
        step = _step(it)
        if step is not None:
            steps.append(step)
        elif _OTHER.match(it.type):
            return None
    if own is None:
        return None
    for more in range(MOST):
        sizes = tuple(size + more for size in least)
        if _passes(sizes, [own, *steps]):
            return sizes
    return None


def _without_call(code: str, path: str) -> str:
    last = path.rpartition(".")[2]
    return code.replace(f".{last}(", "(") if last else code


def _passes(sizes: tuple[int, ...], steps: list[Step]) -> bool:
    for kernel, stride, padding, dilation in steps:
        sizes = tuple(
            (size + 2 * _at(padding, at) - _at(dilation, at) * (_at(kernel, at) - 1) - 1)
            // _at(stride, at)
            + 1
            for at, size in enumerate(sizes)
        )
        if min(sizes) < 1:
            return False
    return True


def _at(sizes: tuple[int, ...], at: int) -> int:
    return sizes[at] if at < len(sizes) else sizes[0]


def _step_of(layer: Layer) -> Step | None:
    kernel = layer.sizes("kernel_size")
    if not kernel or layer.settings.get("ceil_mode"):
        return None
    stride = layer.sizes("stride") or kernel
    return kernel, stride, layer.sizes("padding") or (0,), layer.sizes("dilation") or (1,)


def _step(later: Later) -> Step | None:
    """As torch says it in `extra_repr`, where what is not said has its default."""
    if not _SHRINKS.match(later.type) or "ceil_mode=True" in later.text:
        return None
    if re.search(r"padding=[a-z']", later.text):
        return None
    kernel = _sizes(later.text, "kernel_size")
    stride = _sizes(later.text, "stride") or ((1,) if later.type.startswith("Conv") else kernel)
    if not kernel or not stride or 0 in stride:
        return None
    padding, dilation = _sizes(later.text, "padding"), _sizes(later.text, "dilation")
    return kernel, stride, padding or (0,), dilation or (1,)


def _sizes(text: str, name: str) -> tuple[int, ...]:
    found = re.search(rf"\b{name}=\(?([\d, ]+)", text)
    return tuple(int(it) for it in re.findall(r"\d+", found[1])) if found else ()
