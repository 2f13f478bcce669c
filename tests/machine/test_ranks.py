"""Answers of ranks, handed over by threads and by children: folders and stores that go wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from torchkit.machine.interruption import Interruption, note_early, noted
from torchkit.machine.launch import Launch, launch_of
from torchkit.machine.rank_files import Meeting
from torchkit.machine.rank_store import _outcome
from torchkit.machine.ranks import Gathered, gather, hand_in
from torchkit.system import Answer, System

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

LIMIT_S = 30.0
"""Far above what ranks that answer may take."""


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Three ranks that share a folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return {
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
        "TORCHKIT_RANKS_TIMEOUT_S": str(LIMIT_S),
    }


def rank(number: int, environ: Mapping[str, str]) -> tuple[System, Launch]:
    mine = {**environ, "RANK": str(number)}
    return System(environ=mine), launch_of(mine)


def gathered(environ: Mapping[str, str], *, interruption: Interruption | None = None) -> Gathered:
    return gather(
        *rank(0, environ),
        {"from": 0},
        python=sys.executable,
        interruption=interruption or Interruption(),
        tell=lambda _missing, _left_s: None,
    )


@pytest.fixture
def others(environ: dict[str, str]) -> Callable[..., list[threading.Thread]]:
    """Starts other ranks as threads."""

    def start(*numbers: int) -> list[threading.Thread]:
        threads = [
            threading.Thread(
                target=hand_in,
                args=(*rank(number, environ), {"from": number}),
                kwargs={"python": sys.executable},
            )
            for number in numbers
        ]
        for thread in threads:
            thread.start()
        return threads

    return start


def end(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads)


def test_every_answer_comes_to_rank_0_and_no_file_stays(
    environ: dict[str, str], others: Any, tmp_path: Path
) -> None:
    threads = others(1, 2)

    found = gathered(environ)

    end(threads)
    assert {number: it["from"] for number, it in found.answers.items()} == {0: 0, 1: 1, 2: 2}
    assert found.stopped == ""
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_run_left_is_no_answer(
    environ: dict[str, str], others: Any, tmp_path: Path
) -> None:
    with Meeting(*rank(0, environ)) as meeting:
        folder = meeting.folder
    folder.mkdir(mode=0o700)
    (folder / "call").write_text("0123456789abcdef")
    (folder / "rank-2-0123456789abcdef.json").write_text('{"from": "the past"}')
    threads = others(1)

    found = gathered({**environ, "TORCHKIT_RANKS_TIMEOUT_S": "1.5"})

    end(threads)
    assert set(found.answers) == {0, 1}
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_answered_the_past_answers_again(
    environ: dict[str, str], others: Any, tmp_path: Path
) -> None:
    with Meeting(*rank(0, environ)) as meeting:
        folder = meeting.folder
    folder.mkdir(mode=0o700)
    (folder / "call").write_text("0123456789abcdef")
    threads = others(1, 2)
    while len(list(folder.glob("rank-*-0123456789abcdef.json"))) < 2:
        pass

    found = gathered(environ)

    end(threads)
    assert set(found.answers) == {0, 1, 2}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\x80", b"[" * 100_000])
def test_a_file_that_is_no_answer_is_passed_over(environ: dict[str, str], content: bytes) -> None:
    with Meeting(*rank(0, environ)) as meeting:
        meeting.collect()
        (meeting.folder / f"rank-1-{meeting.number}.json").write_bytes(content)
        (meeting.folder / f"rank-x-{meeting.number}.json").write_text("{}")

        assert meeting.collect() == {}


def test_a_rank_beyond_the_last_one_is_none(environ: dict[str, str], others: Any) -> None:
    system, launch = rank(0, environ)
    with Meeting(system, launch) as meeting:
        meeting.number = "fixed"
        meeting.collect()
        (meeting.folder / "rank-77-fixed.json").write_text("{}")
        assert set(meeting.collect()) == {77}
    threads = others(1, 2)

    found = gathered(environ)

    end(threads)
    assert set(found.answers) == {0, 1, 2}


def test_a_common_folder_that_is_not_ours_is_not_used(
    environ: dict[str, str], tmp_path: Path
) -> None:
    system, launch = rank(0, environ)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Meeting(system, launch).folder.symlink_to(elsewhere)

    with Meeting(system, launch) as meeting:
        assert meeting.collect() == {}
        assert meeting.problem == "it is no folder"

    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_others_may_write_to_is_not_used(environ: dict[str, str]) -> None:
    system, launch = rank(0, environ)
    folder = Meeting(system, launch).folder
    folder.mkdir()
    folder.chmod(0o777)

    with Meeting(system, launch) as meeting:
        assert meeting.collect() == {}
        assert meeting.problem == "others may write there"

    assert list(folder.iterdir()) == []


def test_nobody_else_can_read_what_ranks_write(environ: dict[str, str]) -> None:
    before = os.umask(0)
    try:
        with Meeting(*rank(0, environ)) as meeting:
            meeting.collect()
            modes = [path.stat().st_mode & 0o777 for path in meeting.folder.iterdir()]
            of_folder = meeting.folder.stat().st_mode & 0o777
    finally:
        os.umask(before)

    assert (modes, of_folder) == ([0o600], 0o700)


def test_a_rank_that_finds_no_rank_0_says_where_it_looked(environ: dict[str, str]) -> None:
    environ["TORCHKIT_RANKS_TIMEOUT_S"] = "0.1"
    environ["TORCHKIT_RANKS_DIR"] = "/nowhere"

    tried = hand_in(*rank(1, environ), {}, python=sys.executable)

    assert tried is not None
    assert tried[0].startswith("/nowhere/")


def test_a_named_folder_is_used_and_left_as_it_was(
    environ: dict[str, str], others: Any, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    environ.update(TORCHKIT_RANKS_DIR=str(shared), MASTER_ADDR="a-host")
    threads = others(1, 2)

    found = gathered(environ)

    end(threads)
    assert set(found.answers) == {0, 1, 2}
    assert str(shared) in found.ways[0]
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "is_noted"),
    [
        ({"RANK": "0"}, True),
        ({"RANK": "1"}, False),
        ({"RANK": "1", "PMI_RANK": "0"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({}, False),
    ],
)
def test_rank_0_alone_notes_early_what_would_end_it(
    environ: dict[str, str], is_noted: bool
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        note_early(environ)
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.raise_signal(signal.SIGTERM)
        with noted() as interruption:
            assert interruption.came is is_noted
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interruption_ends_the_wait_with_what_there_is(
    environ: dict[str, str], others: Any
) -> None:
    threads = others(1)
    with noted() as interruption:
        timer = threading.Timer(0.5, interruption.note)
        timer.start()

        found = gathered(environ, interruption=interruption)

        timer.cancel()
    end(threads)
    assert set(found.answers) == {0, 1}
    assert "SIGTERM" in found.stopped
    assert found.waited_s < 10


# --- through a child with torch


def fake_torch(folder: Path, text: str) -> str:
    """A folder for PYTHONPATH whose torch is this text."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text(text)
    return str(folder)


