"""Inputs from files: `@batch.pt`, `@batch.npz`, `@batch.npy`, `@image.png`.

Nothing in a file is run: torch's are read weights-only, numpy's without pickle.
"""

from __future__ import annotations

import importlib
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from torchkit.errors import BadInput

TORCH = (".pt", ".pth", ".bin")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

_FIX = "torch.save(tensor, 'batch.pt'), or a tuple or dict of tensors"


def read_input(
    path: Path, *, keyword: str | None, channels: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a file gives to forward, by position and by keyword, on the CPU.

    A dict is keywords, a tuple or list positions; with a `keyword`, the whole of it is that
    argument. Pictures are float32 [1, channels, height, width] from 0 to 1. Raises BadInput.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise BadInput(f"the input file {path} {what}", hint="--input @path/to/batch.pt")
    kind = path.suffix.lower()
    if kind in TORCH:
        value = _read_torch(path)
    elif kind in (".npy", ".npz"):
        value = _read_numpy(path)
    elif kind in PICTURES:
        value = _read_picture(path, channels)
    else:
        known = ", ".join((*TORCH, ".npy", ".npz", *PICTURES[:3]))
        raise BadInput(f"{path} has an unknown ending; known are {known}", hint=_FIX)
    _refuse_weights(path, value)
    if keyword is not None:
        return (), {keyword: value}
    return _arguments(path, value)


def _arguments(path: Path, value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(value, torch.Tensor):
        return (value,), {}
    if isinstance(value, (tuple, list)) and value:
        return tuple(value), {}
    if isinstance(value, dict) and value:
        bad = next(
            (key for key in value if not isinstance(key, str) or not key.isidentifier()), None
        )
        if bad is not None:
            raise BadInput(
                f"{path} holds a dict whose key {bad!r} can be no argument of forward",
                hint=f"give the dict to one argument: --input NAME=@{path}",
            )
        return (), dict(value)
    raise BadInput(f"{path} holds {_kind(value)}, no tensor", hint=_FIX)


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)):
        return f"an empty {type(value).__name__}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _refuse_weights(path: Path, value: Any) -> None:
    """A model's weights are no input, and easily mistaken for one."""
    if (
        isinstance(value, dict)
        and len(value) > 1
        and all(
            isinstance(key, str)
            and key.endswith(
                (".weight", ".bias", "running_mean", "running_var", "num_batches_tracked")
            )
            for key in value
        )
    ):
        raise BadInput(
            f"{path} holds the weights of a model, {len(value)} tensors, and no input",
            hint=f"torchkit summary {path} shows them",
        )


# --- torch


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old torch warns of its own storage classes
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _is_scripted(path):
            raise _is_a_model(path) from None
        text = str(error)
        if "GLOBAL" not in text and "global" not in text:
            raise BadInput(f"{path} is damaged, or no file of torch.save", hint=_FIX) from None
        raise BadInput(
            f"{path} holds other Python objects than tensors, and is not unpickled for safety",
            hint=_FIX,
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        if _is_scripted(path):
            raise _is_a_model(path) from None
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{path} cannot be read: {text}", hint=_FIX) from None


def _is_scripted(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _is_a_model(path: Path) -> BadInput:
    return BadInput(
        f"{path} holds a TorchScript model, no input", hint=f"torchkit summary {path} shows it"
    )


# --- numpy


def _read_numpy(path: Path) -> Any:
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError:
        raise BadInput(f"reading {path} needs numpy", hint="pip install numpy") from None
    try:
        loaded = numpy.load(path, allow_pickle=False)
        if isinstance(loaded, numpy.ndarray):
            return _from_array(numpy, loaded, path)
        with loaded:
            arrays = {key: _from_array(numpy, loaded[key], path) for key in loaded.files}
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, TypeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"{path} cannot be read: {text}", hint="np.savez('batch.npz', x=x)"
        ) from None
    if arrays and all(key.startswith("arr_") for key in arrays):  # numpy.savez(file, a, b)
        return tuple(arrays.values())
    return arrays


def _from_array(numpy: Any, array: Any, path: Path) -> torch.Tensor:
    """Raises BadInput for text and objects, which no tensor can hold."""
    if array.dtype.kind not in "biufc":
        raise BadInput(
            f"{path} holds an array of {array.dtype}, which no tensor can be",
            hint="save numbers: array.astype('float32')",
        )
    native = numpy.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    tensor: torch.Tensor = torch.from_numpy(native)
    return tensor


# --- pictures


def _read_picture(path: Path, channels: int) -> torch.Tensor:
    try:
        image_module: Any = importlib.import_module("PIL.Image")
        operations: Any = importlib.import_module("PIL.ImageOps")
    except ImportError:
        raise BadInput(f"reading {path} needs Pillow", hint="pip install pillow") from None
    too_large = image_module.DecompressionBombError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large picture is the user's own
            with image_module.open(path) as opened:
                picture = operations.exif_transpose(opened)
                return _pixels(picture, channels)
    except (OSError, ValueError, SyntaxError, too_large) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{path} cannot be read: {text}", hint="--input @image.png") from None


def _pixels(picture: Any, channels: int) -> torch.Tensor:
    """float32 [1, channels, height, width] from 0 to 1."""
    width, height = picture.size
    if picture.mode.startswith("I"):  # 16 bits of grey; converting would cut them off
        data = bytearray(picture.convert("I").tobytes())
        grey = torch.frombuffer(data, dtype=torch.int32).view(1, 1, height, width)
        return (grey / 65535).float().repeat(1, channels, 1, 1)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
    if mode is None:
        raise BadInput(
            f"a picture has 1, 3 or 4 channels, the model takes {channels}",
            hint="save what the model takes as a tensor: --input @batch.pt",
        )
    data = bytearray(picture.convert(mode).tobytes())
    pixels = torch.frombuffer(data, dtype=torch.uint8).view(height, width, channels)
    return (pixels.permute(2, 0, 1).float() / 255).unsqueeze(0).contiguous()
