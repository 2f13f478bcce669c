"""Which build fits: drivers by NVIDIA's compatibility pages, releases by PyTorch's own indexes."""

from __future__ import annotations

from typing import Any

import pytest

from torchkit.advice.builds import fitting_builds
from torchkit.advice.libtorch import libtorch_advice, uses_cxx11_abi
from torchkit.advice.lines import (
    companion_lines,
    compiler_installation,
    driver_installation,
    driver_update,
    install_line,
    reinstall_line,
)
from torchkit.machine.facts import Companion, Facts, Gpu, Unknown
from torchkit.versions import Version

A100 = (Gpu("NVIDIA A100-SXM4-80GB", "8.0"),)


def line(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "os_system": "linux",
        "cpu_architecture": "x86_64",
        "python_version": Version("3.10.12"),
        "glibc_version": Version("2.35"),
        "driver_version": None,
        "gpus": (),
    }
    return install_line(Facts(facts | changes))


def gpu(driver: str, capability: str, **changes: Any) -> dict[str, Any]:
    return {"driver_version": Version(driver), "gpus": (Gpu("GPU", capability),), **changes}


# --- the pip line


def test_without_a_gpu_it_is_the_cpu_build() -> None:
    assert line() == (
        "pip install torch==2.14.1+cpu --index-url https://download.pytorch.org/whl/cpu"
    )


@pytest.mark.parametrize(
    ("driver", "capability", "build"),
    [
        ("450.80.02", "7.0", "torch==2.7.1+cu118"),  # the last release for CUDA 11
        ("525.60.13", "8.0", "torch==2.14.1+cu126"),  # any CUDA 12, by minor-version compatibility
        ("580.65.06", "8.0", "torch==2.14.1+cu130"),
        ("580.65.06", "6.1", "torch==2.14.1+cu126"),  # Pascal: no build for CUDA 13
        ("580.65.06", "7.0", "torch==2.14.1+cu126"),  # Volta: the same
        ("570.86.10", "12.0", "torch==2.11.0+cu128"),  # Blackwell: not in builds for CUDA 12.6
        ("610.43.02", "12.0", "torch==2.14.1+cu132"),
    ],
)
def test_the_newest_release_that_driver_and_gpu_run(
    driver: str, capability: str, build: str
) -> None:
    assert build in line(**gpu(driver, capability)).split()


@pytest.mark.parametrize(
    ("python", "release"), [("3.9.18", "2.8.0"), ("3.8.18", "2.4.1"), ("3.13.5", "2.15.0")]
)
def test_the_newest_release_for_this_python(python: str, release: str) -> None:
    assert f"torch=={release}+cpu" in line(python_version=Version(python))


@pytest.mark.parametrize(("glibc", "release"), [("2.27", "2.6.0"), ("2.28", "2.14.1")])
def test_the_newest_release_for_this_glibc(glibc: str, release: str) -> None:
    assert f"torch=={release}+cpu" in line(glibc_version=Version(glibc))


def test_a_free_threaded_python_gets_a_release_with_such_a_build() -> None:
    free = {"python_version": Version("3.13.5"), "python_free_threaded": True}

    assert "torch==2.12.0+cpu" in line(**free)


def test_installed_companions_come_along() -> None:
    companions = (Companion("torchvision", "0.20.1"), Companion("xformers", "0.0.28"))

    assert line(companions=companions).startswith(
        "pip install torch==2.14.1+cpu torchvision==0.29.1+cpu --index-url "
    )


def test_torchaudio_ended_with_2_11_and_goes_with_every_later_torch() -> None:
    companions = (Companion("torchaudio", "2.5.1"),)

    assert "torch==2.14.1+cpu torchaudio==2.11.0+cpu" in line(companions=companions)


def test_a_variant_without_a_build_of_torchaudio_is_not_taken() -> None:
    newest = gpu("610.43.02", "8.0")

    assert "+cu132" in line(**newest)
    assert "torchaudio==2.11.0+cu130" in line(
        **newest, companions=(Companion("torchaudio", "2.5.1"),)
    )


