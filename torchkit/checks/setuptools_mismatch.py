"""setuptools lacks what torch.utils.cpp_extension imports from it.

## What it looks at
The versions of torch, setuptools and Python.

## Why it matters
torch 1.8 to 2.1 import `pkg_resources.packaging`: setuptools 82 has no pkg_resources any more,
setuptools 70 has one without `packaging`. From Python 3.12 on no setuptools comes with a new
environment, and cpp_extension does not import without it. Only building extensions is hit.

## What to do
Install the setuptools that is named.

## References
- https://setuptools.pypa.io/en/latest/history.html
"""

from __future__ import annotations

from torchkit.knowledge.compat import window
from torchkit.machine.facts import Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, info, ok, warn
from torchkit.versions import Version

AREA = "packages"

FIRST_PYTHON_WITHOUT_DISTUTILS = Version("3.12")


def judge(
    torch_version: Version,
    setuptools_version: Version | None,
    python_version: Version | None | Unknown,
) -> Verdict:
    if setuptools_version is None:
        return _absent(python_version)
    for name in ("setuptools82", "setuptools70"):
        breakage = window(name)
        if breakage.covers(torch_version, setuptools_version):
            return warn(
                f"setuptools {setuptools_version} does not fit torch {torch_version}: extensions cannot be built",
                evidence=[
                    Evidence(WOULD_FAIL_WITH, breakage.symptom),
                    Evidence("found", f"setuptools {setuptools_version}"),
                    Evidence("needed", "setuptools below 70, or 71 to 81; or torch 2.2 or newer"),
                ],
                fix=["pip install 'setuptools>=71,<82'"],
                brief="setuptools does not fit this torch",
            )
    return ok(f"setuptools {setuptools_version} fits torch {torch_version}")


def _absent(python_version: Version | None | Unknown) -> Verdict:
    if isinstance(python_version, Version) and python_version >= FIRST_PYTHON_WITHOUT_DISTUTILS:
        return info(
            f"setuptools is not installed; Python {python_version} needs it to build torch extensions",
            evidence=[
                Evidence(WOULD_FAIL_WITH, "ModuleNotFoundError: No module named 'setuptools'")
            ],
            fix=["pip install setuptools"],
        )
    return ok("setuptools is not installed, and nothing but building extensions needs it")
