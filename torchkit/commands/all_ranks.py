"""`torchkit env --all-ranks`: every rank of a job looks, and rank 0 reports.

The others print nothing and end with 0, whatever they found: the launcher would end the whole job
when one of them did not. Their answers, errors among them, are rank 0's to tell.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from torchkit.checks import load, worst_first
from torchkit.checks.rank_missing import Missing
from torchkit.checks.rank_missing import judge as judge_missing
from torchkit.commands.comparison import Machine, compare
from torchkit.commands.differences import headline, tables, totals
from torchkit.commands.gates import Gates
from torchkit.commands.names import Hosts
from torchkit.commands.overview import machine_table
from torchkit.commands.sources import facts_of, save_report
from torchkit.errors import BadInput, TorchkitError
from torchkit.machine.facts import Facts
from torchkit.machine.launch import Launch, launch_of
from torchkit.machine.rank_store import IMPORTING, SLOW
from torchkit.machine.ranks import Gathered, Interruption, gather, hand_in, waiting_notice
from torchkit.report import Evidence, Finding, Report, Status, Verdict, info, warn
from torchkit.system import System

if TYPE_CHECKING:
    from torchkit.commands.env import Question

OF_THE_MOMENT = ("shm_free_bytes", "memory_total_bytes", "cuda_visible_devices")
"""Facts that differ between ranks of one machine, and do not change a judgement."""

SAID_LENGTH = 500
"""How much of what a rank says is repeated, in characters."""


def run(question: Question, system: System) -> Report | None:
    """Rank 0's report on all ranks; None from the other ranks.

    Raises BadInput where no launcher says which rank this is, and on rank 0 for what it cannot
    look at.
    """
    launch = launch_of(system.environ)
    gates = Gates.of(require=question.require, only=question.only, skip=question.skip)
    if launch.rank > 0:
        answer, python = _look(question, System(root=system.root, environ=system.environ))
        hand_in(system, launch, answer, python=python)
        return None
    with Interruption().noted() as interruption:
        facts = _facts(question, system)
        gathered = gather(
            system,
            launch,
            _answer(facts),
            python=facts.known("python_executable") or sys.executable,
            interruption=interruption,
            tell=lambda missing, left_s: _tell(system, missing, left_s),
        )
    report = _report(launch, gathered, gates, hides_hosts=question.hides_hosts)
    if question.save is not None:
        save_report(report, question.save, strict=question.strict)
    return report


# --- one rank


def _facts(question: Question, system: System) -> Facts:
    return facts_of(
        python=question.python, saved=question.saved, asked=question.asked, system=system
    )


def _answer(facts: Facts) -> dict[str, Any]:
    return {"host": platform.node(), "facts": facts.to_json()}


def _look(question: Question, system: System) -> tuple[dict[str, Any], str]:
    """A rank's answer, and its Python; an error that ends another command is an answer, too."""
    try:
        facts = _facts(question, system)
    except TorchkitError as error:
        return {"host": platform.node(), "error": error.message}, sys.executable
    return _answer(facts), facts.known("python_executable") or sys.executable


def _tell(system: System, missing: set[int], left_s: float) -> None:
    if system.notices:
        names = Hosts({}).named(map(str, sorted(missing)))
        waiting_notice(f"waiting for {names}, at most {left_s:.0f} s")


# --- all of them


class _Rank(NamedTuple):
    """What a rank said: its facts, or why it has none."""

    host: str
    facts: Facts | None
    error: str = ""
    torch_problem: str = ""


def _read(rank: int, told: Mapping[str, Any]) -> _Rank:
    """A rank's answer, of which nothing is believed: it came from another process."""
    host = _text(told.get("host"))
    problem = _text(told.get("torch_problem"))
    if "error" in told:
        return _Rank(host, None, _text(told["error"]) or "it did not say why", problem)
    data = told.get("facts")
    if not isinstance(data, Mapping):
        return _Rank(host, None, "its answer has no facts", problem)
    try:
        return _Rank(host, Facts.from_json(data, where=f"the answer of rank {rank}"), "", problem)
    except BadInput as error:
        return _Rank(host, None, error.message, problem)


def _text(value: object) -> str:
    return value[:SAID_LENGTH] if isinstance(value, str) else ""


def _report(launch: Launch, gathered: Gathered, gates: Gates, *, hides_hosts: bool) -> Report:
    ranks = {rank: _read(rank, told) for rank, told in sorted(gathered.answers.items())}
    looked = {rank: it.facts for rank, it in ranks.items() if it.facts is not None}
    hosts = Hosts({str(rank): it.host for rank, it in ranks.items()}, hidden=hides_hosts)
    machines = [Machine(str(rank), facts) for rank, facts in looked.items()]
    comparison = compare(machines, named=hosts.named, is_one_job=True)
    missing = [
        *_missing(launch, gathered, hosts),
        *_without_facts(ranks, launch, hosts),
        *_broken_torch(ranks, hosts),
    ]
    judged = _judged(looked, gates, hosts)
    findings = worst_first([*missing, *judged, *comparison.findings])
    own = looked[0]
    return Report(
        "env",
        findings=findings,
        tables=(machine_table(own), *tables(comparison)),
        facts=own.to_json(),
        totals={
            "world_size": launch.world_size,
            "hosts": {} if hides_hosts else dict(hosts.of),
            **totals(comparison),
        },
        headline=_headline(headline(comparison, noun="ranks"), missing, judged, len(looked)),
    )


