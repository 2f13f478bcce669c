"""What is no weights file is called by its name, with what to do; and nothing is a traceback."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from torchkit.errors import BadInput
from torchkit.model.files import read

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (LFS, "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\n  <html>", "a web page"),
        (b"epoch,loss\n1,0.5\n", "text that begins with 'epoch,loss"),
        (b'{"hidden_size": 768}', "it is JSON, and no index of one"),
        (b"{ not json", "text that begins as JSON does"),
        (bytes(5000), "only zeros"),
        (b"\x1f\x8b\x08\x00" + bytes(50), "compressed by gzip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        (b"\x93NUMPY\1\0" + bytes(50), "a numpy array"),
        (b"\x7fELF\2\1\1" + bytes(50), "a compiled program or library"),
        (b"tjgg\1\0\0\0" + bytes(50), "an old GGML file"),
        (bytes(range(128, 256)) * 4, "no format that is known here"),
    ],
)
@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".onnx", ""])
def test_another_file_is_called_by_its_name(
    tmp_path: Path, data: bytes, words: str, ending: str
) -> None:
    if words.endswith("known here") and ending in (".safetensors", ".onnx"):
        pytest.skip("one with such a name is damaged")
    if words.startswith("text that begins with") and ending in (".safetensors", ".onnx"):
        pytest.skip("one with such a name is damaged")
    path = tmp_path / f"model{ending}"
    path.write_bytes(data)

    with pytest.raises(BadInput) as error:
        read(path)

    assert words in error.value.message
    assert str(path) in error.value.message


def make_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


@pytest.mark.parametrize(
    ("make", "words", "hint"),
    [
        (lambda path: make_zip(path, "a.npy", "b.npy"), "numpy archive", ""),
        (lambda path: make_zip(path, "word/document.xml"), "it has word/document.xml", ""),
        (lambda path: make_zip(path, "run/model.pt"), "a zip without weights", "run/model.pt"),
        (make_zip, "nothing in it", ""),
        (Path.mkdir, "is a folder", ""),
        (lambda _: None, "is not there", ""),
        (os.mkfifo, "is a pipe", "save it to a file first"),
        (lambda path: path.symlink_to("nowhere"), "is not there", ""),
        (lambda path: path.symlink_to(path), "cannot be read", ""),
        (lambda path: path.symlink_to("/dev/zero"), "is a device", ""),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str, hint: str
) -> None:
    path = tmp_path / "model.pt"
    make(path)

    with pytest.raises(BadInput) as error:
        read(path)

    assert words in error.value.message
    assert hint in error.value.hint


def test_a_folder_names_the_file_to_take(tmp_path: Path) -> None:
    for name in ("config.json", "model-1.safetensors", "model.safetensors.index.json"):
        (tmp_path / name).write_text("{}")

    with pytest.raises(BadInput) as error:
        read(tmp_path)

    assert error.value.hint == f"name {tmp_path / 'model.safetensors.index.json'}"


def test_a_tar_of_something_else_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "code.py")

    with pytest.raises(BadInput, match=r"a tar without weights of PyTorch: it has code\.py"):
        read(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"x")
    path.chmod(0)

    with pytest.raises(BadInput, match="Permission denied"):
        read(path)
