"""Releases of torch: dates and wheels from the index, pairs from METADATA of the wheels."""

from __future__ import annotations

import sys
from datetime import date
from importlib import metadata

import pytest

from torchkit.knowledge.compat import (
    COMPANIONS,
    companion_for,
    companion_releases,
    newest_torch,
    newest_torch_for_python,
    torch_for_companion,
    torch_release,
    torch_releases,
)
from torchkit.versions import Version


def test_releases_stand_oldest_first_by_version() -> None:
    versions = [release.version for release in torch_releases()]

    assert versions == sorted(versions)
    assert str(versions[0]) == "1.0.0"
    assert versions.index(Version("2.9.1")) < versions.index(Version("2.10.0"))
    assert newest_torch().version == versions[-1]


def test_a_release_never_comes_out_before_the_series_below_it_began() -> None:
    first_of_series: dict[str, date] = {}
    for release in torch_releases():
        first_of_series.setdefault(release.version.series, release.released)

    began = list(first_of_series.values())

    assert began == sorted(began)


@pytest.mark.parametrize("text", ["2.6.0", "2.6.0+cu126", "2.6", "2.6.0+nv25.01"])
def test_a_local_tag_does_not_matter(text: str) -> None:
    release = torch_release(Version(text))

    assert release is not None
    assert str(release.version) == "2.6.0"


@pytest.mark.parametrize(
    "text",
    ["2.14.0.dev20260801", "2.6.0a0+gitabc", "2.15.0rc1", "2.6.3", "3.0.0", "0.4.1", "1.8.2"],
)
def test_builds_that_are_no_release_on_the_index_are_not_found(text: str) -> None:
    assert torch_release(Version(text)) is None


@pytest.mark.parametrize(
    ("version", "abi", "standard", "gcc", "glibc"),
    [
        ("1.4.0", False, 11, 5, "2.17"),
        ("1.5.0", False, 14, 5, "2.17"),
        ("2.0.1", False, 14, 5, "2.17"),
        ("2.1.0", False, 17, 5, "2.17"),
        ("2.2.1", False, 17, 5, "2.17"),
        ("2.2.2", False, 17, 9, "2.17"),  # the check rose in a patch release
        ("2.6.0", False, 17, 9, "2.17"),
        ("2.7.0", True, 17, 9, "2.28"),
        ("2.11.0", True, 17, 9, "2.28"),
        ("2.13.0", True, 17, None, "2.28"),
        ("2.14.0", True, 20, None, "2.28"),
    ],
)
def test_abi_standard_compiler_and_glibc_change_where_the_wheels_do(
    version: str, abi: bool, standard: int, gcc: int | None, glibc: str
) -> None:
    release = torch_release(Version(version))

    assert release is not None
    assert release.cxx11_abi_linux_x86_64 is abi
    assert release.cxx_standard_headers == standard
    assert release.min_gcc_header_check == gcc
    assert str(release.glibc_needed) == glibc


def test_the_old_build_image_needs_glibc_2_17_at_most_and_the_new_one_2_28() -> None:
    for release in torch_releases():
        if release.version < Version("2.7"):
            assert Version("2.14") <= release.glibc_needed <= Version("2.17")
        else:
            assert release.glibc_needed == Version("2.28")


def test_only_2_6_mixes_both_abis() -> None:
    mixed = {str(r.version): r.other_abi_variants for r in torch_releases() if r.other_abi_variants}

    assert mixed == {"2.6.0": ("cu126", "rocm6.1", "rocm6.2.4", "xpu")}


def test_the_default_cuda_is_among_the_variants() -> None:
    for release in torch_releases():
        assert f"cu{release.cuda_default.base.replace('.', '')}" in release.cuda_variants


def test_the_executable_stack_is_in_1_10_to_1_12() -> None:
    with_it = [str(r.version) for r in torch_releases() if r.execstack_libtorch_cpu]

    assert with_it == ["1.10.0", "1.10.1", "1.10.2", "1.11.0", "1.12.0", "1.12.1"]


def test_what_is_unsure_about_the_newest_release_is_named() -> None:
    release = torch_release(Version("2.15.0"))

    assert release is not None
    assert (release.confidence, release.weak) == ("low", ("cuda_variants",))


