"""A library of another version is loaded instead of the one torch came with.

## What it looks at
For CUDA's libraries, libgomp and libstdc++: which copy the dynamic loader takes for torch
(RPATH, LD_LIBRARY_PATH, RUNPATH, ld.so.cache, default folders), which copy it passes over,
and whether the one it takes has the symbol versions that are asked for. For cuDNN also the parts
that it opens by name and that its package did not bring.

## Why it matters
torch is tested with the libraries it pins. Another cuDNN, nvJitLink or NCCL in front of them
gives "undefined symbol", "version mismatch", or wrong results at run time.

## What to do
Take the named folder out of LD_LIBRARY_PATH for this program.

## References
- https://man7.org/linux/man-pages/man8/ld.so.8.html
- https://github.com/pytorch/pytorch/issues/111469
"""

from __future__ import annotations

import re

from torchkit.machine.facts import Library, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok, warn

AREA = "loader"


def judge(
    shadowed_libraries: tuple[Library, ...], torch_problems: tuple[str, ...] | None | Unknown
) -> Verdict:
    if not shadowed_libraries:
        return ok("torch gets the libraries it came with")
    fatal = [library for library in shadowed_libraries if library.missing]
    first = (fatal or list(shadowed_libraries))[0]
    evidence = [
        Evidence(
            "found",
            f"{it.loser} has no {it.name} beside it, {it.winner} is taken"
            if _is_part_from_elsewhere(it)
            else f"{it.winner} wins over {it.loser}",
            it.reason,
        )
        for it in shadowed_libraries[:4]
    ]
    folder = first.winner.rpartition("/")[0]
    by_path = "LD_LIBRARY_PATH" in first.reason
    fix = [
        f"take {folder} out of LD_LIBRARY_PATH"
        if by_path
        else f"remove {first.winner}, or the package that brings it"
    ]
    if by_path:
        fix.append("or see whether it helps: env -u LD_LIBRARY_PATH python …")
    if fatal:
        said = (
            [text for text in torch_problems or () if str(first.missing) in text]
            if isinstance(torch_problems, tuple)
            else []
        )
        error = f"ImportError: {said[0]}" if said else _loader_words(first)
        return fail(
            f"{first.winner} is loaded instead of torch's own {first.name}, and lacks {first.missing}",
            evidence=[Evidence(WOULD_FAIL_WITH, error), *evidence],
            fix=fix,
            brief=f"another {first.name} is loaded",
        )
    if _is_part_from_elsewhere(first):
        return _part_from_elsewhere(first, evidence, fix)
    more = len(shadowed_libraries) - 1
    return warn(
        f"{first.winner} is loaded instead of torch's own {first.name}"
        + (f", and {more} more like it" if more else ""),
        evidence=evidence,
        fix=fix,
        brief=f"another {first.name} is loaded",
    )


def _is_part_from_elsewhere(library: Library) -> bool:
    """Whether torch's copy has no such file at all: a part of cuDNN that its package left out."""
    loser = library.loser.rpartition("/")[2]
    return loser.partition(".so")[0] != library.name.partition(".so")[0]


def _part_from_elsewhere(first: Library, evidence: list[Evidence], fix: list[str]) -> Verdict:
    core = first.loser.rpartition("/")[2]
    return warn(
        f"torch's own {core} has no {first.name} beside it, and {first.winner} is taken instead",
        evidence=[
            Evidence("may fail with", "cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"),
            *evidence,
        ],
        fix=[f"install the package that brings {core} again, in the version torch pins", *fix],
        brief=f"a part of another cuDNN is loaded ({first.name})",
    )


def _loader_words(library: Library) -> str:
    """What ld.so says: of a symbol version, or of a symbol, that the winner lacks."""
    user = library.needed_by or "libtorch_cuda.so"
    if re.fullmatch(r"[A-Z]+_[\d.]+", library.missing or ""):
        return f"ImportError: {library.winner}: version `{library.missing}' not found (required by {user})"
    return f"ImportError: {user}: undefined symbol: {library.missing}, version {library.name}"
