"""`torchkit env` where much is installed: 300 distributions, 2,000 compiled files, 20 extensions.

    python benchmarks/binaries.py [ROUNDS]

The environment is built once, below build/, beside the torch of this Python: real shared objects
(Python's own, hard-linked) under distributions with their records, and extensions that gcc links
against torch's libraries, with hundreds of torch's names each. Two of them miss one. Measured are
fresh processes, by turns with collect_env in the same environment: least wall and CPU time,
largest resident memory, children included.
The aim: under one second and under 60 MiB; with two extensions only, the 0.16 s of a plain `env`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from env import Cost, measure

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "benchmark"
LAYOUT = 1
"""Counted up when what is built below changes, so that an older one is not measured."""

DISTRIBUTIONS = 300
SHARED_OBJECTS = 2000
EXTENSIONS = 20
BROKEN = 2
MOST_NAMES = 1500
MISSING_NAME = "_ZN3c106detail26torchInternalAssertFailCompatEPKcS2_jS2_"

WALL_BAR_S = 1.0
MEMORY_BAR_BYTES = 60 * 1024**2

_SPEC = importlib.util.find_spec("torch")
if _SPEC is None or _SPEC.origin is None:
    raise SystemExit("this benchmark needs an installed torch")
TORCH = Path(_SPEC.origin).parent
"""Not imported: Linux counts the memory that a process had before it became another program."""

METADATA = """Metadata-Version: 2.1
Name: {name}
Version: 1.{number}.0
Requires-Python: >=3.9
Requires-Dist: numpy>=1.20
Requires-Dist: typing-extensions; python_version < "3.11"

"""


def environment(name: str, *, distributions: int, shared_objects: int, extensions: int) -> Path:
    """The folder of an environment that is built, or was."""
    folder = BUILD / f"{name}-{importlib.metadata.version('torch')}-{sys.version_info[1]}-{LAYOUT}"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "beside_torch.pth").write_text(f"{TORCH.parent}\n")
    chance = random.Random(3)  # noqa: S311 - the same environment every time
    counts = _spread(shared_objects, distributions, chance)
    sources = sorted(Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so"))
    names = _names_of_torch() if extensions else []
    for number, count in enumerate(counts):
        package = f"package_{number:03}"
        (site / package).mkdir()
        files = [f"{package}/module_{it}.py" for it in range(chance.choice((5, 20, 80, 600)))]
        for it in range(count):
            source = sources[(number + it) % len(sources)]
            files.append(f"{package}/{it}_{source.name}")
            _link(source, site / files[-1])
        if number < extensions:
            files.append(f"{package}/_C.so")
            chosen = chance.sample(names, chance.choice((30, 200, 600, MOST_NAMES)))
            missing = [MISSING_NAME] if number < BROKEN and extensions > BROKEN else []
            _compile(site / files[-1], chosen, missing)
        _write_metadata(site, package, number, files)
    (folder / "complete").touch()
    return folder


def _spread(total: int, distributions: int, chance: random.Random) -> list[int]:
    """How many shared objects each has: most have none, a few have hundreds, as in life."""
    weights = [
        chance.paretovariate(0.8) if chance.random() < 0.3 else 0 for _ in range(distributions)
    ]
    share = total / sum(weights) if total else 0
    return [round(weight * share) for weight in weights]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or links are not allowed
        shutil.copy2(source, target)


def _names_of_torch() -> list[str]:
    """Functions in C++ namespaces of torch that extensions could call."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", TORCH / "lib" / "libtorch_cpu.so"],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = (line.split() for line in listed.stdout.splitlines())
    return sorted(
        {it[2] for it in lines if it[1] == "T" and it[2].startswith(("_ZN2at", "_ZN3c10"))}
    )


def _compile(target: Path, names: list[str], missing: list[str]) -> None:
    """A shared object that takes these names from torch's libraries."""
    declared = "".join(f"extern void {name}(void);\n" for name in (*names, *missing))
    table = ",\n".join((*names, *missing))
    source = f"{declared}void *const names_of_torch[] = {{\n{table}\n}};\n"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", target, "-Wl,--no-as-needed"]
    command += [
        f"-L{TORCH / 'lib'}",
        "-lc10",
        "-ltorch",
        "-ltorch_cpu",
        "-ltorch_python",
        "-lstdc++",
    ]
    subprocess.run(command, input=source, check=True, text=True)


def _write_metadata(site: Path, package: str, number: int, files: list[str]) -> None:
    name = package.replace("_", "-")
    folder = site / f"{package}-1.{number}.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA.format(name=name, number=number) + "words " * 500)
    (folder / "INSTALLER").write_text("pip\n")
    (folder / "top_level.txt").write_text(f"{package}\n")
    files += [f"{folder.name}/{it}" for it in ("METADATA", "INSTALLER", "top_level.txt", "RECORD")]
    digest = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    (folder / "RECORD").write_text("".join(f"{it},{digest},12345\n" for it in files))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    small = environment("small", distributions=2, shared_objects=0, extensions=2)
    large = environment(
        "large", distributions=DISTRIBUTIONS, shared_objects=SHARED_OBJECTS, extensions=EXTENSIONS
    )
    look = [sys.executable, "-m", "torchkit", "env"]
    commands = {
        "torchkit env": look,
        "… 2 extensions": [*look, "--python", str(small)],
        "… 300 packages": [*look, "--python", str(large)],
        "… 300 packages --json": [*look, "--json", "--python", str(large)],
        "collect_env there": [str(large / "bin" / "python"), "-m", "torch.utils.collect_env"],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(measure(command))
    best = {
        name: Cost(
            min(it.cpu_s for it in found),
            min(it.wall_s for it in found),
            max(it.memory_bytes for it in found),
        )
        for name, found in costs.items()
    }
    peer = best["collect_env there"]
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
    full = best["… 300 packages"]
    met = full.wall_s < WALL_BAR_S and full.memory_bytes < MEMORY_BAR_BYTES
    print(
        f"under {WALL_BAR_S:.0f} s and {MEMORY_BAR_BYTES // 1024**2} MiB: {'yes' if met else 'NO'}"
    )
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
