"""Facts told by the compiled libraries of an installed torch. Only Linux is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit.machine.elf import Elf
from torchkit.machine.facts import Value
from torchkit.machine.loader import Loader
from torchkit.machine.shadowed import shadowed_libraries, tidy
from torchkit.machine.torch_import import TorchImport
from torchkit.machine.torch_libraries import TorchLibraries, newest
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


class TorchProcess(NamedTuple):
    """The examined Python after `import torch`, as it is simulated.

    Without a torch nothing is imported; `course` is None where the loader cannot be simulated.
    """

    system: System
    loader: Loader
    torch: TorchLibraries | None = None
    course: TorchImport | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the import would fail, in the loader's words or Python's."""
        return () if self.course is None else tuple(dict.fromkeys(self.course.texts))


def torch_process(
    system: System,
    *,
    torch_folder: Path | None,
    python_executable: Path,
    python_tag: str,
    search_path: Sequence[Path] = (),
) -> TorchProcess:
    """A process of this Python in which `import torch` was tried; libraries add up in its loader.

    `python_tag` is the suffix of compiled modules, e.g. "cpython-311-x86_64-linux-gnu".
    `search_path` is the interpreter's `sys.path`, where the nvidia packages are looked for;
    without it, the folder that torch lies in.
    """
    loader = Loader(system, executable=python_executable)
    if torch_folder is None:
        return TorchProcess(system, loader)
    path = tuple(search_path) or (torch_folder.parent,)
    torch = TorchLibraries(system, loader, torch_folder, path)
    if loader.not_simulated is not None:
        return TorchProcess(system, loader, torch)
    course = TorchImport(torch, python_tag)
    course.run()
    return TorchProcess(system, loader, torch, course)


def torch_library_facts(process: TorchProcess, *, cuda: bool) -> dict[str, Value]:
    """What torch's libraries say, and what stands in the way of importing them.

    `cuda`: whether this is a build for CUDA. Without a torch, only what is said of libstdc++.
    """
    system, loader, torch, course = process
    if system.platform != "linux":
        return dict.fromkeys((*_FACTS, *_LIBSTDCXX_FACTS))
    facts: dict[str, Value] = dict.fromkeys(_FACTS)
    if torch is not None:
        facts |= {
            "torch_cxx11_abi": torch.cxx11_abi(),
            "torch_glibc_needed": torch.newest_needed("GLIBC"),
            "torch_glibcxx_needed": torch.newest_needed("GLIBCXX"),
            "torch_cxxabi_needed": torch.newest_needed("CXXABI"),
            "torch_archs": torch.archs() if cuda else None,
            "torch_archs_source": torch.archs_source() if cuda else None,
        }
    if loader.not_simulated is not None:
        unknown = Unknown(loader.not_simulated)
        names = () if torch is None else ("torch_problems", "shadowed_libraries")
        return {**facts, **dict.fromkeys((*names, *_LIBSTDCXX_FACTS), unknown)}
    if torch is not None and course is not None:
        facts["torch_problems"] = process.problems
        facts["shadowed_libraries"] = tuple(shadowed_libraries(torch, course))
    loaded = () if course is None else course.libraries
    winner = next((it for it in loaded if LIBSTDCXX in (it.name, it.soname)), None)
    path = loader.find(LIBSTDCXX) if winner is None else winner.path
    return {**facts, **_describe_libstdcxx(system, loader, path)}


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
