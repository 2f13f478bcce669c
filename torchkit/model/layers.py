"""Record -> the rows of the table `layers`: one for each module, in order of execution."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torchkit.model.record import Module, Parameter, Record, Value, tensors_in


@dataclass
class Layer:
    """One module as the table shows it; counts and FLOPs are its own and its children's.

    `input_shapes` and `output_shapes` are those of its first call, tensor by tensor. Parameters
    and buffers that are shared count once in every row that holds them, and in `own_params` only
    where they are first held, so that this column adds up to the model's. `shared_with` is the
    path of the first use: of the module itself, or of the parameters named in `tied`, which it
    holds as well. `status` is `ok`, `not-run`, `failed`, or `stopped` where a simulation on
    shapes alone came no further, which is no proof against the model; of what is never called itself
    (ModuleList) its children's; `description` says its type and sizes: `Conv2d 1→16 k3 s2`.
    """

    path: str
    type: str
    description: str
    depth: int
    input_shapes: list[list[int]]
    output_shapes: list[list[int]]
    params: int
    own_params: int
    trainable_params: int
    buffers: int
    flops: int
    calls: int
    shared_with: str | None
    status: str
    tied: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """As the table has it, column by column."""
        return {**self.__dict__, "tied": list(self.tied)}


COLUMNS = (
    "path", "type", "description", "depth", "input_shapes", "output_shapes", "params", "own_params",
    "trainable_params", "buffers", "flops", "calls", "shared_with", "status",
    "tied",
)  # fmt: skip


def layers(record: Record) -> list[Layer]:
    """A row for each module, a module's children right after it."""
    counts = _Counts(record.parameters)
    run = _Run(record, counts)
    return [_layer(module, record, counts, run) for module in _in_order(record)]


def _layer(module: Module, record: Record, counts: _Counts, run: _Run) -> Layer:
    calls = [record.calls[number] for number in module.calls]
    first = calls[0] if calls else None
    tied = [] if module.shared_with is not None else list(counts.tied(module.own))
    return Layer(
        path=module.path,
        type=module.type,
        description=description(module.type, module.text),
        depth=module.depth,
        input_shapes=[] if first is None else [*_shapes(first.inputs), *_shapes(first.keywords)],
        output_shapes=[] if first is None else _shapes(first.outputs),
        params=counts.params.get(module.path, 0),
        own_params=sum(counts.first_held(path) for path in module.own),
        trainable_params=counts.trainable.get(module.path, 0),
        buffers=counts.buffers.get(module.path, 0),
        flops=run.flops.get(module.path, 0),
        calls=len(calls),
        shared_with=tied[0][1] if tied else module.shared_with,
        status=run.status(module.path),
        tied=tuple(name for name, _ in tied),
    )


class _Run:
    """Which modules ran, which one failed, and their FLOPs, by path."""

    def __init__(self, record: Record, counts: _Counts) -> None:
        self.calls = record.calls
        self.flops: dict[str, int] = {}
        called = {call.path for call in record.calls}
        used = {
            record.tensors[number].storage
            for operation in record.operations
            for number in operation.inputs
        }
        self.ran: set[str] = set()
        for module in record.modules:
            if module.calls or any(counts.storage(path) in used for path in module.own):
                self.ran.update((module.path, *_holders(module.path)))
        for call in record.calls:
            above = {self.calls[number].path for number in self._callers(call.parent)}
            paths = [call.path, *(it for it in _holders(call.path) if it and it not in called)]
            for path in paths:
                if not any(it == path or it.startswith(f"{path}.") for it in above):
                    self.flops[path] = self.flops.get(path, 0) + call.flops
        failing = self._callers(record.failure.call if record.failure is not None else None)
        failed = {self.calls[number].path for number in failing}
        is_doubted = record.failure is not None and bool(record.failure.doubt)
        self.ended = "stopped" if is_doubted else "failed"
        self.failed = failed | {it for path in failed for it in _holders(path) if it not in called}

    def _callers(self, number: int | None) -> list[int]:
        """A call, the one that made it, and so on."""
        found = []
        while number is not None:
            found.append(number)
            number = self.calls[number].parent
        return found

    def status(self, path: str) -> str:
        """Not called, and nothing of its own or below it used by others: it did not run."""
        if path in self.failed:
            return self.ended
        return "ok" if path in self.ran else "not-run"


def _shapes(value: Value | None) -> list[list[int]]:
    return [] if value is None else [list(tensor.shape) for tensor in tensors_in(value)]


