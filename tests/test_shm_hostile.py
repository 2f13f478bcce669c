"""`torchkit shm-check` where nothing can be relied on: datasets that misbehave, a /dev/shm that is none.

Whatever happens, it answers in time with an exit code of its own and no traceback, and leaves
neither a process nor a file of shared memory behind. Each run has a /dev/shm of its own, in a mount
namespace; processes are found by a variable that whatever is started below inherits.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 200.0
AT_ONCE = 5
MARK = "TORCHKIT_TEST_MARK"

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]


def _may_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None or not Path("/dev/shm").is_dir():
        return False
    tried = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return subprocess.run(tried, capture_output=True, check=False, timeout=30).returncode == 0


pytestmark = pytest.mark.skipif(not _may_mount(), reason="no /dev/shm of one's own can be mounted")


class Outcome(NamedTuple):
    """How a run ended, and what was there afterwards."""

    code: int
    stdout: str
    stderr: str
    files: list[str]
    processes: list[str]


Run = Callable[..., Outcome]
Ran = Callable[[str], Outcome]


MOUNT = "mount -t tmpfs -o size=64m tmpfs /dev/shm"


def run_in(
    folder: Path,
    *arguments: str,
    mount: str = MOUNT,
    prepare: str = ":",
    before: str = "exec",
    python: str = sys.executable,
) -> Outcome:
    """`torchkit shm-check` with a /dev/shm of its own, which `prepare` may spoil before."""
    mark = uuid.uuid4().hex
    for name, text in FILES.items():
        (folder / name).write_text(text)
    command = [python, "-m", "torchkit", "shm-check", *arguments]
    script = (
        f"{mount} || exit 99\n{prepare}\n"
        f'( {before} "$@" ) >out 2>err\ncode=$?\n'
        "ls -A /dev/shm/ 2>&1 >left\nexit $code\n"
    )
    try:
        done = subprocess.run(
            [*NAMESPACE, "bash", "-c", script, "run", *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark, "COLUMNS": "80"},
            timeout=LIMIT_S,
            check=False,
        )
        texts = [(folder / name).read_text(errors="replace") for name in ("out", "err")]
        left = (folder / "left").read_text().split()
        return Outcome(done.returncode, *texts, left, alive(mark))
    finally:
        for line in alive(mark):
            os.kill(int(line.split()[0]), signal.SIGKILL)


@pytest.fixture
def shm_check(tmp_path: Path) -> Run:
    return partial(run_in, tmp_path)


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Outcome]]:
    """How one of `RUNS` ended. They mostly wait, so some of them run at a time, ahead of the tests."""
    pytest.importorskip("torch")
    started: dict[str, Future[Outcome]] = {}

    with ThreadPoolExecutor(AT_ONCE) as pool:

        def outcome(name: str) -> Outcome:
            start(name)
            return started[name].result()

        def start(name: str) -> None:
            if name not in started:
                arguments, settings = RUNS[name]
                folder = tmp_path_factory.mktemp("run")
                started[name] = pool.submit(run_in, folder, *arguments, **settings)

        if not request.config.option.keyword and not any("::" in it for it in request.config.args):
            for name in RUNS:
                start(name)
        yield outcome
        for future in started.values():
            future.cancel()


def alive(mark: str) -> list[str]:
    """The processes that were started below a run, by number and command line, after a moment."""
    for _ in range(50):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_below = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if is_below and line:  # one that has ended, and is not yet reaped, has none
                found.append(f"{folder.name} {line}")
        if not found:
            return []
        time.sleep(0.02)
    return found


def assert_clean(outcome: Outcome) -> None:
    assert "Traceback (most recent call last)" not in outcome.stderr.split("error:")[-1]
    assert outcome.files == []
    assert outcome.processes == []


# --- datasets that misbehave

DATASETS = """
import ctypes, os, signal, subprocess, sys, threading, time
import torch
from multiprocessing.shared_memory import SharedMemory
from torch.utils.data import DataLoader, Dataset, get_worker_info

