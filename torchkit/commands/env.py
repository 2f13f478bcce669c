"""`torchkit env`: does what is on this machine fit together, and which libtorch would fit.

Gathers facts, has the checks judge them, and puts the report together. It imports no torch.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchkit import checks
from torchkit.checks.requirement_unmet import AREA as REQUIREMENT_AREA
from torchkit.checks.requirement_unmet import judge as judge_requirement
from torchkit.commands.overview import libtorch_artifacts, machine_table
from torchkit.errors import BadInput
from torchkit.machine.facts import GLOSSARY, Facts, Unknown, Value, plain
from torchkit.machine.interpreter import other_interpreter, own_interpreter
from torchkit.machine.survey import survey
from torchkit.report import Finding, Report, Table
from torchkit.requirements import SHORT_NAMES, parse_requirements
from torchkit.system import System

REQUIREMENT_ID = "requirement-unmet"

FACTS_FILE_LIMIT_BYTES = 32 * 1024**2
"""A report of a machine has some ten thousand bytes; a file beyond this is another one."""


def run(
    *,
    python: str | None = None,
    require: Sequence[str] = (),
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    facts: Path | None = None,
    save: Path | None = None,
    strict: bool = False,
    system: System | None = None,
) -> Report:
    """Look at this machine, or at a saved one (`facts`), and judge it.

    `python` names another interpreter; `require` holds expressions such as "torch>=2.4"; `only`
    and `skip` choose checks by id; `save` is where the report goes as JSON too, with the exit
    code that `strict` gives it. Raises TorchkitError for an option, expression or file that
    cannot be used.
    """
    requirements = [parsed for text in require for parsed in parse_requirements(text)]
    ids = _chosen(only, skip)
    if REQUIREMENT_ID in only and not requirements:
        raise BadInput(
            f"{REQUIREMENT_ID} has nothing to judge: no requirement is given",
            hint="add one, e.g. --require 'torch>=2.4'",
        )
    if REQUIREMENT_ID in skip and requirements:
        raise BadInput(
            f"--require and --skip {REQUIREMENT_ID} exclude each other",
            hint="leave one of them out",
        )
    known = _facts(python=python, saved=facts, system=system, only=None)
    findings = [
        Finding(REQUIREMENT_ID, REQUIREMENT_AREA, judge_requirement(requirement, known))
        for requirement in requirements
    ]
    findings += checks.run_checks(known, ids)
    report = Report(
        "env",
        findings=checks.worst_first(findings),
        tables=(machine_table(known),),
        artifacts=libtorch_artifacts(known) if not only else (),
        facts=known.to_json(),
    )
    if save is not None:
        _save(report, save, strict=strict)
    return report


def fact(
    name: str,
    *,
    python: str | None = None,
    facts: Path | None = None,
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
    value = _facts(python=python, saved=facts, system=system, only=[name])[name]
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


# --- where the facts come from


def _facts(
    *, python: str | None, saved: Path | None, system: System | None, only: Sequence[str] | None
) -> Facts:
    if saved is not None:
        if python is not None:
            raise BadInput(
                "--facts and --python exclude each other", hint="a saved machine has its own Python"
            )
        return read_facts(saved)
    system = system or System()
    interpreter = own_interpreter() if python is None else other_interpreter(system, python)
    return survey(system, interpreter, only=only)


def read_facts(path: Path) -> Facts:
    """The facts of a saved machine: any JSON with an object `facts`.

    Raises BadInput when the file cannot be read as such.
    """
    hint = "give a file that `torchkit env --save FILE` wrote"
    try:
        if not path.is_file() and not re.fullmatch(r"/dev/(stdin|fd/\d+)", str(path)):
            raise BadInput(
                f"{path} is {'no regular file' if path.exists() else 'not there'}", hint=hint
            )
        with path.open("rb") as file:
            data = file.read(FACTS_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadInput(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint=hint
        ) from None
    if len(data) > FACTS_FILE_LIMIT_BYTES:
        raise BadInput(f"{path} is larger than {FACTS_FILE_LIMIT_BYTES // 1024**2} MiB", hint=hint)
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not JSON", hint=hint) from None
    facts = content.get("facts") if isinstance(content, Mapping) else None
    if not isinstance(facts, Mapping):
        raise BadInput(f"{path} has no object named facts", hint=hint)
    return Facts.from_json(facts, where=str(path))


def _save(report: Report, path: Path, *, strict: bool) -> None:
    text = json.dumps(report.to_dict(strict=strict), indent=2)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}",
            hint="name a file in a folder that can be written",
        ) from None


def _chosen(only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    known = checks.check_ids()
    for check_id in (*only, *skip):
        if check_id not in known:
            near = difflib.get_close_matches(check_id, known, n=1)
            raise BadInput(
                f"there is no check named {check_id!r}",
                hint=f"did you mean {near[0]}?" if near else "see `torchkit env --list`",
            )
    return tuple(
        check_id
        for check_id in checks.automatic_ids()
        if (not only or check_id in only) and check_id not in skip
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
