"""The door to the outside: real files, real programs, and nothing that waits or raises."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest

from torchkit.system import READ_LIMIT_BYTES, Answer, System, TimedOut, Unknown

posix = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs, signals and a shell")


def program(folder: Path, name: str, text: str) -> Path:
    """An executable script."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- files


def test_a_file_is_text_bytes_and_a_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xc3\xa9 \xff")
    system = System(root=tmp_path)

    assert system.read_bytes("/a") == b"caf\xc3\xa9 \xff"
    assert system.read_text("/a") == "café \N{REPLACEMENT CHARACTER}"
    assert system.size("/a") == 7


@pytest.mark.parametrize("path", ["/nothing", "/a/below-a-file", "/folder/nothing"])
def test_what_is_not_there_is_none(tmp_path: Path, path: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    system = System(root=tmp_path)

    assert system.read_bytes(path) is None
    assert system.read_text(path) is None
    assert system.size(path) is None
    assert system.exists(path) is False
    assert system.names_in(path) == ()


@posix
@pytest.mark.parametrize(
    "kind", ["folder", "fifo", "device", "loop", "name with a null", "long name"]
)
def test_what_is_no_regular_file_is_unknown_and_does_not_block(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "name with a null":
        path = Path("/it\0")
    else:
        path = Path("/" + "x" * 5000)
    begun = time.monotonic()

    read = System().read_bytes(path)

    assert isinstance(read, Unknown)
    assert read.reason.startswith("cannot read ")
    assert System().size(path) is None
    assert time.monotonic() - begun < 0.5


@posix
def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("x")
    system = System(root=tmp_path)
    before = _open_descriptors()

    for path in ("/fifo", "/", "/file", "/nothing"):
        system.read_bytes(path)

    assert _open_descriptors() == before


def _open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_file_without_end_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10 * READ_LIMIT_BYTES)

    data = System().read_bytes(path)

    assert isinstance(data, bytes)
    assert len(data) == READ_LIMIT_BYTES


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)

    assert isinstance(System().read_text(tmp_path / "secret"), Unknown)


def test_names_of_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "a", "C"):
        (tmp_path / name).touch()

    assert System().names_in(tmp_path) == ("C", "a", "b")


@posix
def test_links_are_followed_as_far_as_they_lead(tmp_path: Path) -> None:
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "tool-2").touch()
    (tmp_path / "usr" / "bin" / "tool").symlink_to("tool-2")
    (tmp_path / "loop").symlink_to("loop")
    system = System(root=tmp_path)

    assert system.resolve("/usr/bin/tool") == Path("/usr/bin/tool-2")
    assert system.resolve("/gone/x") == Path("/gone/x")
    assert system.resolve("/loop").name == "loop"


@posix
def test_a_name_with_a_nul_is_not_there(tmp_path: Path) -> None:
    system = System(root=tmp_path)

    assert system.resolve("/a\0b") == Path("/a\0b")
    assert System().resolve("/a\0b") == Path("/a\0b")
    assert system.file_system("/a\0b") is None


def test_a_file_system_has_the_sizes_of_statvfs(tmp_path: Path) -> None:
    answer = System(root=tmp_path).file_system("/")

    assert isinstance(answer, os.statvfs_result)
    assert answer.f_blocks == os.statvfs(tmp_path).f_blocks
    assert System(root=tmp_path).file_system("/nothing") is None


def test_a_current_folder_that_is_deleted_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert System().working_folder() is None


# --- the machine


def test_this_machine_is_called_as_python_calls_it() -> None:
    system = System()

    assert system.platform == sys.platform
    assert system.architecture == platform.machine()
    assert system.release == (platform.release() if os.name == "posix" else platform.version())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PROCESSOR_ARCHITECTURE": "AMD64"}, "AMD64"),
        ({"PROCESSOR_ARCHITECTURE": "x86", "PROCESSOR_ARCHITEW6432": "AMD64"}, "AMD64"),
        ({"PROCESSOR_ARCHITECTURE": "ARM64"}, "ARM64"),
    ],
)
def test_windows_tells_its_processor_in_variables(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
) -> None:
    monkeypatch.delattr(os, "uname", raising=False)

    assert System(environ=environ).architecture == expected


