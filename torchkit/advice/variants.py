"""Packages that bring one file several times, a build for each torch or CUDA: which are meant.

Their Python code picks one by its name: vesin-torch `torch-2.13/lib/libvesin_torch.so`, dgl
`libgraphbolt_pytorch_2.2.1.so`, bitsandbytes `libbitsandbytes_cuda126.so`. That the others cannot
be loaded is no fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torchkit.machine.facts import Extension
from torchkit.versions import Version

_RELEASE = re.compile(
    r"(?i)(?:torch|cuda|(?<![a-z])cu|rocm|ffmpeg)[-_]?\d+(?:[._]\d+)*|\d+(?:\.\d+)+"
)
"""A release in a file's name or folder, of what it is a build for."""

_TORCH = re.compile(r"(?i)torch[-_]?(\d+\.\d+(?:\.\d+)?)")


def meant(group: Sequence[Extension], torch_version: Version | None) -> list[Extension]:
    """The files of one package without builds for other releases than those that are here.

    Of the builds of one file those for this torch; where none says so, or several do, those that
    load as long as one does, else the one for the newest torch first.
    """
    inside = _inside(group)
    builds: dict[str, list[Extension]] = {}
    for one in group:
        builds.setdefault(_RELEASE.sub("#", inside[one.path]), []).append(one)
    found: list[Extension] = []
    for alike in builds.values():
        by_torch = {one.path: _torch_of(inside[one.path]) for one in alike}
        found += alike if len(by_torch) == 1 else _chosen(alike, by_torch, torch_version)
    return found


def _chosen(
    alike: list[Extension], by_torch: dict[str, str | None], torch_version: Version | None
) -> list[Extension]:
    wanted = () if torch_version is None else (torch_version.base, torch_version.series)
    for version in wanted:
        fitting = [one for one in alike if by_torch[one.path] == version]
        if fitting:
            alike = fitting
            break
    alike = sorted(alike, key=lambda one: Version(by_torch[one.path] or "0"), reverse=True)
    not_refused = [one for one in alike if one.error is None]
    return [one for one in not_refused if one.unknown is None] or not_refused or alike


def torchs(group: Sequence[Extension]) -> list[str]:
    """The releases of torch that a package has builds for, oldest first; none where it names none."""
    named = {_torch_of(text) for text in _inside(group).values()}
    return sorted((text for text in named if text is not None), key=Version)


def names_torch(one: Extension, group: Sequence[Extension]) -> bool:
    """Whether this file of the package names the torch that it is a build for."""
    return _torch_of(_inside(group)[one.path]) is not None


def _torch_of(text: str) -> str | None:
    found = _TORCH.search(text)
    return found[1] if found else None


def _inside(group: Sequence[Extension]) -> dict[str, str]:
    """The part of each path inside the package: a folder above may be named after a release too."""
    paths = sorted(one.path for one in group)
    first, last = ("", "") if not paths else (paths[0], paths[-1])
    differ = (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    above = first[: next(differ, len(first))].rpartition("/")[0]
    return {one.path: one.path[len(above) :] for one in group}
