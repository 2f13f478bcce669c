"""What was really loaded is not what the files foretold.

## What it looks at
With `--live`: which torch is imported and what it says of itself, and which libraries are in the
process, beside what was read from files without running them.

## Why it matters
Either something takes a hand when Python starts (an import hook, a `.pth` file, LD_PRELOAD, a
torch in the current folder), or the prediction is wrong, and with it other findings here.

## What to do
Look for what takes a hand. Where nothing does, send the saved machine to torchkit's issues.

## References
- https://docs.python.org/3/library/site.html
- https://man7.org/linux/man-pages/man8/ld.so.8.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torchkit.machine.facts import Library, Unknown
from torchkit.report import Evidence, Verdict, could_not_look, does_not_apply, ok, warn
from torchkit.versions import Version

AREA = "torch"


class Difference(NamedTuple):
    """One thing that was foretold and is otherwise."""

    what: str
    foretold: str
    found: str


def judge(
    live_outcome: str,
    live_torch: Mapping[str, str] | None | Unknown,
    live_libraries: tuple[str, ...] | None | Unknown,
    torch_version: Version | None | Unknown,
    torch_path: str | None | Unknown,
    torch_cuda: Version | None | Unknown,
    torch_cxx11_abi: bool | None | Unknown,
    torch_archs: tuple[str, ...] | None | Unknown,
    torch_problems: tuple[str, ...] | None | Unknown,
    libstdcxx_path: str | None | Unknown,
    shadowed_libraries: tuple[Library, ...] | None | Unknown,
) -> Verdict:
    told = live_torch if isinstance(live_torch, Mapping) else {}
    if "version" not in told:
        return does_not_apply(f"torch was not imported: {live_outcome}")
    loaded = live_libraries if isinstance(live_libraries, tuple) else ()
    foretold = {
        "version": None if torch_version is None else torch_version,
        "file": torch_path,
        "cuda": torch_cuda,
        "cxx11_abi": torch_cxx11_abi,
    }
    if all(isinstance(value, Unknown) for value in foretold.values()):
        return could_not_look("what torch's files foretell is not known")
    differences = [
        *_of_torch(told, foretold),
        *_of_archs(told.get("archs"), torch_archs),
        *_of_import(live_outcome, torch_problems),
        *_of_libraries(loaded, libstdcxx_path, shadowed_libraries),
    ]
    if not differences:
        return ok(f"torch {told['version']} and its libraries are the ones its files foretell")
    return _otherwise(differences)


def _otherwise(differences: Sequence[Difference]) -> Verdict:
    first = differences[0]
    more = len(differences) - 1
    return warn(
        f"{first.what} is {first.found}, its files foretell {first.foretold}"
        + (f", and {more} more like it" if more else ""),
        evidence=[
            evidence
            for it in differences
            for evidence in (
                Evidence("found", f"{it.what}: {it.found}", "a child that imported torch"),
                Evidence("foretold", f"{it.what}: {it.foretold}", "files"),
            )
        ],
        fix=[
            "look for what takes a hand: .pth files, sitecustomize, LD_PRELOAD, a torch in this folder",
            "where nothing does: torchkit env --live --save machine.json, and send it to torchkit's issues",
        ],
        brief=f"{first.what} is not what its files foretell",
    )


_CALLED = {
    "version": "torch",
    "file": "torch's file",
    "cuda": "torch's CUDA",
    "cxx11_abi": "torch's C++11 ABI",
}


def _of_torch(told: Mapping[str, str], foretold: Mapping[str, object]) -> Iterator[Difference]:
    for name, value in foretold.items():
        found = told.get(name)
        if isinstance(value, Unknown) or (found is None and name != "cuda"):
            continue
        if name == "file" and isinstance(value, str):
            is_same = found in (value, f"{value}/__init__.py", f"{value}\\__init__.py")
        elif isinstance(value, bool):
            is_same = found == str(value).lower()
        else:
            is_same = found == (None if value is None else str(value))
        if name == "cxx11_abi" and value is None:  # asked on Linux alone
            continue
        if not is_same:
            yield Difference(_CALLED[name], _text(value), _text(found))


def _text(value: object) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _of_archs(
    told: str | None, torch_archs: tuple[str, ...] | None | Unknown
) -> Iterator[Difference]:
    """torch tells what it was compiled for; its files may hold PTX besides."""
    if told is None or not isinstance(torch_archs, tuple):
        return
    unseen = set(told.split()) - set(torch_archs)
    if unseen:
        yield Difference("its GPU code", " ".join(torch_archs), told)


def _of_import(
    live_outcome: str, torch_problems: tuple[str, ...] | None | Unknown
) -> Iterator[Difference]:
    if isinstance(torch_problems, tuple) and torch_problems and live_outcome == "works":
        yield Difference("`import torch`", torch_problems[0], "without an error")


def _of_libraries(
    loaded: tuple[str, ...],
    libstdcxx_path: str | None | Unknown,
    shadowed_libraries: tuple[Library, ...] | None | Unknown,
) -> Iterator[Difference]:
    """A library that is not loaded yet, as the parts of cuDNN are not, tells nothing."""
    foretold = {}
    if isinstance(libstdcxx_path, str):
        foretold["libstdc++.so.6"] = libstdcxx_path
    for library in shadowed_libraries if isinstance(shadowed_libraries, tuple) else ():
        foretold[library.name] = library.winner
    for name, path in foretold.items():
        copies = [it for it in loaded if it.rpartition("/")[2].startswith(name)]
        if copies and path not in copies:
            yield Difference(name, path, ", ".join(copies))
