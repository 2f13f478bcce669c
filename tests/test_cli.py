"""The command line as scripts see it: exit codes, stdout, stderr, every option of the contract."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from torchkit import __version__

ROOT = Path(__file__).resolve().parent.parent

HEALTHY: dict[str, Any] = {
    "os_system": "linux",
    "glibc_version": "2.36",
    "python_version": "3.11.7",
    "torch_version": "2.13.0+cpu",
    "torch_cuda": None,
    "torch_cxx11_abi": True,
    "torch_cmake_prefix": "/opt/env/torch/share/cmake",
    "driver_version": None,
    "driver_cuda": None,
    "gpus": [],
    "gcc_version": "12.2.0",
    "shm_total_bytes": 8 * 1024**3,
}
SMALL_SHM = {**HEALTHY, "shm_total_bytes": 64 * 1024**2}
OLD_DRIVER = {
    **HEALTHY,
    "torch_version": "2.5.1+cu124",
    "torch_cuda": "12.4",
    "driver_version": "470.57.02",
    "driver_cuda": "11.4",
    "gpus": [{"name": "Tesla V100-SXM2-16GB", "capability": "7.0", "memory_bytes": 16 * 1024**3}],
}


def torchkit(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a child, in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "torchkit", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )


@pytest.fixture
def saved(tmp_path: Path):
    """Write a machine's facts to a file and give its name."""

    def write(facts: dict[str, Any]) -> str:
        path = tmp_path / "machine.json"
        path.write_text(json.dumps({"facts": facts}))
        return str(path)

    return write


def schema() -> dict[str, Any]:
    return json.loads((ROOT / "torchkit" / "render" / "report.schema.json").read_text())


@pytest.mark.parametrize(
    ("facts", "options", "code"),
    [
        (HEALTHY, [], 0),
        (SMALL_SHM, [], 0),
        (SMALL_SHM, ["--strict"], 1),
        (OLD_DRIVER, [], 1),
        (OLD_DRIVER, ["--skip", "driver-too-old"], 0),
        (OLD_DRIVER, ["--only", "shm-small"], 0),
        (HEALTHY, ["--require", "torch>=2.4"], 0),
        (HEALTHY, ["--require", "torch>=2.14"], 1),
        (HEALTHY, ["--require", "gpu>=1"], 1),
        (HEALTHY, ["--require", "cxx11_abi==1", "--require", "gcc<13,python==3.11"], 0),
    ],
)
def test_the_exit_code_says_what_was_found(saved, tmp_path, facts, options, code) -> None:
    done = torchkit("env", "--facts", saved(facts), *options, cwd=tmp_path)

    assert done.returncode == code, done.stdout
    assert done.stderr == ""


def test_the_first_line_is_the_answer(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(OLD_DRIVER), cwd=tmp_path)

    assert done.stdout.splitlines()[0] == "1 problem: the driver is too old for this torch"


def test_json_and_format_json_are_the_same_and_follow_the_schema(saved, tmp_path) -> None:
    facts = saved(OLD_DRIVER)

    short = torchkit("env", "--facts", facts, "--json", cwd=tmp_path)
    long = torchkit("env", "--facts", facts, "--format", "json", cwd=tmp_path)

    assert short.stdout == long.stdout
    report = json.loads(short.stdout)
    jsonschema.validate(report, schema())
    assert (report["status"], report["exit_code"]) == ("fail", 1)
    assert report["facts"]["driver_version"] == "470.57.02"


def test_strict_shows_in_the_exit_code_of_the_json(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(SMALL_SHM), "--json", "--strict", cwd=tmp_path)

    assert json.loads(done.stdout)["exit_code"] == done.returncode == 1


def test_quiet_says_nothing_where_all_is_well(saved, tmp_path) -> None:
    assert torchkit("env", "--facts", saved(HEALTHY), "--quiet", cwd=tmp_path).stdout == ""


def test_quiet_says_what_is_wrong(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(OLD_DRIVER), "--quiet", cwd=tmp_path)

    assert "driver-too-old" in done.stdout
    assert "glibc" not in done.stdout


def test_github_prints_workflow_commands(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(OLD_DRIVER), "--format", "github", cwd=tmp_path)

    assert "::error title=driver-too-old::driver 470.57.02 cannot run CUDA 12.4" in done.stdout


