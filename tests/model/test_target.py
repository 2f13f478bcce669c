"""A TARGET is found and made as Python would, and what is wrong with it is said in one line."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torchkit.errors import BadTarget  # noqa: E402 - after torch is known to be there
from torchkit.model.target import find, make, names_a_file, output_to_stderr  # noqa: E402
from torchkit.model.target_text import parse_target  # noqa: E402

pytestmark = pytest.mark.torch

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 4, *, depth=1):
        super().__init__()
        self.width, self.depth = width, depth
        self.line = nn.Linear(width, 2)
    def forward(self, x):
        return self.line(x)

class Outer:
    class Inner(nn.Module):
        pass
"""


@pytest.fixture(autouse=True)
def _python_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The current folder is empty; modules and the path are as before afterwards."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if str(tmp_path) in file:
            del sys.modules[name]


def write(text: str, name: str = "model.py") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def made(target: str) -> Any:
    return make(find(target))


def refused(target: str) -> BadTarget:
    with pytest.raises(BadTarget) as raised:
        made(target)
    assert "\n" not in raised.value.message
    return raised.value


# --- forms


@pytest.mark.parametrize(
    ("target", "width", "depth"),
    [
        ("model.py:Net", 4, 1),
        ("model.py:Net()", 4, 1),
        ("model.py:Net(10)", 10, 1),
        ("model.py:Net(10, depth=-3)", 10, -3),
        ("model.py:Net( width = 64 )", 64, 1),
        ("./model.py:Net", 4, 1),
        ("model:Net(7)", 7, 1),
        ("model.py::Net", 4, 1),
    ],
)
def test_a_class_is_called_with_literals(target: str, width: int, depth: int) -> None:
    write(NET)

    model = made(target)

    assert (model.width, model.depth) == (width, depth)


def test_a_dotted_name_reaches_into_a_class() -> None:
    write(NET)

    assert type(made("model.py:Outer.Inner")).__qualname__ == "Outer.Inner"


def test_an_installed_module_is_imported() -> None:
    model = made("torch.nn:Linear(3, 4, bias=False)")

    assert model.weight.shape == (4, 3)


def test_literals_may_hold_colons_and_brackets() -> None:
    write(f"{NET}\ndef net(options, names=()): n = Net(); n.got = (options, names); return n\n")

    assert made("model.py:net({'a': [1, 2]}, names=('x:y',))").got == ({"a": [1, 2]}, ("x:y",))


def test_a_path_with_spaces_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    write(NET, "my models/a net.py")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    monkeypatch.setenv("USERPROFILE", str(Path.cwd()))

    assert made("~/my models/a net.py:Net").width == 4


def test_a_function_and_an_instance_give_their_model() -> None:
    write(f"{NET}\nready = Net(9)\ndef net(): return ready\n")

    assert made("model.py:ready") is made("model.py:net")


@pytest.mark.parametrize("result", ["(Net(6), {'lr': 1})", "{'model': Net(6), 'n': 2}", "[Net(6)]"])
def test_the_one_model_of_a_tuple_or_dict_is_taken(result: str) -> None:
    write(f"{NET}\ndef net(): return {result}\n")

    assert made("model.py:net").width == 6


def test_scripted_and_compiled_models_are_models() -> None:
    write(f"{NET}\nscripted = torch.jit.script(Net())\ncompiled = torch.compile(Net())\n")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch advises against torch.jit.script
        found = made("model.py:scripted"), made("model.py:compiled")

    assert all(isinstance(it, torch.nn.Module) for it in found)


def test_the_colon_of_a_windows_drive_is_no_separator() -> None:
    target = parse_target(r"C:\\work\\model.py:a.Net('x:y')")

    assert target.where == r"C:\\work\\model.py"
    assert target.names == ("a", "Net")
    assert target.arguments is not None
    assert target.arguments.args == ("x:y",)


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("weights.pt", True),
        ("m.safetensors", True),
        ("model.safetensors.index.json", True),
        ("model.py", False),
        ("model.py:Net", False),
        ("model.py:Net('w.pt')", False),
        ("package.module:Net", False),
    ],
)
def test_what_names_a_file_on_disk_is_told_from_a_target(text: str, is_file: bool) -> None:
    assert names_a_file(text) is is_file


# --- importing as Python does


