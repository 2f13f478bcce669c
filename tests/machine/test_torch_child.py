"""torch asked in a child: real torch, and packages named torch that do what broken ones do."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchkit.checks import load, run_check
from torchkit.machine import torch_child
from torchkit.machine.facts import GLOSSARY, Facts, Unknown, Value
from torchkit.machine.interpreter import Interpreter, own_interpreter
from torchkit.machine.torch_child import live_facts
from torchkit.report import Status
from torchkit.system import System

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs an installed torch"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

SCRIPT = Path(torch_child.__file__).with_name("ask_torch.py")

NUMBERS = """
import sys, types

class Tensor:  # enough of torch to compute with, in plain Python
    def __init__(self, rows): self.rows = rows
    def __matmul__(self, other):
        columns = list(zip(*other.rows))
        return Tensor([[sum(a * b for a, b in zip(row, column)) for column in columns] for row in self.rows])
    def to(self, *_): return self
    cpu = flatten = to
    def sum(self): return self
    def item(self): return float(sum(self.rows))
    def tolist(self): return self.rows

def part(**names): return types.SimpleNamespace(**names)
def tensor(rows, dtype=None, device=None):
    touch(device)
    return Tensor(rows)
def ones(*shape, device=None):
    touch(device)
    return Tensor([1.0] * shape[0])
def touch(device): pass

