"""README, --help, check pages and ids are in step."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from torchkit import checks
from torchkit.machine.facts import GLOSSARY

ROOT = Path(__file__).resolve().parent.parent

CONTRACT_IDS = [
    "torch-missing",
    "torch-import-fails",
    "torch-shadowed",
    "torch-cpu-build",
    "python-unsupported",
    "driver-missing",
    "driver-too-old",
    "driver-mismatch",
    "gpu-unsupported",
    "cuda-toolkit-mismatch",
    "host-compiler-too-new",
    "host-compiler-too-old",
    "glibc-too-old",
    "libstdcxx-too-old",
    "library-shadowed",
    "nvidia-package-mismatch",
    "companion-mismatch",
    "numpy-mismatch",
    "setuptools-mismatch",
    "shm-small",
    "requirement-unmet",
]

CONTRACT_FACTS = [
    "os_name",
    "glibc_version",
    "libstdcxx_glibcxx",
    "python_version",
    "python_executable",
    "is_container",
    "is_wsl",
    "torch_version",
    "torch_path",
    "torch_cuda",
    "torch_cxx11_abi",
    "torch_archs",
    "torch_glibc_needed",
    "torch_cmake_prefix",
    "driver_version",
    "driver_cuda",
    "gpus",
    "cuda_home",
    "nvcc_version",
    "gcc_version",
    "clang_version",
    "cmake_version",
    "shm_total_bytes",
    "shm_free_bytes",
    "memory_limit_bytes",
    "cpu_limit",
]


@pytest.mark.parametrize("check_id", CONTRACT_IDS)
def test_every_promised_check_exists(check_id: str) -> None:
    assert checks.load(check_id).id == check_id


@pytest.mark.parametrize("fact", CONTRACT_FACTS)
def test_every_promised_fact_exists(fact: str) -> None:
    assert fact in GLOSSARY


@pytest.mark.parametrize("check_id", checks.check_ids())
def test_a_check_has_a_test_and_a_page(check_id: str) -> None:
    name = check_id.replace("-", "_")

    assert (ROOT / "tests" / "checks" / f"test_{name}.py").exists()
    assert (ROOT / "docs" / "checks" / f"{check_id}.md").exists()


@pytest.mark.parametrize("check_id", checks.check_ids())
def test_a_checks_page_has_its_four_sections(check_id: str) -> None:
    headings = re.findall(r"(?m)^## (.+)$", checks.load(check_id).page)

    assert headings == ["What it looks at", "Why it matters", "What to do", "References"]


def test_the_list_of_commands_is_not_cut_short() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torchkit", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"COLUMNS": "80", "PATH": ""},
    )

    listed = done.stdout.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


def test_no_file_of_ours_names_a_registry_or_a_path_of_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    hosts = re.compile("|".join(("pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npm")))
    paths = re.compile("|".join(("/root" + "/", "/tmp" + "/dev")))

    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix in (".png", ".so") or not path.is_file():
            continue
        found += [
            f"{name}: {line.strip()[:80]}"
            for line in path.read_text("utf-8", "replace").splitlines()
            if hosts.search(line) or (not name.startswith("tests/") and paths.search(line))
        ]

    assert found == []
