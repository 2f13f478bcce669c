"""The glossary: every fact about a machine, with its kind, unit, meaning and probe.

A fact has three states: a value; None, "we looked and there is none"; `Unknown`, "we could not
tell", with the reason. Facts travel as JSON (`env --save`, `env --facts`), so each kind knows
how to write and read itself. No fact is read here, and none is judged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from torchkit.errors import BadInput
from torchkit.machine.records import (
    BuildTrial,
    Companion,
    Extension,
    Gpu,
    Install,
    Library,
    Libtorch,
    LiveTrial,
    ShmHolder,
)
from torchkit.system import Unknown
from torchkit.versions import Version, as_version

__all__ = [
    "GLOSSARY",
    "BuildTrial",
    "Companion",
    "Extension",
    "Fact",
    "Facts",
    "Gpu",
    "Install",
    "Library",
    "Libtorch",
    "LiveTrial",
    "ShmHolder",
    "Unknown",
    "Value",
    "why_unknown",
]


Value = Any  # what the glossary says of the fact; checks declare the precise type


def _text(data: object) -> str:
    if not isinstance(data, str):
        raise TypeError("a text")
    return data


def _flag(data: object) -> bool:
    if not isinstance(data, bool):
        raise TypeError("true or false")
    return data


def _count(data: object) -> int:
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        raise TypeError("a whole number")
    if not 0 <= data < 2**63 or data != int(data):  # neither holds for NaN
        raise TypeError("a whole number")
    return int(data)


def _number(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        raise TypeError("a number")
    try:
        number = float(data)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise TypeError("a number")
    return number


def _version(data: object) -> Version:
    """From a text or a whole number. JSON reads 2.10 as 2.1, so a fraction could be another one."""
    if isinstance(data, float):
        raise TypeError('a version written as text, such as "2.10", since JSON reads 2.10 as 2.1')
    if isinstance(data, bool) or not isinstance(data, (str, int)):
        raise TypeError('a version such as "12.4"')
    version = as_version(str(data))
    if version is None:
        raise TypeError('a version such as "12.4"')
    return version


def _capability(data: object) -> str:
    """Compute capability as NVIDIA writes it, "8.6"; also from 8.6 and [8, 6].

    A number loses nothing here, as a version would: the minor part is one digit.
    """
    if isinstance(data, (list, tuple)) and len(data) == 2:
        data = f"{data[0]}.{data[1]}"
    if isinstance(data, (int, float)) and not isinstance(data, bool) and 0 < data < 100:
        data = str(float(data))
    if not isinstance(data, str) or not re.fullmatch(r"[0-9]{1,2}\.[0-9]", data):
        raise TypeError('a compute capability such as "8.6"')
    return data


def _texts(data: object) -> tuple[str, ...]:
    if not isinstance(data, (list, tuple)) or not all(isinstance(item, str) for item in data):
        raise TypeError("a list of texts")
    return tuple(data)


def _pairs(data: object) -> dict[str, str]:
    if not isinstance(data, Mapping):
        raise TypeError("names with texts")
    return {_text(name): _text(value) for name, value in data.items()}


def _records(record: Any) -> Callable[[object], tuple[Any, ...]]:
    """Reads a list of objects as NamedTuples of this kind; names it does not know are passed over."""
    needed = [name for name in record._fields if name not in record._field_defaults]
    wanted = f"a list of objects with {', '.join(needed)}"

    def read(data: object) -> tuple[Any, ...]:
        if not isinstance(data, (list, tuple)):
            raise TypeError(wanted)
        rows = []
        for row in data:
            if not isinstance(row, Mapping) or any(name not in row for name in needed):
                raise TypeError(wanted)
            known = [name for name in record._fields if name in row]
            rows.append(record(**{name: _field(record, name, row[name]) for name in known}))
        return tuple(rows)

    return read


def _field(record: Any, name: str, data: object) -> object:
    """One value of a record, by the type it declares: a text, a number, a list of texts, or none."""
    declared = str(record.__annotations__[name])
    if data is None and "None" in declared:
        return None
    try:
        return _capability(data) if name == "capability" else _reader_of(declared)(data)
    except TypeError as error:
        raise TypeError(f"{error} as {name}") from None


def _reader_of(declared: str) -> Callable[[object], Value]:
    """`declared` is an annotation as written: "ForwardRef('int | None')" or "int | None"."""
    kind = re.sub(r"^ForwardRef\('|'.*$", "", declared)
    readers = {"bool": _flag, "int": _count, "float": _number, "tuple": _texts}
    return readers.get(re.split(r"\W", kind)[0], _text)


class Kind(Enum):
    """What a fact's value is, and how it is read from JSON."""

    TEXT = "text"
    FLAG = "true or false"
    COUNT = "whole number"
    NUMBER = "number"
    VERSION = "version"
    TEXTS = "list of texts"
    PAIRS = "names with texts"
    GPUS = "list of {name, capability, memory_bytes}"
    INSTALLS = "list of {path, version, manager}"
    COMPANIONS = "list of {name, version, requires_torch, built_for_torch, cuda}"
    LIBRARIES = "list of {name, winner, reason, loser, missing, needed_by}"
    EXTENSIONS = "list of {path, package, version, error …}"
    LIBTORCHS = "list of {path, kind, version, cuda …}"
    BUILD_TRIALS = "list of {against, stage, succeeded, error …}"
    SHM_HOLDERS = "list of {kind, bytes, files, pid …}"
    LIVE_TRIALS = "list of {what, worked, error, milliseconds …}"