__version__ = "9.9.0"
float32 = float16 = bfloat16 = "a type"
nn = part(functional=part(conv2d=lambda images, weights: Tensor([27.0] * 8)))
backends = part(cudnn=part(version=lambda: 90100))
version = part(cuda=None, hip=None)
"""
"""A package that stands for torch where its behaviour, not its arithmetic, is at issue."""

GPUS = """
version = part(cuda="12.4", hip=None)
cuda = part(
    is_available=lambda: True,
    device_count=lambda: 2,
    get_device_name=lambda device: "NVIDIA A100",
    get_device_capability=lambda device: (8, 0),
    mem_get_info=lambda device: (1000, 2000),
)
"""


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Value]]:
    """`live_facts` with this text as torch/__init__.py, in an empty folder, its files watched."""
    site, here, temporary = (tmp_path / name for name in ("site", "here", "tmp"))
    for folder in (site / "torch", here, temporary):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def run(
        torch: str, *, limit_s: float = 20, python: Interpreter | None = None, **environ: str
    ) -> dict[str, Value]:
        (site / "torch" / "__init__.py").write_text(torch)
        system = System(environ={**os.environ, "PYTHONPATH": str(site), **environ})
        facts = live_facts(system, python or own_interpreter(), {}, limit_s=limit_s)
        assert list(temporary.iterdir()) == []
        return facts

    return run


# --- a real torch


@pytest.fixture(scope="session")
def real() -> dict[str, Value]:
    return live_facts(System(), own_interpreter(), {})


@needs_torch
@pytest.mark.torch
def test_a_real_torch_works_and_tells_what_it_tells_a_user(real: dict[str, Value]) -> None:
    script = "import torch, json; print(json.dumps([torch.__version__, torch.__file__, torch.version.cuda]))"
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    version, file, cuda = json.loads(said.stdout)

    assert (real["live_outcome"], real["live_error"]) == ("works", None), real
    assert real["live_torch"]["version"] == version
    assert real["live_torch"]["file"] == file
    assert real["live_torch"].get("cuda") == cuda
    assert real["live_import_ms"] > 0
    assert (real["live_trials"][0].what, real["live_trials"][0].worked) == ("cpu", True)


@needs_torch
@linux
@pytest.mark.torch
def test_the_libraries_are_those_the_loader_itself_lists(real: dict[str, Value]) -> None:
    """LD_DEBUG=files: ld.so writes `calling init: PATH` for each library that it loads."""
    traced = subprocess.run(
        [sys.executable, "-c", "import torch"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LD_DEBUG": "files"},
    )
    loaded = {
        os.path.realpath(line.partition("calling init: ")[2])
        for line in traced.stderr.splitlines()
        if "calling init: " in line
    }

    found = set(real["live_libraries"])

    assert any(path.endswith("/libc10.so") for path in found)
    assert {os.path.realpath(path) for path in found} <= loaded


@needs_torch
@linux
@pytest.mark.torch
def test_a_library_is_called_as_the_other_facts_call_it(
    real: dict[str, Value], tmp_path: Path
) -> None:
    file = next(path for path in real["live_libraries"] if "/libstdc++.so" in path)
    link = tmp_path / "libstdc++.so.6"
    link.symlink_to(file)

    facts = live_facts(System(), own_interpreter(), {"libstdcxx_path": str(link)})

    assert str(link) in facts["live_libraries"]
    assert file not in facts["live_libraries"]


@needs_torch
@linux
@pytest.mark.torch
def test_a_real_torch_without_one_of_its_libraries_fails_in_the_loaders_words(
    ask: Callable[..., dict[str, Value]], tmp_path: Path
) -> None:
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    whole = Path(spec.origin).parent
    broken = tmp_path / "broken" / "torch"
    (broken / "lib").mkdir(parents=True)
    for path in whole.iterdir():
        if path.name not in ("lib", "__pycache__"):
            (broken / path.name).symlink_to(path)
    for path in (whole / "lib").iterdir():
        if path.name != "libtorch_python.so":
            (broken / "lib" / path.name).symlink_to(path)

    facts = ask("", PYTHONPATH=str(broken.parent))

    assert facts["live_outcome"] == "import failed"
    assert facts["live_stage"] == "importing torch"
    assert facts["live_error"] == (
        "ImportError: libtorch_python.so: cannot open shared object file: No such file or directory"
    )


# --- what broken ones do

DEATHS = {
    "a null pointer": ("import ctypes; ctypes.string_at(0)", "SIGSEGV", "Segmentation fault"),
    "a signal": (
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "SIGILL",
        "Illegal instruction",
    ),
    "the kernel": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", "Killed"),
    "a C++ exception": (
        "import os; os.write(2, b\"terminate called after throwing an instance of 'std::bad_alloc'\\n"
        '  what():  std::bad_alloc\\n"); os.abort()',
        "SIGABRT",
        "terminate called after throwing an instance of 'std::bad_alloc' what():  std::bad_alloc",
    ),
    "its own end": ("import os; os._exit(3)", None, "Python ended with status 3"),
    "the loader": (
        "import os; os.write(2, b'python: symbol lookup error: a.so: undefined symbol: b\\n'); os._exit(127)",
        None,
        "python: symbol lookup error: a.so: undefined symbol: b",
    ),
}


@pytest.mark.parametrize("kind", DEATHS)
def test_a_death_is_told_with_its_stage_signal_and_words(
    ask: Callable[..., dict[str, Value]], kind: str
) -> None:
    torch, name, words = DEATHS[kind]

    facts = ask(torch)

    assert (facts["live_outcome"], facts["live_stage"]) == ("died", "importing torch")
    assert (facts["live_signal"], facts["live_error"]) == (name, words)


def test_a_crash_tells_where_in_python_it_was(ask: Callable[..., dict[str, Value]]) -> None:
    facts = ask("import ctypes\ndef deep():\n    ctypes.string_at(0)\ndeep()\n")

    where = [line for line in facts["live_stack"] if "/site/torch/" in line]
    assert [line.rpartition("/torch/")[2] for line in where] == [
        "__init__.py:3 in deep",
        "__init__.py:4 in <module>",
    ]


def test_a_hang_is_killed_at_the_limit_and_told_with_its_place(
    ask: Callable[..., dict[str, Value]],
) -> None:
    begun = time.monotonic()

    facts = ask(
        "import time, os\nos.write(2, b'waiting for a lock\\n')\ntime.sleep(60)\n", limit_s=1
    )

    assert time.monotonic() - begun < 4
    assert (facts["live_outcome"], facts["live_stage"]) == ("hung", "importing torch")
    assert facts["live_error"] == "torch in a child did not answer within 1 s"
    assert facts["live_stack"][0].endswith("torch/__init__.py:3 in <module>")
    assert facts["live_output"] == ("waiting for a lock",)


def test_a_hang_that_gives_no_way_to_signals_is_killed_too(
    ask: Callable[..., dict[str, Value]],
) -> None:
    ignore = "import signal, time\nfor n in (1, 2, 3, 14, 15): signal.signal(n, signal.SIG_IGN)\n"

    assert ask(f"{ignore}while True: pass", limit_s=0.5)["live_outcome"] == "hung"


@pytest.mark.parametrize(
    ("torch", "error"),
    [
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12: cannot open"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = = 1", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('\\n\\nfirst\\nsecond')", "RuntimeError: first"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("class Odd(Exception): pass\nraise Odd('é \\udcff \\n')", "torch.Odd: é \udcff"),
        ("", "AttributeError: module 'torch' has no attribute 'Tensor'"),
    ],
)  # fmt: skip
def test_an_exception_is_told_as_a_traceback_ends(
    ask: Callable[..., dict[str, Value]], torch: str, error: str
) -> None:
    facts = ask(torch)

    assert facts["live_outcome"] == "import failed"
    assert facts["live_error"].startswith(error)


def test_an_exception_tells_where_it_was_raised(ask: Callable[..., dict[str, Value]]) -> None:
    facts = ask("def deep():\n    raise ImportError\ndeep()\n")

    assert [line.rpartition("/")[2] for line in facts["live_stack"]] == [
        "__init__.py:2 in deep",
        "__init__.py:3 in <module>",
    ]


NOISE = {
    "text": "print('{\\'stage\\': \\'done\\'}')",
    "bytes": "import os; os.write(1, bytes(range(256))); os.write(2, bytes(range(256)))",
    "10 MB": "import os\nfor _ in range(160): os.write(1, b'\\0x\\xff' * 21845); os.write(2, b'y' * 65535)",
    "streams that are gone": "sys.stdout = sys.stderr = None",
    "streams that are closed": "sys.stdout.close(); sys.stderr.close()",
    "descriptors that are closed": "import os; os.closerange(0, 256)",
    "another folder": "import os; os.chdir('/')",
    "warnings that are errors": "import warnings; warnings.simplefilter('error')",
    "a fork": "import os, time\nif os.fork() == 0: time.sleep(0.2); os._exit(1)",
    "a fork that runs on": "import os\nos.fork()",
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_takes_nothing_from_the_answer(
    ask: Callable[..., dict[str, Value]], kind: str
) -> None:
    facts = ask(NUMBERS + NOISE[kind])

    assert (facts["live_outcome"], facts["live_error"]) == ("works", None)
    assert facts["live_torch"]["version"] == "9.9.0"
    assert [trial.what for trial in facts["live_trials"]] == ["cpu"]


def test_what_is_written_is_kept_by_its_last_lines(ask: Callable[..., dict[str, Value]]) -> None:
    facts = ask(NUMBERS + "for n in range(99999): print('line', n, '\\x1b[31m', file=sys.stderr)\n")

    assert facts["live_output"][-1] == "line 99998  [31m"
    assert len(facts["live_output"]) == 6


def test_warnings_are_kept(ask: Callable[..., dict[str, Value]]) -> None:
    facts = ask(NUMBERS + "import warnings\nfor n in range(99): warnings.warn(f'the {n}th')\n")

    assert facts["live_warnings"][0] == "UserWarning: the 0th"
    assert len(facts["live_warnings"]) == 20


def test_what_it_started_goes_with_it(ask: Callable[..., dict[str, Value]], tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    fork = f"""
import os, time
if os.fork() == 0:
    os.closerange(0, 256)
    open({str(mark)!r}, 'w').write(str(os.getpid()))
    time.sleep(60)
    os._exit(0)
