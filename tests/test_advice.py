"""Which build fits: drivers by NVIDIA's compatibility pages, releases by PyTorch's own indexes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from torchkit.advice.builds import Needs, capability_of, first_driver, fitting_builds
from torchkit.advice.libtorch import (
    driver_serves,
    gcc_for_headers,
    installed_torch_is_one,
    libtorch_advice,
    uses_cxx11_abi,
    zip_address,
)
from torchkit.advice.lines import (
    FITTING_LIBTORCH,
    FITTING_TORCH,
    companion_lines,
    compiler_installation,
    driver_installation,
    driver_update,
    fitted,
    for_this_python,
    install_line,
    reinstall_line,
)
from torchkit.knowledge.compat import torch_release
from torchkit.machine.facts import Companion, Facts, Gpu, Libtorch, Unknown
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
    text = line(**gpu("390.48", "3.0"))

    assert text.startswith("use the CPU, or build torch from source: no official build")
    assert "pip" not in text


def test_a_build_whose_gpu_code_is_not_known_serves_no_gpu() -> None:
    """The builds of 1.8.1 for CUDA 10.1: nobody published what they have code for. Those of 1.5
    have PTX that a later GPU would take, beside a cuBLAS that has no code for it."""
    for python in ("3.8.18", "3.9.18", "3.10.12"):
        for capability in ("3.0", "12.0", "11.0"):
            text = line(**gpu("595.45.04", capability, python_version=Version(python)))

            assert "torch==1." not in text


@pytest.mark.parametrize("free", [False, True])
def test_where_python_alone_is_in_the_way_another_is_named(free: bool) -> None:
    """PyTorch's indexes: code for the RTX 50 series from 2.7 on, whose oldest Python is 3.9."""
    rtx_5090 = gpu("580.95.05", "12.0")

    text = line(**rtx_5090, python_version=Version("3.8.18"), python_free_threaded=free)

    found = re.fullmatch(
        r"make an environment with Python (3\.\d+).* and install torch there", text
    )
    assert found
    assert "pip install torch==" in line(**rtx_5090, python_version=Version(found[1]))


def test_an_old_gpu_is_sent_to_a_python_of_its_time() -> None:
    """The last build with code for a K40 (3.5) is 1.3.1, made for Python up to 3.7."""
    assert line(**gpu("470.57.02", "3.5")) == (
        "make an environment with Python 3.7 and install torch there"
    )


@pytest.mark.parametrize("driver", ["450.36.06", "535.183.01"])
def test_where_the_driver_is_in_the_way_it_is_the_driver_that_is_updated(driver: str) -> None:
    """CUDA 12.8, the first for the RTX 50 series, came with driver 570.26."""
    text = line(**gpu(driver, "12.0"), is_container=True)

    assert text == "on the host: update the NVIDIA driver to 570.26 or newer"


def test_the_first_driver_of_a_branch_knows_what_its_cuda_knows() -> None:
    """Driver 520.56.06 was made for the RTX 4090, CUDA 11.8 came with 520.61.05."""
    assert "pip install torch==2.7.1+cu118" in line(**gpu("520.56.06", "8.9"))


def test_where_glibc_is_in_the_way_it_is_named() -> None:
    text = line(**gpu("580.95.05", "12.0"), glibc_version=Version("2.17"))

    assert text.startswith("work where glibc is 2.28 or newer")


def test_of_gpus_that_no_build_serves_together_the_newest_gets_its_build() -> None:
    both = (Gpu("NVIDIA GeForce GTX 1080", "6.1"), Gpu("NVIDIA GeForce RTX 5090", "12.0"))

    text = line(driver_version=Version("580.95.05"), gpus=both)

    command, _, remark = text.partition("   ")
    assert re.fullmatch(r"pip install torch==2\.1\d\.\d\+cu1[23]\d --index-url \S+", command)
    assert remark == "no official build serves NVIDIA GeForce GTX 1080 too"


def test_a_gpu_that_tells_only_its_name_is_known_by_it() -> None:
    """Drivers up to 470: their nvidia-smi has no compute_cap, nor has /proc."""
    by_name = {"driver_version": Version("580.65.06"), "gpus": (Gpu("NVIDIA GeForce GTX 1080"),)}

    assert capability_of(Gpu("NVIDIA GeForce GTX 1080")) == "6.1"
    assert capability_of(Gpu("Tesla K80", "3.7")) == "3.7"
    assert capability_of(Gpu("NVIDIA GeForce GTX 1080", "[N/A]")) == "6.1"
    assert capability_of(Gpu("a GPU of next year")) is None
    assert "torch==2.14.1+cu126" in line(**by_name)


