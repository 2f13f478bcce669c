"""torch is not installed in this Python.

## What it looks at
What `import torch` would take in the examined interpreter, and which installed packages ask
for torch in their metadata.

## Why it matters
Packages that need torch fail at their first import. Where nothing asks for torch, nothing is
wrong: `torchkit env` is also for people who are about to install it.

## What to do
Install a build that fits this machine; the report names one. If torch should be there, check
that it went into this interpreter and not into another one.

## References
- https://pytorch.org/get-started/locally/
"""

from __future__ import annotations

from torchkit.advice.lines import FITTING_TORCH, reinstall_line
from torchkit.machine.facts import Extension, Install, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, info, ok
from torchkit.versions import Version, as_version

AREA = "torch"


def judge(
    torch_version: Version | None,
    torch_dependents: tuple[str, ...] | None | Unknown,
    torch_installs: tuple[Install, ...] | None | Unknown,
    torch_shadows: tuple[str, ...] | None | Unknown,
    python_executable: str | None | Unknown,
    extensions: tuple[Extension, ...] | None | Unknown,
) -> Verdict:
    if torch_version is not None:
        return ok(f"torch {torch_version} is installed")
    installs = torch_installs if isinstance(torch_installs, tuple) else ()
    shadows = torch_shadows if isinstance(torch_shadows, tuple) else ()
    if any(not any(it.is_metadata_of(path) for it in installs) for path in shadows):
        return does_not_apply("something else named torch comes first: see torch-shadowed")
    if installs:
        return _gone(installs[0])
    where = (
        f"torch is not installed in {python_executable}"
        if isinstance(python_executable, str)
        else "torch is not installed"
    )
    files = extensions if isinstance(extensions, tuple) else ()
    asking = [it for it in files if it.uses_torch]
    if not torch_dependents or isinstance(torch_dependents, Unknown):
        if asking:
            built = f"install the torch that {asking[0].path} was built against"
            return info(f"{where}, and {asking[0].path} needs it", fix=[built])
        return info(f"{where}, and nothing there asks for it", fix=[FITTING_TORCH])
    return fail(
        f"{where}, but {_listed(torch_dependents)} {_ask(torch_dependents)} for it",
        evidence=[Evidence(WOULD_FAIL_WITH, "ModuleNotFoundError: No module named 'torch'")],
        fix=[FITTING_TORCH],
        brief="torch is not installed",
    )


def _gone(record: Install) -> Verdict:
    """Its metadata is there, so that pip lists it, and its folder is not, or is emptied."""
    manager = record.manager or "pip"
    return fail(
        f"{manager} lists torch {record.version}, but its files are gone",
        evidence=[
            Evidence(WOULD_FAIL_WITH, "ModuleNotFoundError: No module named 'torch'"),
            Evidence("found", record.path),
        ],
        fix=[reinstall_line(as_version(record.version))],
        brief="torch's files are gone",
    )


def _ask(names: tuple[str, ...]) -> str:
    return "asks" if len(names) == 1 else "ask"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
