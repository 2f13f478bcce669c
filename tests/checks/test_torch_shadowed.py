"""Truth: Python's import order, and what PyTorch's own source lacks before it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkit.checks.torch_shadowed import judge
from torchkit.machine.facts import Install, Unknown
from torchkit.report import Finding, Status, Verdict

PIP = Install("/env/site-packages/torch", "2.5.1+cu124", "pip")
CONDA = Install("/env/conda-meta/pytorch-2.3.1-py3.11_0.json", "2.3.1", "conda")


def judged(*shadows: str, installs: Any = (PIP,)) -> Verdict:
    return judge(torch_shadows=shadows, torch_installs=installs)


def test_a_torch_py_hides_the_installed_torch() -> None:
    verdict = judged("/work/torch.py")

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == "AttributeError: module 'torch' has no attribute 'Tensor'"
    assert verdict.fix[0].startswith("mv /work/torch.py /work/my_torch.py")


def test_a_torch_py_without_an_installed_torch_is_a_warning() -> None:
    assert judged("/work/torch.py", installs=()).status is Status.WARN


def test_a_checkout_of_pytorch_is_left_and_never_renamed() -> None:
    verdict = judged("/src/pytorch/torch")

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == "ModuleNotFoundError: No module named 'torch.version'"
    assert verdict.fix == ("work from another folder than /src/pytorch, PyTorch's own source",)


def test_any_other_folder_named_torch_is_renamed() -> None:
    assert judged("/work/torch").fix[0].startswith("mv /work/torch /work/my_torch ")


def test_one_torch_is_fine_and_none_is_nothing_to_judge() -> None:
    assert judged().status is Status.OK
    assert not judged(installs=()).applies


def test_two_torches_are_the_edge_where_it_warns() -> None:
    other = Install("/home/ana/.local/lib/python3.11/site-packages/torch", "2.6.0", "pip")

    verdict = judged(installs=(PIP, other))

    assert verdict.status is Status.WARN
    assert "2.5.1+cu124 by pip is imported" in verdict.message
    assert verdict.fix[1].startswith("then pip install --force-reinstall torch==2.5.1 ")


def test_conda_and_pip_in_one_folder_are_taken_apart() -> None:
    verdict = judged(installs=(PIP, CONDA))

    assert verdict.fix == (
        "conda remove pytorch && pip install --force-reinstall torch==2.5.1 "
        "--index-url https://download.pytorch.org/whl/cu124",
    )


def test_states_of_the_shadows(finding: Callable[..., Finding]) -> None:
    unknown = finding("torch-shadowed", torch_shadows=Unknown("unreadable"))
    alone = finding("torch-shadowed", torch_shadows=("/work/torch.py",))

    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.WARN


def test_what_is_left_beside_torchs_metadata_is_no_shadow() -> None:
    record = Install("/env/site-packages/torch-2.13.0.dist-info", "2.13.0", "pip")

    verdict = judged("/env/site-packages/torch", installs=(record,))

    assert verdict.status is Status.SKIP


def test_a_folder_elsewhere_shadows_also_an_installation_whose_files_are_gone() -> None:
    record = Install("/env/site-packages/torch-2.13.0.dist-info", "2.13.0", "pip")

    assert judged("/work/torch.py", installs=(record,)).status is Status.FAIL
