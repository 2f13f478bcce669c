"""Truth: METADATA of the wheels; nvidia-nccl-cu12 and -cu13 both install nvidia/nccl."""

from __future__ import annotations

from collections.abc import Callable

from torchkit.checks.nvidia_package_mismatch import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

PINS = ("nvidia-cudnn-cu12==9.1.0.70", "nvidia-nccl-cu12==2.21.5", "triton==3.1.0")
AS_PINNED = {"nvidia-cudnn-cu12": "9.1.0.70", "nvidia-nccl-cu12": "2.21.5"}


def judged(installed: dict[str, str], pins: tuple[str, ...] = PINS) -> Verdict:
    return judge(torch_cuda=Version("12.4"), torch_requires=pins, nvidia_packages=installed)


def test_the_pinned_versions_are_fine() -> None:
    assert judged(AS_PINNED).status is Status.OK


def test_another_version_is_a_warning_with_the_pin_as_fix() -> None:
    verdict = judged({**AS_PINNED, "nvidia-cudnn-cu12": "9.1.0.71"})

    assert verdict.status is Status.WARN
    assert verdict.fix == ("pip install --force-reinstall --no-deps 'nvidia-cudnn-cu12==9.1.0.70'",)


def test_a_missing_package_is_a_warning() -> None:
    verdict = judged({"nvidia-cudnn-cu12": "9.1.0.70"})

    assert verdict.status is Status.WARN
    assert "nvidia-nccl-cu12 is not installed" in verdict.message


def test_packages_of_two_majors_in_one_folder_are_taken_apart_in_one_line() -> None:
    verdict = judged({**AS_PINNED, "nvidia-nccl-cu13": "2.28.9"})

    assert verdict.status is Status.WARN
    assert verdict.fix == (
        "pip uninstall -y nvidia-nccl-cu13 && "
        "pip install --force-reinstall --no-deps 'nvidia-nccl-cu12==2.21.5'",
    )


def test_packages_of_two_majors_in_folders_of_their_own_are_fine() -> None:
    assert judged({**AS_PINNED, "nvidia-cublas-cu11": "11.11.3.6"}).status is Status.OK


def test_a_torch_that_pins_none_is_not_judged() -> None:
    verdict = judged(AS_PINNED, pins=("triton==3.1.0",))

    assert verdict.status is Status.SKIP
    assert not verdict.applies


def test_a_pin_that_cannot_be_read_is_passed_over() -> None:
    assert judged(AS_PINNED, pins=("nvidia-cudnn-cu12=?=9",)).status is Status.OK


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    cpu = finding("nvidia-package-mismatch", torch_cuda=None)
    unknown = finding(
        "nvidia-package-mismatch",
        torch_cuda=Version("12.4"),
        torch_requires=PINS,
        nvidia_packages=Unknown("unreadable"),
    )

    assert (cpu.status, cpu.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
