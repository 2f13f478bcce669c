"""`.pt` of torch before 1.6: pickles and storages one after the other; or a tar. And plain pickles."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchkit.errors import BadInput
from torchkit.model.files import Contents
from torchkit.model.files.assembly import contents_of
from torchkit.model.files.described import Global, Long, Made
from torchkit.model.files.dtypes import bytes_of, dtype_of_storage
from torchkit.model.files.pickles import Pickle, read_pickle
from torchkit.model.files.source import DamagedError, Source
from torchkit.model.files.structure import structure_of
from torchkit.model.files.tensors import Storage, as_storage

MAGIC = 0x1950A86A20F9469CFC6C
"""torch.serialization.MAGIC_NUMBER, the first pickle of such a file."""

MAX_PACKED = 20_000
MAX_NESTED = 3

_COUNT = struct.Struct("<q")


def read(source: Source) -> Contents:
    """The contents of a file that begins with a pickle."""
    first = read_pickle(source)
    if first.root != MAGIC or type(first.root) is not int:
        return contents_of(first, more=unpack(first, source))
    heads = [first]
    for _ in range(2):
        heads.append(read_pickle(source, heads[-1].end))
    main = read_pickle(source, heads[-1].end)
    more: list[Pickle] = [*heads, *unpack(main, source)]
    metadata = {"format": "of torch before 1.6"}
    if not main.is_whole:
        return contents_of(main, more=more, metadata=metadata)
    keys = read_pickle(source, main.end)
    more.append(keys)
    if not keys.is_whole or not isinstance(keys.root, list):
        damage = ["cut off: the list of its storages is missing"]
        return contents_of(main, more=more, metadata=metadata, damage=damage)
    whole, damage = _whole_storages(source, main, keys)

    def available(storage: Storage) -> str:
        return "" if storage.key in whole else "lie beyond the end of the file"

    return contents_of(main, available=available, more=more, metadata=metadata, damage=damage)


def _whole_storages(source: Source, main: Pickle, keys: Pickle) -> tuple[set[str], list[str]]:
    """Keys of the storages that are all there; each is a count of elements, then the data."""
    described = {
        storage.key: storage
        for it in structure_of(main.root, {}).tensors
        for storage in it.tensor.storages
    }
    whole: set[str] = set()
    at = keys.end
    for key in keys.root:
        storage = described.get(str(key) if isinstance(key, str | int) else "")
        if at + _COUNT.size > source.size:
            break
        (elements,) = source.numbers(_COUNT, at)
        if storage is None:
            return set(described), []  # a storage of no tensor: its element's size is not known
        if bytes_of(elements, storage.dtype) != storage.bytes:
            return whole, [f"storage {storage.key} has another length than its tensor says"]
        at += _COUNT.size + storage.bytes
        if at <= source.size:
            whole.add(storage.key)
    return whole, []


# --- pickles inside a pickle


def unpack(pickle: Pickle, source: Source, depth: int = 0) -> list[Pickle]:
    """The pickles inside this one: each call that opens one is given the storage it would get.

    `torch.storage._load_from_bytes(b"…")` is how a storage looks in a file of plain `pickle.dump`.
    It calls torch.load, and that is told of one that cannot be followed.
    """
    found: list[Pickle] = []
    if pickle.packed and (depth >= MAX_NESTED or len(pickle.packed) > MAX_PACKED):
        return [_CLOSED]
    for made in pickle.packed:
        inside = _packed(made.args[0] if made.args else None, source)
        pickles = [] if inside is None else _sequence(inside)
        if inside is None or not pickles or not all(it.is_whole for it in pickles):
            found += [*pickles, _CLOSED]
            continue
        found += pickles
        for it in pickles:
            found += unpack(it, inside, depth + 1)
        for it in pickles[3:4]:
            made.state = _storage(it.root, f"{len(found)}@{depth}")
    return found


_CLOSED = Pickle(None, ("torch.load",), frozenset({"torch.load"}), 0)
"""Stands for a pickle in a pickle that could not be looked into."""

_HEAD_BYTES = 1 << 20


def _packed(content: Any, source: Source) -> Source | None:
    """The bytes that are opened, where they are known."""
    if isinstance(content, Long):
        return source.window(content.at, content.size)
    if isinstance(content, bytes):
        return Source(io.BytesIO(content))
    if isinstance(content, Made) and content.name == "_codecs.encode" and content.args:
        text = content.args[0]  # bytes in protocols 0 to 2: a text, of which the beginning will do
        if isinstance(text, Long):
            head = source.read(text.at, min(text.size, _HEAD_BYTES)).decode("utf-8", "ignore")
            return Source(io.BytesIO(head.encode("latin-1", "replace")))
    return None


def _sequence(source: Source) -> list[Pickle]:
    """The four pickles that a file of torch before 1.6 begins with, as far as they are there."""
    if source.read(0, 4) == b"PK\3\4":
        return _zipped(source)
    found: list[Pickle] = []
    at = 0
    while len(found) < 4 and at < source.size:
        found.append(read_pickle(source, at))
        at = found[-1].end
        if not found[-1].is_whole or (len(found) == 1 and found[0].root != MAGIC):
            break
    return found


def _zipped(source: Source) -> list[Pickle]:
    from torchkit.model.files.zips import read_zip

    try:
        archive = read_zip(source)
        return [
            read_pickle(archive.opened(name))
            for name in archive.members
            if name.endswith("/data.pkl")
        ]
    except DamagedError:
        return []


def _storage(root: Any, key: str) -> Storage | None:
    try:
        storage = as_storage(root)
    except DamagedError:
        return None
    return None if storage is None else storage._replace(key=key)


# --- the tar of torch 0.1


def read_tar(path: Path, source: Source) -> Contents:
    """The contents of a tar with members storages, tensors and pickle. Raises BadInput."""
    import tarfile

    places: dict[str, Source] = {}
    try:
        with tarfile.open(fileobj=_reader(source), mode="r:") as tar:
            for number, member in enumerate(tar):
                if member.isfile():
                    places[member.name] = source.window(member.offset_data, member.size)
                if number > 100:
                    break
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        raise DamagedError("the list of the tar is damaged") from None
    if not {"storages", "tensors", "pickle"} <= set(places):
        shown = ", ".join(list(places)[:3])
        raise BadInput(
            f"{path} is a tar without weights of PyTorch: it has {shown or 'nothing in it'}",
            hint="unpack it, and name the weights file",
        )
    storages, opened = _tar_storages(places["storages"])
    main = read_pickle(places["pickle"])
    metadata = {"format": "of torch 0.1, a tar"}
    tensors, others = _tar_tensors(places["tensors"], storages)
    _fill_in(main.root, tensors)
    return contents_of(main, named=storages, metadata=metadata, more=[*opened, *others])


def _reader(source: Source) -> io.BufferedReader:
    return io.BufferedReader(_Raw(source))


class _Raw(io.RawIOBase):
    """A source as a file, for the library of tars."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._source.size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _tar_storages(source: Source) -> tuple[dict[str, Storage], list[Pickle]]:
    count = read_pickle(source)
    opened, at = [count], count.end
    found: dict[str, Storage] = {}
    for _ in range(count.root if type(count.root) is int else 0):
        one = read_pickle(source, at)
        opened.append(one)
        if not one.is_whole or not isinstance(one.root, tuple) or len(one.root) != 3:
            raise DamagedError("the list of its storages is damaged")
        key, _, kind = one.root
        dtype = dtype_of_storage(kind.name) if isinstance(kind, Global) else None
        (elements,) = source.numbers(_COUNT, one.end)
        if dtype is None or elements < 0:
            raise DamagedError("the list of its storages is damaged")
        size = bytes_of(elements, dtype)
        source.exactly(one.end + _COUNT.size + size, 0)
        found[str(key)] = Storage(str(key), dtype, size)
        at = one.end + _COUNT.size + size
    return found, opened