@pytest.mark.parametrize("driver", [None, Unknown("NVML hung")])
def test_gpus_without_a_known_driver_get_the_newest_build_for_them(driver: Any) -> None:
    ada = line(driver_version=driver, gpus=(Gpu("GPU", "8.9"),))
    volta = line(driver_version=driver, gpus=(Gpu("GPU", "7.0"),))

    assert "torch==2.14.1+cu132" in ada
    assert "torch==2.14.1+cu126" in volta


def test_musl_has_no_official_build() -> None:
    text = line(glibc_version=None)

    assert text.endswith("no official torch build runs on musl")
    assert "python:3.13-slim" in text
    assert "pip install torch==" in line(glibc_version=Unknown("not told"))


@pytest.mark.parametrize(
    "torch",
    [
        {"torch_build": "rocm"},
        {"torch_build": "xpu"},
        {"torch_version": Version("2.14.1+rocm7.2")},
    ],
)
def test_a_torch_for_another_makers_gpus_is_not_replaced_by_a_cpu_build(
    torch: dict[str, Any],
) -> None:
    text = line(**torch)

    assert "+cpu" not in text
    assert "https://pytorch.org/get-started/locally/" in text


def test_an_orin_that_is_not_known_to_be_a_jetson_is_sent_to_nvidia() -> None:
    orin = (Gpu("Orin (nvgpu)", "8.7"),)
    facts = {
        "driver_version": Version("540.4.0"),
        "gpus": orin,
        "glibc_version": Version("2.35"),
        "python_version": Version("3.10.12"),
    }

    assert "docs.nvidia.com" in install_line(Facts(facts))
    assert libtorch_advice(Facts(facts)) is None


def test_nothing_known_gives_the_newest_cpu_build() -> None:
    assert "torch==2.15.0+cpu" in install_line(Facts())


def test_every_build_for_a_driver_runs_on_it() -> None:
    """Within a major by minor-version compatibility, never across one."""
    v100 = Needs(with_gpu=True, driver_version=Version("470.57.02"), capabilities=("7.0",))

    builds = list(fitting_builds(v100))

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


@pytest.mark.parametrize(
    ("torch", "variant"),
    [("2.13.0+cpu", "cpu"), ("2.14.1+cu130", "cu130"), ("2.14.1+cu132", "cu130")],
)
@pytest.mark.parametrize("installed", ["2.5.1", "2.8.0", "2.11.0+cu126"])
def test_the_last_torchaudio_goes_with_every_later_torch(
    torch: str, variant: str, installed: str
) -> None:
    """It was built for CUDA 12.6, 12.8 and 13.0, never for 13.2."""
    lines = companion_lines([Companion("torchaudio", installed)], Version(torch))

    assert lines == [
        "pip install --force-reinstall --no-deps torchaudio==2.11.0 "
        f"--index-url https://download.pytorch.org/whl/{variant}"
    ]


def test_companions_from_two_indexes_take_two_lines() -> None:
    wrong = [Companion("torchvision", "0.20.1"), Companion("torchaudio", "2.5.1")]

    lines = companion_lines(wrong, Version("2.14.1+cu132"))

    assert lines == [
        "pip install --force-reinstall --no-deps torchvision==0.29.1 "
        "--index-url https://download.pytorch.org/whl/cu132",
        "then pip install --force-reinstall --no-deps torchaudio==2.11.0 "
        "--index-url https://download.pytorch.org/whl/cu130",
    ]


def test_a_companion_without_known_pairs_comes_from_the_index_of_this_torch() -> None:
    ao = Companion("torchao", "0.7.0+cu130", cuda="13.0")

    assert companion_lines([ao], Version("2.13.0+cpu")) == [
        "pip install --force-reinstall --no-deps torchao "
        "--index-url https://download.pytorch.org/whl/cpu"
    ]
    assert "/whl/nightly/cu132" in companion_lines([ao], Version("2.16.0.dev20261120+cu132"))[0]


@pytest.mark.parametrize(
    ("torch", "release"),
    [("2.5.1+cpu", "0.1.1"), ("2.8.0+cpu", "0.7.0"), ("2.10.0+cpu", "0.10.0")],
)
def test_torchcodec_is_named_with_the_release_for_this_torch(torch: str, release: str) -> None:
    codec = Companion("torchcodec", "0.17.0")

    (line,) = companion_lines([codec], Version(torch))

    assert f" torchcodec=={release} --index-url " in line


