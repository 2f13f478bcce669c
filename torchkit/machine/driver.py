"""The NVIDIA driver and its GPUs: kernel module, NVML, libcuda, and nvidia-smi as the last resort.

The kernel's version and the one of the library that programs load are read apart: after an
update without a reboot, or in a container, they differ. NVIDIA's libraries are only opened in a
child with a time limit (`ask_driver.py`), since a wedged driver hangs whoever asks it. Where
there is neither library nor nvidia-smi no child is started. Nothing here judges.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from torchkit.machine.driver_witnesses import NOTHING, Said, ask_library, ask_smi, one_line
from torchkit.machine.facts import Gpu, Value
from torchkit.system import System, Unknown
from torchkit.versions import Version, as_version

LIMIT_S = 5.0
"""How long a library or nvidia-smi may take; waking sleeping GPUs needs up to three seconds."""

_OTHER_FOLDERS = (
    "/usr/lib/wsl/lib",  # Windows' driver, seen from the Windows Subsystem for Linux
    "/usr/lib/aarch64-linux-gnu/nvidia",  # Jetson Linux 36 and newer
    "/usr/lib/aarch64-linux-gnu/tegra",  # Jetson Linux 35 and older
)
_MODULE = "/sys/module/nvidia/version"
_PROC = "/proc/driver/nvidia/version"
_PROC_GPUS = "/proc/driver/nvidia/gpus"
_PCI = "/sys/bus/pci/devices"

_NVRM = re.compile(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)", re.MULTILINE)
_NODE = re.compile(r"nvidiactl|nvidia\d+|dxg|nvhost-gpu|nvgpu")
_FILE_VERSION = re.compile(r"\.so\.(\d{3,}\.\d+(?:\.\d+)?)$")
_OLDEST_DRIVER_MAJOR = 100  # below it is Jetson Linux's own number, such as 35.4.1


def driver_facts(
    system: System,
    *,
    find_library: Callable[[str], Path | None],
    limit_s: float = LIMIT_S,
) -> dict[str, Value]:
    """Every fact of the glossary that is the driver's.

    `find_library` gives the file a soname leads to on this machine, or None. `limit_s` bounds
    each child, in seconds; at most two of them are waited for that long.
    """
    on_linux = system.platform == "linux"
    nodes = {name for name in system.names_in("/dev") if on_linux and _NODE.fullmatch(name)}
    facts: dict[str, Value] = {
        "driver_version": None,
        "driver_library_version": None,
        "driver_cuda": None,
        "driver_source": None,
        "driver_error": None,
        "gpus": (),
        "nvidia_devices_on_bus": _devices_on_bus(system),
        "nvidia_device_nodes": bool(nodes),
        "cuda_visible_devices": system.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    if system.platform not in ("linux", "win32"):
        return facts
    kernel, source = _kernel_version(system)
    nvml_file = _library_file(system, find_library, "libnvidia-ml.so.1", "nvml.dll")
    cuda_file = _library_file(system, find_library, "libcuda.so.1", "nvcuda.dll")
    library = _library_version(system, cuda_file, nvml_file)
    differ = isinstance(kernel, Version) and isinstance(library, Version) and kernel != library

    said = _ask_all(system, nvml_file, cuda_file, kernel=kernel, differ=differ, limit_s=limit_s)
    nvml, cuda, smi = said
    if cuda.file is not None and system.root == Path("/"):
        # the loader's own choice beats the predicted one
        library = _library_version(system, Path(cuda.file), nvml_file)
    # Windows' /dev/dxg may lead to another maker's GPU
    present = bool(nodes - {"dxg"}) or bool(nodes and (nvml_file or cuda_file))
    told = [one.cuda for one in (cuda, nvml, smi) if one.cuda is not None]
    facts["driver_version"], facts["driver_source"] = _driver_version(kernel, source, said, present)
    facts["driver_library_version"] = library
    facts["driver_error"] = _first_error(said)
    facts["gpus"] = _gpus(system, said, kernel, present)
    facts["driver_cuda"] = told[0] if told else _no_cuda(said, cuda_file)
    return facts


def _ask_all(
    system: System,
    nvml_file: Path | None,
    cuda_file: Path | None,
    *,
    kernel: Version | Unknown | None,
    differ: bool,
    limit_s: float,
) -> tuple[Said, Said, Said]:
    """NVML, libcuda and nvidia-smi, each asked only for what the ones before left open.

    libcuda is asked for its GPUs when NVML named none, and when its version and the kernel's
    `differ`: whether that works only cuInit knows.
    """
    nvml = ask_library(system, "nvml", nvml_file, devices=True, limit_s=limit_s)
    devices = not nvml.hung and (nvml.gpus is None or differ)
    cuda = ask_library(system, "cuda", cuda_file, devices=devices, limit_s=limit_s)
    if devices and (cuda.hung or cuda.crashed):  # by cuInit, perhaps; the version needs none
        again = ask_library(system, "cuda", cuda_file, devices=False, limit_s=limit_s)
        cuda = again._replace(error=cuda.error, hung=cuda.hung, crashed=cuda.crashed)
    complete = (kernel or nvml.driver) and (nvml.gpus is not None or cuda.gpus is not None)
    if complete or nvml.opened or nvml.hung or cuda.hung:  # it would say, or suffer, the same
        return nvml, cuda, NOTHING
    return nvml, cuda, ask_smi(system, limit_s=limit_s, with_cuda=cuda.cuda is None)


# --- the kernel


def _kernel_version(system: System) -> tuple[Version | Unknown | None, str | None]:
    """The loaded kernel module's version and where it was read."""
    trouble: Unknown | None = None
    for source in (_MODULE, _PROC):
        text = system.read_text(source)
        if isinstance(text, Unknown):
            trouble = trouble or text
        elif text is not None:
            found = _NVRM.search(text) if source == _PROC else None
            said = (found.group(1) if found else text).strip()
            version = as_version(said)
            if version is not None and version.major >= _OLDEST_DRIVER_MAJOR:
                return version, source
            trouble = trouble or Unknown(
                f"{source} says {one_line(said)!r}, not a driver's version"
            )
    return trouble, None