while not os.path.exists({str(mark)!r}): time.sleep(0.01)
"""

    facts = ask(NUMBERS + fork)

    assert facts["live_outcome"] == "works"
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


def test_a_death_at_the_end_is_told_beside_what_was_computed(
    ask: Callable[..., dict[str, Value]],
) -> None:
    facts = ask(NUMBERS + "import atexit, os\natexit.register(os.abort)\n")

    assert (facts["live_outcome"], facts["live_stage"]) == ("died", "leaving Python")
    assert facts["live_signal"] == "SIGABRT"
    assert facts["live_trials"][0].worked


def test_a_python_that_ends_before_it_runs_anything_gives_no_answer(
    ask: Callable[..., dict[str, Value]], tmp_path: Path
) -> None:
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os._exit(0)")

    assert ask("")["live_outcome"] == "no answer"


def test_a_python_that_cannot_be_run_leaves_all_unknown(tmp_path: Path) -> None:
    other = dataclasses.replace(own_interpreter(), executable=tmp_path / "python")

    facts = live_facts(System(), other, {})

    assert set(facts) == {fact.name for fact in GLOSSARY.values() if fact.probe == "torch_child"}
    for value in facts.values():
        assert isinstance(value, Unknown)
        assert value.reason.startswith("cannot run torch in a child: ")


def test_a_locale_without_utf_8_is_no_hindrance(tmp_path: Path) -> None:
    """Python encodes arguments by the locale, and we pass the script as one."""
    (tmp_path / "torch.py").write_text(NUMBERS)
    script = (
        "from torchkit.machine.torch_child import live_facts\n"
        "from torchkit.machine.interpreter import own_interpreter\n"
        "from torchkit.system import System\n"
        "print(live_facts(System(), own_interpreter(), {})['live_outcome'])"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    paths = os.pathsep.join([str(tmp_path), str(SCRIPT.parents[2])])

    asking = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, **plain, "PYTHONPATH": paths},
    )  # fmt: skip

    assert asking.stdout == "works\n"


# --- what is odd around it


def limited(folder: Path, before: str) -> Interpreter:
    """Our Python, for which a shell does something first."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\n{before}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return dataclasses.replace(own_interpreter(), executable=program)


