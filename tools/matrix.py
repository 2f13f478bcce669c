"""The proof of what `torchkit env` says of binaries: real wheels, the real loader, word for word.

    python tools/matrix.py [--torch PYTHON]... [--cache FOLDER] [--only WORD]... [--details]

Every wheel of tools/matrix.toml is fetched with pip and put beside each torch, in an environment
of its own; nothing is installed where that torch is. Then three things are compared:

files       what `ctypes.CDLL` says of each compiled file, and what torchkit predicts: the verdict
            and the whole text; plainly, and with LD_LIBRARY_PATH leading to older CUDA runtimes
packages    what `torchkit env` finds in that environment; whether its files really load, those
            that they need of their own or another package first; and what its import really says

Without --torch, the torch of the Python that runs this. Exits 1 where something differs:
files from their prediction, or findings (in capitals) from what packages really do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import real_wheels  # noqa: E402 - after the checkout's own folder is on the path
from tools.comparison import (  # noqa: E402
    Compared,
    Package,
    Pair,
    compare_files,
    compare_packages,
)
from tools.real_wheels import NotServedError, Torch  # noqa: E402
from torchkit.system import Unknown  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]  # only there below 3.11

WHEELS = Path(__file__).with_suffix(".toml")
TEXT_LENGTH = 150


def wheels(table: str, words: list[str]) -> Iterator[tuple[str, str]]:
    """Name and version of each wanted wheel."""
    for name, versions in _list()[table].items():
        for version in versions:
            if not words or any(word in f"{name}-{version}" for word in words):
                yield name, version


def _list() -> dict[str, dict[str, list[str]]]:
    tables: dict[str, dict[str, list[str]]] = tomllib.loads(WHEELS.read_text("utf-8"))
    return tables


def pairs(torch: Torch, cache: Path, words: list[str]) -> Iterator[Pair]:
    """Fetch each wheel and put it beside this torch."""
    for name, version in wheels("wheels", words):
        try:
            wheel = _download(name, version, torch, cache)
        except NotServedError as reason:
            print(f"passed over: {name} {version}: {reason}", file=sys.stderr)
            continue
        environment = cache / "environments" / torch.name / wheel.stem
        real_wheels.install([wheel], environment, torch)
        yield Pair(f"{name} {version}", torch, environment)


def combinations(torch: Torch, cache: Path, words: list[str]) -> Iterator[Pair]:
    """The same with the packages whose compiled files need those of others."""
    for label, parts in _list()["combinations"].items():
        if words and not any(word in label for word in words):
            continue
        try:
            named = [part.split() for part in parts]
            chosen = [_download(name, version, torch, cache) for name, version in named]
        except NotServedError as reason:
            print(f"passed over: {label}: {reason}", file=sys.stderr)
            continue
        environment = cache / "environments" / torch.name / f"with-{label}"
        real_wheels.install(chosen, environment, torch)
        yield Pair(" + ".join(parts), torch, environment)


def _download(name: str, version: str, torch: Torch, cache: Path) -> Path:
    return real_wheels.download(
        name, version, cache / "wheels", python_version=torch.python_version
    )


def runtimes(torch: Torch, cache: Path) -> str:
    """An LD_LIBRARY_PATH that leads to the CUDA runtimes of older releases."""
    folders = []
    for name, version in wheels("runtimes", []):
        try:
            unpacked = real_wheels.unpacked(_download(name, version, torch, cache))
        except NotServedError as reason:
            print(f"passed over: {name} {version}: {reason}", file=sys.stderr)
            continue
        folders += sorted({str(path.parent) for path in unpacked.rglob("*.so.*")})
    return ":".join(folders)


def print_files(title: str, compared: list[Compared], *, details: bool) -> bool:
    """The score, and every difference. True where there is none."""
    print(f"\n{title}")
    print(f"  {'':<22}{'files':>7}{'verdict right':>15}{'text right':>12}{'load':>7}{'fail':>7}")
    for label, of_torch in (("built against torch", True), ("other libraries", False)):
        them = [it for it in compared if it.of_torch is of_torch]
        loads = sum(it.truth is None for it in them)
        print(
            f"  {label:<22}{len(them):>7}{sum(it.verdict_is_right for it in them):>15}"
            f"{sum(it.text_is_right for it in them):>12}{loads:>7}{len(them) - loads:>7}"
        )
    if details:
        _print_wheels(compared)
    for it in compared:
        if not it.text_is_right:
            told = it.predicted
            print(f"  differs: {it.path}")
            print(f"    loader     {it.truth or 'loads'}")
            print(
                f"    predicted  {f'unknown: {told.reason}' if isinstance(told, Unknown) else told or 'loads'}"
            )
    return all(it.text_is_right for it in compared)


def _print_wheels(compared: list[Compared]) -> None:
    by_wheel: dict[str, list[Compared]] = {}
    for it in compared:
        by_wheel.setdefault(it.pair.wheel, []).append(it)
    for wheel, them in by_wheel.items():
        loads = sum(it.truth is None for it in them)
        first = next((it.truth for it in them if it.truth), "")
        right = sum(it.text_is_right for it in them)
        print(f"  {wheel:<36} {right}/{len(them)} right, {loads} load  {_short(first)}")


def print_packages(packages: list[Package]) -> bool:
    """One block for each wheel: the truth, the findings, how they compare. True where all is well."""
    counts: dict[str, int] = {}
    for package in packages:
        judgement = package.judgement
        counts[judgement] = counts.get(judgement, 0) + 1
        broken = package.broken
        print(f"\n  {package.pair.wheel}: {judgement}")
        print(f"    {len(broken)} of {len(package.files)} files against torch are broken")
        for text in dict.fromkeys(package.together[path] for path in broken[:2]):
            print(f"      {_short(text or '')}")
        for module, text in package.imported.items():
            print(f"    import {module}: {_short(text) if text else 'works'}")
        for found in package.found:
            print(f"    {found.status} {found.id}: {found.message}")
            if found.would_fail_with:
                print(f"      would fail with: {_short(found.would_fail_with)}")
            for fix in found.fix:
                print(f"      fix: {fix}")
    print("\n  " + ", ".join(f"{count} {judgement}" for judgement, count in sorted(counts.items())))
    return not any(judgement.split(":")[0].isupper() for judgement in counts)


def _short(text: str) -> str:
    line = " ".join(text.split()).rpartition("site-packages/")[2]
    return line if len(line) <= TEXT_LENGTH else f"{line[:TEXT_LENGTH]}…"


def main() -> None:
    parser = argparse.ArgumentParser(description="compare predictions with the real loader")
    parser.add_argument("--torch", action="append", type=Path, metavar="PYTHON")
    default = Path(os.environ.get("MATRIX_CACHE") or ROOT / "build" / "matrix")
    parser.add_argument("--cache", type=Path, default=default, metavar="FOLDER")
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--details", action="store_true", help="a line for every wheel")
    parser.add_argument("--files-only", action="store_true", help="leave packages and imports out")
    chosen = parser.parse_args()
    all_right = True
    for python in chosen.torch or [Path(sys.executable)]:
        torch = real_wheels.ask_torch(python.absolute())
        cache = chosen.cache.absolute()
        beside = list(pairs(torch, cache, chosen.only))
        beside += combinations(torch, cache, chosen.only)
        files = [
            (pair, path, real_wheels.refers_to_torch(path))
            for pair in beside
            for path in real_wheels.compiled_files(pair.environment)
        ]
        title = f"{len(beside)} wheels and combinations beside torch {torch.version}"
        plain = compare_files(torch, files)
        all_right &= print_files(title, plain, details=chosen.details)
        wide = compare_files(torch, files, runtimes(torch, cache))
        title = "the same with older CUDA runtimes on LD_LIBRARY_PATH"
        all_right &= print_files(title, wide, details=chosen.details)
        if not chosen.files_only:
            print(f"\npackages beside torch {torch.version}")
            all_right &= print_packages(compare_packages(torch, plain))
    raise SystemExit(0 if all_right else 1)


if __name__ == "__main__":
    main()
