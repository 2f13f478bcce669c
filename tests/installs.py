"""Whole installations to damage, and torchkit run on them as a user would, in a child.

An environment is a folder of links to what the running Python has, so that one costs tenths of a
second and a file of it can be replaced without touching the real one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

REPOSITORY = Path(__file__).resolve().parent.parent
SITE = Path(sysconfig.get_path("purelib"))
MODULE = f"_C.{sysconfig.get_config_var('SOABI')}.so"
LIMIT_S = 60.0
"""Far above what anything here may take; a test that waits for it has failed."""

_SPEC = importlib.util.find_spec("torch")
TORCH = None if _SPEC is None or _SPEC.origin is None else Path(_SPEC.origin).parent
HAS_TORCH = TORCH is not None and (TORCH / "lib").is_dir() and sys.platform == "linux"


@dataclass(frozen=True)
class Outcome:
    """How one child went. `seconds` is wall time."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def report(self) -> dict[str, Any]:
        """The JSON it wrote."""
        report: dict[str, Any] = json.loads(self.stdout)
        return report

    def statuses(self) -> dict[str, str]:
        """The status of every finding by its id."""
        return {finding["id"]: finding["status"] for finding in self.report["findings"]}

    def finding(self, check_id: str) -> dict[str, Any]:
        """The first finding of that id."""
        found: dict[str, Any] = next(it for it in self.report["findings"] if it["id"] == check_id)
        return found

    def quoted(self, check_id: str) -> str:
        """The error that a finding says the user would meet."""
        evidence = self.finding(check_id)["evidence"]
        text: str = next(item["value"] for item in evidence if item["name"] == "would fail with")
        return text

    def wrong(self) -> set[str]:
        """Ids of everything that is a warning or worse."""
        return {name for name, status in self.statuses().items() if status in _WRONG}


_WRONG = ("warn", "fail", "crash")


@dataclass
class Environment:
    """A virtual environment of links. `environ` is what its children get beside a plain one."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.folder / "lib" / version / "site-packages"

    @property
    def torch(self) -> Path:
        return self.site / "torch"

    @property
    def metadata(self) -> Path:
        return next(self.site.glob("torch-*.dist-info"))

    @property
    def work(self) -> Path:
        """The current folder of its children."""
        return self.folder / "work"

    def without(self, name: str) -> Path:
        """A file or link of torch taken away; the path it had."""
        path = self.torch / name
        path.unlink()
        return path

    def replace(self, name: str, content: bytes | str) -> Path:
        """A file of torch with other content."""
        path = self.without(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def cut(self, name: str, *, keep_bytes: int) -> Path:
        """A file of torch of which only the beginning is left."""
        with (self.torch / name).open("rb") as file:
            data = file.read(keep_bytes)
        return self.replace(name, data)

    def env(self, *arguments: str | Path, json_wanted: bool = True, **changes: Any) -> Outcome:
        """`torchkit env` in this environment; with JSON the report is held against the schema."""
        options = ["--json"] if json_wanted else []
        outcome = run(
            [self.python, "-m", "torchkit", "env", *options, *arguments],
            **{"environ": self.environ, "cwd": self.work, **changes},
        )
        assert_no_traceback(outcome)
        if json_wanted:
            assert_valid(outcome)
        return outcome

    def really_import(self, **changes: Any) -> Outcome:
        """`import torch` by this environment's Python, for the truth."""
        return run(
            [self.python, "-c", "import torch; torch.ones(2)"],
            **{"environ": self.environ, "cwd": self.work, **changes},
        )


def plain_environ(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what changes how Python or the loader search, plus `changes`."""
    dropped = re.compile(r"PYTHON.*|LD_.*|COLUMNS|NO_COLOR|FORCE_COLOR|CUDA.*|NVCC.*|VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(changes or {}),
    }


def run(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
    **changes: Any,
) -> Outcome:
    """A child with a plain environment plus `environ`. Raises TimeoutExpired after `limit_s`."""
    start = time.monotonic()
    child = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        **{"env": plain_environ(environ), "capture_output": True, **changes},
        timeout=limit_s,
        check=False,
    )
    seconds = time.monotonic() - start
    stdout, stderr = (
        (data or b"").decode("utf-8", "surrogateescape") for data in (child.stdout, child.stderr)
    )
    return Outcome(child.returncode, stdout, stderr, seconds)


def assert_no_traceback(outcome: Outcome) -> None:
    """It ended in one of its own ways and did not break."""
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.status in (0, 1, 2), (outcome.status, outcome.stderr)


def assert_valid(outcome: Outcome) -> None:
    """Its JSON is what the schema promises, and tells its own exit status."""
    report = outcome.report
    assert_follows_schema(report)
    assert report["exit_code"] == outcome.status, report
    crashed = [it for it in report.get("findings", ()) if it["status"] == "crash"]
    assert not crashed, crashed


def assert_follows_schema(report: dict[str, Any]) -> None:
    """The JSON of a report is what the schema promises."""
    _validator().validate(report)


@cache
def _validator() -> Draft202012Validator:
    schema = REPOSITORY / "torchkit" / "render" / "report.schema.json"
    return Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))


def make_environment(folder: Path, *, torch: bool = True) -> Environment:
    """A virtual environment with torchkit's and torch's dependencies, and torch if wanted.

    No package has metadata but torch, so that nothing of the running Python is judged.
    """
    environment = Environment(folder)
    environment.site.mkdir(parents=True)
    environment.work.mkdir()
    environment.python.parent.mkdir()
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    environment.python.symlink_to(base)
    (folder / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = false\n", encoding="utf-8"
    )
    for entry in SITE.iterdir():
        if entry.suffix not in (".dist-info", ".egg-info", ".pth", ".egg-link") and not (
            re.match(r"torch(?!gen)|functorch|__pycache__|~|sitecustomize", entry.name)
        ):
            (environment.site / entry.name).symlink_to(entry)
    if torch:
        assert TORCH is not None
        links(TORCH, environment.torch)
        for inner in ("lib", "bin"):
            (environment.torch / inner).unlink()
            links(TORCH / inner, environment.torch / inner)
        for metadata in TORCH.parent.glob("torch-*.dist-info"):
            links(metadata, environment.site / metadata.name)
    return environment


def links(source: Path, target: Path) -> None:
    """A folder with a link for each entry of another."""
    target.mkdir(parents=True)
    for entry in source.iterdir():
        (target / entry.name).symlink_to(entry)
