"""What an installed package with compiled files tells of itself: whence it came, what it asks for."""

from __future__ import annotations

import json
import re

from torchkit.machine.distributions import Distribution, Packages
from torchkit.machine.packages import COMPANIONS
from torchkit.system import System

_ASKS_FOR_TORCH = re.compile(r"(?i)torch(?![\w.-])(?!.*\bextra\b)")


def goes_with_torch(packages: Packages, distribution: Distribution) -> bool:
    """Whether it is one of torch's companions, or its metadata asks for torch."""
    if distribution.name in COMPANIONS:
        return True
    return any(_ASKS_FOR_TORCH.match(text) for text in packages.requires(distribution))


def required(packages: Packages, distribution: Distribution) -> set[str]:
    """Names of the installed distributions that it asks for, and of those that these ask for."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        for text in packages.requires(waiting.pop()):
            name = re.match(r"[\w.-]+", text)
            other = packages[name[0]] if name is not None else None
            if other is not None and other.name not in found:
                found.add(other.name)
                waiting.append(other)
    return found


def is_built_here(system: System, packages: Packages, distribution: Distribution) -> bool | None:
    """Whether pip compiled the package on a machine like this; None where nothing tells.

    The tag of its wheel tells: an index takes `manylinux_…` only, a build makes `linux_x86_64`.
    """
    text = system.read_text(distribution.metadata / "WHEEL")
    tags = re.findall(r"(?m)^Tag:[^\n]*-(\w+)[ \t\r]*$", text) if isinstance(text, str) else []
    if not tags or packages.installer(distribution) == "conda":
        return None
    return any(tag.startswith("linux_") for tag in tags)


def origin(system: System, distribution: Distribution) -> str | None:
    """What pip installed a package from, where that was no index (PEP 610), or its source tree."""
    text = system.read_text(distribution.metadata / "direct_url.json")
    try:
        told = json.loads(text) if isinstance(text, str) else {}
        url, vcs = str(told.get("url", "")), told.get("vcs_info")
        if isinstance(vcs, dict):
            return f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}".rstrip("@")
        folder = url.removeprefix("file://") if "dir_info" in told else ""
    except (ValueError, AttributeError, RecursionError):
        return None
    if folder and system.is_folder(folder):
        return folder
    is_tree = distribution.metadata.suffix == ".egg-info" and any(
        system.size(distribution.site / it) is not None for it in ("setup.py", "pyproject.toml")
    )
    return str(distribution.site) if is_tree else None