@linux
@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("ulimit -v 8000000", "in this child: no more than 8000000 KiB may be mapped (ulimit -v)"),
        ("mkdir gone; cd gone; rmdir ../gone", "in this child: the current folder does not exist"),
    ],
)
def test_what_is_odd_where_it_runs_is_told_first_and_is_no_error(
    ask: Callable[..., dict[str, Value]], tmp_path: Path, before: str, line: str
) -> None:
    python = limited(tmp_path, before)
    noise = "import sys\nfor n in range(99): sys.stderr.write(f'line {n}\\n')\n"

    works = ask(f"{noise}{NUMBERS}", python=python)
    dies = ask("import os; os._exit(3)", python=python)

    assert (works["live_outcome"], works["live_output"][0]) == ("works", line)
    assert works["live_output"][-1] == "line 98"
    assert dies["live_error"] == "Python ended with status 3"


@linux
@needs_torch
@pytest.mark.torch
def test_a_real_torch_under_a_limit_of_memory_has_its_cause_and_cure(tmp_path: Path) -> None:
    facts = live_facts(System(), limited(tmp_path, "ulimit -v 400000"), {})

    (found,) = run_check(load("torch-live-fails"), Facts(facts))

    assert found.status is Status.FAIL
    assert found.verdict.fix[0].startswith("ulimit -v unlimited")


# --- GPUs, as far as a machine without one can prove it


def test_each_gpu_is_tried_and_told(ask: Callable[..., dict[str, Value]]) -> None:
    facts = ask(NUMBERS + GPUS)

    assert facts["live_outcome"] == "works"
    gpu = facts["live_trials"][1]
    assert (gpu.what, gpu.name, gpu.capability) == ("cuda:0", "NVIDIA A100", "8.0")
    assert gpu.free_bytes == 1000
    assert [trial.what for trial in facts["live_trials"]] == ["cpu", "cuda:0", "cuda:1", "cudnn"]
    assert facts["live_torch"]["cudnn"] == "90100"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (
            "def touch(device):\n if device == 'cuda:1': raise RuntimeError('CUDA error: no kernel image\\nmore')",
            "RuntimeError: CUDA error: no kernel image",
        ),
        (
            "right = Tensor.__matmul__\nleft = Tensor.tolist\n"
            "def tensor(rows, dtype=None, device=None):\n"
            " made = Tensor([list(row) for row in rows])\n"
            " if device == 'cuda:1': made.rows[5][0] += 1\n return made",
            "Wrong: a product of float32 matrices came out wrong on cuda:1: found ",
        ),
        (
            "nn.functional.conv2d = lambda images, weights: Tensor([27.0, 26.0])",
            "Wrong: a convolution came out wrong on cpu: found 26.0, needed 27.0",
        ),
    ],
)
def test_a_device_that_fails_or_computes_wrong_is_named(
    ask: Callable[..., dict[str, Value]], fault: str, error: str
) -> None:
    facts = ask(NUMBERS + GPUS + fault)

    assert facts["live_outcome"] == "trial failed"
    assert facts["live_error"].startswith(error)


