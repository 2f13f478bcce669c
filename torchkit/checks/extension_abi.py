"""A compiled module was built with the other C++ ABI than this torch.

## What it looks at
Every installed file that uses torch's C++ names, and those given with `--extension`: whether the
names that are missing carry the std::string of the old C++ ABI (`Ss`) where torch has the one of
C++11 (`__cxx11`), or the reverse.

## Why it matters
gcc writes std::string into a function's name in two ways. A module that was compiled with the
other one asks for functions that torch has under another name, and dies with "undefined symbol".
pip's torch had the old ABI up to 2.5, the new one from 2.7 on; of 2.6 there were both.

## What to do
Take the package's build for this torch (flash-attn's wheels say cxx11abiTRUE or cxx11abiFALSE),
or compile it again against this torch.

## References
- https://github.com/vllm-project/vllm/issues/13608
- https://github.com/Dao-AILab/flash-attention/issues/1518
- https://gcc.gnu.org/onlinedocs/libstdc++/manual/using_dual_abi.html
"""

from __future__ import annotations

from torchkit.advice.extension_cures import again
from torchkit.advice.extensions import (
    GOES_ON_WITHOUT,
    Cause,
    built_for,
    by_package,
    cause_of,
    files,
    named,
    other_builds,
    short,
    to_be_told,
)
from torchkit.advice.symbol_names import readable
from torchkit.machine.facts import Companion, Extension, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, ok, warn
from torchkit.versions import Version, as_version

AREA = "packages"


def judge(
    extensions: tuple[Extension, ...],
    torch_version: Version,
    torch_cxx11_abi: bool,
    companions: tuple[Companion, ...] | None | Unknown,
) -> Verdict | tuple[Verdict, ...]:
    known = {it.name: it for it in companions} if isinstance(companions, tuple) else {}
    wrong = [
        told
        for group in by_package(extensions)
        if (told := to_be_told(group, torch_version))
        and cause_of(told[0]) is Cause.ABI
        and not other_builds(told, group, torch_version)
    ]
    if wrong:
        return tuple(
            _verdict(
                group, torch_version, known.get(group[0].package or ""), is_new=torch_cxx11_abi
            )
            for group in wrong
        )
    if not any(it.uses_torch is not False and not it.stable_abi for it in extensions):
        return does_not_apply("no compiled module uses torch's C++ names")
    return ok(f"no compiled module has the other C++ ABI than torch {torch_version}")


def _verdict(
    group: list[Extension], torch_version: Version, companion: Companion | None, *, is_new: bool
) -> Verdict:
    one = group[0]
    alike = [it for it in group if cause_of(it) is Cause.ABI]
    more = one.missing_string_count - 1
    torchs, its = ("new", "old") if is_new else ("old", "new")
    evidence = [
        Evidence(WOULD_FAIL_WITH, one.error or ""),
        Evidence(
            "found",
            f"{files(alike)}: {its} C++ ABI, as in {readable(one.missing_strings[0])}"
            + (f" and {more} more {'name' if more == 1 else 'names'}" if more > 0 else ""),
        ),
        Evidence("needed", f"{torchs} C++ ABI, which torch {torch_version} has"),
    ]
    if built_for(one):
        evidence.append(Evidence("built for", built_for(one)))
    flag = int(is_new)
    fix = again(one, companion, torch_version)
    if one.package is None:
        fix = [f"build {one.path} again, with -D_GLIBCXX_USE_CXX11_ABI={flag}"]
    elif one.package.startswith("flash-attn"):
        tag = str(is_new).upper()
        fix.append(
            f"or take the wheel for torch {torch_version.series} with cxx11abi{tag} in its name"
        )
    build = warn if one.package in GOES_ON_WITHOUT else fail
    return build(
        f"{named(one)} was built with the {its} C++ ABI, torch {torch_version} has the {torchs} one"
        f"{_and_for(one, torch_version)}",
        evidence=evidence,
        fix=fix,
        brief=f"{one.package or short(one.path)} has the other C++ ABI than torch",
    )


def _and_for(one: Extension, torch_version: Version) -> str:
    """The other torch that it was built for besides, where that is told."""
    version = as_version(one.built_for_torch)
    if version is None or version.series == torch_version.series:
        return ""
    return f"; it was built for torch {version}"