def test_the_folder_of_the_file_is_importable_as_under_python() -> None:
    write("WIDTH = 12\n", "sub/layers_of_mine.py")
    write(
        f"from layers_of_mine import WIDTH\n{NET}\ndef net(): return Net(WIDTH)\n", "sub/model.py"
    )

    assert made("sub/model.py:net").width == 12


def test_a_file_of_a_package_may_import_relatively() -> None:
    write("from .layers import *\n", "pkgx/__init__.py")
    write("WIDTH = 13\n", "pkgx/layers.py")
    write("", "pkgx/deep/__init__.py")
    write(
        f"from ..layers import WIDTH\n{NET}\ndef net(): return Net(WIDTH)\n", "pkgx/deep/model.py"
    )

    model = made("pkgx/deep/model.py:net")

    assert model.width == 13
    assert type(model).__module__ == "pkgx.deep.model"


def test_relative_imports_work_without_an_init_file() -> None:
    write("WIDTH = 14\n", "srcx/layers.py")
    write(f"from .layers import WIDTH\n{NET}\ndef net(): return Net(WIDTH)\n", "srcx/model.py")

    assert made("srcx/model.py:net").width == 14


def test_main_code_is_not_run_and_the_script_sees_its_own_argv() -> None:
    write(
        "import sys\nARGV = list(sys.argv)\n"
        f"{NET}\ndef net(): n = Net(); n.argv = ARGV; return n\n"
        "if __name__ == '__main__': raise SystemExit(3)\n"
    )
    before = list(sys.argv)

    model = made("model.py:net")

    assert [Path(it).name for it in model.argv] == ["model.py"]
    assert sys.argv == before


def test_a_model_of_a_file_can_be_pickled() -> None:
    write(NET)

    model = made("model.py:Net(5)")

    assert pickle.loads(pickle.dumps(model)).width == 5  # noqa: S301 - our own bytes


def test_a_file_called_as_a_standard_module_takes_nobodys_place() -> None:
    import random

    write(NET, "random.py")

    model = made("random.py:Net")

    assert model.width == 4
    assert sys.modules["random"] is random


def test_two_files_of_one_name_keep_their_own_neighbours() -> None:
    for width, folder in ((21, "old"), (22, "new")):
        write(f"WIDTH = {width}\n", f"{folder}/layersy.py")
        write(
            f"from layersy import WIDTH\n{NET}\ndef net(): return Net(WIDTH)\n",
            f"{folder}/model.py",
        )

    widths = made("old/model.py:net").width, made("new/model.py:net").width

    assert widths == (21, 22)


def test_one_file_is_imported_once() -> None:
    write(NET)

    assert find("model.py:Net").object is find("./model.py:Net").object


def test_no_compiled_file_is_left_beside_the_users() -> None:
    write(NET)

    made("model.py:Net")

    assert not list(Path.cwd().rglob("*.pyc"))


# --- output


PRINTS = """
import os, subprocess, sys
print("import")
os.system("echo child")
os.write(1, b"written below Python\\n")
"""


def test_what_the_users_code_prints_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    write(f"{PRINTS}{NET}\ndef net():\n    print('made')\n    return Net()\n")

    made("model.py:net")
    print("the report")  # noqa: T201 - this is what must be alone on stdout

    out, err = capfd.readouterr()
    assert out == "the report\n"
    assert {"import", "child", "written below Python", "made"} <= set(err.splitlines())


def test_c_output_that_is_still_in_its_buffer_goes_to_stderr_too(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("asks libc by its name")
    script = (
        "import ctypes\nfrom torchkit.model.user_code import output_to_stderr\n"
        "with output_to_stderr():\n    ctypes.CDLL(None).printf(b'from C\\n')\nprint('report')\n"
    )
    root = Path(__file__).resolve().parents[2]

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=60, check=True, cwd=root,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("report\n", "from C\n")


def test_stdout_comes_back_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), output_to_stderr():
        raise ValueError("x")
    print("back")  # noqa: T201 - same

    assert capfd.readouterr().out == "back\n"