@pytest.mark.skipif(shutil.which("nproc") is None, reason="needs nproc")
def test_cpus_are_counted_as_nproc_does() -> None:
    answer = System().run(
        ["nproc"], limit_s=5, environ={"OMP_NUM_THREADS": "", "OMP_THREAD_LIMIT": ""}
    )

    assert isinstance(answer, Answer)
    assert System().cpu_count() == int(answer.stdout)


# --- programs


@posix
def test_which_takes_what_the_shell_takes(tmp_path: Path) -> None:
    program(tmp_path / "second", "tool", "true")
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "tool").write_text("not executable")
    (tmp_path / "zeroth" / "tool").mkdir(parents=True)
    path = os.pathsep.join(str(tmp_path / name) for name in ("absent", "zeroth", "first", "second"))

    found = System(environ={"PATH": path}).which("tool")

    assert found == tmp_path / "second" / "tool"
    assert str(found) == shutil.which("tool", path=path)


@posix
@pytest.mark.parametrize("path", ["", ":", "/nothing", "/bin\0x:/nothing"])
def test_an_odd_path_finds_nothing_and_raises_nothing(path: str) -> None:
    assert System(environ={"PATH": path}).which("surely-no-program") is None


@posix
def test_a_name_with_a_slash_is_a_path(tmp_path: Path) -> None:
    path = program(tmp_path, "tool", "true")

    assert System(environ={}).which(str(path)) == path
    assert System(environ={}).which(str(tmp_path / "other")) is None


@posix
def test_windows_leaves_out_exe(tmp_path: Path) -> None:
    class Windows(System):
        @property
        def platform(self) -> str:
            return "win32"

    program(tmp_path, "nvcc.exe", "true")

    assert Windows(environ={"PATH": str(tmp_path)}).which("nvcc") == tmp_path / "nvcc.exe"
    assert Windows(environ={}).which(str(tmp_path / "nvcc")) == tmp_path / "nvcc.exe"
    assert System(environ={"PATH": str(tmp_path)}).which("nvcc") is None


@posix
def test_an_invented_machine_runs_its_own_programs(tmp_path: Path) -> None:
    program(tmp_path / "usr" / "bin", "gcc", 'echo "gcc of $WHERE"')
    system = System(root=tmp_path, environ={"PATH": "/usr/bin", "WHERE": "here"})

    found = system.which("gcc")

    assert found == Path("/usr/bin/gcc")
    assert system.run([found], limit_s=5) == Answer(0, "gcc of here\n", "")


@posix
def test_an_answer_holds_status_and_both_outputs() -> None:
    answer = System().run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], limit_s=5)

    assert answer == Answer(3, "out\n", "err\n")


@posix
def test_a_signal_is_a_negative_status() -> None:
    answer = System().run(["/bin/sh", "-c", "kill -SEGV $$"], limit_s=5)

    assert isinstance(answer, Answer)
    assert answer.status == -11


@posix
def test_messages_come_in_english_and_standard_input_is_empty() -> None:
    system = System(environ={**os.environ, "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"})

    answer = system.run(["/bin/sh", "-c", "cat; ls /nothing-there; echo $LC_ALL"], limit_s=5)

    assert isinstance(answer, Answer)
    assert answer.stdout == "C\n"
    assert "No such file or directory" in answer.stderr


@posix
def test_output_that_is_no_text_is_read_all_the_same() -> None:
    answer = System().run(["/bin/sh", "-c", r"printf '\377\376x'"], limit_s=5)

    assert isinstance(answer, Answer)
    assert answer.stdout.endswith("x")


@pytest.mark.parametrize("command", [["/nothing/there"], ["surely-no-program"], ["a\0b"], ["/"]])
def test_what_cannot_be_run_is_unknown(command: list[str]) -> None:
    answer = System().run(command, limit_s=5)

    assert isinstance(answer, Unknown)
    assert answer.reason.startswith("cannot run ")


@posix
def test_a_program_past_its_limit_is_killed_with_what_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {mark}; wait"
    begun = time.monotonic()

    answer = System().run(["/bin/sh", "-c", script], limit_s=0.3)

    assert answer == TimedOut("sh did not answer within 0.3 s")
    assert time.monotonic() - begun < 2
    assert _is_gone(int(mark.read_text()))