def _in_order(record: Record) -> Iterable[Module]:
    """Depth first; siblings by their first call, one that was not called after the one before it."""
    children: dict[str, list[Module]] = {}
    for module in record.modules:
        if module.path:
            children.setdefault(module.path.rpartition(".")[0], []).append(module)
    stack = [module for module in record.modules if not module.path]
    while stack:
        module = stack.pop()
        yield module
        place = -1.0
        ranked = []
        for number, child in enumerate(children.get(module.path, ())):
            place = _first_call(child, record, children) or place
            ranked.append((place, number, child))
        stack += [child for _, _, child in sorted(ranked, key=lambda it: it[:2], reverse=True)]


def _first_call(
    module: Module, record: Record, children: Mapping[str, list[Module]]
) -> float | None:
    """Of a container that is never called itself (ModuleList), its first child's."""
    if module.calls:
        return float(module.calls[0])
    firsts = [_first_call(child, record, children) for child in children.get(module.path, ())]
    return min((first for first in firsts if first is not None), default=None)


class _Counts:
    """Parameters and buffers by the path of every module that holds them, shared ones once."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.params: dict[str, int] = {}
        self.trainable: dict[str, int] = {}
        self.buffers: dict[str, int] = {}
        self._by_path: dict[str, Parameter] = {}
        for parameter in parameters:
            holders = {holder for path in parameter.paths for holder in _holders(path)}
            for holder in holders:
                into = self.buffers if parameter.is_buffer else self.params
                into[holder] = into.get(holder, 0) + parameter.logical_count
                if parameter.is_trainable:
                    self.trainable[holder] = self.trainable.get(holder, 0) + parameter.logical_count
            for path in parameter.paths:
                self._by_path[path] = parameter

    def first_held(self, path: str) -> int:
        """Of the parameter with this path, unless another path comes first."""
        parameter = self._by_path.get(path)
        is_here = parameter is not None and not parameter.is_buffer and parameter.paths[0] == path
        return parameter.logical_count if parameter is not None and is_here else 0

    def tied(self, own: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Names of parameters that another module holds first, and the path of that module."""
        for path in own:
            parameter = self._by_path.get(path)
            if parameter is None or parameter.is_buffer:
                continue
            holder, first = path.rpartition(".")[0], parameter.paths[0].rpartition(".")[0]
            if holder != first:
                yield path.rpartition(".")[2], first

    def storage(self, path: str) -> int | None:
        parameter = self._by_path.get(path)
        return None if parameter is None else parameter.tensor.storage


def _holders(path: str) -> Iterable[str]:
    """`a.b.weight` -> `a.b`, `a` and the whole model."""
    while path:
        path = path.rpartition(".")[0]
        yield path


# --- what a module is, in a few signs


def description(type_name: str, text: str) -> str:
    """`Conv2d 1→16 k3 s2` from the type and what torch's own `extra_repr` says of the sizes."""
    positional, named = _arguments(text)
    if "in_features" in named:
        return f"{type_name} {named['in_features']}→{named.get('out_features', '?')}"
    if "Conv" in type_name and len(positional) >= 2:
        marks = [
            f"{mark}{_short(named[name])}"
            for mark, name in (
                ("k", "kernel_size"),
                ("s", "stride"),
                ("d", "dilation"),
                ("g", "groups"),
            )
            if name in named and (mark == "k" or _short(named[name]) != "1")
        ]
        return " ".join([type_name, f"{positional[0]}→{positional[1]}", *marks])
    if type_name in ("LSTM", "GRU", "RNN") and len(positional) >= 2:
        layers = f" x{named['num_layers']}" if "num_layers" in named else ""
        return f"{type_name} {positional[0]}→{positional[1]}{layers}"
    if type_name.startswith("Embedding") and len(positional) >= 2:
        return f"{type_name} {positional[0]}→{positional[1]}"
    return type_name


def _arguments(text: str) -> tuple[list[str], dict[str, str]]:
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in re.findall(r"(?:[^,()\[\]]|\([^()]*\)|\[[^\[\]]*\])+", text.partition("\n")[0]):
        name, equals, value = part.strip().partition("=")
        if equals:
            named[name.strip()] = value.strip()
        elif part.strip():
            positional.append(part.strip())
    return positional, named


def _short(value: str) -> str:
    """`(3, 3)` is 3, `(1, 3)` is 1x3."""
    sizes = re.findall(r"\d+", value)
    return sizes[0] if sizes and len(set(sizes)) == 1 else "x".join(sizes)
