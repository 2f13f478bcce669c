"""What `load_state_dict` would say of a checkpoint, from the names and shapes alone.

The rules are those of `Module._load_from_state_dict` (torch/nn/modules/module.py, the same from
torch 2.0 to 2.13) and of the norms' own (torch/nn/modules/batchnorm.py). Nothing here imports
torch, reads a file or guesses; `renaming.py` finds out how names were changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Shape = tuple[int, ...]


class Key(NamedTuple):
    """A key of a state dict. `shape` is None where any will do (lazy) or it holds no tensor.

    `dtype` is "" for what is no tensor (`_extra_state`, packed weights). `shared_with` is the key
    before it that holds the same tensor; `group` where in the file the state dict is, e.g. `model`,
    and `subscripts` how it is reached: `("state", "model")`.
    """

    name: str
    shape: Shape | None
    dtype: str
    shared_with: str | None = None
    group: str = ""
    subscripts: tuple[str | int, ...] = ()


class Pair(NamedTuple):
    """A key that both have, with what they differ in."""

    wanted: Key
    given: Key

    @property
    def name(self) -> str:
        return self.wanted.name


class KeyComparison(NamedTuple):
    """A model's keys and a checkpoint's, each in the order in which torch would name them.

    `matched` have the same shape; `differing` another one; `converted` are those of `matched` that
    have another dtype. `filled` are missing, and torch fills them in. `unseen` hold no tensor, so
    that nothing can be said of them.
    """

    matched: tuple[Pair, ...]
    missing: tuple[Key, ...]
    unexpected: tuple[Key, ...]
    differing: tuple[Pair, ...]
    filled: tuple[Key, ...] = ()
    unseen: tuple[Key, ...] = ()

    @property
    def converted(self) -> tuple[Pair, ...]:
        return tuple(
            pair
            for pair in self.matched
            if pair.wanted.dtype and pair.given.dtype and pair.wanted.dtype != pair.given.dtype
        )

    @property
    def is_loadable(self) -> bool:
        """Whether `load_state_dict` with its default `strict=True` would not raise."""
        return not (self.missing or self.unexpected or self.differing)


def state_keys(model: Any) -> tuple[Key, ...]:
    """The keys of `model.state_dict()`, in order; nothing is copied or computed.

    Buffers with `persistent=False` are not among them.
    """
    first: dict[int, str] = {}
    keys = []
    for name, value in model.state_dict(keep_vars=True).items():
        if not hasattr(value, "dtype"):
            keys.append(Key(name, None, ""))
            continue
        try:
            shape: Shape | None = tuple(int(size) for size in value.shape)
        except (RuntimeError, AttributeError):  # uninitialised, as in a lazy module
            shape = None
        shared = first.setdefault(id(value), name)
        dtype = str(value.dtype).removeprefix("torch.")
        keys.append(Key(name, shape, dtype, None if shared == name else shared))
    return tuple(keys)


def keys_of(entries: Iterable[Any]) -> tuple[Key, ...]:
    """The keys of the entries of a weights file (`torchkit.model.files.Entry`)."""
    return tuple(
        Key(
            entry.name,
            tuple(entry.shape),
            entry.dtype,
            entry.shared_with or None,
            entry.group,
            entry.subscripts,
        )
        for entry in entries
    )


def tensorless_keys(contents: Any) -> tuple[Key, ...] | None:
    """The keys of a flat state dict that hold no tensor, `epoch` or `_extra_state`; None if unknown.

    `contents` are those of a weights file (`torchkit.model.files.Contents`), which tell the parts
    of its outermost dictionary. load_state_dict takes each as a key of the model.
    """
    if contents.format == "safetensors":  # has tensors alone
        return ()
    if contents.format not in ("state dict", "checkpoint") or contents.damage:
        return None
    parts = [text.partition(": ") for text in contents.others]
    if not all(colon for _, colon, _ in parts) or any(len(name) >= _CUT for name, _, _ in parts):
        return None
    names = [name for name, _, _ in parts]
    names += [str(it.subscripts[0]) for it in contents.entries if it.subscripts]
    return tuple(Key(name, None, "") for name in dict.fromkeys(names))


_CUT = 60
"""`Contents.others` shortens names that are longer."""


def holds_uninitialised(contents: Any) -> bool:
    """Whether a file holds the parameters of lazy modules that have not been run yet."""
    return any(text.endswith(_UNINITIALISED) for text in contents.others)


_UNINITIALISED = (": torch.nn.parameter.UninitializedParameter", ": torch.nn.parameter.UninitializedBuffer")  # fmt: skip


def unsaved_buffers(model: Any) -> tuple[str, ...]:
    """Paths of the buffers that `state_dict()` leaves out: those with `persistent=False`."""
    saved = model.state_dict(keep_vars=True)
    return tuple(
        name for name, _ in model.named_buffers(remove_duplicate=False) if name not in saved
    )


def module_paths(model: Any) -> tuple[str, ...]:
    """The paths of all modules, a module's children after it, as `load_state_dict` goes."""
    return tuple(name for name, _ in model.named_modules(remove_duplicate=False))


