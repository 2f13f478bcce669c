"""Asks the probes and gives `Facts`: all of them, or only those that a question needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit.machine.facts import GLOSSARY, Facts, Unknown, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.system import System


class Asked(NamedTuple):
    """What a user wants looked at besides the machine: files by name, whether torch is run, and
    who and what limits shared memory."""

    extensions: tuple[str, ...] = ()
    libtorchs: tuple[str, ...] = ()
    live: bool = False
    probe: bool = False
    shm: bool = False


NOTHING_MORE = Asked()

_TORCH_FACTS = frozenset(fact.name for fact in GLOSSARY.values() if fact.probe == "torch")


def survey(
    system: System,
    interpreter: Interpreter,
    *,
    only: Iterable[str] | None = None,
    asked: Asked = NOTHING_MORE,
) -> Facts:
    """Facts about this machine and this interpreter.

    `only` names the facts that are wanted; probes that give none of them are not asked. Raises
    BadInput for a file of `asked` that is not there.
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
    if asked.shm or only is not None:
        facts |= _shared_memory(system, probes)
    if "toolchain" in probes:
        from torchkit.machine.toolchain import toolchain_facts

        facts |= toolchain_facts(system)
    if "driver" in probes:
        facts |= _driver(system)
    if probes & {"packages", "torch", "loader", "extensions"}:
        facts |= _python(system, interpreter, probes, asked, wanted)
    if "libtorch_files" in probes:
        facts |= libtorch_facts(system, asked.libtorchs, with_toolkit=True)
    if "probe" in probes:
        facts |= _build_trials(system, interpreter, facts, asked)
    if "torch_child" in probes:
        facts |= _live(system, interpreter, facts, asked)
    return Facts({name: facts[name] for name in facts if only is None or name in wanted})


def libtorch_facts(
    system: System, paths: Sequence[str], *, with_toolkit: bool = False
) -> dict[str, Value]:
    """What `GLOSSARY` ascribes to the probe `libtorch_files`. Raises BadInput for a wrong path.

    `with_toolkit`: held against the CUDA toolkit here, which a saved machine's is not.
    """
    if not paths:
        return {"libtorchs": None}
    from torchkit.machine.libtorch_files import libtorch_file_facts
    from torchkit.machine.toolchain import cuda_home_and_nvcc

    cuda_home, _ = cuda_home_and_nvcc(system) if with_toolkit else (None, None)
    return libtorch_file_facts(system, paths, cuda_home=cuda_home)


def _shared_memory(system: System, probes: set[str]) -> dict[str, Value]:
    """What only shm-check wants to know, or who names such a fact."""
    facts: dict[str, Value] = {}
    if "shm_limits" in probes:
        from torchkit.machine.shm_limits import shm_limit_facts

        facts |= shm_limit_facts(system)
    if "shm_users" in probes:
        from torchkit.machine.shm_users import shm_user_facts

        facts |= shm_user_facts(system)
    return facts


def _build_trials(
    system: System, interpreter: Interpreter, facts: dict[str, Value], asked: Asked
) -> dict[str, Value]:
    """A C++ program is built against each libtorch that is given, or the installed torch."""
    if not asked.probe:
        return {"build_trials": None}
    from torchkit.machine.probe import build_trial_facts

    return build_trial_facts(system, interpreter, facts, asked.libtorchs)


def _live(
    system: System, interpreter: Interpreter, facts: dict[str, Value], asked: Asked
) -> dict[str, Value]:
    """What torch itself says, in a child."""
    if not asked.live:
        return {fact.name: None for fact in GLOSSARY.values() if fact.probe == "torch_child"}
    from torchkit.machine.torch_child import live_facts

    return live_facts(system, interpreter, facts)


def _driver(system: System) -> dict[str, Value]:
    from torchkit.machine.driver import driver_facts
    from torchkit.machine.loader import Loader

    return driver_facts(system, find_library=Loader(system, executable=None).find)


def _python(
    system: System,
    interpreter: Interpreter,
    probes: set[str],
    asked: Asked,
    wanted: set[str],
) -> dict[str, Value]:
    from torchkit.machine.distributions import Packages
    from torchkit.machine.packages import package_facts
    from torchkit.machine.torch_install import find_torch, torch_facts

    packages = Packages(system, interpreter.package_folders)
    facts = package_facts(system, interpreter, packages) if "packages" in probes else {}
    if not probes & {"torch", "loader", "extensions"}:
        return facts
    torch = find_torch(system, interpreter)
    told = torch_facts(system, interpreter, packages, torch)
    facts |= told
    if probes.isdisjoint({"loader", "extensions"}) and wanted & _TORCH_FACTS <= {"torch_version"}:
        return facts  # its libraries need not be read for that
    from torchkit.machine.libtorch import torch_library_facts, torch_process

    folder = Path(told["torch_path"]) if told["torch_path"] is not None else None
    process = torch_process(
        system,
        torch_folder=folder,
        python_executable=interpreter.executable,
        python_tag=interpreter.tag,
        search_path=interpreter.path,
    )
    binary = torch_library_facts(process, cuda=_may_have_cuda(told))
    facts |= binary
    facts["torch_problems"] = _all_problems(told["torch_problems"], binary["torch_problems"])
    if "extensions" in probes:
        from torchkit.machine.extensions import extension_facts

        facts |= extension_facts(
            process, interpreter, packages, problems=facts["torch_problems"], asked=asked.extensions
        )
    return facts


def _all_problems(in_texts: Value, in_libraries: Value) -> Value:
    """What Python stumbles over comes first; where the loader is not simulated, it is all we know."""
    if in_texts is None or isinstance(in_libraries, Unknown):
        return in_texts or in_libraries
    return (*in_texts, *(in_libraries or ()))


def _may_have_cuda(told: dict[str, Value]) -> bool:
    return told["torch_build"] == "cuda" or isinstance(told["torch_build"], Unknown)
