"""From the text `3,224,224:uint8` to the bytes that one sample of it takes. Standard library only."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from torchkit.errors import BadInput

ITEM_BYTES = {
    "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4,
    "uint64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
    "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}  # fmt: skip
"""Bytes of one element, https://docs.pytorch.org/docs/stable/tensor_attributes.html"""

ALIASES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64",
    "short": "int16", "byte": "uint8", "char": "int8", "cfloat": "complex64",
    "cdouble": "complex128",
}  # fmt: skip
"""torch's second names."""

MOST_BYTES = 2**62
"""A sample larger than this is a slip of the keyboard."""

EXAMPLE = "e.g. --sample 3,224,224 or --sample 3,224,224:uint8 --sample :int64"


class Sample(NamedTuple):
    """One tensor of a sample: its shape without the batch, and its dtype."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def batched(self, size: int | None) -> str:
        """As a batch of it reads: `float32 [64, 3, 224, 224]`."""
        shape = list(self.shape) if size is None else [size, *self.shape]
        return f"{self.dtype} {shape}"


def parse_sample(text: str) -> Sample:
    """`SHAPE[:DTYPE]`; an empty shape is a single number. Raises BadInput."""
    shape_text, colon, dtype_text = text.partition(":")
    name = dtype_text.strip().removeprefix("torch.")
    dtype = ALIASES.get(name, name) if colon else "float32"
    if dtype not in ITEM_BYTES:
        raise BadInput(
            f"--sample {text!r} has the dtype {dtype_text!r}, which is none",
            hint=f"choose one of {', '.join(ITEM_BYTES)}",
        )
    shape_text = shape_text.strip().strip("()[]")
    parts = [part.strip() for part in re.split(r"[,x]", shape_text)] if shape_text else []
    if parts and parts[-1] == "" and len(parts) > 1:
        parts.pop()
    if not colon and not parts:
        raise BadInput("--sample names no shape", hint=EXAMPLE)
    if not all(re.fullmatch(r"[0-9]{1,18}", part, re.ASCII) for part in parts):
        raise BadInput(
            f"--sample {text!r} is no shape: whole numbers with commas are needed", hint=EXAMPLE
        )
    sample = Sample(tuple(int(part) for part in parts), dtype)
    if sample.bytes > MOST_BYTES:
        raise BadInput(f"--sample {text!r} is larger than any memory", hint=EXAMPLE)
    return sample


_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def parse_size(text: str) -> int:
    """`8G`, `512M`, `1.5 GiB` or bytes, as docker's `--shm-size` reads them. Raises BadInput."""
    match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None:
        raise BadInput(f"--need {text!r} is no size", hint="e.g. --need 8G or --need 512M")
    size = (
        int(float(match[1]) * _UNITS[match[2]])
        if "." in match[1]
        else int(match[1]) * _UNITS[match[2]]
    )
    if not 0 < size <= MOST_BYTES:
        raise BadInput(
            f"--need {text!r} is no size to ask for", hint="e.g. --need 8G or --need 512M"
        )
    return size
