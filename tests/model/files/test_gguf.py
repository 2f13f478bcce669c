"""Truth: the format's document, and the package gguf where it is installed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from written_files import gguf, number_value, text_value, texts_value

from torchkit.model.files import Entry, read
from torchkit.model.files.gguf import FILE_TYPES, TYPES

TENSORS = [
    ("token_embd.weight", (512, 1000), 12, 512 * 1000 // 256 * 144),
    ("blk.0.attn_norm.weight", (512,), 0, 2048),
    ("blk.0.ffn.weight", (512, 64), 8, 512 * 64 // 32 * 34),
    ("blk.0.half", (3,), 1, 6),
]
VALUES = [
    text_value("general.architecture", "llama"),
    number_value("general.file_type", 15),
    texts_value("tokenizer.ggml.tokens", [f"token {number}" for number in range(3000)]),
    ("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
    ("llama.rope.freq_base", 6, struct.pack("<f", 10000.0)),
    ("flag", 7, b"\1"),
]


@pytest.mark.parametrize("version", [2, 3])
def test_a_file_is_described_by_its_lists(tmp_path: Path, version: int) -> None:
    contents = read(gguf(tmp_path / "m.gguf", TENSORS, values=VALUES, version=version))

    assert contents.entries == (
        Entry("token_embd.weight", (1000, 512), "q4_k", 288_000),
        Entry("blk.0.attn_norm.weight", (512,), "float32", 2048),
        Entry("blk.0.ffn.weight", (64, 512), "q8_0", 34_816),
        Entry("blk.0.half", (3,), "float16", 6),
    )
    assert contents.metadata == {
        "version": str(version),
        "quantisation": "Q4_K_M",
        "general.architecture": "llama",
        "tokenizer.ggml.tokens": "3,000 texts",
        "tokenizer.ggml.scores": "3 numbers",
        "llama.rope.freq_base": "10000",
        "flag": "True",
    }
    assert contents.damage == ""
    assert contents.parameters == 512_000 + 512 + 32_768 + 3


def test_tensors_beyond_the_end_are_counted(tmp_path: Path) -> None:
    contents = read(gguf(tmp_path / "m.gguf", TENSORS, missing=20_000))

    assert contents.damage == "cut off: 2 of 4 tensors lie beyond the end of the file"


def test_a_list_that_is_cut_off_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf", TENSORS, values=VALUES[:2])
    path.write_bytes(path.read_bytes()[:230])

    contents = read(path)

    assert 0 < len(contents.entries) < 4
    assert f"{len(contents.entries)} of 4 tensors could be read" in contents.damage


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        b"GGUF" + struct.pack("<IQQ", 1, 1, 1),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60) + b"a",
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 8, 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 9, 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"a", 77),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q1sI", 1, b"a", 2**31),
        b"GGUF\3\0",
    ],
)
def test_counts_that_lie_are_damage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(data + bytes(100) if len(data) > 10 else data)

    contents = read(path)

    assert contents.format == "gguf"
    assert contents.damage


def test_types_and_their_blocks_are_those_of_the_package() -> None:
    package = pytest.importorskip("gguf")

    plain = {"f32": "float32", "f16": "float16", "f64": "float64", "bf16": "bfloat16",
             "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64"}  # fmt: skip
    for kind, (elements, size) in package.GGML_QUANT_SIZES.items():
        name = kind.name.lower()
        assert TYPES[kind.value] == (plain.get(name, name), elements, size)
    assert {it.value for it in package.LlamaFileType} - set(FILE_TYPES) <= {1024}


def test_a_file_of_the_package_is_told_as_the_package_reads_it(tmp_path: Path) -> None:
    package, numpy = pytest.importorskip("gguf"), pytest.importorskip("numpy")
    path = tmp_path / "m.gguf"
    writer = package.GGUFWriter(path, "llama")
    writer.add_uint32("answer", 42)
    writer.add_array("list", ["a", "b"])
    writer.add_tensor("a", numpy.zeros((3, 4), numpy.float32))
    quantised = package.quantize(
        numpy.zeros((4, 64), numpy.float32), package.GGMLQuantizationType.Q8_0
    )
    writer.add_tensor("b", quantised, raw_dtype=package.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    contents = read(path)

    expected = [
        (it.name, tuple(int(size) for size in reversed(it.shape)), int(it.n_bytes))
        for it in package.GGUFReader(path).tensors
    ]
    assert [(it.name, it.shape, it.bytes) for it in contents.entries] == expected
    assert (contents.damage, contents.metadata["answer"]) == ("", "42")
