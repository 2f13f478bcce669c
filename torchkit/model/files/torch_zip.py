"""`.pt` as torch.save has written it since 1.6: a zip of data.pkl and one member per storage."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from torchkit.model.files import Contents
from torchkit.model.files.assembly import contents_of
from torchkit.model.files.legacy import unpack
from torchkit.model.files.pickles import Pickle, read_pickle
from torchkit.model.files.source import DamagedError, Source
from torchkit.model.files.structure import structure_of
from torchkit.model.files.tensors import Storage
from torchkit.model.files.zips import LOCAL, LOCAL_MAGIC, Zip

MAX_CHECKED_BYTES = 16 * 1024**2
"""A longer pickle's checksum is not compared."""

NO_CRC = (0, 0xFFFFFFFF)


def read(archive: Zip) -> Contents:
    """The contents. Raises DamagedError where there is no pickle to read."""
    root = root_of(archive)
    pickle, damage = pickle_in(archive, f"{root}data.pkl")
    return contents_of(
        pickle,
        available=available_in(archive, f"{root}data/"),
        metadata=metadata_of(archive, root),
        damage=damage,
        more=unpack(pickle, archive.opened(f"{root}data.pkl")),
    )


def root_of(archive: Zip) -> str:
    """The folder in the zip that everything is in, with its slash. Raises DamagedError."""
    for name in archive.members:
        if name.partition("/")[2] == "data.pkl":
            return name.removesuffix("data.pkl")
    raise DamagedError("data.pkl is missing in the zip")


def pickle_in(archive: Zip, name: str) -> tuple[Pickle, list[str]]:
    """A pickle of the zip, and what its checksum says. Raises DamagedError."""
    source = archive.opened(name)
    pickle = read_pickle(source)
    member = archive.members[name]
    has_checksum = source.size <= MAX_CHECKED_BYTES and member.crc not in NO_CRC
    if has_checksum and zlib.crc32(source.read(0, source.size)) != member.crc:
        return pickle, [f"{name} is not as it was written: its checksum differs"]
    return pickle, []


def available_in(archive: Zip, prefix: str) -> Callable[[Storage], str]:
    """Whether a storage's member is there, long enough, and within the file."""

    def available(storage: Storage) -> str:
        member = archive.members.get(prefix + storage.key)
        if member is None:
            return "are missing in the file"
        if member.size < storage.bytes:
            return "are longer than their data"
        if member.method == 0 and member.compressed_bytes < storage.bytes:
            return "are longer than their data"
        try:
            archive.data_place(member)
        except DamagedError:
            return "lie where there is no data"
        return ""

    return available


def metadata_of(archive: Zip, root: str) -> dict[str, str]:
    """Byte order where it is the unusual one, and the version of the format."""
    told = {}
    order = small_text(archive, f"{root}byteorder")
    if order and order != "little":
        told["byte order"] = order
    version = small_text(archive, f"{root}version") or small_text(archive, f"{root}.data/version")
    if version:
        told["format version"] = version
    return told


def small_text(archive: Zip, name: str) -> str:
    """A short member's text; "" where it is not there."""
    if name not in archive.members or archive.members[name].size > 200:
        return ""
    try:
        return archive.content(name, 200).decode("utf-8", "replace").strip()
    except DamagedError:
        return ""


# --- a zip whose end is missing


def read_cut_off(source: Source, why: str) -> Contents:
    """What can be told without the list at the end: torch writes data.pkl first."""
    place = 0
    for _ in range(20):
        name, start = _local(source, place)
        if name.partition("/")[2] == "data.pkl":
            return _described(source, name, start, why)
        place = _next_local(source, start)
    raise DamagedError(why)


def _local(source: Source, place: int) -> tuple[str, int]:
    """Name and place of the data of the member whose header is here. Raises DamagedError."""
    magic, *_, name_bytes, extra_bytes = source.numbers(LOCAL, place)
    if magic != LOCAL_MAGIC:
        raise DamagedError("cut off: the list at the end of the zip is missing")
    name = source.exactly(place + LOCAL.size, name_bytes).decode("utf-8", "replace")
    return name, place + LOCAL.size + name_bytes + extra_bytes


def _next_local(source: Source, at: int, within: int = 1 << 16) -> int:
    """The next header from here on; torch pads to 64 bytes, so that it is near."""
    found = source.read(at, within).find(LOCAL_MAGIC)
    if found < 0:
        raise DamagedError("cut off: the list at the end of the zip is missing")
    return at + found


def _described(source: Source, name: str, start: int, why: str) -> Contents:
    pickle = read_pickle(source, start)
    whole: set[str] = set()
    if pickle.is_whole:
        whole = _whole_storages(source, name.removesuffix("data.pkl"), pickle)

    def available(storage: Storage) -> str:
        return "" if storage.key in whole else "lie beyond the end of the file"

    return contents_of(
        pickle, available=available if pickle.is_whole else None, damage=[why],
        more=unpack(pickle, source),
    )  # fmt: skip


def _whole_storages(source: Source, root: str, pickle: Pickle) -> set[str]:
    """Keys of the storages that lie in what is left, one member after the other."""
    sizes = {
        storage.key: storage.bytes
        for it in structure_of(pickle.root, {}).tensors
        for storage in it.tensor.storages
    }
    whole: set[str] = set()
    place = pickle.end
    try:
        for _ in range(len(sizes) + 20):
            name, start = _local(source, _next_local(source, place))
            key = name.removeprefix(f"{root}data/")
            size = sizes.get(key, 0) if key != name else 0
            if start + size > source.size:
                break
            if key in sizes:
                whole.add(key)
            place = start + size
    except DamagedError:
        pass
    return whole
