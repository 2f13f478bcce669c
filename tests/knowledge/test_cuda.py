"""Drivers from NVIDIA's release notes, Tables 2 and 3; compilers from nvcc's host_config.h."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from torchkit.knowledge.compat import (
    capability_range,
    clang_max,
    cuda_toolkit,
    cuda_toolkits,
    gcc_max,
    minimum_driver,
    newest_cuda_for_driver,
    runnable_cuda_major,
    toolkit_driver,
)
from torchkit.versions import Version


def as_text(version: Version | None) -> str | None:
    return None if version is None else str(version)


@pytest.mark.parametrize(
    ("cuda", "linux", "windows"),
    [
        ("9.0", "384.81", "385.54"),
        ("10.2", "440.33", "441.22"),
        ("11.0", "450.51.05", "451.48"),  # its own driver is older than the floor of 11.x
        ("11.1", "450.80.02", "452.39"),
        ("11.8", "450.80.02", "452.39"),
        ("11.8.89", "450.80.02", "452.39"),
        ("12.0", "525.60.13", "527.41"),
        ("12.4", "525.60.13", "527.41"),
        ("12.7", "525.60.13", "527.41"),  # there is no toolkit 12.7
        ("13.2", "580.65.06", None),  # no Windows driver is published
        ("13.9", "580.65.06", None),
        ("14.0", None, None),
        ("8.0", None, None),
    ],
)
def test_a_program_needs_the_floor_of_its_major(
    cuda: str, linux: str | None, windows: str | None
) -> None:
    assert as_text(minimum_driver(Version(cuda))) == linux
    assert as_text(minimum_driver(Version(cuda), windows=True)) == windows


@pytest.mark.parametrize(
    ("cuda", "linux", "windows"),
    [
        ("10.1", "418.39", "418.96"),
        ("11.4", "470.42.01", "471.11"),
        ("12.4.1", "550.54.14", "551.61"),
        ("13.3", "610.43.02", None),
        ("13.4", None, None),
        ("12.7", None, None),
    ],
)
def test_a_toolkit_has_its_own_driver(cuda: str, linux: str | None, windows: str | None) -> None:
    assert as_text(toolkit_driver(Version(cuda))) == linux
    assert as_text(toolkit_driver(Version(cuda), windows=True)) == windows


# pairs as nvidia-smi prints them
@pytest.mark.parametrize(
    ("driver", "cuda", "major"),
    [
        ("384.80", None, None),
        ("384.81", "9.0", 9),
        ("440.33.01", "10.2", 10),
        ("450.51.05", "11.0", 10),  # runs 11.0, not the other minors of 11
        ("450.80.01", "11.0", 10),
        ("450.80.02", "11.0", 11),
        ("470.57.02", "11.4", 11),
        ("470.256.02", "11.4", 11),
        ("525.60.12", "11.8", 11),
        ("525.60.13", "12.0", 12),
        ("535.183.06", "12.2", 12),
        ("550.54.14", "12.4", 12),
        ("570.133.20", "12.8", 12),
        ("580.65.05", "12.9", 12),
        ("580.65.06", "13.0", 13),
        ("595.45.04", "13.2", 13),
        ("999.1", "13.3", 13),  # newer than we know: a lower bound
    ],
)
def test_a_driver_says_which_cuda_it_runs(driver: str, cuda: str | None, major: int | None) -> None:
    assert as_text(newest_cuda_for_driver(Version(driver))) == cuda
    assert runnable_cuda_major(Version(driver)) == major


def test_windows_drivers_have_numbers_of_their_own() -> None:
    assert as_text(newest_cuda_for_driver(Version("527.41"), windows=True)) == "12.0"
    assert runnable_cuda_major(Version("527.41"), windows=True) == 12
    assert runnable_cuda_major(Version("527.40"), windows=True) == 11
    assert as_text(newest_cuda_for_driver(Version("581.80"), windows=True)) == "12.9"


def test_a_driver_runs_programs_of_every_toolkit_it_fully_supports() -> None:
    for toolkit in cuda_toolkits():
        if toolkit.driver_linux is not None:
            needed = minimum_driver(toolkit.version)
            assert needed is not None
            assert needed <= toolkit.driver_linux


def test_drivers_rise_with_the_toolkits() -> None:
    for windows in (False, True):
        drivers = [toolkit_driver(toolkit.version, windows=windows) for toolkit in cuda_toolkits()]
        known = [driver for driver in drivers if driver is not None]
        assert known == sorted(known)


@pytest.mark.parametrize(
    ("cuda", "gcc", "clang", "capabilities"),
    [
        ("10.2", 8, 8, ("3.0", "7.5")),
        ("11.8", 11, 14, ("3.5", "9.0")),
        ("12.3", 12, 16, ("5.0", "9.0")),
        ("12.4", 13, 17, ("5.0", "9.0")),
        ("12.8", 14, 19, ("5.0", "12.0")),
        ("13.0", 15, 20, ("7.5", "12.1")),
        ("13.0.88", 15, 20, ("7.5", "12.1")),
    ],
)
def test_compilers_and_gpus_of_a_toolkit(
    cuda: str, gcc: int, clang: int, capabilities: tuple[str, str]
) -> None:
    assert gcc_max(Version(cuda)) == gcc
    assert clang_max(Version(cuda)) == clang
    assert capability_range(Version(cuda)) == capabilities


@pytest.mark.parametrize("cuda", ["12.7", "13.9", "14.0", "8.0"])
def test_an_unknown_toolkit_has_no_bounds_rather_than_guessed_ones(cuda: str) -> None:
    assert gcc_max(Version(cuda)) is None
    assert clang_max(Version(cuda)) is None
    assert capability_range(Version(cuda)) is None


def test_what_is_unsure_about_a_toolkit_is_named() -> None:
    old, new, sure = (cuda_toolkit(Version(cuda)) for cuda in ("9.0", "13.4", "12.4"))

    assert old is not None
    assert (old.confidence, old.weak) == ("low", ("gcc_max", "clang_max"))
    assert new is not None
    assert (new.confidence, new.weak) == ("low", ("driver_linux",))
    assert sure is not None
    assert (sure.confidence, sure.weak) == ("high", ())


def test_the_bounds_are_those_of_an_nvcc_that_is_here() -> None:
    headers = list(Path("/usr/local").glob("cuda-*/include/crt/host_config.h"))
    if not headers:
        pytest.skip("no CUDA toolkit is installed")
    for header in headers:
        cuda = re.search(r"cuda-(\d+\.\d+)", str(header))
        bound = re.search(r"#if __GNUC__ > (\d+)", header.read_text(encoding="utf-8"))
        if cuda and bound and cuda_toolkit(Version(cuda[1])) is not None:
            assert gcc_max(Version(cuda[1])) == int(bound[1])