STORE = """
import json, os, pathlib, time
HERE = pathlib.Path({folder!r})
class TCPStore:
    def __init__(self, host, port, world_size, is_master, *, timeout, wait_for_workers): pass
    def _path(self, key): return HERE / key.replace("/", "_")
    def set(self, key, value):
        data = value if isinstance(value, bytes) else value.encode()
        part = self._path(key + ".part"); part.write_bytes(data); part.replace(self._path(key))
    def get(self, key): return self._path(key).read_bytes()
    def check(self, keys): return all(self._path(key).exists() for key in keys)
"""
"""A store of torch's form, so that the way through it is tried where there is no torch."""


@pytest.fixture
def many_hosts(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Ranks that share no folder but the current one, and a torch that has a store."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    kept = tmp_path / "store"
    kept.mkdir()
    site = fake_torch(tmp_path / "site", "")
    (tmp_path / "site" / "torch" / "distributed.py").write_text(STORE.format(folder=str(kept)))
    environ.update(MASTER_ADDR="a-host", PYTHONPATH=site, PATH=os.environ["PATH"])
    return environ


def left_in(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.iterdir() if it.name.startswith((".", "torchkit")))


def test_on_several_hosts_answers_go_through_the_store_and_no_file_is_made(
    many_hosts: dict[str, str], others: Any, tmp_path: Path
) -> None:
    threads = others(1, 2)

    found = gathered(many_hosts)

    end(threads)
    assert {number: it["from"] for number, it in found.answers.items()} == {0: 0, 1: 1, 2: 2}
    assert found.ways == ("torch.distributed at a-host:1",)
    assert list((tmp_path / "work").iterdir()) == []
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("torch", "problem"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "the child died (SIGSEGV)"),
        ("print('{}')\nraise OSError('libcudart.so.12: not there')", "OSError: libcudart.so.12"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import time\ntime.sleep(100)", "importing torch takes longer than"),
        ("import ctypes\nctypes.PyDLL(None).sleep(100)", "importing torch takes longer than"),
    ],
    ids=["crashes", "raises", "ends", "hangs", "hangs_with_the_lock_of_python"],
)
@pytest.mark.parametrize("bad", [0, 1])
def test_a_rank_whose_torch_is_broken_answers_by_a_file(
    many_hosts: dict[str, str], tmp_path: Path, bad: int, torch: str, problem: str
) -> None:
    if "sleep" in torch:  # a third of it is waited for
        many_hosts["TORCHKIT_RANKS_TIMEOUT_S"] = "4.5"
    broken = {**many_hosts, "PYTHONPATH": fake_torch(tmp_path / "broken", torch)}
    environs = [broken if number == bad else many_hosts for number in range(3)]
    threads = [
        threading.Thread(
            target=hand_in,
            args=(*rank(number, environs[number]), {"from": number}),
            kwargs={"python": sys.executable},
        )
        for number in (1, 2)
    ]
    for thread in threads:
        thread.start()

    found = gathered(environs[0])

    end(threads)
    assert set(found.answers) == {0, 1, 2}
    assert problem in found.answers[bad]["torch_problem"]
    assert list((tmp_path / "work").iterdir()) == []
    assert left_in(tmp_path) == []


