"""Programs that really fail: with devices, DataLoaders, checkpoints, ranks, compilers, exporters.

`python troubles_running.py [NAME…]` imports torch once, forks a process for each trouble, and
prints what they wrote as one JSON object, by name. A trouble may have a /dev/shm of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

NEW_NAMESPACES = 0x00020000
PRIVATE = 16384 | 1 << 18
AT_ONCE = 3
HUNG_S = 1.0
"""So long after a worker gave a batch up the waiting program is ended."""

LIMIT_S = 60.0


class Trouble(NamedTuple):
    """What fails; `shm` is the size of its /dev/shm in bytes, `files` how many it may open."""

    run: Callable[[], object]
    shm: int | None = None
    inodes: int | None = None
    files: int | None = None
    file_size: int | None = None


TROUBLES: dict[str, Trouble] = {}


def trouble(
    name: str, **limits: int | None
) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def add(run: Callable[[], object]) -> Callable[[], object]:
        TROUBLES[name] = Trouble(run, **limits)
        return run

    return add


# --- devices


@trouble("device-mismatch: addition")
def _add_devices() -> object:
    return torch.ones(3) + torch.ones(3, device="meta")


@trouble("device-mismatch: linear")
def _linear_devices() -> object:
    return nn.Linear(4, 2)(torch.ones(1, 4, device="meta"))


@trouble("device-mismatch: fake tensors")
def _fake_devices() -> object:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(3, device="cuda") + torch.empty(3)


@trouble("numpy-on-cuda-tensor: meta tensor")
def _numpy() -> object:
    return torch.ones(3, device="meta").numpy()


@trouble("cuda-reinit-in-fork: in a worker")
def _fork_cuda() -> object:
    vars(torch.cuda).update(_is_in_bad_fork=lambda: True)  # as below a parent that used a GPU

    class Moves(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            cuda: Any = torch.cuda
            cuda.init()
            return index

    return list(DataLoader(Moves(), num_workers=1))


# --- DataLoader


class Images(Dataset[Any]):
    """Samples of a megabyte."""

    def __init__(self, of: Callable[[int], Any] | None = None, count: int = 40) -> None:
        self.of, self.count = of, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.of(index) if self.of else torch.zeros(256, 1024)


def stacked(batch: Any) -> Any:
    return torch.stack(batch)


def slowly(loader: DataLoader[Any]) -> object:
    kept = None
    for batch in loader:
        time.sleep(0.05)
        kept = batch
    return kept


@trouble("dataloader-shm-exhausted: default collate", shm=6 << 20)
def _shm() -> object:
    return slowly(DataLoader(Images(), batch_size=4, num_workers=2))


@trouble("dataloader-shm-exhausted: own collate hangs", shm=6 << 20)
def _shm_feed() -> object:
    return slowly(DataLoader(Images(), batch_size=4, num_workers=2, collate_fn=stacked))


@trouble("dataloader-shm-exhausted: own collate with a time-out", shm=6 << 20)
def _shm_timeout() -> object:
    return slowly(DataLoader(Images(), batch_size=4, num_workers=1, collate_fn=stacked, timeout=2))


@trouble("dataloader-shm-exhausted: python shared memory", shm=2 << 20)
def _shm_python() -> object:
    from multiprocessing.shared_memory import SharedMemory

    def fill(index: int) -> Any:
        block = SharedMemory(create=True, size=16 << 20)
        assert block.buf is not None
        block.buf[:] = b"1" * len(block.buf)
        return index

    return list(DataLoader(Images(fill), num_workers=1))


@trouble("dataloader-shm-exhausted: full before", shm=1 << 20)
def _shm_full() -> object:
    Path("/dev/shm/full").write_bytes(bytes((1 << 20) - 4096))
    return list(DataLoader(Images(), num_workers=4))


@trouble("dataloader-shm-exhausted: no inodes", shm=64 << 20, inodes=20)
def _shm_inodes() -> object:
    for number in range(3):
        Path(f"/dev/shm/{number}").touch()
    tensors = Images(lambda _: [torch.zeros(1000) for _ in range(12)])
    return slowly(DataLoader(tensors, batch_size=None, num_workers=1, timeout=2))


@trouble("dataloader-shm-exhausted: no folder", shm=1 << 20)
def _shm_missing() -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount(b"tmpfs", b"/dev", b"tmpfs", 0, b"size=1m")
    return list(DataLoader(Images(), num_workers=1))


@trouble("dataloader-shm-exhausted: read-only", shm=1 << 20)
def _shm_readonly() -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount(b"none", b"/dev/shm", None, 32 | 1, None)
    return list(DataLoader(Images(), num_workers=1))


@trouble("dataloader-shm-exhausted: truncated file")
def _truncated() -> object:
    import numpy as np

    path = Path(tempfile.mkdtemp()) / "data.bin"
    path.write_bytes(bytes(1 << 20))
    data = np.memmap(path, dtype=np.uint8, mode="r")
    os.truncate(path, 4096)
    return list(DataLoader(Images(lambda index: int(data[-1 - index])), num_workers=1))


@trouble("dataloader-worker-crashed: segmentation fault")
def _segfault() -> object:
    return list(DataLoader(Images(lambda _: ctypes.string_at(0)), num_workers=2))


@trouble("dataloader-worker-crashed: abort")
def _abort() -> object:
    return list(DataLoader(Images(lambda _: os.abort()), num_workers=1))


@trouble("dataloader-worker-killed: kill")
def _killed() -> object:
    def die(index: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    return list(DataLoader(Images(die), num_workers=1))


@trouble("dataloader-worker-killed: leaves")
def _leaves() -> object:
    return list(DataLoader(Images(lambda _: os._exit(1)), num_workers=2))


@trouble("dataloader-too-many-fds: kept batches", files=64)
def _fds_kept() -> object:
    small = Images(lambda _: torch.zeros(8), 400)
    return list(DataLoader(small, num_workers=2))


@trouble("dataloader-too-many-fds: many tensors", files=64)
def _fds_many() -> object:
    many = Images(lambda _: [torch.zeros(8) for _ in range(100)])
    return list(DataLoader(many, batch_size=4, num_workers=1))


@trouble("dataloader-too-many-fds: sending", files=64)
def _fds_sending() -> object:
    many = Images(lambda _: [torch.zeros(8) for _ in range(100)])
    return list(DataLoader(many, batch_size=None, num_workers=1, timeout=2))


@trouble("dataloader-too-many-fds: a queue", files=40)
def _fds_queue() -> object:
    import torch.multiprocessing as mp

    queue: Any = mp.get_context("fork").Queue()

    def put() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
        for _ in range(200):
            queue.put(torch.zeros(8))
        time.sleep(20)

    process = mp.get_context("fork").Process(target=put, daemon=True)
    process.start()
    return [queue.get() for _ in range(200)]


@trouble("dataloader-shm-exhausted: file size limit", shm=64 << 20, file_size=1 << 20)
def _file_size() -> object:
    return list(DataLoader(Images(), batch_size=4, num_workers=1))


@trouble("dataloader-pickle-local: collate")
def _pickle_collate() -> object:
    loader: DataLoader[Any] = DataLoader(
        Images(), num_workers=1, collate_fn=lambda batch: batch, multiprocessing_context="spawn"
    )
    return list(loader)


@trouble("dataloader-pickle-local: class")
def _pickle_class() -> object:
    class Inner(Images):
        pass

    return list(DataLoader(Inner(), num_workers=1, multiprocessing_context="spawn"))


@trouble("dataloader-collate-type: nothing")
def _collate_none() -> object:
    return list(DataLoader(Images(lambda _: None), batch_size=2))


@trouble("dataloader-collate-type: own class in a worker")
def _collate_own() -> object:
    return list(DataLoader(Images(lambda _: (0, Path("a"))), batch_size=2, num_workers=1))


def _script(text: str) -> object:
    import subprocess

    path = Path(tempfile.mkdtemp()) / "train.py"
    path.write_text(text)
    return subprocess.run([sys.executable, str(path)], check=False, timeout=LIMIT_S)


@trouble("spawn-main-guard: a process")
def _guard() -> object:
    return _script(
        "import multiprocessing as mp\n"
        "def work(): pass\n"
        "mp.set_start_method('spawn', force=True)\n"
        "p = mp.Process(target=work)\np.start()\np.join()\n"
    )


# --- checkpoints


def _saved(what: object) -> str:
    path = str(Path(tempfile.mkdtemp()) / "model.pt")
    torch.save(what, path)
    return path


@trouble("state-dict-mismatch: other layers")
def _other_keys() -> object:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    return model.load_state_dict({"0.weight": torch.ones(2, 2), "head.bias": torch.ones(2)})


@trouble("state-dict-mismatch: missing only")
def _missing_keys() -> object:
    return nn.BatchNorm2d(3).load_state_dict({"weight": torch.ones(3), "bias": torch.ones(3)})


@trouble("state-dict-module-prefix: DataParallel")
def _prefix() -> object:
    model = nn.Sequential(nn.Linear(2, 2))
    return model.load_state_dict(nn.DataParallel(model).state_dict())


@trouble("state-dict-module-prefix: compiled")
def _prefix_compiled() -> object:
    model = nn.Linear(2, 2)
    state = {f"_orig_mod.{name}": value for name, value in model.state_dict().items()}
    return model.load_state_dict(state)


@trouble("state-dict-module-prefix: lacking")
def _prefix_lacking() -> object:
    model = nn.Linear(2, 2)
    return nn.DataParallel(model).load_state_dict(model.state_dict())


@trouble("state-dict-size-mismatch: head")
def _sizes() -> object:
    return nn.Linear(8, 10).load_state_dict(nn.Linear(8, 1000).state_dict())


@trouble("state-dict-mismatch: optimizer groups")
def _optimizer() -> object:
    small, large = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    state = torch.optim.SGD(small.parameters(), 0.1).state_dict()
    return torch.optim.SGD(large.parameters(), 0.1).load_state_dict(state)


@trouble("weights-only-unpickling: a class")
def _weights_only() -> object:
    import argparse

    return torch.load(_saved({"args": argparse.Namespace(lr=1)}), weights_only=True)


@trouble("weights-only-unpickling: a model")
def _weights_only_model() -> object:
    return torch.load(_saved(nn.Linear(2, 2)), weights_only=True)


def _file(content: bytes) -> str:
    path = Path(tempfile.mkdtemp()) / "model.pt"
    path.write_bytes(content)
    return str(path)


@trouble("checkpoint-corrupt: cut off")
def _cut() -> object:
    whole = Path(_saved(torch.zeros(10000))).read_bytes()
    return torch.load(_file(whole[:20000]))


@trouble("checkpoint-corrupt: a web page")
def _page() -> object:
    return torch.load(_file(b"<!DOCTYPE html><html><body>404</body></html>"))


@trouble("checkpoint-corrupt: a pointer of git-lfs")
def _lfs() -> object:
    return torch.load(_file(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"))


@trouble("checkpoint-corrupt: empty")
def _empty() -> object:
    return torch.load(_file(b""))


@trouble("checkpoint-corrupt: old form, cut off")
def _cut_old() -> object:
    path = Path(tempfile.mkdtemp()) / "old.pt"
    torch.save({"a": torch.zeros(10000)}, path, _use_new_zipfile_serialization=False)
    return torch.load(_file(path.read_bytes()[:1000]))


@trouble("checkpoint-corrupt: TorchScript")
def _cut_script() -> object:
    jit: Any = torch.jit
    return jit.load(_file(b"PK\3\4" + bytes(4000)))


def _tagged(location: str) -> str:
    """A checkpoint whose tensors were on this device."""
    torch.serialization.register_package(5, lambda _: location, lambda *_: None)
    path = _saved({"weight": torch.ones(3)})
    torch.serialization._package_registry[:] = [
        row for row in torch.serialization._package_registry if row[0] != 5
    ]
    return path


@trouble("load-cuda-ckpt-on-cpu: no GPU")
def _cuda_file() -> object:
    return torch.load(_tagged("cuda:0"))


@trouble("load-cuda-ckpt-on-cpu: too few GPUs")
def _cuda_file_of_three() -> object:
    path = _tagged("cuda:3")
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 1
    return torch.load(path)


# --- ranks


@trouble("ddp-env-missing: rank")
def _no_rank() -> object:
    return torch.distributed.init_process_group("gloo")


@trouble("ddp-env-missing: address")
def _no_address() -> object:
    os.environ.update(RANK="0", WORLD_SIZE="1")
    return torch.distributed.init_process_group("gloo")


@trouble("ddp-address-in-use: store")
def _in_use() -> object:
    import socket

    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost")
        os.environ["MASTER_PORT"] = str(taken.getsockname()[1])
        return torch.distributed.init_process_group("gloo")


@trouble("ddp-not-initialized: collective")
def _no_group() -> object:
    return torch.distributed.all_reduce(torch.ones(1))


@trouble("ddp-not-initialized: sampler")
def _no_group_sampler() -> object:
    from torch.utils.data.distributed import DistributedSampler

    return DistributedSampler(Images())


class Half(nn.Module):
    """Uses one of its two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.used(x)
        return result


