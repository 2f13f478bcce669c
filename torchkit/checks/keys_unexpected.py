"""The checkpoint has keys that the model does not know.

## What it looks at
The keys of the checkpoint and those of the model's `state_dict()` (`torchkit summary model.py:Net
--compare checkpoint.pt`), by name. Buffers that this model has, but does not save
(`persistent=False`), are told apart: older versions of it saved them.

## Why it matters
`load_state_dict` raises `Unexpected key(s) in state_dict`, for one superfluous buffer too. With
`strict=False` such keys are dropped without a word, also where a typo or a missing layer is the
reason.

## What to do
Drop the keys that belong to parts this model does not have, or build the model with these parts.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok

AREA = "weights"


class UnexpectedKeys(NamedTuple):
    """`number` of the `total` keys of `file` are not in `model`, a class; `names` tells them.

    `error` is what torch raises. `unsaved` of them are buffers of the model with
    `persistent=False`. `is_renamed`: the missing keys under other names, which is told there.
    `code` is what to paste.
    """

    model: str
    file: str
    number: int
    total: int
    names: str
    error: str
    unsaved: int = 0
    is_renamed: bool = False
    code: tuple[str, ...] = ()


def judge(unexpected: UnexpectedKeys) -> Verdict:
    if not unexpected.number:
        return ok(f"{unexpected.model} knows all {unexpected.total} keys of {unexpected.file}")
    evidence = [Evidence(WOULD_FAIL_WITH, unexpected.error)]
    if unexpected.unsaved == unexpected.number:
        evidence.append(
            Evidence(
                "cause", "the model has these buffers and does not save them: persistent=False"
            )
        )
    verb = "is" if unexpected.number == 1 else "are"
    subject = "keys" if unexpected.total != 1 else "key"
    verdict = fail(
        f"{unexpected.number} of {unexpected.total} {subject} of {unexpected.file} {verb} not in "
        f"{unexpected.model}: {unexpected.names}",
        evidence=evidence,
        fix=["\n".join(unexpected.code)] if unexpected.code else [],
        brief=f"{unexpected.number} of the file's keys are unknown to the model",
    )
    return replace(verdict, part_of="keys-missing") if unexpected.is_renamed else verdict
