"""Addresses as the official page had them (published_versions.json) and as users wrote them down."""

from __future__ import annotations

import pytest

from torchkit.knowledge.compat import LibtorchZip, libtorch_variants, libtorch_zip
from torchkit.versions import Version

HOST = "https://download.pytorch.org/libtorch"


def linux(version: str, variant: str, *, cxx11: bool = True) -> LibtorchZip | None:
    return libtorch_zip(Version(version), variant, os="linux", architecture="x86_64", cxx11=cxx11)


@pytest.mark.parametrize(
    ("version", "variant", "cxx11", "path"),
    [
        # the official page of that time
        ("1.9.1", "cpu", False, "cpu/libtorch-shared-with-deps-1.9.1%2Bcpu.zip"),
        ("1.9.1", "cu102", True, "cu102/libtorch-cxx11-abi-shared-with-deps-1.9.1%2Bcu102.zip"),
        ("1.10.0", "cu113", False, "cu113/libtorch-shared-with-deps-1.10.0%2Bcu113.zip"),
        ("1.11.0", "cu113", True, "cu113/libtorch-cxx11-abi-shared-with-deps-1.11.0%2Bcu113.zip"),
        # the default CUDA of old releases has no suffix
        ("1.4.0", "cu101", False, "cu101/libtorch-shared-with-deps-1.4.0.zip"),
        ("1.4.0", "cpu", True, "cpu/libtorch-cxx11-abi-shared-with-deps-1.4.0%2Bcpu.zip"),
        ("1.4.0", "cu92", False, "cu92/libtorch-shared-with-deps-1.4.0%2Bcu92.zip"),
        ("1.5.1", "cu102", False, "cu102/libtorch-shared-with-deps-1.5.1.zip"),
        ("1.7.1", "cu102", False, "cu102/libtorch-shared-with-deps-1.7.1.zip"),
        ("1.7.1", "cu102", True, "cu102/libtorch-cxx11-abi-shared-with-deps-1.7.1.zip"),
        ("1.7.1", "cu110", True, "cu110/libtorch-cxx11-abi-shared-with-deps-1.7.1%2Bcu110.zip"),
        ("1.8.1", "cu102", False, "cu102/libtorch-shared-with-deps-1.8.1%2Bcu102.zip"),
        ("1.2.0", "cu100", False, "cu100/libtorch-shared-with-deps-1.2.0.zip"),
        # ROCm
        ("2.6.0", "rocm6.2.4", True,
         "rocm6.2.4/libtorch-cxx11-abi-shared-with-deps-2.6.0%2Brocm6.2.4.zip"),
        # the name changes with 2.8
        ("2.7.1", "cu118", True, "cu118/libtorch-cxx11-abi-shared-with-deps-2.7.1%2Bcu118.zip"),
        ("2.8.0", "cu128", True, "cu128/libtorch-shared-with-deps-2.8.0%2Bcu128.zip"),
        ("2.9.1", "cu126", True, "cu126/libtorch-shared-with-deps-2.9.1%2Bcu126.zip"),
        ("2.14.0", "cu132", True, "cu132/libtorch-shared-with-deps-2.14.0%2Bcu132.zip"),
    ],
)  # fmt: skip
def test_linux_zips_stand_where_they_were_published(
    version: str, variant: str, cxx11: bool, path: str
) -> None:
    zip_ = linux(version, variant, cxx11=cxx11)

    assert zip_ is not None
    assert zip_.url == f"{HOST}/{path}"
    assert zip_.abi == ("cxx11" if cxx11 else "pre-cxx11")


def test_one_file_name_means_opposite_abis_before_and_after_2_8() -> None:
    old, new = linux("2.6.0", "cpu", cxx11=False), linux("2.8.0", "cpu")

    assert old is not None
    assert new is not None
    assert old.url.replace("2.6.0", "2.8.0") == new.url
    assert (old.abi, new.abi) == ("pre-cxx11", "cxx11")
    assert old.notes
    assert new.notes


@pytest.mark.parametrize(
    ("version", "variant", "cxx11"),
    [
        ("1.2.0", "cpu", True),  # no new ABI before 1.3
        ("2.7.0", "cpu", False),  # no old ABI from 2.7 on
        ("2.8.0", "cpu", False),
        ("2.8.0", "cu118", True),  # not built
        ("2.15.0", "cu126", True),
        ("1.12.1", "rocm5.1.1", True),  # wheels only
        ("2.6.0", "xpu", True),
        ("2.8.0", "", True),
        ("2.8.0", "CPU", True),
        ("2.16.0", "cpu", True),
        ("2.15.0.dev20260801", "cpu", True),
    ],
)
def test_there_is_no_zip_where_none_was_built(version: str, variant: str, cxx11: bool) -> None:
    assert linux(version, variant, cxx11=cxx11) is None


