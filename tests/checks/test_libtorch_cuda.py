"""Truth: NVIDIA's compatibility pages, cuda.cmake of the releases; the linker's part is proven in
tests/machine/test_libtorch_files.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.libtorch_cuda import NO_TOOLKIT, judge
from torchkit.machine.facts import Gpu, Libtorch, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

LIBTORCH = Libtorch(
    "/opt/libtorch",
    version="2.5.1+cu124",
    variant="cu124",
    cuda="12.4",
    archs=("sm_50", "sm_80", "sm_86", "sm_90"),
    cmake_cuda_min="11.0",
    os_system="linux",
    architecture="x86_64",
)
A100 = Gpu("NVIDIA A100", "8.0")
SYMBOL = "cudaStreamUpdateCaptureDependencies@libcudart.so.11.0"


def all_judged(libtorch: Libtorch = LIBTORCH, **changes: Any) -> tuple[Verdict, ...]:
    facts: dict[str, Any] = {
        "driver_version": Version("550.54.14"),
        "driver_cuda": Version("12.4"),
        "gpus": (A100,),
        "nvcc_version": Version("12.4.131"),
        "cuda_home": "/usr/local/cuda-12.4",
        "cmake_cuda_home": "/usr/local/cuda-12.4",
        "nvcc_path": "/usr/local/cuda-12.4/bin/nvcc",
        "gcc_version": Version("12.2.0"),
        "os_system": "linux",
        "is_wsl": False,
        "is_container": False,
    }
    return judge((libtorch,), **(facts | changes))


def judged(libtorch: Libtorch = LIBTORCH, **changes: Any) -> Verdict:
    (verdict,) = all_judged(libtorch, **changes)
    return verdict


def test_driver_gpu_and_toolkit_that_fit_are_fine() -> None:
    assert judged().status is Status.OK


@pytest.mark.parametrize(
    ("driver", "driver_cuda", "status"),
    [
        ("525.60.13", "12.0", Status.OK),  # any 12.x, by minor-version compatibility
        ("525.60.12", "12.0", Status.FAIL),
        ("470.57.02", "11.4", Status.FAIL),
        ("470.57.02", "12.4", Status.OK),  # a forward-compatibility library
    ],
)
def test_the_edge_of_the_driver(driver: str, driver_cuda: str, status: Status) -> None:
    verdict = judged(driver_version=Version(driver), driver_cuda=Version(driver_cuda))

    assert verdict.status is status


def test_a_driver_that_is_too_old_is_told_in_torchs_words(finding: Callable[..., Finding]) -> None:
    found = finding(
        "libtorch-cuda",
        libtorchs=(LIBTORCH,),
        driver_version=Version("470.57.02"),
        driver_cuda=Version("11.4"),
        gpus=(A100,),
        nvcc_version=Version("12.4.131"),
        cuda_home="/usr/local/cuda",
        gcc_version=Version("12.2.0"),
        os_system="linux",
        cpu_architecture="x86_64",
        glibc_version=Version("2.36"),
    )

    assert "(found version 11040)" in found.verdict.evidence[0].value
    assert found.verdict.fix[0].startswith(
        "download instead: https://download.pytorch.org/libtorch/cu118/"
    )


@pytest.mark.parametrize(
    ("capability", "status"), [("8.9", Status.OK), ("9.0", Status.OK), ("12.0", Status.FAIL)]
)
def test_a_gpu_without_code_for_it(capability: str, status: Status) -> None:
    assert judged(gpus=(Gpu("GPU", capability),)).status is status


def test_architectures_that_were_not_read_are_those_of_the_official_build() -> None:
    unread = LIBTORCH._replace(archs=None)

    assert judged(unread, gpus=(Gpu("GPU", "12.0"),)).status is Status.FAIL
    assert judged(unread).status is Status.OK


def test_without_a_toolkit_cmake_stops() -> None:
    verdict = judged(nvcc_version=None, cuda_home=None)

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == NO_TOOLKIT
    assert "/usr/local/cuda-12.4" in verdict.fix[0]


def test_without_gpu_and_toolkit_the_cpu_build_of_the_release_is_named() -> None:
    nothing = {"driver_version": None, "driver_cuda": None, "gpus": ()}

    verdict = judged(nvcc_version=None, cuda_home=None, **nothing)

    assert verdict.fix[0] == (
        "download the CPU build: https://download.pytorch.org/libtorch/cpu/"
        "libtorch-cxx11-abi-shared-with-deps-2.5.1%2Bcpu.zip"
    )
    assert judged(nvcc_version=None, cuda_home=None, gcc_version=None).status is Status.WARN


@pytest.mark.parametrize(
    ("nvcc", "status"),
    [
        ("12.4.131", Status.OK),
        ("12.1.105", Status.OK),
        ("11.8.89", Status.WARN),
        ("10.2.89", Status.FAIL),
    ],
)
def test_the_toolkits_version(nvcc: str, status: Status) -> None:
    assert judged(nvcc_version=Version(nvcc)).status is status


def test_what_its_cmake_files_refuse_is_said_in_their_words() -> None:
    verdict = judged(LIBTORCH._replace(cmake_cuda_min="12.6"))

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == "PyTorch requires CUDA 12.6 or above."


@pytest.mark.parametrize(("stops", "status"), [(True, Status.FAIL), (False, Status.WARN)])
def test_a_symbol_that_the_toolkit_lacks(stops: bool, status: Status) -> None:
    libtorch = LIBTORCH._replace(
        version="1.10.2+cu113",
        variant="cu113",
        cuda="11.3",
        cxx11_abi=True,
        missing_cuda_symbol=SYMBOL,
        missing_cuda_symbol_by="libtorch_cuda_cpp.so",
        missing_cuda_stops_link=stops,
    )

    verdict = judged(libtorch, nvcc_version=Version("11.1.105"))

    assert verdict.status is status
    assert verdict.evidence[0].value == f"libtorch_cuda_cpp.so: undefined reference to `{SYMBOL}'"
    assert "has no cudaStreamUpdateCaptureDependencies" in verdict.message
    assert "cuda-11.3" in verdict.fix[-1]


def test_a_library_that_is_nowhere_is_named_and_a_wheel_is_sent_to_pip() -> None:
    libtorch = LIBTORCH._replace(
        missing_cuda_symbol="cublasCreate_v2@libcublas.so.12",
        missing_cuda_library="libcublas.so.12",
        missing_cuda_stops_link=True,
    )

    zipped = judged(libtorch)
    wheel = judged(libtorch._replace(kind="wheel", path="/tmp/torch-2.5.1.whl"))

    assert "it needs libcublas.so.12" in zipped.message
    assert zipped.fix[-1] == "install all of the CUDA 12.4 toolkit, with libcublas.so.12"
    assert wheel.status is Status.WARN
    assert wheel.fix[0].startswith("pip install torch-2.5.1.whl ")


def test_two_faults_are_two_findings() -> None:
    found = all_judged(driver_version=Version("470.57.02"), driver_cuda=None, nvcc_version=None, cuda_home=None)  # fmt: skip

    assert [it.status for it in found] == [Status.FAIL, Status.FAIL]


def test_without_a_driver_it_is_worth_saying() -> None:
    assert judged(driver_version=None, driver_cuda=None, gpus=()).status is Status.INFO


def test_a_cpu_build_leaves_a_gpu_unused() -> None:
    cpu = LIBTORCH._replace(variant="cpu", cuda=None, version="2.5.1+cpu")

    assert judged(cpu).status is Status.INFO
    assert not judged(cpu, gpus=()).applies
    assert not judged(cpu._replace(variant="rocm6.2")).applies
    assert not judged(cpu._replace(problem="it is no zip")).applies


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    assert judged(nvcc_version=Unknown("nvcc hung")).status is Status.SKIP
    assert judged(driver_version=Unknown("hung"), driver_cuda=None).status is Status.SKIP
    assert judged(driver_version=Unknown("hung"), driver_cuda=Version("12.4")).status is Status.OK
    assert judged(gpus=Unknown("hung")).status is Status.SKIP
    assert not finding("libtorch-cuda", libtorchs=None).verdict.applies


# --- where CMake looks for the toolkit


def test_where_cmake_looks_in_another_folder_it_is_told_where_the_toolkit_is() -> None:
    verdict = judged(cmake_cuda_home="/usr/local", nvcc_path="/usr/local/bin/nvcc")

    assert verdict.status is Status.WARN
    assert "CMake takes /usr/local for the CUDA toolkit, by /usr/local/bin/nvcc" in verdict.message
    assert verdict.evidence[0].value == NO_TOOLKIT
    assert verdict.fix == (
        "name the toolkit: cmake -DCUDA_TOOLKIT_ROOT_DIR=/usr/local/cuda-12.4 …",
        "or export PATH=/usr/local/cuda-12.4/bin:$PATH",
    )


def test_a_toolkit_that_only_cuda_home_names_is_given_to_cmake_with_its_compiler() -> None:
    verdict = judged(cmake_cuda_home="/usr/local/cuda-11.8")

    assert verdict.status is Status.WARN
    assert "not what CUDA_HOME names" in verdict.message
    assert NO_TOOLKIT not in [it.value for it in verdict.evidence]  # it builds, with the other
    assert "-DCMAKE_CUDA_COMPILER=/usr/local/cuda-12.4/bin/nvcc" in verdict.fix[0]


def test_a_machine_that_was_saved_before_this_was_looked_at_is_not_accused() -> None:
    verdict = judged(cmake_cuda_home=Unknown("it was not told"))

    assert verdict.status is Status.OK


def test_a_library_on_every_command_line_that_the_toolkit_lacks_stops_the_link() -> None:
    verdict = judged(LIBTORCH._replace(missing_on_link_line="libnvrtc.so"))

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value.startswith("cannot find -lCUDA_nvrtc_LIBRARY-NOTFOUND")
    assert verdict.fix == ("install all of the CUDA 12.4 toolkit, with libnvrtc.so",)
