"""`torchkit env` where nothing can be relied on: streams, folders, programs, files and options.

Whatever happens, it answers in time with one of its own exit codes, valid JSON and no traceback,
and leaves no process behind.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from installs import (
    LIMIT_S,
    REPOSITORY,
    Environment,
    Outcome,
    assert_follows_schema,
    assert_no_traceback,
    assert_valid,
    make_environment,
    plain_environ,
    run,
)

from torchkit.commands import env as command
from torchkit.errors import BadInput
from torchkit.machine.driver import LIMIT_S as DRIVER_LIMIT_S
from torchkit.machine.interpreter import PYTHON_LIMIT_S
from torchkit.machine.toolchain import TOOL_LIMIT_S
from torchkit.render import Format, Style, render
from torchkit.report import Status

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

TORCHKIT = f"{shlex.quote(sys.executable)} -m torchkit"
SLACK_S = 4.0
"""What a busy machine may add to a time limit."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A Python with torchkit and without torch."""
    return make_environment(tmp_path_factory.mktemp("hostile").resolve() / "env", torch=False)


def torchkit(*arguments: str | Path, **changes: Any) -> Outcome:
    """The command line by the Python that runs the tests."""
    return run([sys.executable, "-m", "torchkit", *arguments], **changes)


def assert_refused(outcome: Outcome, *, is_json: bool = True) -> None:
    """It said in two lines what is wrong and what to do, and so in JSON."""
    lines = outcome.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], outcome.stderr
    assert lines[0][7:8] == lines[0][7:8].lower()
    assert not lines[0].endswith(".")
    assert outcome.status == 2
    if is_json:
        assert_valid(outcome)
        assert outcome.report["status"] == "unable"
        assert set(outcome.report["error"]) == {"message", "hint"}


# --- environment variables


@pytest.mark.parametrize(
    "changes",
    [
        {"HOME": None, "USER": None, "LOGNAME": None},
        {"LANG": None, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PATH": ""},
        {"PATH": None},
        {"PATH": "relative:::/dev/null:/proc/self:/nowhere:/etc/passwd"},
        {"LD_LIBRARY_PATH": f"::/nowhere:\x01:/proc/self/fd:/dev/null:$ORIGIN:{'/x' * 3000}"},
        {"CUDA_HOME": "/etc/passwd", "NVCC_CCBIN": "", "CUDAHOSTCXX": '-ccbin "x'},
        {"CUDA_HOME": f"\x07\n/{'a' * 5000}", "CUDA_VISIBLE_DEVICES": "\x1b[31m,,-1,GPU-x"},
        {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *(f"/nowhere/{n}" for n in range(200))])},
        {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
        {"TERM": "\x1b", "COLUMNS": "-5", "FORCE_COLOR": "yes"},
        {"TMPDIR": "/nowhere"},
    ],
    ids="_".join,
)
def test_no_environment_variable_hinders_an_answer(
    environment: Environment, changes: Mapping[str, str | None]
) -> None:
    environ = {name: value for name, value in {**plain_environ(), **changes}.items() if value}
    if changes.get("PATH") == "":
        environ["PATH"] = ""

    outcome = environment.env(env=environ)

    assert outcome.status in (0, 1)
    assert outcome.stderr == ""


def test_an_empty_environment_gives_an_answer(environment: Environment) -> None:
    outcome = environment.env(env={"PYTHONPATH": str(REPOSITORY)})

    assert outcome.status in (0, 1)


