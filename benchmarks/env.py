"""`torchkit env` against `python -m torch.utils.collect_env`, in the same run.

    python benchmarks/env.py [ROUNDS]

Both run as fresh processes, by turns, so that a busy machine slows both. Reported are the least
CPU time and wall time and the largest resident memory, children included, and the ratios.
The aim: `torchkit --help` under 0.3 s of CPU, `torchkit env` at most 0.25 s, a tenth of collect_env.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "torchkit --help": [sys.executable, "-m", "torchkit", "--help"],
    "torchkit env": [sys.executable, "-m", "torchkit", "env"],
    "torchkit env --json": [sys.executable, "-m", "torchkit", "env", "--json"],
    "collect_env": [sys.executable, "-m", "torch.utils.collect_env"],
}


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds of CPU with its children, seconds of wall time, bytes."""

    cpu_s: float
    wall_s: float
    memory_bytes: int


def measure(command: list[str]) -> Cost:
    """Run a command once. Linux counts resident memory in KiB."""
    with tempfile.TemporaryFile() as sink:
        started = time.perf_counter()
        child = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, sink.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, sink.fileno(), 2),
            ],
        )
        _, _, usage = os.wait4(child, 0)
        wall_s = time.perf_counter() - started
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    costs: dict[str, list[Cost]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            costs[name].append(measure(command))
    best = {
        name: Cost(
            min(it.cpu_s for it in found),
            min(it.wall_s for it in found),
            min(it.memory_bytes for it in found),
        )
        for name, found in costs.items()
    }
    peer = best["collect_env"]
    print(f"{'command':<22}{'CPU':>10}{'wall':>10}{'memory':>10}   as a share of collect_env")
    for name, cost in best.items():
        shares = (
            cost.cpu_s / peer.cpu_s,
            cost.wall_s / peer.wall_s,
            cost.memory_bytes / peer.memory_bytes,
        )
        print(
            f"{name:<22}{cost.cpu_s * 1000:>7.0f} ms{cost.wall_s * 1000:>7.0f} ms"
            f"{cost.memory_bytes / 1024**2:>6.0f} MiB   "
            + " ".join(f"{share:.3f}" for share in shares)
        )


if __name__ == "__main__":
    main()
