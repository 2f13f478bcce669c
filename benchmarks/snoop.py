"""`torchkit snoop` on a training step, against plain Python, torchsnooper and detect_anomaly, in the same run.

    python benchmarks/snoop.py [ROUNDS] [STEPS]

Each way is a fresh process, by turns, so that a busy machine slows all of them. Reported is the CPU
time of the steps alone as a share of plain Python's of the same round: the least and the middle of
all rounds. The aims: post-mortem 1.00 within noise, `--nan` at most 2.5, `--function` on the step at
most a quarter of torchsnooper's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = str(HERE / "train_step.py")

SNOOP = ["-m", "torchkit", "snoop"]

WAYS: dict[str, tuple[list[str], list[str]]] = {
    "plain": ([], []),
    "snoop": (SNOOP, []),
    "snoop --nan": ([*SNOOP, "--nan"], []),
    "snoop --inplace": ([*SNOOP, "--inplace"], []),
    "snoop --function, 3 calls": ([*SNOOP, "--function", "train_step"], []),
    "snoop --function, all": ([*SNOOP, "--function", "train_step", "--calls", "1000000"], []),
    "detect_anomaly": ([], ["anomaly"]),
    "torchsnooper": ([], ["torchsnooper"]),
}
"""What stands before the script, and after the number of steps."""


def cpu_s(way: str, steps: int) -> float:
    """CPU seconds for one step."""
    before, after = WAYS[way]
    done = subprocess.run(
        [sys.executable, *before, SCRIPT, str(steps), *after],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return float(done.stdout) / steps


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        plain = 0.0
        for way in WAYS:
            taken = cpu_s(way, steps if way != "torchsnooper" else max(steps // 4, 10))
            plain = taken if way == "plain" else plain
            found[way].append(taken / plain)
            if way == "plain":
                print(f"plain {taken * 1000:.2f} ms for a step")
    for way, ratios in found.items():
        print(f"{way:<28}{min(ratios):>7.2f}{statistics.median(ratios):>7.2f}")


if __name__ == "__main__":
    main()
