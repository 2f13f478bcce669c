"""`torchkit env --compare FILE...`: what differs between this machine and saved ones.

With `--facts FILE` a saved machine stands in the place of this one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchkit.commands.comparison import COMPARED, Machine, compare
from torchkit.commands.differences import headline, tables, totals
from torchkit.commands.names import folded, short_names
from torchkit.commands.sources import facts_of, read_facts
from torchkit.errors import BadInput
from torchkit.machine.facts import Facts, Unknown
from torchkit.report import SCHEMA, Report
from torchkit.system import System

if TYPE_CHECKING:
    from torchkit.commands.env import Question

THIS_MACHINE = "this machine"


def run(files: Sequence[Path], question: Question, system: System) -> Report:
    """What differs between this machine, or the one `question.saved` names, and those of `files`.

    Raises BadInput, naming the file, for one that holds no machine or is given twice.
    """
    own = () if question.saved is None else (question.saved,)
    _refuse_twice([*own, *files])
    saved = [_saved(path) for path in files]  # a file that is of no use is told at once
    names = short_names([*own, *files], taken=() if own else (THIS_MACHINE,))
    if not own:
        names = [THIS_MACHINE, *names]
    else:
        _refuse_other_reports(own[0])
    facts = facts_of(
        python=question.python, saved=question.saved, asked=question.asked, system=system
    )
    machines = [Machine(name, it) for name, it in zip(names, [facts, *saved], strict=True)]
    comparison = compare(machines, named=folded)
    return Report(
        "env",
        findings=comparison.findings,
        tables=tables(comparison),
        totals=totals(comparison),
        headline=headline(comparison),
    )


def _refuse_twice(files: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in files:
        try:
            place = path.resolve()
        except (OSError, RuntimeError):  # a loop of links; reading it says so
            continue
        if place in seen:
            also = "" if seen[place] == path else f", also as {seen[place]}"
            raise BadInput(f"{path} is given twice{also}", hint="name each saved machine once")
        seen[place] = path


def _saved(path: Path) -> Facts:
    facts = read_facts(path)
    _refuse_other_reports(path)
    if all(isinstance(facts[name], Unknown) for name in COMPARED):
        raise BadInput(
            f"{path} tells nothing of a machine: it has no fact that can be compared",
            hint="give a file that `torchkit env --save FILE` wrote",
        )
    return facts


def _refuse_other_reports(path: Path) -> None:
    """Raises BadInput for a report of another command, or of another form than ours."""
    if not path.is_file():  # a pipe, which was read; or not there, which is told by the reader
        return
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    if not isinstance(content, dict):
        return
    command, schema = content.get("command", "env"), content.get("schema", SCHEMA)
    if command != "env":
        raise BadInput(
            f"{path} is a report of `torchkit {command}`, expected one of `torchkit env`",
            hint="give a file that `torchkit env --save FILE` wrote",
        )
    if schema != SCHEMA:
        raise BadInput(
            f"{path} is a report of schema {schema}, this torchkit reads schema {SCHEMA}",
            hint="save that machine again with this version of torchkit",
        )
