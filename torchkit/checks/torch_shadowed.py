"""Something else named torch is imported instead of, or beside, the installed torch.

## What it looks at
Files and folders named torch in the current folder and on the interpreter's path; every real
torch on that path; the records of pip and conda.

## Why it matters
`python script.py` puts the script's folder first, so a file torch.py there is what `import
torch` gives, and its errors look like a broken torch. Two copies of torch mean that the one
you upgraded may not be the one you run.

## What to do
Rename the file or folder, or work from another folder. Of two copies, uninstall the one that
is not wanted: `pip uninstall torch` in the right environment, or `conda remove pytorch`.

## References
- https://github.com/conda/conda/issues/7173
"""

from __future__ import annotations

import re

from torchkit.advice.lines import reinstall_line
from torchkit.machine.facts import Install, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn
from torchkit.versions import as_version

AREA = "torch"


def judge(
    torch_shadows: tuple[str, ...],
    torch_installs: tuple[Install, ...] | None | Unknown,
) -> Verdict:
    installs = torch_installs if isinstance(torch_installs, tuple) else ()
    shadows = tuple(
        path for path in torch_shadows if not any(it.is_metadata_of(path) for it in installs)
    )
    if shadows:
        return _shadowed(shadows, installs)
    if torch_shadows:
        return does_not_apply("what is named torch is an emptied installation: see torch-missing")
    if len(installs) > 1:
        return _several(installs)
    if not installs:
        return does_not_apply("there is nothing named torch")
    return ok("one torch, and nothing in front of it")


def _shadowed(shadows: tuple[str, ...], installs: tuple[Install, ...]) -> Verdict:
    first = shadows[0]
    what = "the file" if first.endswith(".py") else "the folder"
    installed = [Evidence("installed", f"torch {it.version} in {it.path}") for it in installs[:1]]
    evidence = [
        Evidence(WOULD_FAIL_WITH, _error(first)),
        *(Evidence("found", path) for path in shadows),
        *installed,
    ]
    fix = _cure(first)
    if not installs:
        return warn(
            f"{what} {first} is not PyTorch, but `import torch` would take it",
            evidence=evidence,
            fix=fix,
            brief=f"{first} is taken for torch",
        )
    return fail(
        f"{what} {first} hides the installed torch from scripts that run here",
        evidence=evidence,
        fix=fix,
        brief=f"{first} hides torch",
    )


def _is_checkout(path: str) -> bool:
    """A checkout of PyTorch, or an unpacked source archive, by the name of its folder."""
    return re.search(r"[/\\]pytorch[^/\\]*[/\\]torch$", path) is not None


def _error(path: str) -> str:
    if _is_checkout(path):  # version.py comes with a build
        return "ModuleNotFoundError: No module named 'torch.version'"
    return "AttributeError: module 'torch' has no attribute 'Tensor'"


def _cure(path: str) -> list[str]:
    parts = re.fullmatch(r"(.*)[/\\]torch(\.py)?", path)
    if _is_checkout(path) and parts:
        return [f"work from another folder than {parts[1]}, PyTorch's own source"]
    if parts is None:  # a compiled torch.*.so
        return [f"remove {path}"]
    return [f"mv {path} {parts[1]}/my_torch{parts[2] or ''}   and adapt what imports it"]


def _several(installs: tuple[Install, ...]) -> Verdict:
    winner, other = installs[0], installs[1]
    return warn(
        f"torch is installed more than once: {_named(winner)} is imported, {_named(other)} is not",
        evidence=[
            Evidence("imported", f"{_named(winner)} in {winner.path}"),
            *(Evidence("not imported", f"{_named(it)} in {it.path}") for it in installs[1:]),
        ],
        fix=_removal(winner, other),
        brief="torch is installed more than once",
    )


def _named(install: Install) -> str:
    by = f" by {install.manager}" if install.manager else ""
    return f"{install.version or 'an unknown version'}{by}"


def _removal(winner: Install, other: Install) -> list[str]:
    """One of them goes with all its files, and what is wanted is put in place again."""
    again = reinstall_line(as_version(winner.version))
    if "conda" in (winner.manager, other.manager):
        return [f"conda remove pytorch && {again}"]
    return ["pip uninstall -y torch   once for each of them", f"then {again}"]
