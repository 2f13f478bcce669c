"""Where the facts of `env` come from: this machine, or a file that was saved on another one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchkit.errors import BadInput
from torchkit.machine.facts import Facts
from torchkit.machine.interpreter import other_interpreter, own_interpreter
from torchkit.machine.survey import NOTHING_MORE, Asked, libtorch_facts, survey
from torchkit.report import SCHEMA, Report
from torchkit.system import System

FACTS_FILE_LIMIT_BYTES = 32 * 1024**2
"""A report of a machine has some ten thousand bytes; a file beyond this is another one."""


def facts_of(
    *,
    python: str | None = None,
    saved: Path | None = None,
    asked: Asked = NOTHING_MORE,
    system: System | None = None,
    only: Sequence[str] | None = None,
) -> Facts:
    """Facts of this machine with our Python or the one named, or those that were saved.

    Raises BadInput for a file or a Python that cannot be used, and for what a saved machine
    cannot be asked.
    """
    system = system or System()
    if saved is None:
        interpreter = own_interpreter() if python is None else other_interpreter(system, python)
        return survey(system, interpreter, only=only, asked=asked)
    for option, value in {
        "--python": python,
        "--extension": asked.extensions,
        "--live": asked.live,
        "--probe": asked.probe,
    }.items():
        if value:
            raise BadInput(
                f"--facts and {option} exclude each other: a saved machine can only be read",
                hint=f"leave --facts out, or run torchkit env {option} on that machine",
            )
    facts = read_facts(saved)
    if asked.libtorchs:  # a file from here may be judged for a machine elsewhere
        facts = facts.with_values(libtorch_facts(system, asked.libtorchs))
    return facts


def read_facts(path: Path) -> Facts:
    """The facts of a saved machine: any JSON with an object `facts`, unless it is another report.

    Raises BadInput when the file cannot be read as such.
    """
    hint = "give a file that `torchkit env --save FILE` wrote"
    try:
        content: Any = json.loads(_content(path, hint))
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not JSON", hint=hint) from None
    facts = content.get("facts") if isinstance(content, Mapping) else None
    if not isinstance(facts, Mapping):
        raise BadInput(f"{path} has no object named facts", hint=hint)
    _refuse_other_reports(path, content, hint)
    return Facts.from_json(facts, where=str(path))


def _content(path: Path, hint: str) -> bytes:
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
    return data


def _refuse_other_reports(path: Path, content: Mapping[str, Any], hint: str) -> None:
    """Raises BadInput for a report of another command, or of another form than ours."""
    command, schema = content.get("command", "env"), content.get("schema", SCHEMA)
    if command != "env":
        raise BadInput(
            f"{path} is a report of `torchkit {command}`, expected one of `torchkit env`", hint=hint
        )
    if schema != SCHEMA:
        is_newer = isinstance(schema, int) and schema > SCHEMA
        raise BadInput(
            f"{path} is a report of schema {schema}, this torchkit reads schema {SCHEMA}",
            hint="update torchkit: pip install --upgrade torchkit"
            if is_newer
            else "save that machine again with this version of torchkit",
        )


def save_report(report: Report, path: Path, *, strict: bool) -> None:
    """Write the report as JSON. Raises BadInput where that cannot be done."""
    text = json.dumps(report.to_dict(strict=strict), indent=2)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}",
            hint="name a file in a folder that can be written",
        ) from None
