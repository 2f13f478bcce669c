"""`torchkit env --all-ranks` as its ranks see it: real processes, by hand and under torchrun.

By hand means with the variables that a launcher sets; each rank judges a saved machine, so that
what is to be found is known.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from installs import HAS_TORCH, REPOSITORY, plain_environ

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

MACHINES = REPOSITORY / "tests" / "machines"
NODE: dict[str, Any] = json.loads((MACHINES / "h100-node.json").read_text())["facts"]
OLD_DRIVER = {
    "driver_version": "535.54.03",
    "driver_library_version": "535.54.03",
    "driver_cuda": "12.2",
}
SCHEMA = json.loads((REPOSITORY / "torchkit" / "render" / "report.schema.json").read_text())
LIMIT_S = 60.0
HERE = "0.0.0.0"  # noqa: S104 - where ranks of this host meet, though it is no loopback


def own_port() -> int:
    """One for this process, below those that the kernel hands out for a while."""
    return 20_000 + os.getpid() % 10_000


class Job:
    """Ranks of one job, started one by one. Their files for the moment lie in `folder`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self.ranks: dict[int, subprocess.Popen[str]] = {}
        self.environ: dict[str, str] = {}
        self.temporary = folder / "tmp"
        self.temporary.mkdir()

    def start(
        self, rank: int, *options: str | Path, changes: Mapping[str, Any] | None = None
    ) -> None:
        """A rank on a node with these changes."""
        saved = self.folder / f"{rank}.json"
        saved.write_text(json.dumps({"facts": {**NODE, **(changes or {})}}))
        self.start_with(rank, "--facts", saved, *options)

    def start_with(self, rank: int, *options: str | Path) -> None:
        environ = {
            "RANK": str(rank),
            "WORLD_SIZE": str(self.size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(own_port()),
            "TMPDIR": str(self.temporary),
            **self.environ,
        }
        command = [sys.executable, "-m", "torchkit", "env", "--all-ranks", *map(str, options)]
        self.ranks[rank] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=plain_environ(environ),
        )

    def ended(self, rank: int) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a rank."""
        child = self.ranks[rank]
        stdout, stderr = child.communicate(timeout=LIMIT_S)
        return child.returncode, stdout, stderr

    def assert_silent(self, *ranks: int) -> None:
        for rank in ranks:
            assert self.ended(rank) == (0, "", "")

    def assert_clean(self) -> None:
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def job(tmp_path: Path) -> Any:
    """Makes a job of so many ranks; none of them outlives the test."""
    jobs: list[Job] = []

    def make(size: int) -> Job:
        jobs.append(Job(tmp_path, size))
        return jobs[-1]

    yield make
    for each in jobs:
        for child in each.ranks.values():
            child.kill()
            child.communicate()


Make = Callable[[int], Job]


def test_ranks_that_agree_are_told_in_one_line_by_rank_0_alone(job: Make) -> None:
    ranks = job(3)
    for rank in range(3):
        ranks.start(rank)

    code, stdout, stderr = ranks.ended(0)

    assert code == 0
    assert stderr == ""
    assert stdout.startswith("all 3 ranks agree on ")
    assert "2.14.1+cu130" in stdout
    ranks.assert_silent(1, 2)
    ranks.assert_clean()


def test_the_odd_rank_is_named_with_what_is_wrong_with_it(job: Make) -> None:
    ranks = job(3)
    ranks.start(0, "--json")
    ranks.start(1, "--json")
    ranks.start(2, "--json", changes=OLD_DRIVER)

    code, stdout, _ = ranks.ended(0)

    report = json.loads(stdout)
    jsonschema.validate(report, SCHEMA)
    assert code == report["exit_code"] == 1
    assert report["headline"].startswith(
        "rank 2 differs from 2 others: driver 535.54.03 instead of 580.82.07; 1 problem: "
    )
    wrong = {it["id"]: it for it in report["findings"] if it["status"] in ("warn", "fail")}
    assert set(wrong) == {"driver-too-old", "machines-differ"}
    assert wrong["driver-too-old"]["evidence"][0] == {"name": "on", "value": "rank 2", "source": ""}
    assert report["facts"]["driver_version"] == "580.82.07"
    assert report["totals"]["world_size"] == 3
    assert report["totals"]["hosts"] == dict.fromkeys("012", platform.node())
    ranks.assert_silent(1, 2)


def test_what_is_wrong_everywhere_is_told_once(job: Make) -> None:
    ranks = job(2)
    ranks.start(0, changes=OLD_DRIVER)
    ranks.start(1, changes=OLD_DRIVER)

    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert stdout.splitlines()[0].startswith("rank 0 and rank 1 agree on ")
    assert stdout.count("FAIL") == 1
    assert "(rank" not in stdout
    ranks.assert_silent(1)


def test_two_nccl_in_one_job_fail_as_nccl_says(job: Make) -> None:
    ranks = job(2)
    packages = {**NODE["nvidia_packages"], "nvidia-nccl-cu13": "2.28.3"}
    ranks.start(0)
    ranks.start(1, changes={"nvidia_packages": packages})

    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert "FAIL  machines-differ: nvidia-nccl 2.28.3 on rank 1, 2.30.7 on rank 0" in stdout
    assert "Mismatched NCCL version detected" in stdout


def test_gates_hold_on_every_rank(job: Make) -> None:
    ranks = job(2)
    ranks.start(0, "--require", "driver>=580", "--only", "requirement-unmet")
    ranks.start(1, "--require", "driver>=580", "--only", "requirement-unmet", changes=OLD_DRIVER)

    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert "requirement-unmet: driver>=580 is required, found 535.54.03 (rank 1)" in stdout
    ranks.assert_silent(1)


def test_a_rank_that_never_comes_is_named_when_the_time_is_over(job: Make) -> None:
    ranks = job(3)
    ranks.environ["TORCHKIT_RANKS_TIMEOUT_S"] = "2"
    ranks.start(0)
    ranks.start(1)

    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert stdout.splitlines()[0].startswith("rank 2 did not answer; rank 0 and rank 1 agree on ")
    assert "rank 2 did not answer within 2 s; 2 of 3 ranks did" in stdout
    ranks.assert_silent(1)
    ranks.assert_clean()


def test_a_rank_that_cannot_look_says_so_through_rank_0(job: Make) -> None:
    ranks = job(2)
    ranks.start(0)
    ranks.start_with(1, "--facts", "nowhere.json")

    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert "rank-missing: rank 1 could not look: nowhere.json is not there" in stdout
    ranks.assert_silent(1)


def test_a_launcher_that_ends_the_run_hears_what_is_known(job: Make) -> None:
    ranks = job(3)
    ranks.start(0)
    ranks.start(1)
    ranks.assert_silent(1)

    ranks.ranks[0].send_signal(signal.SIGTERM)
    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert "rank 2 did not answer before the launcher ended this run (SIGTERM)" in stdout
    ranks.assert_clean()


def test_a_launcher_that_ends_the_run_while_rank_0_starts_is_heard(job: Make) -> None:
    """torchrun sends its SIGTERM a tenth of a second after another rank has died."""
    ranks = job(2)
    ranks.start(0)
    status = Path(f"/proc/{ranks.ranks[0].pid}/status")
    deadline = time.monotonic() + LIMIT_S
    while not catches_sigterm(status.read_text()) and time.monotonic() < deadline:
        time.sleep(0.001)

    ranks.ranks[0].send_signal(signal.SIGTERM)
    code, stdout, _ = ranks.ended(0)

    assert code == 1
    assert "rank 1 did not answer before the launcher ended this run (SIGTERM)" in stdout


def catches_sigterm(status: str) -> bool:
    line = next(it for it in status.splitlines() if it.startswith("SigCgt:"))
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_one_rank_for_the_cpu_is_told_one_cure(job: Make) -> None:
    cpu = {"torch_version": "2.14.1+cpu", "torch_build": "cpu", "torch_cuda": None}
    ranks = job(3)
    ranks.start(0, "--json", changes=cpu)
    ranks.start(1, "--json")
    ranks.start(2, "--json", changes=cpu)

    code, stdout, _ = ranks.ended(0)

    told = [
        it for it in json.loads(stdout)["findings"]
        if it["id"] == "machines-differ" and it["message"].startswith("torch ")
    ]  # fmt: skip
    assert code == 1
    assert [it["status"] for it in told] == ["fail"]
    assert "+cpu" not in " ".join(told[0]["fix"])


def test_a_wrong_option_is_told_once(job: Make) -> None:
    ranks = job(2)
    ranks.start(0, "--only", "nosuch")
    ranks.start(1, "--only", "nosuch")

    code, stdout, stderr = ranks.ended(0)

    assert (code, stdout) == (2, "")
    assert "there is no check named 'nosuch'" in stderr
    ranks.assert_silent(1)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"TORCHKIT_RANKS_DIR": "not/there"},
            "TORCHKIT_RANKS_DIR is not/there, which is not there",
        ),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, "nothing tells this job from another one"),
    ],
)
def test_ranks_that_cannot_meet_are_refused_at_once(
    job: Make, environ: dict[str, str], words: str
) -> None:
    ranks = job(2)
    ranks.environ.update(environ)
    ranks.start(0)

    code, stdout, stderr = ranks.ended(0)

    assert (code, stdout) == (2, "")
    assert words in stderr
    assert "TORCHKIT_RANKS_DIR" in stderr


def test_a_rank_that_finds_no_rank_0_says_so(job: Make) -> None:
    ranks = job(2)
    ranks.environ["TORCHKIT_RANKS_TIMEOUT_S"] = "0.2"
    ranks.start(1)

    code, stdout, stderr = ranks.ended(1)

    assert (code, stdout) == (0, "")
    assert stderr.startswith("rank 1 found no rank 0 within 0.4 s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_rank_that_waits_ends_quietly_and_leaves_nothing(
    job: Make, number: signal.Signals
) -> None:
    ranks = job(2)
    rank = 0 if number is signal.SIGINT else 1
    ranks.environ["TORCHKIT_RANKS_DIR"] = str(ranks.folder / "tmp")
    ranks.start(rank)
    deadline = time.monotonic() + LIMIT_S
    while not list(ranks.temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)

    ranks.ranks[rank].send_signal(number)

    assert ranks.ended(rank) == (128 + number, "", "")
    ranks.assert_clean()


def test_markdown_hides_the_host(job: Make) -> None:
    ranks = job(2)
    ranks.start(0, "--format", "markdown")
    ranks.start(1, "--format", "markdown", changes=OLD_DRIVER)

    _, stdout, _ = ranks.ended(0)

    assert "rank 1 differs from rank 0" in stdout
    assert platform.node() not in stdout.split()
    assert '"hosts"' not in stdout


def test_markdown_hides_where_rank_0_was_looked_for(job: Make) -> None:
    ranks = job(2)
    ranks.environ.update(MASTER_ADDR="gpu-secret-0", TORCHKIT_RANKS_TIMEOUT_S="1")
    ranks.start(0, "--format", "markdown")

    _, stdout, _ = ranks.ended(0)

    assert "torch.distributed at" in stdout
    assert "gpu-secret" not in stdout


@pytest.fixture
def sleeping_torch(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH whose torch does not come to an end."""
    folder = tmp_path / "site" / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import time\ntime.sleep(60)")
    return folder.parent


