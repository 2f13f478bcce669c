"""Turns the tables of a TOML file in this folder into named tuples.

What belongs here: reading, checking and converting rows, whatever they are about. A row that is
not as it must be is our bug, so it is a ValueError that names the file, the row and the key.

A record's `source` is written in the file as keys of its table `[sources]`, joined by "; ", or as
a text of its own; the record holds the whole text. `confidence` is "high" unless the row says
otherwise; `weak` names the fields that a lower confidence is about, none meaning the whole row.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torchkit.versions import InvalidVersion, Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]  # only there below 3.11

__all__ = ["CONFIDENCES", "Document", "load", "read", "records"]

CONFIDENCES = ("low", "medium", "high")
"""How sure a row is, least sure first."""

Record = TypeVar("Record")


class Document(NamedTuple):
    """A parsed file: its name, its tables of rows, and the sources that rows name by key."""

    name: str
    tables: Mapping[str, Any]
    sources: Mapping[str, str]


def load(name: str, *tables: str) -> Document:
    """The file `name` of this folder, which must hold these tables of rows and no other."""
    path = Path(__file__).parent / name
    return read(path.read_text(encoding="utf-8"), name, *tables)


def read(text: str, name: str, *tables: str) -> Document:
    """A document from TOML text; `name` is for messages. Raises ValueError."""
    data = tomllib.loads(text)
    sources = data.pop("sources", {})
    for key, source in sources.items():
        if not isinstance(source, str) or not source.strip():
            raise ValueError(f"{name}: [sources] {key} is {source!r}, expected a text")
    if set(data) != set(tables):
        raise ValueError(f"{name}: holds {_list(data)}, expected {_list(tables)}")
    return Document(name, data, sources)


def records(
    document: Document, table: str, record: type[Record], *, identity: Sequence[str]
) -> tuple[Record, ...]:
    """The rows of a table in their order, each as a `record`.

    `identity` names the fields that no two rows may share. Raises ValueError.
    """
    rows = document.tables[table]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{document.name}: {table} is not a list of rows, written [[{table}]]")
    fields = _fields(record)
    seen = set()
    result = []
    for number, row in enumerate(rows, 1):
        where = f"{document.name}: [[{table}]] number {number} ({_label(row, identity)})"
        values = _values(row, fields, record, where, document.sources)
        key = tuple(values.get(name) for name in identity)
        if key in seen:
            raise ValueError(f"{where} is there twice")
        seen.add(key)
        result.append(record(**values))
    return tuple(result)


def _values(
    row: Mapping[str, Any],
    fields: Mapping[str, str],
    record: type[Any],
    where: str,
    sources: Mapping[str, str],
) -> dict[str, Any]:
    unknown = set(row) - set(fields)
    if unknown:
        raise ValueError(f"{where} has the unknown key {_list(unknown)}; known are {_list(fields)}")
    missing = set(fields) - set(record._field_defaults) - set(row)
    if missing:
        raise ValueError(f"{where} has no {_list(missing)}")
    values = {}
    for name, value in row.items():
        kind = fields[name].removesuffix(" | None")
        try:
            values[name] = _CONVERTERS[kind](value)
        except (TypeError, InvalidVersion):
            raise ValueError(f"{where}: {name} is {value!r}, expected {kind}") from None
    if "source" in values:
        values["source"] = _source(values["source"], sources, where)
    if values.get("confidence", "high") not in CONFIDENCES:
        raise ValueError(
            f"{where}: confidence is {row['confidence']!r}, expected {_list(CONFIDENCES)}"
        )
    strangers = set(values.get("weak", ())) - set(fields)
    if strangers and "confidence" in fields:
        raise ValueError(f"{where}: weak names {_list(strangers)}, which is no key of this table")
    return values


def _source(text: str, sources: Mapping[str, str], where: str) -> str:
    parts = []
    for part in text.split("; "):
        if part in sources:
            parts.append(sources[part])
        elif " " in part or "/" in part:
            parts.append(part)
        else:
            raise ValueError(f"{where}: source {part!r} is no key of [sources]")
    return "; ".join(parts)


def _fields(record: type[Any]) -> Mapping[str, str]:
    """Name and annotation of each field of a NamedTuple, the annotation as it is written."""
    return {
        name: str(getattr(annotation, "__forward_arg__", annotation))
        for name, annotation in record.__annotations__.items()
    }


def _label(row: Mapping[str, Any], identity: Sequence[str]) -> str:
    return " ".join(str(row[name]) for name in identity if name in row)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


_version = functools.lru_cache(maxsize=None)(Version)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _day(value: object) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError
    return tuple(_text(item) for item in value)


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "bool": _flag,
    "int": _count,
    "date": _day,
    "Version": lambda value: _version(_text(value)),
    "tuple[str, ...]": _texts,
}
"""By a field's annotation, as it is written in the record."""
