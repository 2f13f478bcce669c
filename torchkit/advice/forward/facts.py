"""What is known of a forward that raised, and what is made of it: plain data, without torch.

A recorded run is turned into a `Trouble` by a command; the rules beside this file answer with an
`Explanation` or with None. `summary`, `snoop` and `explain` share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple, Union

Setting = Union[None, bool, int, float, str, tuple[int, ...]]  # noqa: UP007 - as in record.py


class Tensor(NamedTuple):
    """One tensor. `number` tells tensors apart and `storage` the memory that views share.

    `source` says in words where it comes from; `name` is the path of a parameter or buffer;
    `lowest` and `highest` are known of integers that an operation looked up something by.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    device: str = "cpu"
    number: int = -1
    storage: int = -1
    role: str = "activation"
    name: str = ""
    source: str = ""
    lowest: int | None = None
    highest: int | None = None

    @property
    def is_floating(self) -> bool:
        return self.dtype.startswith(("float", "bfloat", "complex"))

    @property
    def elements(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        where = "" if self.device == "cpu" else f" {self.device}"
        return f"{list(self.shape)} {self.dtype}{where}"


class Given(NamedTuple):
    """One argument: its keyword, "" by position; its type; its tensors, one alone under ""."""

    keyword: str
    type: str
    parts: tuple[tuple[str, Tensor], ...] = ()

    @property
    def tensor(self) -> Tensor | None:
        """The argument itself, where it is a tensor."""
        return self.parts[0][1] if self.parts and self.parts[0][0] == "" else None


class Table(NamedTuple):
    """An embedding: its path, how many rows it has, and how many of them are behind its padding."""

    path: str
    rows: int
    usable: int


class Later(NamedTuple):
    """A module without modules inside, which had not run; `text` is its `extra_repr`."""

    path: str
    type: str
    text: str = ""


class Layer(NamedTuple):
    """The innermost module that raised; `path` is "" for the model itself.

    `kinds` are the names of its torch.nn classes, its own first: of a subclass of Linear too.
    `settings` are its plain attributes. `holders` are the paths and types of the modules around it,
    the nearest first. `has_worked`: an earlier call of it did not fail. `tables` are the embeddings
    inside it. `is_tied`: another module has one of its parameters too.
    `later` are the modules behind it that had not run, in the order in which they were built.
    """

    path: str = ""
    type: str = ""
    kinds: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = {}
    parameters: tuple[tuple[str, Tensor], ...] = ()
    children: tuple[str, ...] = ()
    holders: tuple[tuple[str, str], ...] = ()
    has_worked: bool = False
    has_forward: bool = True
    tables: tuple[Table, ...] = ()
    is_tied: bool = False
    later: tuple[Later, ...] = ()

    @property
    def holder(self) -> str:
        """The type of the module that holds it."""
        return self.holders[0][1] if self.holders else ""

    @property
    def name(self) -> str:
        return self.path or self.type

    def is_a(self, *names: str) -> bool:
        """Whether it is of one of these classes of torch.nn."""
        return any(kind in names for kind in self.kinds)

    def number(self, name: str) -> int:
        """A setting that is a whole number; 0 where there is none."""
        value = self.settings.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def sizes(self, name: str) -> tuple[int, ...]:
        """A setting that is a size or several."""
        value = self.settings.get(name)
        if isinstance(value, tuple):
            return value
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else ()


class Done(NamedTuple):
    """One operation that worked, and the module it was in, with that one's `extra_repr`."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    path: str = ""
    type: str = ""
    text: str = ""


class Trouble(NamedTuple):
    """A forward that raised.

    `inputs` are what the model was given; `is_by_option` where that is a shape on the command
    line, to which a batch dimension is added with `has_batch`. `operation` is the one that raised,
    without its namespace, `operands` its tensors and `numbers` its other arguments. `code` is the
    line of the user's code that was running, `is_library` where it is that of an installed package.
    `gave_several` are the layers whose output was no tensor alone, with the tensors' numbers;
    `gave_none` the paths and types of those that gave None.
    """

    error: str
    message: str
    model: str
    layer: Layer
    given: tuple[Given, ...] = ()
    inputs: tuple[Given, ...] = ()
    operation: str = ""
    operands: tuple[Tensor, ...] = ()
    numbers: tuple[Setting, ...] = ()
    done: tuple[Done, ...] = ()
    code: str = ""
    is_library: bool = False
    is_by_option: bool = True
    has_batch: bool = True
    gave_several: tuple[tuple[str, tuple[int, ...]], ...] = ()
    is_training: bool = False
    gave_none: tuple[tuple[str, str], ...] = ()

    @property
    def first(self) -> Tensor | None:
        """The first tensor among what the layer was given."""
        return next(self.tensors(), None)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that the layer was given."""
        for given in self.given:
            for _, tensor in given.parts:
                yield tensor

    def input_of(self, tensor: Tensor) -> Given | None:
        """The model's own input that a tensor is, unchanged."""
        for given in self.inputs:
            if given.tensor is not None and given.tensor.number == tensor.number:
                return given
        return None


class Explanation(NamedTuple):
    """What is wrong. `brief` is found and needed in a clause, `cause` the same in a sentence.

    `fixes` are the likeliest first; each alone is a cure: a line of Python, or an option.
    """

    id: str
    brief: str
    cause: str = ""
    fixes: tuple[str, ...] = ()
