"""Who may import whom, read from the sources: a rule without a test is a wish."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "torchkit"

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "__init__": ("api", "commands", "errors", "live_snoop"),
    "api": ("commands", "dataset", "model", "render", "report", "errors", "system"),
    "snooping": ("commands", "render", "report", "errors", "streams", "tracing"),
    "live_snoop": ("commands", "errors", "snooping", "tracing"),
    "__main__": ("cli", "machine.interruption"),
    "report": (),
    "errors": (),
    "versions": (),
    "units": (),
    "requirements": ("errors", "versions", "machine.facts"),
    "system": ("errors",),
    "streams": ("errors",),
    "lean_options": (),
    "machine": ("machine", "system", "errors", "versions"),
    "knowledge": ("knowledge", "errors", "versions"),
    "advice": ("advice", "knowledge", "machine.facts", "versions"),
    "checks": (
        "checks",
        "report",
        "errors",
        "versions",
        "knowledge",
        "machine.facts",
        "advice",
        "dataset.predict",
        "requirements",
        "units",
    ),
    "dataset": ("dataset", "model", "machine.shm", "errors"),
    "tracing": ("tracing", "advice.forward", "errors"),
    "logs": ("logs", "knowledge", "errors"),
    "model": ("model", "report", "errors", "versions", "units"),
    "render": ("render", "report"),
    "commands": (
        "commands",
        "dataset",
        "checks",
        "advice",
        "machine",
        "model",
        "knowledge",
        "logs",
        "report",
        "errors",
        "system",
        "tracing",
        "versions",
        "requirements",
        "units",
    ),
    "cli": (
        "commands",
        "render",
        "report",
        "errors",
        "streams",
        "lean_options",
        "snooping",
        "system",
    ),
}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the table a file belongs to."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Line and dotted name of every import, those in function bodies included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_part_may(path: Path) -> None:
    allowed = MAY_IMPORT[part_of(path)]

    strangers = [
        f"{path.name}:{line} imports {name}"
        for line, name in imports_of(path)
        if name.startswith("torchkit.")
        and name != "torchkit.__version__"
        and not any(
            name == f"torchkit.{part}" or name.startswith(f"torchkit.{part}.") for part in allowed
        )
    ]

    assert strangers == []


WITHOUT_TORCH = ("model/__init__.py", "model/record.py", "model/layers.py", "model/files")
"""What of `model/` is plain data, and reads weights where there is no torch."""


RUN_THE_DATASET = ("dataset/live.py", "dataset/loading.py", "dataset/sizes.py", "dataset/trial.py")
"""What of `dataset/` runs the user's code: in a child of its own, or in the process that called us."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_what_runs_a_model_imports_torch(path: Path) -> None:
    inside = path.relative_to(PACKAGE).as_posix()
    is_model = part_of(path) == "model" and not inside.startswith(WITHOUT_TORCH)
    may = is_model or inside in RUN_THE_DATASET or part_of(path) == "tracing"

    found = [name for _, name in imports_of(path) if name.split(".")[0] == "torch"]

    assert may or found == []


def test_only_the_command_line_imports_typer() -> None:
    users = {
        path.name
        for path in SOURCES
        if any(name.split(".")[0] == "typer" for _, name in imports_of(path))
    }

    assert users == {"cli.py", "lean_options.py"}


def test_only_system_and_the_guard_start_programs() -> None:
    users = {
        path.name
        for path in SOURCES
        if any(name.split(".")[0] == "subprocess" for _, name in imports_of(path))
    }

    assert users == {"system.py", "guard.py"}


HEAVY = ("torch", "rich", "pydantic", "numpy", "elftools", "netron", "importlib.metadata", "email")

PROBE = """
import sys
sys.modules["torch"] = None  # an import of torch raises ImportError
sys.argv = ["torchkit", *{arguments!r}]
from torchkit.cli import main
try:
    main()
except SystemExit as end:
    loaded = [name for name in {heavy!r} if sys.modules.get(name) is not None]
    print("code", end.code, "loaded", loaded, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["env"],
        ["env", "--json"],
        ["schema"],
        ["shm-check"],
        ["shm-check", "--sample", "3,224,224", "--workers", "4"],
    ],
)
def test_start_up_loads_nothing_heavy_and_no_torch(arguments: list[str]) -> None:
    script = PROBE.format(arguments=arguments, heavy=HEAVY)

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PACKAGE.parent,
    )

    assert done.stderr.splitlines()[-1] in (
        "code 0 loaded []",
        "code 1 loaded []",
    ), done.stderr
