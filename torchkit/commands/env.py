"""`torchkit env`: does what is on this machine fit together, and which libtorch would fit.

Gathers facts, has the checks judge them, and puts the report together. It imports no torch.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchkit import checks
from torchkit.advice import libtorch_advice, uses_cxx11_abi
from torchkit.checks.requirement_unmet import AREA as REQUIREMENT_AREA
from torchkit.checks.requirement_unmet import judge as judge_requirement
from torchkit.checks.requirement_unmet import parse_requirements
from torchkit.errors import BadInput
from torchkit.machine.facts import GLOSSARY, Facts, Gpu, Unknown, Value, plain
from torchkit.machine.interpreter import other_interpreter, own_interpreter
from torchkit.machine.survey import survey
from torchkit.report import Artifact, Finding, Report, Table
from torchkit.system import System
from torchkit.units import readable
from torchkit.versions import Version

REQUIREMENT_ID = "requirement-unmet"

FACTS_FILE_LIMIT_BYTES = 32 * 1024**2
"""A report of a machine has some ten thousand bytes; a file beyond this is another one."""


def run(
    *,
    python: str | None = None,
    require: Sequence[str] = (),
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    facts: Path | None = None,
    save: Path | None = None,
    system: System | None = None,
) -> Report:
    """Look at this machine, or at a saved one (`facts`), and judge it.

    `python` names another interpreter; `require` holds expressions such as "torch>=2.4"; `only`
    and `skip` choose checks by id; `save` is where the report goes as JSON too. Raises
    TorchkitError for an option, expression or file that cannot be used.
    """
    requirements = [parsed for text in require for parsed in parse_requirements(text)]
    ids = _chosen(only, skip)
    known = _facts(python=python, saved=facts, system=system, only=None)
    findings = [
        Finding(REQUIREMENT_ID, REQUIREMENT_AREA, judge_requirement(requirement, known))
        for requirement in requirements
    ]
    findings += checks.run_checks(known, ids)
    report = Report(
        "env",
        findings=checks.worst_first(findings),
        tables=(machine_table(known),),
        artifacts=_libtorch(known) if not only else (),
        facts=known.to_json(),
    )
    if save is not None:
        _save(report, save)
    return report


def fact(
    name: str,
    *,
    python: str | None = None,
    facts: Path | None = None,
    system: System | None = None,
) -> Value:
    """One fact's value, asking only the probes it needs.

    None where there is none. Raises BadInput for a name that is no fact, and for one that could
    not be told, with the reason.
    """
    if name not in GLOSSARY:
        near = difflib.get_close_matches(name, GLOSSARY, n=1)
        raise BadInput(
            f"{name!r} is no fact",
            hint=f"did you mean {near[0]}?" if near else f"choose from: {', '.join(GLOSSARY)}",
        )
    value = _facts(python=python, saved=facts, system=system, only=[name])[name]
    if isinstance(value, Unknown):
        raise BadInput(
            f"{name} is not known: {value.reason}", hint="see `torchkit env` for the rest"
        )
    return value


def list_checks() -> Report:
    """Every check with its area and its title."""
    loaded = [checks.load(check_id) for check_id in checks.check_ids()]
    rows = tuple(
        {"id": check.id, "area": check.area, "title": check.title}
        for check in sorted(loaded, key=lambda check: (check.area, check.id))
    )
    return Report(
        "env",
        headline=f"{len(rows)} checks; choose some with --only ID, leave some out with --skip ID",
        tables=(Table("checks", ("id", "area", "title"), rows),),
    )


# --- where the facts come from


def _facts(
    *, python: str | None, saved: Path | None, system: System | None, only: Sequence[str] | None
) -> Facts:
    if saved is not None:
        if python is not None:
            raise BadInput(
                "--facts and --python exclude each other", hint="a saved machine has its own Python"
            )
        return read_facts(saved)
    system = system or System()
    interpreter = own_interpreter() if python is None else other_interpreter(system, python)
    return survey(system, interpreter, only=only)


def read_facts(path: Path) -> Facts:
    """The facts of a saved machine: any JSON with an object `facts`.

    Raises BadInput when the file cannot be read as such.
    """
    hint = "give a file that `torchkit env --save FILE` wrote"
    try:
        if not path.is_file() and str(path) != "/dev/stdin":
            raise BadInput(
                f"{path} is {'no regular file' if path.exists() else 'not there'}", hint=hint
            )
        with path.open("rb") as file:
            data = file.read(FACTS_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadInput(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint=hint
        ) from None
    if len(data) > FACTS_FILE_LIMIT_BYTES:
        raise BadInput(f"{path} is larger than {FACTS_FILE_LIMIT_BYTES // 1024**2} MiB", hint=hint)
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not JSON", hint=hint) from None
    facts = content.get("facts") if isinstance(content, Mapping) else None
    if not isinstance(facts, Mapping):
        raise BadInput(f"{path} has no object named facts", hint=hint)
    return Facts.from_json(facts, where=str(path))


def _save(report: Report, path: Path) -> None:
    try:
        path.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}",
            hint="name a file in a folder that can be written",
        ) from None


def _chosen(only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    known = checks.check_ids()
    for check_id in (*only, *skip):
        if check_id not in known:
            near = difflib.get_close_matches(check_id, known, n=1)
            raise BadInput(
                f"there is no check named {check_id!r}",
                hint=f"did you mean {near[0]}?" if near else "see `torchkit env --list`",
            )
    return tuple(
        check_id
        for check_id in checks.automatic_ids()
        if (not only or check_id in only) and check_id not in skip
    )


# --- the compact list of facts


def machine_table(facts: Facts) -> Table:
    """The machine in a few lines: what people ask for first."""
    lines = {
        "torch": _torch_line(facts),
        "driver": _driver_line(facts),
        "build": _build_line(facts),
        "system": _system_line(facts),
    }
    rows = tuple({"area": area, "value": value} for area, value in lines.items() if value)
    return Table("machine", ("area", "value"), rows)


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _torch_line(facts: Facts) -> str:
    version, python = facts["torch_version"], facts.known("python_version")
    abi, cuda = facts.known("torch_cxx11_abi"), facts.known("torch_cuda")
    if isinstance(version, Unknown):
        torch = f"unknown ({version.reason})"
    else:
        torch = str(version) if version is not None else "none"
    prefix = facts.known("python_prefix")
    return _joined(
        torch,
        f"CUDA {cuda}" if cuda is not None else None,
        None if abi is None else f"C++11 ABI {'new' if abi else 'old'}",
        f"Python {python}" + (f" ({prefix})" if prefix else "") if python is not None else None,
    )


def _driver_line(facts: Facts) -> str:
    version, cuda = facts["driver_version"], facts.known("driver_cuda")
    gpus = facts.known("gpus") or ()
    if isinstance(version, Unknown):
        return f"unknown ({version.reason})"
    if version is None and not gpus:
        return "no NVIDIA driver"
    return _joined(
        str(version) if version is not None else "of the system",
        f"CUDA up to {cuda}" if cuda is not None else None,
        _gpus(gpus) or "no GPU in reach",
    )


def _gpus(gpus: Sequence[Gpu]) -> str:
    """Equal ones once: `4x NVIDIA A100 (8.0, 40 GiB)`."""
    texts: dict[str, int] = {}
    for gpu in gpus:
        told = [gpu.capability, readable(gpu.memory_bytes) if gpu.memory_bytes else None]
        inside = ", ".join(part for part in told if part)
        text = f"{gpu.name} ({inside})" if inside else gpu.name
        texts[text] = texts.get(text, 0) + 1
    return " · ".join(f"{count}x {text}" if count > 1 else text for text, count in texts.items())


def _build_line(facts: Facts) -> str:
    gcc, clang = facts.known("gcc_version"), facts.known("clang_version")
    nvcc, bound = facts.known("nvcc_version"), facts.known("nvcc_gcc_max")
    cmake = facts.known("cmake_version")
    return (
        _joined(
            f"gcc {gcc}" if gcc is not None else None,
            f"clang {clang}" if clang is not None else None,
            f"nvcc {nvcc}" + (f" (takes gcc up to {bound})" if bound else "")
            if nvcc is not None
            else None,
            f"cmake {cmake}" if cmake is not None else None,
        )
        or "no compiler, nvcc or cmake"
    )


def _system_line(facts: Facts) -> str:
    limit, total = facts.known("memory_limit_bytes"), facts.known("memory_total_bytes")
    memory = min((size for size in (limit, total) if size is not None), default=None)
    cpus = facts.known("cpu_limit") or facts.known("cpu_count")
    glibc, shm = facts.known("glibc_version"), facts.known("shm_total_bytes")
    runtime = facts.known("container_runtime")
    return _joined(
        facts.known("os_name"),
        facts.known("jetson_model"),
        "WSL" if facts.known("is_wsl") else None,
        f"glibc {glibc}" if glibc is not None else None,
        f"container ({runtime})"
        if runtime
        else "container"
        if facts.known("is_container")
        else None,
        f"{cpus:g} CPUs" if cpus else None,
        readable(memory) if memory else None,
        f"/dev/shm {readable(shm)}" if shm else None,
    )


# --- which libtorch fits


def _libtorch(facts: Facts) -> tuple[Artifact, ...]:
    """The download that fits this machine and why; nothing where the facts do not settle it."""
    driver, gpus = facts["driver_version"], facts["gpus"]
    if isinstance(driver, Unknown) and isinstance(gpus, Unknown):
        return ()
    known_gpus: tuple[Gpu, ...] = gpus if isinstance(gpus, tuple) else ()
    glibc, gcc = facts.known("glibc_version"), facts.known("gcc_version")
    system = facts.known("os_system") or ("linux" if glibc is not None else None)
    if system is None or facts.known("jetson_model"):
        return ()
    found = libtorch_advice(
        os_system=system,
        architecture=facts.known("cpu_architecture") or "x86_64",
        driver_version=driver if isinstance(driver, Version) else None,
        gpus=known_gpus,
        glibc_version=glibc,
        gcc_version=gcc,
        windows_driver=facts.known("is_wsl") is True,
    )
    if found is None:
        return ()
    build = 'cmake -DCMAKE_PREFIX_PATH="$PWD/libtorch" -S . -B build'
    return (
        Artifact(
            "libtorch",
            "libtorch for this machine",
            url=found.zip.url,
            why=(*found.why, *_installed_instead(facts)),
            commands=(build,),
        ),
    )


def _installed_instead(facts: Facts) -> tuple[str, ...]:
    """The installed torch is a libtorch too, where its ABI is the compiler's."""
    prefix, abi = facts.known("torch_cmake_prefix"), facts.known("torch_cxx11_abi")
    gcc, glibc = facts.known("gcc_version"), facts.known("glibc_version")
    if not prefix or abi is not uses_cxx11_abi(gcc, glibc):
        return ()
    return (
        f"or no download: the installed torch {facts.known('torch_version')} is one, with "
        f"-DCMAKE_PREFIX_PATH={prefix}",
    )


def as_text(value: Value) -> str:
    """A fact for a shell script: booleans as true and false, "" for none, lists a line each."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return "\n".join(
            item if isinstance(item, str) else json.dumps(plain(item)) for item in value
        )
    if isinstance(value, Mapping):
        return "\n".join(f"{name}=={text}" for name, text in value.items())
    return str(value)


def as_json(value: Value) -> str:
    """A fact as JSON has it in a report."""
    return json.dumps(plain(value))