def test_markdown_hides_a_home_folder_unless_told_not_to(saved, tmp_path) -> None:
    facts = saved({**HEALTHY, "python_prefix": "/home/ada/env", "python_executable": "/home/ada/x"})

    hidden = torchkit("env", "--facts", facts, "--format", "markdown", cwd=tmp_path)
    shown = torchkit("env", "--facts", facts, "--format", "markdown", "--no-redact", cwd=tmp_path)

    assert "ada" not in hidden.stdout
    assert "/home/ada/env" in shown.stdout


def test_output_writes_the_report_to_a_file(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(OLD_DRIVER), "--output", "report.txt", cwd=tmp_path)

    assert (done.stdout, done.returncode) == ("", 1)
    assert (tmp_path / "report.txt").read_text().startswith("1 problem: ")


def test_a_machine_that_was_saved_is_judged_the_same_again(tmp_path) -> None:
    here = torchkit("env", "--json", "--save", "saved.json", cwd=tmp_path)

    again = torchkit("env", "--json", "--facts", "saved.json", cwd=tmp_path)

    first, second = json.loads(here.stdout), json.loads(again.stdout)
    jsonschema.validate(json.loads((tmp_path / "saved.json").read_text()), schema())
    assert second["facts"] == first["facts"]
    assert second["findings"] == first["findings"]
    assert second.get("artifacts") == first.get("artifacts")


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("torch_version", "2.13.0+cpu\n"),
        ("torch_cuda", "\n"),
        ("torch_cxx11_abi", "true\n"),
        ("torch_cmake_prefix", "/opt/env/torch/share/cmake\n"),
        ("shm_total_bytes", "8589934592\n"),
        ("gpus", "\n"),
    ],
)
def test_get_prints_a_value_and_nothing_else(saved, tmp_path, fact, value) -> None:
    done = torchkit("env", "--facts", saved(HEALTHY), "--get", fact, cwd=tmp_path)

    assert (done.stdout, done.stderr, done.returncode) == (value, "", 0)


def test_get_with_json_prints_json(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(OLD_DRIVER), "--get", "gpus", "--json", cwd=tmp_path)

    assert json.loads(done.stdout) == OLD_DRIVER["gpus"]


def test_get_of_a_fact_that_could_not_be_told_is_no_answer(saved, tmp_path) -> None:
    facts = saved({"driver_version": {"unknown": "nvidia-smi did not answer within 5 s"}})

    done = torchkit("env", "--facts", facts, "--get", "driver_version", cwd=tmp_path)

    assert (done.stdout, done.returncode) == ("", 2)
    assert "nvidia-smi did not answer within 5 s" in done.stderr


@pytest.mark.parametrize("option", ["--get", "--list"])
@pytest.mark.parametrize(
    "gate",
    [
        ["--require", "torch>=99"],
        ["--only", "shm-small"],
        ["--skip", "shm-small"],
        ["--save", "saved.json"],
    ],
)
def test_a_gate_that_would_not_hold_is_refused(saved, tmp_path, option, gate) -> None:
    asked = [option, "torch_version"] if option == "--get" else [option]

    done = torchkit("env", "--facts", saved(HEALTHY), *asked, *gate, cwd=tmp_path)

    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.splitlines()[0] == (
        f"error: {gate[0]} would have no effect beside {option}, which judges nothing"
    )
    assert done.stderr.splitlines()[1].startswith("hint:  ")
    assert not (tmp_path / "saved.json").exists()


@pytest.mark.parametrize("options", [["--get", "torch_cuda"], ["--list"]])
def test_a_second_question_beside_get_is_refused(saved, tmp_path, options) -> None:
    done = torchkit(
        "env", "--facts", saved(HEALTHY), "--get", "torch_version", *options, cwd=tmp_path
    )

    assert (done.stdout, done.returncode) == ("", 2)
    assert options[-1] in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("torch", "torch_version"),
        ("Torch", "torch_version"),
        ("cuda", "torch_cuda"),
        ("torch_versoin", "torch_version"),
        ("driver_versin", "driver_version"),
    ],
)
def test_a_name_that_is_no_fact_leads_to_the_one_that_is_meant(tmp_path, name, fact) -> None:
    done = torchkit("env", "--get", name, cwd=tmp_path)

    assert done.returncode == 2
    assert done.stderr.splitlines()[1] == f"hint:  did you mean {fact}?"


def test_a_name_like_no_fact_gets_no_list_of_all(tmp_path) -> None:
    done = torchkit("env", "--get", "nonsense", cwd=tmp_path)

    assert "torchkit env --json" in done.stderr
    assert len(done.stderr) < 200


def test_a_requirement_check_without_a_requirement_is_no_answer(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(HEALTHY), "--only", "requirement-unmet", cwd=tmp_path)

    assert (done.stdout, done.returncode) == ("", 2)
    assert "--require" in done.stderr


