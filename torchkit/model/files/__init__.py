"""What is in a weights file: tensors, metadata, and what unpickling it would run. Nothing is run.

Only the parts that describe tensors are read, never their data, so that 10 GB take no longer than
10 MB. No torch and no library of the format: each is read by its own short file here, which is
imported when such a file comes. (The package `safetensors` gives shapes through numpy or torch,
`gguf` needs numpy and maps the whole file, `onnx` takes the file into memory.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One tensor: `dtype` in torch's spelling (GGUF's quantised types by their own name).

    `bytes` are those of its elements as they are stored. `group` is the part of a checkpoint it
    is in (`model`, `state.ema`, `optimizer`), its name is the path inside, and `subscripts` are the
    keys that lead to the group: `("state", "ema")`. `shared_with` is the full name of the earlier
    tensor whose data it has, or a part of it: `shared_bytes` of its own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    group: str = ""
    shared_with: str = ""
    shared_bytes: int = 0
    subscripts: tuple[str | int, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.group}.{self.name}" if self.group and self.name else self.group or self.name

    @property
    def own_bytes(self) -> int:
        """What it takes beside the tensors before it."""
        return self.bytes - self.shared_bytes

    @property
    def own_elements(self) -> int:
        """Elements that no tensor before it has; one that is expanded has no more than are stored."""
        elements = math.prod(self.shape)
        return elements * self.own_bytes // self.bytes if self.bytes else elements


class Contents(NamedTuple):
    """What a file holds.

    `format` is one of: state dict, checkpoint, optimizer, pickled model, tensors, pickle,
    TorchScript, pt2, safetensors, gguf, onnx. `total_bytes` is what its tensors take, shared data
    counted once, `file_bytes` the file (of a sharded model, all its files). `parameters` are the
    elements of tensors that are no optimizer's, shared ones once; buffers are among them, since a
    state dict does not tell them apart.

    `versions` are those of the modules in the `_metadata` of a state dict, by group, and `models`
    the groups that are pickled modules.

    `globals` is everything that unpickling would import. `dangerous` of these could do harm by
    being imported or called, `code` are classes of the user's or of a library that it needs.
    `others` are the parts that are no tensors, `damage` is what is wrong, "" when it is whole.
    """

    format: str
    entries: tuple[Entry, ...] = ()
    metadata: Mapping[str, str] = {}
    globals: tuple[str, ...] = ()
    dangerous: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    damage: str = ""
    total_bytes: int = 0
    parameters: int = 0
    file_bytes: int = 0
    code: tuple[str, ...] = ()
    versions: Mapping[str, Mapping[str, int | None]] = {}
    models: tuple[str, ...] = ()


def read(path: Path) -> Contents:
    """What the weights file holds.

    Raises BadInput where there is no file, or what is there is no weights file: it says what it is
    instead. A weights file that is damaged is described as far as it goes.
    """
    from torchkit.model.files.opening import read_file

    return read_file(path)
