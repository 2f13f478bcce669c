"""Opens a file, tells its format by its first bytes, and hands it to that format's reader."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from torchkit.errors import BadInput
from torchkit.model.files import Contents
from torchkit.model.files.source import DamagedError, Source

PICKLE_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".th", ".tar", ".model")
WEIGHTS_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".gguf", ".onnx", ".pt2")


def read_file(path: Path) -> Contents:
    """As `torchkit.model.files.read` says."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _a_folder(path)
        if not stat.S_ISREG(mode):
            kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
            raise BadInput(f"{path} is {kind}, no file", hint="save it to a file first")
        with path.open("rb") as file:
            return _of_open_file(path, file)
    except FileNotFoundError:
        raise BadInput(f"{path} is not there", hint="check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"{path} cannot be read: {reason}") from None


def _of_open_file(path: Path, file: BinaryIO) -> Contents:
    source = Source(file)
    try:
        contents = _by_first_bytes(path, source)
    except DamagedError as error:
        contents = Contents(_expected_format(path, source.read(0, 8)), damage=str(error))
    except RecursionError:
        contents = Contents(
            _expected_format(path, source.read(0, 8)), damage="nested deeper than a weights file is"
        )
    return contents if contents.file_bytes else contents._replace(file_bytes=source.size)


def _by_first_bytes(path: Path, source: Source) -> Contents:
    head = source.read(0, 1024)
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return _of_zip(path, source)
    if head[:4] == b"GGUF":
        from torchkit.model.files import gguf

        return gguf.read(source)
    if (head[8:9] == b"{" and head[:1] != b"{") or path.suffix == ".safetensors":
        from torchkit.model.files import safetensors

        is_named_so = path.suffix == ".safetensors" and head.lstrip()[:1] != b"{"
        if safetensors.is_safetensors(head, source.size) or (is_named_so and not _what_else(head)):
            return safetensors.read(source)
    if head[:1] == b"\x80" and head[1:2] <= b"\5":
        from torchkit.model.files import legacy

        return legacy.read(source)
    if head[257:262] == b"ustar" and head[:1] != b"\x80":
        from torchkit.model.files import legacy

        return legacy.read_tar(path, source)
    if head.lstrip()[:1] == b"{":
        from torchkit.model.files import shards

        return shards.read(path, source)
    return _by_trying(path, source, head)


def _by_trying(path: Path, source: Source, head: bytes) -> Contents:
    """Formats without a mark of their own: ONNX, and pickles of the first protocols."""
    other = _what_else(head)
    if not other:
        from torchkit.model.files import onnx

        if path.suffix == ".onnx" or onnx.is_onnx(source):
            return onnx.read(path, source)
    if not other or path.suffix in PICKLE_ENDINGS:
        from torchkit.model.files import legacy
        from torchkit.model.files.pickles import read_pickle

        pickle = read_pickle(source)
        if pickle.globals or (pickle.is_whole and pickle.operations > 2):
            return legacy.read(source)
    raise _no_weights(path, head, other)


def _of_zip(path: Path, source: Source) -> Contents:
    from torchkit.model.files import torch_zip
    from torchkit.model.files.zips import NoListError, read_zip

    try:
        archive = read_zip(source)
    except NoListError as error:
        return torch_zip.read_cut_off(source, str(error))
    names = archive.members
    tails = {name.partition("/")[2] for name in names}
    if "archive_format" in tails or any(name.startswith("models/") for name in tails):
        from torchkit.model.files import pt2

        return pt2.read(archive)
    if "serialized_exported_program.json" in names or "serialized_state_dict.pt" in names:
        from torchkit.model.files import pt2

        return pt2.read_older(archive)
    if "constants.pkl" in tails and any(name.startswith("code/") for name in tails):
        from torchkit.model.files import torchscript

        return torchscript.read(archive)
    if "data.pkl" in tails:
        return torch_zip.read(archive)
    if "model.json" in tails and any(name.startswith("code/") for name in tails):
        raise BadInput(
            f"{path} is TorchScript of torch 1.3 or older",
            hint="load it with torch.jit.load and save it again",
        )
    raise _other_zip(path, names)


def _other_zip(path: Path, names: object) -> BadInput:
    listed = sorted(map(str, names)) if hasattr(names, "__iter__") else []
    if listed and all(name.endswith(".npy") for name in listed):
        return BadInput(f"{path} is a numpy archive (.npz), no weights file of PyTorch")
    inside = [name for name in listed if name.endswith(WEIGHTS_ENDINGS)]
    shown = ", ".join(listed[:3]) + (f" and {len(listed) - 3:,} more" if len(listed) > 3 else "")
    return BadInput(
        f"{path} is a zip without weights of PyTorch: it has {shown or 'nothing in it'}",
        hint=f"unzip it and name {inside[0]}" if inside else "name the weights file itself",
    )


def _a_folder(path: Path) -> BadInput:
    files = sorted(it.name for it in path.iterdir())
    index = [name for name in files if name.endswith(".index.json")]
    weights = [name for name in files if name.endswith(WEIGHTS_ENDINGS)]
    if ".metadata" in files and any(name.endswith(".distcp") for name in files):
        return BadInput(
            f"{path} is a folder with a distributed checkpoint",
            hint="python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            f"{path} checkpoint.pt",
        )
    best = next(iter([*index, *weights]), "")
    return BadInput(
        f"{path} is a folder, a file is needed",
        hint=f"name {path / best}" if best else "name a weights file",
    )


_BEGINNINGS = {
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "git lfs pull"),
    b"\x1f\x8b": ("compressed by gzip", "gunzip it, and name what comes out"),
    b"BZh": ("compressed by bzip2", "bunzip2 it, and name what comes out"),
    b"\xfd7zXZ": ("compressed by xz", "unxz it, and name what comes out"),
    b"(\xb5/\xfd": ("compressed by zstd", "unzstd it, and name what comes out"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it, and name what comes out"),
    b"\x89HDF": ("an HDF5 file, as Keras writes", ""),
    b"\x93NUMPY": ("a numpy array (.npy)", ""),
    b"\x7fELF": ("a compiled program or library", ""),
    b"MZ": ("a program of Windows", ""),
    b"%PDF": ("a PDF", ""),
    b"\x89PNG": ("a picture", ""),
    b"\xff\xd8\xff": ("a picture", ""),
    **dict.fromkeys(
        (b"lmgg", b"tjgg", b"fmgg", b"algg"),
        ("an old GGML file, from before GGUF", "convert it with llama.cpp's convert script"),
    ),
}


def _what_else(head: bytes) -> tuple[str, str] | None:
    """What a file is that has no weights, and what to do; None where that is not known."""
    if not head:
        return "an empty file", "download or save it again"
    for beginning, words in _BEGINNINGS.items():
        if head.startswith(beginning):
            return words
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "a web page: the server's answer was saved in place of the file",
            "download it again, signed in where the page asks for it",
        )
    if not head.strip(b"\0"):
        return "only zeros at its beginning: a download that did not finish", "download it again"
    return None


def _no_weights(path: Path, head: bytes, other: tuple[str, str] | None) -> BadInput:
    if other:
        return BadInput(f"{path} is no weights file: it is {other[0]}", hint=other[1])
    try:
        head[:-3].decode("utf-8")
    except UnicodeDecodeError:
        words = "its first bytes are of no format that is known here"
    else:
        words = f"it is text that begins with {head[:30].decode('utf-8', 'replace')!r}"
    return BadInput(
        f"{path} is no weights file: {words}",
        hint="known are .pt, .pth, .bin, .ckpt, TorchScript, .pt2, .safetensors, .gguf, .onnx",
    )


def _expected_format(path: Path, head: bytes) -> str:
    """What to call a file that could not be read."""
    by_ending = {".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx", ".pt2": "pt2"}
    if head[:4] == b"GGUF":
        return "gguf"
    return by_ending.get(path.suffix, "checkpoint")
