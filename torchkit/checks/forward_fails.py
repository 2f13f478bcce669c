"""The model's forward raises an exception.

## What it looks at
The exception of one forward: which module raised it, the shapes of its parameters, and the tensors
it was given.

## Why it matters
PyTorch names shapes, and not which layer nor which tensors they belong to.

## What to do
Make the layer fit what comes before it, or give the model the input it was built for.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail

AREA = "model"


class FailedForward(NamedTuple):
    """What is known of it. `module` is its path, "" for the model itself; shapes are texts.

    `sizes` is what the layer was built for, by the names of its constructor's arguments.
    """

    error: str
    message: str
    model: str
    module: str = ""
    type: str = ""
    sizes: tuple[tuple[str, int], ...] = ()
    parameters: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    given_shapes: tuple[tuple[int, ...], ...] = ()
    operation: str = ""
    operands: tuple[str, ...] = ()
    place: str = ""
    is_certain: bool = True


def judge(failed: FailedForward) -> Verdict:
    message = " ".join(failed.message.split())
    where = f"{failed.module} ({failed.type})" if failed.module else failed.model
    evidence = [Evidence(WOULD_FAIL_WITH, f"{failed.error}: {message}", failed.place)]
    if failed.given:
        evidence.append(Evidence("given", ", ".join(failed.given)))
    if failed.parameters:
        evidence.append(Evidence("has", ", ".join(failed.parameters)))
    if failed.operation and failed.operands:
        evidence.append(Evidence(failed.operation, " and ".join(failed.operands)))
    cure = _cure(failed)
    if cure:
        evidence.append(Evidence("cause", cure[0]))
    return fail(
        f"{where} raises {failed.error}: {message}",
        evidence=evidence,
        fix=[cure[1]] if cure else [],
        brief=f"{where} fails: {message}",
    )


def _cure(failed: FailedForward) -> tuple[str, str] | None:
    """Cause and fix where the layer's sizes and what it was given settle them."""
    sizes = dict(failed.sizes)
    given = failed.given_shapes[0] if failed.given_shapes else ()
    if not given:
        return None
    if "in_features" in sizes and given[-1] != sizes["in_features"]:
        return (
            f"its input has {given[-1]} features, it was built for {sizes['in_features']}",
            f"{failed.type}({given[-1]}, {sizes.get('out_features', '…')})",
        )
    if "in_channels" in sizes:
        return _of_convolution(failed, sizes["in_channels"], sizes.get("out_channels"), given)
    if "num_features" in sizes and len(given) > 1 and given[1] != sizes["num_features"]:
        return (
            f"its input has {given[1]} channels, it was built for {sizes['num_features']}",
            f"{failed.type}({given[1]})",
        )
    if "input_size" in sizes and given[-1] != sizes["input_size"]:
        return (
            f"its input has {given[-1]} features, it was built for {sizes['input_size']}",
            f"{failed.type}({given[-1]}, {sizes.get('hidden_size', '…')})",
        )
    return None


def _of_convolution(
    failed: FailedForward, built_for: int, out: int | None, given: tuple[int, ...]
) -> tuple[str, str] | None:
    dimensions = re.search(r"([123])d", failed.type)
    spatial = int(dimensions[1]) if dimensions else len(given) - 2
    if len(given) not in (spatial + 1, spatial + 2):
        return (
            f"its input has {len(given)} dimensions, it takes {spatial + 2}: batch, channels and "
            f"{spatial} more",
            f"give it an input of {spatial + 2} dimensions, e.g. x.unsqueeze(1) for a missing channel",
        )
    channels = given[-spatial - 1]
    if channels == built_for:
        return None
    return (
        f"its input has {channels} channels, it was built for {built_for}",
        f"{failed.type}({channels}, {out if out is not None else '…'}, …)",
    )
