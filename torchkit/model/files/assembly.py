"""Makes the contents of a file of what its pickles describe: entries, groups, the other parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchkit.model.files import Contents, Entry
from torchkit.model.files.harmless import sorted_out
from torchkit.model.files.optimizers import Optimizers, is_tensor, listed
from torchkit.model.files.pickles import MAX_OPERATIONS, Pickle
from torchkit.model.files.sharing import Sharing
from torchkit.model.files.structure import (
    Located,
    Subscripts,
    is_module,
    kind_of,
    pairs_of,
    structure_of,
    versions_of,
)
from torchkit.model.files.tensors import Storage, Storages

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
    optimizers = Optimizers()
    of_optimizers = optimizers.places(pickle.root)
    dangerous, code, names = _judged((pickle, *more))
    others = _others(pickle.root, located, dangerous, optimizers)
    if pickle.operations > MAX_OPERATIONS or not structure.is_whole:
        others.insert(0, "more than is listed here: its structure is too large to be followed")
    return _with_totals(
        Contents(
            format or _format(pickle.root, located, optimizers),
            _entries(located, of_optimizers),
            {**(metadata or {}), **_class_of_model(pickle.root)},
            names,
            tuple(dangerous),
            tuple(others),
            "; ".join(dict.fromkeys(wrong)),
            code=tuple(code),
            versions=structure.versions,
            models=structure.models,
        ),
        located,
        of_optimizers,
    )


def _judged(pickles: Sequence[Pickle]) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Dangerous names, those that need code, and all of them."""
    names = tuple(dict.fromkeys(name for pickle in pickles for name in pickle.globals))
    called = [name for pickle in pickles for name in pickle.called]
    return (*sorted_out(names, called), names)


def _with_totals(
    contents: Contents, located: Sequence[Located], optimizers: Sequence[Subscripts]
) -> Contents:
    """With the sums over its tensors: each piece of data once."""
    storages: dict[tuple[str, int], int] = {}
    alone = parameters = 0
    for it, entry in zip(located, contents.entries, strict=True):
        for storage in it.tensor.storages:
            storages[storage.key, storage.view] = storage.bytes
        if not it.tensor.storages:
            alone += entry.own_bytes
        if _optimizer_of(it, optimizers) is None:
            parameters += entry.own_elements
    return contents._replace(total_bytes=sum(storages.values()) + alone, parameters=parameters)


def _entries(located: Sequence[Located], optimizers: Sequence[Subscripts]) -> tuple[Entry, ...]:
    """Each with the dictionary it is in as its group; of an optimizer, all of it."""
    entries: list[Entry] = []
    sharing = Sharing()
    for it in located:
        inside, subscripts = it.inside, it.subscripts
        optimizer = _optimizer_of(it, optimizers)
        if optimizer is not None:
            inside, subscripts = len(optimizer), optimizer
        entry = Entry(
            ".".join(it.path[inside:]),
            it.tensor.shape,
            it.tensor.dtype,
            it.tensor.bytes,
            ".".join(it.path[:inside]),
            subscripts=subscripts,
        )
        whose, shared_bytes = sharing.add(it.tensor, entry.full_name)
        entries.append(entry._replace(shared_with=whose, shared_bytes=shared_bytes))
    return tuple(entries)


def _optimizer_of(it: Located, optimizers: Sequence[Subscripts]) -> Subscripts | None:
    """The optimizer whose state a tensor is of."""
    return next((top for top in optimizers if it.subscripts[: len(top)] == top), None)


def _damage_of_tensors(
    located: Sequence[Located], impossible: int, available: Available | None
) -> list[str]:
    count = len(located) + impossible
    wrong: dict[str, int] = {}
    if impossible:
        wrong["have a shape or dtype that cannot be"] = impossible
    known: dict[Storage, str] = {}
    for tensor in (it.tensor for it in located):
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


def _format(root: Any, located: Sequence[Located], optimizers: Optimizers) -> str:
    if is_module(root):
        return "pickled model"
    if optimizers.words(root):
        return "optimizer"
    direct = sum(len(it.path) == 1 for it in located)
    if pairs_of(root) is not None:
        is_state = bool(direct) and direct * 2 > len(pairs_of(root) or ())
        return "state dict" if is_state or versions_of(root) is not None else "checkpoint"
    if located:
        return "tensors"
    return "pickle"


def _class_of_model(root: Any) -> dict[str, str]:
    return {"model": kind_of(root)} if is_module(root) else {}


def _others(
    root: Any, located: Sequence[Located], dangerous: Sequence[str], optimizers: Optimizers
) -> list[str]:
    """The parts of a checkpoint that are no tensors, in short texts."""
    pairs = pairs_of(root)
    if pairs is None:
        is_told = root is None or isinstance(root, list | tuple) or is_module(root)
        kind = kind_of(root)
        return [] if is_told or is_tensor(root) or kind in dangerous else [f"a pickled {kind}"]
    if optimizers.words(root):
        return [optimizers.words(root)]
    have_tensors = {it.path[0] for it in located if it.path}
    told: list[str] = []
    for key, value in pairs[:MAX_OTHERS]:
        has_tensors = key in have_tensors if isinstance(key, str) else False
        text = _other(value, optimizers, has_tensors=has_tensors)
        if text:
            told.append(f"{_short(key)}: {text}")
    return told


def _other(value: Any, optimizers: Optimizers, *, has_tensors: bool) -> str:
    """What a part is; "" for one that is told by its tensors."""
    states = [optimizers.words(it) for it in listed(value)]
    if any(states):
        return " · ".join(filter(None, states))
    if is_module(value):
        return f"pickled model {kind_of(value)}"
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return _short(value)
    if has_tensors or is_tensor(value):
        return ""
    return kind_of(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value) if _is_plain(value) else kind_of(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | bool | bytes)
