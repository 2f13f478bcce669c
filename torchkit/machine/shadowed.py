"""Libraries of which torch gets another copy than the one it came with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from torchkit.machine.elf import Elf
from torchkit.machine.facts import Library
from torchkit.machine.loader import ALREADY_LOADED, Loaded, Problem
from torchkit.machine.torch_import import TorchImport
from torchkit.machine.torch_libraries import TorchLibraries
from torchkit.system import System

_WATCHED = re.compile(
    r"lib(cudart|cublas|cublasLt|cudnn\w*|cufft|cufile|cupti|curand|cusolver|cusparse|cusparseLt"
    r"|nccl|nvJitLink|nvrtc|nvrtc-builtins|nvshmem_host|nvToolsExt|stdc\+\+|gomp|iomp5|gcc_s)\.so"
)
"""Libraries that a torch brings along, and that often lie elsewhere on the machine, too."""

_CHUNK_BYTES = 1024**2

_OPENED_LATER = {"libcudnn": r"libcudnn_\w+\.so", "libnvrtc": r"libnvrtc-builtins\.so"}
"""What a library opens by name when it is first used, beside what it needs from the start."""


def shadowed_libraries(torch: TorchLibraries, course: TorchImport) -> Iterator[Library]:
    """Watched libraries of which a copy wins that torch did not bring, or that lacks a version."""
    lacking = {problem.library: problem for problem in reversed(course.problems) if problem.version}
    taken: dict[str, Loaded] = {}
    for found in course.libraries:
        if _WATCHED.match(found.name):
            taken.setdefault(found.name, found)
    for found in [*taken.values(), *_opened_later(torch, taken)]:
        problem = lacking.get(found.name)
        loser = None if torch.is_own(found.path) else torch.own_copy(found.soname or found.name)
        if loser is None and problem is not None:
            loser = _copy_with(torch, found, problem)
        if loser is not None:
            needed_by = found.needed_by if problem is None else problem.needed_by
            yield Library(
                name=found.name,
                winner=str(tidy(torch.system, found.path)),
                reason=_reason(torch.system, found),
                loser=str(tidy(torch.system, loser)),
                missing=None if problem is None else problem.version,
                needed_by=None if needed_by is None else Path(needed_by).name,
            )
    yield from _cudnn_parts_from_elsewhere(torch, taken)


def _cudnn_parts_from_elsewhere(
    torch: TorchLibraries, taken: dict[str, Loaded]
) -> Iterator[Library]:
    """Parts that torch's own cuDNN opens by name, does not have beside it, and finds elsewhere.

    `loser` is then the cuDNN whose part is missing. It refuses a part of another version:
    CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH (https://github.com/pytorch/pytorch/issues/185512).
    """
    core = next((it for name, it in taken.items() if name.startswith("libcudnn.so.")), None)
    if core is None or not torch.is_own(core.path):
        return
    beside = torch.system.names_in(core.path.parent)
    suffix = core.name.removeprefix("libcudnn")
    parts = re.compile(rf"libcudnn_\w+{re.escape(suffix)}")
    for name in torch.loader.names_in_reach(parts, needed_by=core.path):
        if name in beside or not _is_opened_by_cudnn(torch.system, core.path.parent, name):
            continue
        found = torch.loader.find_for(name, needed_by=core.path)
        if found is not None:
            yield Library(
                name=name,
                winner=str(tidy(torch.system, found.path)),
                reason=_reason(torch.system, found),
                loser=str(tidy(torch.system, core.path)),
                needed_by=core.name,
            )


def _is_opened_by_cudnn(system: System, folder: Path, name: str) -> bool:
    """Whether a library of this cuDNN holds the name: `libcudnn_engines_tensor_ir.so` and more."""
    wanted = name.partition(".so")[0].encode() + b".so"
    for library in system.names_in(folder):
        if not re.match(r"libcudnn(_graph)?\.so\.", library):  # the two that open others
            continue
        try:
            with system.open(folder / library) as file:
                before = b""
                while chunk := file.read(_CHUNK_BYTES):
                    if wanted in before + chunk:
                        return True
                    before = chunk[-len(wanted) :]
        except OSError:
            continue
    return False


def _reason(system: System, found: Loaded) -> str:
    if found.why == ALREADY_LOADED and found.path.name in system.environ.get("LD_PRELOAD", ""):
        return "LD_PRELOAD"
    return found.why


def _opened_later(torch: TorchLibraries, taken: dict[str, Loaded]) -> Iterator[Loaded]:
    """The parts of a library that it opens by name, as they would be found."""
    for found in taken.values():
        pattern = _OPENED_LATER.get(found.name.split(".")[0])
        copy = torch.own_copy(found.name)
        if pattern is None or copy is None:
            continue
        for name in torch.system.names_in(copy.parent):
            if re.match(pattern, name) and name not in taken:
                part = torch.loader.find_for(name, needed_by=found.path)
                if part is not None:
                    yield part


def _copy_with(torch: TorchLibraries, found: Loaded, problem: Problem) -> Path | None:
    """Another copy in the loader's reach that has the version the winner lacks."""
    if problem.needed_by is None:
        return None
    for offer in torch.loader.offers(found.name, needed_by=Path(problem.needed_by)):
        elf = torch.loader.elf(offer.path)
        if isinstance(elf, Elf) and problem.version in elf.defined_versions:
            return offer.path
    return None


def tidy(system: System, path: Path) -> Path:
    """The path without `..` in it, under the name that was loaded."""
    return system.resolve(path.parent) / path.name