class Fine(Dataset):
    def __len__(self): return 16
    def __getitem__(self, index):
        self.do(index)
        return torch.zeros(3, 32, 32)
    def do(self, index): pass

class Raises(Fine):
    def do(self, index): raise ValueError("no picture 7")
class Hangs(Fine):
    def do(self, index): time.sleep(1000)
class IgnoresSigterm(Fine):
    def do(self, index):
        for name in ("SIGTERM", "SIGINT", "SIGHUP"): signal.signal(getattr(signal, name), signal.SIG_IGN)
        time.sleep(1000)
class ExitsLater(Fine):
    def do(self, index):
        if index == 5: os._exit(0)
class Segfaults(Fine):
    def do(self, index): ctypes.string_at(0)
class KillsItsGroup(Fine):
    def do(self, index): os.killpg(0, signal.SIGTERM)
class Needs(Fine):
    def __init__(self, folder, split): pass
class Empty(Fine):
    def __len__(self): return 0

class Prints(Fine):
    def do(self, index):
        print("by Python")
        ctypes.CDLL(None).puts(b"by C"); ctypes.CDLL(None).fflush(None)
        os.write(1, b"by the kernel\\n")
class Floods(Fine):
    def do(self, index): os.write(2, (b"y" * 999 + b"\\n") * 6500)
class Leaves(Fine):
    held = []
    def do(self, index):
        self.held.append(torch.zeros(100_000).share_memory_())
        threading.Thread(target=time.sleep, args=(1000,)).start()
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for name in ("SIGTERM", "SIGHUP"): signal.signal(getattr(signal, name), signal.SIG_IGN)
                time.sleep(1000)
            os._exit(0)
class SharesMemory(Fine):
    held = []
    def do(self, index):
        self.held.append(SharedMemory(create=True, size=100_000))
        if len(self.held) == 9: os.kill(os.getpid(), signal.SIGKILL)

class InWorkers(Fine):
    def do(self, index):
        if get_worker_info() is not None: self.ill(index)
class KillsAWorker(InWorkers):
    def ill(self, index): os.kill(os.getpid(), signal.SIGKILL)
class RaisesInWorkers(InWorkers):
    def ill(self, index): raise ValueError("only in workers")
class GrowsLater(Fine):
    def __len__(self): return 40
    def __getitem__(self, index): return torch.zeros(10_000 if index < 9 else 300_000_000)
class LargeInWorkers(Fine):
    def __getitem__(self, index): return torch.zeros(10_000 if get_worker_info() is None else 10_000_000)
class OfAPage(Fine):
    def __getitem__(self, index):
        time.sleep(0.02)
        return torch.zeros(1024)
class HangsInWorkers(InWorkers):
    def ill(self, index): time.sleep(1000)
class Everything(InWorkers):
    held = []
    def __init__(self): torch.multiprocessing.set_sharing_strategy("file_system")
    def ill(self, index):
        try: os.setsid()
        except OSError: pass
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self.held.append(SharedMemory(create=True, size=10_000))
class InSharedMemory(Fine):
    def do(self, index): open("/dev/shm/pictures.bin", "rb").read()
