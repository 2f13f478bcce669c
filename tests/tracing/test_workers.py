"""Exceptions of threads, processes and workers are told with their operands, wherever they are raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import PYTHON, ROOT, SNOOP, Ran, environment, ran

pytest.importorskip("torch")

WORK = """
import multiprocessing as mp
import os, sys, threading
import torch

def work(number, columns=4):
    a = torch.ones(3, 5)
    b = torch.ones(2, columns)
    return a @ b
"""

LOADER = f"""{WORK}
from torch.utils.data import DataLoader, Dataset, IterableDataset

class Data(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return work(index)

class Stream(IterableDataset):
    def __iter__(self):
        yield torch.ones(2)
        yield work(1)

def collate(samples):
    return torch.stack(samples) @ torch.ones(3, 3)

class Good(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return torch.ones(5)

if __name__ == "__main__":
    data = {{"map": Data(), "stream": Stream(), "collate": Good()}}[sys.argv[1]]
    how = dict(collate_fn=collate) if sys.argv[1] == "collate" else {{}}
    for batch in DataLoader(data, num_workers=2, multiprocessing_context=sys.argv[2], **how):
        print("batch")
"""


def report(folder: Path, name: str = "r.json") -> dict[str, Any]:
    """A report's first finding, with its evidence by name."""
    finding = json.loads((folder / name).read_text("utf-8"))["findings"][0]
    return {**finding, **{it["name"]: it["value"] for it in finding["evidence"]}}


def snooped(source: str, folder: Path, *arguments: str) -> Ran:
    (folder / "script.py").write_text(source, "utf-8")
    return ran(SNOOP, ["--report", "r.json", "script.py", *arguments], folder)


def operands(finding: dict[str, Any]) -> tuple[str, str, str]:
    return finding["expression"], finding["operand a"], finding["operand b"]


FAILED = ("a @ b", "float32 [3, 5] cpu", "float32 [2, 4] cpu")


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_a_dataset_that_fails_in_a_worker_is_told_by_its_own_line(
    start: str, tmp_path: Path
) -> None:
    end = snooped(LOADER, tmp_path, "map", start)

    finding = report(tmp_path)
    assert end.status == 1
    assert operands(finding) == FAILED
    assert finding["function"] == "work"
    assert finding["note"] == "raised in DataLoader worker 0"


def test_streams_and_collate_functions_in_a_worker_are_told_too(tmp_path: Path) -> None:
    snooped(LOADER, tmp_path, "stream", "fork")
    assert operands(report(tmp_path)) == FAILED

    snooped(LOADER, tmp_path, "collate", "fork")
    finding = report(tmp_path)
    assert finding["expression"] == "torch.stack(samples) @ torch.ones(3, 3)"
    assert finding["operand torch.stack(samples)"].startswith("float32 [1, 5]")


UNEQUAL = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset

class Crops(Dataset):
    sizes = [32, 32, 30, 32]
    def __len__(self):
        return 4
    def __getitem__(self, i):
        return torch.zeros(3, self.sizes[i], 32), i

if __name__ == "__main__":
    how = dict(num_workers=1, multiprocessing_context=sys.argv[1]) if sys.argv[1:] else {}
    list(DataLoader(Crops(), batch_size=4, **how))
"""


@pytest.mark.parametrize("start", [["fork"], ["spawn"], []])
def test_samples_of_unequal_size_are_told_with_the_odd_one(
    start: list[str], tmp_path: Path
) -> None:
    end = snooped(UNEQUAL, tmp_path, *start)

    finding = report(tmp_path)
    assert (end.status, finding["id"]) == (1, "stack-unequal-size")
    assert finding["operand batch[2]"] == "float32 [3, 30, 32] cpu"
    assert b"batch[2] is [3, 30, 32], the others are [3, 32, 32]" in end.stderr
    assert b"Traceback" not in end.stderr


def test_the_example_names_the_line_in_the_dataset(tmp_path: Path) -> None:
    end = ran(SNOOP, ["--report", "r.json", str(ROOT / "examples" / "worker.py")], tmp_path)

    finding = report(tmp_path)
    assert end.status == 1
    assert finding["expression"] == "sentence @ self.table"
    assert finding["operand sentence"].startswith("float32 [4, 17]")


def test_an_exception_of_a_worker_that_the_script_handles_is_none_of_ours(tmp_path: Path) -> None:
    source = LOADER.replace("    for batch", "    try:\n     for batch").replace(
        'print("batch")', 'print("batch")\n    except RuntimeError:\n        print("handled")'
    )

    end = snooped(source, tmp_path, "map", "fork")

    assert end == Ran(0, b"handled\n", b"")
    assert not (tmp_path / "r.json").exists()


MAIN = {
    "process": "p = mp.get_context(sys.argv[1]).Process(target=work, args=(1,))\n"
    "    p.start()\n    p.join()\n    print(p.exitcode)",
    "pool": "with mp.get_context(sys.argv[1]).Pool(1) as pool:\n        pool.map(work, [1])",
    "futures": "from concurrent.futures import ProcessPoolExecutor as P\n"
    "    with P(1, mp_context=mp.get_context(sys.argv[1])) as pool:\n        list(pool.map(work, [1]))",
    "torch": "import torch.multiprocessing\n"
    "    torch.multiprocessing.start_processes(work, (4,), nprocs=2, start_method=sys.argv[1])",
    "thread": "t = threading.Thread(target=work, args=(1,))\n    t.start()\n    print('main')",
    "fork": "if os.fork() == 0:\n        work(1)\n    else:\n        os.wait()\n        print('parent')",
}


@pytest.mark.parametrize(
    ("kind", "start"),
    [("pool", "fork"), ("futures", "spawn"), ("torch", "spawn"), ("torch", "fork")],
)
def test_what_a_child_hands_to_its_parent_is_told_by_the_parent(
    kind: str, start: str, tmp_path: Path
) -> None:
    end = snooped(f"{WORK}\nif __name__ == '__main__':\n    {MAIN[kind]}\n", tmp_path, start)

    finding = report(tmp_path)
    assert end.status == 1
    assert operands(finding) == FAILED
    assert finding["note"].startswith("raised in ")
    assert [it.name for it in tmp_path.iterdir() if it.suffix == ".json"] == ["r.json"]


@pytest.mark.parametrize(
    ("kind", "start", "file", "stdout"),
    [
        ("process", "fork", "r.ForkProcess-1.json", b"1\n"),
        ("process", "spawn", "r.SpawnProcess-1.json", b"1\n"),
        ("thread", "", "r.thread-Thread-1-work.json", b"main\n"),
    ],
)
def test_a_child_that_nobody_hears_tells_it_itself(
    kind: str, start: str, file: str, stdout: bytes, tmp_path: Path
) -> None:
    end = snooped(f"{WORK}\nif __name__ == '__main__':\n    {MAIN[kind]}\n", tmp_path, start)

    assert (end.status, end.stdout) == (0, stdout)
    assert operands(report(tmp_path, file)) == FAILED
    assert not (tmp_path / "r.json").exists()


def test_a_child_that_the_script_forks_has_a_report_of_its_own(tmp_path: Path) -> None:
    end = snooped(f"{WORK}\nif __name__ == '__main__':\n    {MAIN['fork']}\n", tmp_path)

    (file,) = tmp_path.glob("r.*.json")
    assert (end.status, end.stdout) == (0, b"parent\n")
    assert operands(report(tmp_path, file.name)) == FAILED


def test_no_folder_of_ours_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        f"{WORK}\nif __name__ == '__main__':\n    {MAIN['torch']}\n", "utf-8"
    )
    (tmp_path / "tmp").mkdir()

    ran(SNOOP, ["script.py", "fork"], tmp_path, TMPDIR=str(tmp_path / "tmp"))

    assert [it.name for it in (tmp_path / "tmp").iterdir() if "torchkit" in it.name] == []


TRAIN = """
import torch, torch.distributed as dist
from torch import nn
dist.init_process_group("gloo")
rank = dist.get_rank()
net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
print("rank", rank, flush=True)
dist.barrier()
x = torch.ones(2, 4 + rank)
net(x)
dist.barrier()
"""


def test_each_rank_under_torchrun_has_its_report(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, "utf-8")

    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2",
         "--master-port", str(20000 + os.getpid() % 20000), *SNOOP,
         "--report", "r.json", "train.py"],
        cwd=tmp_path, capture_output=True, check=False, timeout=120, env=environment(),
    )  # fmt: skip

    data = json.loads((tmp_path / "r.rank1.json").read_text("utf-8"))
    finding = report(tmp_path, "r.rank1.json")
    assert data["headline"].startswith("rank 1: RuntimeError: mat1 and mat2")
    assert finding["operand x"].startswith("float32 [2, 5] cpu")
    assert "0" in finding["module"]
    assert not (tmp_path / "r.json").exists()


def test_healthy_workers_work_and_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        LOADER.replace("samples) @ torch.ones(3, 3)", "samples)"), "utf-8"
    )

    for start in ("fork", "spawn"):
        snoop = ran(SNOOP, ["script.py", "collate", start], tmp_path)

        assert snoop == Ran(0, b"batch\n" * 4, b"")


def test_torchsnooper_is_imported_by_a_script_although_setuptools_lost_what_it_needs(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pysnooper")
    source = """
import sys
import torch, torchsnooper
print(torchsnooper.__version__, "pkg_resources" in sys.modules and hasattr(sys.modules["pkg_resources"], "is_lent_by_torchkit"))

@torchsnooper.snoop()
def double(x):
    y = x * 2
    return y
double(torch.ones(2))
"""
    (tmp_path / "script.py").write_text(source, "utf-8")

    end = ran(SNOOP, ["script.py"], tmp_path)

    assert (end.status, end.stdout) == (0, b"0.8 False\n")
    assert b"tensor<(2,), float32, cpu>" in end.stderr


def test_what_is_waited_for_is_found_by_the_others_and_left_as_it_was() -> None:
    script = (
        "from torchkit.tracing.imports import Waiting\n"
        "seen = []\n"
        "Waiting({'colorsys': lambda m: seen.append(m.__name__)}).install()\n"
        "import colorsys\n"
        "print(seen, 'exec_module' in vars(colorsys.__loader__), colorsys.rgb_to_hsv(1, 1, 1))\n"
    )

    end = ran(PYTHON, ["-c", script], ROOT)

    assert end.stdout == b"['colorsys'] False (0.0, 0.0, 1)\n"
