"""Names that a log says are missing, looked up in the libraries of torch.

A name is looked for as it is and under the other C++ ABI, which tells what a text alone cannot:
ABI, version, or a libtorch that is not linked.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from torchkit.advice.mangled import (
    as_text,
    has_string,
    mangled_start,
    plain_text,
    under_other_abi,
)
from torchkit.advice.symbol_names import readable
from torchkit.commands.explain_confirm import CONFIRMED, NOT_CHECKED, REFUTED, Checked
from torchkit.commands.explain_libraries import (
    CPU_BUILD,
    OF_LIBRARIES,
    build_rows,
    called,
    library_rows,
)
from torchkit.knowledge.problems import possible_causes, problems
from torchkit.logs.problems import Met
from torchkit.machine.facts import Facts
from torchkit.machine.symbols import Exports, Symbol, defined_symbols
from torchkit.system import System, Unknown

LOADER_ABI, LOADER_VERSION = "undefined-symbol-abi", "undefined-symbol-version"
LINK_ABI, LINK_LIBRARIES = "link-cxx11-abi", "link-torch-libs-missing"
OF_LOADER = {LOADER_ABI, LOADER_VERSION}
OF_LINKER = {LINK_ABI, LINK_LIBRARIES}

FACTS = ("torch_path", "torch_version", "torch_build")

MOST_NAMES = 40
"""So many missing names are looked up; a link without libtorch lacks thousands."""

Rows = dict[str, list[Checked]]


class Place(Enum):
    """Where a missing name was found."""

    HERE = "as it is"
    OTHER_ABI = "under the other ABI"
    NOWHERE = "in neither form"


class _Libraries(NamedTuple):
    """The libraries of one torch or libtorch. `is_meant`: the log surely speaks of these."""

    system: System
    folder: Path
    called: str
    is_meant: bool = False

    @property
    def files(self) -> list[Path]:
        names = self.system.names_in(self.folder)
        of_torch = re.compile(r"lib(?:c10|torch|caffe2|shm)\w*\.so")
        return [self.folder / name for name in names if of_torch.fullmatch(name)]


def settled(
    met: Sequence[Met],
    facts_of: Callable[[Sequence[str]], Facts | None],
    system: System | None,
) -> tuple[tuple[Met, ...], Rows]:
    """The problems as the machine's libraries show them, and what was found, by problem."""
    met = _by_text(met)
    ids = {it.problem.id for it in met}
    if system is None or not ids & {*OF_LOADER, *OF_LINKER, *OF_LIBRARIES, CPU_BUILD}:
        return tuple(met), {}
    facts = facts_of(FACTS)
    if facts is None:
        return tuple(met), {}
    rows: Rows = {}
    found: list[Met] = []
    for one in met:
        new, checked = _looked(one, facts, system)
        if new.problem.id not in (it.problem.id for it in found):
            found.append(new)
            rows[new.problem.id] = checked
    return tuple(found), rows


def _by_text(met: Sequence[Met]) -> tuple[Met, ...]:
    """Where names without a string are missing as well, it is no matter of the ABI."""
    ids = {it.problem.id for it in met}
    if ids >= OF_LINKER:
        return tuple(it for it in met if it.problem.id != LINK_ABI)
    return tuple(met)


def _looked(met: Met, facts: Facts, system: System) -> tuple[Met, list[Checked]]:
    if met.problem.id in OF_LIBRARIES:
        return met, library_rows(met, facts, system)
    if met.problem.id == CPU_BUILD:
        return met, build_rows(facts)
    if met.problem.id not in OF_LOADER | OF_LINKER:
        return met, []
    libraries = _libraries(met, facts, system)
    if isinstance(libraries, str):
        return met, [Checked(NOT_CHECKED, libraries)]
    names = _names(met)
    places = _places(names, libraries)
    if isinstance(places, Unknown):
        return met, [Checked(NOT_CHECKED, f"{libraries.folder}: {places.reason}")]
    if not places:
        return met, []
    if met.problem.id in OF_LOADER:
        return _of_loader(met, places, libraries, facts)
    return _of_linker(met, places, libraries)