def test_a_torch_that_was_given_little_time_is_not_called_slow(
    job: Make, sleeping_torch: Path
) -> None:
    ranks = job(2)
    ranks.environ.update(
        MASTER_ADDR=HERE,
        TORCHKIT_RANKS_TIMEOUT_S="3",
        PYTHONPATH=f"{sleeping_torch}:{REPOSITORY}",
    )
    ranks.start(0)
    ranks.start(1)

    code, stdout, _ = ranks.ended(0)

    assert code == 0
    assert "importing torch" not in stdout


def test_a_rank_that_is_killed_leaves_none_of_its_facts(job: Make, sleeping_torch: Path) -> None:
    ranks = job(2)
    ranks.environ.update(MASTER_ADDR=HERE, PYTHONPATH=f"{sleeping_torch}:{REPOSITORY}")
    ranks.start(0)
    deadline = time.monotonic() + LIMIT_S
    while not list(ranks.temporary.glob("*/pid")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # its child watches from now on

    ranks.ranks[0].kill()

    while list(ranks.temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    ranks.assert_clean()


def test_a_job_of_one_rank_is_a_job(job: Make) -> None:
    ranks = job(1)
    ranks.start(0)

    code, stdout, _ = ranks.ended(0)

    assert code == 0
    assert stdout.startswith("1 rank: nothing wrong found")
    ranks.assert_clean()


def test_the_report_is_saved_by_rank_0(job: Make, tmp_path: Path) -> None:
    ranks = job(2)
    ranks.start(0, "--save", tmp_path / "all.json")
    ranks.start(1, "--save", tmp_path / "all.json")

    assert ranks.ended(0)[0] == 0
    ranks.assert_silent(1)
    assert json.loads((tmp_path / "all.json").read_text())["totals"]["world_size"] == 2


def test_without_a_launcher_the_line_to_paste_is_told(cli: Any, monkeypatch: Any) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)

    ended = cli("env", "--all-ranks")

    assert ended.code == 2
    assert "torchrun --nproc-per-node 2 -m torchkit env --all-ranks" in ended.stderr


@pytest.mark.parametrize(
    "option", [["--get", "torch_version"], ["--list"], ["--compare", "x.json"]]
)
def test_an_option_that_asks_for_another_answer_is_refused(
    cli: Any, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")

    ended = cli("env", "--all-ranks", *option)

    assert ended.code == 2
    assert f"{option[0]} would have no effect beside --all-ranks" in ended.stderr


# --- with torch


needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="needs torch")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def torchrun(folder: Path, *command: str | Path, size: int = 2) -> subprocess.CompletedProcess[str]:
    environ = plain_environ({"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"})
    return subprocess.run(
        [*TORCHRUN, "--nproc-per-node", str(size), *map(str, command)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=folder,
        env=environ,
    )


@pytest.mark.torch
@needs_torch
def test_under_torchrun_rank_0_reports(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "-m", "torchkit", "env", "--all-ranks", "--json")

    report = json.loads(done.stdout)
    assert done.returncode == report["exit_code"]
    assert report["headline"].startswith("rank 0 and rank 1 agree on ")
    assert not [it for it in tmp_path.iterdir() if "ranks" in it.name]


@pytest.mark.torch
@needs_torch
def test_under_torchrun_a_rank_that_dies_is_told_of(tmp_path: Path) -> None:
    script = tmp_path / "rank.sh"
    torchkit = f"{sys.executable} -m torchkit env --all-ranks"
    script.write_text(
        f'#!/bin/sh\nif [ "$RANK" = 1 ]; then sleep 0.5; kill -9 $$; fi\nexec {torchkit}\n'
    )
    script.chmod(0o755)

    done = torchrun(tmp_path, "--no-python", script)

    assert done.returncode == 1
    assert done.stdout.startswith("rank 1 did not answer")
    assert "before the launcher ended this run" in done.stdout
    assert not [it for it in tmp_path.iterdir() if "ranks" in it.name]


@pytest.mark.torch
@needs_torch
def test_on_several_hosts_the_real_store_carries_the_answers(job: Make) -> None:
    """An address that is not the loopback: then no folder is taken for common."""
    ranks = job(2)
    ranks.environ["MASTER_ADDR"] = HERE
    ranks.start(0)
    ranks.start(1)

    code, stdout, _ = ranks.ended(0)

    assert code == 0
    assert stdout.startswith("rank 0 and rank 1 agree on ")
    ranks.assert_silent(1)
    ranks.assert_clean()
    assert not [it for it in ranks.folder.iterdir() if "ranks" in it.name]