# --- what can be wrong with it


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("nodel.py:Net", "there is no file nodel.py", "did you mean model.py"),
        ("model.py:Nett", "it defines Net, Outer, helper", "did you mean model.py:Net"),
        ("model.py:Outer.inner", "model.py.Outer has no 'inner'", "model.py:Outer.Inner"),
        ("model.py", "it defines Net, Outer, helper", "write the target as model.py:Net"),
        ("model.py:", "it defines Net", "write the target as model.py:Net"),
        ("model.py:Net(torch.int8)", "'torch.int8'", "write a function without arguments"),
        ("model.py:Net(**{})", "** in it", "a target is"),
        ("model.py:Net[0]", "no dotted name", "a target is"),
        ("model.py:Net(", "no name", "a target is"),
        ("model.py:CONFIG", "is a dict", "model.py:NAME"),
        ("model.py:helper", "missing a required argument: 'n'; it is helper(n: int)",
         "'model.py:helper(n=10)'"),
        ("model.py:Net(depht=2)", "it is Net(width: int = 4, *, depth=1)", "model.py:Net"),
        ("model.py:ready(3)", "a ready Net", "write the target as model.py:ready"),
        ("model.py:pair", "gives a tuple of a Net, a Net", "returns the one"),
        ("model.py:nothing", "gives None, no torch.nn.Module", ""),
        ("model.py:klass", "gives the class Net", ""),
        ("model.py:configured", "missing a required argument: 'config'", "write a function"),
        ("model", "no target", "a target is"),
        ("torch.nn.Linear", "no colon", "torch.nn:Linear"),
        ("torch.nnn:Linear", "torch has no module 'nnn'", "torch.nn:Linear"),
        ("nowherex:Net", "no module 'nowherex'", "nowherex.py:Net"),
        ("net.ipynb:Net", "a notebook", "nbconvert"),
        ("sub/model:Net", "lacks its ending", "sub/model.py:Net"),
        ("", "the target is empty", "a target is"),
        ("weights.pt:Net", "a file of weights", "torchkit summary weights.pt"),
        ("~nobodyx/model.py:Net", "~nobodyx/model.py", ""),
        ("sub:Net", "sub has no 'Net'", ""),
        ("sub.py:Net", "there is no file sub.py", ""),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_used_is_refused_with_the_way_out(
    target: str, message: str, hint: str
) -> None:
    text = f"""{NET}
def helper(n: int): return Net(n)
def _hidden(): return Net()
CONFIG = {{}}
ready = Net()
pair = lambda: (Net(), Net())
nothing = lambda: None
klass = lambda: Net
class Config: pass
def configured(config: Config): return Net()
"""
    if "it defines" in message:
        text = f"{NET}\ndef helper(n: int): return Net(n)\n"
    write(text)
    write(NET, "sub/model.py")

    error = refused(target)

    assert message in error.message
    assert hint in error.hint


def test_an_error_at_import_names_the_users_own_line() -> None:
    write("import json\n\ndef f():\n    return json.loads('{')\n", "helpx.py")
    write("import helpx\nX = helpx.f()\n")

    error = refused("model.py:Net")

    assert error.message.startswith("helpx.py:4: JSONDecodeError: ")


def test_an_error_inside_an_installed_package_names_the_users_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("def f():\n    raise KeyError('size')\n", "site-packages/libraryx.py")
    monkeypatch.syspath_prepend(str(Path("site-packages").resolve()))
    write("import libraryx\n\nlibraryx.f()\n")

    error = refused("model.py:Net")

    assert error.message == "model.py:3: KeyError: 'size'"


def test_a_missing_package_comes_with_its_name_at_pip() -> None:
    raising = "raise ModuleNotFoundError(\"No module named 'flash_attn'\", name='flash_attn')"
    write(f"import torch\n\n{raising}\n")

    error = refused("model.py:Net")

    assert error.message == "model.py:3: ModuleNotFoundError: No module named 'flash_attn'"
    assert error.hint == "pip install flash-attn"


@pytest.mark.parametrize(
    "line", ["from utilsx.blocks import X", "import modelsx", "import srcqq.a"]
)
def test_a_folder_of_the_users_own_is_never_asked_of_pip(line: str) -> None:
    """`pip install utils` would install what a stranger has put on the index under that name."""
    write(f"{line}\n")

    error = refused("model.py:Net")

    assert "pip install" not in error.hint
    assert "PYTHONPATH" in error.hint


def test_a_strangers_package_that_stands_in_for_the_users_folder_is_not_upgraded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("", "site-packages/utilsy/__init__.py")
    monkeypatch.syspath_prepend(str(Path("site-packages").resolve()))
    write("from utilsy.blocks import X\n")

    error = refused("model.py:Net")

    assert "pip install" not in error.hint
    assert "PYTHONPATH" in error.hint


