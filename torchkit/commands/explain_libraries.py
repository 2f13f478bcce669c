"""Libraries that a log says are missing, sought where the loader would look; what torch is built for."""

from __future__ import annotations

import re
from pathlib import Path

from torchkit.commands.explain_confirm import CONFIRMED, NOT_CHECKED, REFUTED, Checked
from torchkit.logs.problems import Met
from torchkit.machine.facts import Facts
from torchkit.system import System
from torchkit.versions import Version

OF_LIBRARIES = {
    "libcudart-not-found",
    "libtorch-so-not-found",
    "extension-built-for-other-torch-lib",
}
"""Problems that `library_rows` is about."""

CPU_BUILD = "torch-cpu-only-build"
"""The problem that `build_rows` is about."""


def called(facts: Facts) -> str:
    version = facts.known("torch_version")
    return f"torch {version}" if isinstance(version, Version) else "the installed torch"


def build_rows(facts: Facts) -> list[Checked]:
    """Whether the installed torch is one for the CPU."""
    build = facts.known("torch_build")
    if not isinstance(build, str):
        return []
    source = "python -c 'import torch; print(torch.__version__, torch.version.cuda)'"
    if build == "cpu":
        return [Checked(CONFIRMED, f"{called(facts)} is a build for the CPU", source)]
    return [Checked(REFUTED, f"{called(facts)} is a build for {build.upper()}", source)]


def library_rows(met: Met, facts: Facts, system: System) -> list[Checked]:
    """Whether the loader would find the libraries that the log misses."""
    from torchkit.machine.interpreter import own_interpreter
    from torchkit.machine.loader import Loader

    values = [it.get("library", "") for it in (met.values, *met.others)]
    names = list(
        dict.fromkeys(name for name in values if re.fullmatch(r"lib[\w+.-]+\.so[.\d]*", name))
    )
    if not names:
        return []
    loader = Loader(system, executable=own_interpreter().executable)
    if loader.not_simulated is not None:
        return [Checked(NOT_CHECKED, loader.not_simulated)]
    return [_library_row(name, loader.find(name), facts, system) for name in names[:5]]


def _library_row(name: str, found: Path | None, facts: Facts, system: System) -> Checked:
    source = "by the rules of the loader"
    if found is not None:
        return Checked(REFUTED, f"the loader of this machine finds {name}: {found}", source)
    own = _beside_torch(name, facts, system)
    if own is None:
        where = "where the loader looks, nor beside torch"
        others = _other_versions(name, facts, system)
        more = f"; there is {others}" if others else ""
        return Checked(CONFIRMED, f"{name} is neither {where}{more}", source)
    fix = (
        "import torch before the module, it loads them"
        if name.startswith(("libtorch", "libc10"))
        else ""
    )
    return Checked(
        CONFIRMED, f"{own} is there, and the loader does not look in that folder", source, "", fix
    )


def _own_folders(facts: Facts, system: System) -> list[Path]:
    path = facts.known("torch_path")
    if not isinstance(path, str):
        return []
    nvidia = Path(path).parent / "nvidia"
    return [Path(path) / "lib", *(nvidia / name / "lib" for name in system.names_in(nvidia))]


def _beside_torch(name: str, facts: Facts, system: System) -> Path | None:
    folders = _own_folders(facts, system)
    return next((it / name for it in folders if system.size(it / name) is not None), None)


def _other_versions(name: str, facts: Facts, system: System) -> str:
    """The same library with another version in its name, beside torch."""
    stem = name.partition(".so")[0] + ".so"
    for folder in _own_folders(facts, system):
        for other in system.names_in(folder):
            if (
                other != name
                and other.startswith(stem)
                and other[len(stem) :].strip(".0123456789") == ""
            ):
                return other
    return ""