@trouble("ddp-unused-parameters: a layer")
def _unused() -> object:
    distributed: Any = torch.distributed
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    model = nn.parallel.DistributedDataParallel(Half())
    for _ in range(2):
        model(torch.ones(1, 2)).sum().backward()
    return None


@trouble("nccl-timeout: gloo")
def _gloo_timeout() -> object:
    from datetime import timedelta

    path = str(Path(tempfile.mkdtemp()) / "store")

    def rank(number: int) -> None:
        distributed: Any = torch.distributed
        store = distributed.FileStore(path, 2)
        distributed.init_process_group(
            "gloo", store=store, rank=number, world_size=2, timeout=timedelta(seconds=2)
        )
        if number == 0:
            torch.distributed.all_reduce(torch.ones(1))
        time.sleep(4)

    other = multiprocessing.get_context("fork").Process(target=rank, args=(1,), daemon=True)
    other.start()
    rank(0)
    return None


# --- compilers and exporters


def _branches(x: torch.Tensor) -> torch.Tensor:
    return x + 1 if x.sum() > 0 else x - 1


def _adds(x: torch.Tensor) -> torch.Tensor:
    return (x + 1).sin()


@trouble("compile-graph-break: data dependent")
def _break() -> object:
    return torch.compile(_branches, fullgraph=True, backend="eager")(torch.ones(3))


