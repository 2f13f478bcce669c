"""The three that know of an NVIDIA driver: NVML, libcuda and nvidia-smi, asked one at a time.

The libraries are only opened in a child with a time limit (`ask_driver.py`): a wedged driver
hangs whoever asks it, and a broken library takes its process along. What follows from the
answers is `driver.py`'s to say.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torchkit.machine.facts import Gpu
from torchkit.system import Answer, System, TimedOut, Unknown
from torchkit.versions import Version

_SCRIPT = Path(__file__).with_name("ask_driver.py")  # not imported: ctypes is for the child alone

MIB = 1024**2
ERROR_LENGTH = 300

_SMI_FIELDS = ("name", "compute_cap", "memory.total", "driver_version")
_SMI_CUDA = re.compile(r"\bCUDA (?:UMD )?Version\s*: *(\d+\.\d+)")
_SMI_DRIVER = re.compile(r"\b(?:Driver|KMD) Version\s*: *(\d+\.\d+(?:\.\d+)?)")
_SMI_NO_DEVICES = "No devices were found"


class Said(NamedTuple):
    """What NVML, libcuda or nvidia-smi told. None stands for "told nothing of it"."""

    opened: bool = False
    file: str | None = None
    driver: str | None = None
    cuda: Version | None = None
    gpus: tuple[Gpu, ...] | None = None
    error: str | None = None
    hung: bool = False  # no answer in time: nobody else is asked what may hang as well
    crashed: bool = False


NOTHING = Said()


def ask_library(
    system: System, which: str, file: Path | None, *, devices: bool, limit_s: float
) -> Said:
    """Ask a library in a child of its own."""
    if file is None:
        return NOTHING
    name = file.name
    # On a real machine the loader chooses, as it does for torch; an invented one has only files.
    candidates = [name] if system.root == Path("/") else []
    command = [sys.executable or "python3", "-I", "-S", str(_SCRIPT), which]
    command += ["devices" if devices else "version", *candidates, str(system.path(file))]
    answer = system.run(command, limit_s=limit_s)
    if isinstance(answer, Unknown):
        hung = isinstance(answer, TimedOut)
        reason = f"{name} did not answer within {limit_s:g} s" if hung else answer.reason
        return Said(error=reason, hung=hung)
    try:
        told = json.loads(answer.stdout.strip().splitlines()[-1])
        return _from_child(name, told)
    except (IndexError, ValueError, TypeError, KeyError, AttributeError):
        return Said(error=one_line(f"{name} {_death(answer)}"), crashed=True)


def _death(answer: Answer) -> str:
    if answer.status < 0:
        try:
            how = signal.Signals(-answer.status).name
        except ValueError:
            how = f"signal {-answer.status}"
        return f"died of {how} when asked"
    said = answer.stderr.strip().splitlines() or ["nothing"]
    return f"could not be asked, the child ended with status {answer.status} and said: {said[-1]}"


def _from_child(name: str, told: Mapping[str, Any]) -> Said:
    number = int(told.get("cuda") or 0)
    gpus = told.get("gpus")
    error = told.get("error")
    driver = told.get("driver")
    file = told.get("file")
    return Said(
        opened=bool(told["opened"]),
        file=str(file) if file else None,
        driver=str(driver) if driver else None,
        cuda=Version(f"{number // 1000}.{number % 1000 // 10}") if number > 0 else None,
        gpus=None if gpus is None else tuple(_gpu(gpu) for gpu in gpus),
        error=one_line(f"{name}: {error}" if not str(error).startswith(name) else str(error))
        if error
        else None,
    )


def _gpu(told: Mapping[str, Any]) -> Gpu:
    major, minor = told.get("capability") or (0, 0)
    return Gpu(
        name=str(told["name"]),
        capability=f"{int(major)}.{int(minor)}" if major else None,
        memory_bytes=int(told.get("memory_bytes") or 0) or None,
    )


# --- nvidia-smi


def ask_smi(system: System, *, limit_s: float, with_cuda: bool) -> Said:
    program = _smi_program(system)
    if program is None:
        return NOTHING
    fields = list(_SMI_FIELDS)
    answer = _query(system, program, fields, limit_s)
    if isinstance(answer, Answer) and '"compute_cap" is not a valid field' in answer.stdout:
        fields.remove("compute_cap")  # driver 470 and older
        answer = _query(system, program, fields, limit_s)
    if isinstance(answer, Unknown):
        return Said(error=answer.reason, hung=isinstance(answer, TimedOut))
    said = _from_smi(answer, fields)
    if said.gpus is None or not with_cuda:
        return said
    banner = system.run([program], limit_s=limit_s)
    if isinstance(banner, Unknown):
        return said._replace(error=said.error or banner.reason)
    cuda = _SMI_CUDA.search(banner.stdout)
    driver = _SMI_DRIVER.search(banner.stdout)
    return said._replace(
        cuda=Version(cuda.group(1)) if cuda else None,
        driver=said.driver or (driver.group(1) if driver else None),
    )


_DRIVER_VERSION = re.compile(r"\d+(\.\d+)*")
"""What a row of GPUs ends with; a line of something else can have as many commas."""


def _smi_program(system: System) -> Path | None:
    if system.platform == "win32":
        return system.which("nvidia-smi.exe")
    return system.which("nvidia-smi") or system.which("/usr/lib/wsl/lib/nvidia-smi")


def _query(system: System, program: Path, fields: list[str], limit_s: float) -> Answer | Unknown:
    wanted = f"--query-gpu={','.join(fields)}"
    return system.run([program, wanted, "--format=csv,noheader,nounits"], limit_s=limit_s)


def _from_smi(answer: Answer, fields: list[str]) -> Said:
    """Rows of GPUs, and whatever else nvidia-smi said: its errors come on standard output."""
    gpus, rest, driver = [], [], None
    for line in f"{answer.stdout}\n{answer.stderr}".splitlines():
        values = [value.strip() for value in line.split(",")]
        row = {field: _known(value) for field, value in zip(fields, values, strict=False)}
        if len(values) == len(fields) and _DRIVER_VERSION.fullmatch(row["driver_version"] or "0"):
            memory = row["memory.total"]
            driver = driver or row["driver_version"]
            gpus.append(
                Gpu(
                    name=row["name"] or "NVIDIA GPU",
                    capability=_number(row.get("compute_cap")),
                    memory_bytes=int(memory) * MIB if memory and memory.isdecimal() else None,
                )
            )
        elif line.strip() and line.strip() != _SMI_NO_DEVICES:
            rest.append(line.strip())
    none = _SMI_NO_DEVICES in answer.stdout
    if not gpus and not none and not rest:
        rest = [f"ended with status {answer.status} and said nothing"]
    error = one_line(f"nvidia-smi: {'; '.join(rest)}") if rest else None
    return Said(opened=True, driver=driver, gpus=tuple(gpus) if gpus or none else None, error=error)


def _known(value: str) -> str | None:
    """A value of nvidia-smi; None for `[N/A]`, `[Not Supported]`, `[GPU requires reset]`, `ERR!`."""
    return None if value.startswith("[") or value in ("", "N/A", "ERR!", "Not Supported") else value


def _number(value: str | None) -> str | None:
    return value if value and re.fullmatch(r"\d+\.\d+", value) else None


def one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= ERROR_LENGTH else f"{line[: ERROR_LENGTH - 2]} …"
