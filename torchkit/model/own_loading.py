"""Models whose `load_state_dict` is not torch's alone: what their own code makes of a checkpoint.

Their code is asked, on a copy that has no memory and with tensors that have none.
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from torchkit.model.keys import Key
from torchkit.model.user_code import output_to_stderr

_STANDARD = {
    "load_state_dict": ("torch.nn.modules.module",),
    "_load_from_state_dict": ("torch.nn.modules.module", "torch.nn.modules.batchnorm"),
}
"""Where the methods stand that `torchkit/model/keys.py` follows (torch 2.0 to 2.14)."""


class OwnLoading(NamedTuple):
    """`classes` have loading code of their own; `error` is what it raises, "" where it loads.

    None where that could not be found out: the code needs the values, or fails in another way.
    """

    classes: tuple[str, ...]
    error: str | None


def own_loading(
    model: Any, given: Sequence[Key], versions: Mapping[str, int | None] | None
) -> OwnLoading | None:
    """What the model's own code makes of these keys; None where it has none.

    `versions` are those of the state dict's `_metadata`, None where it has none.
    """
    classes = own_loaders(model)
    if not classes:
        return None
    return OwnLoading(classes, _asked(model, given, versions))


def own_loaders(model: Any) -> tuple[str, ...]:
    """The classes in a model that do not load as torch's `Module` does: by a method or a hook."""
    found: dict[str, None] = {}
    for module in model.modules():
        kind = type(module)
        for method, standard in _STANDARD.items():
            owner = next((it for it in kind.__mro__ if method in vars(it)), kind)
            if owner.__module__ not in standard:
                found[kind.__name__] = None
        hooks = [
            *getattr(module, "_load_state_dict_pre_hooks", {}).values(),
            *getattr(module, "_load_state_dict_post_hooks", {}).values(),
        ]
        if not all(_is_lazys(hook) for hook in hooks):
            found[kind.__name__] = None
    return tuple(found)


def _is_lazys(hook: Any) -> bool:
    """Whether it is the hook of lazy modules, which gives their parameters the file's shapes."""
    return getattr(getattr(hook, "hook", hook), "__name__", "") == "_lazy_load_hook"


def _asked(
    model: Any, given: Sequence[Key], versions: Mapping[str, int | None] | None
) -> str | None:
    state: Any = OrderedDict()
    try:
        wanted = model.state_dict(keep_vars=True)
        for key in given:
            if key.shape is None and key.name in wanted:
                return None  # an extra state, or packed weights: their value is not known
            state[key.name] = _empty(key)
        if versions is not None:
            state._metadata = OrderedDict(
                (name, {} if version is None else {"version": version})
                for name, version in versions.items()
            )
        with output_to_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _without_memory(model).load_state_dict(state)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        text = str(error)
        is_torchs = isinstance(error, RuntimeError) and text.startswith("Error(s) in loading")
        is_of_data = "While copying" in text or "While swapping" in text or "meta tensor" in text
        return text if is_torchs and not is_of_data else None
    return ""


def _empty(key: Key) -> Any:
    if key.shape is None:
        return 0
    dtype = getattr(torch, key.dtype, torch.float32)
    return torch.empty(key.shape, dtype=dtype, device="meta")


def _without_memory(model: Any) -> Any:
    """A copy of which no tensor has memory; the model stays as it is."""
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        if torch.nn.parameter.is_lazy(tensor):
            continue
        empty = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, torch.nn.Parameter):
            empty = torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = empty
    return copy.deepcopy(model, memo)
