"""GPU code against NVIDIA's own assembler, torch's own rule, and names that nvidia-smi prints."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from torchkit.knowledge.compat import (
    architectures,
    doubtfully_served_by,
    gpu_capability,
    is_data_center_gpu,
    served_by,
    serves,
)
from torchkit.versions import Version


@pytest.mark.parametrize(
    ("torch", "cuda", "archs", "confidence"),
    [
        ("1.0.1", "9.0", "sm_35 sm_50 sm_60 sm_70 compute_50", "medium"),
        ("1.13.1", "11.7", "sm_37 sm_50 sm_60 sm_70 sm_75 sm_80 sm_86", "high"),
        ("2.5.1+cu124", "12.4", "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90", "high"),
        ("2.7.1+cu128", "12.8", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120", "low"),
        ("2.8.0", "12.8", "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "high"),
        ("2.11.0", "12.8", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "medium"),
        ("2.14.1+cu130", "13.0", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "high"),
        ("2.15.0", "13.2", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "high"),
        ("2.15.0", "13.0", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "low"),
    ],
)
def test_builds_carry_the_code_that_was_read_in_them(
    torch: str, cuda: str, archs: str, confidence: str
) -> None:
    found = architectures(Version(torch), Version(cuda))

    assert found is not None
    assert found.archs == tuple(archs.split())
    assert found.confidence == confidence
    assert found.source


@pytest.mark.parametrize(
    ("torch", "cuda", "architecture"),
    [
        ("2.15.0", "12.6", "x86_64"),  # dropped with 2.15
        ("2.8.0", "13.0", "x86_64"),
        ("2.14.0.dev20260801", "13.0", "x86_64"),
        ("3.0.0", "13.0", "x86_64"),
        ("2.10.0", "12.8", "aarch64"),  # CPU only on the default index
        ("2.15.0", "13.2", "ppc64le"),
    ],
)
def test_nothing_is_said_about_builds_we_do_not_know(
    torch: str, cuda: str, architecture: str
) -> None:
    assert architectures(Version(torch), Version(cuda), architecture=architecture) is None


def test_aarch64_builds_have_a_list_of_their_own() -> None:
    found = architectures(Version("2.11.0"), Version("13.0"), architecture="aarch64")

    assert found is not None
    assert found.archs == ("sm_80", "sm_90", "sm_100", "sm_110", "sm_120")


@pytest.mark.parametrize(
    ("arch", "capability", "runs"),
    [
        ("sm_86", "8.6", True),
        ("sm_86", "8.9", True),
        ("sm_86", "8.0", False),
        ("sm_86", "9.0", False),
        ("sm_60", "6.1", True),
        ("sm_70", "7.5", True),
        ("sm_75", "7.0", False),
        ("sm_90", "10.0", False),
        ("sm_100", "10.3", True),
        ("sm_120", "12.1", True),
        ("sm_120", "12.0", True),
        ("sm_90a", "9.0", True),
        ("sm_100a", "10.3", False),
        ("sm_100f", "10.3", True),
        ("sm_103f", "10.0", False),
        ("sm_100f", "12.0", False),
        ("sm_120f", "12.1", True),
        ("compute_50", "6.1", True),
        ("compute_50", "12.0", True),
        ("compute_90", "8.9", False),
        ("compute_90a", "10.0", False),
        ("sm_37+PTX", "8.0", True),
        ("sm_37+PTX", "3.5", False),
        ("8.6", "8.9", True),
        ("8.6", "9.0", False),
        ("8.6+PTX", "9.0", True),
        ("9.0a", "9.0", True),
        ("10.0f", "10.3", True),
        ("12.0", "12.1", True),
    ],
)
def test_a_cubin_stays_in_its_major_and_ptx_goes_up(arch: str, capability: str, runs: bool) -> None:
    assert serves(arch, capability) is runs


@pytest.mark.parametrize(
    "arch",
    ["gfx90a", "", "sm_", "sm_8", "86", "8.6+ptx", "8.6+", "sm_90b", "Ampere", "sm_86 sm_90"],
)
def test_what_is_no_architecture_serves_nothing(arch: str) -> None:
    assert not any(serves(arch, capability) for capability in ("8.0", "8.6", "9.0", "12.0"))


@pytest.mark.parametrize("capability", ["", "8", "sm_86", "8.6.1", "N/A", "-8.6"])
def test_what_is_no_capability_is_not_served(capability: str) -> None:
    assert not serves("compute_50", capability)
    assert served_by(["sm_86", "compute_50"], capability) is None


# DEVICE_REQUIREMENT in torch/cuda/__init__.py of 2.14.1
@pytest.mark.parametrize(
    ("arch", "capability", "before_13_2", "from_13_2"),
    [
        ("sm_87", "8.7", True, True),
        ("sm_80", "8.7", False, True),
        ("sm_86", "8.7", False, True),
        ("sm_87", "8.9", False, False),
        ("sm_70", "7.2", False, True),
        ("sm_72", "7.5", False, False),
        ("sm_101", "11.0", True, True),
        ("sm_110", "10.1", True, True),
        ("sm_100", "11.0", False, False),
        ("compute_80", "8.7", True, True),
    ],
)
def test_jetson_modules_run_desktop_code_from_cuda_13_2_on(
    arch: str, capability: str, before_13_2: bool, from_13_2: bool
) -> None:
    assert serves(arch, capability) is before_13_2
    assert serves(arch, capability, cuda=Version("13.0")) is before_13_2
    assert serves(arch, capability, cuda=Version("13.2")) is from_13_2


def test_a_doubt_about_a_jetson_module_is_told_apart_from_a_no() -> None:
    archs = ["sm_80", "sm_90", "sm_100", "sm_110", "sm_120"]

    assert doubtfully_served_by(archs, "8.7") == "sm_80"
    assert doubtfully_served_by(archs, "8.7", cuda=Version("13.2")) is None
    assert doubtfully_served_by([*archs, "compute_80"], "8.7") is None
    assert doubtfully_served_by(["sm_90"], "8.7") is None
    assert doubtfully_served_by(["sm_86"], "8.0") is None
    assert doubtfully_served_by(archs, "12.0") is None


@pytest.mark.parametrize(
    ("archs", "capability", "used"),
    [
        ("sm_50 sm_80 sm_86 sm_90", "8.9", "sm_86"),
        ("compute_120 sm_100 sm_120", "12.0", "sm_120"),
        ("sm_90 compute_90", "12.0", "compute_90"),
        ("compute_50 compute_80 sm_70", "9.0", "compute_80"),
        ("8.0 8.6+PTX", "8.9", "8.6+PTX"),
        ("8.0 7.0+PTX", "8.9", "8.0"),
        ("sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90", "12.0", None),
        ("", "8.0", None),
    ],
)
def test_a_cubin_is_taken_before_ptx_and_the_nearest_before_others(
    archs: str, capability: str, used: str | None
) -> None:
    assert served_by(archs.split(), capability) == used


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="needs NVIDIA's ptxas")
@pytest.mark.parametrize("target", ["80", "90a", "100", "100f", "103f", "120f"])
def test_ptx_goes_where_nvidias_assembler_takes_it(target: str, tmp_path: Path) -> None:
    ptx = tmp_path / "empty.ptx"
    ptx.write_text(f".version 9.0\n.target sm_{target}\n.address_size 64\n.entry k() {{ ret; }}\n")
    gpus = ("80", "89", "90", "100", "103", "120", "121")
    names = {number: number + ("a" if target.endswith("a") else "") for number in gpus}
    known = subprocess.run(["ptxas", "--help"], capture_output=True, text=True, check=True).stdout
    if f"'sm_{target}'" not in known:
        pytest.skip(f"this ptxas does not know sm_{target}")

    for number, name in names.items():
        if f"'sm_{name}'" in known:
            taken = subprocess.run(
                ["ptxas", f"--gpu-name=sm_{name}", str(ptx), "-o", str(tmp_path / "out")],
                capture_output=True,
                check=False,
            )
            capability = f"{number[:-1]}.{number[-1]}"
            assert serves(f"compute_{target}", capability) is (taken.returncode == 0), capability


@pytest.mark.parametrize(
    ("name", "capability", "data_center"),
    [
        ("NVIDIA GeForce RTX 3090", "8.6", False),
        ("NVIDIA GeForce RTX 3080 Ti Laptop GPU", "8.6", False),
        ("NVIDIA GeForce RTX 2050", "8.6", False),
        ("NVIDIA GeForce RTX 2080 SUPER", "7.5", False),
        ("NVIDIA GeForce GTX 1650 with Max-Q Design", "7.5", False),
        ("GeForce GTX 1080 Ti", "6.1", False),
        ("NVIDIA GeForce GTX 1060 3GB", "6.1", False),
        ("NVIDIA TITAN X (Pascal)", "6.1", False),
        ("NVIDIA GeForce GTX TITAN X", "5.2", False),
        ("NVIDIA TITAN Xp", "6.1", False),
        ("NVIDIA TITAN RTX", "7.5", False),
        ("NVIDIA GeForce RTX 4090 D", "8.9", False),
        ("NVIDIA GeForce RTX 5090", "12.0", False),
        ("Quadro RTX 6000", "7.5", False),
        ("NVIDIA RTX A6000", "8.6", False),
        ("NVIDIA RTX 6000 Ada Generation", "8.9", False),
        ("NVIDIA RTX 4000 SFF Ada Generation", "8.9", False),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "12.0", False),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "12.0", False),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0", False),
        ("NVIDIA T400 4GB", "7.5", False),
        ("Quadro P5000 with Max-Q Design", "6.1", False),
        ("Tesla K80", "3.7", True),
        ("Tesla P100-PCIE-16GB", "6.0", True),
        ("Tesla V100-SXM2-16GB", "7.0", True),
        ("Tesla T4", "7.5", True),
        ("NVIDIA A100-SXM4-40GB", "8.0", True),
        ("A100-SXM4-80GB", "8.0", True),
        ("NVIDIA A100 80GB PCIe", "8.0", True),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "8.0", True),
        ("NVIDIA A10G", "8.6", True),
        ("NVIDIA L4", "8.9", True),
        ("NVIDIA L40S", "8.9", True),
        ("NVIDIA H100 80GB HBM3", "9.0", True),
        ("NVIDIA H100 NVL", "9.0", True),
        ("NVIDIA GH200 480GB", "9.0", True),
        ("NVIDIA B200", "10.0", True),
        ("NVIDIA GB10", "12.1", False),
        ("Orin", "8.7", False),
        ("Orin (nvgpu)", "8.7", False),
        ("NVIDIA Thor", "11.0", False),
    ],
)
def test_a_gpu_is_known_by_its_name(name: str, capability: str, data_center: bool) -> None:
    assert gpu_capability(name) == capability
    assert is_data_center_gpu(name) is data_center


@pytest.mark.parametrize(
    "name",
    [
        "",
        "NVIDIA",
        "NVIDIA Graphics Device",
        "NVIDIA GeForce GTX 860M",  # two chips, 3.0 and 5.0
        "NVIDIA GeForce GT 730",  # two chips, 2.1 and 3.5
        "NVIDIA TITAN X",
        "GRID T4-16Q",
        "NVIDIA GeForce RTX 3050 A Laptop GPU",
        "NVIDIA GeForce RTX 6090",
        "NVIDIA RTX 6000",
        "AMD Instinct MI250X",
        "llvmpipe",
        "H100 A100",
    ],
)
def test_a_name_that_is_not_sure_says_nothing(name: str) -> None:
    assert gpu_capability(name) is None
    assert is_data_center_gpu(name) is False