def test_xformers_comes_from_the_index_of_a_cuda_where_its_newest_goes_with_this_torch() -> None:
    xformers = Companion("xformers", "0.0.35", ">=2.10", "2.10.0+cu128", "12.8")

    on_cuda = companion_lines([xformers], Version("2.14.1+cu130"))
    on_cpu = companion_lines([xformers], Version("2.13.0+cpu"))
    on_old = companion_lines([xformers], Version("2.6.0+cu124"))

    assert on_cuda == [
        "pip install --force-reinstall --no-deps xformers "
        "--index-url https://download.pytorch.org/whl/cu130"
    ]
    assert on_cpu == ["install the xformers that is built for torch 2.13"]
    assert on_old == ["install the xformers that is built for torch 2.6"]


def test_a_package_that_would_bring_its_own_torch_is_named_in_words() -> None:
    (text,) = companion_lines([Companion("xformers", "0.0.28", "==2.5.1")], Version("2.6.0"))

    assert text == "install the xformers that is built for torch 2.6; this one is for torch==2.5.1"


def test_torch_geometrics_packages_come_from_its_own_pages() -> None:
    (text,) = companion_lines([Companion("torch-scatter", "2.1.2")], Version("2.6.0+cu124"))

    assert text.endswith("torch-scatter -f https://data.pyg.org/whl/torch-2.6.0+cu124.html")


# --- whose pip

HERE = {"python_executable": "/env/bin/python"}


def test_pip_is_plain_where_it_is_this_pythons_and_where_that_is_not_known() -> None:
    for facts in ({}, HERE, {**HERE, "python_is_active": True}):
        assert for_this_python("pip install x", Facts(facts)) == "pip install x"


def test_another_python_is_named_in_every_pip_command() -> None:
    facts = Facts({**HERE, "python_is_active": False})

    lines = ["then pip install x", "conda remove pytorch && pip install x", "pip uninstall -y x"]

    assert [for_this_python(text, facts) for text in lines] == [
        "then /env/bin/python -m pip install x",
        "conda remove pytorch && /env/bin/python -m pip install x",
        "/env/bin/python -m pip uninstall -y x",
    ]
    assert line(**HERE, python_is_active=False).startswith("/env/bin/python -m pip install torch==")


@pytest.mark.parametrize(
    "text",
    ["pipx install x", ".venv/bin/pip install x", "python -m pip install x", "read pip.conf"],
)
def test_what_is_not_a_bare_pip_command_stays(text: str) -> None:
    assert for_this_python(text, Facts({**HERE, "python_is_active": False})) == text


def test_an_interpreter_with_a_space_in_its_path_is_quoted() -> None:
    facts = {"python_executable": "/my env/bin/python", "python_is_active": False}

    assert for_this_python("pip install x", Facts(facts)) == (
        '"/my env/bin/python" -m pip install x'
    )


@pytest.mark.parametrize("is_active", [True, False])
def test_uv_needs_to_be_told_the_python_and_asks_nothing(is_active: bool) -> None:
    facts = Facts({**HERE, "python_is_active": is_active, "torch_manager": "uv"})

    assert for_this_python("pip install x", facts) == "uv pip install --python /env/bin/python x"
    assert for_this_python("pip uninstall -y x", facts) == (
        "uv pip uninstall --python /env/bin/python x"
    )


def test_a_python_that_refuses_pip_gets_an_environment_for_its_torch() -> None:
    """PEP 668; tried with Debian 12's Python: pip ends in `externally-managed-environment`."""
    facts = Facts({"python_executable": "/usr/bin/python3", "python_externally_managed": True})

    fix = fitted(["pip install torch==2.13.0", "pip install 'numpy<2'"], facts)

    assert fix == (
        "make a virtual environment first: /usr/bin/python3 -m venv .venv && "
        ".venv/bin/pip install torch==2.13.0",
        "/usr/bin/python3 -m pip install --break-system-packages 'numpy<2'",
    )


def test_a_fix_names_the_fitting_torch_in_place_of_the_words_for_it() -> None:
    facts = Facts({"gpus": (), "driver_version": None})

    fix = fitted(["first this", FITTING_TORCH], facts)

    assert fix == ("first this", install_line(facts))