@trouble("compile-graph-break: asked for")
def _break_item() -> object:
    def prints(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x + 1

    return torch.compile(prints, fullgraph=True, backend="eager")(torch.ones(3))


def _cache() -> None:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"


@trouble("compile-host-compiler: none")
def _no_compiler() -> object:
    _cache()
    os.environ["PATH"] = os.environ["CXX"] = "/nowhere"
    return torch.compile(_adds)(torch.ones(30))


@trouble("compile-host-compiler: fails")
def _bad_compiler() -> object:
    _cache()
    path = Path(tempfile.mkdtemp()) / "g++"
    path.write_text(
        "#!/bin/sh\ncase \"$*\" in *--version*) echo 'g++ (GCC) 13.2.0'; exit;; esac\n"
        "echo 'fatal error: Python.h: No such file or directory' >&2; exit 1\n"
    )
    path.chmod(0o755)
    os.environ["CXX"] = str(path)
    return torch.compile(_adds)(torch.ones(30))


@trouble("compile-triton-missing: raised")
def _no_triton() -> object:
    from torch._inductor import exc

    raise exc.TritonMissing(None) if hasattr(exc, "TritonMissing") else RuntimeError


@trouble("torchscript-unsupported: a condition in a comprehension")
def _script_comprehension() -> object:
    @torch.jit.script
    def picked(x: list[int]) -> list[int]:
        return [one for one in x if one > 0]

    return picked


@trouble("torchscript-unsupported: a python value")
def _script_value() -> object:
    @torch.jit.script
    def opened(x: torch.Tensor) -> torch.Tensor:
        with open("/dev/null") as file:  # noqa: PTH123 - TorchScript is to meet it
            file.read()
        return x

    return opened


@trouble("torchscript-unsupported: a type")
def _script_type() -> object:
    return torch.jit.CompilationUnit("def f(x: Tensor) -> Tensor:\n  return x.view('a')\n")


class Inverse(nn.Module):
    """Uses an operator that the first ONNX opsets lack."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.linalg.inv(x)
        return result


@trouble("onnx-unsupported-operator: inverse")
def _onnx() -> object:
    path = str(Path(tempfile.mkdtemp()) / "model.onnx")
    return torch.onnx.export(Inverse(), (torch.eye(3),), path, dynamo=False)


@trouble("onnx-unsupported-operator: too old an opset")
def _onnx_opset() -> object:
    class Rolls(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tril(x)

    path = str(Path(tempfile.mkdtemp()) / "model.onnx")
    return torch.onnx.export(Rolls(), (torch.eye(3),), path, dynamo=False, opset_version=12)


@trouble("onnx-missing-dependency: onnxscript")
def _onnxscript() -> object:
    sys.modules["onnxscript"] = None  # type: ignore[assignment]
    path = str(Path(tempfile.mkdtemp()) / "model.onnx")
    return torch.onnx.export(nn.ReLU(), (torch.eye(3),), path, dynamo=True)


# --- running


def _mount(size: int, inodes: int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size},mode=1777" + (f",nr_inodes={inodes}" if inodes else "")
    if (
        libc.unshare(NEW_NAMESPACES)
        or libc.mount(b"none", b"/", None, PRIVATE, None)
        or libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, options.encode())
    ):
        sys.stderr.write("no /dev/shm of its own\n")
        os._exit(99)


def _be(one: Trouble, log: Path) -> None:
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    status = 1
    try:
        os.environ["TMPDIR"] = tempfile.tempdir = str(log.parent)
        if one.shm is not None:
            _mount(one.shm, one.inodes)
        if one.files:
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (one.files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            )
        if one.file_size:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (one.file_size, resource.RLIM_INFINITY))
        one.run()
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the trouble
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2
        )
        traceback.print_exception(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)  # a pool of threads does not outlive a fork
    warnings.simplefilter("ignore")
    waiting = [name for name in TROUBLES if not names or any(it in name for it in names)]
    results: dict[str, str] = {}
    running: dict[int, tuple[str, Path, float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                name = waiting.pop(0)
                own = Path(tempfile.mkdtemp(dir=folder))
                pid = os.fork()
                if pid == 0:
                    _be(TROUBLES[name], own / "log")
                running[pid] = (name, own / "log", time.monotonic())
            time.sleep(0.02)
            for pid, (name, log, begun) in list(running.items()):
                text = log.read_text(errors="replace") if log.exists() else ""
                hangs = "hangs" in name and "in _feed" in text
                hangs = hangs and time.time() - log.stat().st_mtime > HUNG_S
                if hangs or time.monotonic() - begun > LIMIT_S:
                    os.killpg(pid, signal.SIGKILL)
                ended, _ = os.waitpid(pid, os.WNOHANG)
                if ended:
                    results[name] = log.read_text(errors="replace") if log.exists() else ""
                    del running[pid]
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
