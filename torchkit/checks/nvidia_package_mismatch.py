"""The installed nvidia-* packages are not those torch was built with.

## What it looks at
What torch's own metadata pins, and which nvidia-* packages are installed; packages for two
CUDA majors that install into the same folder.

## Why it matters
torch loads cuDNN, NCCL and the others from these packages. Another version gives "undefined
symbol" or a version mismatch at run time. nvidia-cudnn-cu12 and nvidia-cudnn-cu13 write the same
files, so the one installed last wins.

## What to do
Install the pinned versions again; uninstall the packages of the other CUDA major first.

## References
- https://github.com/pytorch/pytorch/issues/119932
- https://github.com/pytorch/pytorch/issues/185512
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torchkit.report import Evidence, Verdict, does_not_apply, ok, warn
from torchkit.versions import Version

AREA = "packages"

SHARED_FOLDERS = ("cudnn", "nccl", "nvshmem", "cusparselt")
"""Libraries whose packages for CUDA 12 and 13 both install into nvidia/<library> (wheel contents)."""


def judge(
    torch_cuda: Version, torch_requires: tuple[str, ...], nvidia_packages: Mapping[str, str]
) -> Verdict:
    pins = [text for text in torch_requires if text.startswith("nvidia-")]
    if not pins:
        return does_not_apply("this torch pins no nvidia-* packages")
    wrong = [found for text in pins if (found := _wrong(text, nvidia_packages)) is not None]
    twins = _twins(nvidia_packages, pins)
    if not wrong and not twins:
        return ok(f"the nvidia-* packages are those torch for CUDA {torch_cuda} pins")
    again = [text for text, _ in wrong] or [
        text for text in pins if _base(text) in {own for _, own in twins}
    ]
    fix = "pip install --force-reinstall --no-deps " + " ".join(f"'{text}'" for text in again)
    if twins:  # the uninstall takes the shared files along, so both steps are needed
        fix = f"pip uninstall -y {' '.join(other for other, _ in twins)} && {fix}"
    evidence = [Evidence("found", found) for _, found in wrong]
    evidence += [Evidence("needed", text, "torch's metadata") for text, _ in wrong]
    evidence += [
        Evidence("found", f"{other} beside {own}: they write the same files")
        for other, own in twins
    ]
    return warn(
        _sentence(wrong, twins),
        evidence=evidence,
        fix=[fix],
        brief="nvidia packages do not match torch",
    )


def _sentence(wrong: list[tuple[str, str]], twins: list[tuple[str, str]]) -> str:
    if wrong:
        text, found = wrong[0]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return f"torch pins {text}, {found}{more}"
    other, own = twins[0]
    return f"{other} and {own} install the same files, the one installed last wins"


def _base(text: str) -> str:
    match = re.match(r"[\w.-]+", text)
    return match[0] if match else text


def _wrong(text: str, installed: Mapping[str, str]) -> tuple[str, str] | None:
    """The pin and what is there instead; None when it is met or cannot be read."""
    # packaging's requirement parser is slow to import: only where torch pins something
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    version = installed.get(requirement.name.lower())
    if version is None:
        return text, f"{requirement.name} is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return text, f"{requirement.name} {version} is installed"


def _twins(installed: Mapping[str, str], pins: list[str]) -> list[tuple[str, str]]:
    """Installed packages of the other CUDA major that share a folder with a pinned one."""
    pinned = {_base(text) for text in pins}
    found = []
    for library in SHARED_FOLDERS:
        names = [name for name in installed if name.startswith(f"nvidia-{library}-cu")]
        own = [name for name in names if name in pinned]
        found += [(name, own[0]) for name in names if own and name not in pinned]
    return found
