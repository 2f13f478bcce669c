"""The weights file is damaged.

## What it looks at
Whether the parts that describe the tensors can be read to their end, and whether every tensor that
they describe lies within the file, in the length that its shape needs. The tensors' own bytes are
not read, so a bit that has flipped among them is not seen. A file without any tensor is not
damaged, and it is said.

## Why it matters
A download that broke off, a full disk, a job that was killed while it saved: torch then says
`PytorchStreamReader failed reading zip archive`, `unexpected EOF` or `Invalid magic number`, and
safetensors `MetadataIncompleteBuffer`, and none of them says how much is missing.

## What to do
Download or copy the file again and compare its size and checksum with the source's. If it is a
checkpoint of your own, take the one before.

## References
- https://huggingface.co/docs/safetensors
- https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, info, ok

AREA = "file"


class Described(Protocol):
    """What is asked of a file's contents."""

    @property
    def format(self) -> str: ...
    @property
    def damage(self) -> str: ...
    @property
    def file_bytes(self) -> int: ...
    @property
    def entries(self) -> Sequence[object]: ...


def judge(contents: Described) -> Verdict:
    if not contents.damage and not contents.entries:
        return info(
            "there are no tensors in it",
            fix=["if it was to hold a model's weights: torch.save(model.state_dict(), file)"],
            brief="no tensors in it",
        )
    if not contents.damage:
        return ok("every tensor that it describes lies within the file")
    first, _, _ = contents.damage.partition("; ")
    evidence = [
        Evidence("found", contents.damage, contents.format),
        Evidence("size", f"{contents.file_bytes:,} bytes", "file"),
    ]
    error = _error(contents)
    if error:
        evidence.append(Evidence(WOULD_FAIL_WITH, error))
    return fail(
        f"the file is damaged: {contents.damage}",
        evidence=evidence,
        fix=[
            "download or copy it again, and compare its size and checksum with the source's",
            "or take an earlier checkpoint",
        ],
        brief=f"damaged: {first}",
    )


_OF_SAFETENSORS = (
    ("its header has a name twice", "invalid JSON in header"),
    ("its header is no", "invalid JSON in header"),
    ("its header claims", "header too large"),
    ("cut off: its header", "invalid header length"),
    ("shape, dtype or length", "invalid shape, data type, or offset for tensor"),
    ("overlap", "invalid offset for tensor"),
    ("holes between", "invalid offset for tensor"),
    ("beyond the end", "incomplete metadata, file not fully covered"),
    ("after the last tensor", "incomplete metadata, file not fully covered"),
)
_OF_TORCH = (
    (
        "list at the end of the zip",
        "PytorchStreamReader failed reading zip archive: failed finding central directory",
    ),
    ("missing in the file", "PytorchStreamReader failed locating file: file not found"),
)
"""Words of a damage, and what safetensors 0.8 and torch 2.13 say of it. Others vary."""


def _error(contents: Described) -> str:
    """The error that the format's own loader gives, "" where that is not certain."""
    is_safetensors = contents.format == "safetensors"
    if not is_safetensors and contents.format in ("gguf", "onnx"):
        return ""
    for words, error in _OF_SAFETENSORS if is_safetensors else _OF_TORCH:
        if words in contents.damage:
            return f"Error while deserializing header: {error}" if is_safetensors else error
    return ""
