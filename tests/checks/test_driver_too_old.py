"""Truth: NVIDIA's minor-version compatibility page: 13.x runs on 580, 12.x on 525, 11.x on 450."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.driver_too_old import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(driver: str, cuda: str, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "driver_cuda": None,
        "driver_source": "/sys/module/nvidia/version",
        "is_wsl": False,
        "is_container": False,
        "os_system": "linux",
        "jetson_model": None,
        "gpus": (),
    }
    return judge(driver_version=Version(driver), torch_cuda=Version(cuda), **(facts | changes))


def said(verdict: Verdict, name: str) -> str:
    return next(it.value for it in verdict.evidence if it.name == name)


def test_a_driver_of_an_older_major_fails_with_found_and_needed_in_the_message() -> None:
    verdict = judged("470.57.02", "12.4", driver_cuda=Version("11.4"))

    assert verdict.status is Status.FAIL
    assert "470.57.02" in verdict.message
    assert "525.60.13" in verdict.message
    assert said(verdict, "needed") == "driver 525.60.13 or newer for CUDA 12.4"


def test_the_quoted_error_has_the_number_that_torch_prints() -> None:
    verdict = judged("470.57.02", "12.4", driver_cuda=Version("11.4"))

    assert said(verdict, "would fail with").endswith("too old (found version 11040)")


@pytest.mark.parametrize(
    ("driver", "cuda", "is_enough"),
    [
        ("525.60.13", "12.9", True),
        ("525.60.12", "12.0", False),
        ("450.80.02", "11.8", True),
        ("450.80.01", "11.8", False),
        ("580.65.06", "13.2", True),
        ("580.65.05", "13.0", False),
        ("575.57.08", "13.0", False),
        ("440.33", "10.2", True),
        ("440.32", "10.2", False),
    ],
)
def test_the_exact_edge_of_each_major(driver: str, cuda: str, is_enough: bool) -> None:
    verdict = judged(driver, cuda)

    assert (verdict.status is not Status.FAIL) is is_enough


def test_a_newer_minor_of_the_same_major_is_information_only() -> None:
    verdict = judged("535.183.06", "12.6", driver_cuda=Version("12.2"))

    assert verdict.status is Status.INFO
    assert "560.28.03" in verdict.message


def test_the_toolkits_own_driver_is_the_edge_of_that_information() -> None:
    assert judged("560.28.03", "12.6").status is Status.OK
    assert judged("560.28.02", "12.6").status is Status.INFO
    assert judged("535.183.06", "12.6", driver_cuda=Version("12.6")).status is Status.OK
    assert judged("535.183.06", "12.6", driver_cuda=Version("12.5")).status is Status.INFO


def test_a_newer_driver_runs_every_older_major() -> None:
    assert judged("610.43.02", "11.8", driver_cuda=Version("13.3")).status is Status.OK


def test_a_minor_that_no_table_knows_is_judged_by_its_major() -> None:
    assert judged("580.65.06", "13.9").status is not Status.FAIL
    assert judged("570.26", "13.9").status is Status.FAIL


def test_a_forward_compatibility_library_makes_an_old_driver_enough() -> None:
    verdict = judged("470.223.02", "12.4", driver_cuda=Version("12.4"))

    assert verdict.status is Status.OK
    assert "forward-compatibility" in verdict.message


def test_under_wsl_the_windows_driver_counts() -> None:
    assert judged("527.41", "12.4", is_wsl=True).status is not Status.FAIL
    assert judged("516.94", "12.4", is_wsl=True).status is Status.FAIL
    assert judged("525.60.13", "12.4", is_wsl=False).status is not Status.FAIL


def test_on_windows_cuda_13_is_judged_by_what_the_driver_says_it_runs() -> None:
    old = judged("560.94", "13.0", os_system="windows", driver_cuda=Version("12.6"))
    new = judged("581.29", "13.0", os_system="windows", driver_cuda=Version("13.0"))
    silent = judged("581.29", "13.0", os_system="windows")

    assert old.status is Status.FAIL
    assert "12.6" in old.message
    assert said(old, "needed") == "a driver that runs CUDA 13.0 or newer"
    assert "None" not in str(old)
    assert new.status is Status.OK
    assert silent.status is Status.SKIP
    assert silent.applies


def test_the_driver_is_updated_where_it_is_installed() -> None:
    plain = judged("470.57.02", "12.4")
    container = judged("470.57.02", "12.4", is_container=True)
    wsl = judged("516.94", "12.4", is_wsl=True)

    assert plain.fix[0] == "update the NVIDIA driver to 525.60.13 or newer"
    assert container.fix[0].startswith("on the host: ")
    assert wsl.fix[0].startswith("on Windows, not in WSL: ")


def test_a_jetson_is_not_judged_by_numbers_of_other_drivers() -> None:
    verdict = judged("540.4.0", "12.6", jetson_model="NVIDIA Jetson AGX Orin")

    assert verdict.status is Status.SKIP
    assert not verdict.applies


def test_no_driver_no_cuda_and_no_answer_are_kept_apart(finding: Callable[..., Finding]) -> None:
    no_driver = finding("driver-too-old", driver_version=None, torch_cuda=Version("12.4"))
    no_cuda = finding("driver-too-old", driver_version=Version("470.57.02"), torch_cuda=None)
    no_answer = finding(
        "driver-too-old", driver_version=Unknown("it hung"), torch_cuda=Version("12.4")
    )

    assert (no_driver.status, no_driver.verdict.applies) == (Status.SKIP, False)
    assert (no_cuda.status, no_cuda.verdict.applies) == (Status.SKIP, False)
    assert (no_answer.status, no_answer.verdict.applies) == (Status.SKIP, True)
    assert "it hung" in no_answer.verdict.message


def test_with_the_two_needed_facts_alone_it_still_judges(finding: Callable[..., Finding]) -> None:
    found = finding(
        "driver-too-old", driver_version=Version("470.57.02"), torch_cuda=Version("12.4")
    )

    assert found.status is Status.FAIL
    assert found.verdict.fix[1].startswith("pip install torch==")


@pytest.mark.parametrize(
    ("driver", "runs", "cuda", "status"),
    [
        ("418.39", "10.1", "10.2", Status.FAIL),
        ("410.48", "10.0", "10.1", Status.FAIL),
        ("450.51.06", "11.0", "11.8", Status.FAIL),
        ("450.80.01", "11.0", "11.8", Status.FAIL),
        ("450.80.02", "11.0", "11.8", Status.INFO),
        ("525.60.12", "12.0", "12.8", Status.FAIL),
        ("525.60.13", "12.0", "12.8", Status.INFO),
        ("470.57.02", "12.4", "12.6", Status.OK),  # a compatibility library of a later branch
        ("525.53", "12.0", "12.0", Status.OK),  # what the driver says of itself
    ],
)
def test_the_drivers_own_libcuda_does_not_lift_its_floor(
    driver: str, runs: str, cuda: str, status: Status
) -> None:
    assert judged(driver, cuda, driver_cuda=Version(runs)).status is status


def test_the_update_it_names_knows_the_gpu_too() -> None:
    verdict = judged("470.57.02", "12.4", gpus=(Gpu("NVIDIA GeForce RTX 5090", "12.0"),))

    assert verdict.fix[0] == "update the NVIDIA driver to 570.26 or newer"
