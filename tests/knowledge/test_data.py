"""What holds for every file of facts: sources, marks of confidence, size, step with each other."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import torchkit.knowledge
from torchkit.knowledge import rows
from torchkit.knowledge.compat import libtorch_variants, libtorch_zip, newest_torch, torch_releases

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]  # only there below 3.11

FOLDER = Path(torchkit.knowledge.__file__).parent
NAMES = ("torch", "cuda", "gpus", "systems", "libtorch", "windows", "build_errors", "meanings")


def content(name: str) -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return data


def all_rows(name: str) -> list[dict[str, Any]]:
    return [row for table, rows in content(name).items() if table != "sources" for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_source(name: str) -> None:
    without = [row for row in all_rows(name) if not str(row.get("source", "")).strip()]

    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_every_source_with_a_key_is_used(name: str) -> None:
    used = {part for row in all_rows(name) for part in row["source"].split("; ")}

    assert set(content(name)["sources"]) - used == set()


@pytest.mark.parametrize("name", NAMES)
def test_high_confidence_is_not_written_and_weak_fields_come_with_a_lower_one(name: str) -> None:
    for row in all_rows(name):
        assert row.get("confidence") in (None, *rows.CONFIDENCES[:2])
        assert "weak" not in row or "confidence" in row


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_parsed_in_a_few_milliseconds(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    took_s = []
    for _ in range(5):
        start = time.process_time()
        tomllib.loads(text)
        took_s.append(time.process_time() - start)

    assert min(took_s) < 0.05  # 5 ms here; the bound leaves room for a slow machine


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_a_package_registry_or_a_path_of_somebodys_machine(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")

    assert re.search(r"pypi\.|python[h]osted|/whl/|/home/|/root/|/work/|/tmp/", text) is None


def test_every_linux_zip_address_is_well_formed_and_there_once() -> None:
    pattern = re.compile(
        r"https://download\.pytorch\.org/libtorch/(?P<folder>cpu|cu\d{2,3}|rocm[\d.]+)/"
        r"libtorch-(?:cxx11-abi-)?shared-with-deps-(?P<version>\d+\.\d+\.\d+)"
        r"(?:%2B(?P<tag>[a-z0-9.]+))?\.zip"
    )
    urls = []
    for release in torch_releases():
        for variant in libtorch_variants(release.version):
            for cxx11 in (True, False):
                zip_ = libtorch_zip(
                    release.version, variant, os="linux", architecture="x86_64", cxx11=cxx11
                )
                if zip_ is None:
                    continue
                match = pattern.fullmatch(zip_.url)
                assert match is not None, zip_.url
                assert match["folder"] == variant
                assert match["version"] == str(release.version)
                assert match["tag"] in (None, variant)
                urls.append(zip_.url)

    assert len(urls) > 300
    assert len(set(urls)) == len(urls)


def test_every_release_has_exactly_the_abis_it_was_built_with() -> None:
    for release in torch_releases():
        new, old = (
            libtorch_zip(release.version, "cpu", os="linux", architecture="x86_64", cxx11=cxx11)
            for cxx11 in (True, False)
        )
        assert (new is not None) == (release.version.release >= (1, 3)), release.version
        assert (old is not None) == (release.version.release < (2, 7)), release.version
        for zip_ in (new, old):
            assert zip_ is None or zip_.glibc_needed is not None


def test_the_newest_release_is_known_to_all_files() -> None:
    newest = newest_torch()
    series = newest.version.series

    assert series in {row["series"] for row in content("windows")["torch_compile"]}
    assert series in {row["last"] for row in content("gpus")["archs"]}
    assert str(newest.version) in {row["last"] for row in content("libtorch")["zip"]}
    assert newest.cuda_default.series in {row["version"] for row in content("cuda")["cuda"]}


def test_no_two_lists_of_architectures_are_about_the_same_build() -> None:
    lists = content("gpus")["archs"]
    for number, row in enumerate(lists):
        for other in lists[number + 1 :]:
            same = all(row.get(key) == other.get(key) for key in ("cuda", "architecture"))
            apart = as_pair(row["last"]) < as_pair(other["first"]) or as_pair(
                other["last"]
            ) < as_pair(row["first"])
            assert not same or apart, (row, other)


def test_every_list_of_architectures_is_about_a_build_that_exists() -> None:
    built = {
        (release.version.series, f"{variant[2:-1]}.{variant[-1]}")
        for release in torch_releases()
        for variant in release.cuda_variants
    }
    unreleased = {("2.13", "12.9"), ("2.14", "13.4")}  # in those releases' own tables alone

    for row in content("gpus")["archs"]:
        for end in (row["first"], row["last"]):
            assert (end, row["cuda"]) in built | unreleased, row


def as_pair(series: str) -> tuple[int, ...]:
    return tuple(int(part) for part in series.split("."))