def compare_keys(
    wanted: Sequence[Key],
    given: Sequence[Key],
    *,
    modules: Sequence[str] = (),
    versions: Mapping[str, int | None] | None = None,
    fills: bool = True,
    is_complete: bool = False,
) -> KeyComparison:
    """What `load_state_dict` would make of it.

    `modules` are the model's (`module_paths`): without them those that have keys are known, which
    decides the order of unexpected keys alone. `versions` are those of the modules, from the state
    dict's `_metadata`; None where there are none, as in whatever is no pickle of torch. Without
    `fills` both are files, and nobody fills anything in. `is_complete` where `given` has what holds
    no tensor, too, so that what it lacks is not there.
    """
    by_name = {key.name: key for key in given}
    matched: list[Pair] = []
    differing: list[Pair] = []
    missing, filled, unseen = [], [], []
    names = {key.name for key in wanted}
    for key in wanted:
        found = by_name.get(key.name)
        if found is not None and key.dtype == "":
            unseen.append(key)
        elif found is not None:
            (matched if _fits(key.shape, found.shape) else differing).append(Pair(key, found))
        elif key.dtype == "" and not is_complete:
            unseen.append(key)
        elif fills and _is_filled(key.name, names, versions):
            filled.append(key)
        else:
            missing.append(key)
    strange = [key for key in by_name.values() if key.name not in names]
    return KeyComparison(
        tuple(matched),
        tuple(missing),
        _as_torch_names(strange, wanted, modules),
        tuple(differing),
        tuple(filled),
        tuple(unseen),
    )


def _fits(wanted: Shape | None, given: Shape | None) -> bool:
    """Equal, or one number where none was wanted, which torch 0.3 wrote."""
    return wanted is None or given is None or wanted == given or (wanted == () and given == (1,))


COUNTER = "num_batches_tracked"
"""The norms' counter, which came with torch 0.4.1 in version 2 of these modules."""


def _is_filled(name: str, names: set[str], versions: Mapping[str, int | None] | None) -> bool:
    module, _, last = name.rpartition(".")
    if last != COUNTER or f"{module}.running_mean".lstrip(".") not in names:
        return False
    version = None if versions is None else versions.get(module)
    return version is None or version < 2


def _as_torch_names(
    strange: Sequence[Key], wanted: Sequence[Key], modules: Sequence[str]
) -> tuple[Key, ...]:
    """Module by module: a key is named by the last module on its way that there is."""
    if not strange:
        return ()
    known = list(modules) or list(_holders(wanted))
    places = {path: number for number, path in enumerate(known)}

    def place(key: Key) -> tuple[int, bool]:
        holder, parts = "", key.name.split(".")
        for number in range(1, len(parts)):
            path = ".".join(parts[:number])
            if path not in places:
                break
            holder = path
        own = key.name[len(holder) + 1 :] if holder else key.name
        return places.get(holder, -1), own != "_extra_state"

    return tuple(sorted(strange, key=place))


def _holders(keys: Iterable[Key]) -> dict[str, None]:
    """The modules that hold keys, each before its children."""
    found: dict[str, None] = {"": None}
    for key in keys:
        parts = key.name.split(".")
        for number in range(1, len(parts)):
            found[".".join(parts[:number])] = None
    return found


def error_text(model: str, comparison: KeyComparison, *, strict: bool = True) -> str:
    """What torch raises as RuntimeError, to the letter; "" where it would not. `model` is a class."""
    lines = []
    if strict and comparison.missing:
        lines.append(f"Missing key(s) in state_dict: {_quoted(comparison.missing)}. ")
    if strict and comparison.unexpected:
        lines.append(f"Unexpected key(s) in state_dict: {_quoted(comparison.unexpected)}. ")
    lines += [size_mismatch(pair) for pair in comparison.differing]
    if not lines:
        return ""
    return "\n\t".join([f"Error(s) in loading state_dict for {model}:", *lines])


def _quoted(keys: Iterable[Key]) -> str:
    return ", ".join(f'"{key.name}"' for key in keys)


def size_mismatch(pair: Pair) -> str:
    """torch's line on one shape that differs."""
    return (
        f"size mismatch for {pair.name}: copying a param with shape "
        f"torch.Size({list(pair.given.shape or ())}) from checkpoint, the shape in current model is "
        f"torch.Size({list(pair.wanted.shape or ())})."
    )
