"""Truth: the errors that torch 2.13 and safetensors 0.8 give for such files, as they were read off."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from torchkit.checks.file_damaged import judge
from torchkit.model.files import read
from torchkit.report import WOULD_FAIL_WITH, Status, Verdict


class Described(NamedTuple):
    """What is known of a file."""

    format: str
    damage: str
    file_bytes: int = 1000
    entries: tuple[str, ...] = ("weight",)


def would_fail_with(verdict: Verdict) -> list[str]:
    return [it.value for it in verdict.evidence if it.name == WOULD_FAIL_WITH]


def test_a_file_that_is_cut_off_fails_with_what_is_missing() -> None:
    damage = "cut off: 12 of 340 tensors lie beyond the end of the file"

    verdict = judge(Described("safetensors", damage))

    assert verdict.status is Status.FAIL
    assert verdict.message == f"the file is damaged: {damage}"
    assert ("size", "1,000 bytes") in [(it.name, it.value) for it in verdict.evidence]
    assert would_fail_with(verdict) == [
        "Error while deserializing header: incomplete metadata, file not fully covered"
    ]
    assert verdict.fix


def test_a_whole_file_is_fine() -> None:
    assert judge(Described("state dict", "")).status is Status.OK


def test_a_file_without_tensors_is_not_called_fine() -> None:
    verdict = judge(Described("checkpoint", "", entries=()))

    assert verdict.status is Status.INFO
    assert verdict.message == "there are no tensors in it"
    assert any("state_dict()" in fix for fix in verdict.fix)


@pytest.mark.parametrize("format", ["gguf", "onnx"])
def test_an_error_that_is_not_known_is_not_invented(format: str) -> None:
    verdict = judge(Described(format, "cut off in its metadata"))

    assert verdict.status is Status.FAIL
    assert would_fail_with(verdict) == []


def test_the_first_line_has_the_first_fault_alone() -> None:
    verdict = judge(Described("state dict", "one thing; another thing"))

    assert verdict.brief == "damaged: one thing"


@pytest.mark.torch
@pytest.mark.parametrize("what", ["cut", "renamed"])
def test_torch_gives_the_error_that_is_told(tmp_path: Path, what: str) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pt"
    torch.save({"a": torch.zeros(100), "b": torch.zeros(3)}, path)
    data = path.read_bytes()
    path.write_bytes(data[:-200] if what == "cut" else data.replace(b"net/data/1", b"net/data/z"))

    (told,) = would_fail_with(judge(read(path)))

    with pytest.raises(RuntimeError) as error:
        torch.load(path)
    for part in told.split(": "):
        assert part in str(error.value)
