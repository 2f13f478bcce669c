"""What it means that machines which should be alike differ in one fact, from meanings.toml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

from torchkit.knowledge import rows

RULES = ("always", "series", "major", "twice")
"""From where a difference matters: any, another series or major release, twice as much."""

STATUSES = ("warn", "info")


class Meaning(NamedTuple):
    """What a difference in one fact means; the head of the file tells each field."""

    fact: str
    label: str
    sentence: str
    source: str
    fix: str = ""
    fix_none: str = ""
    fix_open: str = ""
    matters: str = "always"
    status: str = "warn"
    rises: bool = False
    follows: tuple[str, ...] = ()
    see: str = ""


@functools.cache
def meanings() -> Mapping[str, Meaning]:
    """Every meaning by its fact, the gravest first. Raises ValueError where a row is not sound."""
    document = rows.load("meanings.toml", "meaning")
    found = {it.fact: it for it in rows.records(document, "meaning", Meaning, identity=("fact",))}
    for it in found.values():
        if it.matters not in RULES or it.status not in STATUSES:
            raise ValueError(f"meanings.toml: {it.fact}: no such rule or status")
        if it.status == "warn" and not it.fix_open:
            raise ValueError(f"meanings.toml: {it.fact}: a warning needs fix_open")
    return found