def with_rows(checked: Mapping[str, Sequence[Checked]], rows: Rows) -> Rows:
    """What the checks say behind what was found in the libraries, which refutes what refutes it.

    A check of `env` looks at installed modules; the one of the log may lie elsewhere.
    """
    merged = {problem_id: list(found) for problem_id, found in checked.items()}
    for problem_id, own in rows.items():
        others = merged.get(problem_id, [])
        if any(it.state == CONFIRMED for it in own):
            others = [it for it in others if it.state != REFUTED]
        merged[problem_id] = [*own, *others]
    return merged


# --- which libraries, which names


_IN_LOG = re.compile(r"(/[\w./+@-]{1,300}?/lib)/lib(?:c10|torch)\w{0,20}\.so")
_MODULE = re.compile(r"(/[\w./+@-]{1,400}?\.so[\d.]{0,8}):undefinedsymbol")


def _libraries(met: Met, facts: Facts, system: System) -> _Libraries | str:
    """Those that the log names where they are here, else the installed torch's.

    What a log from elsewhere speaks of is not known; its module is not here.
    """
    if met.problem.id in OF_LINKER:
        for folder in dict.fromkeys(_IN_LOG.findall(met.around)):
            if any(name.startswith("libc10.") for name in system.names_in(folder)):
                return _Libraries(system, Path(folder), folder, is_meant=True)
    path = facts.known("torch_path")
    if not isinstance(path, str):
        return "torch is not installed here, whose libraries would tell"
    is_here = any(system.size(it) is not None for it in _MODULE.findall(met.around))
    found = _Libraries(system, Path(path) / "lib", called(facts), is_meant=is_here)
    if not found.files:
        return f"{found.folder} has no libraries that could be looked into"
    return found


def _names(met: Met) -> list[str]:
    """The missing names of the log, without what stood in the lines after them."""
    values = [it.get("symbol", "") for it in (met.values, *met.others)]
    names = [_name(text) for text in values if text]
    return list(dict.fromkeys(name for name in names if name))[:MOST_NAMES]


def _name(text: str) -> str:
    """The name at the start of a text that may go on; "" where it is cut off."""
    mangled = re.match(r"_?(_Z\w+)", text)
    if mangled is not None:
        return mangled[1]
    if "(" not in text:
        return text if "::" in text else text.split(maxsplit=1)[0]
    depth = 0
    start = text.find("operator()") + len("operator()") if "operator()" in text else 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0 and text[place] == ")":
            const = re.match(r"\s?const(?: &{1,2})?", text[place + 1 :])
            return text[: place + 1] + (const[0] if const else "")
    return ""


def _places(names: Iterable[str], libraries: _Libraries) -> dict[str, Place] | Unknown:
    """Where each name is found. Names of a rarer kind are left out."""
    names = list(names)
    mangled = [name for name in names if name.startswith("_Z") or name.isidentifier()]
    found: dict[str, Place] = {}
    for name in mangled:
        place = _place_of_mangled(name, libraries)
        if isinstance(place, Unknown):
            return place
        found[name] = place
    written = [name for name in names if name not in mangled]
    if written:
        tables = [defined_symbols(libraries.system, path) for path in libraries.files]
        unknown = next((it for it in tables if isinstance(it, Unknown)), None)
        if unknown is not None:
            return unknown
        known = {name for it in tables if not isinstance(it, Unknown) for name in it}
        found |= _places_of_written(written, sorted(known))
    return found


def _place_of_mangled(name: str, libraries: _Libraries) -> Place | Unknown:
    exports = [Exports(libraries.system, path) for path in libraries.files]
    for wanted, place in (
        (name, Place.HERE),
        *((it, Place.OTHER_ABI) for it in under_other_abi(name)),
    ):
        for one in exports:
            defines = one.defines(Symbol(wanted))
            if isinstance(defines, Unknown):
                return defines
            if defines:
                return place
    return Place.NOWHERE


