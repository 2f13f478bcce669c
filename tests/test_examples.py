"""The examples run as they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def gate(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "examples" / "ci" / "gate.sh")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "TORCHKIT": f"{sys.executable} -m torchkit", **environ},
    )


def test_the_gate_closes_on_a_requirement_that_is_not_met() -> None:
    done = gate(REQUIRE="python>=99")

    assert done.returncode == 1
    assert "requirement-unmet" in done.stdout


@pytest.mark.torch
def test_the_gate_opens_and_reads_facts() -> None:
    pytest.importorskip("torch")

    done = gate(REQUIRE="python>=3.10,torch>=2.0")

    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("torch for ")
    assert "CMAKE_PREFIX_PATH=/" in done.stdout
