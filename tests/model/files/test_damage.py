"""Files that were cut off or changed: an answer within a second, never another exception."""

from __future__ import annotations

import io
import random
import re
import time
import zipfile
from pathlib import Path

import pytest
from written_files import (
    gguf,
    onnx,
    onnx_tensor,
    outside_tensor,
    safetensors,
    text_value,
    texts_value,
)

from torchkit.errors import BadInput
from torchkit.model.files import Contents, read

MUTATIONS = 400
"""Of each file; with ten files some thousands."""


def examined(path: Path) -> Contents | None:
    """What `read` says, or None where it says that this is no weights file."""
    try:
        return read(path)
    except BadInput:
        return None


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One thing that happens to files: flipped bits, a lost end, a lost or doubled piece, zeros."""
    out = bytearray(data)
    kind = chance.randrange(6)
    at = chance.randrange(len(out))
    if kind == 0:
        return bytes(out[:at])
    if kind == 1:
        del out[at : at + chance.randrange(1, 64)]
    elif kind == 2:
        out[at:at] = out[max(0, at - 50) : at]
    elif kind == 3:
        out[at : at + 16] = bytes(min(16, len(out) - at))
    elif kind == 4:
        out[at : at + 8] = chance.randbytes(min(8, len(out) - at))
    else:
        for _ in range(chance.randrange(1, 6)):
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def survives(path: Path, seed: str) -> None:
    data = path.read_bytes()
    chance = random.Random(seed)  # noqa: S311 - the same mutations every time
    slowest = 0.0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(data, chance))
        before = time.process_time()
        examined(path)
        slowest = max(slowest, time.process_time() - before)
    assert slowest < 1


def written(folder: Path) -> dict[str, Path]:
    header = {
        f"w{number}": {
            "dtype": "F32",
            "shape": [4],
            "data_offsets": [number * 16, number * 16 + 16],
        }
        for number in range(9)
    }
    return {
        "safetensors": safetensors(folder / "a.safetensors", header, 144),
        "gguf": gguf(
            folder / "a.gguf",
            [("w", (256, 3), 12, 432), ("v", (3,), 0, 12)],
            values=[text_value("general.architecture", "x"), texts_value("list", ["a", "b"])],
        ),
        "onnx": onnx(folder / "a.onnx", [onnx_tensor("w", (3, 4), 1, 48), outside_tensor("v", (3,), "d", 12)]),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["safetensors", "gguf", "onnx"])
def test_changed_files_of_other_formats_are_survived(tmp_path: Path, kind: str) -> None:
    survives(written(tmp_path)[kind], kind)


torch_kinds = pytest.mark.parametrize(
    "name",
    ["checkpoint_adam.pt", "whole_model.pt", "legacy_checkpoint.pt", "plain_pickle4.pkl",
     "subclasses.pt", "script.pt", "net.pt2"],
)  # fmt: skip


def torch_file(folder: Path, name: str) -> Path:
    pytest.importorskip("torch")
    import torch_files

    path = folder / name
    makers = {
        **torch_files.MAKERS,
        "script.pt": torch_files.scripted,
        "net.pt2": torch_files.exported,
    }
    makers[name](path)
    return path


@pytest.mark.torch
@torch_kinds
def test_changed_files_of_torch_are_survived(tmp_path: Path, name: str) -> None:
    survives(torch_file(tmp_path, name), name)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["state_dict.pt", "legacy_state_dict.pt"])
def test_a_file_that_is_cut_off_says_how_much_is_missing(tmp_path: Path, name: str) -> None:
    path = torch_file(tmp_path, name)
    whole, size = read(path), path.stat().st_size
    missing: list[int] = []
    for keep in range(size - 1, 200, -97):
        with path.open("r+b") as file:
            file.truncate(keep)

        contents = examined(path)

        assert contents is not None
        assert contents.damage
        counted = re.search(r"(\d+) of (\d+) tensors lie beyond the end", contents.damage)
        if counted:
            assert contents.entries == whole.entries
            assert int(counted[2]) == len(whole.entries)
            missing.append(int(counted[1]))

    assert missing == sorted(missing)
    assert missing[0] < missing[-1]


@pytest.mark.torch
def test_a_zip_without_one_storage_says_so(tmp_path: Path) -> None:
    path = torch_file(tmp_path, "state_dict.pt")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"state_dict/data/3", b"state_dict/data/z"))

    assert read(path).damage == "1 of 16 tensors are missing in the file"


@pytest.mark.torch
def test_a_changed_shape_that_no_longer_fits_its_storage_is_damage(tmp_path: Path) -> None:
    path = torch_file(tmp_path, "state_dict.pt")
    before = b"(K\x04K\x01K\x03K\x03t"
    assert path.read_bytes().count(before) == 1
    path.write_bytes(path.read_bytes().replace(before, b"(K\x04K\x01K\x03K\x09t"))

    damage = read(path).damage

    assert "1 of 16 tensors reach beyond their storage" in damage
    assert "checksum differs" in damage


@pytest.mark.torch
def test_a_zip_packed_anew_by_another_program_is_whole(tmp_path: Path) -> None:
    """Deflated members, as `zip -r` makes them."""
    path = torch_file(tmp_path, "checkpoint_adam.pt")
    before = read(path)
    again = io.BytesIO()
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info), zipfile.ZIP_DEFLATED)
    path.write_bytes(again.getvalue())

    after = read(path)

    assert after._replace(file_bytes=0) == before._replace(file_bytes=0)


@pytest.mark.torch
def test_a_file_whose_checksums_were_not_computed_is_whole(tmp_path: Path) -> None:
    import torch
    import torch_files

    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("torch before 2.6 always computes them")
    torch.serialization.set_crc32_options(False)
    try:
        path = torch_file(tmp_path, "state_dict.pt")
    finally:
        torch.serialization.set_crc32_options(True)

    assert read(path).damage == ""
    assert torch_files.as_torch_loads_it(path)