def _headline(
    compared: str, missing: Sequence[Finding], judged: Sequence[Finding], answers: int
) -> str:
    """Who is missing, who differs, and what is wrong with all or some, in one line."""
    parts = [it.verdict.brief for it in missing if it.status is Status.FAIL]
    parts += [compared] if answers > 1 else []
    troubles = [it for it in judged if it.status in (Status.FAIL, Status.WARN, Status.CRASH)]
    worst = [it for it in troubles if it.status is troubles[0].status]
    if worst:
        noun = "warning" if worst[0].status is Status.WARN else "problem"
        more = f" and {len(worst) - 1} more" if len(worst) > 1 else ""
        parts.append(
            f"{len(worst)} {noun}{'s' if len(worst) > 1 else ''}: "
            f"{worst[0].verdict.brief or worst[0].verdict.message}{more}"
        )
    return "; ".join(parts) or "1 rank: nothing wrong found"


def _missing(launch: Launch, gathered: Gathered, hosts: Hosts) -> list[Finding]:
    absent = [rank for rank in range(launch.world_size) if rank not in gathered.answers]
    if not absent:
        return []
    missing = Missing(
        hosts.named(map(str, absent)),
        absent[0],
        len(absent),
        launch.world_size,
        gathered.waited_s,
        gathered.ways,
        gathered.stopped,
        launch.has_agent,
    )
    return [_finding("rank-missing", judge_missing(missing))]


def _without_facts(ranks: Mapping[int, _Rank], launch: Launch, hosts: Hosts) -> Iterable[Finding]:
    by_error: dict[str, list[int]] = {}
    for rank, it in ranks.items():
        if it.error:
            by_error.setdefault(it.error, []).append(rank)
    for error, some in by_error.items():
        names = hosts.named(map(str, some))
        missing = Missing(names, some[0], len(some), launch.world_size, 0.0, (), error=error)
        yield _finding("rank-missing", judge_missing(missing))


def _broken_torch(ranks: Mapping[int, _Rank], hosts: Hosts) -> Iterable[Finding]:
    """Ranks whose torch did not load when their answer was to be handed in through it."""
    by_problem: dict[str, list[int]] = {}
    for rank, it in ranks.items():
        is_known = it.facts is not None and it.facts.known("torch_version") is None
        if it.torch_problem.startswith(IMPORTING) and not is_known:
            by_problem.setdefault(it.torch_problem, []).append(rank)
    for problem, some in by_problem.items():
        names = hosts.named(map(str, some))
        is_slow = SLOW in problem  # a network file system, say: nothing that is wrong
        verdict = (info if is_slow else warn)(
            f"{problem} ({names})",
            evidence=[Evidence("on", names), Evidence("found", problem, "a child of that rank")],
            fix=[] if is_slow else ["see what `python -c 'import torch'` says there"],
            brief=f"torch gives trouble on {names}",
        )
        yield _finding("torch-import-fails", verdict)


def _finding(check_id: str, verdict: Verdict) -> Finding:
    check = load(check_id)
    return Finding(check_id, check.area, verdict, check.reference)


def _judged(looked: Mapping[int, Facts], gates: Gates, hosts: Hosts) -> list[Finding]:
    """Every finding once, with the ranks it is about where these are not all.

    A check that is fine or does not apply on some is told only where nothing else is on the others.
    """
    alike: dict[str, list[int]] = {}
    for rank, facts in looked.items():
        data = {name: it for name, it in facts.to_json().items() if name not in OF_THE_MOMENT}
        alike.setdefault(json.dumps(data, sort_keys=True), []).append(rank)
    found: dict[Finding, list[int]] = {}
    for some in alike.values():
        for finding in gates.judge(looked[some[0]]):
            found.setdefault(finding, []).extend(some)
    told = (Status.INFO, Status.WARN, Status.FAIL, Status.CRASH)
    loud = {finding.id for finding in found if finding.status in told}
    quiet: dict[str, Finding] = {}
    result = []
    for finding, some in found.items():
        if finding.status in told:
            result.append(_of(finding, sorted(some), len(looked), hosts))
        elif finding.id not in loud:
            quiet[finding.id] = _weightier(finding, quiet.get(finding.id, finding))
    return [*result, *quiet.values()]


def _of(finding: Finding, ranks: Sequence[int], answers: int, hosts: Hosts) -> Finding:
    if len(ranks) == answers:
        return finding
    names = hosts.named(map(str, ranks))
    verdict = finding.verdict
    return replace(
        finding,
        verdict=replace(
            verdict,
            message=f"{verdict.message} ({names})",
            evidence=(Evidence("on", names), *verdict.evidence),
            brief=f"{verdict.brief or verdict.message} ({names})",
        ),
    )


def _weightier(one: Finding, other: Finding) -> Finding:
    """Of two that are no trouble, the one that says more: could not look, fine, does not apply."""
    order = [
        (it.status is Status.SKIP and it.verdict.applies, it.status is Status.OK)
        for it in (one, other)
    ]
    return one if order[0] >= order[1] else other
