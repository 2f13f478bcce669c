"""`model.safetensors.index.json` and `pytorch_model.bin.index.json`: a model in several files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torchkit.errors import BadInput
from torchkit.model.files import Contents, Entry
from torchkit.model.files import read as read_contents
from torchkit.model.files.json_texts import parsed
from torchkit.model.files.source import Source

MAX_INDEX_BYTES = 32 * 1024**2
MAX_SHARDS = 2000


def read(path: Path, source: Source) -> Contents:
    """The contents of all files that the index names. Raises BadInput for another JSON."""
    weight_map, index = _weight_map(path, source)
    found: list[Entry] = []
    parts: dict[str, Contents] = {}
    missing: list[str] = []
    damage: list[str] = []
    shards = list(dict.fromkeys(weight_map.values()))
    for shard in shards[:MAX_SHARDS]:
        if not _is_plain(shard):
            damage.append(f"{shard[:100]} is no file beside the index")
            continue
        if not (path.parent / shard).is_file():
            missing.append(shard)
            continue
        try:
            parts[shard] = read_contents(path.parent / shard)
        except BadInput as error:
            damage.append(error.message)
            continue
        found += parts[shard].entries
        if parts[shard].damage:
            damage.append(f"{shard}: {parts[shard].damage}")
    if missing:
        gone = sum(weight_map[name] in missing for name in weight_map)
        some = ", ".join(missing[:3]) + (
            f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        )
        damage.insert(
            0,
            f"{len(missing)} of {len(shards)} files are missing ({some}), and with them {gone:,} of "
            f"{len(weight_map):,} tensors",
        )
    damage += _disagreements(weight_map, parts)
    return _together(found, parts, damage, _metadata(index, shards))


def _weight_map(path: Path, source: Source) -> tuple[dict[str, str], dict[str, Any]]:
    index = None
    if source.size <= MAX_INDEX_BYTES:
        try:
            index = parsed(source.read(0, source.size))
        except (ValueError, RecursionError):
            index = None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(index, dict) or not isinstance(weight_map, dict):
        what = "JSON" if index is not None else "text that begins as JSON does"
        raise BadInput(
            f"{path} is no weights file: it is {what}, and no index of one",
            hint="name the weights file, or its .index.json",
        )
    return {name: shard for name, shard in weight_map.items() if isinstance(shard, str)}, index


def _is_plain(shard: str) -> bool:
    """A file beside the index or below: an index does not lead out of its folder."""
    for kind in (PurePosixPath, PureWindowsPath):
        pure = kind(shard)
        if pure.is_absolute() or pure.drive or ".." in pure.parts or "\0" in shard:
            return False
    return bool(shard) and not shard.endswith(".index.json")


def _disagreements(weight_map: dict[str, str], parts: dict[str, Contents]) -> list[str]:
    """Tensors that the index names and the file does not have, and the other way round."""
    wrong = []
    names = {shard: {entry.full_name for entry in part.entries} for shard, part in parts.items()}
    absent = [
        name for name, shard in weight_map.items() if shard in parts and name not in names[shard]
    ]
    if absent:
        wrong.append(
            f"{len(absent):,} tensors of the index are not in the file it names, such as "
            f"{absent[0][:100]}"
        )
    extra = sum(name not in weight_map for shard in names for name in names[shard])
    if extra:
        wrong.append(f"{extra:,} tensors of the files are not in the index")
    return wrong


def _metadata(index: dict[str, Any], shards: list[str]) -> dict[str, str]:
    told = {"files": str(len(shards))}
    total = index.get("metadata")
    if isinstance(total, dict):
        told |= {str(key)[:60]: str(value)[:200] for key, value in list(total.items())[:20]}
    return told


def _together(
    entries: list[Entry], parts: dict[str, Contents], damage: list[str], metadata: dict[str, str]
) -> Contents:
    kinds = dict.fromkeys(part.format for part in parts.values())
    return Contents(
        next(iter(kinds), "safetensors"),
        tuple(entries),
        metadata,
        tuple(dict.fromkeys(name for part in parts.values() for name in part.globals)),
        tuple(dict.fromkeys(name for part in parts.values() for name in part.dangerous)),
        (),
        "; ".join(damage),
        sum(part.total_bytes for part in parts.values()),
        sum(part.parameters for part in parts.values()),
        sum(part.file_bytes for part in parts.values()),
        tuple(dict.fromkeys(name for part in parts.values() for name in part.code)),
    )
