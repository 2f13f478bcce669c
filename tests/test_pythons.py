"""torchkit under every Python it is for, and looking at every Python there is from 3.6 on.

Interpreters are found by name on PATH and through pyenv; those that are not there are skipped.
The first run makes an environment for each under pytest's cache folder, which needs the network.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
from installs import REPOSITORY, Outcome, assert_no_traceback, assert_valid, run

from torchkit.machine.interpreter import PYTHON_LIMIT_S

RUNNERS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXAMINED = ("3.6", "3.7", "3.8", "3.9", *RUNNERS)
REQUIREMENTS = ("typer", "rich", "packaging", "pyelftools", "tomli; python_version < '3.11'")
INSTALL_LIMIT_S = 300.0

SELF_DESCRIPTION = """
import json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "executable": sys.executable,
    "prefix": sys.prefix,
    "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
}))
"""


@cache
def interpreters() -> dict[str, Path]:
    """Python by series, `3.10` among them: the first that runs of those named so."""
    candidates: dict[str, list[str]] = {}
    for series in ("2.7", *EXAMINED):
        on_path = shutil.which(f"python{series}")
        candidates[series] = [on_path] if on_path else []
    if shutil.which("pyenv"):
        root = Path(run(["pyenv", "root"]).stdout.strip())
        for name in run(["pyenv", "versions", "--bare"]).stdout.split():
            series = ".".join(name.split(".")[:2])
            if series in candidates:
                candidates[series].append(str(root / "versions" / name / "bin" / "python"))
    found = {}
    for series, names in candidates.items():
        for name in names:
            said = run([name, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
            if said.stdout.strip() == series and series not in found:
                found[series] = Path(name)
    return found


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Path:
    """A Python of this series that has what torchkit needs, and no torch."""
    series = str(request.param)
    if series not in interpreters():
        pytest.skip(f"there is no Python {series} here")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("pythons") / series
    python = folder / "bin" / "python"
    complete = folder / "complete"
    wanted = f"{interpreters()[series]} {REQUIREMENTS}"
    if not complete.exists() or complete.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        made = run([interpreters()[series], "-m", "venv", folder], limit_s=INSTALL_LIMIT_S)
        if made.status != 0:
            pytest.skip(f"Python {series} makes no environments: {made.stderr[-200:]}")
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        got = run([*pip, *REQUIREMENTS], limit_s=INSTALL_LIMIT_S, environ={"PYTHONPATH": ""})
        if got.status != 0:
            pytest.skip(f"cannot install what torchkit needs: {got.stderr[-200:]}")
        complete.write_text(wanted)
    return python


def torchkit(python: Path, *arguments: str | Path, folder: Path, path: str = "") -> Outcome:
    """The command line under a Python; a warning there is an error."""
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), path]))}
    command = [python, "-W", "error", "-X", "dev", "-m", "torchkit", *arguments]
    outcome = run(command, environ=environ, cwd=folder)
    assert_no_traceback(outcome)
    return outcome


def test_it_runs_under_every_python_it_is_for(runner: Path, tmp_path: Path) -> None:
    help_text = torchkit(runner, "--help", folder=tmp_path)
    text = torchkit(runner, "env", folder=tmp_path)
    data = torchkit(runner, "env", "--json", folder=tmp_path)

    assert (help_text.status, help_text.stderr) == (0, "")
    assert "env" in help_text.stdout
    assert (text.status, text.stderr) == (data.status, "")
    assert_valid(data)
    assert data.report["facts"]["torch_version"] is None
    assert data.statuses()["torch-missing"] == "info"


def test_it_describes_every_other_python_as_that_describes_itself(
    runner: Path, tmp_path: Path
) -> None:
    others = {series: python for series, python in interpreters().items() if series != "2.7"}

    outcomes = {
        series: torchkit(runner, "env", "--json", "--python", python, folder=tmp_path)
        for series, python in others.items()
    }

    for series, outcome in outcomes.items():
        facts = outcome.report["facts"]
        told = json.loads(run([others[series], "-c", SELF_DESCRIPTION]).stdout)
        assert_valid(outcome)
        assert facts["python_version"] == told["version"]
        assert facts["python_executable"] == told["executable"]
        assert facts["python_prefix"] == told["prefix"]
        if sys.platform != "win32":
            assert f".{facts['python_tag']}.so" == told["suffix"]


def test_a_python_2_is_refused(tmp_path: Path) -> None:
    if "2.7" not in interpreters():
        pytest.skip("there is no Python 2.7 here")

    outcome = torchkit(
        Path(sys.executable), "env", "--json", "--python", interpreters()["2.7"], folder=tmp_path
    )

    assert outcome.status == 2
    assert "Python 3.6 or newer" in outcome.report["error"]["message"]


def crashing_torch(folder: Path) -> Path:
    """A package that looks like torch and ends whoever imports it."""
    package = folder / "torch"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os\nos.abort()\nfrom torch.torch_version import __version__\n"
    )
    (package / "version.py").write_text("__version__ = '2.4.1+cu121'\ncuda = '12.1'\nhip = None\n")
    (package / "lib" / "libc10.so").write_bytes(b"\x7fELF")
    return folder


def test_a_torch_that_ends_its_process_is_described_and_not_imported(
    runner: Path, tmp_path: Path
) -> None:
    site = crashing_torch(tmp_path / "site")

    imported = run([runner, "-c", "import torch"], environ={"PYTHONPATH": str(site)})
    own = torchkit(runner, "env", "--json", folder=tmp_path, path=str(site))

    assert imported.status == -6  # SIGABRT
    assert_valid(own)
    assert own.report["facts"]["torch_version"] == "2.4.1+cu121"
    assert own.report["facts"]["torch_path"] == str(site / "torch")


@pytest.mark.parametrize("series", EXAMINED)
def test_a_torch_that_ends_its_process_is_described_from_outside(
    series: str, tmp_path: Path
) -> None:
    if series not in interpreters():
        pytest.skip(f"there is no Python {series} here")
    site = crashing_torch(tmp_path / "site")

    outcome = torchkit(
        Path(sys.executable),
        "env",
        "--json",
        "--python",
        interpreters()[series],
        folder=tmp_path,
        path=str(site),
    )

    assert_valid(outcome)
    assert outcome.report["facts"]["torch_cuda"] == "12.1"
    assert outcome.seconds < PYTHON_LIMIT_S


def test_what_runs_in_other_pythons_is_written_for_the_oldest() -> None:
    if "3.6" not in interpreters():
        pytest.skip("there is no Python 3.6 here")
    machine = REPOSITORY / "torchkit" / "machine"
    scripts = sorted(machine.glob("ask_*.py"))

    compiled = [
        run(
            [
                interpreters()["3.6"],
                "-c",
                "compile(open(__import__('sys').argv[1]).read(), '', 'exec')",
                it,
            ]
        )
        for it in scripts
    ]

    assert scripts
    assert [it.stderr for it in compiled] == [""] * len(scripts)
