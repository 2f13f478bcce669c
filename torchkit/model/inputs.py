"""From the text "ids=128:int64" to tensors, and whether `forward` takes them.

Made inputs are the same at every run, and leave torch's own random numbers where they were.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from torchkit.errors import BadInput
from torchkit.model.devices import device_of
from torchkit.model.input_files import read_input
from torchkit.model.signatures import needed, short, signature_of

FORMS = "an input is 1,256,256 or 128:int64, ids=128:int64 by name, scalar, or @batch.pt, @batch.npz, @image.png"

SEED = 0

MOST_ELEMENTS = 2**62
"""Of one tensor; torch counts in 64 bits."""


class Spec(NamedTuple):
    """One `--input`: a shape without batch dimension and a dtype, or a file; by keyword or position."""

    keyword: str | None
    shape: tuple[int, ...] | None
    dtype: str | None
    path: Path | None


class Inputs(NamedTuple):
    """What a forward is given. `texts` describe each input, as "[20, 1, 256, 256] float32".

    `guessed` says how they were worked out; empty where the user gave them.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    texts: tuple[str, ...]
    guessed: str = ""


# --- the text


def parse(text: str) -> Spec:
    """Raises BadInput for what is none of the forms."""
    keyword, rest = _keyword(text.strip())
    if rest.startswith("@"):
        if not rest[1:].strip():
            raise BadInput(f"--input {text} names no file", hint=FORMS)
        return Spec(keyword, None, None, Path(rest[1:]).expanduser())
    sizes, colon, dtype = rest.partition(":")
    if colon:
        dtype_of(dtype.strip())  # refused here, where the text is known
    return Spec(keyword, _shape(sizes.strip(), text), dtype.strip() or None, None)


def _keyword(text: str) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    if not equals or "@" in name:
        return None, text
    if not name.strip().isidentifier():
        raise BadInput(f"{name.strip()!r} in --input {text} is no name of an argument", hint=FORMS)
    return name.strip(), rest.strip()


def _shape(sizes: str, text: str) -> tuple[int, ...]:
    if sizes == "scalar":
        return ()
    listed = re.fullmatch(r"[\[(](.*?),?\s*[\])]", sizes)  # as Python writes it: (1, 256, 256)
    parts = [it.strip() for it in (listed[1] if listed else sizes).split(",")]
    if re.fullmatch(r"\d+([x*×]\d+)+", sizes):  # noqa: RUF001 - the sign that people type
        written = ",".join(re.findall(r"\d+", sizes))
        raise BadInput(f"--input {text} is no shape", hint=f"write it as {written}")
    if Path(text).suffix and Path(text).is_file():
        raise BadInput(f"--input {text} is a file", hint=f"write it as @{text}")
    if not all(re.fullmatch(r"[+-]?\d+", it, re.ASCII) for it in parts):
        raise BadInput(f"--input {text} is no shape" if text else "--input is empty", hint=FORMS)
    shape = tuple(int(it) for it in parts)
    if min(shape) < 1:
        raise BadInput(
            f"--input {text} has a size of {min(shape)}; sizes are 1 or more",
            hint="the batch dimension is added in front; -1 is not needed for it",
        )
    if math.prod(shape) > MOST_ELEMENTS:
        raise BadInput(f"--input {text} has more elements than torch can count", hint=FORMS)
    return shape


# --- dtypes

