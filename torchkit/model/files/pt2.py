"""`.pt2` of torch.export.save: a zip of a graph in JSON and weights, in three layouts.

torch 2.8 and newer: data/weights/NAME_weights_config.json beside one raw member per weight, pickled
ones by exception; before: data/weights/NAME.pt, a `.pt` in the zip; 2.1 to 2.6:
serialized_state_dict.pt and its like at the top. `torch.export.load` falls back to a full
unpickling of the pickled ones, so that these are judged as a `.pt` is.
"""

from __future__ import annotations

import math
from typing import Any

from torchkit.model.files import Contents
from torchkit.model.files.assembly import contents_of
from torchkit.model.files.dtypes import EXPORTED, bytes_of
from torchkit.model.files.json_texts import parsed
from torchkit.model.files.pickles import Pickle, read_pickle
from torchkit.model.files.source import DamagedError
from torchkit.model.files.structure import Located, structure_of
from torchkit.model.files.tensors import MAX_DIMENSIONS, MAX_ELEMENTS, Storage, Tensor, span_of
from torchkit.model.files.torch_zip import available_in, root_of, small_text
from torchkit.model.files.zips import Zip, read_zip

MAX_JSON_BYTES = 32 * 1024**2

_NOTHING = Pickle(None, (), frozenset(), 0)


class _Gathered:
    """What several members of the zip say together."""

    def __init__(self) -> None:
        self.located: list[Located] = []
        self.pickles: list[Pickle] = []
        self.damage: list[str] = []
        self.wrong: dict[Storage, str] = {}


def read(archive: Zip) -> Contents:
    """The contents of the layout with archive_format."""
    root = _root(archive)
    found = _Gathered()
    metadata = _versions(archive, root)
    for name in archive.members:
        inside = name.removeprefix(root)
        group = {"weights": "", "constants": "constants"}.get(_folder(inside, "data"))
        if inside.startswith("data/sample_inputs/") and inside.endswith(".pt"):
            _pickled(archive, name, None, found)
        elif group is not None and inside.endswith("_config.json"):
            _configured(archive, name, group, found)
        elif group is not None and inside.endswith(".pt"):
            _pickled(archive, name, group, found)
        elif inside.startswith("models/") and inside.endswith(".json"):
            metadata |= _graph(archive, name, found)
    return _contents(found, metadata)


def read_older(archive: Zip) -> Contents:
    """The contents of the layout of torch 2.1 to 2.6."""
    found = _Gathered()
    metadata = _graph(archive, "serialized_exported_program.json", found)
    version = small_text(archive, "version")
    if version:
        metadata["format version"] = version
    groups = {"serialized_state_dict.pt": "", "serialized_constants.pt": "constants"}
    for name in archive.members:
        if name.startswith("serialized_") and name.endswith(".pt"):
            _pickled(archive, name, groups.get(name), found)
    return _contents(found, metadata)


def _contents(found: _Gathered, metadata: dict[str, str]) -> Contents:
    contents = contents_of(
        _NOTHING,
        format="pt2",
        available=lambda storage: found.wrong.get(storage, ""),
        metadata=metadata,
        damage=found.damage,
        more=found.pickles,
        more_tensors=found.located,
    )
    entries = tuple(
        entry._replace(group="constants", name=entry.name.removeprefix("constants."))
        if entry.name.startswith("constants.")
        else entry
        for entry in contents.entries
    )
    return contents._replace(entries=entries)


def _root(archive: Zip) -> str:
    for name in archive.members:
        top, _, inside = name.partition("/")
        if inside == "archive_format" or inside.startswith(("models/", "data/")):
            return f"{top}/"
    return ""


def _folder(inside: str, above: str) -> str:
    """`weights` of data/weights/weight_0."""
    parts = inside.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == above else ""


def _versions(archive: Zip, root: str) -> dict[str, str]:
    told = {}
    version = small_text(archive, f"{root}archive_version")
    if version:
        told["format version"] = version
    order = small_text(archive, f"{root}byteorder")
    if order and order != "little":
        told["byte order"] = order
    return told


# --- weights in members of their own


