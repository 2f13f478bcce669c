"""The mistakes of the notes: the command in each file's first lines names them, run as a user does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
BROKEN = ROOT / "examples" / "broken"
NAMED = {
    "bool_byte.py": "dtype-byte-bool",
    "unfold_long.py": "op-not-implemented-for-dtype",
    "view.py": "view-non-contiguous",
    "old_random_split.py": "api-newer-than-torch",
}

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]


def with_shm(size: str, *command: str) -> list[str]:
    """The command, with a /dev/shm of its own and of that size."""
    mount = f'mount -t tmpfs -o size={size} shm /dev/shm && exec "$@"'
    return [*NAMESPACE, "sh", "-c", mount, "sh", *command]


def may_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return run(with_shm("1m", "true")).returncode == 0


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )


needs_own_shm = pytest.mark.skipif(
    not may_mount(), reason="no /dev/shm of one's own can be mounted"
)


def torchkit(name: str, *, line: int = 0) -> list[str]:
    """The command that stands in a line of the file."""
    text = (BROKEN / name).read_text("utf-8").splitlines()[line]
    arguments = text.partition("torchkit ")[2].split()
    assert arguments[1].startswith(f"examples/broken/{name}")
    return [sys.executable, "-m", "torchkit", *arguments]


@pytest.mark.parametrize("name", NAMED)
def test_the_command_names_the_mistake(name: str) -> None:
    done = run(torchkit(name))

    assert done.returncode == 1, done
    assert f"\nFAIL  {NAMED[name]}: " in done.stderr


@needs_own_shm
def test_workers_out_of_shared_memory_are_named() -> None:
    done = run(with_shm("16m", *torchkit("shared_memory.py")))

    assert done.returncode == 1, done
    assert "\nFAIL  dataloader-shm-exhausted: " in done.stderr


@needs_own_shm
def test_workers_out_of_shared_memory_are_foretold() -> None:
    done = run(with_shm("64m", *torchkit("shared_memory.py", line=1)))

    assert done.returncode == 1, done
    assert "\nFAIL  shm-insufficient: " in done.stdout


@needs_own_shm
def test_more_shared_memory_than_a_container_has_is_left_alone() -> None:
    done = run(with_shm("65m", sys.executable, str(BROKEN / "shared_memory.py")))

    assert done.returncode == 1
    assert done.stderr == "/dev/shm has more than 64 MiB here, which are left alone\n"
