"""torchvision, torchaudio, triton or another companion does not go with this torch.

## What it looks at
The companions' versions, what their metadata asks for, what their own files say they were
compiled for (torch release, CUDA or CPU), the real pairs of releases, and whether their compiled
code can be loaded: where it can, a mismatch of versions is a warning.

## Why it matters
Companions carry compiled code for one torch and one CUDA. A wrong pair installs without a
complaint (torchvision from 0.29.1 and torchaudio from 2.11 on no longer pin torch exactly) and
dies at import, or at the first operator: "operator torchvision::nms does not exist".

## What to do
Install the companion's release for this torch, from the same index torch came from.

## References
- https://github.com/pytorch/vision#installation
- https://github.com/pytorch/pytorch/issues/157648
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torchkit.advice.extension_cures import companion_cures
from torchkit.advice.extensions import GOES_ON_WITHOUT, judged_by, loads
from torchkit.advice.lines import PAIRED
from torchkit.knowledge.compat import companion_for, torch_for_companion
from torchkit.machine.facts import Companion, Extension, Unknown
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Status,
    Verdict,
    does_not_apply,
    fail,
    ok,
    warn,
)
from torchkit.versions import Version, as_version

AREA = "packages"

COMPILED = frozenset(
    (*PAIRED, "torchtext", "xformers", "flash-attn", "flash-attn-3", "fbgemm-gpu", "torch-tensorrt",
     "torch-scatter", "torch-sparse", "torch-cluster", "torch-spline-conv", "pyg-lib", "vllm")
)  # fmt: skip
"""Companions whose compiled code dies beside another torch; of others a metadata conflict is a warning."""

STABLE_ABI_FROM = {"xformers": Version("0.0.34")}
"""From these releases on the compiled code runs with every later torch, whatever is pinned
(https://github.com/facebookresearch/xformers/issues/1374)."""

DIES_WITH = {
    "torchvision": "RuntimeError: operator torchvision::nms does not exist",
    "torchaudio": "OSError: Could not load this library: …/libtorchaudio.so",
    "xformers": "WARNING: xFormers can't load C++/CUDA extensions",
}


@dataclass(frozen=True)
class Trouble:
    """What is wrong with one companion; `told_by` is the check that proves it with its code."""

    status: Status
    companion: Companion
    message: str
    error: str
    found: str
    needed: str
    told_by: str = ""

    @property
    def name(self) -> str:
        return self.companion.name

    @property
    def is_its_own_check(self) -> bool:
        """Whether the companion refuses by itself what could be loaded (torchvision/extension.py)."""
        return "Detected that PyTorch and torchvision" in self.error


def judge(
    torch_version: Version,
    companions: tuple[Companion, ...],
    torch_cuda: Version | None | Unknown,
    torch_build: str | None | Unknown,
    triton_version: Version | None | Unknown,
    torch_requires: tuple[str, ...] | None | Unknown,
    extensions: tuple[Extension, ...] | None | Unknown,
) -> Verdict | tuple[Verdict, ...]:
    flavour = _flavour(torch_version, torch_cuda, torch_build)
    files = extensions if isinstance(extensions, tuple) else ()
    troubles = [
        _by_its_code(it, [file for file in files if file.package == one.name], torch_version)
        for one in companions
        if (it := _trouble(one, torch_version, flavour)) is not None
    ]
    triton = _triton(triton_version, torch_requires)
    if triton is not None:
        troubles.append(triton)
    if not troubles:
        names = ", ".join(f"{it.name} {it.version}" for it in companions[:3])
        return (
            ok(f"{names} go with torch {torch_version}")
            if names
            else does_not_apply("no package that goes with torch is installed")
        )
    troubles.sort(key=lambda it: it.status is Status.FAIL, reverse=True)
    told_elsewhere = [it for it in troubles if it.told_by]
    others = [it for it in troubles if not it.told_by]
    parts = (
        replace(_verdict([it], torch_version, flavour), part_of=it.told_by) for it in told_elsewhere
    )
    return (*parts, *([_verdict(others, torch_version, flavour)] if others else []))


def _by_its_code(trouble: Trouble, files: list[Extension], torch_version: Version) -> Trouble:
    """The trouble as the companion's compiled files show it, where they were tried."""
    told_by = judged_by(files, torch_version)
    if told_by is not None:
        status = Status.WARN if trouble.name in GOES_ON_WITHOUT else Status.FAIL
        return replace(trouble, status=status, told_by=told_by)
    if not loads(files, torch_version) or trouble.is_its_own_check:
        return trouble
    message = f"{trouble.message}; its compiled code loads here"
    return replace(trouble, status=Status.WARN, message=message, error="")


def _verdict(troubles: list[Trouble], torch_version: Version, flavour: str | None) -> Verdict:
    first = troubles[0]
    evidence = [Evidence(WOULD_FAIL_WITH, first.error)] if first.error else []
    for it in troubles:
        evidence += [Evidence("found", it.found), Evidence("needed", it.needed)]
    wrong = [it.companion for it in troubles if it.name != "triton"]
    fix = companion_cures(wrong, torch_version, is_cpu_torch=flavour == "cpu")
    fix += [_triton_fix(it) for it in troubles if it.name == "triton"]
    more = f" (and {', '.join(it.name for it in troubles[1:])})" if len(troubles) > 1 else ""
    build = fail if first.status is Status.FAIL else warn
    return build(
        first.message + more,
        evidence=evidence,
        fix=fix,
        brief=f"{first.name} does not fit torch {torch_version}",
    )


def _triton_fix(trouble: Trouble) -> str:
    return f"pip install '{trouble.needed.partition(' for ')[0]}'"


def _flavour(
    torch_version: Version,
    torch_cuda: Version | None | Unknown,
    torch_build: str | None | Unknown,
) -> str | None:
    """`cpu`, a CUDA version, or None where it cannot be compared."""
    if isinstance(torch_cuda, Version):
        return str(torch_cuda)
    if torch_build == "cpu" or torch_version.local == "cpu":
        return "cpu"
    return None


def _trouble(one: Companion, torch_version: Version, flavour: str | None) -> Trouble | None:
    """The worst that is wrong with this one; of two alike, what its metadata says comes first."""
    found = [
        _built_for_another(one, torch_version),
        _asks_for_another(one, torch_version),
        _wrong_flavour(one, flavour),
        _wrong_pair(one, torch_version),
        _beyond_the_last(one, torch_version),
    ]
    troubles = [it for it in found if it is not None]
    return next((it for it in troubles if it.status is Status.FAIL), next(iter(troubles), None))


def _status(one: Companion, torch_version: Version) -> Status:
    is_bound = one.name in COMPILED and not _is_stable(one, torch_version)
    return Status.FAIL if is_bound else Status.WARN


def _built_for_another(one: Companion, torch_version: Version) -> Trouble | None:
    """Its own files name the torch they were compiled for."""
    built_for = one.built_for_torch
    if not built_for or _is_stable(one, torch_version) or _same_series(built_for, torch_version):
        return None
    named = f"{one.name} {one.version}"
    return Trouble(
        _status(one, torch_version),
        one,
        f"{named} was compiled for torch {built_for}, here is {torch_version}",
        DIES_WITH.get(one.name, f"ImportError: undefined symbol in {one.name}'s compiled module"),
        f"torch {torch_version}",
        f"torch {built_for} for {named}",
    )


def _asks_for_another(one: Companion, torch_version: Version) -> Trouble | None:
    """Its metadata asks for a torch that this one is not."""
    asked = _unmet(one, torch_version)
    if asked is None:
        return None
    named, status = f"{one.name} {one.version}", _status(one, torch_version)
    return Trouble(
        status,
        one,
        f"{named} does not fit torch {torch_version}: it asks for torch{asked}",
        DIES_WITH.get(one.name, "") if status is Status.FAIL else "",
        f"torch {torch_version}",
        f"torch{asked} for {named}",
    )


LAST_OF_ITS_KIND = {"torchtext": (Version("2.3"), Version("2.7"))}
"""Companions that are no longer made: the torch series of their last release, and the first torch
that it cannot be loaded beside, since the C++ ABI changed (torchtext's README: 0.18 is the last)."""


def _beyond_the_last(one: Companion, torch_version: Version) -> Trouble | None:
    last = LAST_OF_ITS_KIND.get(one.name)
    if last is None or Version(torch_version.series) <= last[0]:
        return None
    status = Status.FAIL if torch_version >= last[1] else Status.WARN
    return Trouble(
        status,
        one,
        f"{one.name} ended with torch {last[0]}, here is {torch_version}",
        f"OSError: lib{one.name}.so: undefined symbol" if status is Status.FAIL else "",
        f"{one.name} {one.version} beside torch {torch_version}",
        f"torch {last[0]} for the last {one.name}",
    )


def _is_stable(one: Companion, torch_version: Version) -> bool:
    """Compiled against torch's stable ABI, for this torch or an older one."""
    version, built_for = as_version(one.version), as_version(one.built_for_torch)
    first = STABLE_ABI_FROM.get(one.name)
    if version is None or first is None or Version(version.base) < first:
        return False
    return built_for is None or torch_version >= Version(built_for.base)


def _same_series(built_for: str, torch_version: Version) -> bool:
    version = as_version(built_for)
    return version is None or version.series == torch_version.series


def _unmet(one: Companion, torch_version: Version) -> str | None:
    """The specifier this torch does not meet."""
    if not one.requires_torch:
        return None
    # packaging's specifiers are slow to import: only where a companion asks for a torch
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(one.requires_torch)
    except InvalidSpecifier:
        return None
    texts = [torch_version.public, str(torch_version)]
    if torch_version.is_prerelease and not torch_version.is_devrelease:
        texts.append(torch_version.base)  # NVIDIA calls its build of 2.6.0 "2.6.0a0+…"
    met = any(wanted.contains(text, prereleases=True) for text in texts)
    return None if met else one.requires_torch.replace(" ", "")


def _wrong_flavour(one: Companion, flavour: str | None) -> Trouble | None:
    """A CUDA build beside a CPU torch, the reverse, or another CUDA major."""
    if one.cuda is None or flavour is None or one.cuda == flavour:
        return None
    named = f"{one.name} {one.version}"
    if flavour == "cpu":
        return Trouble(
            Status.FAIL,
            one,
            f"{named} is built for CUDA {one.cuda}, this torch is a CPU build",
            DIES_WITH.get(one.name, "")
            or "OSError: libc10_cuda.so: cannot open shared object file: No such file or directory",
            f"{one.name} for CUDA {one.cuda}; this torch has no libc10_cuda.so",
            f"{one.name} built for the CPU",
        )
    if one.cuda == "cpu":
        return Trouble(
            Status.WARN,
            one,
            f"{named} is a CPU build, this torch is built for CUDA {flavour}",
            f"NotImplementedError: Could not run '{one.name}::nms' with arguments from the 'CUDA' backend"
            if one.name == "torchvision"
            else "",
            f"{one.name} without CUDA",
            f"{one.name} built for CUDA {flavour}",
        )
    if one.cuda.split(".")[0] == flavour.split(".")[0]:
        return None
    return Trouble(
        Status.FAIL,
        one,
        f"{named} is built for CUDA {one.cuda}, this torch for CUDA {flavour}",
        f"RuntimeError: Detected that PyTorch and {one.name} were compiled with different CUDA major versions"
        if one.name == "torchvision"
        else f"ImportError: libcudart.so.{one.cuda.split('.')[0]}: cannot open shared object file: "
        "No such file or directory",
        f"{one.name} for CUDA {one.cuda}",
        f"{one.name} for CUDA {flavour}",
    )


def _wrong_pair(one: Companion, torch_version: Version) -> Trouble | None:
    """A release that belongs to another torch, where its metadata does not say so.

    A companion that asks for `>=` or for nothing, and is newer than its torch, uses the stable
    ABI; one that is older than its own torch cannot be right.
    """
    version = as_version(one.version)
    if one.name not in FIRST_UNPINNED or version is None:
        return None
    made_for = torch_for_companion(one.name, version)
    if not made_for or any(_same_series(text, torch_version) for text in made_for):
        return None
    oldest = min(Version(text) for text in made_for)
    if torch_version >= oldest and not _pins_exactly(one):
        return None
    right = companion_for(one.name, torch_version)
    needed = (
        f"{one.name} {right[-1]}" if right else f"a {one.name} for torch {torch_version.series}"
    )
    return Trouble(
        Status.FAIL,
        one,
        f"{one.name} {one.version} belongs to torch {made_for[-1]}, here is {torch_version}",
        DIES_WITH.get(one.name, ""),
        f"{one.name} {one.version}",
        f"{needed} for torch {torch_version}",
    )


FIRST_UNPINNED = {
    "torchvision": Version("0.29.1"),
    "torchaudio": Version("2.11.0"),
    "torchcodec": Version("0.12.0"),
}
"""First releases that go with every later torch (their METADATA: its pins, torchcodec's README)."""


def _pins_exactly(one: Companion) -> bool:
    version = as_version(one.version)
    return version is None or version < FIRST_UNPINNED[one.name]


def _triton(
    triton_version: Version | None | Unknown, torch_requires: tuple[str, ...] | None | Unknown
) -> Trouble | None:
    """triton is pinned by torch, not the other way round."""
    if isinstance(triton_version, Unknown) or not isinstance(torch_requires, tuple):
        return None
    wanted = [text for text in torch_requires if text.startswith(("triton", "pytorch-triton"))]
    if not wanted:
        return None
    if triton_version is None:
        return Trouble(
            Status.WARN,
            Companion("triton", "none"),
            f"triton is not installed, which torch pins: {wanted[0]}",
            "RuntimeError: Cannot find a working triton installation",
            "no triton",
            f"{wanted[0]} for torch.compile",
        )
    from packaging.requirements import Requirement

    if Requirement(wanted[0]).specifier.contains(str(triton_version), prereleases=True):
        return None
    return Trouble(
        Status.WARN,
        Companion("triton", str(triton_version)),
        f"triton {triton_version} is not the one this torch pins, {wanted[0]}",
        "",
        f"triton {triton_version}",
        f"{wanted[0]} for torch.compile",
    )
