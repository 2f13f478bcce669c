"""What a `dlopen` of one file would say, symbols and all: the last word on whether it loads.

Follows glibc: the new files are relocated in the order of elf/dl-open.c and dl-sort-maps.c, those
that others depend on first; within one, in the order of its relocations; each name is looked for
in the global scope and then in that of the file that was opened. That a symbol exists is all that
matters here, not which of several is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit.machine.elf import DAMAGED
from torchkit.machine.loader import Loaded, Loader, Mapped, Problem, Trial
from torchkit.machine.symbols import (
    Import,
    Query,
    Symbol,
    imported_symbols,
    query,
    relocated_symbols,
)
from torchkit.system import System, Unknown

SEARCHES_ON = (2, 30)
"""Before this glibc, a symbol with a version had to be in the library that is named with it.

https://sourceware.org/bugzilla/show_bug.cgi?id=24741
"""

SORTS_BY_DEPTH = (2, 35)
"""Since this glibc, files are sorted depth first (glibc.rtld.dynamic_sort=2)."""

_NOWHERE = "cannot open shared object file: No such file or directory"


class Attempt(NamedTuple):
    """How a `dlopen` would go.

    `error` is the first thing the loader says, as `ctypes.CDLL(path)` would raise it; None: it
    loads. `missing_library` is the first needed file that is nowhere; `missing_symbols` are the
    names that nothing defines, the one the loader stumbles over first being the first; they are
    not looked for while a library is missing. `libraries` is what comes into the process.
    """

    error: str | None = None
    missing_library: str | None = None
    missing_symbols: tuple[Symbol, ...] = ()
    libraries: tuple[Loaded, ...] = ()


def attempt(system: System, loader: Loader, path: Path) -> Attempt | Unknown:
    """How a `dlopen` of this file would go now, with RTLD_NOW, as Python's import and ctypes do.

    The loader's process is afterwards as it was before.
    """
    if loader.not_simulated is None and not loader.program_is_known:
        return Unknown("the program that would load it cannot be read")
    trial = loader.trial(path)
    if isinstance(trial, Unknown):
        return trial
    libraries, problems = trial.load
    error = problems[0].text if problems else None
    if error is not None and error.endswith(DAMAGED):  # the loader may load it, or crash
        return Unknown(error)
    if any(not problem.version for problem in problems):
        return Attempt(error, _missing_library(problems, path), (), libraries)
    found = unbound(system, loader, trial)
    if isinstance(found, Unknown):
        return found if error is None else Attempt(error, None, (), libraries)
    missing = tuple(dict.fromkeys(symbol for _, symbol in found))
    if error is None and found:
        error = complaint(system, *found[0])
    return Attempt(error, None, missing, libraries)


def _missing_library(problems: Sequence[Problem], path: Path) -> str | None:
    for problem in problems:
        if problem.library != str(path) and problem.text.endswith(_NOWHERE):
            return problem.library
    return None


def unbound(
    system: System, loader: Loader, trial: Trial
) -> tuple[tuple[Mapped, Symbol], ...] | Unknown:
    """Every symbol that nothing defines, in the loader's order, and the file that asks for it."""
    asked: dict[Mapped, tuple[Import, ...]] = {}
    for mapped in trial.new:
        imports = imported_symbols(system, loader.path_of(mapped))
        if isinstance(imports, Unknown):
            return Unknown(f"{mapped.name}: {imports.reason}")
        asked[mapped] = imports
    missing = _undefined(
        loader,
        trial,
        {entry.symbol for imports in asked.values() for entry in imports},
        stops_at_library=_stops_at_library(system),
    )
    if isinstance(missing, Unknown):
        return missing
    found: list[tuple[Mapped, Symbol]] = []
    for mapped in _in_order_of_relocation(system, trial.new) if missing else ():
        by_place = {entry.place: entry.symbol for entry in asked[mapped] if entry.symbol in missing}
        if by_place:
            order = relocated_symbols(system, loader.path_of(mapped), by_place)
            if isinstance(order, Unknown):
                return Unknown(f"{mapped.name}: {order.reason}")
            found += [(mapped, by_place[place]) for place in order]
    return tuple(found)


def _undefined(
    loader: Loader, trial: Trial, symbols: Iterable[Symbol], *, stops_at_library: bool
) -> set[Symbol] | Unknown:
    """Those of the symbols that no file in scope defines.

    The likeliest files are asked first: the one that is named with the version, then the files
    that come with the one that is opened. The loader does without a weak one, save that older
    ones `stops_at_library`: they look no further than the library that is named.
    """
    in_order = tuple(dict.fromkeys((*trial.global_scope, *trial.local_scope)))
    left = {
        symbol: query(symbol)
        for symbol in symbols
        if not symbol.is_weak or (stops_at_library and symbol.library is not None)
    }
    missing: set[Symbol] = set()
    try:
        for library, wanted in _by_library(left.values()).items():
            named = next((mapped for mapped in in_order if mapped.answers_to(library)), None)
            if named is not None:
                _strike_out(loader, (named,), wanted, left)
                if stops_at_library:
                    before = in_order[: in_order.index(named)]
                    missing |= _strike_out(loader, before, wanted, left)
                    left = {symbol: left[symbol] for symbol in left if symbol not in missing}
        scope = dict.fromkeys((*trial.local_scope, *trial.global_scope))
        missing |= _strike_out(loader, scope, tuple(left.values()), left)
    except _UnreadableError as fault:
        return Unknown(str(fault))
    return {symbol for symbol in missing if not symbol.is_weak or stops_at_library}


