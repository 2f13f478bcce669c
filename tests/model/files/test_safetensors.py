"""Truth: the format's document, and the package safetensors where it is installed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from written_files import safetensors

from torchkit.model.files import Entry, read

WHOLE = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
    "b": {"dtype": "BF16", "shape": [5], "data_offsets": [48, 58]},
    "c": {"dtype": "I64", "shape": [], "data_offsets": [58, 66]},
    "d": {"dtype": "F8_E4M3", "shape": [0, 7], "data_offsets": [66, 66]},
}


def changed(name: str, **changes: Any) -> dict[str, Any]:
    return {**WHOLE, name: {**WHOLE[name], **changes}}


def test_a_file_is_described_by_its_header(tmp_path: Path) -> None:
    contents = read(safetensors(tmp_path / "model.safetensors", WHOLE, 66))

    assert contents.format == "safetensors"
    assert contents.entries == (
        Entry("a.weight", (3, 4), "float32", 48),
        Entry("b", (5,), "bfloat16", 10),
        Entry("c", (), "int64", 8),
        Entry("d", (0, 7), "float8_e4m3fn", 0),
    )
    assert contents.metadata == {"format": "pt"}
    assert (contents.total_bytes, contents.parameters, contents.damage) == (66, 18, "")
    assert (contents.globals, contents.dangerous) == ((), ())


def test_the_ending_of_the_name_does_not_matter(tmp_path: Path) -> None:
    assert read(safetensors(tmp_path / "model", WHOLE, 66)).format == "safetensors"


@pytest.mark.parametrize(
    ("header", "data_bytes", "words"),
    [
        (WHOLE, 60, "cut off: 2 of 4 tensors lie beyond the end of the file"),
        (WHOLE, 67, "1 bytes after the last tensor"),
        (changed("b", data_offsets=[46, 56]), 66, "overlap"),
        (changed("b", shape=[3], data_offsets=[52, 58]), 66, "1 holes between tensors"),
        (changed("b", shape=[6]), 66, "1 of 4 tensors have a shape, dtype or length"),
        (changed("b", shape=[-5]), 66, "1 of 4 tensors have a shape, dtype or length"),
        (changed("b", dtype="F99"), 66, "1 of 4 tensors have a shape, dtype or length"),
        (changed("b", shape=[2**62, 2**62]), 66, "1 of 4 tensors have a shape, dtype or length"),
        (changed("b", data_offsets=[58, 48]), 66, "1 of 4 tensors have a shape, dtype or length"),
        (changed("b", shape=None), 66, "1 of 4 tensors have a shape, dtype or length"),
    ],
)
def test_what_the_format_forbids_is_damage(
    tmp_path: Path, header: dict[str, Any], data_bytes: int, words: str
) -> None:
    path = safetensors(tmp_path / "model.safetensors", header, data_bytes)

    damage = read(path).damage

    assert words in damage
    package = pytest.importorskip("safetensors")
    with pytest.raises(package.SafetensorError), package.safe_open(path, framework="numpy"):
        pass


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (struct.pack("<Q", 10**12) + b'{"a":1}', "its header claims 1,000,000,000,000 bytes"),
        (struct.pack("<Q", 500) + b'{"a":1}', "cut off: its header has 500 bytes, 7 are there"),
        (struct.pack("<Q", 7) + b'{"a":1#', "no JSON"),
        (struct.pack("<Q", 14) + b'{"a":1,"a":2} ', "a name twice"),
        (struct.pack("<Q", 100_000) + b"{" + b'"a":[' * 19_999 + b" " * 4, "its header is no JSON"),
        (struct.pack("<Q", 60_006) + b'{"a":' + b"1" * 60_000 + b"}", "no JSON"),
        (b"abc", "cut off"),
    ],
)
def test_a_header_that_cannot_be_read_is_damage(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)

    contents = read(path)

    assert (contents.format, contents.entries) == ("safetensors", ())
    assert words in contents.damage or "nested deeper" in contents.damage


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    half = {"a.weight": WHOLE["a.weight"]}
    safetensors(tmp_path / "model-00001-of-00002.safetensors", half, 48)
    other = {"b": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}
    safetensors(tmp_path / "model-00002-of-00002.safetensors", other, 10)
    index = tmp_path / "model.safetensors.index.json"
    weight_map = {
        "a.weight": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    index.write_text(json.dumps({"metadata": {"total_size": 58}, "weight_map": weight_map}))
    return index


def test_an_index_stands_for_all_its_files(sharded: Path) -> None:
    contents = read(sharded)

    assert [it.name for it in contents.entries] == ["a.weight", "b"]
    assert (contents.format, contents.damage) == ("safetensors", "")
    assert (contents.total_bytes, contents.parameters) == (58, 17)
    assert contents.metadata == {"files": "2", "total_size": "58"}
    assert contents.file_bytes == sum(
        it.stat().st_size for it in sharded.parent.glob("*.safetensors")
    )


def test_a_missing_file_of_an_index_is_damage(sharded: Path) -> None:
    (sharded.parent / "model-00002-of-00002.safetensors").unlink()

    contents = read(sharded)

    assert [it.name for it in contents.entries] == ["a.weight"]
    assert contents.damage == (
        "1 of 2 files are missing (model-00002-of-00002.safetensors), and with them 1 of 2 tensors"
    )


def test_an_index_does_not_lead_out_of_its_folder(sharded: Path) -> None:
    index = json.loads(sharded.read_text())
    index["weight_map"]["b"] = "../../etc/passwd"
    sharded.write_text(json.dumps(index))

    assert "../../etc/passwd is no file beside the index" in read(sharded).damage


def test_an_index_that_names_what_is_not_in_its_file_is_damage(sharded: Path) -> None:
    index = json.loads(sharded.read_text())
    index["weight_map"]["c"] = index["weight_map"]["b"]
    sharded.write_text(json.dumps(index))

    assert "1 tensors of the index are not in the file it names, such as c" in read(sharded).damage
