"""What a DataLoader really does in a /dev/shm of a given size, seen from outside.

`python truth.py` imports torch once. For each line of JSON on its stdin it forks a process with a
mount namespace of its own, and a tmpfs of `size` bytes on /dev/shm; follows it with statvfs; and
answers with a line of JSON on stdout. Several run at a time. A job is

    {"id", "do": "mount" | "train" | "trial", "name" | "order", "size", "inodes", "files", "limit_s"}

"mount" does no more than that; "train" runs the training loop of a configuration; "trial" is
torchkit's child with this order; `inodes` and `files` are limits. The answer has `outcome` ("works",
"fails", "hangs"), `peak` in bytes, `inodes`, `main_files` and `worker_files`, `errors`, and what a
trial answered.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

AT_ONCE = 12
"""Most of them only wait, for one another or for what hangs."""
POLL_S = 0.001
HUNG_S = 1.5
"""So long after a worker's feeder thread gave a batch up, and nothing came, the loop hangs."""

NEW_NAMESPACE = 0x00020000
PRIVATE = 16384 | 1 << 18


def mount(size: int, inodes: int | None) -> None:
    """A /dev/shm for this process and its children alone. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size},mode=1777" + (f",nr_inodes={inodes}" if inodes else "")
    if (
        libc.unshare(NEW_NAMESPACE)
        or libc.mount(b"none", b"/", None, PRIVATE, None)
        or libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, options.encode())
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Watch:
    """A process that does nothing but look at the /dev/shm of others, and so misses nothing."""

    def __init__(self) -> None:
        asking, self.asking = os.pipe()
        answers, answering = os.pipe()
        if os.fork() == 0:
            os.close(self.asking)
            try:
                self._be(asking, answering)
            finally:
                os._exit(0)
        os.close(asking)
        self.answers = os.fdopen(answers)

    def begin(self, pid: int) -> None:
        os.write(self.asking, f"{pid}\n".encode())

    def end(self, pid: int) -> dict[str, int]:
        os.write(self.asking, f"-{pid}\n".encode())
        found: dict[str, int] = json.loads(self.answers.readline())
        return found

    def _be(self, asking: int, answering: int) -> None:
        own = Path("/dev/shm").stat().st_dev
        shm: dict[int, int | None] = {}
        peak: dict[int, int] = {}
        inodes: dict[int, int] = {}
        while True:
            if select.select([asking], [], [], POLL_S if shm else 1)[0]:
                data = os.read(asking, 4096)
                if not data:
                    return
                for pid in map(int, data.split()):
                    if pid > 0:
                        shm[pid], peak[pid], inodes[pid] = None, 0, 0
                        continue
                    there = shm.pop(-pid)
                    if there is not None:
                        os.close(there)
                    seen = {"peak": peak.pop(-pid), "inodes": inodes.pop(-pid)}
                    os.write(answering, json.dumps(seen).encode() + b"\n")
            for pid, place in shm.items():
                if place is None:
                    shm[pid] = _shm_of(pid, own)
                    continue
                size = os.fstatvfs(place)
                peak[pid] = max(peak[pid], (size.f_blocks - size.f_bfree) * size.f_frsize)
                inodes[pid] = max(inodes[pid], size.f_files - size.f_ffree - 1)


def _shm_of(pid: int, own: int) -> int | None:
    """Its /dev/shm, once that is another than ours."""
    with contextlib.suppress(OSError):
        place = os.open(f"/proc/{pid}/root/dev/shm", os.O_RDONLY)
        if os.fstat(place).st_dev != own:
            return place
        os.close(place)
    return None


class Job:
    """One process, and what is seen of it."""

    def __init__(self, ask: dict[str, Any], watch: Watch) -> None:
        self.watch = watch
        self.ask = ask
        self.begun = self.heard = time.monotonic()
        self.limit_s = ask.get("limit_s", 30)
        self.folder = tempfile.TemporaryDirectory(prefix="truth-")
        self.stderr = Path(self.folder.name) / "stderr"
        pace = Path(self.folder.name) / "pace"
        pace.write_bytes(bytes(8192))
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reading)
            self._be(ask, writing, str(pace))
        os.close(writing)
        watch.begin(self.pid)
        os.set_blocking(self.reading, False)
        self.text = b""
        self.seen: dict[str, int] = {}
        self.main_files = self.worker_files = 0
        self.outcome = ""
        self.looked = 0.0

    # --- the process

    def _be(self, ask: dict[str, Any], writing: int, pace: str) -> None:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        errors = os.open(self.stderr, os.O_WRONLY | os.O_CREAT)
        for descriptor, copy in ((null, 0), (null, 1), (errors, 2)):
            os.dup2(descriptor, copy)
        high = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        top = 500  # out of the way of what is counted
        os.dup2(writing, top)
        os.closerange(3, top)
        status = 1
        try:
            mount(ask["size"], ask.get("inodes"))
            os.write(top, b'{"mounted": 1}\n')
            if ask.get("files"):
                resource.setrlimit(resource.RLIMIT_NOFILE, (ask["files"], high))
            if ask["do"] == "mount":
                pass
            elif ask["do"] == "trial":
                self._trial(ask["order"], top)
            else:
                os.environ["PACE"] = pace
                self._train(ask["name"], top)
            status = 0
        except BaseException:  # noqa: BLE001 - a DataLoader may raise anything
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _train(self, name: str, top: int) -> None:
        import configurations

        def say(**values: Any) -> None:
            os.write(top, json.dumps(values).encode() + b"\n")

        configurations.train(configurations.ALL[name], say)

    def _trial(self, order: dict[str, Any], top: int) -> None:
        from torchkit.dataset import trial

        sys.argv = ["trial", json.dumps({**order, "answers": top})]
        trial.main()

    # --- from outside

    def look(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reading, 65536):
                self.text += data
                self.heard = time.monotonic()
        if self.ask.get("counts_files"):
            self._count_files()
        self._end_if_over()

    def _count_files(self) -> None:
        self.main_files = max(self.main_files, _files(self.pid))
        with contextlib.suppress(OSError):
            path = f"/proc/{self.pid}/task/{self.pid}/children"
            for pid in Path(path).read_text().split():
                self.worker_files = max(self.worker_files, _files(int(pid)))

    def _end_if_over(self) -> None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.outcome = "works" if os.waitstatus_to_exitcode(status) == 0 else "fails"
        now = time.monotonic()
        if now - self.looked > 0.3 and not self.outcome:
            self.looked = now
            lost = b"in _feed" in self.stderr.read_bytes() if self.stderr.exists() else False
            if (lost and now - self.heard > HUNG_S) or now - self.begun > self.limit_s:
                self.outcome = "hangs"
        if self.outcome:
            self._end()

    def _end(self) -> None:
        self.seen = self.watch.end(self.pid)
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reading, 65536):
                self.text += data
        os.close(self.reading)

    def answer(self) -> dict[str, Any]:
        lines = [line for line in self.stderr.read_text(errors="replace").splitlines() if line]
        self.folder.cleanup()
        return {
            "id": self.ask["id"],
            "outcome": self.outcome,
            **self.seen,
            "main_files": self.main_files,
            "worker_files": self.worker_files,
            "errors": [line.strip() for line in lines if "Error" in line],
            "stderr": lines[-30:],
            "answers": [json.loads(line) for line in self.text.splitlines() if line[-1:] == b"}"],
            "seconds": time.monotonic() - self.begun,
        }


def _files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are enough
    except OSError:
        return 0


def main() -> None:
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parents[1])]
    watch = Watch()
    import torch

    torch.set_num_threads(1)  # a pool of threads does not outlive a fork
    import configurations  # noqa: F401 - once for all

    gc.collect()
    gc.freeze()  # so that a fork copies no pages only to count references
    waiting: list[dict[str, Any]] = []
    jobs: list[Job] = []
    rest, is_open = b"", True
    while is_open or waiting or jobs:
        if is_open and select.select([0], [], [], POLL_S if jobs else 1)[0]:
            data = os.read(0, 65536)
            is_open = bool(data)
            *lines, rest = (rest + data).split(b"\n")
            waiting += [json.loads(line) for line in lines if line]
        elif not is_open:
            time.sleep(POLL_S)
        while waiting and len(jobs) < AT_ONCE:
            jobs.append(Job(waiting.pop(0), watch))
        for job in jobs:
            job.look()
            if job.outcome:
                sys.stdout.write(json.dumps(job.answer()) + "\n")
                sys.stdout.flush()
        jobs = [job for job in jobs if not job.outcome]


if __name__ == "__main__":
    main()
