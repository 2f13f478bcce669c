"""What really fails while torch runs is explained: devices, DataLoaders, checkpoints, ranks, compilers.

The troubles are made by `troubles_running.py` in processes of their own; what they wrote is
explained here, so the truth is torch's own text.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from torchkit.logs.problems import Told, told
from torchkit.logs.reader import read_text

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, limits and mounts are Linux's"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]

LIMIT_S = 200.0

SAYS = {
    "device-mismatch: addition": "a tensor on meta where the others are on cpu",
    "device-mismatch: linear": "a tensor on cpu where the others are on meta",
    "device-mismatch: fake tensors": "a tensor on cuda:0 where the others are on cpu",
    "numpy-on-cuda-tensor: meta tensor": "the tensor is on meta",
    "cuda-reinit-in-fork: in a worker": "the parent had used CUDA before it forked",
    "dataloader-shm-exhausted: default collate": "do not fit into /dev/shm",
    "dataloader-shm-exhausted: own collate hangs": "do not fit into /dev/shm",
    "dataloader-shm-exhausted: own collate with a time-out": "do not fit into /dev/shm",
    "dataloader-shm-exhausted: python shared memory": "do not fit into /dev/shm",
    "dataloader-shm-exhausted: full before": "the semaphores of a queue cannot be made in /dev/shm: No space left on device",
    "dataloader-shm-exhausted: no inodes": "has a limit of inodes",
    "dataloader-shm-exhausted: no folder": "the semaphores of a queue cannot be made in /dev/shm: No such file or directory",
    "dataloader-shm-exhausted: read-only": "the semaphores of a queue cannot be made in /dev/shm: Read-only file system",
    "dataloader-shm-exhausted: truncated file": "do not fit into /dev/shm",
    "dataloader-shm-exhausted: file size limit": "ulimit -f",
    "dataloader-worker-crashed: segmentation fault": "a worker died by segmentation fault",
    "dataloader-worker-crashed: abort": "a worker died by Aborted",
    "dataloader-worker-killed: kill": "the worker got the signal Killed",
    "dataloader-worker-killed: leaves": "or it left without a word",
    "dataloader-too-many-fds: kept batches": "holds an open file until it is dropped",
    "dataloader-too-many-fds: many tensors": "holds an open file until it is dropped",
    "dataloader-too-many-fds: sending": "holds an open file until it is dropped",
    "dataloader-too-many-fds: a queue": "holds an open file until it is dropped",
    "dataloader-pickle-local: collate": "_pickle_collate.<locals>.<lambda> cannot be sent",
    "dataloader-pickle-local: class": "_pickle_class.<locals>.Inner cannot be sent",
    "dataloader-collate-type: nothing": "the dataset gave None",
    "dataloader-collate-type: own class in a worker": "PosixPath",
    "spawn-main-guard: a process": "each worker imports the script",
    "state-dict-mismatch: other layers": "Sequential asks for keys that the checkpoint lacks, as 0.bias, and the checkpoint has others, as head.bias",
    "state-dict-mismatch: missing only": "the checkpoint lacks, as running_mean",
    "state-dict-mismatch: optimizer groups": "the optimizer that was saved had other parameters",
    "state-dict-module-prefix: DataParallel": "all keys of the checkpoint begin with module.",
    "state-dict-module-prefix: compiled": "all keys of the checkpoint begin with _orig_mod.",
    "state-dict-module-prefix: lacking": "the keys of the model begin with module.",
    "state-dict-size-mismatch: head": "weight is [1000, 8] in the checkpoint and [10, 8] in the model",
    "weights-only-unpickling: a class": "holds an object of argparse.Namespace",
    "weights-only-unpickling: a model": "holds an object of torch.nn.modules.linear.Linear",
    "checkpoint-corrupt: cut off": "a download or copy that was broken off",
    "checkpoint-corrupt: a web page": "the file is a web page",
    "checkpoint-corrupt: a pointer of git-lfs": "a pointer of Git LFS",
    "checkpoint-corrupt: empty": "a download or copy that was broken off",
    "checkpoint-corrupt: old form, cut off": "bytes too early",
    "checkpoint-corrupt: TorchScript": "a download or copy that was broken off",
    "load-cuda-ckpt-on-cpu: no GPU": "saved on a CUDA device, and none can be used here",
    "load-cuda-ckpt-on-cpu: too few GPUs": "saved on GPU 3, and 1 are seen here",
    "ddp-env-missing: rank": "RANK is not set",
    "ddp-env-missing: address": "MASTER_ADDR is not set",
    "ddp-address-in-use: store": "something already listens on port",
    "ddp-not-initialized: collective": "never called init_process_group",
    "ddp-not-initialized: sampler": "never called init_process_group",
    "ddp-unused-parameters: a layer": "the parameters with numbers 2 3 got no gradient",
    "nccl-timeout: gloo": "one rank never came to the collective",
    "compile-graph-break: data dependent": "Dynamo cannot trace this: Data-dependent branching",
    "compile-graph-break: asked for": "Dynamo cannot trace this: Call to",
    "compile-host-compiler: none": "no compiler works: (None, '/nowhere') were tried",
    "compile-host-compiler: fails": "Python.h is missing",
    "compile-triton-missing: raised": "through Triton, which is a package of its own",
    "torchscript-unsupported: a condition in a comprehension": "Comprehension ifs",
    "torchscript-unsupported: a python value": "Python builtin <built-in function open>",
    "torchscript-unsupported: a type": "with fixed types",
    "onnx-unsupported-operator: inverse": "ONNX opset",
    "onnx-unsupported-operator: too old an opset": "aten::tril is in ONNX since opset 14, and opset 12 is written",
    "onnx-missing-dependency: onnxscript": "the package onnxscript is not installed",
}
"""What is said of each trouble; the id that must come first stands before the colon."""


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """What each trouble wrote, by its name."""
    child = Path(__file__).with_name("troubles_running.py")
    done = subprocess.run(
        [sys.executable, str(child)], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def explained(name: str, written: dict[str, str]) -> Told:
    if "no /dev/shm of its own" in written[name]:
        pytest.skip("no /dev/shm of one's own can be mounted")
    return told(read_text(written[name]))


def test_every_trouble_is_asked_for(written: dict[str, str]) -> None:
    assert set(written) == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_a_trouble_is_named_alone_and_with_its_values(name: str, written: dict[str, str]) -> None:
    found = explained(name, written)

    assert [met.problem.id for met in found.problems] == [name.partition(":")[0]]
    assert SAYS[name] in found.problems[0].cause


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("dataloader-shm-exhausted: file size limit", "ulimit -f unlimited"),
        ("dataloader-shm-exhausted: no inodes", "df -i /dev/shm"),
        ("dataloader-collate-type: nothing", "in every branch of __getitem__"),
        ("checkpoint-corrupt: a pointer of git-lfs", "git lfs install && git lfs pull"),
        ("state-dict-module-prefix: compiled", "k.removeprefix('_orig_mod.')"),
        ("onnx-unsupported-operator: too old an opset", "opset_version=14"),
        ("compile-host-compiler: fails", "python3-dev"),
    ],
)
def test_the_fix_that_fits_the_values_comes_first(
    name: str, fix: str, written: dict[str, str]
) -> None:
    found = explained(name, written)

    assert any(fix in text for text in found.problems[0].fix[:2])


@pytest.mark.parametrize("prefix", ["[rank3]: ", "trainer-0  | ", "(Worker pid=17) "])
def test_a_prefix_of_a_launcher_hides_nothing(prefix: str, written: dict[str, str]) -> None:
    for name, text in written.items():
        if text.isascii() and "no /dev/shm of its own" not in text:
            wrapped = "".join(prefix + line for line in text.splitlines(keepends=True))

            found = told(read_text(wrapped))

            assert [met.problem.id for met in found.problems] == [name.partition(":")[0]]
