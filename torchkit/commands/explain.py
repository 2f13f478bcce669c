"""`torchkit explain`: what an error text means, why it happened on this machine, what to do.

Reads a log, recognises what the catalogue knows, and has the checks of `env` say what of it is so
here. It imports no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from torchkit.commands.explain_confirm import (
    CONFIRMED,
    NOT_CHECKED,
    REFUTED,
    Checked,
    confirmations,
)
from torchkit.commands.explain_pages import alone, known_ids, listed, page
from torchkit.commands.explain_symbols import settled, with_rows
from torchkit.errors import BadInput
from torchkit.knowledge.problems import possible_causes
from torchkit.logs.problems import Met, Told, told
from torchkit.logs.reader import Reading, read_log, read_text
from torchkit.machine.facts import Facts
from torchkit.report import Evidence, Finding, Report, Table, Verdict, fail, info
from torchkit.system import System

UNRECOGNISED = "unrecognised"
"""Id of the finding that nothing was recognised."""

NAMED = 3
"""So many problems are named in the first line."""


class Question(NamedTuple):
    """What the command line asks of explain, option by option."""

    what: str | None = None
    listed: bool = False
    saved: Path | None = None
    no_env: bool = False


def run(question: Question, system: System) -> Report:
    """The report. Raises BadInput for what cannot be read."""
    if question.saved is not None and question.no_env:
        raise BadInput("--facts and --no-env are both given", hint="leave one of them out")
    if question.listed:
        return listed(question.what or "")
    if question.what is not None and question.what != "-" and not _is_file(question.what):
        known = page(question.what)
        if known is not None:
            return known
        if " " not in question.what.strip():
            raise _no_such(question.what)
        if all(_is_file(word) for word in question.what.split()):
            raise BadInput(
                "several files are given", hint=f"cat {question.what} | torchkit explain"
            )
        return report_of(read_text(question.what), _facts_source(question, system))
    return report_of(_read(question.what), _facts_source(question, system))


def explained(text: str, system: System | None = None) -> Report:
    """The report on a text; with a system, of what is so on that machine."""
    return report_of(read_text(text), _FactsSource(None, system))


# --- what is read


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _no_such(what: str) -> BadInput:
    import difflib

    near = difflib.get_close_matches(what, known_ids(), 3, 0.6)
    hint = f"did you mean {', '.join(near)}" if near else "torchkit explain --list shows all ids"
    return BadInput(f"{what} is no file and no id of a problem or check", hint=hint)


def _read(what: str | None) -> Reading:
    if what is None or what == "-":
        stream = sys.stdin
        if stream is None:
            raise BadInput("standard input is closed", hint="torchkit explain train.log")
        if what is None and stream.isatty():
            raise BadInput(
                "there is nothing to explain",
                hint="torchkit explain train.log, or make 2>&1 | torchkit explain",
            )
        return _guarded(stream.buffer, "standard input")
    path = Path(what).expanduser()
    if path.is_dir():
        raise BadInput(f"{what} is a folder", hint="name one of its files")
    try:
        with path.open("rb") as file:
            return _guarded(file, what)
    except OSError as error:
        raise BadInput(
            f"cannot read {what}: {(error.strerror or str(error)).lower()}", hint=""
        ) from None


def _guarded(stream: BinaryIO, name: str) -> Reading:
    try:
        return read_log(stream)
    except OSError as error:
        raise BadInput(
            f"cannot read {name}: {(error.strerror or str(error)).lower()}", hint=""
        ) from None


class _FactsSource(NamedTuple):
    """Where what is known of a machine comes from: a saved one, this one, or nowhere."""

    saved: Facts | None
    system: System | None

    def facts(self, names: Sequence[str]) -> Facts | None:
        """These facts of the machine; None where it is left out of it."""
        if self.saved is not None or self.system is None:
            return self.saved
        from torchkit.machine.interpreter import own_interpreter
        from torchkit.machine.survey import survey

        return survey(self.system, own_interpreter(), only=names) if names else Facts()


def _facts_source(question: Question, system: System) -> _FactsSource:
    if question.saved is not None:
        from torchkit.commands.sources import read_facts

        return _FactsSource(read_facts(question.saved), None)
    return _FactsSource(None, None if question.no_env else system)


# --- the report


def report_of(reading: Reading, source: _FactsSource) -> Report:
    """What was found in a log, and what of it is so on the machine."""
    found = told(reading)
    if not found.problems:
        return _nothing(reading)
    problems, looked = settled(found.problems, source.facts, source.system)
    found = found._replace(problems=problems)
    checked = with_rows(confirmations(problems, source.facts), looked)
    findings = tuple(_finding(met, checked[met.problem.id]) for met in found.problems)
    return Report(
        "explain",
        findings=findings,
        views=_later(found),
        headline=_headline(found, checked),
        totals={
            "lines": reading.lines,
            "problems": len(findings),
            "later": sum(found.follow.values()) + sum(met.times for met in found.symptoms),
        },
    )


def _headline(found: Told, checked: Mapping[str, Sequence[Checked]]) -> str:
    first = found.problems[0]
    sure = [it.of for it in checked[first.problem.id] if it.state == CONFIRMED]
    cause = first.cause if "" in sure or not sure else sure[0]
    text = f"{first.problem.id}: {cause}{' (confirmed)' if sure else ''}"
    others = [met.problem.id for met in found.problems[1:]]
    if not others:
        return text
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f"{text}; then {', '.join(others[:NAMED])}{more}"


def _finding(met: Met, checked: Sequence[Checked]) -> Finding:
    times = f"   ({met.times} times)" if met.times > 1 else ""
    evidence = [Evidence(f"line {met.number}", f"{met.text}{times}")]
    evidence += [Evidence("checked", f"{it.state}: {it.by}", it.source) for it in _telling(checked)]
    fix, causes = _ranked(met, checked)
    evidence += causes
    verdict = info(met.cause, evidence=evidence, fix=fix, brief=met.problem.title)
    reference = met.problem.urls[0] if met.problem.urls else ""
    return Finding(met.problem.id, met.problem.area, verdict, reference)


def _telling(checked: Sequence[Checked]) -> list[Checked]:
    """What was looked at, each once; what could not be, where nothing was confirmed."""
    is_sure = any(it.state == CONFIRMED for it in checked)
    shown = [it for it in checked if not (is_sure and it.state == NOT_CHECKED)]
    return list({(it.state, it.by, it.source): it for it in shown}.values())


_ORDER = (CONFIRMED, "", REFUTED)


def _ranked(met: Met, checked: Sequence[Checked]) -> tuple[list[str], list[Evidence]]:
    """The fixes, those of confirmed causes first and of refuted ones left out; the causes told."""
    causes = possible_causes().get(met.problem.id, ())
    states = {
        of: _of_several({it.state for it in checked if it.of == of})
        for of in {it.of for it in checked if it.of}
    }
    known = [(states.get(cause.cause, ""), cause) for cause in causes]
    known.sort(key=lambda it: _ORDER.index(it[0]) if it[0] in _ORDER else 1)
    evidence = [
        Evidence("cause", f"{cause.cause}{f' ({state})' if state else ''}")
        for state, cause in known
    ]
    of_causes = [text for state, cause in known if state != REFUTED for text in cause.fix]
    is_sure = any(it.state == CONFIRMED and not it.of for it in checked)
    fix = [*met.fix, *of_causes] if is_sure else [*of_causes, *met.fix]
    fix += [it.fix for it in checked if it.fix]
    confirmed = [it.fix for it in checked if it.fix and it.state == CONFIRMED]
    return list(dict.fromkeys(map(alone, [*confirmed, *fix]))), evidence


def _of_several(states: set[str]) -> str:
    """The state of a cause that several checks are about: one that confirms it is enough."""
    if CONFIRMED in states:
        return CONFIRMED
    return REFUTED if states == {REFUTED} else NOT_CHECKED


def _later(found: Told) -> tuple[Table, ...]:
    names = dict(found.follow)
    for met in found.symptoms:
        names[met.problem.id] = met.times
    count = sum(names.values())
    if not count:
        return ()
    errors, follow = (
        ("1 later error", "follows") if count == 1 else (f"{count} later errors", "follow")
    )
    row = {"area": errors, "value": f"{follow} from it ({', '.join(names)})"}
    return (Table("later", ("area", "value"), (row,)),)


def _nothing(reading: Reading) -> Report:
    last = reading.last_error
    lines = "1 line" if reading.lines == 1 else f"{reading.lines:,} lines"
    message = (
        f"nothing in {lines} is known to torchkit" if reading.lines else "there is nothing to read"
    )
    evidence = []
    if last is not None:
        evidence.append(Evidence(f"line {last.number}", last.text.strip()[:400]))
        message += ", though there is an error"
    fix = ["torchkit snoop SCRIPT runs a Python program and looks at its tensors when it fails"]
    verdict: Verdict = fail(message, evidence=evidence, fix=fix if last is not None else [])
    return Report(
        "explain", findings=(Finding(UNRECOGNISED, "explain", verdict),),
        totals={"lines": reading.lines, "problems": 0, "later": 0}, headline=message,
    )  # fmt: skip
