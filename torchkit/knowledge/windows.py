"""Windows of versions in which something breaks, from windows.toml. (Not the operating system.)"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.versions import Version


class Window(NamedTuple):
    """Versions of torch and of another package that do not go together.

    "from" is inclusive, "until" exclusive, None an open end. `package` is whose version the
    other one is: `numpy`, `setuptools`, `python`, `glibc` … `os` names the operating systems it is
    about, all where it is empty. `symptom` is what the user meets.
    """

    id: str
    package: str
    symptom: str
    source: str
    os: tuple[str, ...] = ()
    torch_from: Version | None = None
    torch_until: Version | None = None
    other_from: Version | None = None
    other_until: Version | None = None
    confidence: str = "high"

    def covers(self, torch_version: Version, other_version: Version) -> bool:
        """Whether both versions lie within.

        A build between releases counts as the release it leads to ("2.3.0a0+git" as 2.3.0).
        """
        return _lies_in(torch_version, self.torch_from, self.torch_until) and _lies_in(
            other_version, self.other_from, self.other_until
        )


class TorchCompile(NamedTuple):
    """Which Python a series' torch.compile takes.

    `refused_from` is the first one it refuses, `free_threaded_from` the first without the GIL
    that it takes (None: none, or not known); `windows` is `allowed`, `refused` or
    `inductor refused`.
    """

    series: str
    refused_from: Version
    windows: str
    source: str
    free_threaded_from: Version | None = None
    confidence: str = "high"


@functools.cache
def _document() -> rows.Document:
    return rows.load("windows.toml", "window", "torch_compile")


@functools.cache
def windows() -> tuple[Window, ...]:
    """Every window we know."""
    return rows.records(_document(), "window", Window, identity=("id",))


def window(id: str) -> Window:
    """The window of this id. Raises ValueError for one that is not in windows.toml."""
    for row in windows():
        if row.id == id:
            return row
    raise ValueError(f"windows.toml has no window {id!r}")


@functools.cache
def _torch_compile() -> Mapping[str, TorchCompile]:
    found = rows.records(_document(), "torch_compile", TorchCompile, identity=("series",))
    return {row.series: row for row in found}


def torch_compile_support(torch_version: Version) -> TorchCompile | None:
    """What this release's torch.compile takes; None without torch.compile, and where unknown."""
    return None if torch_version.is_prerelease else _torch_compile().get(torch_version.series)


def torch_compile_refused_from(torch_version: Version) -> Version | None:
    """The first Python that this release's torch.compile refuses; None where it is not known."""
    support = torch_compile_support(torch_version)
    return None if support is None else support.refused_from


def _lies_in(version: Version, start: Version | None, end: Version | None) -> bool:
    base = Version(version.base)
    return (start is None or base >= start) and (end is None or base < end)
