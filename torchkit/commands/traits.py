"""What is compared of a machine: which facts, and what of them; for those that are not, why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torchkit.knowledge.meanings import meanings
from torchkit.machine.facts import NOT_GIVEN, Facts, Unknown, Value

SHOWN_ONLY = (
    "os_name", "jetson_model", "setuptools_version", "clang_version", "cmake_version",
    "host_compiler", "torch_manager", "driver_library_version", "driver_error",
    "nvidia_devices_on_bus", "nvidia_device_nodes", "cuda_visible_devices", "job_service",
)  # fmt: skip
"""Facts that are compared, and whose difference by itself means nothing."""

COMPARED = (*meanings(), *SHOWN_ONLY)
"""Facts that are compared, those that matter first."""

OF_ITS_OWN = ("cuda_visible_devices",)
"""Facts that a launcher gives each rank of a job its own of."""

PASSED_OVER = {
    "shm_free_bytes": "it changes from moment to moment",
    **dict.fromkeys(
        (
            "python_executable", "python_prefix", "torch_path", "torch_cmake_prefix",
            "torch_installs", "libstdcxx_path", "cuda_home", "cmake_cuda_home", "nvcc_path", "gcc_path",
            "torch_archs_source", "driver_source",
        ),
        "paths differ between homes; what lies there is compared",
    ),
    **dict.fromkeys(
        (
            "python_tag", "python_is_active", "python_manager", "python_externally_managed",
            "torch_dependents", "torch_requires", "torch_glibc_needed", "torch_glibcxx_needed",
            "torch_cxxabi_needed", "libstdcxx_cxxabi", "nvcc_gcc_max", "nvcc_clang_max",
            "is_container",
        ),
        "it follows from what is compared",
    ),
    **dict.fromkeys(("libtorchs", "build_trials"), "it was asked for on one machine only"),
    **dict.fromkeys(
        (
            "shm_state", "shm_kind", "shm_options", "shm_inodes_total", "shm_inodes_free",
            "memory_headroom_bytes", "memory_available_bytes", "open_files_limit",
            "file_size_limit_bytes", "shm_holders", "shm_unseen_processes",
        ),
        "only shm-check looks at it",
    ),
}  # fmt: skip
"""Facts that are not compared, and why; nor are those of `--live`, which only some ask for."""

Trait = tuple[str, str]
"""A fact, and the item of it: a package's name; "" for the whole."""


def compared(facts: Facts, *, is_one_job: bool) -> dict[Trait, Value]:
    """Every value that is compared; a fact that lists packages gives one for each."""
    found: dict[Trait, Value] = {}
    for fact in COMPARED:
        if is_one_job and fact in OF_ITS_OWN:
            continue
        value = facts[fact]
        if fact in _ITEMS and not isinstance(value, Unknown):
            found[fact, ""] = None  # known, so an item that is not among them is not there
            found |= {(fact, item): told for item, told in _ITEMS[fact](value or ()).items()}
        else:
            found[fact, ""] = value
    return found


def _companions(value: Value) -> dict[str, Value]:
    return {it.name: it.version for it in value}


def _nvidia_packages(value: Value) -> dict[str, Value]:
    """By library: nvidia-nccl-cu12 of one machine is compared with nvidia-nccl-cu13 of another."""
    found: dict[str, list[str]] = {}
    for name, version in dict(value).items():
        found.setdefault(re.sub(r"-cu\d+$", "", name), []).append(version)
    return {name: ", ".join(sorted(set(versions))) for name, versions in found.items()}


def _extensions(value: Value) -> dict[str, Value]:
    """Whether each loads: by the name of its package, since paths differ between homes."""
    found: dict[str, Value] = {}
    for it in value:
        name = it.package or it.path.replace("\\", "/").rpartition("/")[2]
        state = "loads" if it.error is None else it.error.replace(it.path, name)
        if found.get(name, "loads") == "loads":
            found[name] = state
    return found


_ITEMS: dict[str, Callable[[Value], dict[str, Value]]] = {
    "companions": _companions,
    "nvidia_packages": _nvidia_packages,
    "extensions": _extensions,
}


def told_of(known: Mapping[Trait, Value], fact: str, item: str) -> Value:
    """A machine's value; None for an item it has not, Unknown where its list is not known."""
    if (fact, item) in known:
        return known[fact, item]
    whole = known.get((fact, ""), NOT_GIVEN)
    return whole if isinstance(whole, Unknown) else None
