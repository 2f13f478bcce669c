"""A stand-in for `pkg_resources`, which torchsnooper 0.8 imports and setuptools no longer brings.

It is there while torchsnooper is imported, and gone afterwards. Nothing is imported for it before.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def lend_pkg_resources() -> None:
    """Put it there, where there is none."""
    import importlib.metadata
    import importlib.util

    try:
        if "pkg_resources" in sys.modules or importlib.util.find_spec("pkg_resources") is not None:
            return
    except (ImportError, ValueError):  # it is there, in some way
        return
    stand_in: Any = ModuleType("pkg_resources")
    stand_in.get_distribution = importlib.metadata.distribution
    stand_in.DistributionNotFound = importlib.metadata.PackageNotFoundError
    stand_in.is_lent_by_torchkit = True
    sys.modules["pkg_resources"] = stand_in


def take_back_pkg_resources(_module: ModuleType | None = None) -> None:
    """Leave none behind."""
    if hasattr(sys.modules.get("pkg_resources"), "is_lent_by_torchkit"):
        del sys.modules["pkg_resources"]