def _configured(archive: Zip, name: str, group: str, found: _Gathered) -> None:
    """The weights that a config names, each with its shape and the member that has its data."""
    config = _json(archive, name, found)
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        if config is not None:
            found.damage.append(f"{name} has no list of weights")
        return
    folder = name.rpartition("/")[0]
    for key, entry in entries.items():
        try:
            path = f"{folder}/{entry['path_name']}"
            meta = entry.get("tensor_meta")
            if entry.get("use_pickle") or meta is None:
                _pickled(archive, path, group, found, key)
                continue
            found.located.append(
                Located(_path(group, key), _configured_tensor(archive, path, meta, found))
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            found.damage.append(f"{name} describes {key[:100]} in a way that cannot be")


def _path(group: str, key: str) -> tuple[str, ...]:
    return (group, key) if group else (key,)


def _configured_tensor(archive: Zip, path: str, meta: dict[str, Any], found: _Gathered) -> Tensor:
    shape = tuple(_size(it) for it in meta["sizes"])
    strides = tuple(_size(it) for it in meta["strides"])
    offset = _size(meta["storage_offset"])
    dtype = EXPORTED[meta["dtype"]]
    elements = math.prod(shape)
    if len(shape) > MAX_DIMENSIONS or len(strides) != len(shape) or elements > MAX_ELEMENTS:
        raise ValueError
    member = archive.members.get(path)
    held = member.size if member is not None else 0
    span = span_of(shape, strides)
    reach = bytes_of(offset + span, dtype) if elements else 0
    storage = Storage(path, dtype, held)
    if member is None:
        found.wrong[storage] = "are missing in the file"
    elif reach > held:
        found.wrong[storage] = "are longer than their data"
    else:
        try:
            archive.data_place(member)
        except DamagedError:
            found.wrong[storage] = "lie where there is no data"
    data = (path, offset, shape, strides)
    taken = bytes_of(elements, dtype)
    return Tensor(shape, dtype, taken, (storage,), min(reach, held), data, bytes_of(span, dtype))


def _size(value: Any) -> int:
    """`{"as_int": 4}`; a size that is an expression has no number. Raises ValueError."""
    number = value["as_int"]
    if type(number) is not int or not 0 <= number < MAX_ELEMENTS:
        raise ValueError
    return number


# --- weights in a .pt inside


def _pickled(archive: Zip, name: str, group: str | None, found: _Gathered, key: str = "") -> None:
    """What a `.pt` in the zip holds; with `group` None only what unpickling it would import."""
    if name not in archive.members:
        found.damage.append(f"{name} is missing in the zip")
        return
    try:
        source = archive.opened(name)
        if not source.size:
            return
        if source.read(0, 4) != b"PK\3\4":
            found.pickles.append(read_pickle(source))
            return
        inner = read_zip(source)
        root = root_of(inner)
        pickle = read_pickle(inner.opened(f"{root}data.pkl"))
    except DamagedError as error:
        found.damage.append(f"{name}: {error}")
        return
    found.pickles.append(pickle)
    if pickle.damage:
        found.damage.append(f"{name}: {pickle.damage}")
    if group is None:
        return
    available = available_in(inner, f"{root}data/")
    for path, tensor, *_ in structure_of(pickle.root, {}).tensors:
        storages = tuple(it._replace(key=f"{name}/{it.key}") for it in tensor.storages)
        for before, after in zip(tensor.storages, storages, strict=True):
            found.wrong[after] = available(before)
        full = (*_path(group, key), *path) if key else ((group, *path) if group else path)
        found.located.append(
            Located(full, tensor._replace(storages=storages, data=(name, tensor.data)))
        )


# --- the graph


def _graph(archive: Zip, name: str, found: _Gathered) -> dict[str, str]:
    """Inputs, outputs, operators and versions of the exported program."""
    program = _json(archive, name, found)
    if not isinstance(program, dict):
        return {}
    told: dict[str, str] = {}
    graph = _inside(program, "graph_module", "graph")
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    if isinstance(nodes, list):
        told["operations"] = f"{len(nodes):,}"
    specs = _inside(program, "graph_module", "signature", "input_specs")
    inputs = [_inside(it, "user_input", "arg", "as_tensor", "name") for it in specs or () if it]
    named = [it for it in inputs if isinstance(it, str)]
    values = _inside(graph, "tensor_values")
    if named:
        told["inputs"] = ", ".join(_described(it, values) for it in named[:20])
    version = program.get("torch_version")
    if isinstance(version, str) and version:
        told["torch"] = version[:60]
    schema = program.get("schema_version")
    if isinstance(schema, dict):
        told["schema version"] = f"{schema.get('major')}.{schema.get('minor')}"
    opset = _inside(program, "opset_version", "aten")
    if isinstance(opset, int):
        told["aten opset"] = str(opset)
    return told


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _described(name: str, values: Any) -> str:
    """`x [2, 1, 8, 8] float32`; a size that may vary by its symbol."""
    meta = values.get(name) if isinstance(values, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get("sizes"), list):
        return name
    sizes = [
        str(_inside(it, "as_int") if _inside(it, "as_int") is not None
            else _inside(it, "as_expr", "expr_str") or "?")[:20]
        for it in meta["sizes"]
    ]  # fmt: skip
    dtype = meta.get("dtype")
    return (
        f"{name} [{', '.join(sizes)}] {EXPORTED.get(dtype, '') if isinstance(dtype, int) else ''}"
    )


def _json(archive: Zip, name: str, found: _Gathered) -> Any:
    """A member of JSON; None where it cannot be read, which is damage."""
    try:
        return parsed(archive.content(name, MAX_JSON_BYTES))
    except DamagedError as error:
        found.damage.append(str(error))
    except ValueError:
        found.damage.append(f"{name} is no JSON")
    return None
