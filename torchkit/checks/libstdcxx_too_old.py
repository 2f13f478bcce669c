"""The libstdc++ that gets loaded is older than torch's libraries need.

## What it looks at
The newest GLIBCXX and CXXABI symbol versions that torch's libraries ask for, and those of the
libstdc++.so.6 that this Python would load: an environment's own, one from LD_LIBRARY_PATH, or
the system's.

## Why it matters
`import torch` dies in the loader with "version `GLIBCXX_…' not found".

## What to do
Where an old copy comes first, take it out of LD_LIBRARY_PATH; in conda install a newer
libstdcxx-ng; else take a newer distribution or an older torch.

## References
- https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
- https://github.com/pytorch/pytorch/issues/157709
"""

from __future__ import annotations

from torchkit.advice.lines import FITTING_TORCH
from torchkit.knowledge.compat import torch_release
from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, could_not_look, fail, ok
from torchkit.versions import Version

AREA = "system"


def judge(
    libstdcxx_glibcxx: Version,
    torch_version: Version,
    torch_glibcxx_needed: Version | None | Unknown,
    torch_cxxabi_needed: Version | None | Unknown,
    libstdcxx_cxxabi: Version | None | Unknown,
    libstdcxx_path: str | None | Unknown,
    torch_manager: str | None | Unknown,
) -> Verdict:
    needed = torch_glibcxx_needed if isinstance(torch_glibcxx_needed, Version) else None
    if needed is None:
        release = torch_release(torch_version)
        needed = release.glibcxx_needed if release is not None else None
    if needed is None:
        return could_not_look(f"the libstdc++ that torch {torch_version} needs is not known")
    where = libstdcxx_path if isinstance(libstdcxx_path, str) else "libstdc++.so.6"
    if libstdcxx_glibcxx < needed:
        return _too_old("GLIBCXX", libstdcxx_glibcxx, needed, where, torch_version, torch_manager)
    if (
        isinstance(torch_cxxabi_needed, Version)
        and isinstance(libstdcxx_cxxabi, Version)
        and libstdcxx_cxxabi < torch_cxxabi_needed
    ):
        return _too_old(
            "CXXABI", libstdcxx_cxxabi, torch_cxxabi_needed, where, torch_version, torch_manager
        )
    return ok(f"{where} offers GLIBCXX_{libstdcxx_glibcxx}, torch {torch_version} needs {needed}")


def _too_old(
    name: str,
    found: Version,
    needed: Version,
    where: str,
    torch_version: Version,
    torch_manager: str | None | Unknown,
) -> Verdict:
    folder = where.rpartition("/")[0]
    system = not folder or where.startswith(("/lib", "/usr/lib"))
    if torch_manager == "conda" or "conda" in where:
        fix = ["conda install -c conda-forge 'libstdcxx-ng>=13'"]
    elif system:
        fix = [FITTING_TORCH, "or run in a container of a newer distribution"]
    else:
        fix = [
            f"let another libstdc++ come first: take {folder} out of LD_LIBRARY_PATH if it is there",
            f"or replace the copy in {folder} by a newer one",
        ]
    return fail(
        f"{where} offers {name}_{found}, torch {torch_version} needs {name}_{needed}",
        evidence=[
            Evidence(WOULD_FAIL_WITH, f"ImportError: {where}: version `{name}_{needed}' not found"),
            Evidence("found", f"{name}_{found}", where),
            Evidence("needed", f"{name}_{needed}", "symbol versions of torch's libraries"),
        ],
        fix=fix,
        brief="libstdc++ is too old for this torch",
    )
