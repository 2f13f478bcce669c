"""/dev/shm against the kernel: its own numbers, and file systems mounted for the purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from torchkit.machine.shm import SHM_FOLDER, shm_facts
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/shm")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], System]]:
    """Makes a machine whose /dev/shm is a real tmpfs with these options; skips where it may not."""
    folder = tmp_path / "dev" / "shm"
    folder.mkdir(parents=True)
    done: list[bool] = []

    def mount(options: str) -> System:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:  # fmt: skip
            pytest.skip("nothing can be mounted here")
        done.append(True)
        return System(root=tmp_path, environ={})

    yield mount
    if done:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_the_size_is_the_one_it_was_mounted_with(mounted: Callable[[str], System]) -> None:
    system = mounted("size=64m")

    facts = shm_facts(system)

    assert facts == {"shm_total_bytes": 64 * 1024**2, "shm_free_bytes": 64 * 1024**2}


def test_what_is_written_there_is_no_longer_free(mounted: Callable[[str], System]) -> None:
    system = mounted("size=1m")
    (system.path(SHM_FOLDER) / "batch").write_bytes(b"x" * 65536)

    assert shm_facts(system)["shm_free_bytes"] == 1024**2 - 65536


def test_a_mount_without_a_limit_is_not_called_empty(mounted: Callable[[str], System]) -> None:
    facts = shm_facts(mounted("size=0"))

    assert isinstance(facts["shm_total_bytes"], Unknown)
    assert isinstance(facts["shm_free_bytes"], Unknown)


def test_this_machine_s_numbers_are_those_of_df() -> None:
    if not Path(SHM_FOLDER).is_dir():
        pytest.skip("there is no /dev/shm here")
    said = subprocess.run(
        ["df", "--block-size=1", "--output=size", SHM_FOLDER],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )

    assert shm_facts(System())["shm_total_bytes"] == int(said.stdout.split()[-1])


def test_a_machine_without_dev_shm_has_none(tmp_path: Path) -> None:
    facts = shm_facts(System(root=tmp_path, environ={}))

    assert facts == {"shm_total_bytes": None, "shm_free_bytes": None}


def test_other_systems_have_none_even_where_a_folder_has_that_name(tmp_path: Path) -> None:
    class Mac(System):
        @property
        def platform(self) -> str:
            return "darwin"

    (tmp_path / "dev" / "shm").mkdir(parents=True)

    assert shm_facts(Mac(root=tmp_path, environ={}))["shm_total_bytes"] is None