@pytest.mark.parametrize("name", [b"\xc3\xbcn\xc3\xaf \xe4\xb8\xad", b"b\xff\xfe", b"a\nb\x1b[31m"])
@pytest.mark.parametrize("format", ["json", "text", "markdown", "github"])
def test_a_folder_of_any_name_is_named_in_a_report(
    environment: Environment, tmp_path: Path, name: bytes, format: str
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (folder / "torch.py").write_text("")
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    plain = environment.env("--format", format, json_wanted=False, cwd=folder)
    ascii_only = environment.env("--format", format, json_wanted=False, cwd=folder, environ=environ)

    for outcome in (plain, ascii_only):
        assert "torch-shadowed" in outcome.stdout
        assert "\x1b" not in outcome.stdout
        assert outcome.stderr == ""
        if format == "json":
            assert_valid(outcome)
            assert outcome.report["facts"]["torch_shadows"] != []


# --- streams and the current folder


def in_shell(script: str, folder: Path) -> Outcome:
    outcome = run(["/bin/bash", "-c", script], cwd=folder)
    assert "Traceback" not in outcome.stderr
    assert "Exception ignored" not in outcome.stderr
    return outcome


@pytest.mark.parametrize(
    ("command", "status", "stdout", "stderr"),
    [
        ("env >&-", 2, "", "error: stdout is closed"),
        ("env --json >&-", 2, "", "error: stdout is closed"),
        ("--version >&-", 2, "", "error: stdout is closed"),
        (">&-", 2, "", "error: stdout is closed"),
        ("schema >&-", 2, "", "error: stdout is closed"),
        ("env --list >&- 2>&- <&-", 2, "", ""),
        ("env --list --json 2>&- | head -c 1", 0, "{", ""),
        ("env --only nonsense 2>&-", 2, "", ""),
        ("env --only nonsense --json 2>&- | head -c 1", 2, "{", ""),
        ("env >/dev/full", 2, "", "error: cannot write the report: no space left on device"),
        ("env --json >/dev/full", 2, "", "error: cannot write the report: no space left on device"),
        ("env --help >/dev/full", 2, "", "error: cannot write the help: no space left on device"),
        ("--version >/dev/full", 2, "", "error: cannot write the report: no space left on device"),
        (">/dev/full", 2, "", "error: cannot write the report: no space left on device"),
        ("env --only nonsense --json >/dev/full", 2, "", "error: there is no check"),
        ("env --only nonsense 2>/dev/full", 2, "", ""),
        ("env --only nonsense --json >/dev/full 2>/dev/full", 2, "", ""),
        ("env --list --json <&- | head -c 1", 0, "{", ""),
        ("env --list --json | true", 0, "", ""),
        ("env --only nonsense --json | true", 2, "", "error: there is no check"),
    ],
)
def test_a_stream_that_fails_ends_it_in_its_own_way(
    tmp_path: Path, command: str, status: int, stdout: str, stderr: str
) -> None:
    outcome = in_shell(f"{TORCHKIT} {command}\nexit ${{PIPESTATUS[0]}}", tmp_path)

    assert (outcome.status, outcome.stdout) == (status, stdout)
    assert outcome.stderr.startswith(stderr)
    assert bool(outcome.stderr) == bool(stderr)


def test_a_folder_that_was_deleted_under_us_is_no_hindrance(tmp_path: Path) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && {TORCHKIT} env --json"

    outcome = in_shell(script, tmp_path)

    assert_valid(outcome)
    assert outcome.status in (0, 1)


def test_few_file_descriptors_are_enough(tmp_path: Path) -> None:
    outcome = in_shell(f"ulimit -n 10; exec {TORCHKIT} env --json", tmp_path)

    assert_valid(outcome)


# --- a machine without the usual file systems


def in_namespace(mounts: str, tmp_path: Path, *arguments: str) -> Outcome:
    """torchkit where other file systems are mounted. Skips where that is not allowed."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if shutil.which("unshare") is None or run([*unshare, "true"]).status != 0:
        pytest.skip("needs root and unshare")
    command = " ".join([TORCHKIT, "env", "--json", *arguments])
    return run([*unshare, "/bin/sh", "-ec", f"{mounts}\nexec {command}"], cwd=tmp_path)


@pytest.mark.parametrize(
    "mounts",
    [
        "mount -t tmpfs none /proc",
        "mount -t tmpfs none /sys",
        "mount -t tmpfs none /proc; mount -t tmpfs none /sys",
        "mount -t tmpfs none /dev",
        "mount -t tmpfs none /dev; touch /dev/shm",
        "mount -t tmpfs none /etc",
        "mount -t tmpfs none /etc; mkfifo /etc/os-release; mkdir /etc/ld.so.cache",
        "mount -t tmpfs none /sys; mkdir -p /sys/module/nvidia/version",
        "mount -t tmpfs none /sys; mkdir -p /sys/module/nvidia; mkfifo /sys/module/nvidia/version",
        "head -c 300 /dev/urandom >noise; mount -t tmpfs none /sys; mkdir -p /sys/module/nvidia;"
        "cp noise /sys/module/nvidia/version",
        "mount -o remount,bind,ro /",
    ],
)
def test_a_machine_that_lacks_what_all_have_gets_an_answer(tmp_path: Path, mounts: str) -> None:
    outcome = in_namespace(mounts, tmp_path)

    assert_no_traceback(outcome)
    assert_valid(outcome)
    assert outcome.status in (0, 1)


def test_without_dev_shm_there_is_none(tmp_path: Path) -> None:
    outcome = in_namespace("mount -t tmpfs none /dev", tmp_path)

    assert outcome.report["facts"]["shm_total_bytes"] is None


def test_a_small_dev_shm_is_seen_as_small(tmp_path: Path) -> None:
    outcome = in_namespace("mount -t tmpfs -o size=64m none /dev/shm", tmp_path)

    assert outcome.report["facts"]["shm_total_bytes"] == 64 * 1024**2
    assert outcome.statuses()["shm-small"] == "warn"


def test_saving_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    outcome = in_namespace(
        f"mount -t tmpfs -o ro none {tmp_path}; cd {tmp_path}", tmp_path, "--save", "saved.json"
    )

    assert_refused(outcome)
    assert "saved.json" in outcome.stderr


# --- programs on PATH

MARK = "TORCHKIT_TEST_CHILD"


def programs(folder: Path, script: str, *names: str) -> dict[str, str]:
    """A PATH on which these names are a shell script, and nothing else is torchkit's to find."""
    folder.mkdir(parents=True)
    for name in names:
        program = folder / name
        program.write_text(script)
        program.chmod(0o755)
    return {"PATH": str(folder), "CUDA_HOME": "", MARK: str(folder)}


def alive(folder: Path) -> list[str]:
    """Command lines of the processes that came from the PATH of this folder."""
    mark = f"{MARK}={folder}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


ASKED = ("nvidia-smi", "nvcc", "gcc", "g++", "clang++", "cmake")
SH = "#!/bin/sh\nexport PATH=/usr/bin:/bin\n"
SLEEPS = f"{SH}exec sleep 600\n"
IGNORES_SIGNALS = f'{SH}trap "" TERM INT HUP\nwhile :; do sleep 1; done\n'
FORKS_AND_STAYS = f"{SH}sleep 600 &\nexec sleep 600\n"
CLOSES_ITS_PIPES = f"{SH}exec >&- 2>&-\nexec sleep 600\n"


def test_programs_that_hang_cost_their_limit_and_no_process_stays(
    environment: Environment, tmp_path: Path
) -> None:
    hanging = [
        ("nvidia-smi", "driver_version", SLEEPS, DRIVER_LIMIT_S),
        ("nvidia-smi", "driver_version", IGNORES_SIGNALS, DRIVER_LIMIT_S),
        ("nvidia-smi", "driver_version", FORKS_AND_STAYS, DRIVER_LIMIT_S),
        ("nvcc", "nvcc_version", IGNORES_SIGNALS, TOOL_LIMIT_S),
        ("g++", "gcc_version", SLEEPS, TOOL_LIMIT_S),
        ("cmake", "cmake_version", CLOSES_ITS_PIPES, TOOL_LIMIT_S),
    ]

    def ask(number: int) -> Outcome:
        name, _, script, _ = hanging[number]
        return environment.env(environ=programs(tmp_path / str(number), script, name))

    with ThreadPoolExecutor(len(hanging)) as pool:
        outcomes = list(pool.map(ask, range(len(hanging))))

    for number, outcome in enumerate(outcomes):
        name, fact, _, limit_s = hanging[number]
        reason = f"{name} did not answer within {limit_s:g} s"
        assert outcome.report["facts"][fact] == {"unknown": reason}
        assert limit_s <= outcome.seconds < limit_s + SLACK_S
        assert alive(tmp_path / str(number)) == []


@pytest.mark.parametrize(
    "script",
    [
        f"{SH}exec yes the quick brown fox jumps over the lazy dog\n",
        f"{SH}yes >&2\n",
        f"{SH}head -c 1000000 /dev/urandom\n",
        f"{SH}head -c 3000000 /dev/zero\n",
        f"{SH}head -c 3000000 /dev/zero | tr '\\0' x\n",
        f"{SH}sleep 600 &\nexit 0\n",
        f"{SH}kill -SEGV $$\n",
        f"{SH}cat\n",
        f"{SH}echo {'9' * 5000}.1\n",
        f"{SH}echo 12.2.0, 8.0, 40960, 1\n",
        "\x7fELF and no more",
        "#!/nowhere/interpreter\n",
        "",
    ],
    ids=[
        "writes_without_end",
        "complains_without_end",
        "noise",
        "zeros",
        "a_long_line",
        "leaves_a_child_that_holds_the_pipe",
        "crashes",
        "reads_its_input",
        "a_huge_number",
        "a_line_like_an_answer",
        "a_binary_that_is_none",
        "no_interpreter",
        "empty",
    ],
)
def test_programs_that_misbehave_cost_no_time_and_leave_nothing(
    environment: Environment, tmp_path: Path, script: str
) -> None:
    outcome = environment.env(environ=programs(tmp_path / "bin", script, *ASKED))

    assert outcome.status in (0, 1)
    assert outcome.seconds < TOOL_LIMIT_S
    assert len(outcome.stdout) < 100_000
    assert alive(tmp_path / "bin") == []


def test_an_answer_counts_though_a_child_of_the_program_lives_on(
    environment: Environment, tmp_path: Path
) -> None:
    environ = programs(tmp_path / "bin", f"{SH}sleep 600 &\necho 12.2.0\n", "g++")

    outcome = environment.env(environ=environ)

    assert outcome.report["facts"]["gcc_version"] == "12.2.0"
    assert outcome.seconds < TOOL_LIMIT_S
    assert alive(tmp_path / "bin") == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_at_once_and_the_program_it_waits_for(
    environment: Environment, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    folder = tmp_path / "bin"
    started = folder / "started"
    script = IGNORES_SIGNALS.replace("while", f"touch {shlex.quote(str(started))}\nwhile")
    environ = plain_environ(programs(folder, script, "nvidia-smi"))
    child = subprocess.Popen(
        [environment.python, "-m", "torchkit", "env", "--json"],
        env=environ,
        cwd=environment.work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + LIMIT_S
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)

    child.send_signal(number)
    stdout, stderr = child.communicate(timeout=DRIVER_LIMIT_S - 1)

    assert child.returncode == status
    assert (stdout, stderr) == (b"", b"")
    assert alive(folder) == []


# --- --facts


def facts_of(**facts: object) -> str:
    return json.dumps({"facts": facts})


GPU = {"name": "NVIDIA A100", "capability": "8.0", "memory_bytes": 42949672960}
CUDA_TORCH = {
    "torch_version": "2.5.1+cu124",
    "torch_cuda": "12.4",
    "torch_archs": ["sm_80", "compute_90"],
    "driver_version": "550.54.14",
    "driver_cuda": "12.4",
    "gpus": [GPU],
    "os_system": "linux",
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\x80\x81\x82",
        b"[]",
        b"null",
        b'"facts"',
        b"{}",
        b'{"facts": []}',
        b'{"facts": null}',
        b'{"facts": {"os_name": "Deb',
        b"[" * 200_000,
        b'{"facts":' * 20_000,
        b'{"facts": {"os_name": "' + b"a" * 50_000_000 + b'"}}',
        b'{"facts": {"shm_total_bytes": ' + b"9" * 5000 + b"}}",
        facts_of(os_name=5),
        facts_of(os_name=["Debian"] * 100_000),
        facts_of(shm_total_bytes="8 GiB"),
        facts_of(shm_total_bytes=1.5),
        facts_of(shm_total_bytes=float("nan")),
        facts_of(shm_total_bytes=float("inf")),
        facts_of(cpu_limit=float("nan")),
        facts_of(cpu_limit=10**400),
        facts_of(is_container="yes"),
        facts_of(torch_version=""),
        facts_of(torch_version="two"),
        facts_of(torch_version=[2, 13]),
        facts_of(torch_archs="sm_80"),
        facts_of(torch_archs=[80]),
        facts_of(gpus={"name": "A100"}),
        facts_of(gpus=[{}]),
        facts_of(gpus=[{**GPU, "name": 5}]),
        facts_of(gpus=[{**GPU, "memory_bytes": "40 GiB"}]),
        facts_of(gpus=[{**GPU, "capability": {"major": 8}}]),
        facts_of(nvidia_packages={"nvidia-nccl-cu12": 2}),
        facts_of(companions=[{"name": "torchvision", "version": "0.20.1", "cuda": 12.4}]),
        facts_of(shadowed_libraries=[{"name": 1, "winner": 2, "reason": 3, "loser": 4}]),
    ],
    ids=lambda content: (content if isinstance(content, str) else repr(content[:40]))[:60],
)
def test_a_file_that_holds_no_facts_is_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(BadInput) as refused:
        command.run(facts=path)

    assert "facts.json" in refused.value.message
    assert len(refused.value.message) < 500
    assert refused.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b'{"facts": {}}',
        b'{"facts": {"os_name": "a", "os_name": "b"}}',
        '{"facts": {"os_name": "ü"}}'.encode("utf-16"),
        facts_of(os_name="\ud800 \x1b[31m\r\n::error::x\u202e", unheard_of=[1]),
        facts_of(os_name="a" * 200_000),
        facts_of(cpu_limit=0, cpu_count=0, shm_total_bytes=0, memory_total_bytes=0),
        facts_of(**{**CUDA_TORCH, "torch_version": "99999999999999999999.1"}),
        facts_of(**{**CUDA_TORCH, "torch_version": "1!2.3"}),
        facts_of(**{**CUDA_TORCH, "torch_archs": ["x", "sm_", "compute_", "sm_90a", ""]}),
        facts_of(**{**CUDA_TORCH, "gpus": [GPU] * 5000}),
        facts_of(**CUDA_TORCH, torch_shadows=[""], torch_problems=["\n\n", "x" * 100_000]),
        facts_of(**CUDA_TORCH, torch_requires=["@@@", "a; python_version<'x", "nvidia-x==z"]),
        facts_of(**CUDA_TORCH, companions=[{"name": "x", "version": "y", "requires_torch": "=="}]),
        facts_of(**CUDA_TORCH, torch_installs=[{"path": "/a", "version": "zz"}, {"path": "/b"}]),
        facts_of(driver_version={"unknown": None}, gpus={"unknown": {"a": 1}}),
        facts_of(torch_version=None, gpus=None, os_name=None, companions=None),
    ],
    ids=lambda content: (content if isinstance(content, str) else repr(content[:40]))[:60],
)
def test_odd_facts_are_judged_in_every_format(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    report = command.run(facts=path)
    texts = {format: render(report, format, style=Style()) for format in Format}

    assert [it for it in report.findings if it.status is Status.CRASH] == []
    assert_follows_schema(json.loads(texts[Format.JSON]))
    assert [format for format, text in texts.items() if "\x1b" in text or not text] == []


@pytest.mark.parametrize("place", ["not-there.json", ".", "fifo", "/dev/zero", "/proc/self/mem"])
def test_facts_from_a_place_that_is_no_file_are_refused(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "fifo")

    outcome = torchkit("env", "--json", "--facts", place, cwd=tmp_path)

    assert_refused(outcome)


def test_facts_can_come_from_another_torchkit_by_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(facts_of(**CUDA_TORCH))

    outcome = in_shell(f"{TORCHKIT} env --json --facts <(cat facts.json)", tmp_path)

    assert outcome.report["facts"]["driver_version"] == "550.54.14"


# --- --save and --output


@pytest.mark.parametrize("option", ["--save", "--output"])
@pytest.mark.parametrize(
    "place",
    ["folder", "no/such/folder/x", "/dev/full", "", "/proc/self/x", "x" * 300, "/etc/passwd/x"],
)
def test_a_report_that_cannot_be_written_is_an_error(
    tmp_path: Path, option: str, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "facts.json").write_text(facts_of(**CUDA_TORCH))

    outcome = torchkit("env", "--json", "--facts", "facts.json", option, place, cwd=tmp_path)

    assert_refused(outcome)
    assert "cannot write" in outcome.stderr


# --- --python


def _script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        "not-there",
        "folder",
        "text",
        "",
        "-x",
        "~nobody-of-this-name/x",
        "a\nb\x1b[31m",
        os.fsdecode(b"\xff\xfe"),
        "a" * 5000,
        "/dev/null",
        "true",
        "ls",
    ],
)
def test_what_is_no_python_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("print('hello')\n")

    outcome = torchkit("env", "--json", "--python", name, cwd=tmp_path)

    assert_refused(outcome)
    assert "\x1b" not in outcome.stderr