"""

UNABLE = {
    "Raises": "raises ValueError: no picture 7 at data.py:",
    "ExitsLater": "ended with status 0 while making batch 1",
    "Segfaults": "died of SIGSEGV while making batch 0, at data.py:",
    "KillsItsGroup": "died of SIGTERM while making batch 0",
    "Needs": "missing a required argument: 'folder'; it is Needs(folder, split)",
    "Empty": "gives no batch: the dataset is empty",
    "Missing": "has no 'Missing'",
}
"""What cannot be judged, and the words that say why."""

FILES = {
    "data.py": DATASETS,
    "slow.py": "import time\ntime.sleep(1000)\ndata = [1]\n",
}

WITHOUT_RIGHTS = (
    "echo 0 >/proc/sys/user/max_user_namespaces;"
    " exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin"
)
"""Nothing can be mounted then: a run has to use the /dev/shm that is there."""

OWN_DEV = (
    "mkdir -p keep dev && mount --rbind /dev keep && mount -t tmpfs tmpfs dev"
    " && for it in null zero urandom random tty; do touch dev/$it;"
    " mount --bind keep/$it dev/$it; done && mount --move dev /dev"
)
"""A /dev without /dev/shm."""

LINK = (
    f"{OWN_DEV} && mkdir there && mount -t tmpfs -o size=48m tmpfs there"
    ' && ln -s "$PWD/there" /dev/shm'
)
"""A /dev/shm that is a link."""


def _run(name: str, *arguments: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return (name if ".py" in name else f"data.py:{name}", *arguments), settings


RUNS = {
    "may mount": _run("Everything", "--batch-size", "2", "--measure"),
    "may not": _run("Everything", "--batch-size", "2", "--measure", before=WITHOUT_RIGHTS),
    "a link": _run("Everything", "--measure", mount=LINK, before=WITHOUT_RIGHTS),
    "no answer": _run("IgnoresSigterm", "--timeout", "6"),
    "slow import": _run("slow.py:data", "--timeout", "15"),
    "hanging workers": _run("HangsInWorkers", "--measure", "--timeout", "15"),
    **{name: _run(name, "--batch-size", "4") for name in UNABLE},
    "Leaves": _run("Leaves", "--batch-size", "2"),
    "SharesMemory": _run("SharesMemory", "--batch-size", "2"),
    "Prints": _run("Prints", "--batch-size", "4", "--json"),
    "Floods": _run("Floods", "--batch-size", "4"),  # 16 samples write 100 MB
    "KillsAWorker": _run("KillsAWorker", "--batch-size", "2", "--measure"),
    "RaisesInWorkers": _run("RaisesInWorkers", "--batch-size", "2", "--measure", "--json"),
    **{
        f"GrowsLater in {size}": _run(
            "GrowsLater", "--batch-size", "1", "--workers", "4", "--measure",
            mount=f"mount -t tmpfs -o size={size} tmpfs /dev/shm",
        )
        for size in ("40m", "3g")
    },
    "LargeInWorkers": _run("LargeInWorkers", "--measure", before=WITHOUT_RIGHTS),
    **{
        f"small files, {may}": _run(
            "Fine", "--batch-size", "2", "--measure", "--json", before=f"ulimit -f 20; {before}"
        )
        for may, before in (("may mount", "exec"), ("may not", WITHOUT_RIGHTS))
    },
    "OfAPage": _run(
        "OfAPage", "--batch-size", "1", "--measure", "--strategy", "file_system", "--json"
    ),
    "InSharedMemory": _run(
        "InSharedMemory", "--batch-size", "2", "--measure",
        prepare="head -c 1000 /dev/zero >/dev/shm/pictures.bin",
    ),
}  # fmt: skip
"""What is run with torch."""


@pytest.mark.torch
@pytest.mark.parametrize("name", UNABLE)
def test_a_dataset_that_fails_is_named_with_what_it_did(ran: Ran, name: str) -> None:
    outcome = ran(name)

    assert outcome.code == 2, outcome.stderr
    assert UNABLE[name] in outcome.stderr
    assert outcome.stdout == ""
    assert_clean(outcome)


@pytest.mark.torch
def test_a_dataset_that_does_not_answer_is_ended_at_the_time_limit(ran: Ran) -> None:
    outcome = ran("no answer")

    assert outcome.code == 2
    assert "data.py:IgnoresSigterm did not answer within 6 s, while " in outcome.stderr
    assert_clean(outcome)


@pytest.mark.torch
def test_a_file_that_hangs_when_it_is_imported_is_ended_too(ran: Ran) -> None:
    outcome = ran("slow import")

    assert outcome.code == 2
    assert "while importing torch and slow.py:data, at slow.py:2" in outcome.stderr
    assert_clean(outcome)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Leaves", "SharesMemory"])
def test_what_a_dataset_leaves_behind_is_removed(ran: Ran, name: str) -> None:
    outcome = ran(name)

    assert outcome.code == (2 if name == "SharesMemory" else 0), outcome.stderr
    assert_clean(outcome)


@pytest.mark.torch
def test_what_a_dataset_prints_does_not_get_into_the_report(ran: Ran) -> None:
    outcome = ran("Prints")

    assert outcome.stdout.startswith("{")
    assert "by " + "Python" not in outcome.stdout
    for who in ("by Python", "by C", "by the kernel"):
        assert who in outcome.stderr
    assert_clean(outcome)


@pytest.mark.torch
def test_a_flood_of_words_is_cut_off(ran: Ran) -> None:
    outcome = ran("Floods")

    assert outcome.code == 0, outcome.stderr[-500:]
    assert len(outcome.stderr) < 500_000
    assert outcome.stderr.endswith("… it writes more, which is left out here\n")
    assert_clean(outcome)


@pytest.mark.torch
def test_a_worker_that_dies_is_no_matter_of_shared_memory(ran: Ran) -> None:
    outcome = ran("KillsAWorker")

    assert outcome.code == 1
    assert outcome.stdout.startswith("the DataLoader failed when it was run with 2 workers\n")
    assert_clean(outcome)


@pytest.mark.torch
def test_where_the_loader_fails_it_does_not_fit(ran: Ran) -> None:
    outcome = ran("RaisesInWorkers")

    report = json.loads(outcome.stdout)
    assert report["totals"]["fits"] == "no"
    (failed,) = (it for it in report["findings"] if it["status"] == "fail")
    assert failed["id"] == "loader-fails"
    assert "ValueError: only in workers at data.py:" in str(failed["evidence"])
    assert_clean(outcome)


@pytest.mark.torch
@pytest.mark.parametrize(("free", "word"), [("40m", "does not fit"), ("3g", "tight")])
def test_batches_that_grow_past_what_the_run_was_given_never_fit(
    ran: Ran, free: str, word: str
) -> None:
    """They are 40 KiB first, and 1.2 GiB from the tenth on; a run is given 1 GiB at most."""
    outcome = ran(f"GrowsLater in {free}")

    assert outcome.code == (0 if word == "tight" else 1), outcome.stderr
    assert outcome.stdout.startswith(f"{word}: ")
    assert "which it filled" in outcome.stdout
    assert_clean(outcome)


@pytest.mark.torch
def test_a_run_in_what_others_use_too_is_ended_at_half_of_it(ran: Ran) -> None:
    """Batches are 38 MiB in a worker, and 40 KiB without: a run is planned for as much as these."""
    outcome = ran("LargeInWorkers")

    assert outcome.stdout.startswith("tight: a run took more than the "), outcome.stderr
    assert "in this /dev/shm, when it was stopped" in outcome.stdout
    assert_clean(outcome)


@pytest.mark.torch
@pytest.mark.parametrize("may", ["may mount", "may not"])
def test_a_file_that_may_not_be_so_large_is_no_want_of_space(ran: Ran, may: str) -> None:
    """torch leaves the files that it could not make so large: these are ours to remove."""
    outcome = ran(f"small files, {may}")

    report = json.loads(outcome.stdout)
    failed = {it["id"] for it in report["findings"] if it["status"] == "fail"}
    assert failed == {"file-size-limit"}
    assert_clean(outcome)


@pytest.mark.torch
def test_a_run_uses_the_strategy_that_is_asked_for(ran: Ran) -> None:
    """file_system: a header before each tensor, so that one of a page takes two."""
    outcome = ran("OfAPage")

    totals = json.loads(outcome.stdout)["totals"]
    assert totals["batch_bytes"] == 8192
    assert totals["predicted_peak_bytes"] <= totals["measured_peak_bytes"]
    assert totals["measured_peak_bytes"] <= totals["predicted_bound_bytes"]
    assert_clean(outcome)


@pytest.mark.torch
def test_workers_that_hang_are_ended_and_told(ran: Ran) -> None:
    outcome = ran("hanging workers")

    assert outcome.code in (1, 2), outcome.stderr
    assert "hung when it was run" in outcome.stdout or "did not answer" in outcome.stderr
    assert_clean(outcome)


@pytest.mark.torch
@pytest.mark.parametrize("may", ["may mount", "may not"])
def test_workers_that_do_it_all_leave_nothing(ran: Ran, may: str) -> None:
    outcome = ran(may)

    assert outcome.code in (0, 1), outcome.stderr
    assert "measured" in outcome.stdout
    where = "in this /dev/shm" if may == "may not" else "in a /dev/shm of its own"
    assert where in outcome.stdout
    assert_clean(outcome)


@pytest.mark.torch
def test_a_dataset_that_lives_in_shared_memory_is_run_in_sight_of_it(ran: Ran) -> None:
    outcome = ran("InSharedMemory")

    assert outcome.code == 0, outcome.stderr
    assert "in this /dev/shm" in outcome.stdout
    assert outcome.files == ["pictures.bin"]
    assert outcome.processes == []


# --- ended from outside


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "number", "code"),
    [("Hangs", signal.SIGINT, 130), ("HangsInWorkers", signal.SIGTERM, 143)],
)
def test_a_signal_in_the_middle_leaves_nothing(
    tmp_path: Path, name: str, number: int, code: int
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "data.py").write_text(DATASETS)
    mark = uuid.uuid4().hex
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208 - names are enough
    started = [*NAMESPACE, "bash", "-c", 'mount -t tmpfs tmpfs /dev/shm; exec "$@"', "run"]

    process = subprocess.Popen(
        [*started, sys.executable, "-m", "torchkit", "shm-check", f"data.py:{name}", "--measure"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_as_in_a_shell,  # noqa: PLW1509 - nothing else runs in this test's process
    )
    _wait_for_children(process.pid, most_s=60, settle_s=3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert out == b""
    assert alive(mark) == []
    assert set(os.listdir("/dev/shm")) - before == set()  # noqa: PTH208


def _as_in_a_shell() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for_children(pid: int, *, most_s: float, settle_s: float) -> None:
    deadline = time.monotonic() + most_s
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while time.monotonic() < deadline and not children.read_text().strip():
        time.sleep(0.02)
    time.sleep(settle_s)


@pytest.mark.torch
def test_the_child_goes_when_torchkit_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "data.py").write_text(DATASETS)
    mark = uuid.uuid4().hex

    process = subprocess.Popen(
        [sys.executable, "-m", "torchkit", "shm-check", "data.py:Hangs"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for_children(process.pid, most_s=20, settle_s=1)
    process.kill()
    process.wait(10)

    assert alive(mark) == []


# --- a /dev/shm that is none

PLACES = {
    "read-only": ("mount -t tmpfs -o ro tmpfs /dev/shm", ":", "is mounted read-only"),
    "full": (
        "mount -t tmpfs -o size=1m tmpfs /dev/shm",
        "head -c 2000000 /dev/zero >/dev/shm/mine 2>/dev/null",
        "/dev/shm is nearly full",
    ),
    "without inodes": (
        "mount -t tmpfs -o size=64m,nr_inodes=20 tmpfs /dev/shm",
        ":",
        "more files free",
    ),
    "stacked": (
        "mount -t tmpfs -o size=8g tmpfs /dev/shm && mount -t tmpfs -o size=32m tmpfs /dev/shm",
        ":",
        "/dev/shm   32 MiB, 32 MiB free",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_place_is_seen_as_it_is(shm_check: Run, name: str) -> None:
    mount, prepare, words = PLACES[name]

    outcome = shm_check(mount=mount, prepare=prepare)

    assert outcome.code in (0, 1), outcome.stderr
    assert words in outcome.stdout
    assert outcome.stderr == ""


def test_a_machine_without_the_folder_is_told_so(shm_check: Run) -> None:
    outcome = shm_check("--sample", "3,224,224", "--workers", "2", mount=OWN_DEV)

    assert outcome.code == 1, outcome.stderr
    assert (
        "FAIL  shm-missing: /dev/shm is not there: no DataLoader with workers can start"
        in outcome.stdout
    )
    assert outcome.stdout.startswith("does not fit: /dev/shm is not there")


def test_a_link_is_followed_to_where_it_leads(shm_check: Run) -> None:
    outcome = shm_check(mount=LINK)

    assert outcome.code == 0, outcome.stderr
    assert "/dev/shm   48 MiB, 48 MiB free · tmpfs" in outcome.stdout


@pytest.mark.torch
def test_a_dataset_is_measured_through_a_link_and_leaves_nothing(ran: Ran) -> None:
    outcome = ran("a link")

    assert "measured" in outcome.stdout, outcome.stderr
    assert_clean(outcome)


def test_what_a_process_holds_is_seen_though_it_is_deleted(shm_check: Run) -> None:
    outcome = shm_check(
        prepare="exec 7>/dev/shm/torch_1_2_3; head -c 3145728 /dev/zero >&7; rm /dev/shm/torch_1_2_3",
        before="exec 7>&-; exec",
    )

    assert outcome.code == 0, outcome.stderr
    assert "held       3 MiB in 1 file of torch, by bash (pid" in outcome.stdout
    assert "deleted but open" in outcome.stdout


def test_a_limit_of_a_file_s_size_that_a_batch_passes_is_told(shm_check: Run) -> None:
    arguments = ("--sample", "3,512,512", "--batch-size", "2", "--workers", "1")

    below = shm_check(*arguments, before="ulimit -f 6143; exec")  # in units of 1024 bytes
    enough = shm_check(*arguments, before="ulimit -f 6144; exec")

    assert below.code == 1
    assert "FAIL  file-size-limit: a tensor of a batch is 6 MiB, a file may have" in below.stdout
    assert enough.code == 0, enough.stdout


# --- so much of it can be had


@pytest.mark.parametrize(
    ("need", "code", "words"),
    [
        ("32M", 0, "32 MiB can be had: it was taken and given back"),
        ("64M", 0, "taken and given back, the rest is left to others"),
        (str(64 * 1024**2 + 1), 1, "cannot be had: /dev/shm has 64 MiB free"),
    ],
)
def test_a_size_is_proven_up_to_the_edge(shm_check: Run, need: str, code: int, words: str) -> None:
    outcome = shm_check("--need", need)

    assert outcome.code == code, outcome.stderr
    assert words in outcome.stdout.splitlines()[0]
    assert_clean(outcome)


def test_a_size_is_proven_where_files_may_only_be_small(shm_check: Run) -> None:
    outcome = shm_check("--need", "32M", before="ulimit -f 4096; exec")

    assert outcome.code == 0
    assert outcome.stdout.startswith("32 MiB can be had: it was taken and given back")
    assert_clean(outcome)


def test_a_size_cannot_be_had_where_there_is_no_place(shm_check: Run) -> None:
    outcome = shm_check("--need", "1M", mount=OWN_DEV)

    assert outcome.code == 1
    assert outcome.stdout.startswith("/dev/shm is not there")


# --- as nobody


def _python_for_nobody() -> list[str]:
    """A Python that any user may start, and the environment it needs to find our packages."""
    for python in (sys.executable, "/usr/bin/python3"):
        folders = [str(ROOT), *(it for it in sys.path if it.endswith("site-packages"))]
        probe = "import sys, typer; print(sys.version_info[:2])"
        command = ["env", f"PYTHONPATH={os.pathsep.join(folders)}", python]
        try:
            done = subprocess.run(
                [*AS_NOBODY, *command, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {probe!r}], check=True)"],
                capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
        except OSError:
            return []
        if done.stdout.strip() == str(tuple(sys.version_info[:2])):
            return command
    return []


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def test_a_user_who_may_not_look_at_others_is_told_how_many_were_not_seen(tmp_path: Path) -> None:
    python = _python_for_nobody() if os.geteuid() == 0 else []
    if not python:
        pytest.skip("only root can become somebody else")

    done = subprocess.run(
        [*AS_NOBODY, *python, "-m", "torchkit", "shm-check"],
        capture_output=True, text=True, cwd="/", check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode in (0, 1), done.stderr
    assert "not seen   files of " in done.stdout
    assert done.stderr == ""
