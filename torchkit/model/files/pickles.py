"""Reads a pickle without doing what it says: nothing is imported, called, built or hashed.

An interpreter of the pickle language of its own, because a subclass of `pickle.Unpickler` with a
stubbed `find_class` is no protection: on Python 3.11 to 3.13 its C code dies of a deep tuple as a key
(hashing recurses without a limit), asks for 64 GiB for one `LONG_BINPUT 0xffffffff`, and hashes a
tuple that holds itself twice, 50 levels deep, for ever. Here a dictionary is a list of keys and
values, the memo a dictionary, a long text only its place in the file, and every stream ends after
`MAX_OPERATIONS`. It takes some 0.5 µs an operation, of which a tensor needs some 30.

The language is described in CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

from torchkit.model.files.described import Global, Long, Made, Pairs
from torchkit.model.files.pickle_operations import HANDLERS, KEPT_BYTES
from torchkit.model.files.source import DamagedError, Source

MAX_OPERATIONS = 1_000_000
"""More operations are not followed. Checkpoints of the largest models take some 100,000."""

_CHUNK_BYTES = 1 << 18
_STOP = ord(".")


class Pickle(NamedTuple):
    """What a stream describes, up to `end` (bytes); `damage` where it could not be read to its end.

    `called` are the globals that would be called or changed, and not just looked up or made
    without a call of their constructor. `packed` are calls that open a pickle inside this one.
    """

    root: Any
    globals: tuple[str, ...]
    called: frozenset[str]
    end: int
    damage: str = ""
    is_whole: bool = True
    operations: int = 0
    packed: tuple[Made, ...] = ()


def read_pickle(source: Source, at: int = 0) -> Pickle:
    """What the pickle at `at` describes. Raises OSError only."""
    machine = Machine(source, at)
    damage, is_whole = "", True
    try:
        machine.run()
    except DamagedError as error:
        damage, is_whole = str(error), False
    except IndexError:
        damage, is_whole = "its pickle takes more from its stack than there is", False
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, struct.error):
        damage, is_whole = "its pickle has values in places where they cannot be", False
    if is_whole and machine.operations > MAX_OPERATIONS:
        is_whole = False
    return Pickle(
        machine.root() if is_whole else machine.what_there_is(),
        tuple(machine.globals),
        frozenset(machine.called),
        machine.base + machine.at,
        damage,
        is_whole,
        machine.operations,
        tuple(machine.packed),
    )


def pickle_of(data: bytes) -> Pickle:
    """What the pickle in `data` describes."""
    return read_pickle(Source(io.BytesIO(data)))


class Machine:
    def __init__(self, source: Source, at: int) -> None:
        self.source = source
        self.base = at  # place of `data` in the source
        self.data = source.read(at, _CHUNK_BYTES)
        self.at = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0
        self.operations = 0
        self.globals: dict[str, None] = {}
        self.called: set[str] = set()
        self.packed: list[Made] = []

    def run(self) -> None:
        handlers = HANDLERS
        operations = 0
        try:
            while operations <= MAX_OPERATIONS:
                operations += 1
                if self.at >= len(self.data):
                    self.fill(1)
                code = self.data[self.at]
                self.at += 1
                if code == _STOP:
                    return
                handlers[code](self)
        finally:
            self.operations = operations

    def root(self) -> Any:
        return self.stack[-1] if self.stack else None

    def what_there_is(self) -> Any:
        """The unfinished structure: what waits on the stack belongs to the container before it."""
        levels = [*self.below, self.stack]
        while len(levels) > 1:
            items = levels.pop()
            holder = levels[-1][-1] if levels[-1] else None
            if isinstance(holder, Made):
                holder.pairs.extend(items[: len(items) // 2 * 2])
            elif isinstance(holder, Pairs):
                holder.extend(items[: len(items) // 2 * 2])
            elif isinstance(holder, list):
                holder.extend(items)
        stack = levels[0]
        for index in range(len(stack) - 1, 1, -1):
            holder = stack[index - 2]
            if isinstance(holder, Pairs) and isinstance(stack[index - 1], str):
                holder.extend(stack[index - 1 : index + 1])
        return stack[0] if stack else None

    # --- bytes

    def fill(self, count: int) -> None:
        """Makes `count` bytes from here on available."""
        self.base += self.at
        self.at = 0
        self.data = self.source.read(self.base, max(count, _CHUNK_BYTES))
        if len(self.data) < count:
            raise DamagedError("its pickle is cut off")

    def take(self, count: int) -> bytes:
        start = self.at
        end = start + count
        if end > len(self.data):
            self.fill(count)
            start, end = 0, count
        self.at = end
        return self.data[start:end]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def line(self) -> str:
        return self.raw_line().decode("utf-8", "replace")

    def raw_line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.base += self.at
            self.at = 0
            self.data = self.source.read(self.base, max(_CHUNK_BYTES, KEPT_BYTES))
            end = self.data.find(b"\n")
        if end < 0 or end - self.at > KEPT_BYTES:
            raise DamagedError("its pickle has a line without an end")
        line = self.data[self.at : end]
        self.at = end + 1
        return line

    def content(self, count: int) -> bytes | Long:
        """A text's bytes, or only its place."""
        if count <= KEPT_BYTES:
            return self.take(count)
        place = self.base + self.at
        if place + count > self.source.size:
            raise DamagedError("its pickle is cut off")
        self.base, self.at, self.data = place + count, 0, b""
        return Long(place, count)

    # --- the stack

    def group(self) -> list[Any]:
        """What was pushed since the last mark."""
        if not self.below:
            raise DamagedError("its pickle ends a group that it did not begin")
        items = self.stack
        self.stack = self.below.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_text(self, data: bytes | Long) -> None:
        if isinstance(data, bytes):
            self.stack.append(data.decode("utf-8", "replace"))
        else:
            self.stack.append(data)

    # --- objects

    def find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError("its pickle imports something whose name is no text")
        if self.protocol < 3:
            module, name = _of_python_3(module, name)
        full = f"{module}.{name}"
        self.globals[full] = None
        self.stack.append(Global(full))

    def call(self, callee: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            args = (args,)
        if isinstance(callee, Global):
            self.called.add(callee.name)
            if callee.name == "copyreg._reconstructor" and args:
                return Made(args[0], ())
            if callee.name == "copyreg.__newobj__" and args:
                return Made(args[0], args[1:])
            if callee.name == "_codecs.encode" and args and isinstance(args[0], str):
                return args[0].encode("latin-1", "replace")
            if callee.name == "torch.Size" and args and isinstance(args[0], list | tuple):
                return tuple(args[0])
            if callee.name == "torch.storage._load_from_bytes":
                self.packed.append(Made(callee, args))
                return self.packed[-1]
        return Made(callee, args)

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, Made):
            target.state = state
        elif isinstance(target, Global):  # would set attributes of a class or function itself
            self.called.add(target.name)

    def put_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Made):
            target.items.extend(items)
        elif type(target) is list:
            target.extend(items)
        else:
            raise DamagedError("its pickle appends to something that is no list")

    def put_pairs(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if len(items) % 2:
            raise DamagedError("its pickle has a key without a value")
        if isinstance(target, Made):
            target.pairs.extend(items)
        elif isinstance(target, Pairs):
            target.extend(items)
        else:
            raise DamagedError("its pickle sets items of something that is no dictionary")


def _of_python_3(module: str, name: str) -> tuple[str, str]:
    """Names of Python 2 as pickle itself replaces them in protocols 0 to 2."""
    from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    elif module in IMPORT_MAPPING:
        module = IMPORT_MAPPING[module]
    return module, name