def test_only_the_requirements_can_be_judged(saved, tmp_path) -> None:
    only = ["--only", "requirement-unmet", "--require", "torch>=99", "--json"]

    done = torchkit("env", "--facts", saved(OLD_DRIVER), *only, cwd=tmp_path)

    assert [it["id"] for it in json.loads(done.stdout)["findings"]] == ["requirement-unmet"]
    assert done.returncode == 1


def test_a_requirement_cannot_be_asked_for_and_left_out(saved, tmp_path) -> None:
    both = ["--skip", "requirement-unmet", "--require", "torch>=99"]

    assert torchkit("env", "--facts", saved(HEALTHY), *both, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
def test_what_is_saved_has_the_exit_code_of_the_process(saved, tmp_path, options, code) -> None:
    facts = saved(SMALL_SHM)

    done = torchkit("env", "--facts", facts, "--save", "saved.json", *options, cwd=tmp_path)

    report = json.loads((tmp_path / "saved.json").read_text())
    assert report["exit_code"] == done.returncode == code
    assert report["status"] == "warn"


def test_a_saved_version_that_json_would_change_is_refused(tmp_path) -> None:
    (tmp_path / "machine.json").write_text('{"facts": {"torch_version": 2.10}}')

    done = torchkit("env", "--facts", "machine.json", cwd=tmp_path)

    assert done.returncode == 2
    assert 'written as text, such as "2.10"' in done.stderr


@pytest.mark.skipif(not Path("/bin/ls").exists(), reason="no /bin/ls")
@pytest.mark.parametrize("program", ["/bin/ls", "/bin/echo"])
def test_a_program_that_is_no_python_does_not_get_our_script_quoted(tmp_path, program) -> None:
    done = torchkit("env", "--python", program, cwd=tmp_path)

    assert done.returncode == 2
    assert f"{program} did not answer as Python 3.6 or newer would" in done.stderr
    assert "interpreter says" not in done.stderr
    assert "json.dumps" not in done.stderr


def test_list_names_every_check(tmp_path) -> None:
    done = torchkit("env", "--list", "--json", cwd=tmp_path)

    rows = json.loads(done.stdout)["tables"][0]["rows"]
    assert {"driver-too-old", "requirement-unmet"} <= {row["id"] for row in rows}


def test_only_runs_one_check(saved, tmp_path) -> None:
    done = torchkit(
        "env", "--facts", saved(OLD_DRIVER), "--only", "driver-too-old", "--json", cwd=tmp_path
    )

    assert [it["id"] for it in json.loads(done.stdout)["findings"]] == ["driver-too-old"]


def test_python_examines_another_interpreter(tmp_path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True
    )

    done = torchkit("env", "--python", "other/bin/python", "--json", cwd=tmp_path)

    facts = json.loads(done.stdout)["facts"]
    assert facts["torch_version"] is None
    assert facts["python_prefix"] == str(tmp_path / "other")


def test_the_libtorch_download_that_fits_is_an_artifact(saved, tmp_path) -> None:
    done = torchkit("env", "--facts", saved(OLD_DRIVER), "--json", cwd=tmp_path)

    (artifact,) = json.loads(done.stdout)["artifacts"]
    assert artifact["kind"] == "libtorch"
    assert "/cu118/libtorch-cxx11-abi-shared-with-deps-2.7.1%2Bcu118.zip" in artifact["url"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["env", "--format", "xml"], "xml"),
        (["env", "--only", "driver-to-old"], "driver-too-old"),
        (["env", "--require", "torhc>=2"], "torch"),
        (["env", "--require", "torch>=two"], "two"),
        (["env", "--get", "torch_versoin"], "torch_version"),
        (["env", "--facts", "not-there.json"], "not-there.json"),
        (["env", "--python", "not-there"], "not-there"),
        (["env", "--output", "no/such/folder/x", "--list"], "no/such/folder/x"),
        (["env", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_used_is_refused_in_two_lines(tmp_path, arguments, named) -> None:
    done = torchkit(*arguments, cwd=tmp_path)

    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert named in done.stderr
    assert done.stdout == ""


def test_with_json_a_failure_is_json_too(tmp_path) -> None:
    done = torchkit("env", "--facts", "not-there.json", "--json", cwd=tmp_path)

    report = json.loads(done.stdout)
    jsonschema.validate(report, schema())
    assert (report["status"], report["exit_code"], done.returncode) == ("unable", 2, 2)
    assert "not-there.json" in report["error"]["message"]


def test_version_and_schema(tmp_path) -> None:
    assert torchkit("--version", cwd=tmp_path).stdout == f"torchkit {__version__}\n"
    assert json.loads(torchkit("schema", cwd=tmp_path).stdout) == schema()


def test_no_command_shows_the_help_and_is_no_answer(tmp_path) -> None:
    done = torchkit(cwd=tmp_path)

    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_a_pipe_gets_no_colour_and_no_wrapped_value(saved, tmp_path) -> None:
    long = "/opt/" + "/".join(["a-rather-long-folder"] * 12)
    facts = saved({**HEALTHY, "torch_problems": [f"ImportError: {long}: file too short"]})

    done = torchkit("env", "--facts", facts, cwd=tmp_path)

    assert "\x1b" not in done.stdout
    assert long in done.stdout


def test_a_reader_that_leaves_ends_it_quietly(tmp_path) -> None:
    command = f'"{sys.executable}" -m torchkit env --list --json | head -c 1'

    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert (done.stdout, done.stderr) == ("{", "")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_inside_an_import_hook_too(tmp_path, number) -> None:
    """Whoever asks a stranger's hook has to catch the SystemExit that it may raise."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\n"
        "class Hook:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            print('asked', flush=True)\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "torchkit", "env"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"asked\n"

        child.send_signal(signal.Signals[number])
        said = child.communicate(timeout=30)
    finally:
        child.kill()

    assert said == (b"", b"")
    assert child.returncode == 128 + signal.Signals[number]


def test_a_child_that_could_not_be_started_is_no_answer_to_live(tmp_path) -> None:
    """The folder for the child's answers cannot be made where the disk is full."""
    full = (
        "import errno, tempfile\ndef full(*_, **__): raise OSError(errno.ENOSPC, 'No space left')\n"
    )
    (tmp_path / "sitecustomize.py").write_text(f"{full}tempfile.TemporaryDirectory = full\n")
    paths = f"{tmp_path}{os.pathsep}{ROOT}"

    ended = torchkit("env", "--live", cwd=tmp_path, PYTHONPATH=paths)
    without = torchkit("env", cwd=tmp_path, PYTHONPATH=paths)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: --live could not run: no temporary folder")
    assert without.returncode != 2


def test_the_installed_program_starts_as_python_m_does() -> None:
    """What it does first is to note a SIGTERM, before the command line is loaded."""
    entry = re.search(r'(?m)^torchkit = "(.+)"$', (ROOT / "pyproject.toml").read_text())

    assert entry is not None
    assert entry[1] == "torchkit.__main__:start"
    assert callable(pkgutil.resolve_name(entry[1]))


def test_a_build_that_worked_is_told_in_the_overview(saved, tmp_path) -> None:
    trial = {
        "against": "/opt/libtorch", "stage": "run", "succeeded": True, "error": None,
        "version": "2.13.0+cpu", "configure_s": 0.44, "compile_s": 8.31, "link_s": 0.65,
        "run_s": 0.4, "cuda_available": False,
    }  # fmt: skip
    failed = {**trial, "against": "/opt/old", "stage": "link", "succeeded": False, "error": "no"}
    alone = torchkit("env", "--facts", saved({**HEALTHY, "build_trials": [trial]}), cwd=tmp_path)
    two = torchkit(
        "env", "--facts", saved({**HEALTHY, "build_trials": [trial, failed]}), cwd=tmp_path
    )

    rows = [line for line in alone.stdout.splitlines() if line.startswith("probe ")]
    assert [" ".join(row.split()[1:]) for row in rows] == [
        "works · libtorch 2.13.0+cpu · configured in 0.4 s · compiled in 8.3 s · linked in 0.7 s"
        " · ran in 0.4 s · CUDA not available"
    ]
    rows = [line for line in two.stdout.splitlines() if line.startswith("probe ")]
    assert "libtorch 2.13.0+cpu · /opt/libtorch · configured" in rows[0]
    assert "link failed · libtorch 2.13.0+cpu · /opt/old" in rows[1]


def test_from_python_a_report_is_returned_and_nothing_printed(capsys) -> None:
    import torchkit as package

    report = package.env(only=["shm-small"])

    jsonschema.validate(report.to_dict(), schema())
    assert [finding.id for finding in report.findings] == ["shm-small"]
    assert capsys.readouterr().out == ""


def test_from_python_what_cannot_be_answered_is_raised() -> None:
    import torchkit as package

    with pytest.raises(package.TorchkitError) as raised:
        package.env(require=["torhc>=2"])

    assert raised.value.hint == "did you mean torch?"
