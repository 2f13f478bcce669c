"""Memory pages of this process: ones that take nothing until written to, and ones given back."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache


def untouched(size: int) -> mmap.mmap:
    """So many bytes of zeros. Only pages that are written to take memory.

    Raises OSError where there is no address space for them.
    """
    # private, for only then are pages that are read but never written all the same one of zeros
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def give_back_freed() -> None:
    """Let the allocator return what lies free between small blocks; glibc keeps it otherwise."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):
        return None
    return trim