def test_one_update_of_the_driver_is_enough() -> None:
    too_old = Facts({**gpu("450.36.06", "12.0"), "os_system": "linux"})
    update = "update the NVIDIA driver to 580.65.06 or newer"

    assert install_line(too_old) == "update the NVIDIA driver to 570.26 or newer"
    assert fitted([update, FITTING_TORCH], too_old) == (update,)


# --- drivers and compilers


def test_drivers_are_updated_where_they_live() -> None:
    assert driver_update("580", is_wsl=None, is_container=None) == (
        "update the NVIDIA driver to 580 or newer"
    )
    assert "on the host" in driver_update("580", is_wsl=False, is_container=True)
    assert "on Windows" in driver_update("580", is_wsl=True, is_container=True)


def test_a_driver_must_know_the_gpu_too() -> None:
    """NVIDIA's release notes: CUDA 12.8 is the first for compute capability 12.0."""
    rtx_5090 = (Gpu("NVIDIA GeForce RTX 5090", "12.0"),)

    def needed(driver: str, gpus: Any) -> str:
        return driver_update(driver, is_wsl=None, is_container=None, gpus=gpus)

    assert first_driver("12.0") == Version("570.26")
    assert needed("525.60.13", rtx_5090) == "update the NVIDIA driver to 570.26 or newer"
    assert needed("580.65.06", rtx_5090) == "update the NVIDIA driver to 580.65.06 or newer"
    assert needed("525.60.13", A100) == "update the NVIDIA driver to 525.60.13 or newer"
    assert needed("one that runs CUDA 13.0", rtx_5090).endswith("one that runs CUDA 13.0 or newer")
    assert needed("525.60.13", Unknown("NVML hung")).endswith("525.60.13 or newer")


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
    assert not [text for text in advised(glibc_version=Unknown("?")).why if "glibc" in text]


@pytest.mark.parametrize(("gcc", "is_told"), [("9.4.0", True), ("10.2.1", False)])
def test_a_compiler_too_old_for_the_headers_is_told_so(gcc: str, is_told: bool) -> None:
    told = [text for text in advised(gcc_version=Version(gcc)).why if "building against" in text]

    assert bool(told) is is_told


def test_linux_on_aarch64_has_no_zip() -> None:
    assert advised(cpu_architecture="aarch64") is None


def test_musl_has_no_zip_either() -> None:
    assert advised(glibc_version=None) is None


def test_a_torch_for_another_makers_gpus_gets_no_zip_for_the_cpu() -> None:
    assert advised(torch_build="rocm") is None
    assert advised(torch_build="xpu") is None


def test_gpus_without_a_known_driver_get_a_zip_for_them_and_the_driver_it_needs() -> None:
    found = advised(driver_version=Unknown("NVML hung"), gpus=A100)

    assert found.zip.variant == "cu132"
    assert "the driver here is not known; it needs 580.65.06 or newer" in found.why
    assert not [text for text in found.why if text.startswith("CPU")]


def test_a_driver_whose_gpus_are_out_of_reach_is_not_taken_for_no_gpu() -> None:
    hidden = advised(driver_version=Version("550.54.14"), gpus=())
    none = advised(driver_version=None, gpus=())

    assert hidden.why[:2] == (
        "CPU: no GPU is in reach here",
        "with the GPUs in reach: run torchkit env again",
    )
    assert none.why[0] == "CPU: there is no NVIDIA GPU to use here"


def test_gpus_that_no_zip_serves_together_are_named() -> None:
    both = (Gpu("NVIDIA GeForce GTX 1080", "6.1"), Gpu("NVIDIA GeForce RTX 5090", "12.0"))

    found = advised(driver_version=Version("580.95.05"), gpus=both)

    assert found.zip.version >= Version("2.7")
    assert [text for text in found.why if "no code for NVIDIA GeForce GTX 1080" in text]


@pytest.mark.parametrize("capability", ["3.0", "13.0"])
def test_a_gpu_that_no_build_is_known_to_serve_gets_no_zip(capability: str) -> None:
    found = advised(driver_version=Version("470.57.02"), gpus=(Gpu("GPU", capability),))

    assert found is None


WHOLE: dict[str, Any] = {
    "os_system": "linux",
    "torch_version": Version("2.13.0+cu130"),
    "torch_cuda": Version("13.0"),
    "torch_cxx11_abi": True,
    "torch_archs": ("sm_80",),
    "torch_problems": (),
    "torch_cmake_prefix": "/site/torch/share/cmake",
    "gcc_version": Version("12.2.0"),
    "glibc_version": Version("2.36"),
    "driver_version": Version("580.65.06"),
    "gpus": A100,
    "nvcc_version": Version("13.0.88"),
}


