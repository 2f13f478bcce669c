"""`--engine torchsnooper`, and scripts that use the package themselves, also without pkg_resources."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from running import PYTHON, SNOOP, ran

pytest.importorskip("torch")
if importlib.util.find_spec("torchsnooper") is None:
    pytest.skip("needs torchsnooper", allow_module_level=True)

pytestmark = pytest.mark.torch

SCRIPT = """import torch

def step(x):
    y = x * 2
    return y

class Net:
    def forward(self, x):
        return step(x)

Net().forward(torch.ones(2, 3))
"""


def test_a_function_is_traced_in_the_packages_own_format(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, "utf-8")

    done = ran([*SNOOP, "--engine", "torchsnooper", "-f", "step"], ["train.py"], tmp_path)

    assert done.status == 0
    assert b"y = tensor<(2, 3), float32, cpu>" in done.stderr
    assert b"forward" not in done.stderr
    assert b"\x1b[" not in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("pkg_resources") is not None, reason="setuptools brings it here"
)
def test_a_script_may_import_it_where_pkg_resources_is_gone(tmp_path: Path) -> None:
    script = SCRIPT.replace("import torch\n", "import torch, torchsnooper, sys\n", 1)
    script = script.replace("def step", "@torchsnooper.snoop()\ndef step")
    script += 'assert "pkg_resources" not in sys.modules\n'
    (tmp_path / "train.py").write_text(script, "utf-8")

    plain = ran(PYTHON, ["train.py"], tmp_path)
    done = ran(SNOOP, ["train.py"], tmp_path)

    assert plain.status == 1
    assert b"pkg_resources" in plain.stderr
    assert done.status == 0
    assert b"tensor<(2, 3), float32, cpu>" in done.stderr
