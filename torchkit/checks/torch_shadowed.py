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

from torchkit.machine.facts import Install, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn

AREA = "torch"


def judge(
    torch_shadows: tuple[str, ...],
    torch_installs: tuple[Install, ...] | None | Unknown,
) -> Verdict:
    installs = torch_installs if isinstance(torch_installs, tuple) else ()
    if torch_shadows:
        return _shadowed(torch_shadows, installs)
    if len(installs) > 1:
        return _several(installs)
    if not installs:
        return does_not_apply("there is nothing named torch")
    return ok("one torch, and nothing in front of it")


def _shadowed(shadows: tuple[str, ...], installs: tuple[Install, ...]) -> Verdict:
    first = shadows[0]
    what = "the file" if first.endswith(".py") else "the folder"
    installed = [Evidence("installed", f"torch {it.version} in {it.path}") for it in installs[:1]]
    attribute = "AttributeError: module 'torch' has no attribute 'Tensor'"
    evidence = [
        Evidence(WOULD_FAIL_WITH, attribute),
        *(Evidence("found", path) for path in shadows),
        *installed,
    ]
    fix = [f"rename it: mv {first} {_renamed(first)}"]
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


def _renamed(path: str) -> str:
    return f"{path[:-3]}_.py" if path.endswith(".py") else f"{path}_"


def _several(installs: tuple[Install, ...]) -> Verdict:
    winner, other = installs[0], installs[1]
    return warn(
        f"torch is installed more than once: {_named(winner)} is imported, {_named(other)} is not",
        evidence=[
            Evidence("imported", f"{_named(winner)} in {winner.path}"),
            *(Evidence("not imported", f"{_named(it)} in {it.path}") for it in installs[1:]),
        ],
        fix=[_removal(other)],
        brief="torch is installed more than once",
    )


def _named(install: Install) -> str:
    by = f" by {install.manager}" if install.manager else ""
    return f"{install.version or 'an unknown version'}{by}"


def _removal(install: Install) -> str:
    if install.manager == "conda":
        return "keep one: conda remove pytorch, or pip uninstall torch"
    return "pip uninstall torch, then install the one that is wanted"