@pytest.mark.parametrize(
    ("python", "newest"),
    [
        ("3.6.9", "1.10.2"),
        ("3.7", "1.13.1"),
        ("3.8.10", "2.4.1"),
        ("3.9", "2.8.0"),
        ("3.10.12", "2.14.1"),
        ("3.15.0", "2.15.0"),
    ],
)
def test_the_newest_torch_for_a_python_is_the_last_with_its_wheel(python: str, newest: str) -> None:
    release = newest_torch_for_python(Version(python))

    assert release is not None
    assert str(release.version) == newest


def test_a_build_without_the_gil_has_its_own_wheels() -> None:
    of_3_13 = newest_torch_for_python(Version("3.13.3"), free_threaded=True)

    assert of_3_13 is not None
    assert str(of_3_13.version) == "2.12.0"
    assert newest_torch_for_python(Version("3.12.1"), free_threaded=True) is None
    assert newest_torch_for_python(Version("3.4")) is None
    assert newest_torch_for_python(Version("3.99")) is None


@pytest.mark.parametrize(
    ("name", "torch", "versions"),
    [
        ("torchvision", "2.13.0+cpu", ("0.28.0",)),
        ("torchvision", "2.5.1", ("0.20.1",)),
        ("torchvision", "1.7.0", ("0.8.0", "0.8.1")),
        ("torchaudio", "2.0.1", ("2.0.2",)),
        ("torchaudio", "2.11.0", ("2.11.0",)),
        ("torchaudio", "2.12.0", ()),  # the last torchaudio is 2.11.0
        ("triton", "2.9.1", ("3.5.1",)),
        ("triton", "2.14.1", ("3.8.*",)),
        ("triton", "1.13.1", ()),
        ("torchvision", "2.13.7", ("0.28.0",)),  # no row: as the series
        ("torchvision", "2.12.9", ("0.27.1",)),
        ("torchvision", "2.99.0", ()),
        ("torchvision", "2.13.0a0+git1234567", ()),
        ("xformers", "2.13.0", ()),
        ("torchcodec", "2.6.0", ("0.2.0", "0.2.1")),
        ("torchcodec", "2.3.1", ()),
    ],
)
def test_companions_go_with_the_torch_their_metadata_asks_for(
    name: str, torch: str, versions: tuple[str, ...]
) -> None:
    assert companion_for(name, Version(torch)) == versions


@pytest.mark.parametrize(
    ("name", "version", "torch"),
    [
        ("torchvision", "0.29.2+cu132", ("2.15.0",)),
        ("torchvision", "0.20.1", ("2.5.1",)),
        ("triton", "3.0.0", ("2.4.0", "2.4.1")),
        ("triton", "3.8.4", ("2.14.0", "2.14.1")),
        ("triton", "3.80.0", ()),
        ("torchcodec", "0.5", ("2.7.0", "2.7.1")),
        (
            "torchcodec",
            "0.13.0+cu130",
            ("2.11.0", "2.12.0", "2.12.1", "2.13.0", "2.14.0", "2.14.1", "2.15.0"),
        ),
        ("torchvision", "0.99.0", ()),
        ("torchvision", "0.28.0a0", ()),
    ],
)
def test_a_companion_leads_back_to_its_torch(
    name: str, version: str, torch: tuple[str, ...]
) -> None:
    assert torch_for_companion(name, Version(version)) == torch


def test_every_companion_leads_back() -> None:
    for name in COMPANIONS:
        for torch, versions in companion_releases(name).items():
            for version in versions:
                asked = Version(version.replace("*", "0"))
                assert torch in torch_for_companion(name, asked)


@pytest.mark.torch
def test_the_row_of_the_installed_torch_agrees_with_its_metadata() -> None:
    try:
        installed = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        pytest.skip("no torch is installed")
    release = torch_release(Version(installed.version))
    if release is None:
        pytest.skip(f"torch {installed.version} is no release")

    requires_python = installed.metadata["Requires-Python"]

    oldest = min(release.python, key=Version)
    assert Version(requires_python.removeprefix(">=")).series == oldest
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in release.python
