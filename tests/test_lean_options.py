"""Options read by us and by typer itself: the same values, the same refusals, and no pydantic."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from torchkit.lean_options import LeanCommand, LeanGroup

REPOSITORY = Path(__file__).parents[1]


class Format(str, Enum):
    TEXT = "text"
    JSON = "json"


def _app(*, lean: bool) -> tuple[typer.Typer, list[dict[str, Any]]]:
    """An application with every kind of option torchkit has, and what its commands are given."""
    given: list[dict[str, Any]] = []
    classes: dict[str, Any] = {"cls": LeanGroup} if lean else {}
    app = typer.Typer(add_completion=False, rich_markup_mode=None, **classes)

    @app.callback()
    def start(version: Annotated[bool, typer.Option("--version")] = False) -> None:
        given.append({"version": version})

    @app.command(**({"cls": LeanCommand} if lean else {}))
    def run(
        script: Annotated[Path | None, typer.Argument()] = None,
        text: Annotated[str | None, typer.Option()] = None,
        default: Annotated[str, typer.Option()] = "d",
        many: Annotated[list[str] | None, typer.Option()] = None,
        files: Annotated[list[Path] | None, typer.Option()] = None,
        file: Annotated[Path | None, typer.Option("-o", "--output")] = None,
        format: Annotated[Format, typer.Option(envvar="T_FORMAT")] = Format.TEXT,
        flag: Annotated[bool, typer.Option("--flag/--no-flag", envvar="T_FLAG")] = True,
        plain: Annotated[bool, typer.Option("--plain")] = False,
        number: Annotated[int, typer.Option()] = 1,
        ratio: Annotated[float | None, typer.Option()] = None,
    ) -> None:
        given.append(dict(locals()))

    return app, given


def _outcome(
    arguments: list[str], environ: dict[str, str], *, lean: bool, monkeypatch: pytest.MonkeyPatch
) -> Any:
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    app, given = _app(lean=lean)
    try:
        app(arguments, prog_name="app", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - its kind and exit code are what is compared
        return type(error).__name__, getattr(error, "exit_code", None)
    return [{name: value for name, value in call.items() if name != "given"} for call in given]


CASES: list[tuple[list[str], dict[str, str]]] = [
    (["run"], {}),
    (["--version", "run"], {}),
    (["run", "a.py"], {}),
    (["run", "--text", "x"], {}),
    (["run", "--text", ""], {}),
    (["run", "--text", "é ✓"], {}),
    (["run", "--default", "other"], {}),
    (["run", "--many", "a", "--many", "b"], {}),
    (["run", "--many", "1"], {}),
    (["run", "--files", "a.json", "--files", "/b"], {}),
    (["run", "-o", "out.json"], {}),
    (["run", "--output", ""], {}),
    (["run", "--output=~/x"], {}),
    (["run", "--format", "json"], {}),
    (["run", "--format", "xml"], {}),
    (["run", "--format", "JSON"], {}),
    (["run", "--format", ""], {}),
    (["run", "--flag"], {}),
    (["run", "--no-flag", "--plain"], {}),
    (["run", "--number", "7", "--ratio", "0.5"], {}),
    (["run", "--number", "seven"], {}),
    (["run", "--text"], {}),
    (["run", "--nothing"], {}),
    (["run"], {"T_FORMAT": "json"}),
    (["run"], {"T_FORMAT": "xml"}),
    (["run"], {"T_FLAG": "0"}),
    (["run"], {"T_FLAG": "false"}),
    (["run"], {"T_FLAG": "1"}),
    (["run"], {"T_FLAG": "maybe"}),
    ([], {}),
    (["nothing"], {}),
]


@pytest.mark.parametrize(("arguments", "environ"), CASES)
def test_values_and_refusals_are_typer_s_own(
    arguments: list[str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = _outcome(arguments, environ, lean=False, monkeypatch=monkeypatch)

    ours = _outcome(arguments, environ, lean=True, monkeypatch=monkeypatch)

    assert ours == judge


def test_a_wrong_choice_names_what_was_given_and_what_can_be() -> None:
    app, _ = _app(lean=True)

    with pytest.raises(typer.BadParameter) as caught:
        app(["run", "--format", "xml"], prog_name="app", standalone_mode=False)

    assert "'xml'" in caught.value.message
    assert "text" in caught.value.message
    assert "json" in caught.value.message


def test_options_cost_no_pydantic() -> None:
    program = (
        "import sys\nfrom torchkit import cli\n"
        "cli._run(['env', '--list', '--json', '--only', 'shm-small'])\n"
        "sys.stderr.write('loaded' if 'pydantic' in sys.modules else 'not loaded')"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert said.stderr.endswith("not loaded")
