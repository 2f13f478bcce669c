"""Quantities as people read them. Standard library only."""

from __future__ import annotations


def readable(size_bytes: int) -> str:
    """Bytes with the largest binary unit that leaves at least one: 64 MiB, 91.9 MiB, 23.5 GiB."""
    size, units = float(size_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.1f}".removesuffix(".0") + f" {units[0]}"