def _places_of_written(names: Sequence[str], known: Sequence[str]) -> dict[str, Place]:
    """For names as the linker writes them, with arguments; `known` are mangled, and sorted."""
    found = {}
    for name in names:
        plain = plain_text(name)
        start = mangled_start(plain)
        if start is None:
            continue
        texts = {it: as_text(it) for it in _starting_with(start, known)}
        same = [it for it, text in texts.items() if text == plain]
        is_new = "cxx11" in name
        if not same and None in texts.values():
            continue  # it may be one that could not be read
        if not same:
            found[name] = Place.NOWHERE
        elif any(("cxx11" in it) == is_new for it in same):
            found[name] = Place.HERE
        else:
            found[name] = Place.OTHER_ABI
    return found


def _starting_with(start: str, known: Sequence[str]) -> Iterator[str]:
    """Names that begin so after `_ZN`, `_ZNK`, `_ZTVN` …"""
    for kind in ("_ZN", "_ZNK", "_ZNR", "_ZNO", "_ZNKR", "_ZTVN", "_ZTIN", "_ZTSN", "_ZTTN", "_Z"):
        prefix = kind + start
        for place in range(bisect.bisect_left(known, prefix), len(known)):
            if not known[place].startswith(prefix):
                break
            yield known[place]


# --- what it means


def _of_loader(
    met: Met, places: Mapping[str, Place], libraries: _Libraries, facts: Facts
) -> tuple[Met, list[Checked]]:
    name, place = next(iter(places.items()))
    shown, source = readable(name), str(libraries.folder)
    if place is Place.HERE:
        by = f"{libraries.called} defines {shown}: it was another torch that was loaded, or torch was not imported first"
        return met, [Checked(REFUTED, by, source)]
    if place is Place.OTHER_ABI:
        by = f"{libraries.called} defines {shown} under the other C++ ABI only"
        return _as(met, LOADER_ABI), [Checked(CONFIRMED, by, source)]
    forms = " under either C++ ABI" if has_string(name) else ""
    by = f"{libraries.called} does not define {shown}{forms}"
    if facts.known("torch_build") == "cpu" and re.search(r"4cuda(?:[A-Z]|\d)", name):
        by += ", being a CPU build"
    if met.problem.id == LOADER_VERSION or libraries.is_meant:
        return _as(met, LOADER_VERSION), [Checked(CONFIRMED, by, source)]
    return met, [Checked(CONFIRMED, by, source, _cause(LOADER_ABI, 0))]


def _of_linker(
    met: Met, places: Mapping[str, Place], libraries: _Libraries
) -> tuple[Met, list[Checked]]:
    of = {place: [name for name, it in places.items() if it is place] for place in Place}
    source = str(libraries.folder)
    guess = "" if libraries.is_meant else ", if that is the one that is meant,"
    named = f"{libraries.called}{guess}"
    if of[Place.OTHER_ABI] and not of[Place.HERE]:
        by = f"{named} defines {_short(of[Place.OTHER_ABI])} under the other C++ ABI only"
        return _as(met, LINK_ABI), [Checked(CONFIRMED, by, source)]
    if libraries.is_meant:
        met = _as(met, LINK_LIBRARIES)
    if of[Place.HERE]:
        by = f"{named} defines {_short(of[Place.HERE])} just as the linker wants {_it(of[Place.HERE])}"
        return met, [
            Checked(CONFIRMED, by, source, _cause(met.problem.id, 0)),
            Checked(REFUTED, "it has such names", source, _cause(met.problem.id, 1)),
        ]
    by = f"{named} does not define {_short(of[Place.NOWHERE])} in any form"
    return met, [
        Checked(CONFIRMED, by, source, _cause(met.problem.id, 1)),
        Checked(REFUTED, "to link it would not help", source, _cause(met.problem.id, 0)),
    ]


def _cause(problem_id: str, place: int) -> str:
    return possible_causes()[problem_id][place].cause


def _as(met: Met, problem_id: str) -> Met:
    return met if met.problem.id == problem_id else met._replace(problem=problems()[problem_id])


def _short(names: Sequence[str]) -> str:
    first = readable(names[0])
    first = re.sub(r"\(.*", "(…)", first, flags=re.DOTALL)
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
