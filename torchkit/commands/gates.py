"""Which checks and requirements a machine is judged by, from `--require`, `--only` and `--skip`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torchkit import checks
from torchkit.checks.requirement_unmet import AREA as REQUIREMENT_AREA
from torchkit.checks.requirement_unmet import judge as judge_requirement
from torchkit.errors import BadInput
from torchkit.machine.facts import Facts
from torchkit.report import Finding
from torchkit.requirements import Requirement, parse_requirements

REQUIREMENT_ID = "requirement-unmet"


class Gates(NamedTuple):
    """What a machine is judged by: requirements of `--require`, and the checks that are chosen.

    Checks of what only an option looks at (a libtorch, a build) are left out where the option was
    not given, unless a user chose them by name (`are_named`).
    """

    requirements: Sequence[Requirement]
    ids: Sequence[str]
    are_named: bool = False

    @classmethod
    def of(cls, *, require: Sequence[str], only: Sequence[str], skip: Sequence[str]) -> Gates:
        """From the texts of the options. Raises BadInput for one that cannot be used."""
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
        return cls(requirements, ids, bool(only))

    def judge(self, facts: Facts) -> tuple[Finding, ...]:
        """What the requirements and the checks find on this machine, the worst first."""
        findings = [
            Finding(REQUIREMENT_ID, REQUIREMENT_AREA, judge_requirement(requirement, facts))
            for requirement in self.requirements
        ]
        ids = [it for it in self.ids if self.are_named or checks.was_asked_for(it, facts)]
        return checks.worst_first([*findings, *checks.run_checks(facts, ids)])


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


def refuse_beside(
    option: str, others: Mapping[str, object], *, because: str = "which judges nothing"
) -> None:
    """Raises BadInput where an option would be passed over, a gate of CI among them."""
    for name, value in others.items():
        if value:
            raise BadInput(
                f"{name} would have no effect beside {option}, {because}",
                hint=f"run torchkit twice, once with {option} and once with {name}",
            )
