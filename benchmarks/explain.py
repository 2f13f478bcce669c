"""`torchkit explain` on logs of a hundred megabytes, against grep and a naive loop, in the same run.

    python benchmarks/explain.py [MEGABYTES]

Logs: `plain` is the output of a training, lines alike but for their numbers; `varied` has other
words on every line; `dense` speaks of an error or a warning on every line; `hostile` are lines of
a million characters made of pieces of the catalogue's own patterns. In each a known message stands
near the end. Reported are megabytes a second of CPU time, and the resident memory of the reader.
The naive loop is `re.search` of every pattern on every line; it gets a hundredth of the log.
The aim: 50 MB/s on each, under 150 MB of memory, the catalogue loaded in under 60 ms.
"""

from __future__ import annotations

import itertools
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MESSAGE = (
    "Traceback (most recent call last):\n"
    '  File "/home/user/train.py", line 31, in forward\n    return self.fc(x)\n'
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x92 and 64x10)\n"
)

READ = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from torchkit.logs.problems import told
from torchkit.logs.reader import read_log
started = time.process_time()
with open(sys.argv[2], "rb") as file:
    found = told(read_log(file))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(time.process_time() - started, peak, " ".join(met.problem.id for met in found.problems))
"""

LOAD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torchkit.logs.reader
started = time.process_time()
torchkit.logs.reader.known_patterns()
print(time.process_time() - started)
"""


def plain(random_: random.Random) -> Iterator[str]:
    for step in itertools.count():
        loss, rate = random_.random(), random_.random()
        yield f"Epoch {step // 500} | step {step} | loss {loss:.4f} | lr {rate:.2e} | 12.3 img/s\n"
        if step % 20 == 0:
            bars = "\r".join(f" {it}%|{'#' * it}| {it}/100 [00:{it:02}<00:10]" for it in range(50))
            yield bars + "\n"


def words(random_: random.Random) -> list[str]:
    letters = "eeeaaoiunttsrrlldcmpghbvkyw"
    return ["".join(random_.choices(letters, k=random_.randint(2, 10))) for _ in range(20_000)]


def varied(random_: random.Random) -> Iterator[str]:
    known = words(random_)
    while True:
        yield f"{' '.join(random_.choices(known, k=11))} {random_.random():.5f}\n"


def dense(random_: random.Random) -> Iterator[str]:
    known = words(random_)
    kinds = (
        "WARNING: {} is deprecated, {}",
        "error: {} failed, retrying {}",
        "{}: RuntimeError: {}",
    )
    while True:
        yield (
            random_.choice(kinds).format(*(" ".join(random_.choices(known, k=4)) for _ in "12"))
            + "\n"
        )


def hostile(random_: random.Random) -> Iterator[str]:
    from torchkit.logs.matching import known_patterns
    from torchkit.logs.patterns import literals

    for pattern in itertools.cycle(known_patterns()[0]):
        pieces = literals(pattern.source) or ["error"]
        text = "".join(
            f"{random_.choice(pieces)}{random_.choice(('1', 'a', '(', ' ', '[1, ', chr(39))) * random_.randint(0, 300)}"
            for _ in range(2_000)
        )
        yield (text * 10)[:1_000_000] + "\n"


LOGS = {"plain": plain, "varied": varied, "dense": dense, "hostile": hostile}


def write(path: Path, lines: Iterator[str], megabytes: float) -> None:
    """So many megabytes of lines, the message, and some lines more."""
    left = megabytes * 1e6
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            text = next(lines)
            left -= len(text)
            file.write(text)
        file.write(MESSAGE)
        file.writelines(itertools.islice(lines, 5))


def of_child(*command: str) -> tuple[float, str]:
    """Seconds of CPU of a child, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, done.stdout


def naive(path: Path) -> float:
    """Megabytes a second of a search of every pattern on every line, on a part of the log."""
    from torchkit.knowledge.problems import problems

    patterns = [re.compile(it, re.IGNORECASE) for one in problems().values() for it in one.patterns]
    with path.open("rb") as file:
        text = file.read(path.stat().st_size // 100)
    lines = text.decode("utf-8", "replace")[:300_000].split("\n")
    started = time.process_time()
    size = 0
    for line in lines:
        size += len(line) + 1
        for pattern in patterns:
            pattern.search(line)
        if time.process_time() - started > 5:
            break
    return size / 1e6 / (time.process_time() - started)


def main() -> None:
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 100.0
    loads = [float(of_child(sys.executable, "-c", LOAD, str(ROOT))[1]) for _ in range(5)]
    print(f"the catalogue loads in {min(loads) * 1000:.0f} ms")
    print(f"{'log':<10}{'MB':>6}{'explain':>12}{'grep -c':>12}{'naive':>12}{'memory':>10}   found")
    with tempfile.TemporaryDirectory() as folder:
        for name, make in LOGS.items():
            path = Path(folder) / f"{name}.log"
            write(path, make(random.Random(1)), megabytes)  # noqa: S311 - the same each time is wanted
            size = path.stat().st_size / 1e6
            _, said = of_child(sys.executable, "-c", READ, str(ROOT), str(path))
            seconds, memory, found = said.rstrip("\n").split(" ", 2)
            grep, _ = of_child(
                "grep", "-c", "-i", "-E", "error|exception|cannot be multiplied", str(path)
            )
            print(
                f"{name:<10}{size:>6.0f}{size / float(seconds):>7.0f} MB/s{size / max(grep, 1e-3):>7.0f} MB/s"
                f"{naive(path):>7.2f} MB/s{memory:>6} MB   {found}",
                flush=True,
            )
            path.unlink()


if __name__ == "__main__":
    main()