def _tar_tensors(
    source: Source, storages: dict[str, Storage]
) -> tuple[dict[str, Made], list[Pickle]]:
    """The tensors by their keys, as the calls that would make them."""
    count = read_pickle(source)
    opened, at = [count], count.end
    found: dict[str, Made] = {}
    for _ in range(count.root if type(count.root) is int else 0):
        one = read_pickle(source, at)
        opened.append(one)
        if not one.is_whole or not isinstance(one.root, tuple) or len(one.root) != 3:
            raise DamagedError("the list of its tensors is damaged")
        (dimensions,) = source.numbers(struct.Struct("<i"), one.end)
        if not 0 <= dimensions <= 64:
            raise DamagedError("the list of its tensors is damaged")
        layout = struct.Struct(f"<{2 * dimensions + 1}q")
        numbers = source.numbers(layout, one.end + 8)
        storage = storages.get(str(one.root[1]))
        made = Made(Global("torch._utils._rebuild_tensor"), ())
        made.args = (
            _known(storage), numbers[-1], numbers[:dimensions], numbers[dimensions:-1],
        )  # fmt: skip
        found[str(one.root[0])] = made
        at = one.end + 8 + layout.size
    return found, opened


def _known(storage: Storage | None) -> Made:
    made = Made(Global("torch.storage._load_from_bytes"), ())
    made.state = storage
    return made


def _fill_in(root: Any, tensors: dict[str, Made]) -> None:
    """Puts the tensors where the pickle refers to them by key."""
    from torchkit.model.files.described import Persistent

    def filled(value: Any) -> Any:
        if isinstance(value, Persistent) and isinstance(value.id, str | int):
            return tensors.get(str(value.id), value)
        return value

    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting and len(seen) < 1_000_000:
        value = waiting.pop()
        if id(value) in seen or not isinstance(value, list | Made):
            continue
        seen.add(id(value))
        for holder in _holders(value):
            holder[:] = [filled(it) for it in holder]
            waiting += holder
        if isinstance(value, Made):
            value.args = tuple(filled(it) for it in value.args)
            value.state = filled(value.state)
            waiting += [value.state, *value.args]


def _holders(value: Any) -> Sequence[list[Any]]:
    return (value.items, value.pairs) if isinstance(value, Made) else (value,)