class _UnreadableError(Exception):
    """A file in scope cannot be read: its path, and why."""


def _by_library(queries: Iterable[Query]) -> dict[str, list[Query]]:
    by_library: dict[str, list[Query]] = {}
    for entry in queries:
        if entry.symbol.library is not None:
            by_library.setdefault(entry.symbol.library, []).append(entry)
    return by_library


def _strike_out(
    loader: Loader, files: Iterable[Mapped], wanted: Sequence[Query], left: dict[Symbol, Query]
) -> set[Symbol]:
    """Takes what these files define off `left`; of `wanted`, what they do not is returned."""
    for mapped in files:
        wanted = [entry for entry in wanted if entry.symbol in left]
        if not wanted:
            break
        found = loader.exports(mapped).among(wanted)
        if isinstance(found, Unknown):
            raise _UnreadableError(f"{mapped.name}: {found.reason}")
        for symbol in found:
            del left[symbol]
    return {entry.symbol for entry in wanted if entry.symbol in left}


def complaint(system: System, mapped: Mapped, symbol: Symbol) -> str:
    """The loader's words for a symbol that nothing defines (glibc, elf/dl-lookup.c)."""
    if symbol.version is None:
        return f"{mapped.name}: undefined symbol: {symbol.name}"
    if symbol.library is not None and _stops_at_library(system):
        where = f"not defined in file {symbol.library} with link time reference"
        return f"{mapped.name}: symbol {symbol.name} version {symbol.version} {where}"
    return f"{mapped.name}: undefined symbol: {symbol.name}, version {symbol.version}"


def _stops_at_library(system: System) -> bool:
    return _glibc(system) < SEARCHES_ON


# --- the order in which files are relocated


def _in_order_of_relocation(system: System, new: Sequence[Mapped]) -> Iterator[Mapped]:
    """The new files, given breadth first, in the order in which the loader binds their symbols.

    dl-deps.c sorts them when the opened file has no list of its own needs yet, and has it stay
    the first; dl-open.c goes from the last to the first.
    """
    first, is_new = new[0], set(new)
    needs = {mapped: [need for need in mapped.needs if need in is_new] for mapped in new}
    needs[first] = []
    order = _depth_first(new, needs) if _sorts_by_depth(system) else _as_before_2_35(new, needs)
    order.remove(first)
    return reversed([first, *order])


def _depth_first(new: Sequence[Mapped], needs: Mapping[Mapped, Sequence[Mapped]]) -> list[Mapped]:
    """`_dl_sort_maps_dfs`, without recursion: a hostile chain of files may be deep."""
    visited: set[Mapped] = set()
    after: list[Mapped] = []
    for start in reversed(new):
        if start in visited:
            continue
        visited.add(start)
        stack = [(start, iter(needs[start]))]
        while stack:
            mapped, rest = stack[-1]
            following = next((need for need in rest if need not in visited), None)
            if following is None:
                after.append(mapped)
                stack.pop()
            else:
                visited.add(following)
                stack.append((following, iter(needs[following])))
    return after[::-1]


def _as_before_2_35(
    new: Sequence[Mapped], needs: Mapping[Mapped, Sequence[Mapped]]
) -> list[Mapped]:
    """`_dl_sort_maps_original`: the first stays where it is."""
    maps = list(new[1:])
    seen = [0] * len(maps)
    at = 0
    while at < len(maps):
        seen[at] += 1
        last = max(
            (k for k in range(at + 1, len(maps)) if maps[at] in needs[maps[k]]), default=None
        )
        if last is None:
            at += 1
            seen[at:] = [0] * (len(maps) - at)
            continue
        maps.insert(last, maps.pop(at))
        if seen[at + 1] > len(maps) - at:
            at += 1
            seen[at:] = [0] * (len(maps) - at)
        else:
            seen.insert(last, seen.pop(at))
    return [new[0], *maps]


def _sorts_by_depth(system: System) -> bool:
    tunables = system.environ.get("GLIBC_TUNABLES", "")
    chosen = re.search(r"(?:^|:)glibc\.rtld\.dynamic_sort=([12])(?::|$)", tunables)
    if chosen is not None:
        return chosen[1] == "2"
    return _glibc(system) >= SORTS_BY_DEPTH


def _glibc(system: System) -> tuple[int, ...]:
    numbers = re.findall(r"\d+", system.libc() or "")
    return tuple(int(number) for number in numbers[:2])