@pytest.mark.parametrize(
    ("lacking", "serves"),
    [
        ({}, True),
        ({"nvcc_version": None}, False),
        ({"nvcc_version": Unknown("not told")}, False),
        ({"nvcc_version": Version("12.6.20")}, False),
        ({"nvcc_version": None, "gpus": ()}, False),
        ({"nvcc_version": None, "gpus": (), "torch_cuda": None}, True),
        ({"gcc_version": Version("9.4.0")}, True),
        ({"gcc_version": Version("9.4.0"), "torch_version": Version("2.14.1+cu130")}, False),
        ({"driver_version": Version("570.26")}, False),
        ({"gpus": (Gpu("NVIDIA GeForce GTX 1080"),)}, False),
    ],
)
def test_the_installed_torch_serves_as_libtorch_where_cmake_would_take_it(
    lacking: dict[str, Any], serves: bool
) -> None:
    """Caffe2's CMake: "uses CUDA but I cannot find the CUDA libraries" without a toolkit."""
    assert installed_torch_is_one(Facts(WHOLE | lacking)) is serves


def test_an_environment_that_uv_made_has_no_pip_of_its_own() -> None:
    facts = Facts(
        {
            "python_executable": "/env/bin/python",
            "python_manager": "uv",
            "python_is_active": False,
        }
    )

    assert fitted(["pip install 'numpy<2'"], facts) == (
        "uv pip install --python /env/bin/python 'numpy<2'",
    )


# --- a libtorch that was given


OLD_ZIP = Libtorch(
    "/opt/libtorch", version="1.10.2+cu113", variant="cu113", cxx11_abi=False, os_system="linux"
)


@pytest.mark.parametrize(
    ("changes", "asked", "end"),
    [
        ({}, {}, "/cu113/libtorch-shared-with-deps-1.10.2%2Bcu113.zip"),
        ({}, {"cxx11": True}, "/cu113/libtorch-cxx11-abi-shared-with-deps-1.10.2%2Bcu113.zip"),
        ({}, {"variant": "cpu"}, "/cpu/libtorch-shared-with-deps-1.10.2%2Bcpu.zip"),
        ({"version": "2.8.0+cpu", "variant": "cpu", "cxx11_abi": True}, {}, "/cpu/libtorch-shared-with-deps-2.8.0%2Bcpu.zip"),
        ({}, {"variant": "cu999"}, None),
        ({"version": "2.8.0+cpu", "variant": "cpu"}, {"cxx11": False}, None),
        ({"version": "2.8.0a0+git1"}, {}, None),
        ({"version": None}, {}, None),
        ({"architecture": "aarch64"}, {}, None),
    ],
)  # fmt: skip
def test_the_address_of_the_same_release(
    changes: dict[str, Any], asked: dict[str, Any], end: str | None
) -> None:
    address = zip_address(OLD_ZIP._replace(**changes), **asked)

    assert address is None if end is None else (address or "").endswith(end)


@pytest.mark.parametrize(("version", "gcc"), [("1.13.1", 5), ("2.2.2", 9), ("2.14.0", 10)])
def test_the_gcc_that_headers_need(version: str, gcc: int) -> None:
    release = torch_release(Version(version))

    assert release is not None
    assert gcc_for_headers(release) == gcc


def test_a_forward_compatibility_library_serves_a_cuda_its_driver_does_not() -> None:
    cuda, driver = Version("12.4"), Version("470.57.02")

    assert driver_serves(cuda, driver, Version("12.4"), windows=False)
    assert not driver_serves(cuda, driver, Version("11.4"), windows=False)


def test_the_libtorch_for_this_machine_is_put_into_a_fix() -> None:
    facts = {"os_system": "linux", "glibc_version": Version("2.36"), "gpus": ()}

    (line,) = fitted([FITTING_LIBTORCH], Facts(facts))
    (on_arm,) = fitted([FITTING_LIBTORCH], Facts(facts | {"cpu_architecture": "aarch64"}))

    assert line.startswith("download instead: https://download.pytorch.org/libtorch/cpu/")
    assert on_arm.startswith("take a torch wheel as the libtorch")
    assert "pip install torch==" in on_arm
