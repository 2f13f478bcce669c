"""JSON from strangers: numbers that are no bombs, keys that come once."""

from __future__ import annotations

import json
from typing import Any


def parsed(data: bytes) -> Any:
    """JSON whose numbers are no bombs. Raises ValueError, RecursionError."""
    return json.loads(data.decode("utf-8"), parse_int=_number, object_pairs_hook=_once)


def _number(text: str) -> int:
    """Raises ValueError: int() of a long text takes time with the square of its length."""
    if len(text) > 30:
        raise ValueError("a number of more than 30 digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a key that is there twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key that is there twice")
    return found
