"""What each operation of the pickle language does to the machine of `pickles.py`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torchkit.model.files.described import Global, Long, Made, Pairs, Persistent
from torchkit.model.files.source import DamagedError

if TYPE_CHECKING:
    from torchkit.model.files.pickles import Machine

KEPT_BYTES = 65536
"""A longer text is not kept."""

_Handler = Callable[["Machine"], None]


def _unknown(machine: Machine) -> None:
    code = machine.data[machine.at - 1]
    raise DamagedError(f"its pickle has the byte {code:#04x} where an operation belongs")


def _mark(machine: Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.group()


def _memoize(machine: Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _get(machine: Machine, index: int) -> None:
    if index not in machine.memo:
        raise DamagedError("its pickle refers to something that it did not store")
    machine.stack.append(machine.memo[index])


def _constant(value: Any) -> _Handler:
    return lambda machine: machine.stack.append(value)


def _new(kind: Callable[[], Any]) -> _Handler:
    return lambda machine: machine.stack.append(kind())


def _whole_line(text: str, kind: Callable[[str], Any]) -> Any:
    if len(text) > 1000:  # int() of a long text takes time with the square of its length
        raise DamagedError("its pickle has a number of more than 1,000 digits")
    return kind(text)


def _int_line(machine: Machine) -> None:
    text = machine.line()
    machine.stack.append({"00": False, "01": True}.get(text, _whole_line(text.strip() or "0", int)))


def _long(machine: Machine, count: int) -> None:
    if count > 1000:
        machine.stack.append(
            machine.content(count) if count > KEPT_BYTES else _skipped(machine, count)
        )
    else:
        machine.stack.append(int.from_bytes(machine.take(count), "little", signed=True))


def _skipped(machine: Machine, count: int) -> Long:
    place = machine.base + machine.at
    machine.take(count)
    return Long(place, count)


def _tuple(count: int) -> _Handler:
    def handler(machine: Machine) -> None:
        stack = machine.stack
        if len(stack) < count:
            raise IndexError
        stack[-count:] = [tuple(stack[-count:])]

    return handler


def _reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], args)


def _new_object(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = Made(machine.stack[-1], args if isinstance(args, tuple) else (args,))


def _new_object_ex(machine: Machine) -> None:
    keywords = machine.stack.pop()
    _new_object(machine)
    if isinstance(keywords, Pairs) and keywords:
        machine.stack[-1].args += (keywords,)


def _inst(machine: Machine) -> None:
    machine_args = machine.group()
    machine.find(machine.line(), machine.line())
    machine.stack[-1] = machine.call(machine.stack[-1], tuple(machine_args))


def _obj(machine: Machine) -> None:
    args = machine.group()
    machine.stack.append(machine.call(args[0], tuple(args[1:])))


def _extension(count: int) -> _Handler:
    def handler(machine: Machine) -> None:
        name = f"copyreg.extension_{machine.number(count)}"
        machine.globals[name] = None
        machine.called.add(name)
        machine.stack.append(Global(name))

    return handler


def _stack_global(machine: Machine) -> None:
    name = machine.stack.pop()
    machine.find(machine.stack.pop(), name)


def _bytes(size_bytes: int) -> _Handler:
    return lambda machine: machine.stack.append(machine.content(machine.number(size_bytes)))


def _text(size_bytes: int) -> _Handler:
    return lambda machine: machine.push_text(machine.content(machine.number(size_bytes)))


def _pushed_line(kind: Callable[[str], Any]) -> _Handler:
    return lambda machine: machine.stack.append(kind(machine.line()))


def _fixed(layout: str) -> _Handler:
    reader = struct.Struct(layout)
    return lambda machine: machine.stack.append(reader.unpack(machine.take(reader.size))[0])


def _set_dictionary(machine: Machine) -> None:
    items = machine.group()
    machine.stack.append(Pairs())
    machine.put_pairs(items)


def _set_protocol(machine: Machine) -> None:
    machine.protocol = machine.number(1)
    if machine.protocol > 5:
        raise DamagedError(f"its pickle says protocol {machine.protocol}, there are 0 to 5")


def _persistent(machine: Machine) -> None:
    id = machine.stack[-1]
    if isinstance(id, tuple) and len(id) > 1 and id[0] == "module" and isinstance(id[1], Global):
        machine.stack[-1] = id[1]  # a class with its source, in files of torch before 1.6
    else:
        machine.stack[-1] = Persistent(id)


def _set_item(machine: Machine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    machine.put_pairs([key, value])


_BY_CODE: dict[str, _Handler] = {
    "(": _mark,
    "0": _pop,
    "1": lambda machine: (machine.group(), None)[1],
    "2": lambda machine: machine.stack.append(machine.stack[-1]),
    "F": _pushed_line(lambda text: _whole_line(text, float)),
    "I": _int_line,
    "J": _fixed("<i"),
    "K": lambda machine: machine.stack.append(machine.take(1)[0]),
    "L": _pushed_line(lambda text: _whole_line(text.rstrip("L"), int)),
    "M": _fixed("<H"),
    "N": _constant(None),
    "P": _pushed_line(Persistent),
    "Q": _persistent,
    "R": _reduce,
    "S": _pushed_line(lambda text: text.strip("'\"")),
    "T": _text(4),
    "U": _text(1),
    "V": lambda machine: machine.push(machine.raw_line().decode("raw-unicode-escape", "replace")),
    "X": _text(4),
    "a": lambda machine: machine.put_items([machine.stack.pop()]),
    "b": lambda machine: machine.build(machine.stack.pop()),
    "c": lambda machine: machine.find(machine.line(), machine.line()),
    "d": _set_dictionary,
    "}": _new(Pairs),
    "e": lambda machine: machine.put_items(machine.group()),
    "g": lambda machine: _get(machine, _whole_line(machine.line(), int)),
    "h": lambda machine: _get(machine, machine.take(1)[0]),
    "i": _inst,
    "j": lambda machine: _get(machine, machine.number(4)),
    "l": lambda machine: machine.push(machine.group()),
    "]": _new(list),
    "o": _obj,
    "p": lambda machine: _put(machine, _whole_line(machine.line(), int)),
    "q": lambda machine: _put(machine, machine.take(1)[0]),
    "r": lambda machine: _put(machine, machine.number(4)),
    "s": _set_item,
    "t": lambda machine: machine.push(tuple(machine.group())),
    ")": _constant(()),
    "u": lambda machine: machine.put_pairs(machine.group()),
    "G": _fixed(">d"),
    "B": _bytes(4),
    "C": _bytes(1),
    "\x80": _set_protocol,
    "\x81": _new_object,
    "\x82": _extension(1),
    "\x83": _extension(2),
    "\x84": _extension(4),
    "\x85": _tuple(1),
    "\x86": _tuple(2),
    "\x87": _tuple(3),
    "\x88": _constant(True),
    "\x89": _constant(False),
    "\x8a": lambda machine: _long(machine, machine.number(1)),
    "\x8b": lambda machine: _long(machine, machine.number(4)),
    "\x8c": _text(1),
    "\x8d": _text(8),
    "\x8e": _bytes(8),
    "\x8f": _new(list),
    "\x90": lambda machine: machine.put_items(machine.group()),
    "\x91": lambda machine: machine.push(machine.group()),
    "\x92": _new_object_ex,
    "\x93": _stack_global,
    "\x94": _memoize,
    "\x95": lambda machine: (machine.take(8), None)[1],
    "\x96": _bytes(8),
    "\x97": _constant(None),
    "\x98": lambda machine: (machine, None)[1],
}
HANDLERS: tuple[_Handler, ...] = tuple(_BY_CODE.get(chr(code), _unknown) for code in range(256))
"""What each byte does."""
