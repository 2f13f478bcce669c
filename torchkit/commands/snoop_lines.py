"""`torchkit snoop --function`: the trace as it happens, and as a table."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from torchkit.commands.snoop_paths import shown_path
from torchkit.report import Finding, Json, Report, Table, warn
from torchkit.tracing.lines import Follower, Step

COLUMNS = ("call", "function", "line", "source", "name", "change", "tensor", "times")


class Teller:
    """Writes each step to stderr as it happens; what is like a step before only counts.

    In a loop that is one line when the call is over, and of a call that is in all like the one
    before one line, too.
    """

    def __init__(self, stream: TextIO | None = None, width: int | None = None) -> None:
        self.stream = stream
        self.width = width
        self.heading = ""
        self.source = ("", 0)
        self.told: dict[tuple[str, int], Counter[tuple[object, ...]]] = {}
        self.before: dict[str, set[tuple[object, ...]]] = {}
        self.lock = threading.Lock()

    def __call__(self, step: Step) -> None:
        """A step has happened."""
        change = "new" if step.change == "changed" else step.change
        key = (step.line, step.name, change, step.kind)
        with self.lock:
            told = self.told.setdefault((step.function, step.call), Counter())
            told[key] += 1
            if told[key] > 1 or key in self.before.get(step.function, ()):
                return
            self._write(self._lines(step))

    def done(self, function: str, call: int) -> None:
        """A call is over."""
        with self.lock:
            told = self.told.pop((function, call), Counter())
            before = self.before.setdefault(function, set())
            if told and not told.keys() - before:
                self._write([f"{function}  call {call}: the same shapes as before"])
            elif told:
                self._write([*self._repeated(told)])
            before.update(told)
            self.heading = (
                "" if self.heading.startswith(f"{function}  call {call}  ") else self.heading
            )

    def _lines(self, step: Step) -> Iterator[str]:
        heading = f"{step.function}  call {step.call}  {shown_path(step.file)}"
        if heading != self.heading:
            self.heading = heading
            self.source = ("", 0)
            yield ""
            yield heading
        if step.line and (step.source, step.line) != self.source:
            self.source = (step.source, step.line)
            yield _cut(f"{step.line:>6}  {step.source}", self._columns())
        mark = _MARKS[step.change]
        yield from _wrapped(f"{'':>8}{mark} {step.name}", step.tensor, self._columns())

    def _repeated(self, told: Counter[tuple[object, ...]]) -> Iterator[str]:
        times = Counter({key[0]: 0 for key in told})
        for key, count in told.items():
            times[key[0]] = max(times[key[0]], count)
        again = {line: count for line, count in times.items() if line and count > 1}
        if again:
            lines = sorted(int(str(line)) for line in again)
            span = f"line {lines[0]}" if len(lines) == 1 else f"lines {lines[0]} to {lines[-1]}"
            yield f"{'':>8}{span} x {max(again.values())}, same shapes"

    def _columns(self) -> int:
        return self.width or shutil.get_terminal_size((80, 24)).columns

    def _write(self, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        stream = self.stream or sys.stderr
        if text and stream is not None:
            stream.write(text)


_MARKS = {"argument": ">", "new": "+", "changed": "=", "in-place": "~", "returned": "<"}
"""One sign for each change: given, made, made anew, changed in place, handed back."""

LEGEND = "> argument   + new   = changed   ~ changed in place   < returned"


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"


def _wrapped(name: str, tensor: str, columns: int) -> Iterator[str]:
    """The name and its tensor on one line where there is room."""
    if len(name) + 2 + len(tensor) <= columns:
        yield f"{name}  {tensor}"
    else:
        yield name
        yield f"{'':>12}{tensor}"


def trace_table(follower: Follower) -> Table:
    """The trace; steps of a loop that are alike are one row, with how often."""
    rows: list[dict[str, Json]] = []
    places: dict[tuple[object, ...], int] = {}
    for step in follower.steps:
        key = (step.call, step.function, step.line, step.name, step.change, step.kind)
        if key in places:
            times = rows[places[key]]["times"]
            rows[places[key]]["times"] = (times if isinstance(times, int) else 0) + 1
            continue
        places[key] = len(rows)
        row: dict[str, Json] = {**step._asdict(), "file": shown_path(step.file), "times": 1}
        del row["kind"]
        rows.append(row)
    return Table("trace", (*COLUMNS, "file"), tuple(rows))


def trace_report(watch: Any, globs: Sequence[str]) -> Report:
    """The report on a run that was followed: the trace, or that there was nothing to follow."""
    if not watch.matched:
        text = f"no function named {', '.join(globs)} was called"
        finding = Finding(
            "nothing-traced",
            "snoop",
            warn(text, fix=["--function '*.forward' follows the forward of every module of yours"]),
        )
        return Report("snoop", findings=(finding,), headline=text)
    names = ", ".join(sorted(watch.matched))
    if not isinstance(watch, Follower):
        return Report("snoop", headline=f"traced {names}")
    table = trace_table(watch)
    return Report("snoop", tables=(table,), views=(_SEEN,), headline=f"traced {names}")


_SEEN = Table("trace", (), ())
"""People have read the trace while it happened."""