@pytest.mark.parametrize(
    "script",
    [
        f"{SH}head -c 100000 /dev/urandom\n",
        f"{SH}yes\n",
        f"{SH}exit 0\n",
        f"{SH}kill -SEGV $$\n",
        f"{SH}sleep 600 & exit 0\n",
        f"{SH}echo '{{}}'\n",
        f'{SH}echo \'{{"version": "3.11", "path": [5], "torch": 5}}\'\n',
        f'{SH}echo \'{{"version": "x", "path": [], "torch": "\\u0000"}}\'\n',
        "#!/nowhere/python\n",
    ],
)
def test_a_program_that_answers_nonsense_is_no_python(tmp_path: Path, script: str) -> None:
    outcome = torchkit("env", "--json", "--python", _script(tmp_path, script), cwd=tmp_path)

    assert_refused(outcome)
    assert outcome.seconds < PYTHON_LIMIT_S
    assert len(outcome.stderr) < 1000


# --- usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json"],
        ["nonsense", "--json"],
        ["../x", "--json"],
        ["", "--json"],
        ["ENV", "--json"],
        ["--nonsense", "--json"],
        ["env", "--nonsense", "--json"],
        ["env", "-x", "--json"],
        ["env", "extra", "--json"],
        ["env", "", "--json"],
        ["env", "--", "--json"],
        ["env", "--json", "--python"],
        ["env", "--json", "--format"],
        ["env", "--json", "--format", "xml"],
        ["env", "--format=xml", "--json"],
        ["env", "--json", "--only", ""],
        ["env", "--json", "--only", "driver-to-old"],
        ["env", "--json", "--skip", "a\x1b[31mb\nc"],
        ["env", "--format", "json", "--require", ""],
        ["env", "--format=json", "--require", ","],
        ["env", "--json", "--require", "torhc>=2"],
        ["env", "--json", "--require", "torch>=two"],
        ["env", "--json", "--require", "torch>=2;rm -rf x"],
        ["env", "--json", "--require", "=="],
        ["env", "--json", "--get", ""],
        ["env", "--json", "--get", "torch_versoin"],
        ["env", "--json", "--facts", "x", "--python", "y"],
        ["schema", "x", "--json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_in_two_lines_and_in_json(tmp_path: Path, arguments: list[str]) -> None:
    outcome = torchkit(*arguments, cwd=tmp_path)

    assert_refused(outcome)
    assert "\x1b" not in outcome.stderr


def test_the_json_of_a_failure_names_the_command_that_failed(tmp_path: Path) -> None:
    named = torchkit("env", "--json", "--only", "x", cwd=tmp_path)
    unknown = torchkit("nonsense", "--json", cwd=tmp_path)

    assert named.report["command"] == "env"
    assert unknown.report["command"] == "torchkit"


# --- site-packages of size


def test_three_hundred_packages_cost_little(environment: Environment, tmp_path: Path) -> None:
    for number in range(300):
        folder = tmp_path / f"package_{number}-1.{number}.dist-info"
        folder.mkdir()
        requires = "Requires-Dist: numpy>=1.0\n" * 10
        text = f"Name: package-{number}\nVersion: 1\n{requires}\n{'words ' * 4000}"
        (folder / "METADATA").write_text(text)
    path = f"{REPOSITORY}{os.pathsep}{tmp_path}"

    few = min(_cpu_s(environment, {}) for _ in range(3))
    many = min(_cpu_s(environment, {"PYTHONPATH": path}) for _ in range(3))

    assert many - few < 0.3


def _cpu_s(environment: Environment, environ: Mapping[str, str]) -> float:
    """Seconds of CPU of one `torchkit env` and its children."""
    before = os.times()
    environment.env(environ=environ)
    after = os.times()
    user, system = (
        after.children_user - before.children_user,
        after.children_system - before.children_system,
    )
    return user + system