def test_what_an_installed_package_asks_for_is_had_from_pip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = "Metadata-Version: 2.1\nName: wanter\nVersion: 1\nRequires-Dist: thingx-core>=1\n"
    write(about, "site-packages/wanter-1.dist-info/METADATA")
    monkeypatch.syspath_prepend(str(Path("site-packages").resolve()))
    write("import thingx_core\n")

    assert refused("model.py:Net").hint == "pip install thingx-core"


@pytest.mark.parametrize(
    ("importing", "hint"),
    [
        ("from .layer import X", "there is no pkgy/layer.py, nor a folder of that name; did you mean layers"),
        ("from pkgy.other import X", "there is no pkgy/other.py, nor a folder of that name"),
        ("from .layers.deep import X", "pkgy/layers.py is a file, and no folder with deep in it"),
        ("import pkgy.layers\nimport torch.nope", "pip install --upgrade torch"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_not_asked_of_pip(importing: str, hint: str) -> None:
    """A package on an index that has the name of the user's folder is somebody else's."""
    write("", "pkgy/__init__.py")
    write("X = 1\n", "pkgy/layers.py")
    write(f"from . import layers\n{importing}\n{NET}", "pkgy/model.py")

    error = refused("pkgy/model.py:Net")

    assert error.hint.endswith(hint)
    assert "pip" not in error.hint or "torch" in hint


def test_a_module_of_the_users_own_package_that_is_not_there_is_not_asked_of_pip() -> None:
    write("", "pkgz/__init__.py")

    error = refused("pkgz.nope:Net")

    assert error.hint == "there is no pkgz/nope.py, nor a folder of that name"


def test_a_missing_module_that_lies_nearby_is_found() -> None:
    write("", "src/layersz/__init__.py")
    write("from layersz import X\n", "train/model.py")

    error = refused("train/model.py:Net")

    assert "PYTHONPATH=" in error.hint
    assert "src" in error.hint


def test_a_syntax_error_is_named_with_its_line() -> None:
    write("import torch\n\nclass Net(\n")

    error = refused("model.py:Net")

    assert error.message.startswith("model.py:3: SyntaxError: ")


def test_a_deleted_current_folder_is_no_traceback(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()

    assert made("torch.nn:Linear(2, 3)").in_features == 2
    assert "current folder" in refused("model.py:Net").message or os.name != "posix"


def test_sys_exit_in_the_file_is_told() -> None:
    write(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\np.parse_args()\n"
    )

    error = refused("model.py:Net")

    assert error.message == "model.py:4: sys.exit(2) was called while importing model.py"
    assert "__main__" in error.hint


def test_an_error_while_made_names_the_line_and_the_call() -> None:
    write(f"{NET}\ndef net(n):\n    return Net(1 // n)\n")

    error = refused("model.py:net(0)")

    assert error.message == "model.py:18: ZeroDivisionError: integer division or modulo by zero"
    assert error.hint == "it happened while making net(0)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("self.x = 1", "Bare.__init__ does not call super().__init__()"),
        ("self.line = nn.Linear(1, 1)", "model.py:5: AttributeError: cannot assign module before"),
    ],
)
def test_a_class_that_forgets_super_is_told(body: str, message: str) -> None:
    write(
        f"from torch import nn\nclass Bare(nn.Module):\n    def __init__(self):\n\n        {body}\n"
    )

    error = refused("model.py:Bare")

    assert error.message.startswith(message)
    assert "first line" in error.hint


def test_a_failed_import_can_be_tried_again() -> None:
    write("raise ValueError('first')\n")
    refused("model.py:Net")

    write(NET)

    assert made("model.py:Net").width == 4


def test_torchvision_beside_another_torch_is_named_as_the_cause() -> None:
    """The message of the real one, and the misleading one that transformers makes of it."""
    write("raise RuntimeError('operator torchvision::nms does not exist')\n", "visionx.py")
    write(
        "try:\n    import visionx\nexcept Exception as e:\n    raise ModuleNotFoundError("
        "\"Could not import module 'LlamaConfig'. Are this object's requirements defined"
        ' correctly?") from e\n',
        "transx.py",
    )
    write("import transx\n")

    error = refused("model.py:Net")

    assert "torchvision does not fit torch" in error.message
    assert "torchkit env" in error.hint
