"""Makes the contents of a file of what its pickles describe: entries, groups, the other parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchkit.model.files import Contents, Entry
from torchkit.model.files.harmless import sorted_out
from torchkit.model.files.pickles import MAX_OPERATIONS, Pickle
from torchkit.model.files.structure import (
    Located,
    is_module,
    kind_of,
    pairs_of,
    structure_of,
)
from torchkit.model.files.tensors import Storage, Storages, as_tensor

MAX_OTHERS = 2000
"""More keys of a checkpoint are not told."""

Available = Callable[[Storage], str]
"""What is wrong with a storage's data: a clause such as "are missing", "" where it is all there."""


def contents_of(
    pickle: Pickle,
    *,
    named: Storages | None = None,
    available: Available | None = None,
    metadata: Mapping[str, str] | None = None,
    format: str = "",
    damage: Sequence[str] = (),
    more: Sequence[Pickle] = (),
    more_tensors: Sequence[Located] = (),
) -> Contents:
    """The contents of a file whose main pickle this is; `more` are the others that are in it."""
    structure = structure_of(pickle.root, named or {})
    located = [*structure.tensors, *more_tensors]
    wrong = [*damage, pickle.damage] if pickle.damage else list(damage)
    wrong += _damage_of_tensors(located, structure.impossible, available)
    is_grouped = not is_module(pickle.root) and pairs_of(pickle.root) is not None
    dangerous, code, names = _judged((pickle, *more))
    others = _others(pickle.root, located, dangerous)
    if pickle.operations > MAX_OPERATIONS or not structure.is_whole:
        others.insert(0, "more than is listed here: its structure is too large to be followed")
    return with_totals(
        Contents(
            format or _format(pickle.root, located),
            _entries(located, is_grouped=is_grouped),
            {**(metadata or {}), **_class_of_model(pickle.root)},
            names,
            tuple(dangerous),
            tuple(others),
            "; ".join(dict.fromkeys(wrong)),
            code=tuple(code),
        ),
        located,
        optimizers=_optimizer_groups(pickle.root),
    )