@pytest.mark.parametrize(
    ("where", "stage"),
    [
        ("cuda.is_available = end", "asking CUDA for its devices"),
        ("cuda.get_device_name = lambda device: end()", "starting cuda:0"),
        ("backends.cudnn.version = end", "asking for cuDNN"),
    ],
)
def test_a_death_on_a_gpu_is_told_with_its_stage(
    ask: Callable[..., dict[str, Value]], where: str, stage: str
) -> None:
    end = "import os, signal\ndef end(): os.kill(os.getpid(), signal.SIGSEGV)\n"

    facts = ask(NUMBERS + GPUS + end + where)

    assert (facts["live_outcome"], facts["live_stage"]) == ("died", stage)
    assert facts["live_trials"][0].what == "cpu"


def test_torchs_own_reason_for_no_gpu_is_kept(ask: Callable[..., dict[str, Value]]) -> None:
    refuse = """
def refuse(): raise RuntimeError("Found no NVIDIA driver on your system.\\nMore")
cuda = part(is_available=lambda: False, init=refuse)
"""

    facts = ask(NUMBERS + GPUS + refuse)

    assert facts["live_outcome"] == "works"
    assert facts["live_cuda_error"] == "RuntimeError: Found no NVIDIA driver on your system."


# --- the user's folder


def test_a_torch_of_the_users_folder_is_what_is_imported(
    ask: Callable[..., dict[str, Value]],
) -> None:
    Path("torch.py").write_text("x = 1")

    facts = ask(NUMBERS)

    assert facts["live_outcome"] == "import failed"
    assert facts["live_error"].startswith(
        "AttributeError: module 'torch' has no attribute 'Tensor'"
    )
    assert facts["live_torch"]["file"] == str(Path("torch.py").resolve())


@pytest.mark.parametrize("name", ["json", "resource", "traceback", "importlib", "signal", "ast"])
def test_other_modules_of_the_users_folder_are_in_nobodys_way(
    ask: Callable[..., dict[str, Value]], name: str
) -> None:
    Path(f"{name}.py").write_text("raise RuntimeError('mine')")

    assert ask(NUMBERS)["live_outcome"] == "works"


def test_they_are_in_torchs_way_as_in_life(ask: Callable[..., dict[str, Value]]) -> None:
    Path("resource.py").write_text("raise RuntimeError('mine')")

    assert ask("import resource")["live_error"] == "RuntimeError: mine"


def test_nothing_is_left_in_the_users_folders(
    ask: Callable[..., dict[str, Value]], tmp_path: Path
) -> None:
    Path("helper.py").write_text("")
    before = sorted(tmp_path.rglob("*"))

    ask(NUMBERS + "import helper\nimport ctypes; ctypes.string_at(0)")

    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == [
        tmp_path / "site" / "torch" / "__init__.py"
    ]


def test_ctrl_c_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    mark, site = tmp_path / "pid", tmp_path / "site"
    (tmp_path / "tmp").mkdir()
    site.mkdir()
    (site / "torch.py").write_text(
        f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    script = (
        "from torchkit.machine.torch_child import live_facts\n"
        "from torchkit.machine.interpreter import own_interpreter\n"
        "from torchkit.system import System\n"
        "live_facts(System(), own_interpreter(), {})"
    )
    paths = os.pathsep.join([str(site), str(SCRIPT.parents[2])])
    asking = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)

    asking.send_signal(signal.SIGINT)
    asking.wait(timeout=10)

    assert _is_gone(int(mark.read_text()))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_child_ends_by_itself_where_nobody_is_left_to_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
    (tmp_path / "answers").touch()
    monkeypatch.chdir(tmp_path)
    script = SCRIPT.read_text("utf-8").replace("OWN_END_S = 5.0", "OWN_END_S = 0.0")

    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "answers"), "0.2"],
        timeout=10,
        check=False,
        stderr=subprocess.DEVNULL,
    )

    assert ended.returncode == -signal.SIGALRM


def test_the_script_is_of_python_3_8_and_imports_nothing_of_ours() -> None:
    text = SCRIPT.read_text("utf-8")

    tree = ast.parse(text, feature_version=(3, 8))

    names: set[Any] = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names <= {"os", "sys", "time", "_signal", "faulthandler"}