_READERS: dict[Kind, Callable[[object], Value]] = {
    Kind.TEXT: _text,
    Kind.FLAG: _flag,
    Kind.COUNT: _count,
    Kind.NUMBER: _number,
    Kind.VERSION: _version,
    Kind.TEXTS: _texts,
    Kind.PAIRS: _pairs,
    Kind.GPUS: _records(Gpu),
    Kind.INSTALLS: _records(Install),
    Kind.COMPANIONS: _records(Companion),
    Kind.LIBRARIES: _records(Library),
    Kind.EXTENSIONS: _records(Extension),
    Kind.LIBTORCHS: _records(Libtorch),
    Kind.BUILD_TRIALS: _records(BuildTrial),
    Kind.LIVE_TRIALS: _records(LiveTrial),
    Kind.SHM_HOLDERS: _records(ShmHolder),
}


class Fact(NamedTuple):
    """One line of the glossary. `probe` is the module of `machine/` that reads it."""

    name: str
    kind: Kind
    probe: str
    meaning: str


def _glossary(*facts: Fact) -> dict[str, Fact]:
    return {fact.name: fact for fact in facts}


GLOSSARY: dict[str, Fact] = _glossary(
    # the machine
    Fact("os_name", Kind.TEXT, "host", "operating system and release, as it calls itself"),
    Fact("os_system", Kind.TEXT, "host", "`linux`, `macos` or `windows`"),
    Fact("cpu_architecture", Kind.TEXT, "host", "`x86_64` or `aarch64`"),
    Fact("cpu_count", Kind.COUNT, "host", "CPUs this process may run on"),
    Fact("cpu_limit", Kind.NUMBER, "host", "CPUs a cgroup allows, the lowest of all ancestors; null when unlimited"),
    Fact("memory_total_bytes", Kind.COUNT, "host", "memory of the machine, in bytes"),
    Fact("memory_limit_bytes", Kind.COUNT, "host", "memory a cgroup allows, the lowest of all ancestors, in bytes; null when unlimited"),
    Fact("glibc_version", Kind.VERSION, "host", "version of the GNU C library; null where there is another one"),
    Fact("is_container", Kind.FLAG, "host", "whether this runs in a container"),
    Fact("container_runtime", Kind.TEXT, "host", "`docker`, `podman`, `kubernetes`, `lxc`, `singularity` …; null outside a container"),
    Fact("job_service", Kind.TEXT, "host", "service whose job this is: `github-actions`, `gitlab`, `ecs`, `slurm` …; null outside one"),
    Fact("is_wsl", Kind.FLAG, "host", "whether this is the Windows Subsystem for Linux"),
    Fact("jetson_model", Kind.TEXT, "host", "which NVIDIA Jetson this is; null where it is none"),
    Fact("shm_total_bytes", Kind.COUNT, "shm", "size of /dev/shm, in bytes; null when there is none"),
    Fact("shm_free_bytes", Kind.COUNT, "shm", "what is free of it, in bytes"),
    # what else bears on shared memory, looked at by shm-check
    Fact("shm_state", Kind.TEXT, "shm_limits", "`writable`, `not writable`, `read-only` or `missing`; null off Linux"),
    Fact("shm_kind", Kind.TEXT, "shm_limits", "file system that lies at /dev/shm: `tmpfs`; null when it is no mount of its own"),
    Fact("shm_options", Kind.TEXT, "shm_limits", "options it is mounted with, such as `rw,size=65536k`"),
    Fact("shm_inodes_total", Kind.COUNT, "shm_limits", "files that /dev/shm may hold; null when that is not limited"),
    Fact("shm_inodes_free", Kind.COUNT, "shm_limits", "how many more it may hold"),
    Fact("memory_headroom_bytes", Kind.COUNT, "shm_limits", "what memory limits of cgroups leave, the least of all ancestors, in bytes; null when unlimited"),
    Fact("memory_available_bytes", Kind.COUNT, "shm_limits", "memory that can be had without swapping, by the kernel's estimate, in bytes"),
    Fact("open_files_limit", Kind.COUNT, "shm_limits", "files a process may have open (`ulimit -n`); null when unlimited"),
    Fact("file_size_limit_bytes", Kind.COUNT, "shm_limits", "largest file it may write (`ulimit -f`), in bytes; null when unlimited"),
    Fact("shm_holders", Kind.SHM_HOLDERS, "shm_users", "who holds what of /dev/shm, by process and kind; null where there is none"),
    Fact("shm_unseen_processes", Kind.COUNT, "shm_users", "processes of others, whose files could not be seen"),
    # Python and the packages
    Fact("python_version", Kind.VERSION, "packages", "version of the examined interpreter"),
    Fact("python_executable", Kind.TEXT, "packages", "path of the examined interpreter"),
    Fact("python_prefix", Kind.TEXT, "packages", "its environment's folder"),
    Fact("python_tag", Kind.TEXT, "packages", "suffix of its compiled modules, e.g. `cpython-311-x86_64-linux-gnu`"),
    Fact("python_free_threaded", Kind.FLAG, "packages", "whether it is a build without the GIL"),
    Fact("python_is_active", Kind.FLAG, "packages", "whether the `pip` of PATH installs into it"),
    Fact("python_manager", Kind.TEXT, "packages", "what made its environment, where pip may be missing from it: `uv`; null when it is another"),
    Fact("python_externally_managed", Kind.FLAG, "packages", "whether it takes no packages from pip outside a virtual environment (PEP 668)"),
    Fact("numpy_version", Kind.VERSION, "packages", "version of numpy; null when it is not installed"),
    Fact("setuptools_version", Kind.VERSION, "packages", "version of setuptools; null when it is not installed"),
    Fact("triton_version", Kind.VERSION, "packages", "version of triton; null when it is not installed"),
    Fact("nvidia_packages", Kind.PAIRS, "packages", "installed nvidia-* and cuda-* packages with their versions"),
    Fact("companions", Kind.COMPANIONS, "packages", "installed packages that go with torch, and what they were made for"),
    Fact("torch_dependents", Kind.TEXTS, "packages", "installed packages whose metadata asks for torch"),
    # torch
    Fact("torch_version", Kind.VERSION, "torch", "version of the torch that `import torch` takes; null when there is none"),
    Fact("torch_path", Kind.TEXT, "torch", "its folder"),
    Fact("torch_manager", Kind.TEXT, "torch", "what installed it: `pip`, `uv`, `conda` …; null when untold"),
    Fact("torch_build", Kind.TEXT, "torch", "`cpu`, `cuda`, `rocm` or `xpu`"),
    Fact("torch_cuda", Kind.VERSION, "torch", "CUDA version it was built for; null for a build without CUDA"),
    Fact("torch_cxx11_abi", Kind.FLAG, "torch", "whether its C++ libraries use the C++11 ABI; null off Linux"),
    Fact("torch_archs", Kind.TEXTS, "torch", "GPU architectures it has code for; null for a build without CUDA"),
    Fact("torch_archs_source", Kind.TEXT, "torch", "where the architectures were read"),
    Fact("torch_glibc_needed", Kind.VERSION, "torch", "newest GLIBC symbol version its libraries ask for"),
    Fact("torch_glibcxx_needed", Kind.VERSION, "torch", "newest GLIBCXX symbol version its libraries ask for"),
    Fact("torch_cxxabi_needed", Kind.VERSION, "torch", "newest CXXABI symbol version its libraries ask for"),
    Fact("torch_cmake_prefix", Kind.TEXT, "torch", "what CMake's CMAKE_PREFIX_PATH wants; null when torch has no CMake files"),
    Fact("torch_requires", Kind.TEXTS, "torch", "what its metadata requires on this machine"),
    Fact("torch_installs", Kind.INSTALLS, "torch", "every torch on the interpreter's path, the one that wins first"),
    Fact("torch_shadows", Kind.TEXTS, "torch", "files or folders named torch that would be imported instead"),
    Fact("torch_problems", Kind.TEXTS, "torch", "why `import torch` would fail, in the words of the loader or of Python"),
    # the loader
    Fact("libstdcxx_path", Kind.TEXT, "loader", "the libstdc++.so.6 that Python loads with torch"),
    Fact("libstdcxx_glibcxx", Kind.VERSION, "loader", "newest GLIBCXX symbol version it offers"),
    Fact("libstdcxx_cxxabi", Kind.VERSION, "loader", "newest CXXABI symbol version it offers"),
    Fact("shadowed_libraries", Kind.LIBRARIES, "loader", "libraries of torch's own packages that another copy beats"),
    # what was compiled against torch
    Fact("extensions", Kind.EXTENSIONS, "extensions", "compiled modules and libraries built against torch, and what the loader would say of each"),
    Fact("libtorchs", Kind.LIBTORCHS, "libtorch_files", "each libtorch that `--libtorch` names; null when none is given"),
    Fact("build_trials", Kind.BUILD_TRIALS, "probe", "what became of the C++ program that `--probe` builds; null when it is not asked for"),
    # torch itself, asked in a child; all null when `--live` does not ask for it
    Fact("live_outcome", Kind.TEXT, "torch_child", "how it went: `works`, `trial failed`, `import failed`, `died`, `hung` or `no answer`"),
    Fact("live_stage", Kind.TEXT, "torch_child", "what the child was doing last, such as `importing torch`"),
    Fact("live_error", Kind.TEXT, "torch_child", "last line of the exception, or what was written before a death; null when nothing failed"),
    Fact("live_signal", Kind.TEXT, "torch_child", "the signal it died of, such as `SIGSEGV`; null when it did not"),
    Fact("live_stack", Kind.TEXTS, "torch_child", "where in Python it failed, died or hung, the innermost first"),
    Fact("live_output", Kind.TEXTS, "torch_child", "last lines that torch and its libraries wrote to standard error"),
    Fact("live_warnings", Kind.TEXTS, "torch_child", "warnings that Python showed meanwhile"),
    Fact("live_import_ms", Kind.COUNT, "torch_child", "how long `import torch` took, in milliseconds"),
    Fact("live_torch", Kind.PAIRS, "torch_child", "what torch says of itself: version, file, cuda, cudnn, nccl, archs …"),
    Fact("live_cuda_error", Kind.TEXT, "torch_child", "why `torch.cuda.is_available()` is False in a build for GPUs, in torch's own words"),
    Fact("live_trials", Kind.LIVE_TRIALS, "torch_child", "what was computed on each device, and whether it came out right"),
    Fact("live_libraries", Kind.TEXTS, "torch_child", "files of CUDA's, C++'s and torch's libraries that were really loaded"),
    # driver and GPUs
    Fact("driver_version", Kind.VERSION, "driver", "version of the NVIDIA kernel driver; null when there is none"),
    Fact("driver_library_version", Kind.VERSION, "driver", "version of the libcuda that programs load; null when there is none"),
    Fact("driver_cuda", Kind.VERSION, "driver", "newest CUDA that libcuda runs; null when there is none"),
    Fact("driver_source", Kind.TEXT, "driver", "where the driver's version was read"),
    Fact("driver_error", Kind.TEXT, "driver", "what NVIDIA's library or nvidia-smi said when it failed; null when it did not"),
    Fact("gpus", Kind.GPUS, "driver", "NVIDIA GPUs this process can use"),
    Fact("nvidia_devices_on_bus", Kind.COUNT, "driver", "NVIDIA GPUs on the PCI bus, usable or not"),
    Fact("nvidia_device_nodes", Kind.FLAG, "driver", "whether /dev has an NVIDIA device (nvidia0, nvhost-gpu, dxg)"),
    Fact("cuda_visible_devices", Kind.TEXT, "driver", "value of CUDA_VISIBLE_DEVICES; null when it is not set"),
    # the toolchain
    Fact("cuda_home", Kind.TEXT, "toolchain", "folder of the CUDA toolkit that builds would take"),
    Fact("cmake_cuda_home", Kind.TEXT, "toolchain", "folder that CMake takes for the CUDA toolkit, by the nvcc on PATH; null when it finds no nvcc"),
    Fact("nvcc_version", Kind.VERSION, "toolchain", "version of its nvcc; null when there is none"),
    Fact("nvcc_path", Kind.TEXT, "toolchain", "path of that nvcc"),
    Fact("nvcc_gcc_max", Kind.COUNT, "toolchain", "newest gcc major that nvcc's own header allows"),
    Fact("nvcc_clang_max", Kind.COUNT, "toolchain", "newest clang major that nvcc's own header allows"),
    Fact("gcc_version", Kind.VERSION, "toolchain", "version of the g++ (or gcc) that builds take: CXX and CC first; null when there is none"),
    Fact("gcc_path", Kind.TEXT, "toolchain", "path of that compiler"),
    Fact("clang_version", Kind.VERSION, "toolchain", "version of clang++ (or clang); null when there is none"),
    Fact("cmake_version", Kind.VERSION, "toolchain", "version of cmake; null when there is none"),
    Fact("host_compiler", Kind.TEXT, "toolchain", "what nvcc is told to use (NVCC_CCBIN, CUDAHOSTCXX): `gcc 12.2.0`; null when it takes the default"),
)  # fmt: skip


