"""What one forward of a model was, as plain data: modules, calls, operations, tensors, the failure.

The table of `summary`, the picture of `visualize` and the failing module of `snoop` all read this
one record. Nothing here imports torch, and nothing here runs a model; `recorder.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Union


class TensorInfo(NamedTuple):
    """One tensor. `number` tells tensors apart, `storage` the memory they share (views have one).

    `shape` and `stride` are in elements, `bytes` what its elements take, `storage_bytes` the whole
    memory behind it. `role` is `input`, `parameter`, `buffer`, `constant` (made before the run and
    none of these), `activation` or `workspace` (made for backward alone); `name` the path of a parameter or buffer.
    """

    number: int
    storage: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    bytes: int
    storage_bytes: int
    role: str = "activation"
    name: str | None = None
    requires_grad: bool = False
    stride: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)} {self.device}"


class Other(NamedTuple):
    """A value that is no tensor and holds none: its type's name, and itself if short."""

    type: str
    text: str


class Nested(NamedTuple):
    """A container that holds tensors: what kind it is, and its parts by key or position."""

    kind: str
    parts: tuple[tuple[str, Value], ...]


Value = Union[TensorInfo, Other, "Nested"]  # `|` takes no quoted name

Plain = Union[None, bool, int, float, str, tuple[int, ...]]  # noqa: UP007 - as above
"""A setting of a layer, or an argument that is no tensor."""


def tensors_in(value: Value) -> Iterator[TensorInfo]:
    """Every tensor of a value, in order."""
    if isinstance(value, TensorInfo):
        yield value
    elif isinstance(value, Nested):
        for _, part in value.parts:
            yield from tensors_in(part)


class Place(NamedTuple):
    """Where in the user's code something happened: the innermost frame outside torch and torchkit."""

    file: str
    line: int
    function: str


@dataclass
class Parameter:
    """A parameter or buffer: every path that leads to it, the first one first."""

    tensor: TensorInfo
    paths: tuple[str, ...]
    is_buffer: bool = False
    is_trainable: bool = False
    logical_count: int = 0  # elements; of packed (quantised) weights the number they stand for
    is_packed: bool = False


@dataclass
class Module:
    """One module under one path. A module with several paths has an entry for each of them.

    `shared_with` is its first path, where this is another one. `text` is its own `extra_repr`;
    `own` are the paths of parameters and buffers it holds itself. Inside TorchScript (`is_script`)
    no calls can be seen.
    """

    path: str
    type: str
    text: str
    depth: int
    shared_with: str | None = None
    own: tuple[str, ...] = ()
    calls: list[int] = field(default_factory=list)
    is_script: bool = False


@dataclass
class Call:
    """One call of a module: who called it, what it was given, what it gave.

    `first` and `end` bound its operations, those of modules inside it too. `flops` likewise.
    `is_direct`: its `forward` was called, not the module, so that no hook of the user's fired.
    """

    number: int
    path: str
    parent: int | None
    inputs: Value
    keywords: Value
    first: int
    end: int = 0
    outputs: Value | None = None
    flops: int = 0
    has_failed: bool = False
    is_direct: bool = False


class Operation(NamedTuple):
    """One operation of torch: `aten::addmm`, in which call, on which tensors, and where in the code."""

    number: int
    name: str
    call: int | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    flops: int
    place: Place | None
    is_differentiable: bool = False  # backward will go through it: gradients were on, and wanted


@dataclass
class Failure:
    """The exception of a forward, and what was being done: call, operation, its tensors, place.

    `causes` are the exceptions that it was raised from or while handling, the nearest first, each
    a name and a message. `arguments` are those of the operation that are no tensors, `ranges` the
    least and greatest value of its integer operands, by number. `code` is the line at `place`.
    Of the failing module: `kinds` are the names of its torch.nn classes, its own first,
    `settings` its plain attributes, `has_forward` whether its class defines one. `doubt` says why
    it is no proof that the model is broken, where it was met on shapes alone; "" of any other.
    """

    error: str
    message: str
    call: int | None
    operation: str | None
    operands: tuple[TensorInfo, ...]
    place: Place | None
    traceback: str = ""
    causes: tuple[tuple[str, str], ...] = ()
    arguments: tuple[Plain, ...] = ()
    ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    code: str = ""
    kinds: tuple[str, ...] = ()
    settings: Mapping[str, Plain] = field(default_factory=dict)
    has_forward: bool = True
    doubt: str = ""


@dataclass
class Record:
    """One forward. `calls[0]` is the whole model's where it began.

    `training` is a second forward, in train mode, where this one was in eval mode and that makes a
    difference to what backward needs. `propagation` is `real` or `fake` (shapes only, nothing computed), `why` the reason in words.
    `saved` are the storages kept for backward, in bytes by number, without parameters, and
    `saved_at` how many operations had run when each was first wanted; `freed_at` the same for when
    an activation was not needed any more, where nothing is kept for backward, and
    `peak_bytes` the most that activations then take at one time.
    """

    type: str
    modules: tuple[Module, ...]
    parameters: tuple[Parameter, ...]
    inputs: Value
    keywords: Value
    calls: list[Call] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    tensors: dict[int, TensorInfo] = field(default_factory=dict)
    outputs: Value | None = None
    failure: Failure | None = None
    propagation: str = "real"
    why: str = ""
    notes: list[str] = field(default_factory=list)
    saved: dict[int, int] = field(default_factory=dict)
    saved_at: dict[int, int] = field(default_factory=dict)
    freed_at: dict[int, int] = field(default_factory=dict)
    peak_bytes: int = 0
    is_training: bool = False
    training: Record | None = None

    @property
    def flops(self) -> int:
        """Of the whole forward; one multiply-add is 2."""
        return sum(operation.flops for operation in self.operations)
