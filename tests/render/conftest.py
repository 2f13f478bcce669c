"""Three reports as users meet them: a machine with faults, one that is well, a model's layers."""

from __future__ import annotations

import pytest

from torchkit.report import (
    WOULD_FAIL_WITH,
    Artifact,
    Evidence,
    Finding,
    Report,
    Table,
    could_not_look,
    does_not_apply,
    fail,
    info,
    ok,
    warn,
)

LIBTORCH = "https://download.pytorch.org/libtorch/cu118/libtorch-shared-with-deps-2.7.1%2Bcu118.zip"


def _machine() -> Table:
    return Table(
        "machine",
        ("area", "value"),
        (
            {"area": "torch", "value": "2.13.0+cpu · C++11 ABI new · Python 3.11.7 (.venv)"},
            {"area": "driver", "value": "470.57.02 · NVIDIA A100 (8.0, 40 GiB)"},
            {
                "area": "build",
                "value": "gcc 12.2.0 · nvcc 13.0.88 (takes gcc up to 15) · cmake 3.25.1",
            },
            {"area": "system", "value": "Debian 12 · glibc 2.36 · container · 8 CPUs, 32 GiB"},
        ),
    )


def make_broken() -> Report:
    findings = [
        Finding("glibc-too-old", "system", ok("glibc 2.36 is new enough")),
        Finding(
            "shm-small",
            "shm",
            warn(
                "/dev/shm holds 64 MiB; one batch of 64 images of [3, 224, 224] needs 74 MiB",
                fix=["docker run --shm-size=1g …      torchkit shm-check says how much"],
                brief="/dev/shm is small",
            ),
        ),
        Finding(
            "extension-broken",
            "packages",
            fail(
                "torchvision 0.29.2 does not fit torch 2.13.0+cpu",
                evidence=[
                    Evidence(
                        WOULD_FAIL_WITH,
                        "libc10_cuda.so: cannot open shared object file: No such file or directory",
                    ),
                    Evidence(
                        "found",
                        "torchvision/_C.so needs libc10_cuda.so and libtorch_cuda.so; this torch is "
                        "a CPU build and has neither",
                        "torchvision/_C.so",
                    ),
                ],
                fix=["pip install torchvision==0.28.0      the release that goes with torch 2.13"],
                brief="torchvision cannot load",
            ),
            "https://pytorch.org/get-started/previous-versions/",
        ),
        Finding(
            "driver-too-old",
            "driver",
            fail(
                "driver 470.57.02 cannot run CUDA 12.4, which needs 525.60.13 or newer",
                evidence=[
                    Evidence(
                        WOULD_FAIL_WITH,
                        "The NVIDIA driver on your system is too old (found version 11040)",
                    ),
                    Evidence("found", "470.57.02", "/proc/driver/nvidia/version"),
                    Evidence("needed", "525.60.13", "CUDA 12.4 release notes"),
                ],
                fix=["update the NVIDIA driver", "install a torch build for CUDA 11.8"],
                brief="the driver is too old for this torch",
            ),
        ),
        Finding(
            "torch-cpu-build",
            "torch",
            info(
                "this torch is a CPU build beside a GPU",
                evidence=[Evidence("GPU", "NVIDIA A100")],
            ),
        ),
        Finding(
            "gpu-unsupported",
            "driver",
            could_not_look("nvidia-smi did not answer within 5 s"),
        ),
        Finding("cuda-toolkit-mismatch", "build", does_not_apply("this torch has no CUDA")),
        Finding("torch-import-fails", "torch", ok("torch imports")),
    ]
    return Report(
        "env",
        findings=tuple(findings),
        tables=(_machine(),),
        artifacts=(
            Artifact(
                "libtorch",
                "libtorch for this machine",
                url=LIBTORCH,
                why=("CUDA 11.8: the newest this driver runs", "new ABI, as gcc 12 builds"),
                commands=(
                    "cmake -S . -B build -DCMAKE_PREFIX_PATH=/opt/libtorch "
                    "-DCMAKE_CXX_FLAGS='-O3 -march=native' -DCMAKE_BUILD_TYPE=Release",
                ),
            ),
        ),
        facts={
            "torch_version": "2.13.0+cpu",
            "torch_cuda": None,
            "driver_version": "470.57.02",
            "driver_cuda": {"unknown": "nvidia-smi did not answer within 5 s"},
            "gpus": [{"name": "NVIDIA A100", "capability": "8.0", "memory_bytes": 42949672960}],
            "nvidia_packages": {"nvidia-cudnn-cu12": "9.10.2.21"},
            "python_executable": "/home/anna/project/.venv/bin/python",
            "torch_cxx11_abi": True,
        },
    )


def make_well() -> Report:
    findings = [Finding(f"check-{n}", "torch", ok("fine")) for n in range(21)]
    findings += [Finding(f"absent-{n}", "gpu", does_not_apply("no GPU")) for n in range(9)]
    return Report("env", findings=tuple(findings), tables=(_machine(),))


def make_model() -> Report:
    rows = [
        ("USNet", "USNet", [20, 2], 123458, "100.0 %"),
        ("├─ stem", "Sequential", [20, 16, 128, 128], 208, "0.2 %"),
        ("│  └─ 0", "Conv2d 1→16 k3 s2", [20, 16, 128, 128], 160, None),
        ("└─ head", "Linear 64→2", [20, 2], 130, "0.1 %"),
    ]
    columns = ("layer", "type", "output", "params", "share")
    return Report(
        "summary",
        headline="USNet · [20, 1, 256, 256] float32 · eval · ran for real on the CPU",
        tables=(
            Table("layers", columns, tuple(dict(zip(columns, row, strict=True)) for row in rows)),
        ),
        totals={"params": 123458, "flops": 9.1e9, "propagation": "real"},
        artifacts=(Artifact("svg", "picture", path="/tmp/out dir/net.svg"),),
    )


@pytest.fixture
def broken() -> Report:
    return make_broken()


@pytest.fixture
def well() -> Report:
    return make_well()


@pytest.fixture
def model() -> Report:
    return make_model()


@pytest.fixture(params=[make_broken, make_well, make_model], ids=["broken", "well", "model"])
def any_report(request: pytest.FixtureRequest) -> Report:
    report: Report = request.param()
    return report
