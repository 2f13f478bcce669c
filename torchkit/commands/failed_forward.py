"""From the record of a forward that raised to what the rules of `advice.forward` look at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from torchkit.advice.forward.facts import Done, Given, Later, Layer, Table, Tensor, Trouble
from torchkit.checks.forward_fails import FailedForward
from torchkit.model.record import (
    Call,
    Failure,
    Module,
    Nested,
    Other,
    Record,
    TensorInfo,
    Value,
    tensors_in,
)
from torchkit.units import readable

_EMBEDDING = re.compile(r"(\d+), \d+(?:, padding_idx=(\d+))?")
"""What torch says of the sizes of an embedding (torch/nn/modules/sparse.py `extra_repr`)."""

_PACKAGES = ("site-packages", "dist-packages")


def failed_forward(
    record: Record, *, is_by_option: bool = False, has_batch: bool = True
) -> FailedForward:
    """What is known of the failure of a record that has one. Raises ValueError where it has none.

    `is_by_option`: the input is a shape on the command line, to which a batch dimension is added
    with `has_batch`.
    """
    failure = record.failure
    if failure is None:
        raise ValueError("this forward did not fail")
    place = failure.place
    held = [it.tensor for it in record.parameters]
    return FailedForward(
        trouble=_Teller(record, failure).trouble(is_by_option, has_batch),
        place=f"{Path(place.file).name}:{place.line} in {place.function}" if place else "",
        causes=failure.causes,
        doubt=failure.doubt,
        weights=readable(sum({it.storage: it.storage_bytes for it in held}.values())),
    )


class _Teller:
    def __init__(self, record: Record, failure: Failure) -> None:
        self.record = record
        self.failure = failure
        self.by_path = {it.path: it for it in record.modules}
        self.sources = self._sources()

    def trouble(self, is_by_option: bool, has_batch: bool) -> Trouble:
        record, failure = self.record, self.failure
        call = record.calls[failure.call] if failure.call is not None else None
        file = failure.place.file if failure.place else ""
        return Trouble(
            error=failure.error,
            message=failure.message,
            model=record.type,
            layer=self._layer(call),
            given=self._arguments(call.inputs, call.keywords) if call is not None else (),
            inputs=self._arguments(record.inputs, record.keywords),
            operation=(failure.operation or "").rpartition("::")[2],
            operands=tuple(self._tensor(it) for it in failure.operands),
            numbers=failure.arguments,
            done=tuple(self._done()),
            code=failure.code,
            is_library=any(part in Path(file).parts for part in _PACKAGES),
            is_by_option=is_by_option,
            has_batch=has_batch,
            gave_several=tuple(self._gave_several()),
            gave_none=tuple(self._gave_none()),
            is_training=bool(failure.settings.get("training", record.is_training)),
        )

    def _layer(self, call: Call | None) -> Layer:
        path = call.path if call is not None else ""
        module = self.by_path.get(path) or Module(path, self.record.type, "", 0)
        own = set(module.own)
        held = [it for it in self.record.parameters if own.intersection(it.paths)]
        prefix = f"{path}." if path else ""
        earlier = [self.record.calls[number] for number in module.calls]
        return Layer(
            path=path,
            type=module.type,
            kinds=self.failure.kinds,
            settings=self.failure.settings,
            parameters=tuple(
                (
                    next(name for name in it.paths if name in own).rpartition(".")[2],
                    self._tensor(it.tensor),
                )
                for it in held
                if not it.is_buffer
            ),
            children=tuple(
                it.removeprefix(prefix)
                for it in self.by_path
                if it.startswith(prefix) and it and "." not in it.removeprefix(prefix)
            ),
            holders=tuple(self._holders(path)),
            has_worked=any(it.outputs is not None and not it.has_failed for it in earlier),
            has_forward=self.failure.has_forward,
            tables=tuple(self._tables(prefix)),
            is_tied=any(len(it.paths) > 1 for it in held),
            later=tuple(self._later(path)),
        )

    def _tables(self, prefix: str) -> Iterable[Table]:
        for path, module in self.by_path.items():
            found = _EMBEDDING.match(module.text)
            if found and path.startswith(prefix) and "Embedding" in module.type:
                rows = int(found[1])
                yield Table(path, rows, rows - (int(found[2]) + 1 if found[2] else 0))

    def _later(self, path: str) -> Iterable[Later]:
        paths = list(self.by_path)
        for at in paths[paths.index(path) + 1 :] if path in paths else ():
            module = self.by_path[at]
            has_more = any(it.startswith(f"{at}.") for it in paths)
            if not module.calls and not has_more and module.shared_with is None:
                yield Later(at, module.type, module.text)

    def _holders(self, path: str) -> Iterable[tuple[str, str]]:
        while path:
            path = path.rpartition(".")[0]
            if path in self.by_path:
                yield path, self.by_path[path].type

    def _arguments(self, values: Value, keywords: Value) -> tuple[Given, ...]:
        by_position = values.parts if isinstance(values, Nested) else (("", values),)
        by_name = keywords.parts if isinstance(keywords, Nested) else ()
        return (
            *(self._argument("", value) for _, value in by_position),
            *(self._argument(name, value) for name, value in by_name),
        )

    def _argument(self, keyword: str, value: Value) -> Given:
        if isinstance(value, TensorInfo):
            return Given(keyword, "Tensor", (("", self._tensor(value)),))
        if isinstance(value, Other):
            return Given(keyword, value.type)
        parts = [(key, it) for key, part in value.parts for it in tensors_in(part)]
        return Given(keyword, value.kind, tuple((key, self._tensor(it)) for key, it in parts))

    def _tensor(self, info: TensorInfo) -> Tensor:
        ends = self.failure.ranges.get(info.number, (None, None))
        return Tensor(
            shape=info.shape,
            dtype=info.dtype,
            device=info.device,
            number=info.number,
            storage=info.storage,
            role=info.role,
            name=info.name or "",
            source=self.sources.get(info.number, ""),
            lowest=ends[0],
            highest=ends[1],
        )

    def _sources(self) -> dict[int, str]:
        """Where tensors come from, by number: the innermost call that gave each."""
        found = {it.number: "the input" for it in tensors_in(self.record.inputs)}
        found |= {it.number: "the input" for it in tensors_in(self.record.keywords)}
        for call in self.record.calls:
            if call.outputs is not None and call.path:
                for it in tensors_in(call.outputs):
                    found[it.number] = f"output of {call.path}"
        return found

    def _done(self) -> Iterable[Done]:
        tensors = self.record.tensors
        for operation in self.record.operations:
            call = self.record.calls[operation.call] if operation.call is not None else None
            module = self.by_path.get(call.path) if call is not None else None
            yield Done(
                name=operation.name.rpartition("::")[2],
                inputs=tuple(self._tensor(tensors[it]) for it in operation.inputs),
                outputs=tuple(self._tensor(tensors[it]) for it in operation.outputs),
                path=module.path if module is not None else "",
                type=module.type if module is not None else "",
                text=module.text if module is not None else "",
            )

    def _gave_several(self) -> Iterable[tuple[str, tuple[int, ...]]]:
        for call in self.record.calls:
            if call.path and isinstance(call.outputs, Nested):
                yield call.path, tuple(it.number for it in tensors_in(call.outputs))

    def _gave_none(self) -> Iterable[tuple[str, str]]:
        for call in self.record.calls:
            if call.path and isinstance(call.outputs, Other) and call.outputs.type == "NoneType":
                module = self.by_path.get(call.path)
                yield call.path, module.type if module is not None else ""