def test_a_store_that_is_not_there_is_told_as_such(
    many_hosts: dict[str, str], tmp_path: Path
) -> None:
    """A torch that is built without torch.distributed."""
    (tmp_path / "site" / "torch" / "distributed.py").write_text("")

    found = gathered({**many_hosts, "TORCHKIT_RANKS_TIMEOUT_S": "1.5"})

    assert set(found.answers) == {0}
    assert any("has no attribute 'TCPStore'" in way for way in found.ways)
    assert "has no attribute 'TCPStore'" in found.trouble


def test_a_file_of_the_current_folder_is_not_taken_for_pythons_own(
    many_hosts: dict[str, str], others: Any, tmp_path: Path
) -> None:
    (tmp_path / "work" / "datetime.py").write_text("raise RuntimeError('not this one')")
    threads = others(1, 2)

    found = gathered(many_hosts)

    end(threads)
    assert set(found.answers) == {0, 1, 2}
    assert [it for it in found.answers.values() if "torch_problem" in it] == []


def test_a_child_that_dies_before_torch_is_quoted_and_torch_not_blamed() -> None:
    problem, is_done = _outcome(Answer(1, "", "Traceback\nMemoryError: none left\n"))

    assert not is_done
    assert problem == "the child died (exit code 1): MemoryError: none left"
