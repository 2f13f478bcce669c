"""Truth: onnx.proto, and the package onnx where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_files import nested, number, onnx, onnx_tensor, outside_tensor

from torchkit.model.files import Entry, read
from torchkit.model.files.onnx import DTYPES


def test_a_file_is_described_by_its_graph(tmp_path: Path) -> None:
    tensors = [
        onnx_tensor("w", (3, 4), 1, 48),
        onnx_tensor("i", (), 7, 8),
        onnx_tensor("q", (5,), 22, 3),
    ]

    contents = read(onnx(tmp_path / "net.onnx", tensors))

    assert contents.entries == (
        Entry("w", (3, 4), "float32", 48),
        Entry("i", (), "int64", 8),
        Entry("q", (5,), "int4", 3),
    )
    assert contents.metadata == {
        "IR version": "8", "producer": "pytorch", "producer version": "2.13", "graph": "main",
        "opset": "17", "inputs": "x [batch, 8] float32", "operations": "1",
    }  # fmt: skip
    assert contents.damage == ""


def test_the_ending_of_the_name_does_not_matter(tmp_path: Path) -> None:
    assert read(onnx(tmp_path / "net.bin", [onnx_tensor("w", (3, 4), 1, 48)])).format == "onnx"


def test_data_beside_the_file_is_looked_for_and_not_opened(tmp_path: Path) -> None:
    path = onnx(tmp_path / "net.onnx", [outside_tensor("w", (100, 10), "net.data", 4000)])

    missing = read(path)
    (tmp_path / "net.data").write_bytes(bytes(3000))
    short = read(path)
    (tmp_path / "net.data").write_bytes(bytes(4000))
    whole = read(path)

    assert missing.damage == "1 of 1 tensors are in net.data, which is missing"
    assert short.damage == "1 of 1 tensors lie beyond the end of net.data"
    assert (whole.damage, whole.others) == ("", ("external data: net.data, 4,000 bytes",))
    assert whole.file_bytes == path.stat().st_size + 4000


def test_data_outside_of_the_folder_is_not_looked_for(tmp_path: Path) -> None:
    contents = read(onnx(tmp_path / "net.onnx", [outside_tensor("w", (1,), "../secret", 4)]))

    assert contents.damage == "1 of 1 tensors are in a file that is not beside the model"
    assert contents.others == ()


def test_a_file_that_is_cut_off_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    path = onnx(tmp_path / "net.onnx", [onnx_tensor(name, (100,), 1, 400) for name in "abc"])
    path.write_bytes(path.read_bytes()[:1000])

    contents = read(path)

    assert [it.name for it in contents.entries] == ["a", "b"]
    assert contents.damage


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (number(1, 8) + nested(2, b"x"), "no graph"),
        (number(1, 8) + b"\x07\x01", "no ONNX, or damaged"),
        (number(1, 8) + b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"abc", "cut off"),
        (number(1, 8) + b"\xff" * 20, "number"),
    ],
)
def test_what_is_no_message_is_damage(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)

    assert words in read(path).damage


def test_dtypes_are_those_of_the_package() -> None:
    package = pytest.importorskip("onnx")

    assert set(DTYPES) == set(package.TensorProto.DataType.values()) - {0}


def test_a_file_of_the_package_is_told_as_the_package_reads_it(tmp_path: Path) -> None:
    package, numpy = pytest.importorskip("onnx"), pytest.importorskip("numpy")
    helper, path = package.helper, tmp_path / "net.onnx"
    arrays = {
        "w": numpy.zeros((3, 4), "f4"),
        "i": numpy.zeros(2, "i8"),
        "h": numpy.zeros((2, 2), "f2"),
    }
    tensors = [package.numpy_helper.from_array(it, name) for name, it in arrays.items()]
    tensors.append(helper.make_tensor("plain", package.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))
    value = helper.make_tensor_value_info("x", package.TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], tensors
    )
    package.save(helper.make_model(graph, producer_name="me"), path)

    contents = read(path)

    expected = [(name, it.shape, it.nbytes) for name, it in arrays.items()] + [("plain", (3,), 12)]
    assert [(it.name, it.shape, it.bytes) for it in contents.entries] == expected
    assert (contents.damage, contents.metadata["inputs"]) == ("", "x [n, 4] float32")
