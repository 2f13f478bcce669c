"""What compilers and Linux distributions bring along, from systems.toml."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.versions import Version


class Gcc(NamedTuple):
    """The newest symbol versions in the libstdc++.so.6 of a gcc and those up to the next row."""

    gcc: Version
    glibcxx: Version
    source: str
    cxxabi: Version | None = None
    confidence: str = "high"


class Distribution(NamedTuple):
    """A Linux distribution: its glibc, its default gcc and the GLIBCXX of its libstdc++.so.6.

    `names` are what its NAME or PRETTY_NAME begins with, `release` the version that follows.
    """

    name: str
    names: tuple[str, ...]
    release: str
    glibc: Version
    gcc: Version
    source: str
    glibcxx: Version | None = None
    confidence: str = "high"
    weak: tuple[str, ...] = ()


@functools.cache
def _document() -> rows.Document:
    return rows.load("systems.toml", "gcc", "distribution")


@functools.cache
def gcc_versions() -> tuple[Gcc, ...]:
    """The versions of gcc whose libstdc++ brought a new symbol version, oldest first."""
    found = rows.records(_document(), "gcc", Gcc, identity=("gcc",))
    return tuple(sorted(found, key=lambda row: row.gcc))


@functools.cache
def distributions() -> tuple[Distribution, ...]:
    """The distributions we know."""
    return rows.records(_document(), "distribution", Distribution, identity=("name",))


def glibcxx_of_gcc(version: Version) -> Version | None:
    """The newest GLIBCXX that the libstdc++ of this gcc offers; None for a gcc we do not know."""
    known = gcc_versions()
    if version.major > known[-1].gcc.major:
        return None
    older = [row for row in known if row.gcc <= version]
    return older[-1].glibcxx if older else None


def distribution(name: str) -> Distribution | None:
    """The distribution that os-release calls so; None when we do not know it.

    `name` is a PRETTY_NAME ("Ubuntu 22.04.3 LTS") or a NAME followed by a VERSION_ID.
    """
    for row in distributions():
        for start in row.names:
            match = re.match(rf"{re.escape(start)}(?: release)? (\d[\d.]*)", name.strip())
            if match and f"{match[1]}.".startswith(f"{row.release}."):
                return row
    return None