ASKED_FOR = frozenset({"libtorch_files", "probe", "torch_child", "shm_limits", "shm_users"})
"""Probes that look only where a user asks for it: facts of theirs that are not told are None."""

SHOWN_CHARACTERS = 200
"""More of a value that cannot be read is not quoted."""

NOT_GIVEN = Unknown("not among the facts that were given")
"""A saved machine may tell less than the glossary holds, and `--get` asks for less."""


def why_unknown(name: str, unknown: Unknown) -> str:
    """Why a check could not look; the same words for all facts that a saved machine leaves out."""
    if unknown is NOT_GIVEN:
        return "what they need is not among the facts that were given"
    return f"{name} is not known: {unknown.reason}"


class Facts:
    """What is known about a machine: a value, None or `Unknown` for every name of the glossary."""

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values: dict[str, Value] = dict(values or {})
        strangers = set(self._values) - set(GLOSSARY)
        if strangers:
            raise KeyError(f"not in the glossary: {', '.join(sorted(strangers))}")

    def __getitem__(self, name: str) -> Value:
        if name not in GLOSSARY:
            raise KeyError(name)
        return self._values.get(name, None if GLOSSARY[name].probe in ASKED_FOR else NOT_GIVEN)

    def __iter__(self) -> Iterator[str]:
        return iter(GLOSSARY)

    def known(self, name: str) -> Value:
        """The value, with None also for `Unknown`: for texts, never for a judgement."""
        value = self[name]
        return None if isinstance(value, Unknown) else value

    def with_values(self, values: Mapping[str, Value]) -> Facts:
        """The same facts with these beside them or in their place."""
        return Facts({**self._values, **values})

    def to_json(self) -> dict[str, Any]:
        """Every fact that was looked at, in the glossary's order, as plain data."""
        return {name: plain(self._values[name]) for name in GLOSSARY if name in self._values}

    @classmethod
    def from_json(cls, data: Mapping[str, object], *, where: str) -> Facts:
        """Facts from plain data; names we do not know are passed over.

        Raises BadInput naming the fact that cannot be read.
        """
        values = {}
        for name, fact in GLOSSARY.items():
            if name in data:
                values[name] = _from_plain(fact, data[name], where)
        return cls(values)


def _from_plain(fact: Fact, data: object, where: str) -> Value:
    if data is None:
        return None
    if isinstance(data, Mapping) and set(data) == {"unknown"}:
        return Unknown(str(data["unknown"]))
    try:
        return _READERS[fact.kind](data)
    except TypeError as error:
        raise BadInput(
            f"{fact.name} in {where} is {_shortened(repr(data))}, expected {error}",
            hint='write null for "there is none", or {"unknown": "the reason"}',
        ) from None


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def plain(value: Value) -> Any:
    """A fact, or a part of one, as JSON has it."""
    if isinstance(value, Unknown):
        return {"unknown": value.reason}
    if isinstance(value, Version):
        return str(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a record
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
