"""Facts told by the compiled libraries of an installed torch. Only Linux is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torchkit.machine.elf import Elf
from torchkit.machine.facts import Value
from torchkit.machine.loader import Loader
from torchkit.machine.shadowed import shadowed_libraries, tidy
from torchkit.machine.torch_import import TorchImport
from torchkit.machine.torch_libraries import ARCHS_LIBRARY, TorchLibraries, newest
from torchkit.system import System, Unknown

LIBSTDCXX = "libstdc++.so.6"
_FACTS = (
    "torch_cxx11_abi",
    "torch_glibc_needed",
    "torch_glibcxx_needed",
    "torch_cxxabi_needed",
    "torch_archs",
    "torch_archs_source",
    "torch_problems",
    "shadowed_libraries",
)
_LIBSTDCXX_FACTS = ("libstdcxx_path", "libstdcxx_glibcxx", "libstdcxx_cxxabi")


def torch_library_facts(
    system: System,
    *,
    torch_folder: Path,
    python_executable: Path,
    python_tag: str,
    cuda: bool,
    search_path: Sequence[Path] = (),
) -> dict[str, Value]:
    """What the libraries in `torch_folder` say, and what stands in the way of importing them.

    `python_tag` is the suffix of compiled modules, e.g. "cpython-311-x86_64-linux-gnu".
    `cuda`: whether this is a build for CUDA. `search_path` is the interpreter's `sys.path`, where
    the nvidia packages are looked for; without it, the folder that torch lies in.
    """
    if system.platform != "linux":
        return dict.fromkeys((*_FACTS, *_LIBSTDCXX_FACTS))
    loader = Loader(system, executable=python_executable)
    torch = TorchLibraries(
        system, loader, torch_folder, tuple(search_path) or (torch_folder.parent,)
    )
    archs = torch.archs() if cuda else None
    facts: dict[str, Value] = {
        "torch_cxx11_abi": torch.cxx11_abi(),
        "torch_glibc_needed": torch.newest_needed("GLIBC"),
        "torch_glibcxx_needed": torch.newest_needed("GLIBCXX"),
        "torch_cxxabi_needed": torch.newest_needed("CXXABI"),
        "torch_archs": archs,
        "torch_archs_source": ARCHS_LIBRARY if isinstance(archs, tuple) else archs,
    }
    if loader.not_simulated is not None:
        unknown = Unknown(loader.not_simulated)
        names = ("torch_problems", "shadowed_libraries", *_LIBSTDCXX_FACTS)
        return {**facts, **dict.fromkeys(names, unknown)}
    course = TorchImport(torch, python_tag)
    course.run()
    facts["torch_problems"] = tuple(dict.fromkeys(course.texts))
    facts["shadowed_libraries"] = tuple(shadowed_libraries(torch, course))
    winner = next(
        (found for found in course.libraries if LIBSTDCXX in (found.name, found.soname)), None
    )
    path = loader.find(LIBSTDCXX) if winner is None else winner.path
    return {**facts, **_describe_libstdcxx(system, loader, path)}


def libstdcxx_facts(system: System, *, python_executable: Path) -> dict[str, Value]:
    """The libstdc++.so.6 that a compiled module would get in a process of this Python."""
    if system.platform != "linux":
        return dict.fromkeys(_LIBSTDCXX_FACTS)
    loader = Loader(system, executable=python_executable)
    if loader.not_simulated is not None:
        return dict.fromkeys(_LIBSTDCXX_FACTS, Unknown(loader.not_simulated))
    return _describe_libstdcxx(system, loader, loader.find(LIBSTDCXX))


def _describe_libstdcxx(system: System, loader: Loader, path: Path | None) -> dict[str, Value]:
    if path is None:
        return dict.fromkeys(_LIBSTDCXX_FACTS)
    elf = loader.elf(path)
    offered: dict[str, Value] = {
        "libstdcxx_glibcxx": newest("GLIBCXX", elf.defined_versions)
        if isinstance(elf, Elf)
        else elf,
        "libstdcxx_cxxabi": newest("CXXABI", elf.defined_versions) if isinstance(elf, Elf) else elf,
    }
    return {"libstdcxx_path": str(tidy(system, path)), **offered}
