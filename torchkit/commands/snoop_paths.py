"""How snoop names a file of the user's."""

from __future__ import annotations

from pathlib import Path


def shown_path(file: str) -> str:
    """A path as the user would name it: from the current folder, where it lies below."""
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