@pytest.mark.parametrize(
    ("version", "variant", "debug", "path"),
    [
        ("1.11.0", "cpu", False, "cpu/libtorch-win-shared-with-deps-1.11.0%2Bcpu.zip"),
        ("1.11.0", "cu113", True, "cu113/libtorch-win-shared-with-deps-debug-1.11.0%2Bcu113.zip"),
        ("1.10.0", "cu102", False, "cu102/libtorch-win-shared-with-deps-1.10.0%2Bcu102.zip"),
        ("1.6.0", "cu102", False, "cu102/libtorch-win-shared-with-deps-1.6.0.zip"),
        ("1.4.0", "cu101", False, "cu101/libtorch-win-shared-with-deps-1.4.0.zip"),
        ("1.2.0", "cu100", True, "cu100/libtorch-win-shared-with-deps-debug-1.2.0.zip"),
        ("2.12.0", "cpu", True, "cpu/libtorch-win-shared-with-deps-debug-2.12.0%2Bcpu.zip"),
        ("2.12.1", "cpu", True, None),  # no debug zips any more
        ("1.11.0", "cu102", False, None),
        ("2.9.0", "rocm6.4", False, None),
    ],
)
def test_windows_zips_come_as_release_and_debug(
    version: str, variant: str, debug: bool, path: str | None
) -> None:
    zip_ = libtorch_zip(Version(version), variant, os="windows", architecture="AMD64", debug=debug)

    assert (None if zip_ is None else zip_.url) == (None if path is None else f"{HOST}/{path}")
    assert zip_ is None or (zip_.abi is None and zip_.glibc_needed is None)


@pytest.mark.parametrize(
    ("version", "architecture", "name"),
    [
        ("1.11.0", "x86_64", "libtorch-macos-1.11.0.zip"),
        ("2.1.2", "x86_64", "libtorch-macos-2.1.2.zip"),
        ("2.2.2", "x86_64", "libtorch-macos-x86_64-2.2.2.zip"),
        ("2.3.0", "x86_64", None),
        ("2.1.1", "arm64", None),
        ("2.2.0", "arm64", "libtorch-macos-arm64-2.2.0.zip"),
        ("2.14.0", "aarch64", "libtorch-macos-arm64-2.14.0.zip"),
    ],
)
def test_macos_zips_are_for_the_cpu(version: str, architecture: str, name: str | None) -> None:
    zip_ = libtorch_zip(Version(version), "cpu", os="macos", architecture=architecture)

    assert (None if zip_ is None else zip_.url) == (None if name is None else f"{HOST}/cpu/{name}")
    assert libtorch_zip(Version(version), "cu118", os="macos", architecture=architecture) is None


@pytest.mark.parametrize(
    ("os", "architecture", "debug"),
    [
        ("linux", "aarch64", False),
        ("linux", "arm64", False),
        ("linux", "ppc64le", False),
        ("linux", "x86_64", True),
        ("windows", "aarch64", False),
        ("freebsd", "x86_64", False),
    ],
)
def test_systems_without_official_zips_get_none(os: str, architecture: str, debug: bool) -> None:
    assert (
        libtorch_zip(Version("2.8.0"), "cpu", os=os, architecture=architecture, debug=debug) is None
    )


@pytest.mark.parametrize(
    ("version", "cxx11", "glibc"),
    [
        ("2.6.0", False, "2.17"),
        ("1.9.1", True, "2.23"),
        ("1.10.0", True, "2.27"),
        ("2.1.2", True, "2.27"),
        ("2.2.0", True, "2.29"),
        ("2.11.0", True, "2.29"),  # above the 2.28 of the wheel
        ("2.12.0", True, "2.28"),
    ],
)
def test_a_zip_needs_the_glibc_of_the_image_it_was_built_in(
    version: str, cxx11: bool, glibc: str
) -> None:
    zip_ = linux(version, "cpu", cxx11=cxx11)

    assert zip_ is not None
    assert str(zip_.glibc_needed) == glibc


def test_a_zip_that_does_not_work_says_so() -> None:
    bad, other, cpu = linux("2.12.0", "cu130"), linux("2.12.1", "cu130"), linux("2.12.0", "cpu")

    assert bad is not None
    assert bad.known_bad is not None
    assert "libnvshmem_host.so.3" in bad.known_bad
    assert other is not None
    assert other.known_bad is None
    assert cpu is not None
    assert cpu.known_bad is None


def test_a_zip_is_no_surer_than_the_facts_it_rests_on() -> None:
    unsure_variant, unsure_glibc, sure = (
        linux("2.15.0", "cu130"), linux("2.14.0", "cpu"), linux("1.9.1", "cpu"),
    )  # fmt: skip

    assert unsure_variant is not None
    assert unsure_variant.confidence == "low"
    assert unsure_glibc is not None
    assert unsure_glibc.confidence == "medium"
    assert sure is not None
    assert sure.confidence == "high"


def test_variants_are_called_as_in_addresses() -> None:
    assert libtorch_variants(Version("2.9.0+cu126")) == (
        "cpu", "cu126", "cu128", "cu130", "rocm6.3", "rocm6.4",
    )  # fmt: skip
    assert libtorch_variants(Version("9.9")) == ()
