"""Which of the problems of a log are so on a machine: by the checks of `env`, and by looking.

Every answer has one of three states, and says by what it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torchkit import checks
from torchkit.knowledge.problems import possible_causes
from torchkit.logs.problems import Met
from torchkit.machine.facts import Facts
from torchkit.report import Status

CONFIRMED, REFUTED, NOT_CHECKED = "confirmed", "refuted", "not checked"

_STATES = {
    Status.FAIL: CONFIRMED,
    Status.WARN: CONFIRMED,
    Status.OK: REFUTED,
}


class Checked(NamedTuple):
    """What a look at the machine gave: its state, what was found, and by what.

    `of` is the possible cause that it is about, "" for the problem itself; `fix` what cures it here.
    """

    state: str
    by: str
    source: str = ""
    of: str = ""
    fix: str = ""


def confirmations(
    problems: Sequence[Met],
    facts_of: Callable[[Sequence[str]], Facts | None],
) -> dict[str, list[Checked]]:
    """For each problem by its id, what the machine says to it; nothing where it is left out."""
    asked = {met.problem.id: _asked(met) for met in problems}
    names = [
        fact
        for pairs in asked.values()
        for check_id, _ in pairs
        for fact in checks.load(check_id).facts
    ]
    facts = facts_of(sorted(set(names)))
    if facts is None:
        return {met.problem.id: [] for met in problems}
    found: dict[str, list[Checked]] = {}
    for met in problems:
        found[met.problem.id] = [
            _by_check(check_id, cause, facts) for check_id, cause in asked[met.problem.id]
        ]
    return found


def _asked(met: Met) -> list[tuple[str, str]]:
    """Checks to run for a problem, each with the possible cause that it is about."""
    pairs = [(check_id, "") for check_id in met.problem.confirm]
    for cause in possible_causes().get(met.problem.id, ()):
        pairs += [(check_id, cause.cause) for check_id in cause.confirm]
    return pairs


def _by_check(check_id: str, cause: str, facts: Facts) -> Checked:
    finding = checks.worst_first(checks.run_check(checks.load(check_id), facts))[0]
    state = _STATES.get(finding.status, NOT_CHECKED)
    fix = finding.verdict.fix[0] if state == CONFIRMED and finding.verdict.fix else ""
    return Checked(state, finding.verdict.message, f"torchkit env --only {check_id}", cause, fix)