def test_an_unknown_gpu_beside_a_known_driver_gets_a_cuda_build() -> None:
    facts = {"driver_version": Version("550.54.15"), "gpus": Unknown("NVML hung")}

    assert "+cu126" in line(**facts)


def test_windows_counts_its_own_drivers_and_what_they_say_they_run() -> None:
    windows = {"os_system": "windows", "glibc_version": None}

    old = line(**gpu("516.94", "8.6", driver_cuda=Version("11.7"), **windows))
    new = line(**gpu("581.29", "8.6", driver_cuda=Version("13.0"), **windows))

    assert "+cu118" in old
    assert "+cu130" in new


def test_a_mac_has_one_build() -> None:
    assert line(os_system="macos", glibc_version=None) == "pip install torch"


def test_aarch64_gets_a_cuda_build_that_exists_there() -> None:
    arm = line(**gpu("580.95.05", "12.1", cpu_architecture="aarch64"))

    assert arm == "pip install torch==2.14.1 --index-url https://download.pytorch.org/whl/cu130"


def test_uv_is_told_in_its_own_words() -> None:
    assert line(torch_manager="uv").startswith("uv pip install torch==")


def test_a_jetson_is_sent_to_nvidia() -> None:
    assert "docs.nvidia.com" in line(jetson_model="NVIDIA Jetson AGX Orin")


def test_a_python_without_any_torch_gets_another_python() -> None:
    assert line(python_version=Version("3.16.0")).startswith("make an environment with Python 3.1")


def test_where_nothing_fits_there_is_no_line_to_paste() -> None:
    assert line(**gpu("390.48", "3.0")).startswith("no official torch build")


def test_nothing_known_gives_the_newest_cpu_build() -> None:
    assert "torch==2.15.0+cpu" in install_line(Facts())


def test_every_build_for_a_driver_runs_on_it() -> None:
    """Within a major by minor-version compatibility, never across one."""
    builds = list(fitting_builds(driver_version=Version("470.57.02"), capabilities=["7.0"]))

    assert builds
    assert all(build.variant.startswith(("cu10", "cu11", "cu9")) for build in builds)


# --- the same again


def test_the_same_torch_is_put_in_place_from_where_it_came() -> None:
    assert reinstall_line(Version("2.6.0+cu124")) == (
        "pip install --force-reinstall torch==2.6.0 "
        "--index-url https://download.pytorch.org/whl/cu124"
    )
    assert reinstall_line(Version("2.6.0")) == "pip install --force-reinstall torch==2.6.0"
    assert reinstall_line(None) == "pip install --force-reinstall torch"


def test_a_build_from_elsewhere_is_not_replaced_by_an_official_one() -> None:
    for version in ("2.5.0a0+872d972e41.nv24.08", "2.16.0.dev20261120+cu132"):
        assert "pip" not in reinstall_line(Version(version))


def test_companions_leave_torch_alone() -> None:
    wrong = [Companion("torchvision", "0.20.1"), Companion("flash-attn", "2.7.4")]

    lines = companion_lines(wrong, Version("2.6.0+cu124"))

    assert lines[0].startswith("pip install --force-reinstall --no-deps torchvision==0.21.0 ")
    assert lines[1].startswith("then pip install --force-reinstall --no-deps --no-build-isolation")


def test_a_package_that_would_bring_its_own_torch_is_named_in_words() -> None:
    (text,) = companion_lines([Companion("xformers", "0.0.28", "==2.5.1")], Version("2.6.0"))

    assert text == "install the xformers that is built for torch 2.6; this one is for torch==2.5.1"


def test_torch_geometrics_packages_come_from_its_own_pages() -> None:
    (text,) = companion_lines([Companion("torch-scatter", "2.1.2")], Version("2.6.0+cu124"))

    assert text.endswith("torch-scatter -f https://data.pyg.org/whl/torch-2.6.0+cu124.html")