def _devices_on_bus(system: System) -> int | None:
    if not system.is_folder(_PCI):
        return None
    return sum(
        _starts(system.read_text(f"{_PCI}/{name}/vendor"), "0x10de")
        and _starts(system.read_text(f"{_PCI}/{name}/class"), "0x0300", "0x0302")
        for name in system.names_in(_PCI)
    )


def _starts(text: str | Unknown | None, *beginnings: str) -> bool:
    return isinstance(text, str) and text.startswith(beginnings)


# --- the libraries


def _library_file(
    system: System, find_library: Callable[[str], Path | None], soname: str, dll: str
) -> Path | None:
    if system.platform == "win32":
        windows = Path(system.environ.get("SystemRoot", r"C:\Windows"))
        places = [windows / "System32" / dll]
    else:
        found = find_library(soname)
        if found is not None:
            return found
        places = [Path(folder) / soname for folder in _OTHER_FOLDERS]
    return next((place for place in places if system.exists(place)), None)


def _library_version(
    system: System, cuda_file: Path | None, nvml_file: Path | None
) -> Version | Unknown | None:
    """The version in the real file name of libcuda: libcuda.so.535.54.03.

    Where that has none (libcuda.so.1.1 of WSL and Jetson), the NVML beside it may tell.
    """
    if cuda_file is None:
        return None
    real = system.resolve(cuda_file)
    beside = system.resolve(nvml_file) if nvml_file is not None else None
    for file in (real, beside):
        found = _FILE_VERSION.search(file.name) if file is not None else None
        if found is not None and file is not None and file.parent == real.parent:
            return as_version(found.group(1))
    return Unknown(f"the name of {real.name} has no version")


# --- what follows from all of it


def _driver_version(
    kernel: Version | Unknown | None,
    source: str | None,
    said: tuple[Said, Said, Said],
    present: bool,
) -> tuple[Version | Unknown | None, str | None]:
    if isinstance(kernel, Version):
        return kernel, source
    nvml, _, smi = said
    for one, name in ((nvml, "NVML"), (smi, "nvidia-smi")):
        version = as_version(one.driver)
        if version is not None:
            return version, name
    if kernel is not None:
        return kernel, None
    lost = [one.error for one in said if one.error and (one.hung or one.crashed)]
    if lost:
        return Unknown(lost[0]), None
    if present or any(one.gpus for one in said):
        error = _first_error(said)
        return Unknown(error or "no kernel module, NVML or nvidia-smi tells it"), None
    return None, None


def _gpus(
    system: System,
    said: tuple[Said, Said, Said],
    kernel: Version | Unknown | None,
    present: bool,
) -> tuple[Gpu, ...] | Unknown:
    for one in said:
        if one.gpus is not None:
            return one.gpus
    error = _first_error(said)
    if any(one.hung for one in said):  # reading /proc would hang too, and us with it
        return Unknown(error or "no answer in time")
    if present:
        named = _gpus_of_proc(system)
        if named:
            return named
        if kernel is not None or error:
            return Unknown(error or "the driver is loaded, but neither NVML nor libcuda is found")
    if error and any(one.crashed for one in said):
        return Unknown(error)
    return ()


def _gpus_of_proc(system: System) -> tuple[Gpu, ...]:
    """The kernel module's list: names only, without the GPUs it was told to leave alone."""
    gpus = []
    for name in system.names_in(_PROC_GPUS):
        text = system.read_text(f"{_PROC_GPUS}/{name}/information")
        if not isinstance(text, str):
            continue
        pairs = (line.partition(":") for line in text.splitlines())
        told = {key.strip(): value.strip() for key, _, value in pairs}
        if told.get("Model") and told.get("GPU Excluded") != "Yes":
            gpus.append(Gpu(told["Model"]))
    return tuple(gpus)


def _no_cuda(said: tuple[Said, Said, Said], cuda_file: Path | None) -> Unknown | None:
    """Why nobody told libcuda's CUDA: None when there is no libcuda."""
    _, cuda, smi = said
    if cuda_file is not None:
        return Unknown(cuda.error or f"{cuda_file.name} does not tell it")
    return Unknown(smi.error) if smi.hung and smi.error else None


def _first_error(said: tuple[Said, Said, Said]) -> str | None:
    return next((one.error for one in said if one.error), None)
