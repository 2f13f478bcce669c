"""Truth: program headers of the wheels (1.10.0 to 1.12.1), glibc 2.41's release notes, ld.so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.torch_import_fails import judge
from torchkit.machine.facts import Library, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

GONE = "libtorch_cpu.so: cannot open shared object file: No such file or directory"


def judged(*problems: str, torch: str = "2.13.0+cpu", **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "torch_version": Version(torch),
        "torch_problems": problems,
        "torch_path": "/env/torch",
        "glibc_version": Version("2.36"),
        "os_system": "linux",
        "cpu_architecture": "x86_64",
        "shadowed_libraries": (),
        "torch_requires": (),
        "nvidia_packages": {},
    }
    return judge(**(facts | changes))


def test_a_missing_library_fails_in_the_loaders_words() -> None:
    verdict = judged(GONE)

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == GONE
    assert verdict.fix == (
        "pip install --force-reinstall torch==2.13.0 "
        "--index-url https://download.pytorch.org/whl/cpu",
    )


def test_no_problem_is_fine() -> None:
    assert judged().status is Status.OK


@pytest.mark.parametrize(
    ("torch", "glibc", "status"),
    [
        ("1.12.1", "2.41", Status.FAIL),
        ("1.12.1", "2.40", Status.OK),
        ("1.13.0", "2.41", Status.OK),
        ("1.10.0", "2.41", Status.FAIL),
        ("1.9.1", "2.41", Status.OK),
    ],
)
def test_an_executable_stack_is_refused_from_glibc_2_41_on(
    torch: str, glibc: str, status: Status
) -> None:
    assert judged(torch=torch, glibc_version=Version(glibc)).status is status


def test_only_the_x86_64_wheels_have_an_executable_stack() -> None:
    facts = {"torch": "1.12.1", "glibc_version": Version("2.41")}

    assert judged(**facts, cpu_architecture="aarch64").status is Status.OK


@pytest.mark.parametrize(
    ("text", "judge_of_it"),
    [
        ("/lib64/libc.so.6: version `GLIBC_2.28' not found (required by x.so)", "glibc-too-old"),
        ("/lib64/libstdc++.so.6: version `GLIBCXX_3.4.22' not found", "libstdcxx-too-old"),
        ("/lib64/libstdc++.so.6: version `CXXABI_1.3.11' not found", "libstdcxx-too-old"),
    ],
)
def test_what_another_check_explains_is_left_to_it_and_not_called_fine(
    text: str, judge_of_it: str
) -> None:
    verdict = judged(text)

    assert verdict.status is Status.SKIP
    assert judge_of_it in verdict.message


def test_a_symbol_that_a_shadowing_library_lacks_is_not_cured_by_reinstalling_torch() -> None:
    text = (
        "libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12"
    )
    shadowing = Library(
        "libnvJitLink.so.12",
        "/usr/local/cuda/lib64/libnvJitLink.so.12",
        "LD_LIBRARY_PATH",
        "/env/nvidia/nvjitlink/lib/libnvJitLink.so.12",
        missing="__nvJitLinkComplete_12_4",
    )

    assert judged(text, shadowed_libraries=(shadowing,)).status is Status.SKIP
    assert judged(text).status is Status.FAIL
    assert judged(text, GONE, shadowed_libraries=(shadowing,)).evidence[0].value == GONE


def test_a_torch_from_elsewhere_is_not_replaced_by_an_official_one() -> None:
    verdict = judged(GONE, torch="2.5.0a0+872d972e41.nv24.08")

    assert "pip install" not in verdict.fix[0]


def test_a_version_that_cannot_be_read_is_no_proof_of_a_broken_torch() -> None:
    verdict = judged(torch_version=Unknown("torch calls itself 'mine', which is no version"))

    assert verdict.status is Status.SKIP
    assert verdict.applies


def test_states_of_the_problems(finding: Callable[..., Finding]) -> None:
    facts = {"torch_version": Version("2.13.0"), "torch_path": "/env/torch"}

    none = finding("torch-import-fails", torch_problems=None, **facts)
    unknown = finding("torch-import-fails", torch_problems=Unknown("unreadable"), **facts)

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)


def test_files_that_may_not_be_read_are_cured_by_permissions_not_by_reinstalling() -> None:
    verdict = judged("PermissionError: [Errno 13] Permission denied: '/env/torch/version.py'")

    assert verdict.fix == ("chmod -R a+rX /env/torch",)


def test_a_missing_nvidia_package_is_installed_alone() -> None:
    verdict = judged(
        "libnccl.so.2: cannot open shared object file: No such file or directory",
        torch_requires=("nvidia-cudnn-cu13==9.24.0.43", "nvidia-nccl-cu13==2.30.7"),
        nvidia_packages={"nvidia-cudnn-cu13": "9.24.0.43"},
    )

    assert "nvidia-nccl-cu13==2.30.7, which is not installed" in verdict.message
    assert verdict.fix[0] == "pip install 'nvidia-nccl-cu13==2.30.7'"


def test_a_missing_requirement_is_installed_alone() -> None:
    verdict = judged("ModuleNotFoundError: No module named 'typing_extensions'")

    assert "needs typing-extensions, which is not installed" in verdict.message
    assert verdict.fix == ("pip install typing-extensions",)


def test_a_module_of_torchs_own_wheel_is_not_installed_alone() -> None:
    verdict = judged("ModuleNotFoundError: No module named 'torchgen'")

    assert "is not whole" in verdict.message
    assert verdict.fix[0].startswith("pip install --force-reinstall torch==")
