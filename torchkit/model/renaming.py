"""How names of keys are changed, as words, as Python code and as a function.

The three come from the same steps, so that the code does what is told. No torch here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torchkit.model.keys import Key

WRAPPERS = {
    "_orig_mod": "torch.compile",
    "module": "DataParallel or DistributedDataParallel",
    "_fsdp_wrapped_module": "FullyShardedDataParallel",
    "_checkpoint_wrapped_module": "checkpoint_wrapper",
    "_forward_module": "DeepSpeed under Lightning",
    "base_layer": "peft",
}
"""Names of a module that only wraps another one, wherever it is in a path, and who wraps so."""


@dataclass(frozen=True)
class Step:
    """One thing that is done to every name. `code` is an expression in `k`, the name."""

    words: str
    code: str
    change: Callable[[str], str] = field(compare=False)
    removed: str = ""


@dataclass(frozen=True)
class Renaming:
    """Steps in order; a name that becomes None is not of this model and is left out.

    `table` are names that follow no rule. `keeps` is the prefix of the keys that are wanted where
    the others are to be left out.
    """

    steps: tuple[Step, ...] = ()
    table: Mapping[str, str] = field(default_factory=dict)
    keeps: str = ""

    def __call__(self, name: str) -> str | None:
        if self.keeps and not name.startswith(self.keeps):
            return None
        for step in self.steps:
            name = step.change(name)
        return self.table.get(name, name)

    @property
    def words(self) -> str:
        """`removing the prefix module. from every key`."""
        told = [step.words for step in self.steps]
        if self.keeps and told:
            told[0] = told[0].replace("every key", f"the keys under {self.keeps}")
        if self.table:
            told.append(
                f"renaming {len(self.table)} keys" if len(self.table) > 1 else "renaming 1 key"
            )
        return ", then ".join(told)

    @property
    def origin(self) -> str:
        """Who puts such names there, if they are a known wrapper's; "" otherwise."""
        removed = [step.removed for step in self.steps if step.removed]
        parts = [part for it in removed for part in it.strip(".").split(".")]
        return " and ".join(dict.fromkeys(WRAPPERS[part] for part in parts if part in WRAPPERS))

    def code(self) -> list[str]:
        """Lines of Python that make a new `state` of `state`."""
        lines = []
        if any("re.sub" in step.code for step in self.steps):
            lines.append("import re")
        only = f" if k.startswith({literal(self.keeps)})" if self.keeps else ""
        for step in self.steps:
            lines.append(f"state = {{{step.code}: v for k, v in state.items(){only}}}")
            only = ""
        if self.table:
            pairs = ", ".join(f"{literal(old)}: {literal(new)}" for old, new in self.table.items())
            lines.append(f"renamed = {{{pairs}}}")
            lines.append(f"state = {{renamed.get(k, k): v for k, v in state.items(){only}}}")
        return lines

    def apply(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """The keys under their new names; where two become one the later stays, as in a dict."""
        renamed: dict[str, Key] = {}
        for key in keys:
            name = self(key.name)
            if name is not None:
                renamed[name] = key._replace(name=name)
        return tuple(renamed.values())


def literal(text: str) -> str:
    """The text as Python writes it: a file's names must not become code."""
    return json.dumps(text)


# --- steps


def removes(prefix: str) -> Step:
    """The prefix goes, where a key has it."""
    return Step(
        f"removing the prefix {prefix} from every key",
        f"k.removeprefix({literal(prefix)})",
        lambda name: name.removeprefix(prefix),
        removed=prefix,
    )


def adds(prefix: str) -> Step:
    """The prefix is put before every key."""
    return Step(
        f"adding the prefix {prefix} to every key",
        f"{literal(prefix)} + k",
        lambda name: prefix + name,
    )


def exchanges(old: str, new: str) -> Step:
    """One prefix stands in the place of another, where a key has it."""
    return Step(
        f"replacing the prefix {old} by {new} in every key",
        f"{literal(new)} + k.removeprefix({literal(old)})",
        lambda name: new + name.removeprefix(old),
        removed=old,
    )


def unwraps(wrapper: str) -> Step:
    """A wrapper's name goes, wherever it is."""
    pattern = re.compile(rf"\b{re.escape(wrapper)}\.")
    return Step(
        f"removing {wrapper}. from every key",
        f're.sub(r"\\b{wrapper}\\.", "", k)',
        lambda name: pattern.sub("", name),
        removed=wrapper,
    )


def replaces(old: str, new: str) -> Step:
    """One part of a dotted name becomes another."""
    pattern = re.compile(rf"\b{re.escape(old)}\b")
    return Step(
        f"renaming {old} to {new}",
        f're.sub(r"\\b{re.escape(old)}\\b", "{new}", k)',
        lambda name: pattern.sub(lambda _: new, name),
    )
