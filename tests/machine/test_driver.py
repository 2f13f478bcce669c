"""The driver probe on invented machines, with real children, real libraries and real scripts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from torchkit.machine import ask_driver
from torchkit.machine.driver import driver_facts
from torchkit.machine.facts import GLOSSARY, Facts, Gpu, Value
from torchkit.system import System, Unknown
from torchkit.versions import Version

HERE = Path(__file__).parent
SOURCES = HERE / "fake_gpu"
RECORDINGS = HERE.parent / "recordings" / "nvidia-smi"

GIB = 1024**3
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
SHORT_S = 1.0  # a limit for what hangs for ever

A100 = "NVIDIA A100-SXM4-40GB/8/0/42949672960"
T4 = "Tesla T4/7/5/15843721216"
GB10 = "NVIDIA GB10/12/1/0"

CLOSED_MODULE = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021
GCC version:  gcc version 9.3.0 (Ubuntu 9.3.0-17ubuntu1~20.04)
"""
OPEN_MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22-I3-B17-02-5)  Tue Sep 23 09:55:41 UTC 2025
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)
"""
SHORT_OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module  570.86.15  Release Build\n"
JETSON_35_MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  35.4.1  Release Build\n"
)
INFORMATION = """\
Model: \t\t {name}
IRQ:   \t\t 553
GPU UUID: \t GPU-00000000-0000-0000-0000-000000000000
Video BIOS: \t 94.02.5c.00.02
Bus Type: \t PCIe
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t 0000:b1:00.0
Device Minor: \t 0
GPU Firmware: \t 535.54.03
GPU Excluded:\t {excluded}
"""


# --- invented machines


@dataclass
class Machine:
    """A folder that is a whole machine, and its environment."""

    root: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin"})

    def write(self, path: str, text: str = "") -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def program(self, path: str, script: str) -> None:
        self.write(path, f"#!/bin/sh\n{script}\n").chmod(0o755)

    def install(self, built: Path, soname: str, version: str, folder: str = LIBRARIES) -> None:
        """Lay a library out as the driver's installer does: a real file and a link to it."""
        place = self.root / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        stem = soname.rsplit(".", 1)[0]
        shutil.copy(built, place / f"{stem}.{version}")
        if f"{stem}.{version}" != soname:
            (place / soname).symlink_to(f"{stem}.{version}")

    def find_library(self, soname: str) -> Path | None:
        path = Path(LIBRARIES) / soname
        return path if System(root=self.root).exists(path) else None

    def facts(self, limit_s: float = 20.0, **environ: str) -> dict[str, Value]:
        system = System(root=self.root, environ={**self.environ, **environ})
        return driver_facts(system, find_library=self.find_library, limit_s=limit_s)

    def replay(self, query: str, status: int = 0, *, short: str = "", banner: str = "") -> None:
        """An nvidia-smi that prints recordings."""

        def play(name: str, status: int) -> str:
            return f"cat '{RECORDINGS / name}.txt'; exit {status}" if name else "exit 99"

        self.program(
            "/usr/bin/nvidia-smi",
            'case "$*" in\n'
            f"*compute_cap*) {play(query, status)} ;;\n"
            f"*query-gpu*) {play(short, 0)} ;;\n"
            f"*) {play(banner or query, 0 if banner else status)} ;;\n"
            "esac",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles a library of fake_gpu/ once for each set of options."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to compile the stand-ins for libcuda and NVML")
    folder = tmp_path_factory.mktemp("fake_gpu")

    def compile_once(source: str, soname: str, *options: str) -> Path:
        built = folder / f"{soname}{''.join(options)}"
        if not built.exists():
            command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", *options]
            command += [f"-Wl,-soname,{soname}", str(SOURCES / source), "-o", str(built)]
            subprocess.run(command, check=True)
        return built

    return compile_once


@pytest.fixture
def cuda(build: Callable[..., Path]) -> Path:
    return build("cuda.c", "libcuda.so.1")


@pytest.fixture
def nvml(build: Callable[..., Path]) -> Path:
    return build("nvml.c", "libnvidia-ml.so.1")


@pytest.fixture
def gpu_machine(machine: Machine, cuda: Path, nvml: Path) -> Machine:
    """Driver 535.54.03 as installed by a distribution, and two GPUs."""
    machine.write("/sys/module/nvidia/version", "535.54.03\n")
    machine.write("/dev/nvidiactl")
    machine.write("/dev/nvidia0")
    machine.install(cuda, "libcuda.so.1", "535.54.03")
    machine.install(nvml, "libnvidia-ml.so.1", "535.54.03")
    machine.environ |= {"FAKE_NVML_GPUS": f"{A100};{T4}", "FAKE_CUDA_GPUS": f"{A100};{T4}"}
    machine.environ |= {"FAKE_CUDA_VERSION": "12020", "FAKE_NVML_CUDA": "12020"}
    return machine


