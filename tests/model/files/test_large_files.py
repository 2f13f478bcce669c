"""Ten gigabytes of holes: the answer takes no longer than that of a small file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from written_files import gguf, safetensors, texts_value

ROOT = Path(__file__).resolve().parents[3]
TENSORS, TENSOR_BYTES = 500, 20 * 1024**2

READ = """
import sys, time
before = time.process_time()
from pathlib import Path
from torchkit.model.files import read
contents = read(Path(sys.argv[1]))
taken = time.process_time() - before
status = Path("/proc/self/status")  # getrusage's peak is that of the parent, where that is larger
lines = status.read_text().splitlines() if status.exists() else []
peak = next((int(it.split()[1]) * 1024 for it in lines if it.startswith("VmHWM")), 0)
print(len(contents.entries), contents.total_bytes, contents.damage or "whole", taken, peak)
"""


def check(path: Path, total_bytes: int) -> None:
    assert path.stat().st_size > 10_000_000_000

    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True, text=True, timeout=60, check=True, cwd=ROOT,
    )  # fmt: skip

    tensors, total, damage, seconds, peak = done.stdout.split()
    assert (int(tensors), int(total), damage) == (TENSORS, total_bytes, "whole")
    assert float(seconds) < 1
    assert int(peak) < 100 * 1000**2


def test_ten_gigabytes_of_safetensors(tmp_path: Path) -> None:
    header = {
        f"layers.{number}.w": {
            "dtype": "BF16",
            "shape": [1024, TENSOR_BYTES // 2048],
            "data_offsets": [number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES],
        }
        for number in range(TENSORS)
    }

    check(
        safetensors(tmp_path / "big.safetensors", header, TENSORS * TENSOR_BYTES),
        TENSORS * TENSOR_BYTES,
    )


def test_ten_gigabytes_of_gguf_with_a_vocabulary(tmp_path: Path) -> None:
    rows = 145_636
    size = rows * 144
    tensors = [(f"blk.{number}.w", (256, rows), 12, size) for number in range(TENSORS)]
    words = [f"token {number}" for number in range(128_000)]

    path = gguf(tmp_path / "big.gguf", tensors, values=[texts_value("tokens", words)])

    check(path, TENSORS * size)


@pytest.mark.torch
def test_ten_gigabytes_of_a_state_dict(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch.serialization, "skip_data"):
        pytest.skip("torch before 2.6 writes the data too")
    path = tmp_path / "big.pt"
    state = {
        f"layers.{number}.w": torch.empty(TENSOR_BYTES // 2048, 1024, dtype=torch.bfloat16)
        for number in range(TENSORS)
    }
    with torch.serialization.skip_data():
        torch.save(state, path)
    if path.stat().st_blocks * 512 > 1_000_000_000:
        pytest.skip("this file system has no holes")

    check(path, TENSORS * TENSOR_BYTES)