# --- drivers and compilers


def test_drivers_are_updated_where_they_live() -> None:
    assert driver_update("580", is_wsl=None, is_container=None) == (
        "update the NVIDIA driver to 580 or newer"
    )
    assert "on the host" in driver_update("580", is_wsl=False, is_container=True)
    assert "on Windows" in driver_update("580", is_wsl=True, is_container=True)


@pytest.mark.parametrize(
    ("os_name", "words"),
    [
        ("Ubuntu 24.04.3 LTS", "ubuntu-drivers install"),
        ("Debian GNU/Linux 12 (bookworm)", "apt install nvidia-driver"),
        ("Fedora Linux 43", "https://www.nvidia.com/drivers"),
        (None, "https://www.nvidia.com/drivers"),
    ],
)
def test_drivers_are_installed_as_the_system_does(os_name: str | None, words: str) -> None:
    assert words in driver_installation(os_name)


def test_compilers_are_named_to_torch_and_to_cmake() -> None:
    for_nvcc = compiler_installation(11, "Arch Linux", for_nvcc=True)
    for_torch = compiler_installation(11, "Arch Linux", for_nvcc=False)

    assert for_nvcc == "install g++ 11, then: export CC=gcc-11 CXX=g++-11 CUDAHOSTCXX=g++-11"
    assert for_torch == "install g++ 11, then: export CC=gcc-11 CXX=g++-11"


# --- libtorch


def advised(**changes: Any) -> Any:
    facts: dict[str, Any] = {
        "os_system": "linux",
        "cpu_architecture": "x86_64",
        "driver_version": None,
        "gpus": (),
        "glibc_version": Version("2.35"),
        "gcc_version": Version("11.4.0"),
    }
    return libtorch_advice(Facts(facts | changes))


def test_without_a_gpu_it_is_the_zip_for_the_cpu() -> None:
    assert "/libtorch/cpu/" in advised().zip.url


def test_a_gpu_and_its_driver_choose_the_variant() -> None:
    found = advised(driver_version=Version("535.183.06"), gpus=A100)

    assert found.zip.variant == "cu126"


def test_windows_driver_counts_by_what_it_says_it_runs() -> None:
    facts = {"os_system": "windows", "driver_version": Version("581.29"), "gpus": A100}

    assert advised(**facts).zip.variant == "cu126"
    assert advised(**facts, driver_cuda=Version("13.0")).zip.variant == "cu132"


def test_rhel_7_builds_with_the_old_abi_and_gets_a_zip_that_has_it() -> None:
    found = advised(glibc_version=Version("2.17"), gcc_version=Version("10.2.1"))

    assert found.zip.abi == "pre-cxx11"
    assert found.zip.version <= Version("2.7.1")


@pytest.mark.parametrize(
    ("gcc", "glibc", "is_new"),
    [
        ("4.8.5", "2.28", False),
        ("5.1.0", "2.28", True),
        ("11.2.1", "2.17", False),
        (None, "2.35", True),
    ],
)
def test_which_abi_a_compiler_writes(gcc: str | None, glibc: str, is_new: bool) -> None:
    version = Version(gcc) if gcc else None

    assert uses_cxx11_abi(version, Version(glibc)) is is_new


def test_the_reasons_name_both_versions_of_glibc_where_they_are_known() -> None:
    assert "needs glibc 2.28, here is 2.35" in advised().why
    assert not [text for text in advised(glibc_version=None).why if "glibc" in text]


@pytest.mark.parametrize(("gcc", "is_told"), [("9.4.0", True), ("10.2.1", False)])
def test_a_compiler_too_old_for_the_headers_is_told_so(gcc: str, is_told: bool) -> None:
    told = [text for text in advised(gcc_version=Version(gcc)).why if "building against" in text]

    assert bool(told) is is_told


def test_linux_on_aarch64_has_no_zip() -> None:
    assert advised(cpu_architecture="aarch64") is None
