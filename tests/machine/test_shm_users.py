"""Who holds what of /dev/shm: real files that this test makes, and real processes that have them."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchkit.machine.facts import ShmHolder
from torchkit.machine.shm_users import kind_of, shm_user_facts
from torchkit.system import System

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/dev/shm", os.W_OK), reason="needs /dev/shm"
)

SIZE = 3 * mmap.PAGESIZE


@pytest.fixture
def place() -> Iterator[Path]:
    """A name in /dev/shm, as NCCL would choose it, that is gone afterwards."""
    path = Path("/dev/shm") / f"nccl-{uuid.uuid4().hex}"
    yield path
    path.unlink(missing_ok=True)


def holders() -> list[ShmHolder]:
    found = shm_user_facts(System())["shm_holders"]
    return list(found)


def old(path: Path) -> None:
    os.utime(path, (time.time() - 3600, time.time() - 3600))


def test_a_deleted_file_counts_for_the_process_that_has_it_open(place: Path) -> None:
    program = (
        f"f = open({str(place)!r}, 'wb'); f.write(bytes({SIZE})); f.flush()\n"
        f"import os; os.unlink({str(place)!r}); print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        held = [it for it in holders() if it.pid == process.pid]
        process.communicate(b"\n")

    assert [(it.kind, it.bytes, it.files, it.visible, it.stale) for it in held] == [
        ("NCCL", SIZE, 1, False, False)
    ]


NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
"""A container: its /dev/shm is another mount, in which names and inodes are the same as here."""


def test_what_is_held_in_the_shared_memory_of_a_container_is_not_ours() -> None:
    script = (
        "mount -t tmpfs tmpfs /dev/shm && exec 7>/dev/shm/nccl-theirs"
        " && head -c 3145728 /dev/zero >&7 && echo ready && read"
    )
    try:
        process = subprocess.Popen(
            [*NAMESPACE, "bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare")

    with process:
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("no /dev/shm of one's own can be mounted")
        seen = os.readlink(f"/proc/{process.pid}/fd/7")  # noqa: PTH115 - it is no file of ours
        held = [it for it in holders() if it.pid == process.pid]
        process.communicate(b"\n")

    assert seen == "/dev/shm/nccl-theirs"
    assert held == []


@pytest.mark.parametrize(
    ("is_old", "is_mapped", "stale"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
def test_a_file_is_left_behind_when_it_is_old_and_nobody_has_it(
    place: Path, is_old: bool, is_mapped: bool, stale: bool
) -> None:
    before = sum(it.files for it in holders() if it.kind == "NCCL" and it.stale)
    place.write_bytes(bytes(SIZE))
    mapping = None
    if is_mapped:
        with place.open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), SIZE)
    if is_old:
        old(place)

    after = sum(it.files for it in holders() if it.kind == "NCCL" and it.stale)

    assert after - before == int(stale)
    if mapping is not None:
        mapping.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch_17139_1050715640_0", "torch"),
        ("torchvision-cache", "other"),
        ("nccl-03v824", "NCCL"),
        ("psm_9b0ba39d", "Python shared memory"),
        ("sem.mp-x1", "semaphores"),
        ("plasma-store", "Ray"),
        ("__KMP_REGISTERED_LIB_71_0", "OpenMP"),
        ("mine.bin", "other"),
    ],
)
def test_a_name_tells_who_made_the_file(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_where_there_is_no_such_folder_there_are_no_holders(tmp_path: Path) -> None:
    facts = shm_user_facts(System(root=tmp_path, environ={}))

    assert facts == {"shm_holders": None, "shm_unseen_processes": None}
