"""The checkpoint lacks keys that the model's load_state_dict asks for.

## What it looks at
The keys of the model's `state_dict()` and those of the checkpoint (`torchkit summary model.py:Net
--compare checkpoint.pt`), by name. It finds out whether the keys are there under other names: with
a prefix of a wrapper (`module.` of DataParallel, `_orig_mod.` of torch.compile), in another module
(`backbone.`), or with parts renamed where shapes and order leave no doubt. Keys of tensors that
share their memory with one that is there lose nothing. The norms' `num_batches_tracked` is filled
in by PyTorch itself for checkpoints that are older than it.

A checkpoint that only holds an adapter (LoRA), or weights packed by GPTQ, AWQ or bitsandbytes, is
told apart from one that is damaged or another model's.

## Why it matters
`load_state_dict` raises `Missing key(s) in state_dict`. With `strict=False` it does not, and
whatever is missing keeps its random values without a word.

## What to do
Rename the keys before loading; the code is given. Use `strict=False` only where the layers that
are missing are to be trained.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
"""

from __future__ import annotations

from typing import NamedTuple

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok

AREA = "weights"


class MissingKeys(NamedTuple):
    """`number` of the `total` keys of `model`, a class, are not in `file`; `names` tells them.

    `error` is what torch raises. `renaming` says what has to be done to the file's names, `origin`
    who put them there, `left` what is still wrong then. `tied` are the names of missing keys whose
    tensor the file has under another key. `kind` says what the file holds, where that is no model.
    `code` is what to paste.
    """

    model: str
    file: str
    number: int
    total: int
    names: str
    error: str
    renaming: str = ""
    origin: str = ""
    left: str = ""
    tied: tuple[str, ...] = ()
    kind: str = ""
    code: tuple[str, ...] = ()


def judge(missing: MissingKeys) -> Verdict:
    if not missing.number:
        return ok(f"{missing.file} has all {missing.total} keys of {missing.model}")
    evidence = [Evidence(WOULD_FAIL_WITH, missing.error)]
    cause = _cause(missing)
    if cause:
        evidence.append(Evidence("cause", cause))
    if missing.left:
        evidence.append(Evidence("left then", missing.left))
    subject = "keys" if missing.total != 1 else "key"
    verb = "is" if missing.number == 1 else "are"
    return fail(
        f"{missing.number} of {missing.total} {subject} of {missing.model} {verb} not in "
        f"{missing.file}: {missing.names}",
        evidence=evidence,
        fix=["\n".join(missing.code)] if missing.code else _without_code(missing),
        brief=f"{missing.number} of {missing.total} keys are missing",
    )


def _cause(missing: MissingKeys) -> str:
    if missing.kind:
        return missing.kind
    if missing.renaming:
        by = f" ({missing.origin} puts it there)" if missing.origin else ""
        return f"the keys have other names: they fit after {missing.renaming}{by}"
    if len(missing.tied) == missing.number:
        names = ", ".join(missing.tied)
        return f"{names} shares its memory with a key that is there, so nothing is lost"
    return ""


def _without_code(missing: MissingKeys) -> list[str]:
    return [f"give the checkpoint of a {missing.model} that was made with the same arguments"]
