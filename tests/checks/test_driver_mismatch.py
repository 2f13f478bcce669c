"""Truth: NVIDIA's forward-compatibility page (data-centre GPUs only), CUDA errors 803 and 804."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.driver_mismatch import judge
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

GEFORCE = (Gpu("NVIDIA GeForce RTX 3090", "8.6"),)
DATA_CENTRE = (Gpu("NVIDIA A100-SXM4-80GB", "8.0"),)


def judged(kernel: str, library: str | None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "driver_library_version": None if library is None else Version(library),
        "driver_cuda": None,
        "driver_error": None,
        "gpus": DATA_CENTRE,
        "is_wsl": False,
        "is_container": False,
        "os_system": "linux",
        "jetson_model": None,
    }
    return judge(driver_version=Version(kernel), **(facts | changes))


def error_of(verdict: Verdict) -> str:
    return next(it.value for it in verdict.evidence if it.name == "would fail with")


def test_equal_versions_are_fine_however_their_zeros_are_written() -> None:
    assert judged("470.57.02", "470.57.2").status is Status.OK


def test_one_step_older_than_the_kernel_fails_with_error_803() -> None:
    verdict = judged("550.54.15", "550.54.14")

    assert verdict.status is Status.FAIL
    assert "803" in error_of(verdict)


def test_a_newer_library_on_a_data_centre_gpu_is_forward_compatibility() -> None:
    assert judged("470.223.02", "550.54.15").status is Status.INFO


def test_a_newer_library_on_a_geforce_fails_with_error_804() -> None:
    verdict = judged("470.223.02", "550.54.15", gpus=GEFORCE, is_container=True)

    assert verdict.status is Status.FAIL
    assert "804" in error_of(verdict)
    assert "on the host: update the NVIDIA driver to 550.54.15 or newer" in verdict.fix


def test_nvml_naming_the_mismatch_means_an_upgrade_without_a_reboot() -> None:
    verdict = judged(
        "535.183.01",
        "550.163.01",
        driver_error="Failed to initialize NVML: Driver/library version mismatch",
        gpus=Unknown("mismatch"),
    )

    assert verdict.status is Status.FAIL
    assert "803" in error_of(verdict)
    assert verdict.fix[0].startswith("reboot")


@pytest.mark.parametrize(
    ("said", "status"), [("cuInit says 803", Status.FAIL), ("cuInit says 18036", Status.OK)]
)
def test_error_803_is_a_number_of_its_own(said: str, status: Status) -> None:
    assert judged("550.54.15", "550.54.15", driver_error=said).status is status


def test_in_a_container_the_stray_library_goes_first() -> None:
    verdict = judged("550.54.15", "535.183.01", is_container=True)

    assert "libcuda" in verdict.fix[0]


def test_a_libcuda_of_a_newer_major_is_seen_without_a_version_in_its_name() -> None:
    unnamed = {"driver_library_version": Unknown("no version in its name")}

    newer = judged("470.57.02", None, driver_cuda=Version("12.4"), gpus=GEFORCE, **unnamed)
    same = judged("470.57.02", None, driver_cuda=Version("11.4"), gpus=GEFORCE, **unnamed)

    assert newer.status is Status.FAIL
    assert same.status is Status.OK


def test_wsl_has_no_kernel_driver_to_compare_with() -> None:
    verdict = judged("581.29", "535.183.01", is_wsl=True)

    assert verdict.status is Status.SKIP
    assert not verdict.applies


def test_states_of_the_driver(finding: Callable[..., Finding]) -> None:
    none = finding("driver-mismatch", driver_version=None)
    unknown = finding("driver-mismatch", driver_version=Unknown("it hung"))
    alone = finding("driver-mismatch", driver_version=Version("550.54.15"))

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.OK


def test_a_driver_newer_than_the_table_is_not_called_old() -> None:
    verdict = judged("650.10", "650.10", driver_cuda=Version("14.0"), gpus=GEFORCE)
    unnamed = judged("650.10", None, driver_cuda=Version("14.0"), gpus=GEFORCE)

    assert verdict.status is Status.OK
    assert unnamed.status is Status.OK


def test_a_beta_of_the_same_branch_is_no_forward_compatibility() -> None:
    assert judged("525.53", None, driver_cuda=Version("12.0"), gpus=GEFORCE).status is Status.OK
    assert judged("450.36.06", None, driver_cuda=Version("11.0")).status is Status.OK


def test_a_libcuda_older_than_the_driver_does_not_fit() -> None:
    assert judged("570.86.10", None, driver_cuda=Version("12.2")).status is Status.FAIL
    assert judged("570.86.10", None, driver_cuda=Version("12.8")).status is Status.OK


def test_windows_brings_driver_and_libraries_together() -> None:
    verdict = judged("551.61", None, driver_cuda=Version("12.2"), os_system="windows")

    assert verdict.status is Status.SKIP
