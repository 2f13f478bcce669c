"""What torchkit predicts of real wheels, beside what their files and packages really do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import real_wheels  # noqa: E402 - after the checkout's own folder is on the path
from tools.real_wheels import Torch  # noqa: E402
from torchkit.machine.binding import attempt  # noqa: E402
from torchkit.machine.interpreter import other_interpreter  # noqa: E402
from torchkit.machine.libtorch import TorchProcess, torch_process  # noqa: E402
from torchkit.system import System, Unknown  # noqa: E402

_NUMBERS = re.compile(r"\d+(?:\.\d+)+")
"""Releases in a file's name or folder: `torch-2.10/lib/x.so`, `x_pytorch_2.1.0.so`."""


class Pair(NamedTuple):
    """A wheel beside a torch, in an environment of its own."""

    wheel: str
    torch: Torch
    environment: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"


class Compared(NamedTuple):
    """One compiled file: what the loader said, and what was predicted; None where it loads."""

    pair: Pair
    path: Path
    of_torch: bool
    truth: str | None
    predicted: str | None | Unknown

    @property
    def verdict_is_right(self) -> bool:
        known = not isinstance(self.predicted, Unknown)
        return known and (self.predicted is None) == (self.truth is None)

    @property
    def text_is_right(self) -> bool:
        return self.predicted == self.truth


class Found(NamedTuple):
    """A finding of torchkit that concerns the wheel: its id, status, message and fix."""

    id: str
    status: str
    message: str
    would_fail_with: str
    fix: tuple[str, ...]


@dataclass
class Package:
    """A wheel as a whole: its files against torch, what its import says, what torchkit finds.

    `together` is what the loader says of each file once those are loaded that it brings along.
    """

    pair: Pair
    files: list[Compared]
    found: list[Found]
    together: dict[Path, str | None] = field(default_factory=dict)
    imported: dict[str, str | None] = field(default_factory=dict)

    @property
    def truths(self) -> set[str | None]:
        """Every text that the loader has said of a file."""
        return {it.truth for it in self.files} | set(self.together.values())

    @property
    def broken(self) -> list[Path]:
        """Files that do not load, and of which no build for another release of something does."""
        alike: dict[str, list[Path]] = {}
        for path in self.together:
            inside = str(path).rpartition("/site-packages/")[2]
            alike.setdefault(_NUMBERS.sub("#", inside), []).append(path)
        return [
            path
            for paths in alike.values()
            if all(self.together[path] is not None for path in paths)
            for path in paths
        ]

    @property
    def import_works(self) -> bool | None:
        """None where another package is missing, so that nothing is said of the files."""
        said = list(self.imported.values())
        if not said or any(text and "No module named" in text for text in said):
            return None
        return all(text is None for text in said)

    @property
    def judgement(self) -> str:
        """How the findings compare with the files, and with the import."""
        own = [it for it in self.found if it.id.startswith("extension-")]
        said = [it for it in own if it.status in ("fail", "warn")]
        if any(it.status == "crash" for it in self.found):
            return "CRASH"
        if any(it.would_fail_with and it.would_fail_with not in self.truths for it in own):
            return "WRONG TEXT"
        wants_driver = all("libcuda.so" in str(self.together[path]) for path in self.broken)
        if wants_driver:
            alarm = any(it.status == "fail" for it in self.found)
            return "FALSE ALARM" if alarm else "FALSE WARNING" if said else "right: healthy"
        if said:
            return (
                "right: broken" if self.import_works is not True else "right: broken, import works"
            )
        if self.import_works is not False:
            return "silent, no import that fails"
        return "told by another check" if self.found else "MISSED"


def process_of(torch: Torch, library_path: str = "") -> TorchProcess:
    """The simulated process of this Python after `import torch`."""
    system = System(environ=real_wheels.clean_environment(library_path))
    interpreter = other_interpreter(system, str(torch.python))
    if interpreter.torch is None:
        raise SystemExit(f"{torch.python} has no torch")
    found = interpreter.torch
    return torch_process(
        system,
        torch_folder=found.parent if found.suffix == ".py" else found,
        python_executable=interpreter.executable,
        python_tag=interpreter.tag,
        search_path=interpreter.path,
    )


def compare_files(
    torch: Torch, files: list[tuple[Pair, Path, bool]], library_path: str = ""
) -> list[Compared]:
    """The truth and the prediction for every file."""
    truth = real_wheels.really_load(
        torch, [path for _, path, _ in files], library_path=library_path
    )
    process = process_of(torch, library_path)
    compared = []
    for pair, path, of_torch in files:
        told = attempt(process.system, process.loader, path)
        error = told if isinstance(told, Unknown) else told.error
        compared.append(Compared(pair, path, of_torch, truth[path], error))
    return compared


def findings(pair: Pair) -> list[Found]:
    """What `torchkit env` says of the wheel's environment: all that is not ok, as it is now."""
    ended = subprocess.run(
        [sys.executable, "-m", "torchkit", "env", "--python", pair.python, "--json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=pair.environment,
        env={**real_wheels.clean_environment(), "PYTHONPATH": str(ROOT)},
    )
    try:
        report: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        words = (ended.stderr or ended.stdout).strip().splitlines() or ["nothing"]
        return [Found("no-report", "crash", words[-1], "", ())]
    return [_found(it) for it in report["findings"] if it["status"] not in ("ok", "skip")]


def _found(finding: dict[str, Any]) -> Found:
    evidence = {it["name"]: it["value"] for it in finding.get("evidence", ())}
    return Found(
        finding["id"],
        finding["status"],
        finding["message"],
        evidence.get("would fail with", ""),
        tuple(finding.get("fix", ())),
    )


def compare_packages(torch: Torch, compared: list[Compared]) -> list[Package]:
    """Findings and imports of every wheel."""
    by_pair: dict[Pair, list[Compared]] = {}
    for it in compared:
        by_pair.setdefault(it.pair, []).append(it)
    plain = {(it.id, it.message) for it in findings(_torch_alone(torch, compared))}
    packages, ahead = [], {}
    for pair, its_files in by_pair.items():
        found = [it for it in findings(pair) if (it.id, it.message) not in plain]
        packages.append(Package(pair, [it for it in its_files if it.of_torch], found))
        everything = [it.path for it in its_files]
        for it in packages[-1].files:
            ahead[it.path] = real_wheels.brought_along(it.path, everything)
    together = real_wheels.really_load(torch, ahead, first=ahead)
    asked = []
    for package in packages:
        package.together = {it.path: together[it.path] for it in package.files}
        site = real_wheels.site_packages(package.pair.environment)
        asked += [(package, site, it) for it in real_wheels.modules(package.together)]
    said = real_wheels.really_import(torch, [(site, module) for _, site, module in asked])
    for (package, _, module), text in zip(asked, said, strict=True):
        package.imported[module] = text
    return packages


def _torch_alone(torch: Torch, files: list[Compared]) -> Pair:
    """An environment with nothing beside torch: what is found there is not the wheel's doing."""
    environment = files[0].pair.environment.parent / "nothing"
    real_wheels.make_environment(environment, torch)
    return Pair("nothing", torch, environment)
