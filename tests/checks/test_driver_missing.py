"""Truth: NVIDIA's container toolkit documentation, and what torch says without a driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.driver_missing import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(**changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "driver_version": None,
        "torch_cuda": Version("12.4"),
        "gpus": (),
        "driver_library_version": None,
        "driver_cuda": None,
        "nvidia_devices_on_bus": 0,
        "nvidia_device_nodes": False,
        "is_container": False,
        "container_runtime": None,
        "jetson_model": None,
        "driver_error": None,
        "os_name": "Ubuntu 24.04.3 LTS",
    }
    return judge(**(facts | changes))


LOADED = {"driver_version": Version("550.54.14")}


def test_a_gpu_on_the_bus_without_a_driver_fails_under_a_cuda_build() -> None:
    verdict = judged(nvidia_devices_on_bus=1)

    assert verdict.status is Status.FAIL
    assert "Found no NVIDIA driver" in verdict.evidence[0].value


def test_the_same_under_a_cpu_build_is_only_worth_saying() -> None:
    assert judged(nvidia_devices_on_bus=1, torch_cuda=None).status is Status.INFO


def test_no_gpu_on_the_bus_is_the_edge_where_nothing_is_wrong() -> None:
    verdict = judged(nvidia_devices_on_bus=0)

    assert verdict.status is Status.INFO
    assert "runs on the CPU" in verdict.message


def test_no_gpu_and_no_cuda_build_is_nothing_to_judge() -> None:
    verdict = judged(torch_cuda=None)

    assert verdict.status is Status.SKIP
    assert not verdict.applies


@pytest.mark.parametrize(
    ("runtime", "fix"),
    [
        ("docker", "docker run --gpus all …"),
        ("podman", "podman run --device nvidia.com/gpu=all …"),
        ("singularity", "apptainer exec --nv …"),
        ("lxc", "start the container with the host's NVIDIA GPUs"),
    ],
)
def test_a_container_without_the_gpus_is_told_its_own_flag(runtime: str, fix: str) -> None:
    verdict = judged(**LOADED, is_container=True, container_runtime=runtime)

    assert verdict.status is Status.FAIL
    assert verdict.fix == (fix,)


def test_in_a_container_the_driver_is_installed_on_the_host() -> None:
    inside = judged(nvidia_devices_on_bus=1, is_container=True, container_runtime="docker")

    assert inside.fix == (
        "on the host: install the NVIDIA driver (https://www.nvidia.com/drivers), then reboot",
        "then docker run --gpus all …",
    )


def test_a_container_without_a_gpu_hears_of_its_flag_and_a_laptop_does_not() -> None:
    assert "--gpus all" in judged(is_container=True, container_runtime="docker").fix[0]
    assert judged(is_container=False).fix == ()


def test_device_files_are_not_called_absent_when_nobody_looked() -> None:
    seen = judged(**LOADED, is_container=True, nvidia_device_nodes=False)
    unseen = judged(**LOADED, is_container=True, nvidia_device_nodes=Unknown("not looked"))

    assert "/dev/nvidia" in seen.evidence[1].value
    assert "/dev/nvidia" not in unseen.evidence[1].value


@pytest.mark.parametrize(
    ("os_name", "fix"),
    [
        ("Ubuntu 24.04.3 LTS", "sudo apt install libnvidia-compute-550"),
        ("Debian GNU/Linux 12 (bookworm)", "sudo apt install libcuda1"),
        ("Arch Linux", "install the libraries of driver 550.54.14, among them libcuda.so.1"),
    ],
)
def test_a_missing_libcuda_on_the_host_is_installed_as_the_system_calls_it(
    os_name: str, fix: str
) -> None:
    verdict = judged(**LOADED, os_name=os_name)

    assert verdict.status is Status.FAIL
    assert verdict.fix == (fix,)


def test_a_driver_is_installed_as_the_system_calls_it() -> None:
    assert judged(nvidia_devices_on_bus=1).fix == ("sudo ubuntu-drivers install   then reboot",)
    assert "nvidia.com/drivers" in judged(nvidia_devices_on_bus=1, os_name="Fedora Linux 43").fix[0]


def test_a_usable_gpu_and_a_jetson_are_fine() -> None:
    assert judged(**LOADED, gpus=(Gpu("NVIDIA A100"),)).status is Status.OK
    assert judged(jetson_model="NVIDIA Jetson Orin Nano").status is Status.OK


def test_a_loaded_driver_whose_gpus_are_unknown_is_not_called_missing() -> None:
    assert judged(**LOADED, gpus=Unknown("mismatch")).status is Status.OK


def test_an_unknown_driver_could_not_be_looked_at(finding: Callable[..., Finding]) -> None:
    found = finding("driver-missing", driver_version=Unknown("NVML hung"))

    assert (found.status, found.verdict.applies) == (Status.SKIP, True)


def test_gpus_that_fell_off_the_bus_fail_and_quote_nvidia() -> None:
    said = "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error"

    verdict = judged(
        **LOADED,
        driver_cuda=Version("12.4"),
        driver_library_version=Version("550.54.14"),
        nvidia_devices_on_bus=8,
        driver_error=said,
    )

    assert verdict.status is Status.FAIL
    assert said in [it.value for it in verdict.evidence]


def test_a_driver_without_any_gpu_is_a_warning_under_a_cuda_build_only() -> None:
    here = {
        **LOADED,
        "driver_cuda": Version("12.4"),
        "driver_library_version": Version("550.54.14"),
    }

    assert judged(**here).status is Status.WARN
    assert judged(**here, torch_cuda=None).status is Status.OK


def test_in_a_container_no_gpus_mean_that_it_was_started_without_them() -> None:
    untold = {"driver_cuda": Unknown("not given"), "driver_library_version": Unknown("not given")}

    verdict = judged(**LOADED, **untold, is_container=True, container_runtime="docker")

    assert verdict.status is Status.FAIL
    assert verdict.fix == ("docker run --gpus all …",)
