"""Asks the probes and gives `Facts`: all of them, or only those that a question needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torchkit.machine.facts import GLOSSARY, Facts, Unknown, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.system import System


def survey(system: System, interpreter: Interpreter, *, only: Iterable[str] | None = None) -> Facts:
    """Facts about this machine and this interpreter.

    `only` names the facts that are wanted; probes that give none of them are not asked.
    """
    wanted = set(GLOSSARY if only is None else only)
    probes = {GLOSSARY[name].probe for name in wanted}
    facts: dict[str, Value] = {}
    if "host" in probes:
        from torchkit.machine.host import host_facts

        facts |= host_facts(system)
    if "shm" in probes:
        from torchkit.machine.shm import shm_facts

        facts |= shm_facts(system)
    if "toolchain" in probes:
        from torchkit.machine.toolchain import toolchain_facts

        facts |= toolchain_facts(system)
    if "driver" in probes:
        facts |= _driver(system)
    if probes & {"packages", "torch", "loader"}:
        facts |= _python(system, interpreter, probes)
    return Facts({name: facts[name] for name in facts if only is None or name in wanted})


def _driver(system: System) -> dict[str, Value]:
    from torchkit.machine.driver import driver_facts
    from torchkit.machine.loader import Loader

    return driver_facts(system, find_library=Loader(system, executable=None).find)


def _python(system: System, interpreter: Interpreter, probes: set[str]) -> dict[str, Value]:
    from torchkit.machine.distributions import Packages
    from torchkit.machine.packages import package_facts
    from torchkit.machine.torch_install import find_torch, torch_facts

    packages = Packages(system, interpreter.package_folders)
    facts = package_facts(system, interpreter, packages) if "packages" in probes else {}
    if not probes & {"torch", "loader"}:
        return facts
    torch = find_torch(system, interpreter)
    told = torch_facts(system, interpreter, packages, torch)
    facts |= told
    folder = Path(told["torch_path"]) if told["torch_path"] is not None else None
    binary = _libraries(system, interpreter, folder, cuda=_may_have_cuda(told))
    facts |= binary
    facts["torch_problems"] = _all_problems(told["torch_problems"], binary["torch_problems"])
    return facts


def _all_problems(in_texts: Value, in_libraries: Value) -> Value:
    """What Python stumbles over comes first; where the loader is not simulated, it is all we know."""
    if in_texts is None or isinstance(in_libraries, Unknown):
        return in_texts or in_libraries
    return (*in_texts, *(in_libraries or ()))


def _may_have_cuda(told: dict[str, Value]) -> bool:
    return told["torch_build"] == "cuda" or isinstance(told["torch_build"], Unknown)


def _libraries(
    system: System, interpreter: Interpreter, folder: Path | None, *, cuda: bool
) -> dict[str, Value]:
    """What torch's compiled libraries say; only libstdc++ where there is no torch."""
    from torchkit.machine.libtorch import libstdcxx_facts, torch_library_facts

    if folder is None:
        return {
            **dict.fromkeys(_TOLD_BY_LIBRARIES, None),
            **libstdcxx_facts(system, python_executable=interpreter.executable),
        }
    return torch_library_facts(
        system,
        torch_folder=folder,
        python_executable=interpreter.executable,
        python_tag=interpreter.tag,
        cuda=cuda,
        search_path=interpreter.path,
    )


_TOLD_BY_LIBRARIES = (
    "torch_cxx11_abi",
    "torch_archs",
    "torch_archs_source",
    "torch_glibc_needed",
    "torch_glibcxx_needed",
    "torch_cxxabi_needed",
    "torch_problems",
    "shadowed_libraries",
)
