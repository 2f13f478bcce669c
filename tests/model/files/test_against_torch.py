"""Truth: what torch.load, torch.jit.load and torch.export.load give for files that torch wrote."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch_files  # noqa: E402 - needs torch

from torchkit.model.files import Contents, read  # noqa: E402 - same

pytestmark = pytest.mark.torch


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def made(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        torch_files.MAKERS[name](path)
    return path


def rows(contents: Contents) -> list[torch_files.Row]:
    return [(it.full_name, it.shape, it.dtype, it.bytes) for it in contents.entries]


@pytest.mark.parametrize("name", torch_files.MAKERS)
def test_a_file_has_the_tensors_that_torch_loads(folder: Path, name: str) -> None:
    path = made(folder, name)

    contents = read(path)

    expected = torch_files.rows_of(torch_files.as_torch_loads_it(path))
    assert expected
    assert rows(contents) == expected
    assert contents.damage == ""


@pytest.mark.parametrize("name", ["state_dict.pt", "legacy_state_dict.pt", "views.pt"])
def test_shared_data_is_counted_once(folder: Path, name: str) -> None:
    path = made(folder, name)

    contents = read(path)

    loaded = torch_files.as_torch_loads_it(path)
    storages = {
        it.untyped_storage().data_ptr(): it.untyped_storage().nbytes() for it in loaded.values()
    }
    assert contents.parameters == torch_files.unique_parameters(loaded)
    assert contents.total_bytes == sum(storages.values())


def test_a_tied_weight_says_whose_it_is(folder: Path) -> None:
    contents = read(made(folder, "state_dict.pt"))

    shared = {it.name: it.shared_with for it in contents.entries if it.shared_with}
    assert shared == {"tied.weight": "head.weight"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("checkpoint_adam.pt", "optimizer: Adam state of {} tensors"),
        ("checkpoint_sgd.ckpt", "optimizer: SGD state of {} tensors"),
        ("checkpoint_rmsprop.pth", "optimizer: RMSprop state of {} tensors"),
    ],
)
def test_a_checkpoint_tells_its_other_parts(folder: Path, name: str, told: str) -> None:
    path = made(folder, name)

    contents = read(path)

    loaded = torch_files.as_torch_loads_it(path)
    states = loaded["optimizer"]["state"].values()
    count = sum(isinstance(it, torch.Tensor) for state in states for it in state.values())
    assert contents.format == "checkpoint"
    assert told.format(count) in contents.others
    assert {"epoch: 12", "best: 0.5", "note: a run", "args: argparse.Namespace"} <= set(
        contents.others
    )
    assert contents.parameters == torch_files.unique_parameters(loaded["model"])


def test_the_optimizers_of_lightning_are_no_part_of_the_model(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    state = {f"net.{name}": value for name, value in model.state_dict().items()}
    path = tmp_path / "last.ckpt"
    torch.save(
        {"state_dict": state, "optimizer_states": [optimizer.state_dict()], "loops": {"a": {}}},
        path,
    )

    contents = read(path)

    assert contents.parameters == sum(it.numel() for it in state.values())
    assert "optimizer_states: Adam state of 12 tensors" in contents.others
    assert {(it.group, it.subscripts) for it in contents.entries} == {
        ("state_dict", ("state_dict",)),
        ("optimizer_states.0", ("optimizer_states", 0)),
    }


@pytest.mark.parametrize(
    ("name", "format", "code"),
    [
        ("state_dict.pt", "state dict", ()),
        ("legacy_state_dict.pt", "state dict", ()),
        ("whole_model.pt", "pickled model", ("torch_files.Net",)),
        ("legacy_model.pt", "pickled model", ("torch_files.Net",)),
        ("model_in_checkpoint.pt", "checkpoint", ("torch_files.Net",)),
        ("whole_transformer.pt", "pickled model", ()),
        ("list.pt", "tensors", ()),
        ("tensor.pt", "tensors", ()),
    ],
)
def test_a_file_says_what_it_is_and_whose_code_it_needs(
    folder: Path, name: str, format: str, code: tuple[str, ...]
) -> None:
    contents = read(made(folder, name))

    assert (contents.format, contents.code, contents.dangerous) == (format, code, ())


def test_globals_are_those_that_torch_finds_itself(folder: Path) -> None:
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        pytest.skip("torch before 2.6 has no such function")
    path = made(folder, "whole_model.pt")

    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)

    assert set(unsafe) <= set(read(path).globals)


@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript_has_the_tensors_that_torch_jit_loads(tmp_path: Path, way: str) -> None:
    path = tmp_path / "net.pt"
    {"script": torch_files.scripted, "trace": torch_files.traced}[way](path)

    contents = read(path)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(str(path))
    expected = torch_files.rows_of(dict(loaded.state_dict()))
    found = [row for row in rows(contents) if not row[0].startswith("constants.")]
    assert sorted(found) == sorted(expected)
    assert contents.format == "TorchScript"
    assert (contents.damage, contents.dangerous, contents.code) == ("", (), ())


@pytest.fixture(scope="session")
def exported(folder: Path) -> tuple[Path, Any]:
    path = folder / "net.pt2"
    torch_files.exported(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return path, torch.export.load(str(path))


def test_an_exported_program_has_the_tensors_that_torch_export_loads(
    exported: tuple[Path, Any],
) -> None:
    path, program = exported

    contents = read(path)

    assert sorted(rows(contents)) == sorted(torch_files.rows_of(dict(program.state_dict)))
    assert contents.format == "pt2"
    assert contents.damage == ""
    assert "[" in contents.metadata["inputs"]
    assert contents.parameters == torch_files.unique_parameters(torch_files.net().state_dict())


def test_numpy_arrays_in_a_pickle_are_told_as_numpy_has_them(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    arrays = {
        "f": numpy.zeros((3, 4), "f4"),
        "i": numpy.arange(5),
        "b": numpy.zeros((), bool),
        "big": numpy.zeros((100, 200)),
    }
    path = tmp_path / "arrays.pt"
    torch.save({"arrays": arrays, "args": argparse.Namespace()}, path)

    contents = read(path)

    assert rows(contents) == [
        (f"arrays.{name}", it.shape, str(it.dtype), it.nbytes) for name, it in arrays.items()
    ]
    assert contents.dangerous == ()


class _Key:
    """Stands for a tensor in the pickle of an old tar."""

    def __init__(self, number: int) -> None:
        self.number = number


class _OldPickler(pickle.Pickler):
    def persistent_id(self, value: object) -> int | None:
        return value.number if isinstance(value, _Key) else None


def test_a_tar_of_torch_0_1_has_the_tensors_that_torch_loads(tmp_path: Path) -> None:
    """Written as torch 0.1 did: torch itself still reads such files."""

    def pickled(value: object) -> bytes:
        return pickle.dumps(value, protocol=2)

    root = io.BytesIO()
    _OldPickler(root, protocol=2).dump({"w": _Key(11), "b": _Key(12)})
    storages = pickled(1) + pickled((7, "cpu", torch.FloatStorage))
    storages += struct.pack("<q10f", 10, *range(10)) + pickled([])
    tensors = pickled(2)
    for key, shape, stride, offset in ((11, (2, 3), (3, 1), 0), (12, (4,), (1,), 6)):
        tensors += pickled((key, 7, torch.FloatTensor))
        numbers = (*shape, *stride, offset)
        tensors += struct.pack(f"<ii{len(numbers)}q", len(shape), 0, *numbers)
    path = tmp_path / "old.pt"
    with tarfile.open(path, "w") as archive:
        parts = {"storages": storages, "tensors": tensors, "pickle": root.getvalue()}
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

    contents = read(path)

    assert rows(contents) == torch_files.rows_of(torch_files.as_torch_loads_it(path))
    assert (contents.damage, contents.parameters) == ("", 10)


def test_an_exported_program_of_the_older_layout_has_its_tensors(tmp_path: Path) -> None:
    """Its members, as torch 2.1 to 2.6 named them: each is a file of torch.save."""
    path = tmp_path / "net.pt2"
    state = {"a": torch.zeros(3, 4), "b": torch.zeros(2, dtype=torch.int8)}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_exported_program.json", '{"graph_module": {}}')
        archive.writestr("serialized_state_dict.pt", torch_files.saved_bytes(state))
        archive.writestr("serialized_constants.pt", torch_files.saved_bytes({"c": torch.zeros(2)}))
        archive.writestr("serialized_example_inputs.pt", torch_files.saved_bytes(((), {})))

    contents = read(path)

    assert rows(contents) == torch_files.rows_of({**state, "constants": {"c": torch.zeros(2)}})
    assert (contents.format, contents.damage) == ("pt2", "")