def survivors(mark: Path) -> list[str]:
    """Processes whose command line or environment names the folder of this test."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(mark).encode() in told:
            found.append(process.name)
    return found


def assert_nobody_is_left(mark: Path) -> None:
    deadline = time.monotonic() + 3
    while survivors(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert survivors(mark) == []
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in own]
    assert "Z" not in states  # not even a zombie; other tests' children may be at work


def reason(value: Value) -> str:
    assert isinstance(value, Unknown)
    return value.reason


# --- machines without NVIDIA


def test_a_machine_without_nvidia_has_no_driver_and_no_child_is_started(machine: Machine) -> None:
    started = machine.root / "started"
    machine.write("/dev/null")
    machine.environ["PATH"] = "/usr/bin"

    class Watched(System):
        def run(self, command: object, **_: Any) -> Unknown:
            started.write_text(str(command))
            return Unknown("must not be called")

    facts = driver_facts(
        Watched(root=machine.root, environ=machine.environ), find_library=machine.find_library
    )

    assert not started.exists()
    assert facts == {
        "driver_version": None,
        "driver_library_version": None,
        "driver_cuda": None,
        "driver_source": None,
        "driver_error": None,
        "gpus": (),
        "nvidia_devices_on_bus": None,
        "nvidia_device_nodes": False,
        "cuda_visible_devices": None,
    }


def test_the_facts_are_those_the_glossary_gives_to_this_probe(machine: Machine) -> None:
    facts = machine.facts()

    assert set(facts) == {name for name, fact in GLOSSARY.items() if fact.probe == "driver"}


def test_the_facts_survive_json(gpu_machine: Machine) -> None:
    facts = Facts(gpu_machine.facts())

    again = Facts.from_json(facts.to_json(), where="here")

    assert again.to_json() == facts.to_json()
    assert again["gpus"] == facts["gpus"]


def test_a_mac_has_no_driver(gpu_machine: Machine) -> None:
    class Mac(System):
        @property
        def platform(self) -> str:
            return "darwin"

    facts = driver_facts(
        Mac(root=gpu_machine.root, environ=gpu_machine.environ),
        find_library=gpu_machine.find_library,
    )

    assert facts["driver_version"] is None
    assert facts["gpus"] == ()
    assert facts["nvidia_device_nodes"] is False


def test_windows_dxg_without_nvidia_libraries_is_another_makers_gpu(machine: Machine) -> None:
    machine.write("/dev/dxg")

    facts = machine.facts()

    assert facts["driver_version"] is None
    assert facts["gpus"] == ()
    assert facts["nvidia_device_nodes"] is True


# --- the kernel


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (CLOSED_MODULE, "470.57.02"),
        (OPEN_MODULE, "580.95.05"),
        (SHORT_OPEN_MODULE, "570.86.15"),
    ],
)
def test_proc_tells_the_version_in_each_wording(machine: Machine, text: str, version: str) -> None:
    machine.write("/proc/driver/nvidia/version", text)

    facts = machine.facts()

    assert str(facts["driver_version"]) == version
    assert facts["driver_source"] == "/proc/driver/nvidia/version"


def test_sys_is_believed_before_proc(machine: Machine) -> None:
    machine.write("/sys/module/nvidia/version", "535.54.03\n")
    machine.write("/proc/driver/nvidia/version", CLOSED_MODULE)

    facts = machine.facts()

    assert facts["driver_version"] == Version("535.54.03")
    assert facts["driver_source"] == "/sys/module/nvidia/version"


def test_a_container_without_gpus_sees_the_hosts_driver_and_nothing_else(machine: Machine) -> None:
    machine.write("/proc/driver/nvidia/version", OPEN_MODULE)
    machine.write(
        "/proc/driver/nvidia/gpus/0000:b1:00.0/information",
        INFORMATION.format(name="NVIDIA RTX A6000", excluded="No"),
    )

    facts = machine.facts()

    assert facts["driver_version"] == Version("580.95.05")
    assert facts["driver_library_version"] is None
    assert facts["driver_cuda"] is None
    assert facts["gpus"] == ()
    assert facts["nvidia_device_nodes"] is False
    assert facts["driver_error"] is None


def test_jetson_linux_35_numbers_its_module_like_no_driver(machine: Machine, cuda: Path) -> None:
    machine.write("/proc/driver/nvidia/version", JETSON_35_MODULE)
    machine.write("/dev/nvhost-gpu")
    machine.install(cuda, "libcuda.so.1", "1.1", "/usr/lib/aarch64-linux-gnu/tegra")

    facts = machine.facts(FAKE_CUDA_VERSION="11040", FAKE_CUDA_GPUS="Orin/8/7/32088887296")

    assert "35.4.1" in reason(facts["driver_version"])
    assert facts["driver_source"] is None
    assert facts["driver_cuda"] == Version("11.4")
    assert "libcuda.so.1.1" in reason(facts["driver_library_version"])
    assert facts["gpus"] == (Gpu("Orin", "8.7", 32088887296),)


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_below_proc_is_a_reason_and_never_waited_for(
    machine: Machine, kind: str
) -> None:
    path = machine.root / "proc/driver/nvidia/version"
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)

    begun = time.monotonic()
    facts = machine.facts()

    assert time.monotonic() - begun < 1
    assert "/proc/driver/nvidia/version" in reason(facts["driver_version"])


def test_an_unreadable_kernel_version_is_asked_of_nvml(gpu_machine: Machine) -> None:
    (gpu_machine.root / "sys/module/nvidia/version").unlink()
    (gpu_machine.root / "sys/module/nvidia/version").mkdir()

    facts = gpu_machine.facts()

    assert facts["driver_version"] == Version("535.54.03")
    assert facts["driver_source"] == "NVML"


def test_gpus_on_the_bus_are_counted_and_their_audio_is_not(machine: Machine) -> None:
    devices = [
        ("0000:01:00.0", "0x10de", "0x030000"),  # a graphics card
        ("0000:01:00.1", "0x10de", "0x040300"),  # its audio
        ("0000:02:00.0", "0x10de", "0x030200"),  # an accelerator
        ("0000:03:00.0", "0x1002", "0x030000"),  # another maker's card
        ("0000:04:00.0", "0x10de", "0x068000"),  # an NVSwitch
    ]
    for name, vendor, kind in devices:
        machine.write(f"/sys/bus/pci/devices/{name}/vendor", f"{vendor}\n")
        machine.write(f"/sys/bus/pci/devices/{name}/class", f"{kind}\n")

    facts = machine.facts()

    assert facts["nvidia_devices_on_bus"] == 2


def test_a_bus_without_nvidia_counts_none(machine: Machine) -> None:
    (machine.root / "sys/bus/pci/devices").mkdir(parents=True)

    assert machine.facts()["nvidia_devices_on_bus"] == 0


@pytest.mark.parametrize("node", ["nvidiactl", "nvidia3", "dxg", "nvhost-gpu", "nvgpu"])
def test_each_kind_of_device_node_is_seen(machine: Machine, node: str) -> None:
    machine.write(f"/dev/{node}")

    assert machine.facts()["nvidia_device_nodes"] is True


@pytest.mark.parametrize("node", ["nvidia-uvm", "nvidia-modeset", "nvram"])
def test_other_nodes_are_no_gpu(machine: Machine, node: str) -> None:
    machine.write(f"/dev/{node}")

    assert machine.facts()["nvidia_device_nodes"] is False


@pytest.mark.parametrize("value", ["", "-1", "0,1", "GPU-8932f937"])
def test_cuda_visible_devices_is_told_and_hides_nothing(gpu_machine: Machine, value: str) -> None:
    facts = gpu_machine.facts(CUDA_VISIBLE_DEVICES=value, FAKE_NVML_INIT="9")

    assert facts["cuda_visible_devices"] == value
    assert len(facts["gpus"]) == 2


# --- the libraries


def test_a_healthy_machine_tells_everything(gpu_machine: Machine) -> None:
    facts = gpu_machine.facts()

    assert str(facts["driver_version"]) == "535.54.03"
    assert facts["driver_source"] == "/sys/module/nvidia/version"
    assert str(facts["driver_library_version"]) == "535.54.03"
    assert facts["driver_cuda"] == Version("12.2")
    assert facts["driver_error"] is None
    assert facts["gpus"] == (
        Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 * GIB),
        Gpu("Tesla T4", "7.5", 15843721216),
    )


@pytest.mark.parametrize(
    ("number", "version"), [("11040", "11.4"), ("12040", "12.4"), ("13000", "13.0")]
)
def test_cudas_number_becomes_a_version(gpu_machine: Machine, number: str, version: str) -> None:
    facts = gpu_machine.facts(FAKE_CUDA_VERSION=number)

    assert str(facts["driver_cuda"]) == version


def test_no_gpu_is_an_empty_list(gpu_machine: Machine) -> None:
    facts = gpu_machine.facts(FAKE_NVML_GPUS="", FAKE_CUDA_GPUS="")

    assert facts["gpus"] == ()
    assert facts["driver_error"] is None


def test_memory_that_nvml_does_not_support_is_none(gpu_machine: Machine) -> None:
    facts = gpu_machine.facts(FAKE_NVML_GPUS=GB10)

    assert facts["gpus"] == (Gpu("NVIDIA GB10", "12.1", None),)


def test_a_lost_gpu_does_not_hide_the_others(gpu_machine: Machine) -> None:
    facts = gpu_machine.facts(FAKE_NVML_GPUS=f"lost/0/0/1;{T4}")

    assert facts["gpus"] == (Gpu("Tesla T4", "7.5", 15843721216),)
    assert "GPU 0" in facts["driver_error"]
    assert "GPU is lost" in facts["driver_error"]


def test_an_old_nvml_without_newer_calls_still_names_gpus(
    machine: Machine, build: Callable[..., Path]
) -> None:
    machine.install(build("nvml.c", "libnvidia-ml.so.1", "-DOLD"), "libnvidia-ml.so.1", "390.157")

    facts = machine.facts(FAKE_NVML_DRIVER="390.157", FAKE_NVML_GPUS=T4)

    assert facts["driver_version"] == Version("390.157")
    assert facts["driver_source"] == "NVML"
    assert facts["gpus"] == (Gpu("Tesla T4", None, 15843721216),)
    assert facts["driver_cuda"] is None


def test_an_nvml_without_functions_leaves_the_question_to_libcuda(
    gpu_machine: Machine, build: Callable[..., Path]
) -> None:
    empty = build("nvml.c", "libnvidia-ml.so.1", "-DEMPTY")
    shutil.copy(empty, gpu_machine.root / f"{LIBRARIES}/libnvidia-ml.so.535.54.03".lstrip("/"))

    facts = gpu_machine.facts()

    assert len(facts["gpus"]) == 2
    assert "no nvmlInit_v2" in facts["driver_error"]


@pytest.mark.parametrize("content", ["", "not a library\n" * 10], ids=["empty", "text"])
def test_a_file_that_is_no_library_is_told_in_the_loaders_words(
    gpu_machine: Machine, content: str
) -> None:
    for name in ("libcuda.so.535.54.03", "libnvidia-ml.so.535.54.03"):
        gpu_machine.write(f"{LIBRARIES}/{name}", content)
    words = "invalid ELF header" if content else "file too short"

    facts = gpu_machine.facts()

    assert words in facts["driver_error"]
    assert words in reason(facts["gpus"])
    assert words in reason(facts["driver_cuda"])
    assert facts["driver_version"] == Version("535.54.03")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("18", "Driver/library version mismatch"),
        ("9", "Driver Not Loaded"),
        ("12", "NVML Shared Library Not Found"),
        ("999", "Unknown Error"),
    ],
)
def test_nvmls_own_words_are_kept(gpu_machine: Machine, status: str, words: str) -> None:
    facts = gpu_machine.facts(FAKE_NVML_INIT=status)

    assert words in facts["driver_error"]
    assert status in facts["driver_error"]
    assert len(facts["gpus"]) == 2  # as libcuda has them


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("802", "CUDA_ERROR_SYSTEM_NOT_READY"),
        ("803", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("804", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
        ("999", "CUDA_ERROR_UNKNOWN"),
    ],
)
def test_cuinits_refusal_is_told_with_number_and_name(
    gpu_machine: Machine, status: str, name: str
) -> None:
    (gpu_machine.root / LIBRARIES.lstrip("/") / "libnvidia-ml.so.1").unlink()

    facts = gpu_machine.facts(FAKE_CUDA_INIT=status)

    assert f"{name} ({status})" in facts["driver_error"]
    assert name in reason(facts["gpus"])
    assert facts["driver_cuda"] == Version("12.2")


def test_no_device_is_an_answer_and_no_error(gpu_machine: Machine) -> None:
    (gpu_machine.root / LIBRARIES.lstrip("/") / "libnvidia-ml.so.1").unlink()

    facts = gpu_machine.facts(FAKE_CUDA_INIT="100")

    assert facts["gpus"] == ()
    assert facts["driver_error"] is None


def test_a_stub_of_libcuda_tells_no_cuda_version(machine: Machine, cuda: Path) -> None:
    machine.install(cuda, "libcuda.so.1", "1")

    facts = machine.facts(FAKE_CUDA_STATUS="34")

    assert "CUDA_ERROR_STUB_LIBRARY (34)" in facts["driver_error"]
    assert "STUB" in reason(facts["driver_cuda"])
    assert facts["driver_version"] is None
    assert facts["gpus"] == ()


def test_a_libcuda_of_another_version_is_asked_whether_it_works(
    gpu_machine: Machine, cuda: Path
) -> None:
    (gpu_machine.root / LIBRARIES.lstrip("/") / "libcuda.so.1").unlink()
    gpu_machine.install(cuda, "libcuda.so.1", "570.124.06")

    facts = gpu_machine.facts(FAKE_CUDA_VERSION="12080", FAKE_CUDA_INIT="804")

    assert str(facts["driver_version"]) == "535.54.03"
    assert str(facts["driver_library_version"]) == "570.124.06"
    assert facts["driver_cuda"] == Version("12.8")
    assert "forward compatibility was attempted on non supported HW" in facts["driver_error"]


def test_on_wsl_the_driver_is_windows_and_the_library_is_unnumbered(
    machine: Machine, cuda: Path, nvml: Path
) -> None:
    machine.write("/dev/dxg")
    machine.install(cuda, "libcuda.so.1", "1", "/usr/lib/wsl/lib")
    machine.install(nvml, "libnvidia-ml.so.1", "1", "/usr/lib/wsl/lib")

    facts = machine.facts(FAKE_NVML_DRIVER="551.86", FAKE_NVML_GPUS=T4)

    assert str(facts["driver_version"]) == "551.86"
    assert facts["driver_source"] == "NVML"
    assert isinstance(facts["driver_library_version"], Unknown)
    assert facts["driver_cuda"] == Version("12.4")
    assert facts["gpus"] == (Gpu("Tesla T4", "7.5", 15843721216),)


def test_a_driver_that_blocks_wsl_is_unknown_with_its_words(
    machine: Machine, cuda: Path, nvml: Path
) -> None:
    machine.write("/dev/dxg")
    machine.install(cuda, "libcuda.so.1", "1", "/usr/lib/wsl/lib")
    machine.install(nvml, "libnvidia-ml.so.1", "1", "/usr/lib/wsl/lib")

    facts = machine.facts(FAKE_NVML_INIT="17", FAKE_CUDA_INIT="999")

    assert "blocked by the operating system" in reason(facts["driver_version"])
    assert "blocked by the operating system" in reason(facts["gpus"])


def test_the_kernels_list_is_the_last_to_name_gpus(gpu_machine: Machine) -> None:
    for number, (name, excluded) in enumerate([("NVIDIA RTX A6000", "No"), ("Tesla T4", "Yes")]):
        gpu_machine.write(
            f"/proc/driver/nvidia/gpus/0000:0{number}:00.0/information",
            INFORMATION.format(name=name, excluded=excluded),
        )

    facts = gpu_machine.facts(FAKE_NVML_INIT="18", FAKE_CUDA_INIT="803")

    assert facts["gpus"] == (Gpu("NVIDIA RTX A6000", None, None),)
    assert "Driver/library version mismatch" in facts["driver_error"]


def test_what_the_libraries_print_does_not_disturb_the_answer(gpu_machine: Machine) -> None:
    facts = gpu_machine.facts(FAKE_NVML_DO="print", FAKE_CUDA_DO="print")

    assert facts["driver_cuda"] == Version("12.2")
    assert len(facts["gpus"]) == 2
    assert facts["driver_error"] is None


def test_the_child_answers_with_one_line_of_json_whatever_is_printed(nvml: Path) -> None:
    command = [sys.executable, "-I", "-S", ask_driver.__file__, "nvml", "devices", str(nvml)]
    environ = {"FAKE_NVML_DO": "print", "FAKE_NVML_DRIVER": "535.54.03"}

    said = subprocess.run(command, capture_output=True, check=True, env=environ, text=True)

    assert json.loads(said.stdout)["driver"] == "535.54.03"
    assert said.stderr == ""


@pytest.mark.parametrize(("do", "death"), [("crash", "SIGSEGV"), ("abort", "SIGABRT")])
def test_a_crash_in_nvml_leaves_the_rest_to_libcuda(
    gpu_machine: Machine, do: str, death: str
) -> None:
    facts = gpu_machine.facts(FAKE_NVML_DO=do)

    assert facts["driver_error"] == f"libnvidia-ml.so.1 died of {death} when asked"
    assert facts["driver_cuda"] == Version("12.2")
    assert len(facts["gpus"]) == 2


def test_a_crash_in_libcuda_leaves_what_nvml_said(gpu_machine: Machine) -> None:
    facts = gpu_machine.facts(FAKE_CUDA_DO="crash-version")

    assert facts["driver_error"] == "libcuda.so.1 died of SIGSEGV when asked"
    assert facts["driver_cuda"] == Version("12.2")  # NVML asked before
    assert len(facts["gpus"]) == 2


def test_a_crash_in_cuinit_leaves_libcudas_version(gpu_machine: Machine) -> None:
    (gpu_machine.root / LIBRARIES.lstrip("/") / "libnvidia-ml.so.1").unlink()

    facts = gpu_machine.facts(FAKE_CUDA_DO="crash-init", FAKE_CUDA_VERSION="12090")

    assert facts["driver_cuda"] == Version("12.9")
    assert "SIGSEGV" in reason(facts["gpus"])


# --- what hangs


@pytest.mark.parametrize("do", ["hang-init", "hang-load", "hang-ignoring-sigterm"])
def test_a_hanging_nvml_is_killed_and_libcudas_version_still_told(
    gpu_machine: Machine, do: str
) -> None:
    begun = time.monotonic()
    facts = gpu_machine.facts(limit_s=SHORT_S, FAKE_NVML_DO=do)

    assert time.monotonic() - begun < 3 * SHORT_S
    assert facts["driver_version"] == Version("535.54.03")
    assert facts["driver_cuda"] == Version("12.2")
    assert "libnvidia-ml.so.1 did not answer within 1 s" in reason(facts["gpus"])
    assert_nobody_is_left(gpu_machine.root)


def test_after_a_hang_the_kernels_list_of_gpus_is_not_touched(gpu_machine: Machine) -> None:
    gpu_machine.write(
        "/proc/driver/nvidia/gpus/0000:b1:00.0/information",
        INFORMATION.format(name="NVIDIA RTX A6000", excluded="No"),
    )

    facts = gpu_machine.facts(limit_s=SHORT_S, FAKE_NVML_DO="hang-init")

    assert isinstance(facts["gpus"], Unknown)


def test_a_hanging_cuinit_leaves_libcudas_version(gpu_machine: Machine) -> None:
    (gpu_machine.root / LIBRARIES.lstrip("/") / "libnvidia-ml.so.1").unlink()

    facts = gpu_machine.facts(limit_s=SHORT_S, FAKE_CUDA_DO="hang-init")

    assert facts["driver_cuda"] == Version("12.2")
    assert "libcuda.so.1 did not answer" in reason(facts["gpus"])
    assert_nobody_is_left(gpu_machine.root)


def test_two_hanging_libraries_without_a_kernel_version_leave_everything_unknown(
    gpu_machine: Machine,
) -> None:
    (gpu_machine.root / "sys/module/nvidia/version").unlink()

    facts = gpu_machine.facts(
        limit_s=SHORT_S, FAKE_NVML_DO="hang-load", FAKE_CUDA_DO="hang-version"
    )

    assert "did not answer" in reason(facts["driver_version"])
    assert "did not answer" in reason(facts["driver_cuda"])
    assert "did not answer" in reason(facts["gpus"])
    assert_nobody_is_left(gpu_machine.root)


@pytest.mark.parametrize(
    "script",
    [
        "exec sleep 600",
        "trap '' TERM INT HUP; while :; do sleep 1; done",
    ],
)
def test_a_hanging_nvidia_smi_is_killed_with_its_children(machine: Machine, script: str) -> None:
    machine.write("/dev/nvidiactl")
    machine.program("/usr/bin/nvidia-smi", script)
    machine.environ |= {"PATH": "/usr/bin:/bin", "MARK": str(machine.root)}

    begun = time.monotonic()
    facts = machine.facts(limit_s=SHORT_S)

    assert time.monotonic() - begun < 2 * SHORT_S
    assert "nvidia-smi did not answer within 1 s" in reason(facts["driver_version"])
    assert "nvidia-smi did not answer" in reason(facts["gpus"])
    assert_nobody_is_left(machine.root)


def test_a_child_that_nvidia_smi_leaves_behind_is_not_waited_for(machine: Machine) -> None:
    machine.write("/dev/nvidiactl")
    machine.program("/usr/bin/nvidia-smi", "sleep 600 & exit 0")  # it keeps the pipe open
    machine.environ |= {"PATH": "/usr/bin:/bin", "MARK": str(machine.root)}

    begun = time.monotonic()
    facts = machine.facts(limit_s=SHORT_S)

    assert time.monotonic() - begun < 2 * SHORT_S
    assert "said nothing" in reason(facts["driver_version"])
    assert_nobody_is_left(machine.root)


# --- nvidia-smi


@dataclass(frozen=True)
class Played:
    """A recording, and what it must yield on a machine that has nothing but nvidia-smi."""

    query: str
    driver: str
    cuda: str
    gpus: tuple[Gpu, ...]
    status: int = 0
    short: str = ""
    banner: str = ""


@pytest.mark.parametrize(
    "played",
    [
        Played(
            "healthy-550.query",
            banner="healthy-550.banner",
            driver="550.40.07",
            cuda="12.4",
            gpus=(
                Gpu("NVIDIA GeForce RTX 4070", "8.9", 12282 * 1024**2),
                Gpu("Tesla T4", "7.5", 15 * GIB),
            ),
        ),
        Played(
            "old-470.query",
            status=2,
            short="old-470.short",
            banner="old-470.banner",
            driver="470.57.02",
            cuda="11.4",
            gpus=(Gpu("NVIDIA GeForce RTX 2080", None, 7979 * 1024**2),),
        ),
        Played(
            "newer-610.query",
            banner="newer-610.banner",
            driver="610.57.04",
            cuda="13.3",
            gpus=(Gpu("NVIDIA GeForce RTX 3090", "8.6", 24 * GIB),),
        ),
        Played(
            "gb10-580.query",
            banner="gb10-580.banner",
            driver="580.126.09",
            cuda="13.0",
            gpus=(Gpu("NVIDIA GB10", "12.1", None),),
        ),
        Played(
            "orin-540.query",
            banner="orin-540.banner",
            driver="540.4.0",
            cuda="12.6",
            gpus=(Gpu("Orin (nvgpu)", "8.7", None),),
        ),
        Played(
            "reset-required.query",
            banner="healthy-550.banner",
            driver="580.95.05",
            cuda="12.4",
            gpus=(Gpu("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "12.0", None),),
        ),
    ],
    ids=lambda played: played.query,
)
def test_nvidia_smi_is_understood(machine: Machine, played: Played) -> None:
    machine.replay(played.query, played.status, short=played.short, banner=played.banner)
    machine.environ["PATH"] = "/usr/bin:/bin"

    facts = machine.facts()

    assert str(facts["driver_version"]) == played.driver
    assert facts["driver_source"] == "nvidia-smi"
    assert str(facts["driver_cuda"]) == played.cuda
    assert facts["gpus"] == played.gpus
    assert facts["driver_error"] is None
    assert facts["driver_library_version"] is None


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("driver-missing", 9, "couldn't communicate with the NVIDIA driver"),
        (
            "version-mismatch",
            18,
            "Driver/library version mismatch; NVML library version: 535.161",
        ),
        ("device-handle", 255, "Unable to determine the device handle for GPU0000:17:00.0"),
        ("wsl-blocked", 255, "GPU access blocked by the operating system"),
    ],
)
def test_nvidia_smis_refusal_is_kept_in_one_line(
    machine: Machine, name: str, status: int, words: str
) -> None:
    machine.replay(name, status)
    machine.write("/dev/nvidiactl")
    machine.environ["PATH"] = "/usr/bin:/bin"

    facts = machine.facts()

    assert words in facts["driver_error"]
    assert "\n" not in facts["driver_error"]
    assert words in reason(facts["driver_version"])
    assert words in reason(facts["gpus"])


def test_an_nvidia_smi_without_a_driver_or_a_device_means_there_is_none(machine: Machine) -> None:
    machine.replay("driver-missing", 9)
    machine.environ["PATH"] = "/usr/bin:/bin"

    facts = machine.facts()

    assert facts["driver_version"] is None
    assert facts["gpus"] == ()
    assert "couldn't communicate" in facts["driver_error"]


def test_no_devices_were_found_is_an_empty_list(machine: Machine) -> None:
    machine.replay("no-devices", 6)
    machine.write("/sys/module/nvidia/version", "535.54.03\n")
    machine.write("/dev/nvidiactl")
    machine.environ["PATH"] = "/usr/bin:/bin"

    facts = machine.facts()

    assert facts["gpus"] == ()
    assert facts["driver_error"] is None


def test_nvidia_smi_names_the_gpus_that_are_left(machine: Machine) -> None:
    machine.replay("one-of-two-lost.query", banner="newer-610.banner")
    machine.environ["PATH"] = "/usr/bin:/bin"

    facts = machine.facts()

    assert facts["gpus"] == (Gpu("NVIDIA GeForce RTX 3090", "8.6", 24 * GIB),)
    assert "device handle for GPU1: 0000:34:00.0" in facts["driver_error"]
    assert facts["driver_version"] == Version("610.57.04")


def test_nvidia_smi_is_not_started_where_nvml_answers(gpu_machine: Machine) -> None:
    started = gpu_machine.root / "started"
    gpu_machine.program("/usr/bin/nvidia-smi", f"echo > '{started}'")

    gpu_machine.facts()

    assert not started.exists()


def test_nvidia_smi_is_found_in_wsls_folder_off_the_path(machine: Machine) -> None:
    machine.program(
        "/usr/lib/wsl/lib/nvidia-smi", "echo 'NVIDIA GeForce RTX 3060, 8.6, 12288, 551.86'"
    )

    facts = machine.facts()

    assert facts["driver_version"] == Version("551.86")
    assert facts["gpus"] == (Gpu("NVIDIA GeForce RTX 3060", "8.6", 12 * GIB),)


def test_an_nvidia_smi_that_cannot_run_is_told(machine: Machine) -> None:
    machine.write("/usr/bin/nvidia-smi", "\x7fELF nonsense").chmod(0o755)
    machine.write("/dev/nvidiactl")

    facts = machine.facts()

    assert "cannot run nvidia-smi" in facts["driver_error"]
    assert "cannot run nvidia-smi" in reason(facts["gpus"])


# --- the real machine


def real_system(folder: Path, **environ: str) -> System:
    """This machine, whose loader finds the libraries of `folder` first."""
    return System(environ={"PATH": "/nowhere", "LD_LIBRARY_PATH": str(folder), **environ})


@pytest.mark.skipif(
    Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists(),
    reason="a real driver answers here",
)
def test_the_real_loader_takes_the_library_of_ld_library_path(
    machine: Machine, cuda: Path, nvml: Path
) -> None:
    machine.install(cuda, "libcuda.so.1", "545.23.08", "/lib")
    machine.install(nvml, "libnvidia-ml.so.1", "545.23.08", "/lib")
    folder = machine.root / "lib"
    system = real_system(folder, FAKE_NVML_DRIVER="545.23.08", FAKE_NVML_GPUS=T4)

    facts = driver_facts(system, find_library=lambda soname: folder / soname)

    assert facts["driver_version"] == Version("545.23.08")
    assert facts["driver_source"] == "NVML"
    assert facts["driver_library_version"] == Version("545.23.08")
    assert facts["driver_cuda"] == Version("12.4")
    assert facts["gpus"] == (Gpu("Tesla T4", "7.5", 15843721216),)


def test_the_loaders_choice_of_libcuda_beats_a_prediction(machine: Machine, cuda: Path) -> None:
    machine.install(cuda, "libcuda.so.1", "545.23.08", "/first")
    machine.install(cuda, "libcuda.so.1", "470.57.02", "/second")
    predicted = machine.root / "second/libcuda.so.1"

    facts = driver_facts(
        real_system(machine.root / "first"),
        find_library=lambda soname: predicted if soname == "libcuda.so.1" else None,
    )

    assert facts["driver_library_version"] == Version("545.23.08")


def test_the_childs_script_runs_on_python_3_6(machine: Machine, cuda: Path, nvml: Path) -> None:
    python = shutil.which("python3.6")
    if python is None or subprocess.run([python, "-c", ""], check=False).returncode:
        pytest.skip("no Python 3.6 here")
    environ = {"FAKE_NVML_GPUS": T4, "FAKE_CUDA_GPUS": T4}

    answers = [
        subprocess.run(
            [executable, "-I", "-S", ask_driver.__file__, which, "devices", str(library)],
            capture_output=True,
            check=True,
            env=environ,
        ).stdout
        for which, library in (("nvml", nvml), ("cuda", cuda))
        for executable in (python, sys.executable)
    ]

    assert b"Tesla T4" in answers[0]
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