def _judged(pickles: Sequence[Pickle]) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Dangerous names, those that need code, and all of them."""
    names = tuple(dict.fromkeys(name for pickle in pickles for name in pickle.globals))
    called = [name for pickle in pickles for name in pickle.called]
    return (*sorted_out(names, called), names)


def with_totals(
    contents: Contents, located: Sequence[Located], *, optimizers: Sequence[str] = ()
) -> Contents:
    """With the sums over its tensors: each piece of data once."""
    storages: dict[tuple[str, int], int] = {}
    alone = parameters = 0
    seen: set[Any] = set()
    for path, tensor in located:
        for storage in tensor.storages:
            storages[storage.key, storage.view] = storage.bytes
        if not tensor.storages:
            alone += tensor.bytes if tensor.data is None or tensor.data not in seen else 0
        if tensor.data is None or tensor.data not in seen:
            is_optimizer = bool(path) and path[0] in optimizers
            parameters += 0 if is_optimizer else math.prod(tensor.shape)
        seen.add(tensor.data)
    return contents._replace(total_bytes=sum(storages.values()) + alone, parameters=parameters)


def _entries(located: Sequence[Located], *, is_grouped: bool) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    first: dict[Any, str] = {}
    for path, tensor in located:
        is_inside = is_grouped and len(path) > 1
        entry = Entry(
            ".".join(path[1:] if is_inside else path),
            tensor.shape,
            tensor.dtype,
            tensor.bytes,
            path[0] if is_inside else "",
        )
        if tensor.data is not None:
            shared = first.setdefault(tensor.data, entry.full_name)
            if shared != entry.full_name:
                entry = entry._replace(shared_with=shared)
        entries.append(entry)
    return tuple(entries)


def _damage_of_tensors(
    located: Sequence[Located], impossible: int, available: Available | None
) -> list[str]:
    count = len(located) + impossible
    wrong: dict[str, int] = {}
    if impossible:
        wrong["have a shape or dtype that cannot be"] = impossible
    known: dict[Storage, str] = {}
    for _, tensor in located:
        clause = ""
        for storage in tensor.storages:
            if available is not None and storage not in known:
                known[storage] = available(storage)
            clause = clause or known.get(storage, "")
        if not clause and tensor.storages and tensor.reach > _end(tensor.storages[0]):
            clause = "reach beyond their storage"
        if clause:
            wrong[clause] = wrong.get(clause, 0) + 1
    return [f"{number:,} of {count:,} tensors {clause}" for clause, number in wrong.items()]


def _end(storage: Storage) -> int:
    return storage.bytes


# --- what kind of file it is, and what else it has


def _format(root: Any, located: Sequence[Located]) -> str:
    if is_module(root):
        return "pickled model"
    direct = sum(len(path) == 1 for path, _ in located)
    if pairs_of(root) is not None:
        return "state dict" if direct and direct * 2 > len(pairs_of(root) or ()) else "checkpoint"
    if located:
        return "tensors"
    return "pickle"


def _class_of_model(root: Any) -> dict[str, str]:
    return {"model": kind_of(root)} if is_module(root) else {}


def _others(root: Any, located: Sequence[Located], dangerous: Sequence[str]) -> list[str]:
    """The parts of a checkpoint that are no tensors, in short texts."""
    pairs = pairs_of(root)
    if pairs is None:
        is_told = root is None or isinstance(root, list | tuple) or is_module(root)
        kind = kind_of(root)
        return [] if is_told or _is_tensor(root) or kind in dangerous else [f"a pickled {kind}"]
    have_tensors = {path[0] for path, _ in located if path}
    told: list[str] = []
    for key, value in pairs[:MAX_OTHERS]:
        text = _other(value, has_tensors=key in have_tensors if isinstance(key, str) else False)
        if text:
            told.append(f"{_short(key)}: {text}")
    return told


def _is_tensor(value: Any) -> bool:
    from torchkit.model.files.source import DamagedError

    try:
        return as_tensor(value) is not None
    except DamagedError:
        return True


def _other(value: Any, *, has_tensors: bool) -> str:
    """What a part is; "" for one that is told by its tensors."""
    optimizer = _optimizer(value)
    if optimizer:
        return optimizer
    if is_module(value):
        return f"pickled model {kind_of(value)}"
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return _short(value)
    if has_tensors or _is_tensor(value):
        return ""
    return kind_of(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value) if _is_plain(value) else kind_of(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | bool | bytes)


_OF_OPTIMIZER = (
    ({"exp_avg", "exp_avg_sq"}, "Adam"),
    ({"square_avg"}, "RMSprop"),
    ({"momentum_buffer"}, "SGD"),
    ({"exp_avg"}, "Lion"),
    ({"sum"}, "Adagrad"),
)
"""Names in the state of torch.optim's classes; AdamW's are Adam's."""


def _optimizer(value: Any) -> str:
    """`Adam state of 62 tensors`, or "" where this is no optimizer's state."""
    parts = dict(_text_pairs(value))
    if "state" not in parts or "param_groups" not in parts:
        return ""
    states = [pairs for _, state in pairs_of(parts["state"]) or () if (pairs := pairs_of(state))]
    tensors = sum(_is_tensor(item) for pairs in states for _, item in pairs)
    names = {key for pairs in states[:1] for key, _ in pairs if isinstance(key, str)}
    kind = next((name for keys, name in _OF_OPTIMIZER if keys <= names), "optimizer")
    return f"{kind} state of {tensors:,} tensors" if tensors else f"{kind} without a state"


def _text_pairs(value: Any) -> list[tuple[str, Any]]:
    return [(key, part) for key, part in pairs_of(value) or () if isinstance(key, str)]


def _optimizer_groups(root: Any) -> tuple[str, ...]:
    return tuple(key for key, value in _text_pairs(root) if _optimizer(value))
