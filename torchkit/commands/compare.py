"""`torchkit env --compare FILE...`: what differs between this machine and saved ones.

With `--facts FILE` a saved machine stands in the place of this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torchkit.commands.comparison import Machine, compare
from torchkit.commands.differences import headline, tables, totals
from torchkit.commands.names import folded, hidden_names, short_names
from torchkit.commands.sources import facts_of, read_facts, save_report
from torchkit.commands.traits import COMPARED
from torchkit.errors import BadInput
from torchkit.machine.facts import Facts, Unknown
from torchkit.report import Report
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
    facts = facts_of(
        python=question.python, saved=question.saved, asked=question.asked, system=system
    )
    names = _names([*own, *files], is_here=not own, are_hidden=question.hides_hosts)
    machines = [Machine(name, it) for name, it in zip(names, [facts, *saved], strict=True)]
    comparison = compare(machines, named=folded)
    report = Report(
        "env",
        findings=comparison.findings,
        tables=tables(comparison),
        totals=totals(comparison),
        headline=headline(comparison),
    )
    if question.save is not None:  # with what was seen of the machine that is asked about
        kept = replace(report, facts=facts.to_json())
        save_report(kept, question.save, strict=question.strict)
    return report


def _names(files: Sequence[Path], *, is_here: bool, are_hidden: bool) -> list[str]:
    """What each machine is called, this one first where it takes part."""
    here = [THIS_MACHINE] if is_here else []
    return [*here, *(hidden_names(len(files)) if are_hidden else short_names(files, taken=here))]


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
    if all(isinstance(facts[name], Unknown) for name in COMPARED):
        raise BadInput(
            f"{path} tells nothing of a machine: it has no fact that can be compared",
            hint="give a file that `torchkit env --save FILE` wrote",
        )
    return facts
