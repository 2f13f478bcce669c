"""Truth: Docker's documented default of 64 MiB, and 32 * 3 * 224 * 224 * 4 bytes for a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.shm_small import judge
from torchkit.machine.facts import Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.units import readable
from torchkit.versions import Version

MIB = 1024**2


def judged(
    size_bytes: int, runtime: Any = "docker", *, container: Any = True, torch_version: Any = None
) -> Verdict:
    return judge(
        shm_total_bytes=size_bytes,
        is_container=container,
        container_runtime=runtime,
        job_service=None,
        torch_version=torch_version,
    )


@pytest.mark.parametrize(
    ("size_bytes", "status"),
    [
        (0, Status.WARN),
        (64 * MIB, Status.WARN),
        (64 * MIB + 4096, Status.OK),
        (8 * 1024 * MIB, Status.OK),
    ],
)
def test_dockers_default_is_the_edge(size_bytes: int, status: Status) -> None:
    assert judged(size_bytes).status is status


def test_what_is_needed_is_five_batches_of_32_images() -> None:
    five_batches = 5 * 32 * 3 * 224 * 224 * 4

    assert f"need {readable(five_batches)}" in judged(64 * MIB).message
    assert readable(five_batches) == "91.9 MiB"


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("docker", "docker run --shm-size=1g"),
        ("podman", "podman run --shm-size=1g"),
        ("kubernetes", "emptyDir"),
        ("lxc", "mount -o remount,size=1g /dev/shm"),
    ],
)
def test_the_fix_is_the_runtimes_own(runtime: str, words: str) -> None:
    assert words in judged(64 * MIB, runtime).fix[0]


@pytest.mark.parametrize(
    ("torch_version", "words"),
    [
        (Version("2.4.1"), "killed by signal: Bus error"),
        (Version("2.10.0"), "Resource temporarily unavailable (11)"),
        (Version("2.13.0"), "No space left on device (28)"),
        (None, "No space left on device (28)"),
        (Unknown("not looked at"), "No space left on device (28)"),
    ],
)
def test_the_message_is_that_of_the_installed_torch(torch_version: Any, words: str) -> None:
    assert words in judged(64 * MIB, torch_version=torch_version).evidence[0].value


def test_outside_a_container_it_is_remounted() -> None:
    assert (
        judged(64 * MIB, None, container=False).fix[0].startswith("sudo mount -o remount,size=1g")
    )


def test_states_of_the_size(finding: Callable[..., Finding]) -> None:
    absent = finding("shm-small", shm_total_bytes=None)
    unknown = finding("shm-small", shm_total_bytes=Unknown("not permitted"))
    alone = finding("shm-small", shm_total_bytes=64 * MIB)

    assert (absent.status, absent.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.WARN
