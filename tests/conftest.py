"""What several tests need: invented systems and machines, the command line, golden files."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from torchkit import checks
from torchkit.commands.sources import read_facts
from torchkit.machine.facts import Facts
from torchkit.report import Finding
from torchkit.system import System

HERE = Path(__file__).parent
MACHINES = HERE / "machines"
GOLDEN = HERE / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden files anew instead of comparing with them",
    )


@pytest.fixture
def fake_system(tmp_path: Path) -> Callable[..., System]:
    """Makes a `System` of its own: files by absolute path, and nothing but the given environment."""

    def make(
        files: Mapping[str, str | bytes] | None = None, environ: Mapping[str, str] | None = None
    ) -> System:
        for path, content in (files or {}).items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        return System(root=tmp_path, environ=dict(environ or {}))

    return make


@pytest.fixture
def machine() -> Callable[[str], Facts]:
    """The facts of tests/machines/NAME.json."""
    return lambda name: read_facts(MACHINES / f"{name}.json")


@pytest.fixture
def finding() -> Callable[..., Finding]:
    """What the runner makes of one check, given some facts; all others are unknown."""

    def run(check_id: str, **facts: Any) -> Finding:
        return checks.worst_first(checks.run_check(checks.load(check_id), Facts(facts)))[0]

    return run


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with tests/golden/NAME, or writes it there with --update-golden."""
    is_update = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if is_update:
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.is_file(), f"{name} is not there: run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8")

    return compare


@dataclass(frozen=True)
class Ended:
    """How a command line ended: exit code, stdout, stderr."""

    code: int
    stdout: str
    stderr: str


class _Stream(io.TextIOWrapper):
    """A stream that keeps its bytes, as a pipe or as a terminal of 80 columns."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def text(self) -> str:
        self.flush()
        data = self.buffer
        assert isinstance(data, io.BytesIO)
        return data.getvalue().decode()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs `torchkit ARGUMENTS` in this process: 80 columns, no colour, stdout a pipe.

    With `terminal=True` stdout is a terminal.
    """
    from torchkit.cli import main

    def run(*arguments: object, terminal: bool = False) -> Ended:
        stdout, stderr = _Stream(terminal=terminal), _Stream(terminal=False)
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", "80")
            patch.setenv("NO_COLOR", "1")
            patch.setattr(sys, "argv", ["torchkit", *map(str, arguments)])
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", stderr)
            with pytest.raises(SystemExit) as ended:
                main()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, stdout.text(), stderr.text())

    return run
