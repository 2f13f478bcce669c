"""`torchkit env --libtorch`, as a user runs it, on a saved machine and libtorchs made of stubs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MACHINES, Ended
from tests.libtorchs import (
    HAS_COMPILER,
    NEW_CUDART,
    OLD_CUDART,
    add_cuda,
    compile_cudart,
    make_libtorch,
    zipped,
)

pytestmark = pytest.mark.skipif(not HAS_COMPILER, reason="needs g++ and glibc")

Cli = Callable[..., Ended]
MACHINE = MACHINES / "laptop-cpu.json"


@pytest.fixture(scope="module")
def new_abi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_libtorch(tmp_path_factory.mktemp("new") / "libtorch", abi=1)


@pytest.fixture(scope="module")
def old_abi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old") / "libtorch"
    return make_libtorch(folder, abi=0, version="1.10.2+cpu", sets_abi=False)


def report(cli: Cli, *arguments: object) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(cli("env", "--facts", MACHINE, "--json", *arguments).stdout)
    return data


def found(data: dict[str, Any], *statuses: str) -> list[str]:
    return [
        it["id"]
        for it in data["findings"]
        if it["id"].startswith("libtorch-") and it["status"] in statuses
    ]


def test_one_that_fits_is_what_to_build_with(cli: Cli, new_abi: Path, tmp_path: Path) -> None:
    archive = zipped(new_abi, tmp_path / "libtorch.zip")

    data = report(cli, "--libtorch", new_abi, "--libtorch", archive)

    assert found(data, "fail", "warn", "crash") == []
    folder, packed = data["artifacts"]
    assert folder["title"] == "libtorch 2.5.1+cpu fits this machine"
    assert folder["commands"] == [f"cmake -DCMAKE_PREFIX_PATH={new_abi} -S . -B build"]
    assert packed["commands"][0] == f"unzip -q {archive}"
    assert packed["commands"][1].startswith('cmake -DCMAKE_PREFIX_PATH="$PWD/libtorch"')


@pytest.mark.skipif(not all(map(shutil.which, ("unzip", "cmake"))), reason="needs unzip and cmake")
@pytest.mark.parametrize("prefix", ["libtorch", "libtorch-2.5.1", "my torch", "."])
def test_the_lines_that_are_printed_unpack_and_configure(
    cli: Cli, new_abi: Path, tmp_path: Path, prefix: str
) -> None:
    archive = zipped(new_abi, tmp_path / "a b.zip", prefix=prefix)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.12...3.18)\nproject(own LANGUAGES NONE)\n"
        "set_property(GLOBAL PROPERTY TARGET_SUPPORTS_SHARED_LIBS TRUE)\n"
        "find_package(Torch REQUIRED)\n"
    )

    (packed,) = report(cli, "--libtorch", archive)["artifacts"]
    done = subprocess.run(
        ["bash", "-ec", "\n".join(packed["commands"])],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_the_same_one_is_read_and_shown_once(cli: Cli, new_abi: Path) -> None:
    data = report(cli, "--libtorch", new_abi, "--libtorch", f"{new_abi}/lib/..")

    assert len(data["artifacts"]) == 1


def test_an_empty_path_is_bad_usage(cli: Cli) -> None:
    ended = cli("env", "--facts", MACHINE, "--libtorch", "")

    assert ended.code == 2
    assert "empty path" in ended.stderr


def test_one_that_does_not_fit_gets_the_download_that_does(cli: Cli, old_abi: Path) -> None:
    ended = cli("env", "--facts", MACHINE, "--libtorch", old_abi)

    assert ended.code == 1
    assert (
        f"FAIL  libtorch-abi: libtorch 1.10.2+cpu in {old_abi} has the old C++ ABI" in ended.stdout
    )
    assert "undefined reference to `c10::detail::torchCheckFail(" in ended.stdout
    assert "libtorch-cxx11-abi-shared-with-deps-1.10.2%2Bcpu.zip" in ended.stdout
    assert "libtorch for this machine instead" in ended.stdout


def test_beside_one_that_does_not_fit_the_one_that_fits_is_named(
    cli: Cli, old_abi: Path, new_abi: Path
) -> None:
    data = report(cli, "--libtorch", old_abi, "--libtorch", new_abi)

    assert found(data, "fail") == ["libtorch-abi"]
    assert [it["path"] for it in data["artifacts"]] == [str(new_abi)]


def test_a_file_that_is_none_is_a_finding_and_one_that_is_not_there_is_bad_usage(
    cli: Cli, tmp_path: Path
) -> None:
    page = tmp_path / "libtorch.zip"
    page.write_text("<!DOCTYPE html>")

    broken = cli("env", "--facts", MACHINE, "--libtorch", page)
    absent = cli("env", "--facts", MACHINE, "--libtorch", tmp_path / "nothing")

    assert broken.code == 1
    assert "libtorch-broken" in broken.stdout
    assert "a web page, not a zip" in broken.stdout
    assert absent.code == 2
    assert "is not there" in absent.stderr


def test_the_toolkit_here_says_nothing_of_a_saved_machine(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libtorch = make_libtorch(tmp_path / "libtorch")
    add_cuda(libtorch, compile_cudart(tmp_path / "toolkit-11.3", NEW_CUDART))
    compile_cudart(tmp_path / "cuda" / "lib64", OLD_CUDART)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))

    here = json.loads(cli("env", "--get", "libtorchs", "--json", "--libtorch", libtorch).stdout)
    elsewhere = report(cli, "--libtorch", libtorch)["facts"]["libtorchs"]

    assert here[0]["missing_cuda_symbol"].endswith("@libcudart.so.11.0")
    assert elsewhere[0]["missing_cuda_symbol"] is None


def test_without_the_option_nothing_is_judged(cli: Cli) -> None:
    data = report(cli)

    assert found(data, "ok", "info", "warn", "fail", "crash") == []
