"""Weights files of many kinds, made by torch itself, and what torch's own loader says of them."""

from __future__ import annotations

import argparse
import io
import math
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """A convolution, a norm, two layers with one weight, a buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 2)
        self.tied = nn.Linear(4, 2)
        self.tied.weight = self.head.weight
        self.register_buffer("scale", torch.ones(3, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        x = self.norm(self.conv(x)).mean((2, 3)) * self.scale[0].float()
        for block in self.blocks:
            x = block(x)
        return self.tied(x) + self.head(x)


def net() -> Any:
    torch.manual_seed(0)
    return Net().eval()


def _trained(kind: str) -> tuple[Any, Any]:
    model = net()
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.1, momentum=0.9) if kind in (
        "SGD", "RMSprop",
    ) else getattr(torch.optim, kind)(model.parameters(), lr=0.1)  # fmt: skip
    model(torch.rand(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    return model, optimizer


def checkpoint(kind: str = "Adam") -> dict[str, Any]:
    model, optimizer = _trained(kind)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    return {
        "epoch": 12,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "args": argparse.Namespace(lr=0.1),
        "best": 0.5,
        "note": "a run",
    }


def many_dtypes() -> dict[str, Any]:
    names = [
        "float64", "float32", "float16", "bfloat16", "complex128", "complex64", "int64", "int32",
        "int16", "int8", "uint8", "bool", "uint16", "uint32", "uint64", "float8_e4m3fn",
        "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    ]  # fmt: skip
    return {
        name: torch.zeros(3, 2).to(getattr(torch, name)) for name in names if hasattr(torch, name)
    }


def views() -> dict[str, Any]:
    base = torch.arange(24.0)
    return {
        "whole": base,
        "part": base[4:10],
        "turned": base.view(4, 6).t(),
        "strided": base[::3],
        "again": base,
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 5),
        "expanded": torch.zeros(1).expand(1000),
    }


def subclasses() -> dict[str, Any]:
    with warnings.catch_warnings():  # CSR is in beta
        warnings.simplefilter("ignore")
        csr = torch.eye(4).to_sparse_csr()
    return {
        "parameter": nn.Parameter(torch.zeros(2, 3), requires_grad=False),
        "sparse": torch.eye(4).to_sparse(),
        "csr": csr,
        "conj": torch.zeros(2, dtype=torch.complex64).conj(),
        "meta": torch.zeros(5, 5, device="meta"),
    }


def quantized() -> dict[str, Any]:
    with warnings.catch_warnings():  # they are to go one day
        warnings.simplefilter("ignore")
        return {
            "tensor": torch.quantize_per_tensor(torch.rand(2, 3), 0.1, 0, torch.qint8),
            "channel": torch.quantize_per_channel(
                torch.rand(2, 3), torch.ones(2), torch.zeros(2), 0, torch.quint8
            ),
        }


def _saved(make: Callable[[], Any], **options: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(make(), path, **options)


def _pickled(make: Callable[[], Any], protocol: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps(make(), protocol=protocol)) and None


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net()), str(path))


def traced(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net(), torch.rand(2, 1, 8, 8)), str(path))


def exported(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = torch.export.Dim("batch", min=2, max=64)
        program = torch.export.export(
            net(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=({0: batch},)
        )
        torch.export.save(program, str(path))


def _deep() -> Any:
    return {"a": {"b": [torch.zeros(1), {"c": (torch.zeros(2), torch.zeros(3))}]}, "n": None}


MAKERS: dict[str, Callable[[Path], None]] = {
    "state_dict.pt": _saved(lambda: net().state_dict()),
    "state_dict_protocol4.pt": _saved(lambda: net().state_dict(), pickle_protocol=4),
    "checkpoint_adam.pt": _saved(checkpoint),
    "checkpoint_sgd.ckpt": _saved(lambda: checkpoint("SGD")),
    "checkpoint_rmsprop.pth": _saved(lambda: checkpoint("RMSprop")),
    "whole_model.pt": _saved(net),
    "model_in_checkpoint.pt": _saved(lambda: {"model": net(), "epoch": 3}),
    "half.pt": _saved(lambda: net().half().state_dict()),
    "dtypes.pt": _saved(many_dtypes),
    "views.pt": _saved(views),
    "quantized.pt": _saved(quantized),
    "subclasses.pt": _saved(subclasses),
    "deep.pt": _saved(_deep),
    "list.pt": _saved(lambda: [torch.zeros(2), torch.zeros(3, 1)]),
    "tensor.pt": _saved(lambda: torch.zeros(7, 8)),
    "lstm.pt": _saved(lambda: nn.LSTM(3, 5, 2).state_dict()),
    "parallel.pt": _saved(lambda: nn.DataParallel(net()).state_dict()),
    "whole_transformer.pt": _saved(
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    ),
    "legacy_state_dict.pt": _saved(
        lambda: net().state_dict(), _use_new_zipfile_serialization=False
    ),
    "legacy_checkpoint.pt": _saved(checkpoint, _use_new_zipfile_serialization=False),
    "legacy_views.pt": _saved(views, _use_new_zipfile_serialization=False),
    "legacy_model.pt": _saved(net, _use_new_zipfile_serialization=False),
    "plain_pickle2.pkl": _pickled(lambda: dict(net().state_dict()), 2),
    "plain_pickle4.pkl": _pickled(lambda: dict(net().state_dict()), 4),
}
"""Files that torch.load or pickle.load opens."""


def as_torch_loads_it(path: Path) -> Any:
    if path.suffix == ".pkl":
        return pickle.loads(path.read_bytes())  # noqa: S301 - made by the test itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, weights_only=False)


Row = tuple[str, tuple[int, ...], str, int]


def rows_of(value: Any, path: tuple[str, ...] = ()) -> list[Row]:
    """Name, shape, dtype and bytes of every tensor in what torch loaded, in order."""
    if isinstance(value, torch.Tensor):
        return [(".".join(path), tuple(value.shape), str(value.dtype)[6:], _bytes(value))]
    if isinstance(value, nn.Module):
        return [
            row for name, it in value.state_dict(keep_vars=True).items()
            for row in rows_of(it, (*path, name))
        ]  # fmt: skip
    if isinstance(value, dict | OrderedDict):
        return [row for key, it in value.items() for row in rows_of(it, (*path, str(key)))]
    if isinstance(value, list | tuple):
        return [row for key, it in enumerate(value) for row in rows_of(it, (*path, str(key)))]
    return []


def _bytes(tensor: Any) -> int:
    if tensor.is_meta:
        return 0
    if tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout is torch.sparse_csr:
        parts = [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    else:
        parts = [tensor]
    return sum(math.prod(part.shape) * part.element_size() for part in parts)


def unique_parameters(value: Any) -> int:
    """Places in memory that the tensors of a loaded model or state dict use, each once."""
    used: set[tuple[int, int]] = set()
    for it in value.values():
        storage = it.untyped_storage()
        places = torch.arange(storage.nbytes() // it.element_size())
        own = places.as_strided(it.shape, it.stride(), it.storage_offset()).flatten()
        used.update((storage.data_ptr(), place) for place in own.tolist())
    return len(used)


def saved_bytes(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()