_DTYPES = (
    "float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "bool",
    "uint8", "uint16", "uint32", "uint64", "complex64", "complex128", "complex32",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
"""What an input can be made in; torch has more, and not every torch has all of these."""

_OTHER_NAMES = {
    "fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16",
    "f2": "float16", "f4": "float32", "f8": "float64", "single": "float32",
    "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "intc": "int32", "longlong": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "ubyte": "uint8", "byte": "uint8",
    "b1": "bool", "bool_": "bool", "float_": "float64", "int_": "int64",
    "c8": "complex64", "c16": "complex128",
}  # fmt: skip
"""Numpy's and everyday names, by torch's; torch has its own second names, as half and long."""


def dtype_of(name: str) -> torch.dtype:
    """A dtype by torch's or numpy's name. Raises BadInput."""
    plain = name.lower()
    for prefix in ("torch.", "numpy.", "np."):
        plain = plain.removeprefix(prefix)
    known = [name for name in _DTYPES if hasattr(torch, name)]
    found = getattr(torch, _OTHER_NAMES.get(plain, plain), None)
    if isinstance(found, torch.dtype) and any(found is getattr(torch, name) for name in known):
        return found
    near = difflib.get_close_matches(plain, known, 1)
    hint = (
        f"did you mean {near[0]}" if near else "for example float32, float16, bfloat16, int64, bool"
    )
    raise BadInput(f"torch {torch.__version__} has no dtype {name!r} for an input", hint=hint)


# --- the tensors


def make_inputs(
    specs: Sequence[Spec],
    *,
    batch_size: int = 1,
    no_batch: bool = False,
    dtype: str | None = None,
    device: str = "cpu",
    channels: int | None = None,
) -> Inputs:
    """Tensors of these shapes: integers 0, bools True, floats normally distributed.

    `dtype` is for inputs that name none, and for floats from files. `device="meta"` allocates
    nothing. `channels` is what a picture is read as: 1 grey, 3 RGB, 4 RGBA. Raises BadInput.
    """
    where = device_of(device)
    maker = Maker(where, batch_size=batch_size, no_batch=no_batch)
    default = torch.float32 if dtype is None else dtype_of(dtype)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    texts: list[str] = []
    for spec in specs:
        if spec.path is None:
            wanted = default if spec.dtype is None else dtype_of(spec.dtype)
            value: Any = maker.batch(spec.shape or (), wanted)
            _add(args, kwargs, spec.keyword, value)
            texts.append(text_of(value, spec.keyword))
            continue
        given, named = read_input(spec.path, keyword=spec.keyword, channels=channels or 3)
        given = tuple(_converted(it, dtype, where) for it in given)
        named = {key: _converted(it, dtype, where) for key, it in named.items()}
        args += given
        for key, it in named.items():
            _add(args, kwargs, key, it)
        texts += [f"{text_of(it)} from {spec.path}" for it in given]
        texts += [f"{text_of(it, key)} from {spec.path}" for key, it in named.items()]
    return Inputs(tuple(args), kwargs, tuple(texts))


def _add(args: list[Any], kwargs: dict[str, Any], keyword: str | None, value: Any) -> None:
    if keyword is None:
        args.append(value)
    elif keyword in kwargs:
        raise BadInput(f"--input gives {keyword} twice", hint="leave one of them out")
    else:
        kwargs[keyword] = value


class Maker:
    """Makes tensors on one device, from one row of random numbers of its own."""

    def __init__(self, device: torch.device, *, batch_size: int, no_batch: bool) -> None:
        if batch_size < 1:
            raise BadInput(f"--batch-size {batch_size} is no batch; it is 1 or more")
        self.device = device
        self.front = () if no_batch else (batch_size,)
        self.generator = torch.Generator().manual_seed(SEED)

    def batch(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor of this shape with the batch dimension in front. Raises BadInput."""
        return self.tensor((*self.front, *shape), dtype)

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor of exactly this shape. Raises BadInput when the memory does not suffice."""
        try:
            return self._tensor(shape, dtype)
        except (RuntimeError, MemoryError) as error:
            text = str(error).splitlines()[0] if str(error) else "no memory"
            raise BadInput(f"cannot make an input {list(shape)} {_plain(dtype)}: {text}") from None

    def _tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if self.device.type == "meta":
            return torch.empty(shape, dtype=dtype, device="meta")
        if dtype is torch.bool:
            return torch.ones(shape, dtype=dtype, device=self.device)
        if not dtype.is_floating_point and not dtype.is_complex:
            return torch.zeros(shape, dtype=dtype, device=self.device)
        # made on the CPU, so that every device gets the same numbers, and in a dtype that has randn
        made_as = (
            dtype if dtype in (torch.float64, torch.complex64, torch.complex128) else torch.float32
        )
        made = torch.randn(shape, dtype=made_as, generator=self.generator, device="cpu")
        return made.to(device=self.device, dtype=dtype)


def _converted(value: Any, dtype: str | None, device: torch.device) -> Any:
    """Tensors from a file, brought to the device; floats also to `--dtype`."""
    if isinstance(value, torch.Tensor):
        wanted = dtype_of(dtype) if dtype is not None and value.is_floating_point() else value.dtype
        return value.to(device=device, dtype=wanted)
    return mapped(value, lambda part: _converted(part, dtype, device))


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A plain list, tuple or dict with its parts changed; anything else as it is."""
    if type(value) in (list, tuple):
        return type(value)(change(part) for part in value)
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    return value


def text_of(value: Any, keyword: str | None = None) -> str:
    """ "[1, 128] int64", "ids=[1, 128] int64", "dict of 2", "None"."""
    prefix = "" if keyword is None else f"{keyword}="
    if isinstance(value, torch.Tensor):
        return f"{prefix}{list(value.shape)} {_plain(value.dtype)}"
    if isinstance(value, (list, tuple, dict)):
        return f"{prefix}{type(value).__name__} of {len(value)}"
    return f"{prefix}{value!r}"[:60]


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def guess_inputs(
    model: nn.Module,
    *,
    batch_size: int = 1,
    no_batch: bool = False,
    dtype: str | None = None,
    device: str = "cpu",
) -> Inputs:
    """`guess.guess_inputs`: the first guess that runs. Raises BadInput."""
    from torchkit.model.guess import guess_inputs as work_out  # it needs this module

    return work_out(model, batch_size=batch_size, no_batch=no_batch, dtype=dtype, device=device)


# --- whether forward takes them


def check(model: nn.Module, inputs: Inputs) -> None:
    """Raises BadInput for a wrong count of inputs or unknown keywords, before anything runs."""
    signature = signature_of(model)
    if signature is None:
        return
    try:
        signature.bind(*inputs.args, **inputs.kwargs)
    except TypeError as error:
        raise _misfit(type(model).__name__, signature, inputs, str(error)) from None


def _misfit(name: str, signature: inspect.Signature, inputs: Inputs, error: str) -> BadInput:
    takes = f"forward{short(signature)}"
    names = list(signature.parameters)
    takes_any = any(it.kind is it.VAR_KEYWORD for it in signature.parameters.values())
    unknown = [key for key in inputs.kwargs if key not in names]
    if unknown and not takes_any:
        near = difflib.get_close_matches(unknown[0], names, 1)
        return BadInput(
            f"{name} has no input {unknown[0]!r}; it takes {takes}",
            hint=f"did you mean --input {near[0]}=…" if near else _how_to_give(signature),
        )
    if "multiple values" in error:
        return BadInput(
            f"{name} would be given one input twice, by position and by name; it takes {takes}",
            hint="give every input by name, or every one in order",
        )
    count = len(inputs.args) + len(inputs.kwargs)
    given = {0: "no input was given", 1: "1 input was given"}.get(
        count, f"{count} inputs were given"
    )
    return BadInput(f"{given}; {name} takes {takes}", hint=_how_to_give(signature))


def _how_to_give(signature: inspect.Signature) -> str:
    required = needed(signature)
    if not required:
        return "an input is given by name: --input NAME=128:int64"
    if len(required) == 1:
        return f"give one --input, for {required[0].name}; a tuple or dict comes from a file: --input {required[0].name}=@batch.pt"
    options = " ".join(f"--input {it.name}=SHAPE:DTYPE" for it in required)
    return f"give one --input for each: {options}"
