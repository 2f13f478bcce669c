"""C++ names as the linker writes them: the same name under gcc's other C++ ABI, and as text.

gcc writes std::string as `Ss` with the old C++ ABI and as std::__cxx11::basic_string with the new
one; what follows in a name is numbered anew. A name of a rarer kind is passed over with None.

https://itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling
https://gcc.gnu.org/onlinedocs/libstdc++/manual/using_dual_abi.html
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

Node = tuple[Any, ...]
"""A part of a name: its kind, then texts and other parts. ("path", component, …), ("wrap", "P", node), ("fn", node, …), ("builtin", "i") …"""

_TAG = "B5cxx11"
"""What a function that returns a std::string has after its name in the new ABI."""

_STRING: Node = ("string",)
_CHAR: Node = ("builtin", "c")
_NEW_STRING: Node = (
    "path", ("std",), ("id", "7__cxx11"), ("id", "12basic_string"),
    ("args", _CHAR, ("path", ("std",), ("id", "11char_traits"), ("args", _CHAR)),
     ("path", ("abbr", "Sa"), ("args", _CHAR))),
)  # fmt: skip
_BUILTINS = {
    "v": "void", "w": "wchar_t", "b": "bool", "c": "char", "a": "signed char", "h": "unsigned char",
    "s": "short", "t": "unsigned short", "i": "int", "j": "unsigned int", "l": "long",
    "m": "unsigned long", "x": "long long", "y": "unsigned long long", "n": "__int128",
    "o": "unsigned __int128", "f": "float", "d": "double", "e": "long double", "g": "__float128",
    "z": "...", "Dn": "decltype(nullptr)", "Di": "char32_t", "Ds": "char16_t", "Du": "char8_t",
    "Dh": "half",
}  # fmt: skip
_ABBREVIATIONS = {
    "Sa": "std::allocator", "Sb": "std::basic_string", "Si": "std::istream", "So": "std::ostream",
    "Sd": "std::iostream",
}  # fmt: skip
_OPERATORS = {
    "ls": "<<", "rs": ">>", "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
    "pl": "+", "mi": "-", "ml": "*", "dv": "/", "aS": "=", "pL": "+=", "mI": "-=", "mL": "*=",
    "dV": "/=", "cl": "()", "ix": "[]", "nt": "!", "aa": "&&", "oo": "||", "an": "&", "or": "|",
    "eo": "^", "co": "~", "rm": "%", "pp": "++", "mm": "--", "pt": "->", "nw": " new", "dl": " delete",
    "de": "*", "ng": "-", "ad": "&",
}  # fmt: skip


class Name(NamedTuple):
    """A name taken apart: `kind` is "" or TV, TI, TS, TT; `types` are those of the arguments."""

    kind: str
    qualifiers: str
    path: Node
    types: tuple[Node, ...]


class _RareError(Exception):
    """A name of a kind that is not taken apart here."""


def taken_apart(symbol: str) -> Name | None:
    """The parts of a mangled name; None for one of a rarer kind, or for none at all."""
    try:
        return _Reader(symbol).name()
    except (_RareError, IndexError, RecursionError):
        return None


def has_string(symbol: str) -> bool:
    """Whether the name tells the C++ ABI: it holds a std::string, or its function returns one."""
    name = taken_apart(symbol)
    if name is None:
        return re.search(r"__cxx11|B5cxx11|[EKRIPOSv_]Ss", symbol) is not None
    return _holds_string((name.path, *name.types))


def under_other_abi(symbol: str) -> tuple[str, ...]:
    """What a name may be called under the other C++ ABI; empty where it is of a rarer kind.

    A function that only returns a std::string is marked for it in the new ABI alone.
    """
    name = taken_apart(symbol)
    if name is None:
        return ()
    is_new = "cxx11" in symbol
    if is_new:
        return (_written(_without_tags(name), is_new=False),)
    both = (name, name._replace(path=_with_tag(name.path)))
    return tuple(text for it in both if (text := _written(it, is_new=True)) != symbol)


def as_text(symbol: str) -> str | None:
    """The name as c++filt has it, without spaces, std::string in both ABIs so; None if rarer."""
    name = taken_apart(symbol)
    if name is None:
        return None
    try:
        path = _text(name.path)
        types = [_text(it) for it in name.types]
    except (_RareError, RecursionError):
        return None
    returned = ""
    if types and name.path[-1][0] == "args" and not _is_constructor(name.path):
        returned, types = types[0], types[1:]
    arguments = "" if not types else "()" if types == ["void"] else f"({','.join(types)})"
    kind = {"TV": "vtablefor", "TI": "typeinfofor", "TS": "typeinfonamefor", "TT": "VTTfor"}.get(
        name.kind, ""
    )
    quals = "".join(_QUALIFIERS[it] for it in name.qualifiers)
    return f"{kind}{returned}{path}{arguments}{quals}".replace(" ", "")


def plain_text(text: str) -> str:
    """What a linker wrote of a name, made alike: no spaces, std::string in one way."""
    text = re.sub(r"\s|\[abi:cxx11\]", "", text)
    text = re.sub(r"std::basic_([io]{1,2}stream)<char,std::char_traits<char>>", r"std::\1", text)
    return re.sub(
        r"std::(?:__cxx11::)?basic_string<char,std::char_traits<char>,std::allocator<char>>",
        "std::string",
        text,
    )


def mangled_start(plain: str) -> str | None:
    """How a name is mangled up to its arguments, `3c106detail14torchCheckFail`, of `plain_text`."""
    path = re.sub(r"^(?:vtable|typeinfo|typeinfoname|VTT|guardvariable)for", "", plain)
    pieces: list[str] = []
    for piece in path.partition("(")[0].split("::"):
        match = re.match(r"(?:[\w*&]*[*&])?(~?)([A-Za-z_]\w*)(<?)", piece)
        if match is None:
            return None
        operator = re.match(r"operator(\W{1,3})$", piece)
        if operator is not None:
            codes = [code for code, text in _OPERATORS.items() if text == operator[1]]
            return "".join(pieces) + (codes[0] if len(codes) == 1 else "")
        written = f"{len(match[2])}{match[2]}"
        if match[1] or written in pieces[-1:]:  # a destructor or constructor
            return "".join(pieces)
        pieces.append(written)
        if match[3]:
            break
    return "".join(pieces) or None


_QUALIFIERS = {"K": "const", "V": "volatile", "r": "restrict", "R": "&", "O": "&&"}


# --- reading


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.known: list[Node] = []

    def name(self) -> Name:
        self._take("_Z")
        kind = ""
        if self.text[self.at : self.at + 2] in ("TV", "TI", "TS", "TT"):
            kind = self.text[self.at : self.at + 2]
            self.at += 2
            path, qualifiers = self._type(), ""
            types: list[Node] = []
        else:
            path, qualifiers = self._function_name()
            types = []
            while self.at < len(self.text):
                types.append(self._type())
        if self.at != len(self.text):
            raise _RareError
        return Name(kind, qualifiers, path, tuple(types))

    def _take(self, text: str) -> None:
        if not self.text.startswith(text, self.at):
            raise _RareError
        self.at += len(text)

    def _match(self, pattern: str) -> re.Match[str] | None:
        match = re.compile(pattern).match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def _function_name(self) -> tuple[Node, str]:
        if self.text[self.at] == "N":
            return self._nested(is_function=True)
        path: tuple[Node, ...] = (("std",),) if self._match("St") else ()
        path = (*path, self._unqualified())
        if self.text[self.at : self.at + 1] == "I":
            self.known.append(("path", *path))
            path = (*path, self._arguments())
        return ("path", *path), ""

    def _nested(self, *, is_function: bool) -> tuple[Node, str]:
        self._take("N")
        quals = self._match("[rVK]*[RO]?")
        path: tuple[Node, ...] = ()
        is_added = False
        while not self._match("E"):
            is_added = True
            here = self.text[self.at]
            if here == "S" and not path:
                node = self._substitution()
                path, is_added = node[1:] if node[0] == "path" else (node,), False
                continue
            if here == "T" and not path:
                path = (self._parameter(),)
            elif here == "I":
                path = (*path, self._arguments())
            else:
                path = (*path, self._unqualified())
            self.known.append(_path(path))
        if is_function and is_added:
            self.known.pop()
        if not path or (is_function and len(path) < 2):
            raise _RareError
        return _path(path), quals[0] if quals else ""

    def _unqualified(self) -> Node:
        start = self.at
        number = self._match(r"\d{1,4}")
        if number is not None:
            self.at += int(number[0])
            if self.at > len(self.text):
                raise _RareError
        elif self._match("cv"):
            return ("conversion", self._type())
        elif not self._match(r"C[1-5]|D[0-5]|[a-z][a-zA-Z](?<!cv)"):
            raise _RareError
        while self._match(r"B\d{1,3}"):
            self.at += int(re.findall(r"\d+", self.text[: self.at])[-1])
        return ("id", self.text[start : self.at])

    def _arguments(self) -> Node:
        self._take("I")
        found = []
        while not self._match("E"):
            found.append(self._argument())
        return ("args", *found)

    def _argument(self) -> Node:
        if self._match("J"):
            found = []
            while not self._match("E"):
                found.append(self._argument())
            return ("pack", *found)
        if self._match("L"):
            kind = self._type()
            value = self._match(r"(n?\d*)E")
            if value is None:
                raise _RareError
            return ("literal", kind, value[1])
        return self._type()

    def _parameter(self) -> Node:
        found = self._match(r"T\d*_")
        if found is None:
            raise _RareError
        return ("parameter", found[0])

    def _type(self) -> Node:
        here = self.text[self.at]
        two = self.text[self.at : self.at + 2]
        if here in "PRO" or two == "Dp":
            self.at += 2 if two == "Dp" else 1
            return self._added(("wrap", "Dp" if two == "Dp" else here, self._type()))
        quals = self._match("[rVK]+")
        if quals is not None:
            return self._added(("wrap", quals[0], self._type()))
        builtin = self._match("D[nisuh]|[vwbcahstijlmxynofdegz]")
        if builtin is not None:
            return ("builtin", builtin[0])
        if here == "F":
            self.at += 1
            found = []
            while not self._match("E"):
                found.append(self._type())
            return self._added(("fn", *found))
        if here == "N":
            return self._nested(is_function=False)[0]
        if here == "S":
            return self._with_arguments(self._substitution())
        if here == "T":
            return self._with_arguments(self._added(self._parameter()))
        if here == "A":
            size = self._match(r"A\d*_")
            if size is None:
                raise _RareError
            return self._added(("array", size[0], self._type()))
        if here.isdigit():
            return self._with_arguments(self._added(_path((self._unqualified(),))))
        raise _RareError

    def _added(self, node: Node) -> Node:
        self.known.append(node)
        return node

    def _with_arguments(self, node: Node) -> Node:
        if self.text[self.at : self.at + 1] != "I":
            return node
        path = node[1:] if node[0] == "path" else (node,)
        return self._added(_path((*path, self._arguments())))

    def _substitution(self) -> Node:
        if self._match("Ss"):
            return _STRING
        abbreviation = self._match("S[abiod]")
        if abbreviation is not None:
            return ("path", ("abbr", abbreviation[0]))
        if self._match("St"):
            if not self.text[self.at : self.at + 1].isdigit():
                return ("path", ("std",))
            return self._added(("path", ("std",), self._unqualified()))
        number = self._match(r"S([0-9A-Z]*)_")
        if number is None:
            raise _RareError
        return self.known[int(number[1], 36) + 1 if number[1] else 0]


def _path(components: tuple[Node, ...]) -> Node:
    node = ("path", *components)
    return _STRING if node == _NEW_STRING else node


# --- writing


def _written(name: Name, *, is_new: bool) -> str:
    writer = _Writer(is_new=is_new)
    if name.kind:
        return f"_Z{name.kind}{writer.type(name.path)}"
    path = name.path[1:]
    return f"_Z{writer.function(path, name.qualifiers)}{''.join(map(writer.type, name.types))}"


class _Writer:
    def __init__(self, *, is_new: bool) -> None:
        self.is_new = is_new
        self.known: dict[Node, int] = {}

    def function(self, path: Node, qualifiers: str) -> str:
        if _is_flat(path) and not qualifiers:
            if path[-1][0] == "args":
                return self._prefix(path[:-1]) + self._component(path[-1])
            return "".join(self._component(it) for it in path)
        start = self._prefix(path[:-1])
        return f"N{qualifiers}{start}{self._component(path[-1])}E"

    def type(self, node: Node) -> str:
        if node == _STRING:
            return self._nested(_NEW_STRING) if self.is_new else "Ss"
        kind = node[0]
        if kind == "builtin":
            return str(node[1])
        if kind == "literal":
            return f"L{self.type(node[1])}{node[2]}E"
        if kind == "pack":
            return f"J{''.join(map(self.type, node[1:]))}E"
        if kind == "path" and len(node) == 2 and node[1][0] in ("std", "abbr"):
            return self._component(node[1])
        if node in self.known:
            return _number(self.known[node])
        if kind == "path" and not _is_flat(node[1:]):
            return self._nested(node)
        text = self._compound(node)
        self.known.setdefault(node, len(self.known))
        return text

    def _compound(self, node: Node) -> str:
        kind = node[0]
        if kind == "path":
            return self._prefix(node[1:-1]) + self._component(node[-1])
        if kind in ("wrap", "array"):
            return f"{node[1]}{self.type(node[2])}"
        if kind == "fn":
            return f"F{''.join(map(self.type, node[1:]))}E"
        if kind == "parameter":
            return str(node[1])
        raise _RareError

    def _nested(self, node: Node) -> str:
        if node in self.known:
            return _number(self.known[node])
        text = f"N{self._prefix(node[1:-1])}{self._component(node[-1])}E"
        self.known.setdefault(node, len(self.known))
        return text

    def _prefix(self, path: Node) -> str:
        if not path:
            return ""
        if len(path) == 1 and path[0][0] in ("std", "abbr"):
            return self._component(path[0])
        if len(path) == 1 and path[0][0] not in ("id", "conversion"):
            return self.type(path[0])
        node = ("path", *path)
        if node in self.known:
            return _number(self.known[node])
        text = self._prefix(path[:-1]) + self._component(path[-1])
        self.known.setdefault(node, len(self.known))
        return text

    def _component(self, component: Node) -> str:
        kind = component[0]
        if kind == "std":
            return "St"
        if kind in ("id", "abbr"):
            return str(component[1])
        if kind == "args":
            return f"I{''.join(map(self.type, component[1:]))}E"
        if kind == "conversion":
            return f"cv{self.type(component[1])}"
        return self.type(component)


def _is_flat(path: Node) -> bool:
    """Whether it is written without N and E: one name, perhaps of std, perhaps with arguments."""
    names = [it for it in path if it[0] not in ("args", "std")]
    return (
        len(names) == 1
        and path[-1][0] in ("id", "args", "abbr", "parameter")
        and (sum(it[0] == "args" for it in path) <= 1)
    )


def _number(place: int) -> str:
    if place == 0:
        return "S_"
    digits, place = "", place - 1
    while True:
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[place % 36] + digits
        place //= 36
        if place == 0:
            return f"S{digits}_"


# --- looking at it


def _holds_string(nodes: Node) -> bool:
    for node in nodes:
        if node == _STRING:
            return True
        if isinstance(node, tuple) and _holds_string(node):
            return True
        if isinstance(node, str) and _TAG in node:
            return True
    return False


def _with_tag(path: Node) -> Node:
    last = max((place for place, it in enumerate(path) if it[0] == "id"), default=0)
    if not last:
        return path
    return (*path[:last], ("id", path[last][1] + _TAG), *path[last + 1 :])


def _without_tags(name: Name) -> Name:
    path = tuple(
        ("id", it[1].replace(_TAG, "")) if isinstance(it, tuple) and it[0] == "id" else it
        for it in name.path
    )
    return name._replace(path=path)


def _is_constructor(path: Node) -> bool:
    return any(it[0] == "id" and re.match("[CD][0-5]", it[1]) for it in path[1:])


def _text(node: Node) -> str:
    kind = node[0]
    if kind == "string":
        return "std::string"
    if kind == "builtin":
        return _BUILTINS[node[1]]
    if kind == "wrap":
        inner = _text(node[2])
        if node[2][0] in ("fn", "array"):
            raise _RareError
        if node[1] == "Dp":
            raise _RareError
        marks = {"P": "*", "R": "&", "O": "&&", "K": " const", "V": " volatile"}
        return inner + "".join(marks.get(it, "") for it in node[1])
    if kind == "literal":
        value = node[2].replace("n", "-")
        if node[1] == ("builtin", "b"):
            return "true" if value == "1" else "false"
        suffix = (
            {"l": "l", "m": "ul", "j": "u"}.get(node[1][1], "") if node[1][0] == "builtin" else ""
        )
        return f"{value}{suffix}" if node[1][0] == "builtin" else f"({_text(node[1])}){value}"
    if kind == "path":
        parts: list[str] = []
        for it in node[1:]:
            if it[0] == "args":
                parts[-1] += f"<{','.join(_text(one) for one in it[1:])}>"
            else:
                parts.append(_component_text(it, parts))
        return "::".join(parts)
    raise _RareError


def _component_text(component: Node, before: list[str]) -> str:
    kind = component[0]
    if kind == "std":
        return "std"
    if kind == "abbr":
        return _ABBREVIATIONS[component[1]]
    if kind == "id":
        text = re.sub(_TAG + "$", "", component[1])
        if text[0].isdigit():
            return re.sub(r"^\d+", "", text)
        if re.match("[CD][0-5]$", text) and before:
            own = before[-1].partition("<")[0]
            return own if text[0] == "C" else f"~{own}"
        if text in _OPERATORS:
            return f"operator{_OPERATORS[text]}"
    if kind == "conversion":
        return f"operator {_text(component[1])}"
    raise _RareError