def _is_gone(process: int) -> bool:
    for _ in range(50):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{process}/stat")
        if status.exists() and ") Z " in status.read_text():
            return True
        time.sleep(0.02)
    return False


@posix
def test_an_answer_does_not_wait_for_a_daemon_that_holds_the_pipes() -> None:
    begun = time.monotonic()

    answer = System().run(["/bin/sh", "-c", "sleep 60 & echo 12.2.0"], limit_s=20)

    assert isinstance(answer, Answer)
    assert answer.stdout == "12.2.0\n"
    assert time.monotonic() - begun < 5


@posix
def test_a_program_that_writes_without_end_is_stopped() -> None:
    begun = time.monotonic()

    answer = System().run(
        ["/bin/sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"],
        limit_s=0.5,
    )

    assert isinstance(answer, Unknown)
    assert time.monotonic() - begun < 3


@posix
def test_of_a_program_that_may_write_much_the_end_is_kept() -> None:
    script = "i=0; while [ $i -lt 300 ]; do printf '%032768d' $i; i=$((i + 1)); done; echo end"

    answer = System().run(["/bin/sh", "-c", script], limit_s=20, tail_bytes=5)

    assert answer == Answer(0, "9end\n", "")


@posix
def test_of_a_program_that_may_write_much_the_beginning_is_kept() -> None:
    script = "echo begin; i=0; while [ $i -lt 300 ]; do printf '%032768d' $i; i=$((i + 1)); done"

    answer = System().run(["/bin/sh", "-c", script], limit_s=20, head_bytes=7)

    assert answer == Answer(0, "begin\n0", "")


@posix
def test_a_program_works_in_the_folder_it_is_given(tmp_path: Path) -> None:
    answer = System().run(["/bin/sh", "-c", "pwd -P; echo x > file"], limit_s=5, folder=tmp_path)

    assert answer == Answer(0, f"{tmp_path.resolve()}\n", "")
    assert (tmp_path / "file").exists()


@posix
def test_a_folder_that_is_not_there_is_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    answer = System().run(["/bin/sh", "-c", "true"], limit_s=5, folder=tmp_path / "none")

    assert answer == Unknown("cannot run sh: no such file or directory")


@posix
def test_what_a_killed_program_wrote_on_stderr_is_kept() -> None:
    answer = System().run(["/bin/sh", "-c", "echo why >&2; sleep 60"], limit_s=0.3, called="it")

    assert isinstance(answer, TimedOut)
    assert (answer.reason, answer.stderr) == ("it did not answer within 0.3 s", "why\n")


@posix
def test_what_a_program_leaves_behind_goes_also_when_it_holds_no_pipe(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"sleep 60 >/dev/null 2>&1 & echo $! > {mark}"

    assert System().run(["/bin/sh", "-c", script], limit_s=20) == Answer(0, "", "")

    assert _is_gone(int(mark.read_text()))


@posix
def test_a_slow_program_is_announced_on_stderr_when_wished(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchkit.system.NOTICE_AFTER_S", 0.05)

    System(notices=True).run(["/bin/sh", "-c", "sleep 0.2"], limit_s=5)
    System(notices=False).run(["/bin/sh", "-c", "sleep 0.2"], limit_s=5)

    assert capfd.readouterr().err == "waiting for sh, at most 5 s\n"


@posix
def test_a_program_that_goes_on_is_announced_again(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchkit.system.NOTICE_AFTER_S", 0.02)
    monkeypatch.setattr("torchkit.system.NOTICE_EVERY_S", 0.1)

    System(notices=True).run(["/bin/sh", "-c", "sleep 0.4"], limit_s=5)

    first, *others = capfd.readouterr().err.splitlines()
    assert first == "waiting for sh, at most 5 s"
    assert set(others) == {"waiting for sh, at most 5 s (0 s so far)"}


@posix
def test_a_file_mode_without_x_is_no_program(tmp_path: Path) -> None:
    path = program(tmp_path, "tool", "true")
    path.chmod(path.stat().st_mode & ~(stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH))

    assert System(environ={"PATH": str(tmp_path)}).which("tool") is None
