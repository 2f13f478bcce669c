"""`torchkit env`: does what is on this machine fit together, and which libtorch would fit.

Gathers facts, has the checks judge them, and puts the report together. It imports no torch.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit import checks
from torchkit.commands.gates import Gates, refuse_beside
from torchkit.commands.overview import libtorch_artifacts, machine_table
from torchkit.commands.sources import facts_of, save_report
from torchkit.errors import BadInput
from torchkit.machine.facts import GLOSSARY, Facts, Unknown, Value, plain
from torchkit.machine.survey import NOTHING_MORE, Asked
from torchkit.report import Report, Table
from torchkit.requirements import SHORT_NAMES
from torchkit.system import System


class Question(NamedTuple):
    """What the command line asks of `env`, option by option. `saved` is the file of `--facts`."""

    python: str | None = None
    saved: Path | None = None
    strict: bool = False
    as_json: bool = False
    libtorchs: Sequence[str] = ()
    extensions: Sequence[str] = ()
    live: bool = False
    probe: bool = False
    require: Sequence[str] = ()
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    save: Path | None = None
    get: Sequence[str] = ()
    list_checks: bool = False
    compare: Sequence[Path] = ()
    others: Sequence[str] = ()
    all_ranks: bool = False
    hides_hosts: bool = False

    @property
    def asked(self) -> Asked:
        """What to look at besides the machine."""
        return Asked(tuple(self.extensions), tuple(self.libtorchs), self.live, self.probe)


def answer(question: Question, system: System) -> Report | str | None:
    """A report, the text of one fact, or None from a rank that leaves the report to rank 0.

    Raises TorchkitError for what cannot be answered.
    """
    q = question
    gates = {"--require": q.require, "--only": q.only, "--skip": q.skip}
    kinds = {"--get": q.get, "--list": q.list_checks, "--compare": q.compare}
    kinds["--all-ranks"] = q.all_ranks
    kind = next((option for option, value in kinds.items() if value), None)
    if q.others and not q.compare:
        raise BadInput(
            f"{q.others[0]!r} belongs to no option", hint="name saved machines after --compare"
        )
    if kind is None:
        return run(
            python=q.python, require=q.require, only=q.only, skip=q.skip, facts=q.saved,
            save=q.save, asked=q.asked, strict=q.strict, system=system,
        )  # fmt: skip
    if q.all_ranks:
        from torchkit.commands import all_ranks

        return all_ranks.run(question, system)
    others = {it: kinds[it] for it in kinds if it != kind}
    if kind == "--compare":
        from torchkit.commands import compare

        others |= {"--extension": q.extensions, "--libtorch": q.libtorchs}
        others |= {"--live": q.live, "--probe": q.probe}
        because = "which compares machines and runs no check"
        refuse_beside(kind, {**gates, **others}, because=because)
        return compare.run([*q.compare, *map(Path, q.others)], question, system)
    refuse_beside(kind, {**gates, **others, "--save": q.save})
    if kind == "--list":
        return list_checks()
    if len(q.get) > 1:
        raise BadInput(
            f"--get is given {len(q.get)} times: {', '.join(q.get)}",
            hint="ask for one fact at a time, or take several from --json",
        )
    value = fact(q.get[0], python=q.python, facts=q.saved, asked=q.asked, system=system)
    return as_json(value) if q.as_json else as_text(value)


def run(
    *,
    python: str | None = None,
    require: Sequence[str] = (),
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    facts: Path | None = None,
    save: Path | None = None,
    asked: Asked = NOTHING_MORE,
    strict: bool = False,
    system: System | None = None,
) -> Report:
    """Look at this machine, or at a saved one (`facts`), and judge it.

    `python` names another interpreter; `asked` what else to look at; `require` holds expressions
    such as "torch>=2.4"; `only` and `skip` choose checks by id; `save` is where the report goes as
    JSON too, with the exit code that `strict` gives it. Raises TorchkitError for an option, expression or file that
    cannot be used.
    """
    gates = Gates.of(require=require, only=only, skip=skip)
    known = facts_of(python=python, saved=facts, asked=asked, system=system)
    _refuse_a_silent_child(asked, known)
    report = Report(
        "env",
        findings=gates.judge(known),
        tables=(machine_table(known),),
        artifacts=libtorch_artifacts(known) if not only else (),
        facts=known.to_json(),
    )
    if save is not None:
        save_report(report, save, strict=strict)
    return report


def _refuse_a_silent_child(asked: Asked, facts: Facts) -> None:
    """Who asks for --live by name is not told that all is well because it could not run."""
    outcome = facts["live_outcome"]
    if asked.live and isinstance(outcome, Unknown):
        raise BadInput(
            f"--live could not run: {outcome.reason}",
            hint="without --live the rest is answered: torchkit env",
        )


def fact(
    name: str,
    *,
    python: str | None = None,
    facts: Path | None = None,
    asked: Asked = NOTHING_MORE,
    system: System | None = None,
) -> Value:
    """One fact's value, asking only the probes it needs.

    None where there is none. Raises BadInput for a name that is no fact, and for one that could
    not be told, with the reason.
    """
    if name not in GLOSSARY:
        near = difflib.get_close_matches(name.lower(), [*SHORT_NAMES, *GLOSSARY], n=1)
        raise BadInput(
            f"{name!r} is no fact",
            hint=f"did you mean {SHORT_NAMES.get(near[0], near[0])}?"
            if near
            else "`torchkit env --json` shows every fact, docs/facts.md what each means",
        )
    value = facts_of(python=python, saved=facts, asked=asked, system=system, only=[name])[name]
    if isinstance(value, Unknown):
        raise BadInput(
            f"{name} is not known: {value.reason}", hint="see `torchkit env` for the rest"
        )
    return value


def list_checks() -> Report:
    """Every check with its area and its title."""
    loaded = [checks.load(check_id) for check_id in checks.check_ids()]
    rows = tuple(
        {"id": check.id, "area": check.area, "title": check.title}
        for check in sorted(loaded, key=lambda check: (check.area, check.id))
    )
    return Report(
        "env",
        headline=f"{len(rows)} checks; choose some with --only ID, leave some out with --skip ID",
        tables=(Table("checks", ("id", "area", "title"), rows),),
    )


def as_text(value: Value) -> str:
    """A fact for a shell script: booleans as true and false, "" for none, lists a line each."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return "\n".join(
            item if isinstance(item, str) else json.dumps(plain(item)) for item in value
        )
    if isinstance(value, Mapping):
        return "\n".join(f"{name}=={text}" for name, text in value.items())
    return str(value)


def as_json(value: Value) -> str:
    """A fact as JSON has it in a report."""
    return json.dumps(plain(value))
